//! Writing alone: rows in memory through the connector's `apply`, without a ledger, beside the raw best of the same
//! engine through the same driver in the same run. Each person has a row and a value in a table of values.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use muster_connector::settings::ConnectorSettings;
use muster_connector::{Batch, Connector, ConnectorKind as _, Kind, Operation, ValueDelta};
use muster_connector_sql::SqlKind;
use muster_model::{Key, Row, Slot, Value};
use muster_testkit::{MariaDb, Postgres};
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use super::measure::median;
use super::sending::{Sender, batches, operation};
use super::sqlserver;

/// Columns beside the login.
const COLUMNS: usize = 9;
/// Those that an update changes.
const CHANGED: usize = 3;
/// Rows in one statement where an engine is loaded by statements of many rows.
const TOGETHER: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Postgres,
    MariaDb,
    Sqlite,
    SqlServer,
}

/// A server or file that is there as long as this.
enum Place {
    Postgres(Box<Postgres>),
    MariaDb(Box<MariaDb>),
    Sqlite(tempfile::TempDir),
    SqlServer(Box<sqlserver::Server>),
}

/// One connection of the raw side.
enum Raw {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
    Sqlite(SqliteConnection),
    SqlServer(Box<sqlserver::Raw>),
}

pub(crate) fn run(rows: &[usize], output: &mut dyn Write) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        bail!("the connector runs in this process: cargo run --release --package xtask -- bench apply");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    writeln!(
        output,
        "rows in memory → table with {} columns and a table of values, no ledger\n\
         raw: COPY and upsert (PostgreSQL), upserts of {TOGETHER} rows (MariaDB, SQLite), bulk into #temp, update and\n\
         insert (SQL Server), one transaction; of {ROUNDS} rounds the medians\n\n\
         {:>9}  {:<10} {:>11} {:>10} {:>6} {:>11} {:>10} {:>6}",
        COLUMNS + 1,
        "rows",
        "engine",
        "raw new s",
        "apply s",
        "rate",
        "raw chg s",
        "apply s",
        "rate"
    )?;
    for rows in rows {
        for engine in [Engine::Postgres, Engine::MariaDb, Engine::Sqlite, Engine::SqlServer] {
            runtime.block_on(one(engine, *rows, output))?;
        }
    }
    Ok(())
}

async fn one(engine: Engine, rows: usize, output: &mut dyn Write) -> anyhow::Result<()> {
    let place = match engine {
        Engine::SqlServer => match sqlserver::Server::named().await? {
            Some(server) => Place::SqlServer(Box::new(server)),
            None => return Ok(writeln!(output, "{rows:>9}  {}", sqlserver::left_out())?),
        },
        Engine::Postgres => Place::Postgres(Box::new(Postgres::durable())),
        Engine::MariaDb => Place::MariaDb(Box::new(MariaDb::start())),
        Engine::Sqlite => Place::Sqlite(tempfile::tempdir()?),
    };
    let measured = measure_all(engine, &place, rows, output).await;
    if let Place::SqlServer(server) = &place {
        server.remove().await?;
    }
    measured
}

/// Rounds, each with tables of its own, of which the medians count.
const ROUNDS: usize = 3;

/// Seconds of one round.
#[derive(Clone, Copy)]
struct Round {
    raw_new: f64,
    new: f64,
    raw_changed: f64,
    changed: f64,
}

async fn measure_all(engine: Engine, place: &Place, rows: usize, output: &mut dyn Write) -> anyhow::Result<()> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        rounds.push(measure(engine, place, rows).await?);
    }
    let median = |of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
    let (raw_new, new) = (median(|round| round.raw_new), median(|round| round.new));
    let (raw_changed, changed) = (median(|round| round.raw_changed), median(|round| round.changed));
    let name = match engine {
        Engine::Postgres => "PostgreSQL",
        Engine::MariaDb => "MariaDB",
        Engine::Sqlite => "SQLite",
        Engine::SqlServer => "SQL Server",
    };
    writeln!(
        output,
        "{rows:>9}  {name:<10} {raw_new:>11.2} {new:>10.2} {:>6.2} {raw_changed:>11.2} {changed:>10.2} {:>6.2}",
        raw_new / new,
        raw_changed / changed
    )?;
    if let Place::SqlServer(server) = place {
        writeln!(output, "{:>9}  on {}", "", server.version().await?)?;
    }
    Ok(output.flush()?)
}

async fn measure(engine: Engine, place: &Place, rows: usize) -> anyhow::Result<Round> {
    let mut raw = place.raw().await?;
    let text = if engine == Engine::SqlServer { "nvarchar" } else { "varchar" };
    for prefix in ["raw", "app"] {
        let columns: Vec<String> = (0..COLUMNS).map(|number| format!("c{number} {text}(60)")).collect();
        raw.run(&format!("CREATE TABLE {prefix}_user (login {text}(40) PRIMARY KEY, {})", columns.join(", "))).await?;
        raw.run(&format!(
            "CREATE TABLE {prefix}_phone (login {text}(40) NOT NULL, phone {text}(40) NOT NULL, PRIMARY KEY (login, phone))"
        ))
        .await?;
    }
    let connector = Sender::new(connect(place)?).await?;
    let attributes: Vec<String> = ["login".to_owned(), "phones".to_owned()].into_iter().chain(columns()).collect();

    let raw_new = raw.load(rows, 0).await?;
    let people = all(&connector, &attributes, rows, create);
    let values = all(&connector, &attributes, rows, |number| phones(number, None, 0));
    let started = Instant::now();
    connector.send(&people, |_, _| ()).await?;
    connector.send(&values, |_, _| ()).await?;
    let new = started.elapsed().as_secs_f64();
    let raw_changed = raw.load(rows, 1).await?;
    let changes = all(&connector, &attributes, rows, change);
    let started = Instant::now();
    connector.send(&changes, |_, _| ()).await?;
    let changed = started.elapsed().as_secs_f64();
    raw.compare().await?;
    for prefix in ["raw", "app"] {
        for table in ["phone", "user"] {
            raw.run(&format!("DROP TABLE {prefix}_{table}")).await?;
        }
    }
    Ok(Round { raw_new, new, raw_changed, changed })
}

/// The names of the columns beside the login.
fn columns() -> Vec<String> {
    (0..COLUMNS).map(|number| format!("c{number}")).collect()
}

fn login(number: usize) -> String {
    format!("person{number:07}@sandbox.example")
}

fn phone(number: usize, round: usize) -> String {
    format!("+49 30 {number:07}-{round}")
}

/// The value of a column, which an update changes in the first ones.
fn value(number: usize, column: usize, round: usize) -> String {
    let round = if column < CHANGED { round } else { 0 };
    format!("value {column} of person {number}, {round}")
}

fn create(number: usize) -> Operation {
    let mut row = vec![Slot::text(&login(number)), Slot::Unknown];
    row.extend((0..COLUMNS).map(|column| Slot::text(&value(number, column, 0))));
    operation(Kind::Create, None, row)
}

fn phones(number: usize, old: Option<usize>, new: usize) -> Operation {
    let add = vec![Value::text(&phone(number, new))];
    let remove = old.map(|old| Value::text(&phone(number, old))).into_iter().collect();
    Operation { deltas: vec![ValueDelta { attribute: 1, add, remove }], ..by_login(number, Vec::new()) }
}

fn change(number: usize) -> Operation {
    let mut row = vec![Slot::Unknown, Slot::Unknown];
    row.extend((0..CHANGED).map(|column| Slot::text(&value(number, column, 1))));
    Operation { row: Row(row), ..phones(number, Some(0), 1) }
}

fn connect(place: &Place) -> anyhow::Result<Arc<dyn Connector>> {
    let many = json!({ "phones": { "table": "app_phone", "key": "login", "value": "phone" } });
    let mut values = json!({ "url": place.url()?, "types": { "user": { "table": "app_user", "multi": many } } });
    let mut secrets = BTreeMap::new();
    if let Place::SqlServer(server) = place {
        values["password"] = json!({ "env": sqlserver::VARIABLE });
        secrets.insert("password".to_owned(), server.password().into());
    }
    Ok(SqlKind.connect(ConnectorSettings {
        connection: "app".to_owned(),
        values,
        secrets,
        base_folder: std::env::temp_dir(),
    })?)
}

/// Everything that is sent, in batches as large as the connector takes, in memory before the clock starts, as the raw
/// side's rows are.
fn all(sender: &Sender, attributes: &[String], rows: usize, operation: impl Fn(usize) -> Operation) -> Vec<Arc<Batch>> {
    batches(attributes, sender.max_batch, (0..rows).map(operation).collect())
}

fn by_login(number: usize, row: Vec<Slot>) -> Operation {
    operation(Kind::Update, Some(Key::text(&login(number))), row)
}

impl Place {
    fn url(&self) -> anyhow::Result<String> {
        Ok(match self {
            Self::Postgres(server) => server.url(),
            Self::MariaDb(server) => server.url(),
            Self::Sqlite(folder) => format!("sqlite://{}", folder.path().join("app.db").display()),
            Self::SqlServer(server) => server.url()?,
        })
    }

    async fn raw(&self) -> anyhow::Result<Raw> {
        Ok(match self {
            Self::Postgres(server) => Raw::Postgres(server.url().parse::<PgConnectOptions>()?.connect().await?),
            Self::MariaDb(server) => Raw::MariaDb(server.url().parse::<MySqlConnectOptions>()?.connect().await?),
            Self::Sqlite(folder) => {
                let options =
                    SqliteConnectOptions::new().filename(folder.path().join("app.db")).create_if_missing(true);
                let options = options.journal_mode(SqliteJournalMode::Wal).disable_statement_logging();
                Raw::Sqlite(options.connect().await?)
            }
            Self::SqlServer(server) => Raw::SqlServer(Box::new(server.raw().await?)),
        })
    }
}

impl Raw {
    async fn run(&mut self, sql: &str) -> anyhow::Result<()> {
        let sql = match self {
            Self::SqlServer(connection) => return connection.run(sql).await,
            _ => sqlx::raw_sql(AssertSqlSafe(sql)),
        };
        match self {
            Self::SqlServer(_) => {}
            Self::Postgres(connection) => connection.execute(sql).await.map(drop)?,
            Self::MariaDb(connection) => connection.execute(sql).await.map(drop)?,
            Self::Sqlite(connection) => connection.execute(sql).await.map(drop)?,
        }
        Ok(())
    }

    /// Seconds of writing all rows and their values; in the second round they are there, and change.
    async fn load(&mut self, rows: usize, round: usize) -> anyhow::Result<f64> {
        let people: Vec<Vec<String>> = (0..rows)
            .map(|number| {
                std::iter::once(login(number)).chain((0..COLUMNS).map(|column| value(number, column, round))).collect()
            })
            .collect();
        let values: Vec<[String; 2]> = (0..rows).map(|number| [login(number), phone(number, round)]).collect();
        let started = Instant::now();
        match self {
            Self::Postgres(connection) => raw_postgres(connection, &people, &values).await?,
            Self::SqlServer(connection) => connection.load(&columns(), &people, &values).await?,
            _ => self.raw_statements(&people, &values).await?,
        }
        Ok(started.elapsed().as_secs_f64())
    }

    async fn raw_statements(&mut self, people: &[Vec<String>], values: &[[String; 2]]) -> anyhow::Result<()> {
        let columns = columns();
        let (keyword, conflict, new): (_, _, fn(&str) -> String) = match self {
            Self::MariaDb(_) => ("START TRANSACTION", "ON DUPLICATE KEY UPDATE", |name| format!("VALUES({name})")),
            _ => ("BEGIN IMMEDIATE", "ON CONFLICT (login) DO UPDATE SET", |name| format!("excluded.{name}")),
        };
        let updates: Vec<String> = columns.iter().map(|name| format!("{name} = {}", new(name))).collect();
        self.run(keyword).await?;
        for people in people.chunks(TOGETHER) {
            let marks = vec![format!("({})", ["?"; COLUMNS + 1].join(", ")); people.len()].join(", ");
            let sql = format!(
                "INSERT INTO raw_user (login, {}) VALUES {marks} {conflict} {}",
                columns.join(", "),
                updates.join(", ")
            );
            self.bound(&sql, people.iter().flatten()).await?;
        }
        // Whoever loads by hand empties the table of values first.
        self.run("DELETE FROM raw_phone").await?;
        for values in values.chunks(TOGETHER) {
            let marks = vec!["(?, ?)"; values.len()].join(", ");
            self.bound(&format!("INSERT INTO raw_phone (login, phone) VALUES {marks}"), values.iter().flatten())
                .await?;
        }
        self.run("COMMIT").await
    }

    async fn bound<'a>(&mut self, sql: &str, values: impl Iterator<Item = &'a String>) -> anyhow::Result<()> {
        match self {
            Self::Postgres(_) | Self::SqlServer(_) => bail!("these are loaded in bulk"),
            Self::MariaDb(connection) => {
                let query = values.fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value.clone()));
                connection.execute(query).await?;
            }
            Self::Sqlite(connection) => {
                let query = values.fold(sqlx::query(AssertSqlSafe(sql)), |query, value| query.bind(value.clone()));
                connection.execute(query).await?;
            }
        }
        Ok(())
    }

    /// Both sides must have written the same.
    async fn compare(&mut self) -> anyhow::Result<()> {
        for table in ["user", "phone"] {
            let query = format!(
                "SELECT (SELECT count(*) FROM app_{table}) + (SELECT count(*) FROM raw_{table}) - 2 * \
                 (SELECT count(*) FROM (SELECT * FROM app_{table} INTERSECT SELECT * FROM raw_{table}) AS same)"
            );
            let safe = || AssertSqlSafe(query.as_str());
            let different: i64 = match self {
                Self::Postgres(connection) => sqlx::query_scalar(safe()).fetch_one(connection).await?,
                Self::MariaDb(connection) => sqlx::query_scalar(safe()).fetch_one(connection).await?,
                Self::Sqlite(connection) => sqlx::query_scalar(safe()).fetch_one(connection).await?,
                Self::SqlServer(connection) => connection.number(&query.replace("count(", "count_big(")).await?,
            };
            if different != 0 {
                bail!("{different} rows of {table} differ");
            }
        }
        Ok(())
    }
}

async fn raw_postgres(
    connection: &mut PgConnection,
    people: &[Vec<String>],
    values: &[[String; 2]],
) -> anyhow::Result<()> {
    let columns = columns();
    let updates: Vec<String> = columns.iter().map(|name| format!("{name} = excluded.{name}")).collect();
    let columns = columns.join(", ");
    let mut transaction = connection.begin().await?;
    transaction
        .execute(sqlx::raw_sql(
            "CREATE TEMPORARY TABLE user_stage ON COMMIT DROP AS SELECT * FROM raw_user LIMIT 0; \
             CREATE TEMPORARY TABLE phone_stage ON COMMIT DROP AS SELECT * FROM raw_phone LIMIT 0",
        ))
        .await?;
    let mut copy = transaction.copy_in_raw("COPY user_stage FROM STDIN").await?;
    for people in people.chunks(TOGETHER) {
        copy.send(people.iter().map(|row| row.join("\t") + "\n").collect::<String>().into_bytes()).await?;
    }
    copy.finish().await?;
    let upsert = format!(
        "INSERT INTO raw_user (login, {columns}) SELECT login, {columns} FROM user_stage ON CONFLICT (login) DO UPDATE SET {}",
        updates.join(", ")
    );
    transaction.execute(sqlx::raw_sql(AssertSqlSafe(upsert))).await?;
    let mut copy = transaction.copy_in_raw("COPY phone_stage FROM STDIN").await?;
    for values in values.chunks(TOGETHER) {
        copy.send(values.iter().map(|row| row.join("\t") + "\n").collect::<String>().into_bytes()).await?;
    }
    copy.finish().await?;
    transaction
        .execute(sqlx::raw_sql(
            "DELETE FROM raw_phone USING phone_stage AS s WHERE raw_phone.login = s.login; \
             INSERT INTO raw_phone SELECT * FROM phone_stage",
        ))
        .await?;
    transaction.commit().await?;
    Ok(())
}
