//! What people ask for: counts, what is parked and held, past runs.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use super::Doing as _;
use super::operations::read_kind;
use crate::error::StoreError;
use crate::records::{LinkId, ParkedView, RunRecord, SyncCounts, SyncId};

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

/// All columns of a [`ParkedView`], in the order that [`read_parked`] expects.
macro_rules! select_parked {
    ($rest:literal) => {
        concat!(
            "SELECT parked.link, source_object.anchor, parked.kind, parked.rule, parked.attribute, operation.content, \
             parked.since, parked.attempts FROM parked JOIN link ON link.id = parked.link \
             JOIN source_object ON source_object.id = link.object \
             LEFT JOIN operation ON operation.id = parked.operation ",
            $rest
        )
    };
}
pub(super) use select_parked;

pub(super) fn read_parked(row: &SqliteRow) -> Result<ParkedView, StoreError> {
    let message: Option<Vec<u8>> = row.try_get(5).doing("read")?;
    Ok(ParkedView {
        link: LinkId(row.try_get(0).doing("read")?),
        anchor: row.try_get(1).doing("read")?,
        kind: read_kind(row.try_get(2).doing("read")?)?,
        rule: row.try_get(3).doing("read")?,
        attribute: row.try_get(4).doing("read")?,
        message: message.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        since: row.try_get(6).doing("read")?,
        attempts: row.try_get(7).doing("read")?,
    })
}

pub(super) async fn parked(readers: &SqlitePool, sync: SyncId, limit: u32) -> Result<Vec<ParkedView>, StoreError> {
    let rows = sqlx::query(select_parked!("WHERE parked.sync = ? ORDER BY parked.since, parked.link LIMIT ?"))
        .bind(sync.0)
        .bind(limit)
        .fetch_all(readers)
        .await
        .doing("read")?;
    rows.iter().map(read_parked).collect()
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
