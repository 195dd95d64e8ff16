//! What became of an operation.

use std::time::Duration;

use muster_model::{Key, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect now.
    Applied(Effect),
    /// The target was in the wanted state before.
    AlreadySo(Effect),
    /// The system has taken it and will say later what became of it.
    Accepted {
        /// What to ask for.
        ticket: String,
        /// When to ask first.
        #[serde(rename = "look_again_after_ms", with = "crate::wire::milliseconds")]
        #[schemars(with = "u64")]
        look_again_after: Duration,
    },
    /// A create found an object with the same key; nothing was written.
    Exists {
        /// That object's anchor.
        key: Key,
    },
    /// There is no object with the key.
    Missing,
    /// The object is not in the expected version; nothing was written.
    Changed {
        /// The version that is there.
        #[serde(default, with = "crate::wire::optional_token")]
        #[schemars(with = "Option<crate::wire::Token>")]
        actual: Option<Vec<u8>>,
    },
    /// The object with the key lacks the value it is known by, so it may be another one; nothing was written.
    OtherObject,
    /// A referenced object is not there yet.
    WaitsFor {
        /// The attribute that references it.
        attribute: String,
    },
    /// Nothing was written; the same may succeed later.
    Retry {
        /// When to try again at the earliest.
        #[serde(rename = "after_ms", with = "crate::wire::milliseconds")]
        #[schemars(with = "u64")]
        after: Duration,
        /// Who is to blame.
        scope: RetryScope,
        /// What the system said.
        problem: String,
    },
    /// The system will never take it as it is.
    Rejected {
        /// The attribute to blame, where known.
        attribute: Option<String>,
        /// A short stable name of the rule, such as `too_long`, `required` or a constraint's name; `unique` when
        /// another object has the value, which is tried once more in case that object is giving it up.
        rule: String,
        /// What the system said; may hold personal values.
        message: String,
    },
    /// The connector cannot do this kind of operation.
    Unsupported {
        /// What it cannot do.
        what: String,
    },
    /// It was sent, and nobody knows whether it took effect.
    Unknown,
}

/// What a success brings back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Effect {
    /// The anchor, where the system assigned or changed it.
    pub key: Option<Key>,
    /// Values that the system set itself, by attribute.
    #[serde(default)]
    pub values: Vec<(String, Slot)>,
    /// The object's new version.
    #[serde(default, with = "crate::wire::optional_token")]
    #[schemars(with = "Option<crate::wire::Token>")]
    pub version: Option<Vec<u8>>,
}

/// Whom a retry concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryScope {
    /// This object only.
    Object,
    /// The whole target.
    Target,
}

/// What a ledger or log knows of an operation whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It has this outcome.
    Known(Outcome),
    /// It certainly did not take effect, and will not.
    NeverApplied,
    /// It is still on its way.
    Pending {
        /// When to ask again.
        #[serde(rename = "look_again_after_ms", with = "crate::wire::milliseconds")]
        #[schemars(with = "u64")]
        look_again_after: Duration,
    },
    /// The connector keeps no record that could tell.
    NotRecorded,
}
