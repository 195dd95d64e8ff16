//! Intended changes to target objects.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use muster_model::{Key, Row, Value};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Names one operation for ever: the same id means the same content, and no id is sent again after `unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct OperationId(#[schemars(with = "String")] pub Uuid);

impl fmt::Display for OperationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Makes a new object and never overwrites one: [`crate::Outcome::Exists`] instead.
    Create,
    /// Changes the known slots of the row and the value deltas; [`crate::Outcome::Missing`] if there is no such object.
    Update,
    /// Writes the whole desired state whatever is there; only where nothing can be read.
    Put,
    /// Gives the object another anchor.
    Rename {
        /// The new anchor.
        to: Key,
    },
    /// Removes the object; `missing` if there is none.
    Delete,
}

/// One intended change to one object, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// The operation's name.
    pub id: OperationId,
    /// What it does.
    pub kind: Kind,
    /// The object's anchor; for a create only where the creator assigns it.
    pub key: Option<Key>,
    /// The values to write, in the order of [`Batch::attributes`]; unknown slots stay as they are.
    pub row: Row,
    /// Changes of single values of multi-valued attributes, references and memberships.
    pub deltas: Vec<ValueDelta>,
    /// The operation enables (true) or disables (false) the object; the enabling attribute is among the row's slots.
    pub enabling: Option<bool>,
    /// The version last seen, where the type has versions; another one is [`crate::Outcome::Changed`].
    #[serde(default, with = "crate::wire::optional_token")]
    #[schemars(with = "Option<crate::wire::Token>")]
    pub expected_version: Option<Vec<u8>>,
    /// A position in [`Batch::attributes`] and the value by which the object is known there, where the system may give
    /// its anchor to another object later; another value is [`crate::Outcome::OtherObject`].
    pub expected: Option<(usize, Value)>,
    /// Operations of the same batch that must come first.
    pub depends_on: Vec<OperationId>,
    /// Of a create: values that nobody may see, such as an initial password, each for a position in
    /// [`Batch::attributes`] at which the row is unknown. Sent only to types that have `writes_secrets`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<(usize, String)>")]
    pub secrets: Vec<(usize, SecretValue)>,
}

/// A value to write that nobody may see: it stands in no log, error, plan or state.
#[derive(Clone)]
pub struct SecretValue(pub SecretString);

impl fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretValue(…)")
    }
}

impl PartialEq for SecretValue {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for SecretValue {}

/// An operation is written down only to be sent to a connector in another process, which needs the value.
impl Serialize for SecretValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretString::from(text)))
    }
}

/// Values added to and removed from one multi-valued attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ValueDelta {
    /// Position in [`Batch::attributes`].
    pub attribute: usize,
    /// Values to add; one that is there already is no error.
    pub add: Vec<Value>,
    /// Values to remove; one that is absent is no error.
    pub remove: Vec<Value>,
}

/// Operations that travel together, on distinct objects of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Batch {
    /// The object type.
    pub object_type: Arc<str>,
    /// The attributes of every operation's row, in order.
    pub attributes: Arc<[String]>,
    /// The operations, in the order in which they should take effect.
    pub operations: Vec<Operation>,
    /// Who sends: a ledger refuses an older epoch than one it has seen.
    pub epoch: Epoch,
    /// After this long the caller counts the batch as unknown and gives up the connection.
    #[serde(rename = "deadline_ms", with = "crate::wire::milliseconds")]
    #[schemars(with = "u64")]
    pub deadline: Duration,
}

/// The right to write a target type: (creation time of the store's incarnation, counter), so that a restored
/// store's next lease is above any that came before the restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
pub struct Epoch {
    /// When the store's incarnation was created, in milliseconds since 1970.
    pub incarnation: i64,
    /// Grows with every lease.
    pub counter: i64,
}
