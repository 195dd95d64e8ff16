//! What a service asks between cycles, and what people ask of it: cheap to read, and read without writing.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::Doing as _;
use crate::error::StoreError;
use crate::records::{SyncId, SyncStanding};

pub(super) async fn standings(readers: &SqlitePool) -> Result<Vec<SyncStanding>, StoreError> {
    let rows = sqlx::query("SELECT id, name, paused, wake_at, reconcile FROM sync WHERE retired = 0 ORDER BY id")
        .fetch_all(readers)
        .await
        .doing("read")?;
    rows.into_iter()
        .map(|row| {
            Ok(SyncStanding {
                id: SyncId(row.try_get(0).doing("read")?),
                name: row.try_get(1).doing("read")?,
                paused: row.try_get(2).doing("read")?,
                wake_at: row.try_get(3).doing("read")?,
                reconcile: row.try_get(4).doing("read")?,
            })
        })
        .collect()
}

/// Every part ends at the first row of an index, however many links there are.
pub(super) const NEXT_DUE: &str = "SELECT min(at) FROM ( \
     SELECT * FROM (SELECT due_at AS at FROM link WHERE sync = ?1 AND due_at IS NOT NULL AND due_at > ?2 \
       ORDER BY due_at LIMIT 1) \
     UNION ALL \
     SELECT * FROM (SELECT not_before AS at FROM link WHERE sync = ?1 AND not_before IS NOT NULL AND dirty > evaluated \
       AND not_before > ?2 ORDER BY not_before LIMIT 1) \
     UNION ALL \
     SELECT next_probe_at FROM quarantine WHERE sync = ?1 AND next_probe_at > ?2)";

pub(super) async fn next_due(readers: &SqlitePool, sync: SyncId, after: i64) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query(NEXT_DUE).bind(sync.0).bind(after).fetch_one(readers).await.doing("read")?;
    row.try_get(0).doing("read")
}

pub(super) async fn request_cycle(writer: &mut SqliteConnection, sync: SyncId, now: i64) -> Result<(), StoreError> {
    // Two requests of one moment are still two: whoever has seen the first must notice the second.
    sqlx::query("UPDATE sync SET wake_at = max(?, coalesce(wake_at, 0) + 1) WHERE id = ?")
        .bind(now)
        .bind(sync.0)
        .execute(writer)
        .await
        .doing("told about a request")?;
    Ok(())
}

pub(super) async fn clear_request(writer: &mut SqliteConnection, sync: SyncId, seen: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE sync SET wake_at = NULL WHERE id = ? AND wake_at <= ?")
        .bind(sync.0)
        .bind(seen)
        .execute(writer)
        .await
        .doing("told about a request")?;
    Ok(())
}

pub(super) async fn set_paused(
    writer: &mut SqliteConnection,
    sync: SyncId,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE sync SET paused = ? WHERE id = ?")
        .bind(reason)
        .bind(sync.0)
        .execute(writer)
        .await
        .doing("told about a pause")?;
    Ok(())
}

pub(super) async fn set_reconcile(
    writer: &mut SqliteConnection,
    sync: Option<SyncId>,
    wanted: bool,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE sync SET reconcile = ?1 WHERE (?2 IS NULL OR id = ?2) AND reconcile <> ?1")
        .bind(wanted)
        .bind(sync.map(|sync| sync.0))
        .execute(writer)
        .await
        .doing("told what to look at again")?;
    Ok(())
}

pub(super) async fn raise_clock_mark(writer: &mut SqliteConnection, mark: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE store SET clock_high_water = ?1 WHERE clock_high_water < ?1")
        .bind(mark)
        .execute(writer)
        .await
        .doing("told the time")?;
    Ok(())
}
