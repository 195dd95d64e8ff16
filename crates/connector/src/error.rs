//! Errors, each of which stands for an action of the host.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a call failed as a whole. What concerns one operation is an [`crate::Outcome`] instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// The host stops the sync and tells a person.
    #[error("{problem}; {fix}")]
    Configuration {
        /// The setting within the connection, such as `types.user.table`, when one is to blame.
        setting: Option<String>,
        /// What is wrong.
        problem: String,
        /// What to change.
        fix: String,
    },
    /// The system refused who we are or what we may do. The host stops the sync and tells a person.
    #[error("{problem}; {fix}")]
    Credentials {
        /// What was refused.
        problem: String,
        /// What to change, and where.
        fix: String,
    },
    /// The system cannot be reached or fails by itself. The host backs off the whole target and blames no object.
    #[error("{problem}")]
    Unreachable {
        /// What was tried and what happened.
        problem: String,
        /// The connector knows that nothing of the call took effect.
        #[serde(default)]
        nothing_sent: bool,
    },
    /// The system asks to be left alone for a while; nothing of the call took effect.
    #[error("the system asks to wait {} s: {problem}", after.as_secs())]
    Throttled {
        /// What the system said.
        problem: String,
        /// How long to wait at least.
        #[serde(rename = "after_ms", with = "crate::wire::milliseconds")]
        #[schemars(with = "u64")]
        after: Duration,
    },
    /// The position is no longer honoured: the round starts again, or everything is read anew.
    #[error("the system no longer knows the {expired}")]
    Expired {
        /// What expired.
        expired: Expired,
    },
    /// The batch was refused as a whole and nothing of it was applied; one of its operations is to blame.
    #[error("{problem}")]
    Refused {
        /// What the system said.
        problem: String,
    },
    /// The connector cannot do this; asking for it was the host's mistake.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The system broke its own protocol, or the connector is wrong.
    #[error("{0}")]
    Bug(String),
}

/// What the system no longer honours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expired {
    /// A page's cursor: the round starts again from its watermark.
    Cursor,
    /// The watermark: a new generation.
    Watermark,
}

impl std::fmt::Display for Expired {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Cursor => "page asked for",
            Self::Watermark => "watermark of the last read",
        })
    }
}
