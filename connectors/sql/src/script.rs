//! Making a small SQLite database from a script, for demonstrations and tests.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

/// Runs a script on a SQLite file, which is made when it is not there.
///
/// # Errors
/// What SQLite said.
pub async fn run_script(path: &Path, script: &'static str) -> Result<(), String> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let failed = |error: sqlx::Error| format!("{}: {error}", path.display());
    let mut connection = options.connect().await.map_err(failed)?;
    sqlx::raw_sql(script).execute(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)
}
