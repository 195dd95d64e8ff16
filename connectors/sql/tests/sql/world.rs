//! A database with a few tables, a connection to it, and shorthand for operations.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_connector::settings::SecretString;
use muster_connector::{
    Batch, Connector, ConnectorKind as _, ConnectorSettings, Epoch, Error, Kind, Operation, OperationId, Outcome,
    ReadRequest,
};
use muster_connector_sql::SqlKind;
use muster_model::{Key, Row, Slot, Value};
use muster_testkit::{MariaDb, NULL, Postgres};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use uuid::Uuid;

use crate::sqlserver_kit;

/// What most scenarios work on. Words in braces differ between the engines.
const TABLES: &str = "
    CREATE TABLE dept (id integer PRIMARY KEY, name text NOT NULL);
    INSERT INTO dept (id, name) VALUES (1, 'Sales'), (2, 'Legal');
    CREATE TABLE app_user (
        id {identity},
        employee_no varchar(20) NOT NULL UNIQUE,
        login varchar(30){unique},
        full_name {long} NOT NULL,
        note varchar(8),
        dept_id integer,
        is_active boolean NOT NULL DEFAULT {true},
        CONSTRAINT named CHECK (full_name <> ''),
        CONSTRAINT in_dept FOREIGN KEY (dept_id) REFERENCES dept (id)
    );
    CREATE TABLE badge (
        site varchar(10) NOT NULL, number integer NOT NULL, holder {text}, colour {text},
        PRIMARY KEY (site, number){unique holder}
    );
    CREATE TABLE person (no varchar(12){exact} PRIMARY KEY, mail {text}{unique}, name text{exact}, state integer);
    CREATE TABLE visit (id {identity}, who {long}{exact});";

pub(crate) enum Server {
    Postgres(Box<Postgres>),
    MariaDb(Box<MariaDb>),
    Sqlite { _folder: tempfile::TempDir, path: PathBuf },
    Microsoft(Box<sqlserver_kit::Server>),
}

pub(crate) struct World {
    pub(crate) server: Server,
}

impl World {
    pub(crate) async fn postgres() -> Self {
        let world = Self { server: Server::Postgres(Box::new(Postgres::start())) };
        world.run(TABLES).await;
        world
    }

    pub(crate) async fn mariadb() -> Self {
        let world = Self { server: Server::MariaDb(Box::new(MariaDb::start())) };
        world.run(TABLES).await;
        world
    }

    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hr app.db");
        std::fs::File::create(&path).unwrap();
        let world = Self { server: Server::Sqlite { _folder: folder, path } };
        world.run("PRAGMA journal_mode = WAL").await;
        world.run(TABLES).await;
        world
    }

    pub(crate) async fn sqlserver() -> Self {
        let world = Self { server: Server::Microsoft(Box::new(sqlserver_kit::Server::start().await)) };
        world.run(TABLES).await;
        world
            .run(
                "CREATE UNIQUE INDEX one_login ON app_user (login) WHERE login IS NOT NULL; \
                 CREATE UNIQUE INDEX one_mail ON person (mail) WHERE mail IS NOT NULL; \
                 CREATE UNIQUE INDEX one_holder ON badge (holder, colour) WHERE holder IS NOT NULL AND colour IS NOT NULL",
            )
            .await;
        world
    }

    pub(crate) fn is_sqlserver(&self) -> bool {
        matches!(self.server, Server::Microsoft(_))
    }

    /// Whether the database says of an error which one it is, as only a server that speaks SQL Server's protocol without
    /// being one may fail to do.
    pub(crate) async fn numbers_errors(&self, not_covered: &str) -> bool {
        match &self.server {
            Server::Microsoft(server) => server.numbers_errors(not_covered).await,
            _ => true,
        }
    }

    pub(crate) fn is_mariadb(&self) -> bool {
        matches!(self.server, Server::MariaDb(_))
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.server, Server::Postgres(_))
    }

    pub(crate) fn url(&self) -> String {
        match &self.server {
            Server::Postgres(server) => server.url(),
            Server::MariaDb(server) => server.url(),
            Server::Sqlite { path, .. } => format!("sqlite://{}", path.display()),
            Server::Microsoft(server) => server.url(),
        }
    }

    pub(crate) fn pg(&self) -> &Postgres {
        match &self.server {
            Server::Postgres(server) => server,
            _ => panic!("for PostgreSQL only"),
        }
    }

    pub(crate) fn maria(&self) -> &MariaDb {
        match &self.server {
            Server::MariaDb(server) => server,
            _ => panic!("for MariaDB only"),
        }
    }

    pub(crate) fn mssql(&self) -> &sqlserver_kit::Server {
        match &self.server {
            Server::Microsoft(server) => server,
            _ => panic!("for SQL Server only"),
        }
    }

    /// PostgreSQL's, or that of all others.
    pub(crate) fn either<T>(&self, postgres: T, other: T) -> T {
        if self.is_postgres() { postgres } else { other }
    }

    /// SQL Server's is MariaDB's, where it has none of its own.
    pub(crate) fn each<T>(&self, postgres: T, mariadb: T, sqlite: T) -> T {
        match self.server {
            Server::Postgres(_) => postgres,
            Server::MariaDb(_) | Server::Microsoft(_) => mariadb,
            Server::Sqlite { .. } => sqlite,
        }
    }

    /// SQL Server's own, or else that of the others.
    pub(crate) fn sqlserver_or<T>(&self, sqlserver: T, others: T) -> T {
        if self.is_sqlserver() { sqlserver } else { others }
    }

    /// A name as the engine quotes it.
    pub(crate) fn quoted(&self, name: &str) -> String {
        if self.is_sqlserver() {
            return format!("[{}]", name.replace(']', "]]"));
        }
        let quote = self.each("\"", "`", "\"");
        format!("{quote}{}{quote}", name.replace(quote, &quote.repeat(2)))
    }

    /// Runs SQL apart from the connector, in the engine's own words.
    pub(crate) async fn run(&self, sql: &str) {
        self.rows(sql).await;
    }

    /// Reads rows apart from the connector.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let identity = self.each(
            "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            "bigint AUTO_INCREMENT PRIMARY KEY",
            "INTEGER PRIMARY KEY",
        );
        let words = [
            ("{identity}", self.sqlserver_or("bigint IDENTITY PRIMARY KEY", identity)),
            // To SQL Server one null equals another: there an index without them keeps such columns unique.
            ("{unique}", self.sqlserver_or("", " UNIQUE")),
            ("{unique holder}", self.sqlserver_or("", ", UNIQUE (holder, colour)")),
            // Its databases take upper and lower case for the same, unless a column says otherwise.
            ("{exact}", self.sqlserver_or(" COLLATE Latin1_General_BIN2", "")),
            ("{true}", self.either("true", "1")),
            ("{false}", self.either("false", "0")),
            ("{bytes}", self.sqlserver_or("varbinary(max)", self.either("bytea", "blob"))),
            ("{instant}", self.sqlserver_or("datetime2(6)", self.each("timestamptz", "datetime(6)", "timestamp"))),
            // A text with an index that can be searched, and one without a limit.
            ("{text}", self.each("text", "varchar(190)", "text")),
            ("{long}", self.each("text", self.sqlserver_or("text", "longtext"), "text")),
            ("{as text}", self.either("::text", "")),
        ];
        let sql = words.iter().fold(sql.to_owned(), |sql, (word, meaning)| sql.replace(word, meaning));
        match &self.server {
            Server::Postgres(server) => server.psql(&sql),
            Server::MariaDb(server) => server.sql(&sql),
            Server::Microsoft(server) => server.sql(&sql).await,
            Server::Sqlite { path, .. } => sqlite_rows(path, &sql).await,
        }
    }

    pub(crate) fn connect(&self) -> Connection {
        self.connect_with(json!({}))
    }

    /// A connection with these settings beside the address.
    pub(crate) fn connect_with(&self, settings: serde_json::Value) -> Connection {
        match &self.server {
            Server::Microsoft(server) => with_password(&self.url(), &server.password(), settings),
            _ => try_connect(&self.url(), settings).unwrap(),
        }
    }
}

async fn sqlite_rows(path: &std::path::Path, sql: &str) -> Vec<Vec<String>> {
    let mut connection = SqliteConnectOptions::new().filename(path).foreign_keys(true).connect().await.unwrap();
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await;
    let rows = rows.unwrap_or_else(|error| panic!("{error}\nfor: {sql}"));
    let text = |row: &sqlx::sqlite::SqliteRow, index| {
        row.try_get_unchecked::<Option<String>, _>(index).unwrap().unwrap_or_else(|| NULL.to_owned())
    };
    rows.iter().map(|row| (0..row.len()).map(|index| text(row, index)).collect()).collect()
}

pub(crate) fn try_connect(url: &str, settings: serde_json::Value) -> Result<Connection, Error> {
    connect_as(url, settings, BTreeMap::new())
}

pub(crate) fn with_password(url: &str, password: &str, mut settings: serde_json::Value) -> Connection {
    settings["password"] = json!({ "env": "X" });
    connect_as(url, settings, [("password".to_owned(), password.to_owned().into())].into()).unwrap()
}

pub(crate) fn connect_as(
    url: &str,
    mut settings: serde_json::Value,
    secrets: BTreeMap<String, SecretString>,
) -> Result<Connection, Error> {
    settings["url"] = json!(url);
    let given = ConnectorSettings {
        connection: "hrapp".to_owned(),
        values: settings,
        secrets,
        base_folder: std::env::temp_dir(),
    };
    Ok(Connection(SqlKind.connect(given)?))
}

pub(crate) struct Connection(pub(crate) Arc<dyn Connector>);

impl Connection {
    pub(crate) async fn try_apply(&self, batch: &Batch) -> Result<Vec<Outcome>, Error> {
        let answered = self.0.target().unwrap().apply(batch).await?;
        assert_eq!(answered.len(), batch.operations.len(), "{answered:?}");
        let outcome = |operation: &Operation| {
            let found = answered.iter().find(|(id, _)| *id == operation.id);
            found.unwrap_or_else(|| panic!("{operation:?} is not answered")).1.clone()
        };
        Ok(batch.operations.iter().map(outcome).collect())
    }

    pub(crate) async fn apply(&self, batch: &Batch) -> Vec<Outcome> {
        self.try_apply(batch).await.unwrap()
    }

    /// Applies operations on rows of these attributes.
    pub(crate) async fn send(
        &self,
        object_type: &str,
        attributes: &[&str],
        operations: Vec<Operation>,
    ) -> Vec<Outcome> {
        self.apply(&batch(object_type, attributes, operations)).await
    }

    /// Sends operations as the host does: where a batch is refused as a whole, each half of it by itself.
    pub(crate) async fn halved(
        &self,
        object_type: &str,
        attributes: &[&str],
        operations: Vec<Operation>,
    ) -> Vec<Outcome> {
        match self.try_apply(&batch(object_type, attributes, operations.clone())).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                assert!(operations.len() > 1, "{error:?}");
                let (first, second) = operations.split_at(operations.len() / 2);
                let mut outcomes = Box::pin(self.halved(object_type, attributes, first.to_vec())).await;
                outcomes.extend(Box::pin(self.halved(object_type, attributes, second.to_vec())).await);
                outcomes
            }
        }
    }

    pub(crate) async fn find(
        &self,
        object_type: &str,
        attributes: &[&str],
        by: &[&str],
        values: Vec<Vec<Value>>,
    ) -> Vec<Vec<(Key, Row)>> {
        let by: Vec<String> = by.iter().map(|name| (*name).to_owned()).collect();
        let found = self.0.target().unwrap().find(&request(object_type, attributes), &by, &values).await.unwrap();
        assert_eq!(found.len(), values.len());
        found.into_iter().map(|some| some.into_iter().map(|one| (one.key, one.row)).collect()).collect()
    }

    pub(crate) async fn get(&self, object_type: &str, attributes: &[&str], keys: &[Key]) -> Vec<Option<Row>> {
        let found = self.0.target().unwrap().get(&request(object_type, attributes), keys).await.unwrap();
        assert_eq!(found.len(), keys.len());
        found.into_iter().map(|one| one.map(|one| one.row)).collect()
    }
}

pub(crate) fn request(object_type: &str, attributes: &[&str]) -> ReadRequest {
    ReadRequest {
        object_type: object_type.into(),
        attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
        named: Default::default(),
    }
}

pub(crate) fn batch(object_type: &str, attributes: &[&str], operations: Vec<Operation>) -> Batch {
    Batch {
        object_type: object_type.into(),
        attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
        operations,
        epoch: Epoch::default(),
        deadline: Duration::from_secs(60),
    }
}

pub(crate) fn operation(kind: Kind, key: Option<Key>, row: Vec<Slot>) -> Operation {
    Operation {
        id: OperationId(Uuid::now_v7()),
        kind,
        key,
        row: Row(row),
        deltas: Vec::new(),
        enabling: None,
        expected_version: None,
        expected: None,
        depends_on: Vec::new(),
        secrets: Vec::new(),
    }
}

pub(crate) fn create(row: Vec<Slot>) -> Operation {
    operation(Kind::Create, None, row)
}

pub(crate) fn update(key: Key, row: Vec<Slot>) -> Operation {
    operation(Kind::Update, Some(key), row)
}

pub(crate) fn rename(key: Key, to: Key, row: Vec<Slot>) -> Operation {
    operation(Kind::Rename { to }, Some(key), row)
}

pub(crate) fn delete(key: Key) -> Operation {
    operation(Kind::Delete, Some(key), Vec::new())
}

pub(crate) fn text(text: &str) -> Slot {
    Slot::text(text)
}

pub(crate) fn number(number: i64) -> Slot {
    Slot::One(Value::Integer(number))
}

pub(crate) fn id(number: i64) -> Key {
    Key::one(Value::Integer(number))
}

/// The key that a success brought.
pub(crate) fn key_of(outcome: &Outcome) -> Key {
    match outcome {
        Outcome::Applied(effect) => effect.key.clone().unwrap_or_else(|| panic!("no key in {outcome:?}")),
        other => panic!("not applied: {other:?}"),
    }
}

pub(crate) fn is_applied(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Applied(_))
}

/// Attribute and rule of a rejection.
pub(crate) fn rejection(outcome: &Outcome) -> (Option<&str>, &str) {
    match outcome {
        Outcome::Rejected { attribute, rule, .. } => (attribute.as_deref(), rule),
        other => panic!("not rejected: {other:?}"),
    }
}
