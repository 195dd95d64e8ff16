//! Where rows go, and the raw best way to bring them there: staged, upserted, and what is not staged deleted, in one
//! transaction. Raw neither reads a source nor keeps a state.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};
use muster_testkit::Postgres;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

const COLUMNS: &str = "full_name varchar(256), first_name text, last_name text, email text,
    department text, title text, company text, city text, country text, office text, phone text,
    employee_no text, kind text, hired_on date, is_active boolean NOT NULL DEFAULT true";

/// Target column and source attribute.
pub(super) const MAPPINGS: [(&str, &str); 15] = [
    ("login", "userPrincipalName"),
    ("full_name", "displayName"),
    ("first_name", "givenName"),
    ("last_name", "surname"),
    ("email", "mail"),
    ("department", "department"),
    ("title", "jobTitle"),
    ("company", "companyName"),
    ("city", "city"),
    ("country", "country"),
    ("office", "officeLocation"),
    ("phone", "mobilePhone"),
    ("employee_no", "employeeId"),
    ("kind", "userType"),
    ("hired_on", "employeeHireDate"),
];

/// Rows of one statement of the raw load into SQLite.
const CHUNK: usize = 5_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The login is the key.
    Postgres,
    /// The database numbers the rows.
    PostgresNumbered,
    Sqlite,
}

impl Target {
    pub(super) const ALL: [Self; 3] = [Self::Postgres, Self::PostgresNumbered, Self::Sqlite];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL, natural key",
            Self::PostgresNumbered => "PostgreSQL, generated key",
            Self::Sqlite => "SQLite, natural key",
        }
    }

    /// How its tables number their rows.
    pub(super) fn identity(self) -> &'static str {
        match self {
            Self::Postgres | Self::PostgresNumbered => "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            Self::Sqlite => "integer PRIMARY KEY",
        }
    }

    pub(super) async fn open(self, folder: &Path) -> anyhow::Result<Place> {
        if self != Self::Sqlite {
            return Ok(Place { target: self, postgres: Some(Postgres::durable()), file: PathBuf::new() });
        }
        let file = folder.join("app.db");
        let place = Place { target: self, postgres: None, file };
        place.sqlite().await?.close().await?;
        Ok(place)
    }
}

/// A target that is there.
pub(super) struct Place {
    target: Target,
    postgres: Option<Postgres>,
    file: PathBuf,
}

impl Place {
    pub(super) fn url(&self) -> String {
        match &self.postgres {
            Some(postgres) => postgres.url(),
            None => "sqlite://app.db".to_owned(),
        }
    }

    fn table(&self, name: &str) -> String {
        match self.target {
            Target::PostgresNumbered => format!(
                "CREATE TABLE {name} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
                 login varchar(160) NOT NULL UNIQUE, {COLUMNS})"
            ),
            Target::Postgres | Target::Sqlite => {
                format!("CREATE TABLE {name} (login varchar(160) PRIMARY KEY, {COLUMNS})")
            }
        }
    }

    pub(super) async fn make_table(&self) -> anyhow::Result<()> {
        self.execute(&self.table("app_user")).await
    }

    pub(super) async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        match &self.postgres {
            Some(postgres) => {
                postgres.psql(sql);
            }
            None => {
                let mut connection = self.sqlite().await?;
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
                connection.close().await?;
            }
        }
        Ok(())
    }

    async fn sqlite(&self) -> anyhow::Result<SqliteConnection> {
        let options = SqliteConnectOptions::new()
            .filename(&self.file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        Ok(options.disable_statement_logging().connect().await?)
    }

    /// Seconds of the raw load.
    pub(super) async fn raw(&self, people: &[Value]) -> anyhow::Result<f64> {
        self.execute(&self.table("raw_user")).await?;
        let seconds = match &self.postgres {
            Some(postgres) => raw_postgres(postgres, people),
            None => self.raw_sqlite(people).await,
        };
        let seconds = seconds?;
        self.execute("DROP TABLE raw_user").await?;
        Ok(seconds)
    }

    /// Seconds in which so many pairs are inserted by one statement.
    pub(super) async fn raw_pairs(&self, pairs: usize) -> anyhow::Result<f64> {
        self.execute("CREATE TABLE raw_pair (one bigint NOT NULL, other bigint NOT NULL, PRIMARY KEY (one, other))")
            .await?;
        let numbers: Vec<String> = (1..=pairs).map(|number| number.to_string()).collect();
        let started = Instant::now();
        match &self.postgres {
            Some(postgres) => {
                let mut script = "COPY raw_pair FROM STDIN;\n".to_owned();
                for number in &numbers {
                    writeln!(script, "1\t{number}")?;
                }
                script.push_str("\\.\n");
                run_script(postgres, &script)?;
            }
            None => {
                let mut connection = self.sqlite().await?;
                sqlx::query("INSERT INTO raw_pair SELECT 1, value FROM json_each(?)")
                    .bind(format!("[{}]", numbers.join(",")))
                    .execute(&mut connection)
                    .await?;
                connection.close().await?;
            }
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// How many rows a table has.
    pub(super) async fn count(&self, table: &str) -> anyhow::Result<usize> {
        let query = format!("SELECT count(*) FROM {table}");
        match &self.postgres {
            Some(postgres) => Ok(postgres.psql(&query)[0][0].parse()?),
            None => {
                let mut connection = self.sqlite().await?;
                let number: i64 = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await?;
                connection.close().await?;
                Ok(usize::try_from(number)?)
            }
        }
    }

    async fn raw_sqlite(&self, people: &[Value]) -> anyhow::Result<f64> {
        let rows = people.iter().map(|person| {
            let mut values: Vec<Value> =
                MAPPINGS.iter().map(|(_, attribute)| person.get(attribute).cloned().unwrap_or(Value::Null)).collect();
            values.push(json!(i64::from(person["accountEnabled"] == json!(true))));
            Value::Array(values)
        });
        let rows: Vec<Value> = rows.collect();
        let chunks: Vec<String> = rows.chunks(CHUNK).map(serde_json::to_string).collect::<Result<_, _>>()?;
        let values: Vec<String> = (0..=MAPPINGS.len()).map(|position| format!("value ->> {position}")).collect();
        let stage = format!("INSERT INTO stage SELECT {} FROM json_each(?)", values.join(", "));
        let mut connection = self.sqlite().await?;
        sqlx::raw_sql("PRAGMA temp_store = memory").execute(&mut connection).await?;
        let started = Instant::now();
        let mut transaction = connection.begin().await?;
        let create = format!("CREATE TEMPORARY TABLE stage (login PRIMARY KEY, {COLUMNS})");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *transaction).await?;
        for chunk in chunks {
            sqlx::query(AssertSqlSafe(stage.as_str())).bind(chunk).execute(&mut *transaction).await?;
        }
        sqlx::raw_sql(AssertSqlSafe(upsert_and_delete("WHERE true"))).execute(&mut *transaction).await?;
        transaction.commit().await?;
        let seconds = started.elapsed().as_secs_f64();
        connection.close().await?;
        Ok(seconds)
    }
}

fn columns() -> String {
    MAPPINGS.map(|(column, _)| column).join(", ")
}

/// `unambiguous` keeps SQLite from reading the conflict clause as a join's.
fn upsert_and_delete(unambiguous: &str) -> String {
    let columns = columns();
    let updates: Vec<String> =
        MAPPINGS.iter().skip(1).map(|(column, _)| format!("{column} = excluded.{column}")).collect();
    format!(
        "INSERT INTO raw_user ({columns}, is_active) SELECT {columns}, is_active FROM stage {unambiguous} \
         ON CONFLICT (login) DO UPDATE SET {}, is_active = excluded.is_active;\n\
         DELETE FROM raw_user WHERE NOT EXISTS (SELECT 1 FROM stage WHERE stage.login = raw_user.login);",
        updates.join(", ")
    )
}

/// By the server's own client.
fn raw_postgres(postgres: &Postgres, people: &[Value]) -> anyhow::Result<f64> {
    let columns = columns();
    let mut script = format!(
        "BEGIN;\nCREATE TEMPORARY TABLE stage ON COMMIT DROP AS SELECT {columns}, is_active FROM raw_user LIMIT 0;\n\
         COPY stage ({columns}, is_active) FROM STDIN;\n"
    );
    for person in people {
        for (_, attribute) in MAPPINGS {
            match person[attribute].as_str() {
                Some(text) => script.push_str(&text.replace('\\', "\\\\")),
                None => script.push_str("\\N"),
            }
            script.push('\t');
        }
        script.push_str(if person["accountEnabled"] == json!(true) { "t\n" } else { "f\n" });
    }
    script.push_str("\\.\n");
    writeln!(script, "{}\nCOMMIT;", upsert_and_delete(""))?;
    let started = Instant::now();
    run_script(postgres, &script)?;
    Ok(started.elapsed().as_secs_f64())
}

fn run_script(postgres: &Postgres, script: &str) -> anyhow::Result<()> {
    let mut child = Command::new("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", &postgres.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("psql is missing; scripts/test installs it")?;
    child.stdin.take().context("no input")?.write_all(script.as_bytes())?;
    if !child.wait()?.success() {
        bail!("the raw load failed");
    }
    Ok(())
}
