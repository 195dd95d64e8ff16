//! What people ask for: counts, what is parked and held, past runs.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Connection as _, Row as _};

use super::operations::read_kind;
use super::{Doing as _, pack};
use crate::error::StoreError;
use crate::records::{HoldRecord, LinkId, ParkedView, RunRecord, SyncCounts, SyncId};

pub(super) async fn sent_since(readers: &SqlitePool, sync: SyncId, kind: &str, since: i64) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT coalesce(sum(amount), 0) FROM counter WHERE sync = ? AND kind = ? AND minute >= ?")
        .bind(sync.0)
        .bind(kind)
        .bind(since / 60_000)
        .fetch_one(readers)
        .await
        .doing("read")?;
    Ok(row.try_get::<i64, _>(0).doing("read")? as u64)
}

pub(super) async fn set_holds(
    writer: &mut SqliteConnection,
    sync: SyncId,
    holds: &[HoldRecord],
) -> Result<(), StoreError> {
    const ACTION: &str = "told what is held";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    let mut digests = pack::Rows::new();
    for hold in holds {
        let items: Vec<u8> = hold.links.iter().flat_map(|link| link.0.to_le_bytes()).collect();
        digests.row().text(Some(&hold.kind)).bytes(Some(&hold.digest));
        sqlx::query(
            "INSERT INTO hold (sync, kind, digest, created_at, expires_at, wanted, allowed, items) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET wanted = excluded.wanted, allowed = excluded.allowed",
        )
        .bind(sync.0)
        .bind(&hold.kind)
        .bind(hold.digest.to_vec())
        .bind(hold.created_at)
        .bind(hold.expires_at)
        .bind(hold.wanted as i64)
        .bind(hold.allowed as i64)
        .bind(items)
        .execute(&mut *transaction)
        .await
        .doing(ACTION)?;
    }
    let (blob, json) = digests.finish();
    sqlx::query(
        "DELETE FROM hold WHERE sync = ?3 AND (kind, digest) NOT IN \
         (SELECT value ->> 0, substr(?1, value ->> 1, value ->> 2) FROM json_each(?2))",
    )
    .bind(blob)
    .bind(json)
    .bind(sync.0)
    .execute(&mut *transaction)
    .await
    .doing(ACTION)?;
    transaction.commit().await.doing(ACTION)
}

pub(super) async fn holds(readers: &SqlitePool, sync: SyncId) -> Result<Vec<HoldRecord>, StoreError> {
    let rows = sqlx::query(
        "SELECT kind, digest, created_at, expires_at, wanted, allowed, items FROM hold WHERE sync = ? ORDER BY kind",
    )
    .bind(sync.0)
    .fetch_all(readers)
    .await
    .doing("read")?;
    rows.into_iter()
        .map(|row| {
            let digest: Vec<u8> = row.try_get(1).doing("read")?;
            let items: Vec<u8> = row.try_get(6).doing("read")?;
            let (links, rest) = items.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(StoreError::Record { what: "hold" });
            }
            Ok(HoldRecord {
                sync,
                kind: row.try_get(0).doing("read")?,
                digest: digest.try_into().map_err(|_| StoreError::Record { what: "hold" })?,
                created_at: row.try_get(2).doing("read")?,
                expires_at: row.try_get(3).doing("read")?,
                wanted: row.try_get::<i64, _>(4).doing("read")? as u64,
                allowed: row.try_get::<i64, _>(5).doing("read")? as u64,
                links: links.iter().map(|bytes| LinkId(i64::from_le_bytes(*bytes))).collect(),
            })
        })
        .collect()
}

pub(super) async fn parked(readers: &SqlitePool, sync: SyncId, limit: u32) -> Result<Vec<ParkedView>, StoreError> {
    let rows = sqlx::query(
        "SELECT parked.link, source_object.anchor, parked.kind, parked.rule, parked.attribute, operation.content, \
         parked.since FROM parked JOIN link ON link.id = parked.link \
         JOIN source_object ON source_object.id = link.object \
         LEFT JOIN operation ON operation.id = parked.operation \
         WHERE parked.sync = ? ORDER BY parked.since, parked.link LIMIT ?",
    )
    .bind(sync.0)
    .bind(limit)
    .fetch_all(readers)
    .await
    .doing("read")?;
    rows.into_iter()
        .map(|row| {
            let message: Option<Vec<u8>> = row.try_get(5).doing("read")?;
            Ok(ParkedView {
                link: LinkId(row.try_get(0).doing("read")?),
                anchor: row.try_get(1).doing("read")?,
                kind: read_kind(row.try_get(2).doing("read")?)?,
                rule: row.try_get(3).doing("read")?,
                attribute: row.try_get(4).doing("read")?,
                message: message.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
                since: row.try_get(6).doing("read")?,
            })
        })
        .collect()
}

pub(super) async fn counts(readers: &SqlitePool, sync: SyncId, now: i64) -> Result<SyncCounts, StoreError> {
    let row = sqlx::query(
        "SELECT count(*), count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 2), \
         count(*) FILTER (WHERE dirty > evaluated), \
         (SELECT count(*) FROM parked WHERE parked.sync = ?1), \
         count(*) FILTER (WHERE dirty > evaluated AND not_before > ?2), \
         (SELECT coalesce(sum(wanted), 0) FROM hold WHERE hold.sync = ?1) \
         FROM link WHERE sync = ?1",
    )
    .bind(sync.0)
    .bind(now)
    .fetch_one(readers)
    .await
    .doing("read")?;
    let number = |index: usize| -> Result<u64, StoreError> { Ok(row.try_get::<i64, _>(index).doing("read")? as u64) };
    Ok(SyncCounts {
        links: number(0)?,
        linked: number(1)?,
        disabled: number(2)?,
        dirty: number(3)?,
        parked: number(4)?,
        waiting: number(5)?,
        held: number(6)?,
    })
}

pub(super) async fn begin_run(writer: &mut SqliteConnection, sync: SyncId, now: i64) -> Result<i64, StoreError> {
    const ACTION: &str = "told about a run";
    let row = sqlx::query("INSERT INTO run (sync, started_at) VALUES (?, ?) RETURNING id")
        .bind(sync.0)
        .bind(now)
        .fetch_one(writer)
        .await
        .doing(ACTION)?;
    row.try_get(0).doing(ACTION)
}

pub(super) async fn finish_run(
    writer: &mut SqliteConnection,
    run: i64,
    now: i64,
    outcome: &str,
    report: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE run SET finished_at = ?, outcome = ?, report = ? WHERE id = ?")
        .bind(now)
        .bind(outcome)
        .bind(report)
        .bind(run)
        .execute(writer)
        .await
        .doing("told how a run ended")?;
    Ok(())
}

pub(super) async fn runs(readers: &SqlitePool, sync: SyncId, limit: u32) -> Result<Vec<RunRecord>, StoreError> {
    let rows =
        sqlx::query("SELECT started_at, finished_at, outcome, report FROM run WHERE sync = ? ORDER BY id DESC LIMIT ?")
            .bind(sync.0)
            .bind(limit)
            .fetch_all(readers)
            .await
            .doing("read")?;
    rows.into_iter()
        .map(|row| {
            Ok(RunRecord {
                started_at: row.try_get(0).doing("read")?,
                finished_at: row.try_get(1).doing("read")?,
                outcome: row.try_get(2).doing("read")?,
                report: row.try_get(3).doing("read")?,
            })
        })
        .collect()
}
