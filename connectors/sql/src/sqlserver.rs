//! SQL Server and Azure SQL: where a database is, the session's settings, and what is said in their own way.

mod answered;
mod catalog;
mod codes;
mod driver;
mod loading;
mod pool;
mod session;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::Datelike as _;
use muster_connector::Error;
use muster_connector::settings::{ExposeSecret as _, SecretString};
use muster_model::Value;
use url::Url;

use crate::belonging::Belonging;
use crate::catalog::{Catalog, Column};
use crate::config::is_this_machine;
use crate::connecting::{Encryption, Place};
use crate::database::{After, Database, Session, Text, delete_by_join, later_keys};
use crate::error::Failure;
use crate::statement::{Name, Quote, Sql, Stage, TableName, joined, sql};

use driver::Address;
use loading::is_year;
use pool::Pool;
use session::SqlServerSession;
use types::DIGITS;

/// A database on a SQL Server.
pub(crate) struct SqlServer {
    pool: Arc<Pool>,
}

/// What the server assumes of sessions is settled, for an administrator may have changed it: nothing is cut in silence,
/// names stand in brackets and texts in quotes, the language is that of [`codes`]. A refused row does not undo the
/// transaction by itself (XACT_ABORT), so that its neighbours can be kept. Somebody else's lock is waited for, but not
/// as long as the whole batch may take.
const SETTINGS: &str = "SET NOCOUNT ON SET XACT_ABORT OFF SET IMPLICIT_TRANSACTIONS OFF SET LOCK_TIMEOUT 20000 \
    SET ANSI_NULLS ON SET ANSI_PADDING ON SET ANSI_WARNINGS ON SET ARITHABORT ON SET CONCAT_NULL_YIELDS_NULL ON \
    SET QUOTED_IDENTIFIER ON SET NUMERIC_ROUNDABORT OFF SET LANGUAGE us_english SET DATEFORMAT ymd \
    SET TEXTSIZE 2147483647 SET TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// How an address is written.
const FORM: &str = "write sqlserver://user@host:1433/database, or sqlserver://user@host/database?instance=NAME";

fn wrong(problem: &str, fix: &str) -> Error {
    Error::Configuration { setting: Some("url".to_owned()), problem: problem.to_owned(), fix: fix.to_owned() }
}

/// A part of an address without its `%20`.
fn decoded(part: &str) -> Result<String, Error> {
    let plain = percent_encoding::percent_decode_str(part).decode_utf8();
    plain.map(Into::into).map_err(|_| wrong("the address holds %.. that is no text in UTF-8", FORM))
}

fn address(url: &SecretString, password: Option<&SecretString>, encryption: &Encryption) -> Result<Address, Error> {
    let url = Url::parse(url.expose_secret().trim()).map_err(|_| wrong("not a SQL Server address", FORM))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    if host.is_empty() {
        return Err(wrong("the address names no host", FORM));
    }
    let user = decoded(url.username())?;
    if user.is_empty() {
        let fix = "write sqlserver://user@host:1433/database with the name of a SQL Server login; \
                   Windows accounts are not supported";
        return Err(wrong("the address names no user", fix));
    }
    let mut instance = None;
    for (name, value) in url.query_pairs() {
        if !name.eq_ignore_ascii_case("instance") || value.is_empty() {
            return Err(wrong(&format!("{name:?} is not known in a SQL Server address"), FORM));
        }
        instance = Some(value.into_owned());
    }
    let place = if is_this_machine(host) { Place::ThisMachine } else { Place::Elsewhere };
    let in_url = url.password().map(decoded).transpose()?.map(SecretString::from);
    Ok(Address {
        host: decoded(host)?,
        port: url.port(),
        instance,
        database: decoded(url.path().trim_start_matches('/'))?,
        user,
        password: password.cloned().or(in_url).unwrap_or_default(),
        tls: encryption.mode(place)?,
        ca_file: encryption.ca_file.clone(),
    })
}

impl SqlServer {
    pub(crate) fn new(
        url: &SecretString,
        password: Option<&SecretString>,
        encryption: &Encryption,
    ) -> Result<Self, Error> {
        Ok(Self { pool: Pool::new(address(url, password, encryption)?, SETTINGS) })
    }

    /// The rows of a query of our own.
    async fn ask(&self, query: &'static str) -> Result<Vec<Vec<Text>>, Failure> {
        let (lease, answers) = self.pool.run(query).await?;
        lease.give_back();
        Ok(answers.into_iter().next_back().unwrap_or_default())
    }

    async fn ask_row(&self, query: &'static str) -> Result<Vec<Text>, Failure> {
        Ok(self.ask(query).await?.into_iter().next().unwrap_or_default())
    }
}

#[async_trait]
impl Database for SqlServer {
    fn engine(&self) -> &'static str {
        "SQL Server"
    }

    async fn identity(&self) -> Result<String, Failure> {
        // The broker's identifier belongs to one database and is never changed by itself. It is told with the server's
        // name, for a copy restored elsewhere has it as well; but an availability group is one system, whichever of
        // its servers answers.
        let known = self
            .ask_row(
                "SELECT CONVERT(nvarchar(36), group_database_id), CONVERT(nvarchar(128), SERVERPROPERTY('ServerName')), \
                 DB_NAME(), CONVERT(nvarchar(36), service_broker_guid) FROM sys.databases WHERE name = DB_NAME()",
            )
            .await?;
        let known: Vec<Option<&str>> = known.iter().map(Option::as_deref).collect();
        Ok(match known.as_slice() {
            [Some(group), ..] => format!("sqlserver:{group}"),
            [None, others @ ..] => format!("sqlserver:{}", joined(others.iter().flatten(), "/")),
            [] => format!("sqlserver:{}/{}", self.pool.address.host, self.pool.address.database),
        })
    }

    async fn version(&self) -> Result<String, Failure> {
        let row = self
            .ask_row(
                "SELECT CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion')), \
                 CONVERT(nvarchar(128), SERVERPROPERTY('Edition'))",
            )
            .await?;
        let mut row = row.iter().flatten();
        let version = row.next().map(AsRef::as_ref).unwrap_or_default();
        Ok(match row.next() {
            Some(edition) => format!("SQL Server {version}, {edition}"),
            None => format!("SQL Server {version}"),
        })
    }

    async fn catalog(&self) -> Result<Catalog, Failure> {
        catalog::read(self).await
    }

    fn quote(&self) -> Quote {
        Quote::Bracket
    }

    async fn query_columns(&self, query: &str) -> Result<Vec<Column>, Failure> {
        let mut session = self.begin(false).await?;
        let rows = session.query(answered::described(query)).await?;
        session.rollback().await;
        Ok(rows.iter().filter_map(|row| answered::described_column(row)).collect())
    }

    async fn begin(&self, _writes: bool) -> Result<Box<dyn Session>, Failure> {
        let (lease, _) = self.pool.run("BEGIN TRANSACTION").await?;
        Ok(Box::new(SqlServerSession { lease, staged: false, failed: None }))
    }

    fn temporary_schema(&self) -> Option<&'static str> {
        Some("#")
    }

    fn temporary_right(&self) -> &'static str {
        "temporary tables"
    }

    fn temporary_grant(&self) -> String {
        "let the login use tempdb".to_owned()
    }

    fn refuses(&self, value: &Value) -> Option<(&'static str, &'static str)> {
        let years = ("out_of_range", "SQL Server knows the years 1 to 9999");
        match value {
            Value::Text(text) if text.contains('\0') => {
                Some(("nul_character", "SQL Server takes texts that differ in NUL characters only for the same"))
            }
            Value::Decimal(number) => {
                let digits = number.as_str().bytes().filter(u8::is_ascii_digit).count();
                (digits > DIGITS).then_some(("too_precise", "SQL Server keeps 38 digits of a decimal number"))
            }
            Value::Date(date) => (!is_year(date.year())).then_some(years),
            Value::Instant(instant) => (!is_year(instant.year())).then_some(years),
            _ => None,
        }
    }

    fn read_expression(&self, column: &str, native: &str) -> String {
        types::read_expression(column, native)
    }

    fn long_text(&self) -> String {
        "nvarchar(max)".to_owned()
    }

    /// Locks are held to the end even where readers are given snapshots. Those that may be shared keep exclusive ones
    /// waiting, which those for an update would not.
    fn locked(&self, table: &str, exclusive: bool) -> (String, &'static str) {
        (format!("{table} WITH (ROWLOCK, HOLDLOCK{})", if exclusive { ", XLOCK" } else { "" }), "")
    }

    fn mark(&self, number: usize, _stage_type: &str) -> String {
        format!("@muster_{number}")
    }

    fn update_one(&self, table: &TableName, changes: &[(Name, String)], condition: &str) -> Sql {
        let changes = joined(changes.iter().map(|(column, term)| format!("{column} = {term}")), ", ");
        sql!("UPDATE t SET {changes} FROM {table} AS t WHERE {condition}")
    }

    fn read_number(&self, column: &str) -> String {
        types::read_expression(column, "int")
    }

    fn update_from_stage(&self, table: &TableName, changes: &[(Name, String)], stage: &Stage, condition: &str) -> Sql {
        let changes = joined(changes.iter().map(|(column, term)| format!("{column} = {term}")), ", ");
        sql!("UPDATE t SET {changes} FROM {table} AS t JOIN {stage} AS s ON {condition}")
    }

    fn delete_by_stage(
        &self,
        table: &TableName,
        same: &[(Name, Name)],
        belonging: &Belonging,
        stage: &Stage,
        group: usize,
    ) -> Sql {
        delete_by_join(table, same, belonging, stage, group)
    }

    /// The first condition says nothing new, but leads into an index.
    fn after(&self, keys: &[Name], stage: &Stage) -> After {
        // As the column's own type: a text compared as it is bound would turn the column into one.
        let bound = |position: usize| {
            let kind = stage.types.get(position).map_or("nvarchar(max)", String::as_str);
            format!("CAST({} AS {})", self.mark(position + 1, kind), kind.split(" COLLATE ").next().unwrap_or(kind))
        };
        let later = later_keys(keys, bound);
        After::Bound(match keys.first().filter(|_| keys.len() > 1) {
            Some(first) => format!("t.{first} >= {} AND ({later})", bound(0)),
            None => later,
        })
    }

    fn limit(&self, rows: usize) -> String {
        format!("OFFSET 0 ROWS FETCH NEXT {rows} ROWS ONLY")
    }

    fn literal(&self, text: &Text, native: &str) -> String {
        types::literal(text, native)
    }

    fn tracks_changes(&self) -> bool {
        true
    }

    /// Source: Microsoft Learn, "CHANGE_TRACKING_CURRENT_VERSION (Transact-SQL)". Null where the database tracks nothing.
    fn tracking_version(&self) -> &'static str {
        "CONVERT(varchar(20), CHANGE_TRACKING_CURRENT_VERSION())"
    }

    /// Source: Microsoft Learn, "CHANGE_TRACKING_MIN_VALID_VERSION (Transact-SQL)".
    fn tracking_begins(&self, table: &TableName) -> String {
        let name = table.to_string().replace('\'', "''");
        format!("CONVERT(varchar(20), CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID(N'{name}')))")
    }

    fn max_in_flight(&self) -> u32 {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsMode;
    use crate::statement::Quote;

    fn read(url: &str) -> Result<Address, Error> {
        address(&SecretString::from(url.to_owned()), None, &Encryption::default())
    }

    #[test]
    fn addresses_say_where_and_who() {
        let found = read("sqlserver://sync%40hr:p%25%2Fw@db.example.com:1444/HR%20app").unwrap();
        assert_eq!((found.host.as_str(), found.port, found.instance), ("db.example.com", Some(1444), None));
        assert_eq!((found.user.as_str(), found.database.as_str()), ("sync@hr", "HR app"));
        assert_eq!(found.password.expose_secret(), "p%/w");
        assert_eq!(found.tls, TlsMode::Verify);
        let found = read("mssql://sync@[::1]/hr?instance=HR2019").unwrap();
        assert_eq!((found.host.as_str(), found.port, found.tls), ("::1", None, TlsMode::Off));
        assert_eq!(found.instance.as_deref(), Some("HR2019"));
        for wrong in ["sqlserver://host/hr", "sqlserver://sync@/hr", "sqlserver://sync@host/hr?encrypt=false"] {
            assert!(matches!(read(wrong), Err(Error::Configuration { .. })), "{wrong}");
        }
    }

    #[test]
    fn statements_are_those_of_its_language() {
        let url = SecretString::from("sqlserver://sync@127.0.0.1/hr".to_owned());
        let database = SqlServer::new(&url, None, &Encryption::default()).unwrap();
        let name = |name| Name::new(name, Quote::Bracket);
        let table = TableName::new(Some(name("dbo")), name("app_user"));
        let stage = Stage::new(database.temporary_schema(), vec!["bigint".to_owned(), "nvarchar(9)".to_owned()]);
        let changes = [(name("login"), "s.v1".to_owned()), (name("changed"), "(SYSUTCDATETIME())".to_owned())];
        assert_eq!(
            database.update_from_stage(&table, &changes, &stage, "t.[id] = s.v0 AND s.g = 0").text(),
            "UPDATE t SET [login] = s.v1, [changed] = (SYSUTCDATETIME()) FROM [dbo].[app_user] AS t \
             JOIN #muster_stage AS s ON t.[id] = s.v0 AND s.g = 0"
        );
        let same = [(name("id"), stage.column(0)), (name("login"), stage.column(1))];
        assert_eq!(
            database.delete_by_stage(&table, &same, &Belonging::default(), &stage, 2).text(),
            "DELETE t FROM [dbo].[app_user] AS t JOIN #muster_stage AS s ON t.[id] = s.v0 AND t.[login] = s.v1 \
             WHERE s.g = 2"
        );
        let keys = ["varchar(20) COLLATE Latin1_General_CI_AS".to_owned(), "bigint".to_owned()];
        let stage_of = |types: &[String]| Stage::new(Some("#"), types.to_vec());
        let After::Bound(condition) = database.after(&[name("site"), name("number")], &stage_of(&keys)) else {
            panic!("the key is bound");
        };
        let site = "CAST(@muster_1 AS varchar(20))";
        assert_eq!(
            format!("{condition} {}", database.limit(10)),
            format!(
                "t.[site] >= {site} AND ((t.[site] > {site}) OR (t.[site] = {site} AND \
                 t.[number] > CAST(@muster_2 AS bigint))) OFFSET 0 ROWS FETCH NEXT 10 ROWS ONLY"
            )
        );
        assert_eq!(
            database.tracking_begins(&table),
            "CONVERT(varchar(20), CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID(N'[dbo].[app_user]')))"
        );
        assert_eq!(database.read_number("s.n"), "CONVERT(nvarchar(20), s.n)");
    }

    #[test]
    fn what_no_column_can_hold_is_refused() {
        let url = SecretString::from("sqlserver://sync@127.0.0.1/hr".to_owned());
        let database = SqlServer::new(&url, None, &Encryption::default()).unwrap();
        let decimal = |text: &str| Value::Decimal(muster_model::Decimal::parse(text).unwrap());
        let rule = |value: Value| database.refuses(&value).map(|(rule, _)| rule);
        assert_eq!(rule(Value::text("a\0b")), Some("nul_character"));
        assert_eq!(rule(Value::text("a\nb")), None);
        assert_eq!(rule(decimal("-12345678901234567890.123456789012345678")), None);
        assert_eq!(rule(decimal("12345678901234567890.1234567890123456789")), Some("too_precise"));
        assert_eq!(rule(Value::Date(chrono::NaiveDate::MAX)), Some("out_of_range"));
    }
}
