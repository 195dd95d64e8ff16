//! What a connector says of itself before it is configured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A connector's name, version and settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// The name used as `connector = "…"` in the configuration.
    pub kind: String,
    /// One line for a person choosing a connector.
    pub summary: String,
    /// The connector's own version.
    pub version: String,
    /// A JSON Schema (2020-12) of the connection's section; secrets carry `"x-muster-secret": true`.
    pub settings: serde_json::Value,
}
