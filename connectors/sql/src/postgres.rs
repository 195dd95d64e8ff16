//! PostgreSQL: its catalogue, types, error codes, and `COPY` into a temporary table.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use async_trait::async_trait;
use muster_connector::Error;
use muster_connector::settings::{ExposeSecret as _, SecretString};
use muster_model::{Value, ValueType};
use sqlx::error::DatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgPool, PgPoolOptions, PgRow, PgSslMode};
use sqlx::{ConnectOptions as _, Executor as _, Postgres as Engine, Row as _};

use crate::catalog::{Catalog, Column, ForeignKey, Table};
use crate::config::{TlsMode, is_this_machine};
use crate::connecting::{Encryption, Place, try_to_connect, while_connecting};
use crate::database::{Database, Session, StageRow, Text};
use crate::error::{Class, Failure};
use crate::own_writing::{Bound, Ran};
use crate::statement::{Name, Quote, Sql, Stage, TableName, sql};

/// A PostgreSQL server.
pub(crate) struct Postgres {
    options: PgConnectOptions,
    shows_certificate: bool,
    pool: PgPool,
}

impl Postgres {
    pub(crate) fn new(
        url: &SecretString,
        password: Option<&SecretString>,
        encryption: &Encryption,
    ) -> Result<Self, Error> {
        let mut options = PgConnectOptions::from_str(url.expose_secret().trim()).map_err(|_| Error::Configuration {
            setting: Some("url".to_owned()),
            problem: "not a PostgreSQL address".to_owned(),
            fix: "write postgres://user@host:5432/database".to_owned(),
        })?;
        if let Some(password) = password {
            options = options.password(password.expose_secret());
        }
        let host = options.get_host().to_owned();
        let place = match options.get_socket().is_some() || host.starts_with('/') {
            true => Place::Socket,
            false if is_this_machine(&host) => Place::ThisMachine,
            false => Place::Elsewhere,
        };
        // Always said: the driver's own default falls back to plain text, and its "require" verifies nothing.
        options = options.ssl_mode(match encryption.mode(place)? {
            TlsMode::Verify => PgSslMode::VerifyFull,
            TlsMode::Off => PgSslMode::Disable,
        });
        if let Some(path) = &encryption.ca_file {
            options = options.ssl_root_cert(path);
        }
        if let Some(certificate) = &encryption.certificate {
            options = options
                .ssl_client_cert_from_pem(&certificate.chain)
                .ssl_client_key_from_pem(certificate.key.expose_secret());
        }
        options = options
            .application_name("muster")
            .options([
                ("TimeZone", "UTC"),
                ("DateStyle", "ISO"),
                ("bytea_output", "hex"),
                // What the configuration says of a table's rows is written as literals.
                ("standard_conforming_strings", "on"),
                ("statement_timeout", "280s"),
                // Somebody else's lock is waited for, but not as long as the whole batch may take.
                ("lock_timeout", "20s"),
                // To compile the queries of the catalog takes several times as long as to run them, and pages that a source
                // is read by are small.
                ("jit", "off"),
            ])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(3)
            .acquire_timeout(Duration::from_secs(15))
            .idle_timeout(Duration::from_secs(300))
            .connect_lazy_with(options.clone());
        Ok(Self { options, shows_certificate: encryption.certificate.is_some(), pool })
    }

    /// The pool, once a first connection was tried outside it, which tells what is wrong.
    async fn pool(&self) -> Result<&PgPool, Failure> {
        if self.pool.size() == 0 {
            self.try_to_connect().await?;
        }
        Ok(&self.pool)
    }

    async fn try_to_connect(&self) -> Result<(), Failure> {
        let address = (self.options.get_host(), self.options.get_port());
        try_to_connect(&self.options, address, self.shows_certificate).await
    }
}

const TABLES: &str = "SELECT c.oid::int8, n.nspname::text, c.relname::text, coalesce(n.nspname = current_schema(), false) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'f') AND NOT c.relispartition AND n.nspname NOT LIKE 'pg\\_%' \
    AND n.nspname <> 'information_schema' AND has_schema_privilege(n.oid, 'USAGE') ORDER BY n.nspname, c.relname";

/// The tables that are not the database's own.
const OF_ALL: &str = "AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'";

// The base type of a domain decides, through any number of domains; `typcategory` E is an enum.
const COLUMNS: &str = "WITH RECURSIVE chain (domain, base, typmod, required, defaulted) AS ( \
      SELECT oid, typbasetype, typtypmod, typnotnull, typdefault IS NOT NULL FROM pg_type WHERE typtype = 'd' \
      UNION ALL \
      SELECT c.domain, t.typbasetype, CASE WHEN c.typmod >= 0 THEN c.typmod ELSE t.typtypmod END, \
      c.required OR t.typnotnull, c.defaulted OR t.typdefault IS NOT NULL \
      FROM chain c JOIN pg_type t ON t.oid = c.base WHERE t.typtype = 'd') \
    SELECT a.attrelid::int8, a.attname::text, format_type(a.atttypid, a.atttypmod), b.typname::text, b.typcategory::text, \
    CASE WHEN b.typname IN ('varchar', 'bpchar') AND coalesce(d.typmod, a.atttypmod) > 4 \
      THEN coalesce(d.typmod, a.atttypmod) - 4 END, \
    a.attnotnull OR coalesce(d.required, false), \
    a.atthasdef OR a.attidentity <> '' OR coalesce(d.defaulted, false), \
    a.attgenerated <> '' OR a.attidentity = 'a', \
    coalesce((SELECT NOT collisdeterministic FROM pg_collation WHERE oid = a.attcollation), false), \
    format_type(b.oid, -1) \
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN chain d ON d.domain = a.atttypid AND d.base NOT IN (SELECT oid FROM pg_type WHERE typtype = 'd') \
    JOIN pg_type b ON b.oid = coalesce(d.base, a.atttypid) \
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'f') \
    AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY a.attrelid, a.attnum";

const KEYS: &str = "SELECT i.indrelid::int8, i.indisprimary, \
    ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(num, pos) \
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num WHERE k.pos <= i.indnkeyatts ORDER BY k.pos) \
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' \
    AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
    ORDER BY i.indexrelid";

const FOREIGN_KEYS: &str = "SELECT k.conrelid::int8, a.attname::text, n.nspname::text, c.relname::text, r.attname::text \
    FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] \
    JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_attribute r ON r.attrelid = k.confrelid AND r.attnum = k.confkey[1] \
    WHERE k.contype = 'f' AND array_length(k.conkey, 1) = 1 ORDER BY k.oid";

fn value_type(base: &str, category: &str) -> Option<ValueType> {
    Some(match base {
        "text" | "varchar" | "bpchar" | "citext" | "name" | "json" | "jsonb" => ValueType::Text,
        "int2" | "int4" | "int8" => ValueType::Integer,
        "numeric" | "float4" | "float8" => ValueType::Decimal,
        "bool" => ValueType::Boolean,
        "date" => ValueType::Date,
        "timestamptz" | "timestamp" => ValueType::Instant,
        "uuid" => ValueType::Uuid,
        "bytea" => ValueType::Binary,
        _ if category == "E" => ValueType::Text,
        _ => return None,
    })
}

fn read_column(row: &PgRow) -> Result<(i64, Column), sqlx::Error> {
    let base: String = row.try_get(3)?;
    let category: String = row.try_get(4)?;
    let length: Option<i32> = row.try_get(5)?;
    let column = Column {
        name: row.try_get(1)?,
        native: row.try_get(2)?,
        stage_type: row.try_get(10)?,
        value_type: value_type(&base, &category),
        max_length: length.and_then(|length| u32::try_from(length).ok()),
        nullable: !row.try_get::<bool, _>(6)?,
        has_default: row.try_get(7)?,
        generated: row.try_get(8)?,
        case_insensitive: base == "citext" || row.try_get::<bool, _>(9)?,
        choices: None,
        counted: false,
    };
    Ok((row.try_get(0)?, column))
}

#[async_trait]
impl Database for Postgres {
    fn engine(&self) -> &'static str {
        "PostgreSQL"
    }

    async fn identity(&self) -> Result<String, Failure> {
        let row = sqlx::query(
            "SELECT system_identifier::text, (SELECT oid::text FROM pg_database WHERE datname = current_database()) \
             FROM pg_control_system()",
        )
        .fetch_one(self.pool().await?)
        .await?;
        let (system, database): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        Ok(format!("postgresql:{system}/{database}"))
    }

    async fn version(&self) -> Result<String, Failure> {
        let row = sqlx::query("SELECT current_setting('server_version')").fetch_one(self.pool().await?).await?;
        Ok(format!("PostgreSQL {}", row.try_get::<String, _>(0)?))
    }

    async fn catalog(&self) -> Result<Catalog, Failure> {
        let mut tables: BTreeMap<i64, Table> = BTreeMap::new();
        let mut order = Vec::new();
        for row in sqlx::query(TABLES).fetch_all(self.pool().await?).await? {
            let (oid, schema, table): (i64, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            order.push(oid);
            let name = TableName::new(Some(Name::new(&schema, Quote::Double)), Name::new(&table, Quote::Double));
            let is_default_schema = row.try_get(3)?;
            tables.insert(
                oid,
                Table {
                    name,
                    columns: Vec::new(),
                    primary_key: Vec::new(),
                    unique: Vec::new(),
                    foreign_keys: Vec::new(),
                    without_undo: None,
                    is_default_schema,
                },
            );
        }
        for row in sqlx::query(COLUMNS).fetch_all(self.pool().await?).await? {
            let (oid, column) = read_column(&row)?;
            if let Some(table) = tables.get_mut(&oid) {
                table.columns.push(column);
            }
        }
        for row in sqlx::query(KEYS).fetch_all(self.pool().await?).await? {
            let Some(table) = tables.get_mut(&row.try_get::<i64, _>(0)?) else { continue };
            let columns: Vec<String> = row.try_get(2)?;
            if row.try_get(1)? {
                table.primary_key = columns;
            } else {
                table.unique.push(columns);
            }
        }
        for row in sqlx::query(FOREIGN_KEYS).fetch_all(self.pool().await?).await? {
            let Some(table) = tables.get_mut(&row.try_get::<i64, _>(0)?) else { continue };
            let (schema, name): (String, String) = (row.try_get(2)?, row.try_get(3)?);
            table.foreign_keys.push(ForeignKey {
                column: row.try_get(1)?,
                table: TableName::new(Some(Name::new(&schema, Quote::Double)), Name::new(&name, Quote::Double)),
                referenced: row.try_get(4)?,
            });
        }
        Ok(Catalog { tables: order.into_iter().filter_map(|oid| tables.remove(&oid)).collect(), ..Catalog::default() })
    }

    fn quote(&self) -> Quote {
        Quote::Double
    }

    async fn query_columns(&self, query: &str) -> Result<Vec<Column>, Failure> {
        let mut transaction = self.pool().await?.begin().await?;
        let view = sql!("CREATE TEMPORARY VIEW muster_query AS {query}");
        sqlx::query(view.into_safe()).persistent(false).execute(&mut *transaction).await?;
        let columns = sql!("{}", COLUMNS.replace(OF_ALL, "AND a.attrelid = 'pg_temp.muster_query'::regclass"));
        let rows = sqlx::query(columns.into_safe()).persistent(false).fetch_all(&mut *transaction).await?;
        transaction.rollback().await?;
        rows.iter().map(|row| Ok(Column { generated: true, ..read_column(row)?.1 })).collect()
    }

    async fn begin(&self, _writes: bool) -> Result<Box<dyn Session>, Failure> {
        let acquired = self.pool().await?.acquire().await;
        if matches!(acquired, Err(sqlx::Error::PoolTimedOut)) {
            self.try_to_connect().await?;
        }
        let connection = acquired.map_err(|error| while_connecting(&error, self.shows_certificate))?;
        let mut session = PostgresSession { connection: Some(connection), midway: false };
        session.execute(sql!("BEGIN")).await?;
        Ok(Box::new(session))
    }

    fn temporary_schema(&self) -> Option<&'static str> {
        Some("pg_temp")
    }

    fn refuses(&self, value: &Value) -> Option<(&'static str, &'static str)> {
        let has_nul = value.as_text().is_some_and(|text| text.contains('\0'));
        has_nul.then_some(("nul_character", "PostgreSQL stores no text with a NUL character"))
    }

    fn read_expression(&self, column: &str, _native: &str) -> String {
        format!("CAST({column} AS text)")
    }

    fn literal(&self, text: &Text, native: &str) -> String {
        match text {
            None => "NULL".to_owned(),
            Some(text) if matches!(native, "smallint" | "integer" | "bigint") || native.starts_with("numeric") => {
                text.to_string()
            }
            Some(text) if native == "boolean" => if text.as_ref() == "1" { "true" } else { "false" }.to_owned(),
            Some(text) => format!("'{}'", text.replace('\'', "''")),
        }
    }

    fn mark(&self, number: usize, stage_type: &str) -> String {
        format!("CAST(${number} AS {stage_type})")
    }

    fn max_in_flight(&self) -> u32 {
        2
    }
}

struct PostgresSession {
    /// There until the transaction has ended.
    connection: Option<PoolConnection<Engine>>,
    /// A statement is under way. Whoever gives it up leaves an answer unread, or a COPY half done, which the next
    /// statement on this connection would take for its own.
    midway: bool,
}

impl PostgresSession {
    /// The connection, for one statement.
    fn connection(&mut self) -> Result<&mut PoolConnection<Engine>, Failure> {
        self.midway = true;
        self.connection.as_mut().ok_or_else(|| Failure::new(Class::Bug, "the transaction has ended"))
    }

    /// What the statement came to; its answer has been read.
    fn over<T>(&mut self, answer: Result<T, sqlx::Error>) -> Result<T, Failure> {
        self.midway = false;
        Ok(answer?)
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !self.midway => {
                runtime.spawn(async move {
                    if connection.execute(sqlx::raw_sql("ROLLBACK")).await.is_err() {
                        connection.close_on_drop();
                    }
                });
            }
            _ => connection.close_on_drop(),
        }
    }
}

#[async_trait]
impl Session for PostgresSession {
    async fn stage(&mut self, stage: &Stage, rows: &[StageRow]) -> Result<(), Failure> {
        let create = sql!("CREATE TEMPORARY TABLE {stage} ({}) ON COMMIT DROP", stage.columns_with_types());
        self.execute(create).await?;
        let mut copy = self.connection()?.copy_in_raw(sql!("COPY {stage} FROM STDIN").text()).await?;
        // In pieces, so that a large batch is not in memory twice.
        for rows in rows.chunks(COPIED_TOGETHER) {
            copy.send(copy_text(rows)).await?;
        }
        let finished = copy.finish().await;
        self.over(finished).map(drop)
    }

    async fn join_by_index(&mut self) -> Result<(), Failure> {
        let settings = sql!("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off");
        self.execute(settings).await.map(drop)
    }

    async fn execute(&mut self, sql: Sql) -> Result<u64, Failure> {
        let done = self.connection()?.execute(sqlx::raw_sql(sql.into_safe())).await;
        Ok(self.over(done)?.rows_affected())
    }

    async fn query(&mut self, sql: Sql) -> Result<Vec<Vec<Text>>, Failure> {
        let rows = self.connection()?.fetch_all(sqlx::query(sql.into_safe()).persistent(false)).await;
        let rows = self.over(rows)?;
        rows.iter().map(|row| (0..row.len()).map(|index| Ok(row.try_get::<Text, _>(index)?)).collect()).collect()
    }

    async fn run(&mut self, sql: Sql, bound: &[Bound], returns: bool) -> Result<Ran, Failure> {
        let mut query = sqlx::query(sql.into_safe());
        for (value, _) in bound {
            query = query.bind(value.as_deref().map(str::to_owned));
        }
        if !returns {
            let done = self.connection()?.execute(query).await;
            let changed = self.over(done)?.rows_affected();
            return Ok(Ran { changed: Some(changed), rows: Vec::new() });
        }
        let rows = self.connection()?.fetch_all(query).await;
        let rows = self.over(rows)?;
        let texts = |row: &PgRow| (0..row.len()).map(|index| text(row, index)).collect();
        Ok(Ran { changed: None, rows: rows.iter().map(texts).collect() })
    }

    async fn examine(&mut self, sql: Sql, bound: &[String]) -> Result<(), Failure> {
        use sqlx::SqlSafeStr as _;
        // Bound as texts, as they will be: what was once prepared with other types stays so in this connection.
        let types = vec![<str as sqlx::Type<Engine>>::type_info(); bound.len()];
        let prepared = self.connection()?.prepare_with(sql.into_safe().into_sql_str(), &types).await.map(drop);
        self.over(prepared)
    }

    async fn savepoint(&mut self) -> Result<(), Failure> {
        self.execute(sql!("SAVEPOINT muster")).await.map(drop)
    }

    async fn return_to_savepoint(&mut self) -> Result<(), Failure> {
        self.execute(sql!("ROLLBACK TO SAVEPOINT muster")).await.map(drop)
    }

    async fn rollback(mut self: Box<Self>) {
        // Where it cannot be said, the connection is lost, and the transaction with it.
        if self.execute(sql!("ROLLBACK")).await.is_ok() {
            self.connection = None;
        }
    }

    async fn commit(mut self: Box<Self>) -> Result<(), Failure> {
        self.execute(sql!("COMMIT")).await?;
        self.connection = None;
        Ok(())
    }
}

/// A value that somebody's statement returned, which may be of any type; those that are no keys are left out.
fn text(row: &PgRow, index: usize) -> Text {
    let whole = || {
        let long = row.try_get::<Option<i64>, _>(index);
        let middle = || row.try_get::<Option<i32>, _>(index).map(|number| number.map(i64::from));
        let short = || row.try_get::<Option<i16>, _>(index).map(|number| number.map(i64::from));
        long.or_else(|_| middle()).or_else(|_| short()).ok().flatten().map(|number| number.to_string().into())
    };
    let uuid = || row.try_get::<Option<uuid::Uuid>, _>(index).ok().flatten().map(|uuid| uuid.to_string().into());
    row.try_get::<Text, _>(index).ok().flatten().or_else(whole).or_else(uuid)
}

/// Rows in one message of `COPY`.
const COPIED_TOGETHER: usize = 500;

/// The text format of `COPY` (PostgreSQL documentation, COPY, "Text Format").
fn copy_text(rows: &[StageRow]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * 128);
    for row in rows {
        bytes.extend_from_slice(format!("{}\t{}", row.number, row.group).as_bytes());
        for value in &row.values {
            bytes.push(b'\t');
            match value {
                None => bytes.extend_from_slice(b"\\N"),
                Some(text) => {
                    for byte in text.bytes() {
                        match byte {
                            b'\\' => bytes.extend_from_slice(b"\\\\"),
                            b'\t' => bytes.extend_from_slice(b"\\t"),
                            b'\n' => bytes.extend_from_slice(b"\\n"),
                            b'\r' => bytes.extend_from_slice(b"\\r"),
                            other => bytes.push(other),
                        }
                    }
                }
            }
        }
        bytes.push(b'\n');
    }
    bytes
}

/// The staged column that `COPY` failed at: "COPY muster_stage, line 1, column v3: ...", in any language.
fn staged_column(context: &str) -> Option<usize> {
    let (_, after) = context.split_once(Stage::NAME)?;
    after.split(|letter: char| !letter.is_alphanumeric()).find_map(|word| word.strip_prefix('v')?.parse().ok())
}

/// The server's routine behind `RAISE` (PostgreSQL, src/pl/plpgsql/src/pl_exec.c).
const RAISED: &str = "exec_stmt_raise";

/// What an SQLSTATE means (PostgreSQL documentation, appendix A).
pub(crate) fn classify(error: &dyn DatabaseError, code: &str) -> Class {
    let details = error.try_downcast_ref::<PgDatabaseError>();
    // What a function or trigger raises may name anything, also a person's value; only the server itself names rules.
    let is_raised = details.and_then(PgDatabaseError::routine) == Some(RAISED);
    let column = details.and_then(PgDatabaseError::column).filter(|_| !is_raised).map(str::to_owned);
    let constraint = error.constraint().filter(|_| !is_raised).map(str::to_owned);
    let staged = details.and_then(PgDatabaseError::r#where).and_then(staged_column);
    let row = |rule| Class::Row { rule, column: column.clone(), constraint: constraint.clone(), staged };
    match code {
        "23505" => Class::Unique { constraint },
        "23502" => row("required"),
        "23503" => row("foreign_key"),
        "23514" => row("check"),
        "22001" => row("too_long"),
        "22003" => row("out_of_range"),
        "25006" | "53100" | "53200" | "53300" => Class::Unreachable,
        "40001" | "40P01" | "55P03" | "57014" => Class::Busy,
        "42501" => Class::Forbidden,
        "3D000" | "3F000" | "42P01" | "42703" | "42704" => Class::NotThere,
        _ => match code.get(..2) {
            Some("28") => Class::SignIn,
            Some("08" | "57" | "58" | "53") => Class::Unreachable,
            Some("22" | "23" | "44" | "P0") => row("refused"),
            _ => Class::Bug,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_escapes_what_would_end_a_field_or_row() {
        let row = StageRow {
            number: 3,
            group: 0,
            values: vec![None, Some("a\tb\\N\nc\r".into()), Some("".into()), Some("Å".into())],
        };
        assert_eq!(staged_column("COPY muster_stage, Zeile 12, Spalte v3: \u{bb}v9\u{ab}"), Some(3));
        assert_eq!(staged_column("SQL statement"), None);
        assert_eq!(copy_text(&[row]), "3\t0\t\\N\ta\\tb\\\\N\\nc\\r\t\tÅ\n".as_bytes());
    }
}
