//! What the kit is given: how to make the connector anew, and what it may do behind its back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_connector::{Connector, Description, Error, SecretString, Watermark};
use muster_model::{Key, Slot, Value};

/// A connector that can be killed and made anew, and the system behind it that survives that.
///
/// Only [`Self::start`] must be written. Each hook that is left out makes checks weaker or not applicable, which the
/// report says.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Makes the connector anew, on the same system.
    ///
    /// # Errors
    /// It does not start.
    async fn start(&self) -> Result<Arc<dyn Connector>, Error>;

    /// Ends the connector made last without warning, as SIGKILL does. One in this process is dropped by the kit.
    async fn kill(&self) {}

    /// What the connector's kind says of itself.
    fn description(&self) -> Option<Description> {
        None
    }

    /// Makes the next `apply` go wrong. False where the subject cannot: the kit then lets it finish, forgets the
    /// answer and kills the connector, which proves the same of the system but less of the connector.
    async fn arm(&self, _fault: Fault) -> bool {
        false
    }

    /// The system behind the connector, to change what a source reads. Without it the kit changes through the target
    /// side, where there is one.
    fn world(&self) -> Option<&dyn World> {
        None
    }

    /// The secrets that the connector was given, by the dotted path of their setting. They may appear nowhere.
    fn planted_secrets(&self) -> Vec<(String, SecretString)> {
        Vec::new()
    }

    /// What the connector has logged so far, standard error included.
    fn log(&self) -> Option<String> {
        None
    }

    /// Bytes that the connector holds now.
    fn memory(&self) -> Option<u64> {
        None
    }

    /// Moves the clock that the connector sees. False where the subject cannot.
    async fn move_clock(&self, _by: TimeDelta) -> bool {
        false
    }
}

/// What goes wrong with the next `apply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connector dies between the effect and the answer.
    KillAfterEffect,
    /// The connection to it breaks within the answer.
    CutAnswer,
}

/// The system behind a connector, changed without it.
#[async_trait]
pub trait World: Send + Sync {
    /// Adds an object and answers its anchor.
    ///
    /// # Errors
    /// What went wrong, for a person.
    async fn insert(&self, object_type: &str, values: &[(String, Slot)]) -> Result<Key, String>;

    /// Adds many objects and answers their anchors in the same order: one by one, unless the system knows better.
    ///
    /// # Errors
    /// What went wrong, for a person.
    async fn insert_all(&self, object_type: &str, objects: &[Vec<(String, Slot)>]) -> Result<Vec<Key>, String> {
        let mut keys = Vec::with_capacity(objects.len());
        for values in objects {
            keys.push(self.insert(object_type, values).await?);
        }
        Ok(keys)
    }

    /// Changes these values of an object.
    ///
    /// # Errors
    /// What went wrong, for a person.
    async fn change(&self, object_type: &str, key: &Key, values: &[(String, Slot)]) -> Result<(), String>;

    /// Removes an object for good.
    ///
    /// # Errors
    /// What went wrong, for a person.
    async fn remove(&self, object_type: &str, key: &Key) -> Result<(), String>;

    /// Makes the system forget all watermarks and cursors handed out so far. False where it cannot.
    async fn expire(&self) -> bool {
        false
    }

    /// A watermark as this one, but of a time or position that has not come yet.
    fn in_the_future(&self, _watermark: &Watermark) -> Option<Watermark> {
        None
    }
}

/// How the checks are performed.
#[derive(Debug, Clone)]
pub struct Options {
    /// The object types to check; all where empty.
    pub types: Vec<String>,
    /// Only checks whose id begins with one of these; all where empty.
    pub only: Vec<String>,
    /// By object type: the only attributes to ask for besides the anchor's; all of a type that is not named.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Values to use for an attribute instead of made-up ones, by `type.attribute`. Needed for required references and
    /// for what the system restricts, such as a list of codes. A unique one needs many.
    pub samples: BTreeMap<String, Vec<Value>>,
    /// Checks that are known not to hold: id, object type (all where empty) and the reason, which the report repeats.
    pub exceptions: Vec<(String, String, String)>,
    /// How long a check may take.
    pub patience: Duration,
    /// How many objects make a long list.
    pub many: usize,
    /// The most objects that a page may have.
    pub largest_page: usize,
    /// By how many bytes the connector may grow over a long list.
    pub largest_growth: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            types: Vec::new(),
            only: Vec::new(),
            attributes: BTreeMap::new(),
            samples: BTreeMap::new(),
            exceptions: Vec::new(),
            patience: Duration::from_mins(1),
            many: 5_500,
            largest_page: 5_000,
            largest_growth: 64 << 20,
        }
    }
}

impl Options {
    pub(crate) fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|start| id.starts_with(start.as_str()))
    }
}
