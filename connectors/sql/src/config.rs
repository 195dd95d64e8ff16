//! The settings of an SQL connection.

use std::collections::BTreeMap;

use muster_connector::settings::{ConnectorSettings, ExposeSecret as _, Secret, SecretString};
use muster_connector::{Error, Span};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::enabling::{EnabledValues, Word};
use crate::own::StatementSettings;

/// A connection to an SQL database.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlSettings {
    /// Where the database is: `postgres://user@host:5432/database`, `sqlserver://user@host:1433/database`,
    /// `mysql://user@host:3306/database` (also for MariaDB) or `sqlite:///path/to/file.db`. A URL with a
    /// password must stand in a file or an environment variable: { file = "PATH" } or { env = "NAME" }.
    #[schemars(schema_with = "url_schema")]
    pub url: serde_json::Value,
    /// The password, when it is not in the URL.
    pub password: Option<Secret>,
    /// A PEM file with the certificate that Muster shows, in place of a password or beside it; those between it and its
    /// authority follow in the same file. The connection is then encrypted. For PostgreSQL, MySQL and MariaDB.
    pub certificate: Option<String>,
    /// The private key of `certificate`, as PEM without passphrase.
    pub key: Option<Secret>,
    /// Whether the connection is encrypted and the server's certificate checked. By default it is, except on this
    /// machine itself. Not used by SQLite.
    pub tls: Option<TlsMode>,
    /// A PEM file of further certificate authorities to trust. Not used by SQLite.
    pub ca_file: Option<String>,
    /// Whether the ids of operations are stored in the transactions of their effects, in tables of Muster's own that
    /// `muster schema` shows. An answer that was lost is then had from there.
    #[serde(default)]
    pub ledger: bool,
    /// The object types. Tables that are not named here are offered under their own names.
    #[serde(default)]
    pub types: BTreeMap<String, TypeSettings>,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Encrypted, with the server's certificate and name verified.
    Verify,
    /// Not encrypted.
    Off,
}

/// One object type over a table.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TypeSettings {
    /// The table or view, with its schema in front where it is not the first of the search path: `app.app_user`.
    #[serde(default)]
    pub table: String,
    /// In place of a table, a query of your own whose rows are read. Nothing can be written through it.
    pub query: Option<String>,
    /// The columns that identify a row and never change. The primary key by default.
    #[serde(default)]
    pub anchor: Vec<String>,
    /// The column that says whether a row is enabled: a boolean, a whole number where 0 is disabled, a date or time that
    /// only disabled rows have, or anything else with `enabled_values`.
    pub enabled: Option<String>,
    /// What stands in that column, where it has words of its own.
    pub enabled_values: Option<EnabledValues>,
    /// Which rows of the table belong to the type, by column: `{ tenant_id = "acme" }`. Other rows are never read,
    /// matched or changed, and new rows get these values.
    #[serde(default, rename = "where")]
    pub rows: BTreeMap<String, Word>,
    /// The column that says that a row is deleted: a boolean, a whole number where 1 is deleted, a date or time that
    /// only deleted rows have, or anything else with `deleted_value`. Rows are then marked and stay, and marked rows
    /// count as not there.
    pub deleted: Option<String>,
    /// What deleted rows have in that column.
    pub deleted_value: Option<Word>,
    /// What the database computes for new rows, by column: expressions in its own SQL, such as `CURRENT_TIMESTAMP`.
    #[serde(default)]
    pub on_create: BTreeMap<String, String>,
    /// What the database computes for rows that change, by column: expressions in its own SQL, such as `row_version + 1`.
    #[serde(default)]
    pub on_update: BTreeMap<String, String>,
    /// Statements of your own, such as calls of stored procedures, in place of Muster's.
    #[serde(default)]
    pub statements: StatementSettings,
    /// How changes of rows are noticed when the type is read. Without it all rows are read every time.
    pub changes: Option<ChangeSettings>,
    /// Columns that hold keys of rows of another type, by column: the type's name. Foreign keys in the database need
    /// not be named here.
    #[serde(default)]
    pub references: BTreeMap<String, String>,
    /// Attributes of several values, such as the members of a group: each is a table of its own with a row for each
    /// value.
    #[serde(default)]
    pub multi: BTreeMap<String, ManySettings>,
}

/// How changes of rows are noticed: by a `column`, by a `table` of changes, or by `tracking`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSettings {
    /// A column that gets a greater value whenever its row changes: the time of the change, a number from a sequence, a
    /// `rowversion`.
    pub column: Option<String>,
    /// A table that gets a row with the key for each change and deletion, from triggers for example.
    pub table: Option<String>,
    /// In that table, the column that is greater in each new row.
    pub sequence: Option<String>,
    /// In that table, the columns that hold the key; by default they are called as in the type's own table.
    pub key: Option<OneOrMore>,
    /// Whether that table also gets a row when values in tables of `multi` change.
    #[serde(default)]
    pub with_values: bool,
    /// Whether to use SQL Server's change tracking, which must be enabled for the table.
    #[serde(default)]
    pub tracking: bool,
    /// The longest time from the moment that a row gets its value or number to the end of the transaction: what is
    /// younger is read again. `"10m"` by default.
    pub overlap: Option<Span>,
    /// How often the keys of all rows are read to find what is gone, and values in tables of `multi` with them, where
    /// changes do not tell. `"15m"` by default.
    pub keys_every: Option<Span>,
}

/// An attribute of several values.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManySettings {
    /// The table that holds the values, one in a row.
    pub table: String,
    /// The column that holds the key of the row that a value belongs to; a list where that key has several columns.
    pub key: OneOrMore,
    /// The column that holds the value.
    pub value: String,
    /// The type whose rows the values name. A foreign key in the database says so by itself.
    pub references: Option<String>,
    /// Which rows of the table belong to the attribute, by column: `{ kind = "mobile" }`. New rows get these values.
    #[serde(default, rename = "where")]
    pub rows: BTreeMap<String, Word>,
}

/// One, or several in order.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Several.
    More(Vec<String>),
}

impl OneOrMore {
    pub(crate) fn columns(&self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name.clone()],
            Self::More(names) => names.clone(),
        }
    }
}

fn url_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let secret = generator.subschema_for::<Secret>();
    schemars::json_schema!({
        "description": "Where the database is: `postgres://user@host:5432/database`, \
                        `sqlserver://user@host:1433/database`, `mysql://user@host:3306/database` (also for MariaDB) or `sqlite:///path/to/file.db`. \
                        A URL with a password must stand in a file or an environment variable: { file = \"PATH\" } or { env = \"NAME\" }.",
        "anyOf": [{ "type": "string" }, secret]
    })
}

/// Whether a host is this machine, to which a connection is not encrypted unless the settings ask for it.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(crate) fn wrong(setting: &str, problem: impl Into<String>, fix: &str) -> Error {
    Error::Configuration { setting: Some(setting.to_owned()), problem: problem.into(), fix: fix.to_owned() }
}

/// The address of a database, resolved and checked.
#[derive(Debug)]
pub(crate) enum Address {
    /// A SQLite file.
    Sqlite(std::path::PathBuf),
    /// A server.
    Server { kind: ServerKind, url: SecretString, password: Option<SecretString> },
}

/// Which language a server speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ServerKind {
    Postgres,
    /// MariaDB as well.
    MySql,
    /// Azure SQL as well.
    SqlServer,
}

impl SqlSettings {
    /// For databases to which none can be shown.
    pub(crate) fn refuse_certificate(&self, problem: &str, fix: &str) -> Result<(), Error> {
        match (&self.certificate, &self.key) {
            (None, None) => Ok(()),
            (Some(_), _) => Err(wrong("certificate", problem, fix)),
            (None, Some(_)) => Err(wrong("key", problem, fix)),
        }
    }

    pub(crate) fn address(&self, given: &ConnectorSettings) -> Result<Address, Error> {
        const FORMS: &str = "write postgres://user@host:5432/database, sqlserver://user@host:1433/database, mysql://user@host:3306/database or sqlite:///path/to/file.db";
        let text = match (given.secret("url"), &self.url) {
            (Some(secret), _) => secret.clone(),
            (None, serde_json::Value::String(plain)) => SecretString::from(plain.clone()),
            _ => return Err(wrong("url", "the database's address is missing", FORMS)),
        };
        let exposed = text.expose_secret().trim();
        if let Some(path) = exposed.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(':') {
                return Err(wrong("url", "the SQLite address names no file", FORMS));
            }
            return Ok(Address::Sqlite(given.path(path)));
        }
        let url = Url::parse(exposed).map_err(|error| wrong("url", format!("not an address ({error})"), FORMS))?;
        let kind = match url.scheme() {
            "postgres" | "postgresql" => ServerKind::Postgres,
            "mysql" | "mariadb" => ServerKind::MySql,
            "sqlserver" | "mssql" => ServerKind::SqlServer,
            other => return Err(wrong("url", format!("databases of kind {other:?} are not known"), FORMS)),
        };
        if given.secret("url").is_none() && url.password().is_some() {
            let fix = "put the whole address into a file, url = { file = \"PATH\" }, or only the password, password = { file = \"PATH\" }";
            return Err(wrong("url", "the address holds a password in plain text", fix));
        }
        if url.path().trim_start_matches('/').is_empty() {
            return Err(wrong("url", "the address names no database", FORMS));
        }
        Ok(Address::Server { kind, url: text, password: given.secret("password").cloned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_in_plain_text() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.8.8.8", "::1", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["db.example.com", "localhost.example.com", "10.0.0.1", "0.0.0.0", "", "127.0.0.1.example.com"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
