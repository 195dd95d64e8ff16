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
    #[error(
        "sync {sync:?} is paused: {reason}; its source was read, nothing was sent, and `muster resume {sync}` lets it go on"
    )]
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
    /// A group that a scope names is not there, or not the only one of that name.
    #[error(
        "sync {sync:?}: {} called {named:?}, which its scope asks for; nothing was evaluated, so that nobody falls out of \
         scope by it",
        if *many == 0 { format!("no {kind} is") } else { format!("{many} {kind}s are") }
    )]
    ScopeGroup {
        /// The sync.
        sync: String,
        /// The groups' object type.
        kind: String,
        /// What the scope asks for.
        named: String,
        /// How many are called so.
        many: usize,
    },
    /// Whoever is to have new passwords cannot take them.
    #[error("sync {sync}: the receiver of new passwords cannot take them, so nobody is created: {problem}")]
    PasswordReceiver {
        /// The sync.
        sync: String,
        /// Why, and what to do.
        problem: String,
    },
    /// No password can be made.
    #[error("sync {sync}: no password can be made: {problem}")]
    Password {
        /// The sync.
        sync: String,
        /// Why.
        problem: String,
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

/// What kind of trouble it is, and so who can end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorClass {
    /// A setting must be changed.
    Configuration,
    /// A system refuses who we are or what we may do.
    Credentials,
    /// A system cannot be reached, or asks for patience. It passes by itself.
    Unreachable,
    /// The state cannot be used.
    State,
    /// A person paused it.
    Paused,
    /// The process is ending.
    Stopped,
    /// A system or connector does what it never should.
    Unexpected,
}

impl ErrorClass {
    /// The class's name in `snake_case`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Credentials => "credentials",
            Self::Unreachable => "unreachable",
            Self::State => "state",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Unexpected => "unexpected",
        }
    }
}

impl EngineError {
    /// What kind of trouble it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Rules { .. }
            | Self::NoConnection(_)
            | Self::OtherSystem { .. }
            | Self::NoObject { .. }
            | Self::ScopeGroup { .. }
            | Self::PasswordReceiver { .. }
            | Self::Store(StoreError::OtherTypes { .. })
            | Self::Connection { source: ConnectorError::Configuration { .. }, .. } => ErrorClass::Configuration,
            Self::Connection { source: ConnectorError::Credentials { .. }, .. } => ErrorClass::Credentials,
            Self::Connection {
                source:
                    ConnectorError::Unreachable { .. } | ConnectorError::Throttled { .. } | ConnectorError::Expired { .. },
                ..
            } => ErrorClass::Unreachable,
            Self::Connection { .. } => ErrorClass::Unexpected,
            Self::Paused { .. } => ErrorClass::Paused,
            Self::Stopped => ErrorClass::Stopped,
            Self::Password { .. } => ErrorClass::Unexpected,
            Self::Store(_) | Self::Damaged(_) => ErrorClass::State,
        }
    }

    /// The message as it may stand in logs and records of runs: where a system's own words could repeat an object's
    /// values, they are left out.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Connection { connection, source } => match source {
                ConnectorError::Refused { .. } => {
                    format!(
                        "connection {connection:?}: the system refused a whole batch, and no object in it is to blame"
                    )
                }
                ConnectorError::Bug(_) => format!(
                    "connection {connection:?}: the system answered what its connector does not understand; \
                     `muster sync` shows its own words"
                ),
                _ => self.to_string(),
            },
            Self::Rules { findings, .. } => {
                let first = findings
                    .first()
                    .map(|finding| format!("; {}: {}; {}", finding.setting, finding.problem, finding.fix));
                format!("{self}{}", first.unwrap_or_default())
            }
            _ => self.to_string(),
        }
    }

    pub(crate) fn connection(connection: &str, source: ConnectorError) -> Self {
        Self::Connection { connection: connection.to_owned(), source }
    }
}
