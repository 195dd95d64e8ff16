//! Why a cycle could not go on.

use muster_connector::Error as ConnectorError;
use muster_model::PackError;
use muster_store::StoreError;

use crate::compile::RuleFinding;

/// Why a cycle could not go on. Whatever was recorded before stands.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The rules do not fit the systems.
    #[error("sync {sync:?} cannot run: {} of its settings do not fit the systems", findings.len())]
    Rules {
        /// The sync.
        sync: String,
        /// What does not fit.
        findings: Vec<RuleFinding>,
    },
    /// A connection failed.
    #[error("connection {connection:?}: {source}")]
    Connection {
        /// The connection.
        connection: String,
        /// What its connector said.
        source: ConnectorError,
    },
    /// The configuration names a connection that the host did not open.
    #[error("connection {0:?} is not configured")]
    NoConnection(String),
    /// Another system answers behind a connection.
    #[error(
        "connection {connection:?} leads to another system than before (now {now}, before {before}); its links would be wrong there. \
         If this is right, run `muster check --accept-system {connection}`"
    )]
    OtherSystem {
        /// The connection.
        connection: String,
        /// The identity that answers now.
        now: String,
        /// The identity seen before.
        before: String,
    },
    /// The sync is paused.
    #[error("sync {sync:?} is paused: {reason}")]
    Paused {
        /// The sync.
        sync: String,
        /// Why.
        reason: String,
    },
    /// There is no such source object.
    #[error("the source has no object with the key {key:?}; its key is what `muster plan` and `muster status` show")]
    NoObject {
        /// The key asked for.
        key: String,
    },
    /// The process is ending.
    #[error("stopped before the end; the next run goes on from here")]
    Stopped,
    /// The state cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state holds damaged bytes.
    #[error("the state is damaged ({0}); restore it from a backup")]
    Damaged(#[from] PackError),
}

impl EngineError {
    pub(crate) fn connection(connection: &str, source: ConnectorError) -> Self {
        Self::Connection { connection: connection.to_owned(), source }
    }
}
