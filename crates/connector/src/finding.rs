//! What `check` reports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that a person should know or change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Whether a sync can run in spite of it.
    pub severity: Severity,
    /// The setting to blame, relative to the connection, such as `types.user.table`.
    pub setting: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What to change.
    pub fix: String,
}

/// Whether a sync can run in spite of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It works, but somebody should know.
    Warning,
    /// No sync that uses the connection can run.
    Error,
}

/// What `check` found on one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckReport {
    /// What is wrong, worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What was detected, such as the server's version, for a person.
    #[serde(default)]
    pub features: Vec<String>,
}

impl Finding {
    /// A finding that keeps syncs from running.
    #[must_use]
    pub fn error(setting: Option<&str>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            setting: setting.map(str::to_owned),
            problem: problem.into(),
            fix: fix.into(),
        }
    }

    /// A finding that somebody should know about.
    #[must_use]
    pub fn warning(setting: Option<&str>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(setting, problem, fix) }
    }
}

/// What the configured syncs use of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsedType {
    /// The object type's name.
    pub object_type: String,
    /// The attributes that mappings, matches and rules name.
    pub attributes: Vec<String>,
    /// The names or ids by which scopes ask for single objects of the type.
    #[serde(default)]
    pub named: Vec<String>,
    /// A sync reads this type.
    pub as_source: bool,
    /// A sync writes this type.
    pub as_target: bool,
}
