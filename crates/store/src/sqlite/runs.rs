//! How long runs are remembered.

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::Doing as _;
use crate::error::StoreError;

/// Runs of each sync that stay in any case.
pub(super) const KEPT: i64 = 1_000;

/// So long a run in which something was done stays, in milliseconds.
const REMEMBERED: i64 = 30 * 86_400_000;

/// The numbers of a report that say that something was done.
const DONE: &str = r#"["created","adopted","updated","enabled","disabled","deleted","parked","held"]"#;

pub(super) async fn prune(writer: &mut SqliteConnection, now: i64) -> Result<u64, StoreError> {
    const ACTION: &str = "cleared of old runs";
    let syncs = sqlx::query("SELECT id FROM sync").fetch_all(&mut *writer).await.doing(ACTION)?;
    let mut forgotten = 0;
    for sync in syncs {
        let sync: i64 = sync.try_get(0).doing(ACTION)?;
        let last = sqlx::query("SELECT id FROM run WHERE sync = ? ORDER BY id DESC LIMIT 1 OFFSET ?")
            .bind(sync)
            .bind(KEPT)
            .fetch_optional(&mut *writer)
            .await
            .doing(ACTION)?;
        let Some(last) = last else { continue };
        let last: i64 = last.try_get(0).doing(ACTION)?;
        let done = sqlx::query(
            "DELETE FROM run WHERE sync = ?1 AND id <= ?2 AND (started_at < ?3 OR NOT EXISTS \
             (SELECT 1 FROM json_each(iif(json_valid(report), report, '{}')) AS said \
             WHERE said.key IN (SELECT value FROM json_each(?4)) AND said.value > 0))",
        )
        .bind(sync)
        .bind(last)
        .bind(now.saturating_sub(REMEMBERED))
        .bind(DONE)
        .execute(&mut *writer)
        .await
        .doing(ACTION)?;
        forgotten += done.rows_affected();
    }
    Ok(forgotten)
}
