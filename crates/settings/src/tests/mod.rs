//! The crate's tests; this file holds what they share.

mod environment;
mod layers;
mod messages;
mod mutations;
mod secrets;
mod service;
mod values;

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::{ConnectorSchema, Environment, Settings, load};

/// A folder with configuration files.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("muster.toml")
    }

    fn load(&self, variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        load(&self.path(), &environment(variables), &connectors())
            .map_err(|problems| problems.iter().map(|problem| self.shorten(&problem.to_string())).collect())
    }

    /// Without the name of the temporary folder.
    fn shorten(&self, message: &str) -> String {
        message.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

/// The messages about one file.
fn messages(text: &str) -> Vec<String> {
    Files::new(&[("muster.toml", text)]).load(&[]).err().unwrap_or_default()
}

/// The settings of files and variables that have no fault.
fn settings(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Settings {
    Files::new(files).load(variables).unwrap_or_else(|messages| panic!("{}", messages.join("\n")))
}

/// Two connectors in the forms that schemars gives to theirs.
fn connectors() -> Vec<ConnectorSchema> {
    let secret = json!({
        "x-muster-secret": true,
        "type": "object",
        "properties": { "env": { "type": "string" }, "file": { "type": "string" } },
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1
    });
    let optional_secret = json!({ "anyOf": [{ "$ref": "#/$defs/Secret" }, { "type": "null" }] });
    let directory = json!({
        "title": "Directory",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "tenant": { "type": ["string", "null"], "description": "The tenant." },
            "client_secret": optional_secret,
            "certificate": { "anyOf": [{ "$ref": "#/$defs/Certificate" }, { "type": "null" }] },
            "cloud": { "$ref": "#/$defs/Cloud", "default": "global" },
            "timeout": { "$ref": "#/$defs/Timeout", "default": "15s" },
            "page_size": { "type": "integer", "format": "uint32", "minimum": 1, "maximum": 999 },
            "verbose": { "type": "boolean" },
            "extension_attributes": { "type": "object", "additionalProperties": { "type": "string", "enum": ["text", "integer"] } },
            "keys": { "type": "array", "items": { "$ref": "#/$defs/Secret" } }
        },
        "$defs": {
            "Secret": secret,
            "Certificate": {
                "type": "object",
                "additionalProperties": false,
                "properties": { "certificate_file": { "type": "string" }, "private_key": optional_secret },
                "required": ["certificate_file"]
            },
            "Cloud": { "oneOf": [
                { "type": "string", "const": "global", "description": "The worldwide cloud." },
                { "type": "string", "enum": ["us_gov", "china"] }
            ] },
            "Timeout": { "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$", "description": "A length of time such as \"30s\"." }
        }
    });
    let table = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "url": {
                "description": "Where the database is: `postgres://user@host/database`. More of it.",
                "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/Secret" }]
            },
            "types": { "type": "object", "additionalProperties": { "$ref": "#/$defs/Type" } }
        },
        "required": ["url"],
        "$defs": {
            "Secret": secret,
            "Type": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "table": { "type": "string", "description": "The table." },
                    "anchor": { "type": "array", "items": { "type": "string" } }
                },
                "required": ["table"]
            }
        }
    });
    [("entra", directory), ("sql", table)]
        .map(|(kind, settings)| ConnectorSchema { kind: kind.to_owned(), settings })
        .to_vec()
}

/// A configuration without a fault.
const SAMPLE: &str = r#"# The state of this host.
state = "state/muster.db"

[connections.entra]
connector = "entra"
tenant = "contoso.onmicrosoft.com"
client_secret = { env = "ENTRA_SECRET" }

[connections.hrapp]
connector = "sql"
url = { file = "hrapp.url" }

[connections.hrapp.types.user]
table = "app_user"
anchor = ["id"]

[syncs.staff]
from = "entra:user"
to = "hrapp:user"
every = "5m"
match = [{ source = "[employeeId]", target = "employee_no" }]
read = ["department", "jobTitle"]

[syncs.staff.map]
employee_no = "[employeeId]"
full_name = "[displayName]"
active = "True"
login = { value = "[userPrincipalName]", when = "create" }

[syncs.staff.removal]
soft = "disable"
hard = "delete"
disabled = "keep"
grace = "30d"
absent_for = "12h"
delete_adopted = true

[syncs.staff.guard]
delete = { percent = 2.5, min = 5, max = 100 }

[syncs.again]
from = "entra:group"
to = "hrapp:user"
map.name = "[displayName]"
"#;

/// The sample with one piece of it replaced.
fn sample_with(piece: &str, replacement: &str) -> String {
    assert!(SAMPLE.contains(piece), "{piece}");
    SAMPLE.replacen(piece, replacement, 1)
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}
