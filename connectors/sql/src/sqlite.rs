//! SQLite: its catalogue, declared types, error codes, and a temporary table filled from JSON.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use muster_connector::Error;
use muster_model::{Value, ValueType};
use sqlx::error::DatabaseError;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{ConnectOptions as _, Executor as _, Row as _, Sqlite as Engine, Transaction};

use crate::catalog::{Catalog, Column, ForeignKey, Table};
use crate::database::{BoundText, Database, Session, StageRow, Statements, Text, used_columns};
use crate::direct::{Binding, in_turn};
use crate::error::{Class, Failure};
use crate::own_writing::{Bound, Ran};
use crate::statement::{Name, Quote, Sql, Stage, TableName, insert_rows, sql};
use crate::text::unhex;

/// A SQLite file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    /// One connection: a second one would find the pages that it keeps outdated with each batch of the first.
    writer: SqlitePool,
    readers: SqlitePool,
    path: PathBuf,
}

impl Sqlite {
    pub(crate) fn new(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            // Staged values are people's; they do not belong into a file of the system's temporary folder.
            .pragma("temp_store", "memory")
            .pragma("cache_size", "-1024")
            .disable_statement_logging();
        // 4 MiB, so that a batch's pages stay in memory until it is committed. Batches that follow one another write much
        // the same pages, so a log is moved into the file after 16 MiB instead of 4.
        let writing = options.clone().pragma("cache_size", "-4096").pragma("wal_autocheckpoint", "4000");
        Ok(Self {
            writer: SqlitePoolOptions::new().max_connections(1).connect_lazy_with(writing),
            readers: SqlitePoolOptions::new().max_connections(2).connect_lazy_with(options),
            path: path.to_owned(),
        })
    }

    /// A missing file is told apart from a broken one: SQLite itself says "unable to open" for both.
    fn refuse_missing(&self) -> Result<(), Failure> {
        if self.path.exists() {
            return Ok(());
        }
        Err(Failure::new(Class::NoFile, format!("there is no file {}", self.path.display())))
    }
}

/// What a declared type means. Source: SQLite, "Datatypes", §3.1, with the usual names for what SQLite lacks.
fn value_type(declared: &str) -> Option<ValueType> {
    let name = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    Some(if has(&["BOOL"]) {
        ValueType::Boolean
    } else if has(&["INT"]) {
        ValueType::Integer
    } else if has(&["UUID", "GUID"]) {
        ValueType::Uuid
    } else if has(&["CHAR", "CLOB", "TEXT", "JSON"]) {
        ValueType::Text
    } else if has(&["BLOB", "BINARY"]) {
        ValueType::Binary
    } else if has(&["TIMESTAMP", "DATETIME"]) {
        ValueType::Instant
    } else if name == "DATE" {
        ValueType::Date
    } else if has(&["REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL"]) {
        ValueType::Decimal
    } else if name.is_empty() {
        ValueType::Text
    } else {
        return None;
    })
}

/// How a staged binary value is declared.
const BINARY: &str = "BLOB";

/// A declaration with the same affinity (SQLite, "Datatypes", §3.1), in a word of our own: what somebody declared
/// can be any text.
fn stage_type(declared: &str) -> &'static str {
    let name = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if value_type(declared) == Some(ValueType::Binary) {
        BINARY
    } else if has(&["INT"]) {
        "INTEGER"
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        "TEXT"
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        "REAL"
    } else if name.is_empty() {
        ""
    } else {
        "NUMERIC"
    }
}

/// SQLite keeps numbers as binary floating point beyond 64-bit integers: this many digits survive.
const DECIMAL_DIGITS: usize = 15;

/// The number in `VARCHAR(64)`. SQLite itself does not hold anybody to it, but whoever wrote it meant it.
fn declared_length(declared: &str, value_type: Option<ValueType>) -> Option<u32> {
    if value_type != Some(ValueType::Text) {
        return None;
    }
    let (_, rest) = declared.split_once('(')?;
    rest.split_once(')')?.0.trim().parse().ok()
}

#[async_trait]
impl Database for Sqlite {
    fn engine(&self) -> &'static str {
        "SQLite"
    }

    async fn identity(&self) -> Result<String, Failure> {
        self.refuse_missing()?;
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        Ok(format!("sqlite:{}", path.display()))
    }

    async fn version(&self) -> Result<String, Failure> {
        self.refuse_missing()?;
        let row = sqlx::query("SELECT sqlite_version()").fetch_one(&self.readers).await?;
        Ok(format!("SQLite {}", row.try_get::<String, _>(0)?))
    }

    async fn catalog(&self) -> Result<Catalog, Failure> {
        self.refuse_missing()?;
        let mut catalog = Catalog::default();
        let names = sqlx::query(
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        )
        .fetch_all(&self.readers)
        .await?;
        for row in names {
            catalog.tables.push(self.table(row.try_get(0)?).await?);
        }
        Ok(catalog)
    }

    fn quote(&self) -> Quote {
        Quote::Double
    }

    async fn query_columns(&self, query: &str) -> Result<Vec<Column>, Failure> {
        let mut session = self.begin(false).await?;
        session.execute(sql!("CREATE TEMPORARY VIEW muster_query AS {query}")).await?;
        let rows =
            session.query(sql!("SELECT name, type FROM pragma_table_xinfo('muster_query') ORDER BY cid")).await?;
        session.rollback().await;
        let column = |row: &Vec<Text>| {
            let text = |position: usize| row.get(position).and_then(Option::as_deref);
            let native = text(1).unwrap_or_default().to_owned();
            let (stage_type, value_type) = (stage_type(&native).to_owned(), value_type(&native));
            Some(Column { stage_type, value_type, ..Column::answered(text(0)?, native) })
        };
        Ok(rows.iter().filter_map(column).collect())
    }

    async fn begin(&self, writes: bool) -> Result<Box<dyn Session>, Failure> {
        self.refuse_missing()?;
        // A transaction that reads first and writes later fails at once when another one wrote meanwhile.
        let (pool, statement) = if writes { (&self.writer, "BEGIN IMMEDIATE") } else { (&self.readers, "BEGIN") };
        Ok(Box::new(SqliteSession { transaction: pool.begin_with(statement).await?, staged: false }))
    }

    fn temporary_schema(&self) -> Option<&'static str> {
        Some("temp")
    }

    fn refuses(&self, value: &Value) -> Option<(&'static str, &'static str)> {
        match value {
            Value::Text(text) if text.contains('\0') => {
                Some(("nul_character", "SQLite's functions end a text at a NUL character"))
            }
            Value::Decimal(number) => {
                let digits = number.as_str().trim_start_matches(['-', '0', '.']).replace('.', "");
                let exact = digits.trim_end_matches('0').len() <= DECIMAL_DIGITS || number.to_integer().is_some();
                (!exact).then_some(("too_precise", "SQLite keeps 15 digits of a decimal number"))
            }
            _ => None,
        }
    }

    fn read_expression(&self, column: &str, native: &str) -> String {
        match value_type(native) {
            Some(ValueType::Binary) => {
                // `hex` makes an empty text of null.
                format!("CASE WHEN {column} IS NOT NULL THEN lower(hex({column})) END")
            }
            _ => format!("CAST({column} AS TEXT)"),
        }
    }

    /// A text takes the affinity of the column that it meets; a cast would make `1980` of `1980-02-03`.
    fn mark(&self, _number: usize, stage_type: &str) -> String {
        if stage_type == BINARY { "unhex(?)".to_owned() } else { "?".to_owned() }
    }

    /// A transaction that writes is the only one.
    fn locked(&self, table: &str, _exclusive: bool) -> (String, &'static str) {
        (table.to_owned(), "")
    }

    fn literal(&self, text: &Text, native: &str) -> String {
        match (text, value_type(native)) {
            (None, _) => "NULL".to_owned(),
            (Some(text), Some(ValueType::Integer | ValueType::Boolean | ValueType::Decimal)) => text.to_string(),
            (Some(text), Some(ValueType::Binary)) => format!("x'{}'", text.trim_start_matches("\\x")),
            (Some(text), _) => format!("'{}'", text.replace('\'', "''")),
        }
    }

    fn binds_directly(&self, _native: &str) -> bool {
        true
    }

    fn updates_directly(&self) -> bool {
        true
    }

    fn among(&self, columns: &str, rows: &str) -> String {
        format!("({columns}) IN (VALUES {rows})")
    }

    // Otherwise it copies every page that the statement changes (SQLite, "Temporary Files Used By SQLite", §2.4).
    fn where_all_is_undone(&self) -> &'static str {
        "OR FAIL "
    }

    fn times_are_texts(&self) -> bool {
        true
    }

    fn max_in_flight(&self) -> u32 {
        1
    }

    /// SQLite binds 32,766, but a statement stays in this process's memory, and grows with what it binds.
    fn most_values(&self) -> usize {
        5_000
    }
}

impl Sqlite {
    async fn table(&self, name: String) -> Result<Table, Failure> {
        let mut table = Table {
            name: TableName::new(None, Name::new(&name, Quote::Double)),
            columns: Vec::new(),
            primary_key: Vec::new(),
            unique: Vec::new(),
            foreign_keys: Vec::new(),
            without_undo: None,
            is_default_schema: true,
        };
        let mut key = Vec::new();
        let columns = sqlx::query(
            "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid",
        )
        .bind(&name)
        .fetch_all(&self.readers)
        .await?;
        for row in columns {
            let native: String = row.try_get(1)?;
            let value_type = value_type(&native);
            let position: i64 = row.try_get(4)?;
            let column = Column {
                name: row.try_get(0)?,
                max_length: declared_length(&native, value_type),
                value_type,
                nullable: row.try_get::<i64, _>(2)? == 0,
                has_default: row.try_get::<i64, _>(3)? != 0,
                // 2 and 3 are generated columns, virtual and stored.
                generated: row.try_get::<i64, _>(5)? > 1,
                case_insensitive: false,
                choices: None,
                counted: false,
                stage_type: stage_type(&native).to_owned(),
                native,
            };
            if position > 0 {
                key.push((position, column.name.clone()));
            }
            table.columns.push(column);
        }
        key.sort_unstable();
        table.primary_key = key.into_iter().map(|(_, name)| name).collect();
        let without_row_number = sqlx::query("SELECT max(wr) FROM pragma_table_list(?)").bind(&name);
        let without_row_number: Option<i64> = without_row_number.fetch_one(&self.readers).await?.try_get(0)?;
        if without_row_number == Some(0) {
            mark_row_number(&mut table);
        }
        // Without a column it names the other table's primary key.
        let foreign = sqlx::query(
            "SELECT \"from\", \"table\", coalesce(\"to\", (SELECT name FROM pragma_table_info(k.\"table\") WHERE pk = 1)) \
             FROM pragma_foreign_key_list(?1) AS k WHERE (SELECT count(*) FROM pragma_foreign_key_list(?1) AS o \
             WHERE o.id = k.id) = 1 ORDER BY k.id",
        )
        .bind(&name)
        .fetch_all(&self.readers)
        .await?;
        for row in foreign {
            let other: String = row.try_get(1)?;
            let Some(referenced) = row.try_get::<Option<String>, _>(2)? else { continue };
            let other = TableName::new(table.name.schema.clone(), Name::new(&other, Quote::Double));
            table.foreign_keys.push(ForeignKey { column: row.try_get(0)?, table: other, referenced });
        }
        let indexes = sqlx::query(
            "SELECT name, \"unique\" AND NOT partial AND origin <> 'pk' FROM pragma_index_list(?) ORDER BY name",
        )
        .bind(&name)
        .fetch_all(&self.readers)
        .await?;
        for row in indexes {
            let index: String = row.try_get(0)?;
            let parts = sqlx::query("SELECT name, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno")
                .bind(index)
                .fetch_all(&self.readers)
                .await?;
            let mut columns = Vec::with_capacity(parts.len());
            for part in &parts {
                // Without a name it is an expression, which no set of values can be compared with from outside.
                let Some(column) = part.try_get::<Option<String>, _>(0)? else { continue };
                // The catalogue tells a column's collation by its indexes only.
                let is_insensitive = part.try_get::<Option<String>, _>(1)?.is_some_and(|name| name == "NOCASE");
                if let Some(known) = table.columns.iter_mut().find(|known| known.name == column) {
                    known.case_insensitive |= is_insensitive;
                }
                columns.push(column);
            }
            if row.try_get::<i64, _>(1)? != 0 && columns.len() == parts.len() {
                table.unique.push(columns);
            }
        }
        Ok(table)
    }
}

/// A single INTEGER PRIMARY KEY is the row number, which SQLite assigns. Source: SQLite, "ROWIDs and the INTEGER PRIMARY KEY".
fn mark_row_number(table: &mut Table) {
    if let [only] = table.primary_key.as_slice()
        && let Some(column) = table.columns.iter_mut().find(|column| column.name == *only)
        && column.native.eq_ignore_ascii_case("INTEGER")
    {
        column.has_default = true;
        column.nullable = false;
    }
}

fn texts(row: &SqliteRow) -> Result<Vec<Text>, Failure> {
    let text = |index| -> Result<Text, Failure> {
        // Nothing keeps bytes that are no text out of a text column, and one such row must not hide others.
        let bytes = row.try_get_unchecked::<Option<Vec<u8>>, _>(index)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into()))
    };
    (0..row.len()).map(text).collect()
}

struct SqliteSession {
    transaction: Transaction<'static, Engine>,
    staged: bool,
}

#[async_trait]
impl Session for SqliteSession {
    async fn stage(&mut self, stage: &Stage, rows: &[StageRow]) -> Result<(), Failure> {
        self.execute(sql!("CREATE TEMPORARY TABLE {} ({})", Stage::NAME, stage.columns_with_types())).await?;
        self.staged = true;
        // Bound row by row, in statements of one shape, which are prepared once. JSON would take three times as long.
        let used = used_columns(rows);
        let together = STAGED_TOGETHER.min(MOST_VALUES / (used.len() + 2));
        for rows in rows.chunks(together) {
            let insert = insert_rows(stage, &used, rows.len());
            let mut query = sqlx::query(insert.into_safe()).persistent(rows.len() == together);
            for row in rows {
                query = query.bind(i64::try_from(row.number).ok()).bind(i64::try_from(row.group).ok());
                for position in &used {
                    let value = row.values.get(*position).cloned().flatten();
                    query = match stage.types.get(*position) {
                        Some(kind) if kind == BINARY => {
                            query.bind(value.and_then(|text| unhex(text.trim_start_matches("\\x"))).map(Vec::from))
                        }
                        _ => query.bind(value),
                    };
                }
            }
            self.transaction.execute(query).await?;
        }
        Ok(())
    }

    async fn execute(&mut self, sql: Sql) -> Result<u64, Failure> {
        Ok(self.transaction.execute(sqlx::query(sql.into_safe()).persistent(false)).await?.rows_affected())
    }

    async fn query(&mut self, sql: Sql) -> Result<Vec<Vec<Text>>, Failure> {
        let rows = self.transaction.fetch_all(sqlx::query(sql.into_safe()).persistent(false)).await?;
        rows.iter().map(texts).collect()
    }

    async fn run(&mut self, sql: Sql, bound: &[Bound], returns: bool) -> Result<Ran, Failure> {
        let mut query = sqlx::query(sql.into_safe());
        for (value, kind) in bound {
            // `unhex` takes digits only.
            let digits =
                |text: &str| if kind == BINARY { text.trim_start_matches("\\x").to_owned() } else { text.to_owned() };
            query = query.bind(value.as_deref().map(digits));
        }
        if !returns {
            let changed = self.transaction.execute(query).await?.rows_affected();
            return Ok(Ran { changed: Some(changed), rows: Vec::new() });
        }
        let rows = self.transaction.fetch_all(query).await?;
        Ok(Ran { changed: None, rows: rows.iter().map(texts).collect::<Result<_, _>>()? })
    }

    async fn run_bound(&mut self, statements: &mut Statements<'_>, counts: bool) -> Result<u64, Failure> {
        in_turn(self, statements, counts).await
    }

    async fn examine(&mut self, sql: Sql, _bound: &[String]) -> Result<(), Failure> {
        use sqlx::SqlSafeStr as _;
        Ok((*self.transaction).prepare(sql.into_safe().into_sql_str()).await.map(drop)?)
    }

    async fn savepoint(&mut self) -> Result<(), Failure> {
        self.execute(sql!("SAVEPOINT muster")).await.map(drop)
    }

    async fn return_to_savepoint(&mut self) -> Result<(), Failure> {
        self.execute(sql!("ROLLBACK TO SAVEPOINT muster")).await.map(drop)
    }

    async fn rollback(self: Box<Self>) {
        // Where it cannot be said, the connection is lost, and the transaction with it.
        drop(self.transaction.rollback().await);
    }

    async fn commit(mut self: Box<Self>) -> Result<(), Failure> {
        if self.staged {
            self.execute(sql!("DROP TABLE temp.{}", Stage::NAME)).await?;
        }
        Ok(self.transaction.commit().await?)
    }
}

#[async_trait]
impl Binding for SqliteSession {
    type Ready = Query<'static, Engine, SqliteArguments>;

    fn ready(sql: Sql, values: Vec<BoundText<'_>>) -> Self::Ready {
        values.into_iter().fold(sqlx::query(sql.into_safe()), |query, (value, kind)| match value {
            Some(text) if kind == BINARY => query.bind(unhex(text.trim_start_matches("\\x")).map(Vec::from)),
            // A String is moved; the driver would copy a borrowed text twice.
            value => query.bind(value.map(Cow::into_owned)),
        })
    }

    async fn run_ready(&mut self, ready: Self::Ready, counts: bool) -> Result<u64, Failure> {
        if !counts {
            return Ok(self.transaction.execute(ready).await?.rows_affected());
        }
        let row = self.transaction.fetch_one(ready).await?;
        Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default())
    }
}

/// Rows in one statement.
const STAGED_TOGETHER: usize = 200;

/// Values in one statement (SQLite, "Limits", SQLITE_MAX_VARIABLE_NUMBER).
const MOST_VALUES: usize = 32_000;

/// What a result code means (SQLite, "Result and Error Codes").
pub(crate) fn classify(error: &dyn DatabaseError, code: &str) -> Class {
    let number: u32 = code.parse().unwrap_or(0);
    // "UNIQUE constraint failed: app_user.login, app_user.tenant"; the code tells the kind, the text only where.
    let subject = error.message().split_once(": ").map(|(_, subject)| subject.trim().to_owned());
    let column = subject.as_deref().and_then(|subject| subject.rsplit('.').next()).map(str::to_owned);
    let row = |rule| Class::Row { rule, column: column.clone(), constraint: None, staged: None };
    match number {
        // The file was moved or replaced while it was open.
        1032 => Class::Unreachable,
        2067 | 1555 | 2579 => Class::Unique { constraint: subject },
        1299 => row("required"),
        787 | 3850 => Class::Row { rule: "foreign_key", column: None, constraint: None, staged: None },
        275 => Class::Row { rule: "check", column: None, constraint: subject, staged: None },
        _ => match number & 0xff {
            5 | 6 => Class::Busy,
            8 | 23 => Class::ReadOnly,
            10 | 11 | 13 | 14 | 26 => Class::Unreachable,
            // A trigger's own words, which may hold anybody's values: they are a message and no rule's name.
            18..=20 => Class::Row { rule: "refused", column: None, constraint: None, staged: None },
            1 if error.message().starts_with("no such") => Class::NotThere,
            _ => Class::Bug,
        },
    }
}
