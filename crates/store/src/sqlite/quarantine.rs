//! Quarantine: that a sync's changes wait, and the outcomes that say so.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Connection as _, Row as _};

use super::Doing as _;
use crate::error::StoreError;
use crate::operator::QuarantineRecord;
use crate::records::SyncId;

const ACTION: &str = "told about a quarantine";

pub(super) async fn quarantine(readers: &SqlitePool, sync: SyncId) -> Result<Option<QuarantineRecord>, StoreError> {
    let row = sqlx::query("SELECT rule, attribute, since, probes, next_probe_at FROM quarantine WHERE sync = ?")
        .bind(sync.0)
        .fetch_optional(readers)
        .await
        .doing("read")?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(QuarantineRecord {
        sync,
        rule: row.try_get(0).doing("read")?,
        attribute: row.try_get(1).doing("read")?,
        since: row.try_get(2).doing("read")?,
        probes: row.try_get(3).doing("read")?,
        next_probe_at: row.try_get(4).doing("read")?,
    }))
}

pub(super) async fn set_quarantine(
    writer: &mut SqliteConnection,
    quarantine: &QuarantineRecord,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR REPLACE INTO quarantine (sync, rule, attribute, since, probes, next_probe_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(quarantine.sync.0)
    .bind(&quarantine.rule)
    .bind(quarantine.attribute.as_deref())
    .bind(quarantine.since)
    .bind(quarantine.probes)
    .bind(quarantine.next_probe_at)
    .execute(writer)
    .await
    .doing(ACTION)?;
    Ok(())
}

pub(super) async fn end_quarantine(writer: &mut SqliteConnection, sync: SyncId) -> Result<bool, StoreError> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    let ended = sqlx::query("DELETE FROM quarantine WHERE sync = ?")
        .bind(sync.0)
        .execute(&mut *transaction)
        .await
        .doing(ACTION)?;
    sqlx::query("DELETE FROM outcome_window WHERE sync = ?")
        .bind(sync.0)
        .execute(&mut *transaction)
        .await
        .doing(ACTION)?;
    if ended.rows_affected() > 0 {
        // Whoever waits does so for the reason that is over.
        sqlx::query(
            "UPDATE link SET not_before = NULL WHERE sync = ? AND not_before IS NOT NULL AND dirty > evaluated",
        )
        .bind(sync.0)
        .execute(&mut *transaction)
        .await
        .doing(ACTION)?;
    }
    transaction.commit().await.doing(ACTION)?;
    Ok(ended.rows_affected() > 0)
}

pub(super) async fn outcome_window(readers: &SqlitePool, sync: SyncId) -> Result<Vec<u8>, StoreError> {
    let row = sqlx::query("SELECT outcomes FROM outcome_window WHERE sync = ?")
        .bind(sync.0)
        .fetch_optional(readers)
        .await
        .doing("read")?;
    row.map_or(Ok(Vec::new()), |row| row.try_get(0).doing("read"))
}

pub(super) async fn set_outcome_window(
    writer: &mut SqliteConnection,
    sync: SyncId,
    outcomes: &[u8],
) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO outcome_window (sync, outcomes) VALUES (?, ?)")
        .bind(sync.0)
        .bind(outcomes)
        .execute(writer)
        .await
        .doing("given outcomes")?;
    Ok(())
}
