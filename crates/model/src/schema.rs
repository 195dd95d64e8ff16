//! What a system holds: its object types, their attributes, and what can be done with them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::ValueType;

/// Everything a connection holds, as discovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Schema {
    /// Names the system itself (a database's id, a directory's root, a tenant), so that another server
    /// that answers under the same address is noticed.
    pub identity: String,
    /// The object types, in the order people expect to see them.
    pub types: Vec<ObjectType>,
    /// Statements that prepare the system for what the settings ask for, for a person to run once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<String>,
}

impl Schema {
    /// The type of that name.
    #[must_use]
    pub fn object_type(&self, name: &str) -> Option<&ObjectType> {
        self.types.iter().find(|candidate| candidate.name == name)
    }
}

/// One kind of object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectType {
    /// The name used in configuration, such as `user`.
    pub name: String,
    /// The immutable key.
    pub anchor: Anchor,
    /// Further unique keys whose values may change, each a list of attributes.
    #[serde(default)]
    pub alternate_keys: Vec<Vec<String>>,
    /// All attributes, the anchor's included.
    pub attributes: Vec<Attribute>,
    /// How an object is enabled and disabled; `None` when the type knows no such thing.
    pub enabling: Option<Enabling>,
    /// What can be read, when the connector has a source side.
    pub source: Option<SourceCapabilities>,
    /// What can be written, when the connector has a target side.
    pub target: Option<TargetCapabilities>,
}

impl ObjectType {
    /// The attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|candidate| candidate.name == name)
    }

    /// The names of all attributes, for suggestions.
    pub fn attribute_names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|attribute| attribute.name.as_str())
    }
}

/// The immutable key of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Anchor {
    /// One or more attributes, in order.
    pub attributes: Vec<String>,
    /// Who chooses the values.
    pub assigned_by: AssignedBy,
}

/// Who chooses an anchor's values when an object is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssignedBy {
    /// The system itself (an identity column, `entryUUID`, `objectGUID`).
    System,
    /// Whoever creates the object, so a mapping must fill it.
    Creator,
}

/// How an object is enabled and disabled: a boolean attribute that the connector translates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enabling {
    /// The attribute, boolean towards Muster whatever the system stores: true is enabled.
    pub attribute: String,
}

/// How many values an attribute holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Multiplicity {
    /// At most one.
    #[default]
    Single,
    /// Any number, each once, in no order.
    Set,
    /// Any number, in an order that matters.
    List,
}

/// Whether two texts that differ in case only are the same value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaseRule {
    /// They differ.
    #[default]
    Sensitive,
    /// They are the same.
    Insensitive,
}

/// What objects show of those that refer to them: users are `memberOf` a group, which is called by its `displayName`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inverse {
    /// The name at the objects referred to.
    pub attribute: String,
    /// The attribute by which those that refer are called.
    pub called_by: String,
}

/// One attribute of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact of the schema")]
pub struct Attribute {
    /// The system's own name for it.
    pub name: String,
    /// The type of its values.
    pub value_type: ValueType,
    /// How many values it holds.
    #[serde(default)]
    pub multiplicity: Multiplicity,
    /// A create without it is refused.
    #[serde(default)]
    pub required: bool,
    /// May be set on create.
    #[serde(default = "yes")]
    pub creatable: bool,
    /// May be changed later.
    #[serde(default = "yes")]
    pub updatable: bool,
    /// Can be read back; passwords cannot.
    #[serde(default = "yes")]
    pub readable: bool,
    /// No two objects have the same value.
    #[serde(default)]
    pub unique: bool,
    /// How texts compare.
    #[serde(default)]
    pub case: CaseRule,
    /// The longest text in characters, or binary in bytes.
    pub max_length: Option<u32>,
    /// For references: the types that may be referenced.
    #[serde(default)]
    pub references: Vec<String>,
    /// For references: what the objects that it names show of it in scopes.
    pub inverse: Option<Inverse>,
    /// What the system calls the type, for messages.
    #[serde(default)]
    pub native_type: String,
    /// A change of it appears in the type's delta. What does not is read with all keys.
    #[serde(default = "yes")]
    pub in_changes: bool,
    /// Why Muster can neither read nor write it, when that is so.
    pub unsupported: Option<String>,
}

impl Attribute {
    /// An optional, readable and writable, case-sensitive, single-valued attribute.
    #[must_use]
    pub fn new(name: &str, value_type: ValueType) -> Self {
        Self {
            name: name.to_owned(),
            value_type,
            multiplicity: Multiplicity::Single,
            required: false,
            creatable: true,
            updatable: true,
            readable: true,
            unique: false,
            case: CaseRule::Sensitive,
            max_length: None,
            references: Vec::new(),
            inverse: None,
            native_type: value_type.name().to_owned(),
            in_changes: true,
            unsupported: None,
        }
    }

    /// Whether its values are known only as references to other objects.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        self.value_type == ValueType::Reference
    }

    /// Whether it names other objects, be it besides a value of its own such as a foreign key.
    #[must_use]
    pub fn refers(&self) -> bool {
        self.is_reference() || !self.references.is_empty()
    }
}

fn yes() -> bool {
    true
}

/// What a type offers as a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceCapabilities {
    /// The delta, where there is one.
    pub changes: Option<Changes>,
    /// Deleted objects rest in a recycle bin first, from which they can come back.
    #[serde(default)]
    pub recycle_bin: bool,
}

/// How a type's delta behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// The full read is a round of changes without a watermark (Microsoft Graph), not a separate read.
    #[serde(default)]
    pub starts_full: bool,
    /// How exactly the watermark separates what was read from what was not.
    pub precision: Precision,
    /// Whether deletions appear in the delta.
    pub deletes_visible: bool,
    /// How many seconds pass at least before all keys are read again, together with the attributes that the delta does
    /// not show, where there is anything that the delta does not show.
    #[serde(default)]
    pub keys_every: u64,
}

/// How exactly a watermark separates what was read from what was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Each change has a position of its own.
    Each,
    /// Pages end at a position.
    Page,
    /// Only a whole round ends at a position.
    Round,
}

/// What a type offers as a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetCapabilities {
    /// How often an operation takes effect when its answer is lost.
    pub once: Once,
    /// Objects can be read back (`get` and `find`).
    pub readable: bool,
    /// Objects can be deleted.
    pub can_delete: bool,
    /// The anchor can be changed by a rename.
    pub can_rename: bool,
    /// A create may bring values that nobody may see, such as an initial password.
    #[serde(default)]
    pub writes_secrets: bool,
    /// A newer complete operation may follow before an accepted one is confirmed.
    pub ordered: bool,
    /// The most operations in one batch.
    pub max_batch: u32,
    /// The most batches at the same time.
    pub max_in_flight: u32,
}

/// How often an operation takes effect when its answer is lost and it must be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Once {
    /// The operation's id is stored in the same transaction as the effect.
    Ledger,
    /// Repeating it ends in the same state; a repeated create answers `exists`.
    Natural,
    /// Creates go out only after a search for the same match values.
    None,
}
