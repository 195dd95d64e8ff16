//! The SQL connector as the host sees it.

use std::sync::Arc;

use async_trait::async_trait;
use muster_connector::{
    CheckReport, Connector, ConnectorKind, ConnectorSettings, Description, Error, Finding, Source, Target, UsedType,
};
use muster_model::Schema;
use tokio::sync::RwLock;

use crate::catalog::Table;
use crate::config::{Address, ServerKind, SqlSettings};
use crate::connecting::Encryption;
use crate::database::Database;
use crate::error::{Class, Failure};
use crate::ledger::{self, Ledger};
use crate::mysql::MySql;
use crate::postgres::Postgres;
use crate::rehearse::Obstacle;
use crate::schema::{TableType, types};
use crate::sqlite::Sqlite;
use crate::sqlserver::SqlServer;
use crate::statement::TableName;

/// SQL databases.
#[derive(Debug, Clone, Copy, Default)]
pub struct SqlKind;

impl ConnectorKind for SqlKind {
    fn describe(&self) -> Description {
        Description {
            kind: "sql".to_owned(),
            summary: "tables of a PostgreSQL, SQL Server, MySQL, MariaDB or SQLite database".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: schemars::schema_for!(SqlSettings).to_value(),
        }
    }

    fn connect(&self, given: ConnectorSettings) -> Result<Arc<dyn Connector>, Error> {
        let settings: SqlSettings = given.parse()?;
        let database: Box<dyn Database> = match settings.address(&given)? {
            Address::Sqlite(path) => {
                settings.refuse_certificate("nobody signs in to a SQLite file", "leave out `certificate` and `key`")?;
                Box::new(Sqlite::new(&path)?)
            }
            Address::Server { kind, url, password } => {
                if let ServerKind::SqlServer = kind {
                    let fix = "leave out `certificate` and `key`, and sign in as a SQL Server login: its name in `url`, \
                               its password in `password`";
                    settings.refuse_certificate("no certificate can be shown to a SQL Server", fix)?;
                }
                let (password, encryption) = (password.as_ref(), Encryption::read(&settings, &given)?);
                match kind {
                    ServerKind::Postgres => Box::new(Postgres::new(&url, password, &encryption)?),
                    ServerKind::MySql => Box::new(MySql::new(&url, password, &encryption)?),
                    ServerKind::SqlServer => Box::new(SqlServer::new(&url, password, &encryption)?),
                }
            }
        };
        Ok(Arc::new(SqlConnector { settings, database, ledger: Ledger::default(), discovered: RwLock::new(None) }))
    }
}

/// One configured database.
pub(crate) struct SqlConnector {
    pub(crate) settings: SqlSettings,
    pub(crate) database: Box<dyn Database>,
    pub(crate) ledger: Ledger,
    discovered: RwLock<Option<Arc<Vec<TableType>>>>,
}

impl SqlConnector {
    /// Asks the catalogue anew.
    async fn discover(&self) -> Result<Arc<Vec<TableType>>, Error> {
        let mut catalog = self.database.catalog().await.map_err(|failure| self.failed(failure))?;
        for (name, configured) in &self.settings.types {
            if let Some(query) = &configured.query {
                catalog.queries.insert(name.clone(), self.answered(name, query).await?);
            }
        }
        let found = Arc::new(types(&self.settings, &catalog, self.database.as_ref())?);
        *self.discovered.write().await = Some(found.clone());
        Ok(found)
    }

    /// What a query answers, as a table.
    async fn answered(&self, name: &str, query: &str) -> Result<Table, Error> {
        let setting = format!("types.{name}.query");
        let query = query.trim().trim_end_matches(';').trim_end();
        let wrong = |problem: String, fix: &str| Error::Configuration {
            setting: Some(setting.clone()),
            problem,
            fix: fix.to_owned(),
        };
        if query.is_empty() {
            return Err(wrong("the query is empty".to_owned(), "write SELECT …, or name a table"));
        }
        let columns = self.database.query_columns(query).await.map_err(|failure| {
            let problem = format!("{} does not take it: {}", self.database.engine(), failure.message);
            let fix = "write one SELECT that can stand in parentheses after FROM, with a name for each column";
            match failure.error(true) {
                error @ (Error::Unreachable { .. } | Error::Throttled { .. } | Error::Credentials { .. }) => error,
                _ => wrong(problem, fix),
            }
        })?;
        Ok(Table::of_query(TableName::of_query(name, self.database.quote(), query), columns))
    }

    /// A type as last discovered.
    pub(crate) async fn table_type(&self, name: &str) -> Result<TableType, Error> {
        let known = self.discovered.read().await.clone();
        let types = match known {
            Some(types) => types,
            None => self.discover().await?,
        };
        types.iter().find(|candidate| candidate.object_type.name == name).cloned().ok_or_else(|| Error::Configuration {
            setting: None,
            problem: format!("the database has no object type {name:?}"),
            fix: "compare with `muster schema`".to_owned(),
        })
    }

    async fn examine(&self, found: &TableType, wanted: &UsedType, findings: &mut Vec<Finding>) {
        let name = &found.object_type.name;
        let anchor = &found.object_type.anchor.attributes;
        if !found.table.is_unique(anchor) {
            let setting = format!("types.{name}.anchor");
            let problem = format!(
                "nothing keeps {} unique in {}; a key of two rows is refused",
                anchor.join(", "),
                found.table.name
            );
            findings.push(Finding::warning(Some(&setting), problem, "add a unique key to the table"));
        }
        if let Some(keeper) = &found.table.without_undo {
            let setting = format!("types.{name}.table");
            let table = &found.table.name;
            let problem =
                format!("{keeper} keeps the rows of {table} and undoes nothing: half a refused batch would stay");
            findings.push(Finding::error(Some(&setting), problem, format!("ALTER TABLE {table} ENGINE = InnoDB")));
        }
        match self.rehearse(found, wanted).await {
            Ok(obstacles) => {
                findings.extend(
                    obstacles.into_iter().map(|obstacle| missing_right(self.database.as_ref(), found, obstacle)),
                );
            }
            Err(failure) => findings.push(finding(self.database.engine(), failure)),
        }
    }

    async fn examine_ledger(&self) -> Option<Finding> {
        let tried = async {
            let mut session = self.database.begin(true).await?;
            for trial in ledger::trials() {
                session.execute(trial).await?;
            }
            Ok::<_, Failure>(())
        };
        let failure = tried.await.err()?;
        let problem = format!("the ledger cannot be kept: {}", failure.message);
        let fix = match failure.class {
            Class::NotThere => format!("run {}", ledger::tables(self.database.as_ref()).join(" ")),
            Class::Forbidden => {
                format!(
                    "GRANT SELECT, INSERT, UPDATE, DELETE ON {}, {} TO the user",
                    ledger::OPERATIONS,
                    ledger::LEASES
                )
            }
            _ => "see the database's own message".to_owned(),
        };
        Some(Finding::error(Some("ledger"), problem, fix))
    }

    /// A failure outside any batch: nothing was sent.
    pub(crate) fn failed(&self, failure: Failure) -> Error {
        failure.error(true)
    }
}

#[async_trait]
impl Connector for SqlConnector {
    async fn check(&self, used: &[UsedType]) -> Result<CheckReport, Error> {
        let mut report = CheckReport::default();
        match self.database.version().await {
            Ok(version) => report.features.push(version),
            Err(failure) => {
                report.findings.push(finding(self.database.engine(), failure));
                return Ok(report);
            }
        }
        match self.discover().await {
            Ok(_) => {}
            Err(Error::Configuration { setting, problem, fix }) => {
                report.findings.push(Finding::error(setting.as_deref(), problem, fix));
                return Ok(report);
            }
            Err(error) => return Err(error),
        }
        // Missing types and columns are found where the rules are resolved; here it is what the user may do.
        for wanted in used.iter().filter(|wanted| wanted.as_target) {
            let Ok(found) = self.table_type(&wanted.object_type).await else { continue };
            self.examine(&found, wanted, &mut report.findings).await;
        }
        for wanted in used.iter().filter(|wanted| wanted.as_source) {
            let Ok(found) = self.table_type(&wanted.object_type).await else { continue };
            self.examine_source(&found, wanted, &mut report.findings).await;
        }
        if self.settings.ledger && used.iter().any(|wanted| wanted.as_target) {
            report.findings.extend(self.examine_ledger().await);
        }
        report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(report)
    }

    async fn schema(&self) -> Result<Schema, Error> {
        let types = self.discover().await?;
        let identity = self.database.identity().await.map_err(|failure| self.failed(failure))?;
        let setup = if self.settings.ledger { ledger::tables(self.database.as_ref()) } else { Vec::new() };
        Ok(Schema { identity, types: types.iter().map(|found| found.object_type.clone()).collect(), setup })
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }
}

fn missing_right(database: &dyn Database, found: &TableType, obstacle: Obstacle) -> Finding {
    let type_name = &found.object_type.name;
    if let Some(setting) = obstacle.setting {
        let setting = format!("types.{type_name}.{setting}");
        let problem = format!("{} refuses what is written here: {}", database.engine(), obstacle.failure.message);
        return Finding::error(
            Some(&setting),
            problem,
            "write it in the database's own SQL, and compare names with `muster schema`",
        );
    }
    let setting = format!("types.{type_name}.table");
    let table = &found.table.name;
    let Some(right) = obstacle.right else {
        let Failure { message, .. } = &obstacle.failure;
        if obstacle.failure.blames_a_row() {
            // There was none: the refusal is meant for the user, or for everybody.
            let problem = format!("{table} refuses to be changed, even where no row changes: {message}");
            let fix = "see whether the user has the rights, and what the table's triggers refuse";
            return Finding::warning(Some(&setting), problem, fix);
        }
        let problem = format!("{table} cannot be written: {message}");
        let fix = match obstacle.failure.error(true) {
            Error::Credentials { fix, .. } | Error::Configuration { fix, .. } => fix,
            _ => "see the database's own message".to_owned(),
        };
        return Finding::error(Some(&setting), problem, fix);
    };
    let problem = format!("the connection's user lacks {right}: {}", obstacle.failure.message);
    if right == database.temporary_right() {
        let fix = format!("{}; values travel through a temporary table", database.temporary_grant());
        return Finding::error(Some(&setting), problem, fix);
    }
    let fix = format!("GRANT {right} ON {table} TO the user");
    if obstacle.optional {
        return Finding::warning(Some(&setting), problem, format!("{fix}, if a sync is to delete rows"));
    }
    Finding::error(Some(&setting), problem, fix)
}

pub(crate) fn finding(engine: &str, failure: Failure) -> Finding {
    let message = failure.message.clone();
    match failure.class {
        Class::Unreachable => Finding::error(
            Some("url"),
            format!("{engine} cannot be reached: {message}"),
            "check host, port and firewall, and whether the server runs",
        ),
        Class::NotThere => Finding::error(Some("url"), format!("{engine}: {message}"), "check the address"),
        Class::Certificate { fix } => Finding::error(Some("certificate"), message, fix),
        _ => match failure.error(true) {
            Error::Credentials { problem, fix } | Error::Configuration { problem, fix, .. } => {
                Finding::error(Some("url"), problem, fix)
            }
            other => Finding::error(Some("url"), other.to_string(), "see the server's log"),
        },
    }
}
