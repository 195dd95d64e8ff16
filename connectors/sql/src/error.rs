//! What a database's refusals mean, by their codes and never by their texts.

use std::time::Duration;

use muster_connector::{Error, Outcome};

/// A failed statement, classified.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    /// What the database or driver said.
    pub(crate) message: String,
}

/// What a failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Class {
    /// The server or file cannot be reached, or fails by itself.
    Unreachable,
    /// It works in a moment: a lock, a deadlock, a serialization failure.
    Busy,
    /// Sign-in refused.
    SignIn,
    /// The certificate that Muster shows, or does not show, is refused.
    Certificate { fix: &'static str },
    /// No encrypted connection to a server that can be trusted.
    Insecure,
    /// The file or its file system can be read only.
    ReadOnly,
    /// Signed in, but not allowed.
    Forbidden,
    /// The database, a table or a column is not there.
    NotThere,
    /// The SQLite file is not there.
    NoFile,
    /// A unique key is violated.
    Unique { constraint: Option<String> },
    /// Another rule is violated; `staged` is the position of the staged value to blame, where the column is not told.
    Row { rule: &'static str, column: Option<String>, constraint: Option<String>, staged: Option<usize> },
    /// A statement of the administrator's own is wrong; the setting within the connection.
    Statement { setting: String },
    /// Somebody with a newer lease writes the type.
    Superseded,
    /// The database answered what cannot be understood.
    Bug,
}

impl Failure {
    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }

    /// The failure of a driver.
    pub(crate) fn driver(error: &sqlx::Error) -> Self {
        let class = match error {
            sqlx::Error::Database(database) => {
                if let Some(error) = database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
                    return Self { class: crate::mysql::classify(error), message: error.message().to_owned() };
                }
                let code = database.code();
                match code.as_deref() {
                    Some(code) if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() => {
                        crate::postgres::classify(database.as_ref(), code)
                    }
                    Some(code) => crate::sqlite::classify(database.as_ref(), code),
                    None => Class::Bug,
                }
            }
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Class::Unreachable
            }
            sqlx::Error::Tls(_) => Class::Insecure,
            sqlx::Error::Configuration(_) => Class::SignIn,
            sqlx::Error::Protocol(_) => Class::Unreachable,
            _ => Class::Bug,
        };
        Self { class, message: chain(error) }
    }

    /// Whether one of the rows is to blame.
    pub(crate) fn blames_a_row(&self) -> bool {
        matches!(self.class, Class::Unique { .. } | Class::Row { .. })
    }

    /// What a call as a whole answers. `nothing_sent`: nothing of the call took effect.
    pub(crate) fn error(self, nothing_sent: bool) -> Error {
        let problem = self.message;
        match self.class {
            Class::Unreachable => Error::Unreachable { problem, nothing_sent },
            Class::Busy => Error::Throttled { problem, after: Duration::from_secs(5) },
            Class::SignIn => Error::Credentials {
                problem: format!("the database refused the connection: {problem}"),
                fix: "check user and password of the connection, and whether the server admits this machine (pg_hba.conf of PostgreSQL, the host of a MySQL account, mixed mode of a SQL Server); where it wants a certificate (cert in pg_hba.conf, REQUIRE X509), set `certificate` and `key`".to_owned(),
            },
            Class::Certificate { fix } => Error::Credentials { problem, fix: fix.to_owned() },
            Class::Insecure => Error::Credentials {
                problem: format!("there is no encrypted connection to a server that can be trusted: {problem}"),
                fix: "set `ca_file` to a PEM file of the authority that signed the server's certificate, and name the \
                      server in the address as its certificate does; `tls = \"off\"` only where nobody can listen"
                    .to_owned(),
            },
            Class::ReadOnly => Error::Credentials {
                problem: format!("the database cannot be written: {problem}"),
                fix: "let the user that Muster runs as write the file and its folder".to_owned(),
            },
            Class::Forbidden => Error::Credentials {
                problem: format!("the database forbids it: {problem}"),
                fix: "grant the connection's user SELECT, INSERT, UPDATE and DELETE on the tables, and TEMPORARY (CREATE TEMPORARY TABLES in MySQL, nothing in SQL Server) on the database".to_owned(),
            },
            Class::NoFile => Error::Configuration {
                setting: Some("url".to_owned()),
                problem,
                fix: "check the path; Muster fills databases and never makes one".to_owned(),
            },
            Class::NotThere => Error::Configuration {
                setting: None,
                problem: format!("the database has no such thing: {problem}"),
                fix: "compare with `muster schema`; was a table or column renamed or dropped?".to_owned(),
            },
            Class::Statement { setting } => Error::Configuration {
                setting: Some(setting),
                problem: format!("the database refuses the statement: {problem}"),
                fix: "mend it; `muster plan SYNC --sql` shows statements with their values".to_owned(),
            },
            Class::Superseded => Error::Configuration {
                setting: Some("ledger".to_owned()),
                problem,
                fix: "let only one Muster write these tables; where this state was put back by copying files, stop \
                      Muster and bring it back with `muster state restore`, which counts as newer"
                    .to_owned(),
            },
            Class::Unique { .. } | Class::Row { .. } => Error::Refused { problem },
            Class::Bug => Error::Bug(problem),
        }
    }

    /// What one operation, sent alone, is answered.
    pub(crate) fn outcome(self) -> Outcome {
        let (rule, attribute) = match &self.class {
            Class::Unique { constraint } => (constraint.clone().unwrap_or_else(|| "unique".to_owned()), None),
            Class::Row { rule, column, constraint, .. } => {
                (constraint.clone().unwrap_or_else(|| (*rule).to_owned()), column.clone())
            }
            _ => ("refused".to_owned(), None),
        };
        Outcome::Rejected { attribute, rule, message: self.message }
    }
}

/// An error with its causes, which drivers like to hide behind one another.
fn chain(error: &sqlx::Error) -> String {
    let mut text = match error {
        sqlx::Error::Database(database) => database.message().to_owned(),
        other => other.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) && !said.is_empty() {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::driver(&error)
    }
}
