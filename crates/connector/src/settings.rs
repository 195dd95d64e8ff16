//! How a connection's settings reach its connector.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
pub use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// The settings of one connection: plain values, and the secrets they refer to, resolved by the host.
///
/// Secrets reach a connector here, once, and never as plain text inside `values`.
#[derive(Debug)]
pub struct ConnectorSettings {
    /// The connection's name in the configuration, for messages.
    pub connection: String,
    /// The connection's section as JSON, without the key `connector`; secrets are still references here.
    pub values: serde_json::Value,
    /// The resolved secrets by the dotted path of their setting, such as `client_secret`.
    pub secrets: BTreeMap<String, SecretString>,
    /// The folder that relative paths in the settings start from: that of the configuration file.
    pub base_folder: std::path::PathBuf,
}

impl ConnectorSettings {
    /// The plain values as the connector's own type.
    ///
    /// # Errors
    /// The values do not have that form, which validation against the schema should have found before.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_value(self.values.clone()).map_err(|error| Error::Configuration {
            setting: None,
            problem: format!("the settings of connection {:?} are wrong: {error}", self.connection),
            fix: "compare them with the connector's documentation".to_owned(),
        })
    }

    /// The secret of the setting at `path`, if it is set.
    #[must_use]
    pub fn secret(&self, path: &str) -> Option<&SecretString> {
        self.secrets.get(path)
    }

    /// A configured path, made absolute.
    #[must_use]
    pub fn path(&self, configured: &str) -> std::path::PathBuf {
        self.base_folder.join(configured)
    }
}

/// A setting that holds a secret: where to find it, never the secret itself.
///
/// The connector takes the value from [`ConnectorSettings::secret`] by the setting's path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// `{ env = "NAME" }`: an environment variable.
    Env(String),
    /// `{ file = "PATH" }`: the content of a file, without the line end.
    File(String),
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where a secret is found: { env = \"NAME\" } or { file = \"PATH\" }. Never the secret itself.",
            "x-muster-secret": true,
            "type": "object",
            "properties": {
                "env": { "type": "string", "description": "Name of an environment variable that holds the secret." },
                "file": { "type": "string", "description": "Path of a file whose content is the secret." }
            },
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1
        })
    }
}
