//! Opening the state file: made on first start, upgraded, and refused rather than misread.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use uuid::Uuid;

use super::keys;
use crate::error::StoreError;

/// Written into the file's header, so that another application's database is recognised ("Mstr").
const APPLICATION_ID: i64 = 0x4d73_7472;

/// One script a version; never edited once released.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_records.sql"),
    include_str!("../../migrations/sqlite/0002_operator.sql"),
    include_str!("../../migrations/sqlite/0003_service.sql"),
    include_str!("../../migrations/sqlite/0004_sought.sql"),
    include_str!("../../migrations/sqlite/0005_references.sql"),
    include_str!("../../migrations/sqlite/0007_lifecycle.sql"),
    include_str!("../../migrations/sqlite/0008_scope_groups.sql"),
    include_str!("../../migrations/sqlite/0009_scope_kinds.sql"),
    include_str!("../../migrations/sqlite/0010_keys.sql"),
    include_str!("../../migrations/sqlite/0011_indexed_keys.sql"),
    include_str!("../../migrations/sqlite/0012_key_index.sql"),
];

/// Above this size the whole-file check at start would be felt.
const CHECKED_SIZE: u64 = 64 << 20;

/// A file beside the state, whose name begins with the state's.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Where SQLite keeps the log of a state: beside the file itself, also where the path is a link to it.
pub(super) fn log_of(path: &Path) -> PathBuf {
    beside(&path.canonicalize().unwrap_or_else(|_| path.to_owned()), "-wal")
}

pub(super) fn opening(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Open { path: path.to_owned(), source: source.into() }
}

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Whatever refers to a row got its number from here, so that looking for each row's anew finds nothing out.
        .foreign_keys(false)
        .busy_timeout(std::time::Duration::from_secs(10))
        .pragma("cache_size", "-3000")
        .pragma("wal_autocheckpoint", "12000")
        .pragma("temp_store", "memory")
        // Rows come from a thread of the driver's own; with the usual 50 at a time most of reading is waiting for each other.
        .row_buffer_size(2_000)
        .disable_statement_logging()
}

pub(super) fn reader_options(path: &Path) -> SqliteConnectOptions {
    options(path).pragma("query_only", "true").pragma("cache_size", "-800")
}

/// Opens the writer's connection, making or upgrading the file.
pub(super) async fn open(path: &Path, now: i64) -> Result<SqliteConnection, StoreError> {
    if !path.exists() {
        create(path, now).await?;
    }
    refuse_foreign(path)?;
    restrict(path)?;
    let mut connection = options(path).connect().await.map_err(|error| unreadable(path, error))?;
    upgrade(path, &mut connection).await?;
    if std::fs::metadata(path).map_or(0, |metadata| metadata.len()) <= CHECKED_SIZE {
        verify(path, &mut connection).await?;
    }
    Ok(connection)
}

/// Makes the file under another name first, so that an interrupted start leaves no half-made state behind.
async fn create(path: &Path, now: i64) -> Result<(), StoreError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| opening(path, error))?;
    }
    let fresh = beside(path, &format!(".{}.new", std::process::id()));
    drop(std::fs::remove_file(&fresh));
    let made = fill(&fresh, now).await.map_err(|error| opening(path, error));
    let placed = made.and_then(|()| {
        restrict(&fresh)?;
        // A second process may have been faster; its file is as good as ours and must not be replaced.
        std::fs::hard_link(&fresh, path)
            .or_else(|error| if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
            .map_err(|error| opening(path, error))
    });
    drop(std::fs::remove_file(&fresh));
    placed
}

async fn fill(fresh: &Path, now: i64) -> Result<(), sqlx::Error> {
    let mut connection = SqliteConnectOptions::new()
        .filename(fresh)
        .create_if_missing(true)
        .page_size(4096)
        .journal_mode(SqliteJournalMode::Delete)
        .disable_statement_logging()
        .connect()
        .await?;
    let mut script = format!("BEGIN; PRAGMA application_id = {APPLICATION_ID};");
    for (version, migration) in (1..).zip(MIGRATIONS) {
        script.push_str(migration);
        script.push_str(&format!("PRAGMA user_version = {version};"));
    }
    script.push_str("COMMIT;");
    sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut connection).await?;
    sqlx::query("INSERT INTO store (id, incarnation, created_at, clock_high_water, digest_key) VALUES (1, ?, ?, ?, randomblob(32))")
        .bind(Uuid::now_v7().as_bytes().to_vec())
        .bind(now)
        .bind(now)
        .execute(&mut connection)
        .await?;
    connection.close().await
}

pub(super) fn refuse_foreign(path: &Path) -> Result<(), StoreError> {
    let mut header = [0_u8; 100];
    let mut file = std::fs::File::open(path).map_err(|error| opening(path, error))?;
    let length = file.metadata().map_err(|error| opening(path, error))?.len();
    if length == 0 {
        return Err(StoreError::Damaged { path: path.to_owned(), problem: "the file is empty".to_owned() });
    }
    if file.read_exact(&mut header).is_err() {
        return Err(StoreError::Foreign { path: path.to_owned(), found: format!("a file of {length} bytes") });
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(StoreError::Foreign { path: path.to_owned(), found: "no SQLite database".to_owned() });
    }
    refuse_shortened(path, &header, length)
}

/// SQLite itself takes a missing last part for zeros. Source: SQLite file format §1.3.2 and §1.3.8.
fn refuse_shortened(path: &Path, header: &[u8; 100], length: u64) -> Result<(), StoreError> {
    // With a log the file may rightly be behind: the log holds the rest.
    if std::fs::metadata(log_of(path)).is_ok_and(|log| log.len() > 0) {
        return Ok(());
    }
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let pages = u64::from(u32::from_be_bytes([header[28], header[29], header[30], header[31]]));
    if length < pages * page_size {
        let problem = format!("it has {length} of {} bytes", pages * page_size);
        return Err(StoreError::Damaged { path: path.to_owned(), problem });
    }
    Ok(())
}

/// Personal data rests in the state: only its owner may read it.
#[cfg(unix)]
fn restrict(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|error| opening(path, error))
}

#[cfg(not(unix))]
fn restrict(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

fn unreadable(path: &Path, error: sqlx::Error) -> StoreError {
    let corrupt = error
        .as_database_error()
        .and_then(|database| database.code())
        // SQLITE_CORRUPT and SQLITE_NOTADB, with their extended forms.
        .is_some_and(|code| code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 11 | 26)));
    if corrupt {
        StoreError::Damaged { path: path.to_owned(), problem: error.to_string() }
    } else {
        opening(path, error)
    }
}

async fn number(path: &Path, connection: &mut SqliteConnection, pragma: &'static str) -> Result<i64, StoreError> {
    let row = sqlx::query(pragma).fetch_one(connection).await.map_err(|error| unreadable(path, error))?;
    row.try_get(0).map_err(|error| unreadable(path, error))
}

async fn upgrade(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    if number(path, connection, "PRAGMA application_id").await? != APPLICATION_ID {
        let found = "another application's SQLite database".to_owned();
        return Err(StoreError::Foreign { path: path.to_owned(), found });
    }
    let known = MIGRATIONS.len() as i64;
    let found = number(path, connection, "PRAGMA user_version").await?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    if found < 1 {
        return Err(StoreError::Damaged { path: path.to_owned(), problem: format!("it says format {found}") });
    }
    for (version, migration) in (1_i64..).zip(MIGRATIONS).skip(found as usize) {
        migrate(connection, version, migration).await.map_err(|error| unreadable(path, error))?;
    }
    Ok(())
}

/// Whether a state that is there would have to be upgraded.
pub(super) async fn is_older(path: &Path) -> Result<bool, StoreError> {
    refuse_foreign(path)?;
    let mut connection = options(path).connect().await.map_err(|error| unreadable(path, error))?;
    let found = number(path, &mut connection, "PRAGMA user_version").await?;
    connection.close().await.map_err(|error| unreadable(path, error))?;
    Ok(found < MIGRATIONS.len() as i64)
}

/// The version whose columns are filled by more than its script.
const INDEXED_KEYS: i64 = 10;

async fn migrate(connection: &mut SqliteConnection, version: i64, migration: &'static str) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await?;
    if found >= version {
        // Another process was faster.
        return transaction.rollback().await;
    }
    sqlx::raw_sql(migration).execute(&mut *transaction).await?;
    if version == INDEXED_KEYS {
        keys::fill(&mut transaction).await?;
    }
    let script = format!("PRAGMA user_version = {version}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut *transaction).await?;
    transaction.commit().await
}

async fn verify(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let row =
        sqlx::query("PRAGMA quick_check(1)").fetch_one(connection).await.map_err(|error| unreadable(path, error))?;
    let verdict: String = row.try_get(0).map_err(|error| unreadable(path, error))?;
    if verdict == "ok" { Ok(()) } else { Err(StoreError::Damaged { path: path.to_owned(), problem: verdict }) }
}
