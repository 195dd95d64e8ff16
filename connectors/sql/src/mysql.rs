//! MySQL and MariaDB: connecting, the session's settings, and what is said in their own way.

mod catalog;
mod codes;
mod session;

use std::str::FromStr as _;
use std::time::Duration;

use async_trait::async_trait;
use muster_connector::Error;
use muster_connector::settings::{ExposeSecret as _, SecretString};
use muster_model::{Value, ValueType};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlRow, MySqlSslMode};
use sqlx::{ConnectOptions as _, Executor as _, Row as _};
use tokio::sync::OnceCell;

use crate::belonging::Belonging;
use crate::catalog::{Catalog, Column};
use crate::config::{TlsMode, is_this_machine};
use crate::connecting::{Encryption, Place, try_to_connect, while_connecting};
use crate::database::{After, Database, Session, Text, delete_by_join, later_keys};
use crate::error::Failure;
use crate::statement::{Name, Quote, Sql, Stage, TableName, joined, sql};

use session::{MySqlSession, SMALLEST_PACKET, moment};

pub(crate) use codes::classify;

/// A MySQL or MariaDB server.
pub(crate) struct MySql {
    options: MySqlConnectOptions,
    shows_certificate: bool,
    pool: MySqlPool,
    server: OnceCell<Server>,
    engine: &'static str,
}

/// What a server says of itself.
#[derive(Debug, Clone)]
struct Server {
    version: String,
    /// It knows `RETURNING`.
    is_mariadb: bool,
    /// The most bytes of one message.
    packet: usize,
}

/// Strict, so that nothing is cut or rounded to fit in silence; zero is a key like another; the time zone is said by
/// the driver. READ COMMITTED lets a repeated look see what others committed meanwhile, as in PostgreSQL. Somebody
/// else's lock is waited for, but not as long as the whole batch may take. The language is that of [`codes`].
const SETTINGS: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,\
    ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', lc_messages = 'en_US', \
    innodb_lock_wait_timeout = 20, lock_wait_timeout = 20 /*M! , max_statement_time = 280 */; \
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

impl MySql {
    pub(crate) fn new(
        url: &SecretString,
        password: Option<&SecretString>,
        encryption: &Encryption,
    ) -> Result<Self, Error> {
        let mut options =
            MySqlConnectOptions::from_str(url.expose_secret().trim()).map_err(|_| Error::Configuration {
                setting: Some("url".to_owned()),
                problem: "not a MySQL address".to_owned(),
                fix: "write mysql://user@host:3306/database".to_owned(),
            })?;
        if let Some(password) = password {
            options = options.password(password.expose_secret());
        }
        let place = match options.get_socket().is_some() {
            true => Place::Socket,
            false if is_this_machine(options.get_host()) => Place::ThisMachine,
            false => Place::Elsewhere,
        };
        // Always said: the driver's own default falls back to plain text.
        options = options.ssl_mode(match encryption.mode(place)? {
            TlsMode::Verify => MySqlSslMode::VerifyIdentity,
            TlsMode::Off => MySqlSslMode::Disabled,
        });
        if let Some(path) = &encryption.ca_file {
            options = options.ssl_ca(path);
        }
        if let Some(certificate) = &encryption.certificate {
            options = options
                .ssl_client_cert_from_pem(&certificate.chain)
                .ssl_client_key_from_pem(certificate.key.expose_secret());
        }
        options = options.charset("utf8mb4").timezone(Some("+00:00".to_owned())).disable_statement_logging();
        let pool = MySqlPoolOptions::new()
            .max_connections(3)
            .acquire_timeout(Duration::from_secs(15))
            .idle_timeout(Duration::from_secs(300))
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(sqlx::raw_sql(SETTINGS)).await.map(drop) })
            })
            .connect_lazy_with(options.clone());
        let is_mariadb = url.expose_secret().trim_start().starts_with("mariadb:");
        let engine = if is_mariadb { "MariaDB" } else { "MySQL" };
        Ok(Self { options, shows_certificate: encryption.certificate.is_some(), pool, server: OnceCell::new(), engine })
    }

    /// The pool, once a first connection was tried outside it, which tells what is wrong.
    async fn pool(&self) -> Result<&MySqlPool, Failure> {
        if self.pool.size() == 0 {
            self.try_to_connect().await?;
        }
        Ok(&self.pool)
    }

    async fn try_to_connect(&self) -> Result<(), Failure> {
        let address = (self.options.get_host(), self.options.get_port());
        try_to_connect(&self.options, address, self.shows_certificate).await
    }

    async fn server(&self) -> Result<&Server, Failure> {
        let found = async {
            let rows = self.ask("SELECT VERSION(), @@max_allowed_packet").await?;
            let mut row = rows.into_iter().next().unwrap_or_default().into_iter().flatten();
            let version = row.next().map(|text| text.to_string()).unwrap_or_default();
            let packet = row.next().and_then(|text| text.parse().ok()).unwrap_or(SMALLEST_PACKET);
            Ok::<_, Failure>(Server { is_mariadb: version.contains("MariaDB"), version, packet })
        };
        self.server.get_or_try_init(|| found).await
    }

    /// The rows of a query of our own as texts.
    async fn ask(&self, query: &'static str) -> Result<Vec<Vec<Text>>, Failure> {
        let rows = self.pool().await?.fetch_all(sqlx::raw_sql(query)).await?;
        rows.iter().map(texts).collect()
    }
}

fn texts(row: &MySqlRow) -> Result<Vec<Text>, Failure> {
    let text = |index| -> Result<Text, Failure> {
        let bytes = row.try_get_unchecked::<Option<Vec<u8>>, _>(index)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into()))
    };
    (0..row.len()).map(text).collect()
}

#[async_trait]
impl Database for MySql {
    fn engine(&self) -> &'static str {
        self.engine
    }

    async fn identity(&self) -> Result<String, Failure> {
        let mut known: Vec<(Text, Text)> = Vec::new();
        // A cluster is one system, whichever of its servers answers.
        for query in [
            "SHOW GLOBAL STATUS WHERE Variable_name = 'wsrep_cluster_state_uuid'",
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
             ('group_replication_group_name', 'server_uuid', 'server_uid', 'hostname', 'port', 'datadir')",
        ] {
            known.extend(self.ask(query).await?.into_iter().filter_map(|mut row| Some((row.remove(0), row.pop()?))));
        }
        let value = |name: &str| {
            let found = known.iter().find(|(known, _)| known.as_deref() == Some(name));
            found
                .and_then(|(_, value)| value.as_deref())
                .filter(|value| value.contains(|letter| letter != '0' && letter != '-'))
        };
        let own = ["wsrep_cluster_state_uuid", "group_replication_group_name", "server_uuid", "server_uid"];
        let server = own
            .into_iter()
            .find_map(value)
            .map_or_else(|| joined(["hostname", "port", "datadir"].into_iter().filter_map(value), ":"), str::to_owned);
        Ok(format!("mysql:{server}/{}", self.options.get_database().unwrap_or_default()))
    }

    async fn version(&self) -> Result<String, Failure> {
        let server = self.server().await?;
        Ok(if server.is_mariadb {
            format!("MariaDB {}", server.version.trim_start_matches("5.5.5-"))
        } else {
            format!("MySQL {}", server.version)
        })
    }

    async fn catalog(&self) -> Result<Catalog, Failure> {
        catalog::read(self).await
    }

    fn quote(&self) -> Quote {
        Quote::Backtick
    }

    async fn query_columns(&self, query: &str) -> Result<Vec<Column>, Failure> {
        let mut session = self.begin(false).await?;
        // Temporary views there are none.
        session
            .execute(sql!("CREATE TEMPORARY TABLE muster_query AS SELECT * FROM ({query}\n) AS answered LIMIT 0"))
            .await?;
        let rows = session.query(sql!("SHOW FULL COLUMNS FROM muster_query")).await?;
        session.execute(sql!("DROP TEMPORARY TABLE muster_query")).await?;
        session.rollback().await;
        Ok(rows.iter().filter_map(|row| catalog::shown_column(row)).collect())
    }

    async fn begin(&self, _writes: bool) -> Result<Box<dyn Session>, Failure> {
        let server = self.server().await?;
        let (packet, is_mariadb) = (server.packet, server.is_mariadb);
        let mut begun = self.pool().await?.begin_with("START TRANSACTION").await;
        // The server may be gone since the connections in the pool were made; the error that it gives now says more.
        if matches!(begun, Err(sqlx::Error::PoolTimedOut)) {
            self.try_to_connect().await?;
            begun = self.pool.begin_with("START TRANSACTION").await;
        }
        let transaction = begun.map_err(|error| while_connecting(&error, self.shows_certificate))?;
        Ok(Box::new(MySqlSession { transaction, packet, is_mariadb, staged: false }))
    }

    fn temporary_schema(&self) -> Option<&'static str> {
        None
    }

    fn temporary_right(&self) -> &'static str {
        "CREATE TEMPORARY TABLES"
    }

    fn temporary_grant(&self) -> String {
        let database = Name::new(self.options.get_database().unwrap_or_default(), Quote::Backtick);
        format!("GRANT CREATE TEMPORARY TABLES ON {database}.* TO the user")
    }

    fn refuses(&self, _value: &Value) -> Option<(&'static str, &'static str)> {
        None
    }

    fn read_expression(&self, column: &str, native: &str) -> String {
        match catalog::value_type(native) {
            Some(ValueType::Binary) => format!("LOWER(HEX({column}))"),
            Some(ValueType::Boolean) => format!("CAST({column} + 0 AS CHAR)"),
            _ => format!("CAST({column} AS CHAR)"),
        }
    }

    fn long_text(&self) -> String {
        "longtext".to_owned()
    }

    /// MariaDB does not know `FOR SHARE`.
    fn locked(&self, table: &str, exclusive: bool) -> (String, &'static str) {
        (table.to_owned(), if exclusive { " FOR UPDATE" } else { " LOCK IN SHARE MODE" })
    }

    fn update_from_stage(&self, table: &TableName, changes: &[(Name, String)], stage: &Stage, condition: &str) -> Sql {
        let changes = joined(changes.iter().map(|(column, term)| format!("t.{column} = {term}")), ", ");
        sql!("UPDATE {table} AS t JOIN {stage} AS s ON {condition} SET {changes}")
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

    /// A comparison of whole keys, or with a column of another table, would read the table from its start for every
    /// page: only constants lead into an index.
    fn after(&self, keys: &[Name], stage: &Stage) -> After {
        let variable = |position: usize| format!("@muster_{position}");
        let staged = joined((0..keys.len()).map(|position| stage.column(position)), ", ");
        let variables = joined((0..keys.len()).map(variable), ", ");
        After::Remembered(sql!("SELECT {staged} INTO {variables} FROM {stage}"), later_keys(keys, variable))
    }

    fn literal(&self, text: &Text, native: &str) -> String {
        let Some(text) = text else { return "NULL".to_owned() };
        let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0"));
        match catalog::value_type(native) {
            Some(ValueType::Integer | ValueType::Boolean | ValueType::Decimal) => text.to_string(),
            Some(ValueType::Binary) => format!("x'{}'", text.trim_start_matches("\\x")),
            // In whatever time zone the statement is run.
            Some(ValueType::Instant) if native.starts_with("timestamp") => {
                format!("CONVERT_TZ({}, '+00:00', @@session.time_zone)", quoted(&moment(text)))
            }
            Some(ValueType::Instant) => quoted(&moment(text)),
            _ => quoted(text),
        }
    }

    fn mark(&self, _number: usize, _stage_type: &str) -> String {
        "?".to_owned()
    }

    fn update_one(&self, table: &TableName, changes: &[(Name, String)], condition: &str) -> Sql {
        let changes = joined(changes.iter().map(|(column, term)| format!("t.{column} = {term}")), ", ");
        sql!("UPDATE {table} AS t SET {changes} WHERE {condition}")
    }

    /// A bit field takes a text for its bits, a year and a choice take it for other things than a number.
    fn binds_directly(&self, native: &str) -> bool {
        catalog::binds_directly(native)
    }

    fn max_in_flight(&self) -> u32 {
        2
    }
}

#[cfg(test)]
mod tests {
    use muster_testkit::MariaDb;

    use super::*;
    use crate::database::{Insert, StageRow};

    /// MySQL has no `RETURNING`. What is done instead works on MariaDB as well, so it is tried there.
    #[tokio::test]
    async fn a_key_is_told_without_returning() {
        let kit = MariaDb::start();
        kit.sql(
            "CREATE TABLE visit (id int AUTO_INCREMENT PRIMARY KEY, who varchar(9)); CREATE TABLE log (id int AUTO_INCREMENT \
             PRIMARY KEY, what int); CREATE TRIGGER logged AFTER INSERT ON visit FOR EACH ROW INSERT INTO log (what) \
             VALUES (NEW.id); INSERT INTO log (what) SELECT seq FROM seq_1_to_40; INSERT INTO visit VALUES (76, 'x')",
        );
        let url = SecretString::from(kit.url());
        let server = Server { version: "8.0.36".to_owned(), is_mariadb: false, packet: SMALLEST_PACKET };
        let database = MySql {
            server: OnceCell::new_with(Some(server)),
            ..MySql::new(&url, None, &Encryption::default()).unwrap()
        };
        assert_eq!(database.version().await.unwrap(), "MySQL 8.0.36");
        let name = |name| Name::new(name, Quote::Backtick);
        let table = TableName::new(Some(name("app")), name("visit"));
        let stage = Stage::new(None, vec!["longtext".to_owned()]);
        let mut session = database.begin(true).await.unwrap();
        let row = |number| StageRow { number, group: 0, values: vec![Some("the same".into())] };
        session.stage(&stage, &[row(0), row(1)]).await.unwrap();
        let mut keys = Vec::new();
        let insert = |number: usize, counted| Insert {
            table: &table,
            columns: "who",
            select: sql!("SELECT v0 FROM {stage} WHERE n = {number}"),
            key: Vec::new(),
            read: "CAST(id AS CHAR)",
            counted,
        };
        for number in 0..2 {
            keys.extend(session.insert_one(insert(number, Some(name("id")))).await.unwrap());
        }
        let nothing = session.insert_one(insert(0, None)).await;
        assert!(nothing.is_err_and(|failure| failure.message.contains("AUTO_INCREMENT")));
        session.commit().await.unwrap();
        assert_eq!(keys, [[Some("77".into())], [Some("78".into())]]);
        assert_eq!(kit.sql("SELECT id FROM visit WHERE who = 'the same' ORDER BY id"), [["77"], ["78"]]);
    }
}
