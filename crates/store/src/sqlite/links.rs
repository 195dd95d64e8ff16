//! Links: filling them for a new sync, finding dirty ones, looking up who owns a target object.

use std::collections::HashMap;

use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Connection as _, Row as _};

use super::keys::IndexedKeys;
use super::objects::read_removed;
use super::{Doing as _, pack};
use crate::error::StoreError;
use crate::records::{LinkId, LinkState, LinkView, ObjectId, Origin, Owner, SyncId, TargetTypeId};

pub(super) fn state_number(state: LinkState) -> i64 {
    match state {
        LinkState::Candidate => 0,
        LinkState::Linked => 1,
        LinkState::Disabled => 2,
        LinkState::Gone => 3,
        LinkState::Released => 4,
        LinkState::Ignored => 5,
    }
}

fn read_state(number: i64) -> Result<LinkState, StoreError> {
    match number {
        0 => Ok(LinkState::Candidate),
        1 => Ok(LinkState::Linked),
        2 => Ok(LinkState::Disabled),
        3 => Ok(LinkState::Gone),
        4 => Ok(LinkState::Released),
        5 => Ok(LinkState::Ignored),
        _ => Err(StoreError::Record { what: "link" }),
    }
}

pub(super) fn origin_number(origin: Origin) -> i64 {
    match origin {
        Origin::None => 0,
        Origin::Created => 1,
        Origin::Adopted => 2,
    }
}

fn read_origin(number: i64) -> Result<Origin, StoreError> {
    match number {
        0 => Ok(Origin::None),
        1 => Ok(Origin::Created),
        2 => Ok(Origin::Adopted),
        _ => Err(StoreError::Record { what: "link" }),
    }
}

pub(super) async fn fill_candidates(
    writer: &mut SqliteConnection,
    sync: SyncId,
    limit: u32,
) -> Result<bool, StoreError> {
    const ACTION: &str = "given links";
    // The plus keeps the planner from reading all of the type's anchors, where the last few rows are enough.
    let row = sqlx::query(
        "SELECT max(id), count(*), (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'source_object'), \
         (SELECT filled_to FROM sync WHERE id = ?1) FROM (SELECT source_object.id FROM sync \
         JOIN source_object ON +source_object.source_type = sync.source_type \
         WHERE sync.id = ?1 AND source_object.id > sync.filled_to ORDER BY source_object.id LIMIT ?2)",
    )
    .bind(sync.0)
    .bind(limit)
    .fetch_one(&mut *writer)
    .await
    .doing(ACTION)?;
    let last: Option<i64> = row.try_get(0).doing(ACTION)?;
    let count: i64 = row.try_get(1).doing(ACTION)?;
    let newest: i64 = row.try_get(2).doing(ACTION)?;
    let remain = count >= i64::from(limit);
    let filled_to = last.filter(|_| remain).unwrap_or(newest);
    if row.try_get::<i64, _>(3).doing(ACTION)? >= filled_to {
        return Ok(false);
    }
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    sqlx::query(
        "INSERT OR IGNORE INTO link (sync, object, target_type) \
         SELECT sync.id, source_object.id, sync.target_type FROM sync \
         JOIN source_object ON +source_object.source_type = sync.source_type \
         WHERE sync.id = ?1 AND source_object.id > sync.filled_to AND source_object.id <= ?2 \
         AND source_object.state IS NOT NULL ORDER BY source_object.id",
    )
    .bind(sync.0)
    .bind(filled_to)
    .execute(&mut *transaction)
    .await
    .doing(ACTION)?;
    sqlx::query("UPDATE sync SET filled_to = ? WHERE id = ?")
        .bind(filled_to)
        .bind(sync.0)
        .execute(&mut *transaction)
        .await
        .doing(ACTION)?;
    transaction.commit().await.doing(ACTION)?;
    Ok(remain)
}

pub(super) async fn mark_due(writer: &mut SqliteConnection, sync: SyncId, now: i64) -> Result<u64, StoreError> {
    const ACTION: &str = "told what is due";
    let mut transaction = writer.begin().await.doing(ACTION)?;
    let result = sqlx::query(
        "UPDATE link SET dirty = dirty + 1, due_at = NULL, not_before = NULL \
         WHERE sync = ? AND due_at IS NOT NULL AND due_at <= ?",
    )
    .bind(sync.0)
    .bind(now)
    .execute(&mut *transaction)
    .await
    .doing(ACTION)?;
    if result.rows_affected() > 0 {
        reached(&mut transaction, now).await?;
    }
    transaction.commit().await.doing(ACTION)?;
    Ok(result.rows_affected())
}

/// Notes up to when due dates were acted upon.
pub(super) async fn reached(writer: &mut SqliteConnection, time: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE store SET clock_reached = ?1 WHERE clock_reached < ?1")
        .bind(time)
        .execute(writer)
        .await
        .doing("told the time")?;
    Ok(())
}

pub(super) async fn retry_parked(writer: &mut SqliteConnection, sync: SyncId) -> Result<u64, StoreError> {
    let result = sqlx::query(
        "UPDATE link SET dirty = dirty + 1, attempts = 0 WHERE id IN (SELECT parked.link FROM parked WHERE parked.sync = ?)",
    )
    .bind(sync.0)
    .execute(writer)
    .await
    .doing("told to try again")?;
    Ok(result.rows_affected())
}

/// All columns of a [`LinkView`], in the order that [`read_link`] expects.
macro_rules! select_links {
    ($rest:literal) => {
        concat!(
            "SELECT link.id, link.object, source_object.anchor, source_object.state, source_object.removed, \
             source_object.removed_since, link.state, link.origin, link.target_key, link_values.written, \
             link_values.sticky, link.dirty, link.attempts, link.due_at, \
             EXISTS (SELECT 1 FROM parked WHERE parked.link = link.id) \
             FROM link CROSS JOIN source_object ON source_object.id = link.object \
             LEFT JOIN link_values ON link_values.link = link.id ",
            $rest
        )
    };
}

fn read_link(row: &SqliteRow) -> Result<LinkView, StoreError> {
    Ok(LinkView {
        id: LinkId(row.try_get(0).doing("read")?),
        object: ObjectId(row.try_get(1).doing("read")?),
        anchor: row.try_get(2).doing("read")?,
        source: row.try_get(3).doing("read")?,
        removed: read_removed(row.try_get(4).doing("read")?)?,
        removed_since: row.try_get(5).doing("read")?,
        state: read_state(row.try_get(6).doing("read")?)?,
        origin: read_origin(row.try_get(7).doing("read")?)?,
        target_key: row.try_get(8).doing("read")?,
        written: row.try_get(9).doing("read")?,
        sticky: row.try_get(10).doing("read")?,
        dirty: row.try_get(11).doing("read")?,
        attempts: row.try_get(12).doing("read")?,
        due_at: row.try_get(13).doing("read")?,
        parked: row.try_get(14).doing("read")?,
        referred: None,
        member_of: None,
    })
}

pub(super) async fn dirty_links(
    readers: &SqlitePool,
    sync: SyncId,
    after: LinkId,
    now: i64,
    limit: u32,
) -> Result<Vec<LinkView>, StoreError> {
    let query = sqlx::query(select_links!(
        "WHERE link.sync = ? AND link.dirty > link.evaluated AND link.id > ? \
         AND (link.not_before IS NULL OR link.not_before <= ?) ORDER BY link.id LIMIT ?"
    ));
    views(readers, query.bind(sync.0).bind(after.0).bind(now).bind(limit)).await
}

pub(super) async fn linked(
    readers: &SqlitePool,
    sync: SyncId,
    after: LinkId,
    limit: u32,
) -> Result<Vec<LinkView>, StoreError> {
    let rest =
        select_links!("WHERE link.sync = ? AND link.target_key IS NOT NULL AND link.id > ? ORDER BY link.id LIMIT ?");
    views(readers, sqlx::query(rest).bind(sync.0).bind(after.0).bind(limit)).await
}

pub(super) async fn all_links(
    readers: &SqlitePool,
    sync: SyncId,
    after: LinkId,
    limit: u32,
) -> Result<Vec<LinkView>, StoreError> {
    let rest = select_links!("WHERE link.sync = ? AND link.id > ? ORDER BY link.id LIMIT ?");
    views(readers, sqlx::query(rest).bind(sync.0).bind(after.0).bind(limit)).await
}

async fn views(readers: &SqlitePool, query: Query<'_, Sqlite, SqliteArguments>) -> Result<Vec<LinkView>, StoreError> {
    query.fetch_all(readers).await.doing("read")?.iter().map(read_link).collect()
}

pub(super) async fn links(readers: &SqlitePool, ids: &[LinkId]) -> Result<Vec<LinkView>, StoreError> {
    let query = sqlx::query(select_links!("WHERE link.id IN (SELECT value FROM jsonb_each(?)) ORDER BY link.id"));
    views(readers, query.bind(pack::numbers(ids.iter().map(|id| id.0)))).await
}

pub(super) async fn link_of(readers: &SqlitePool, sync: SyncId, anchor: &[u8]) -> Result<Option<LinkView>, StoreError> {
    let row = sqlx::query(select_links!(
        "WHERE link.sync = ?1 AND source_object.anchor = ?2 \
         AND source_object.source_type = (SELECT source_type FROM sync WHERE id = ?1)"
    ))
    .bind(sync.0)
    .bind(anchor)
    .fetch_optional(readers)
    .await
    .doing("read")?;
    row.as_ref().map(read_link).transpose()
}

pub(super) async fn owners(
    readers: &SqlitePool,
    indexed_keys: &IndexedKeys,
    target_type: TargetTypeId,
    keys: &[Vec<u8>],
) -> Result<HashMap<Vec<u8>, Owner>, StoreError> {
    let (blob, json) = pack::keys(keys.iter().map(|key| indexed_keys.indexed(key)));
    let rows = sqlx::query(
        "SELECT link.target_key, link.sync, link.id, source_object.removed \
         FROM link JOIN source_object ON source_object.id = link.object \
         WHERE link.target_type = ?3 AND link.owner = 0 AND link.indexed_key IS NOT NULL \
         AND link.indexed_key IN (SELECT substr(?1, value ->> 0, value ->> 1) FROM jsonb_each(?2))",
    )
    .bind(blob)
    .bind(json)
    .bind(target_type.0)
    .fetch_all(readers)
    .await
    .doing("read")?;
    rows.into_iter()
        .map(|row| {
            let owner = Owner {
                sync: SyncId(row.try_get(1).doing("read")?),
                link: LinkId(row.try_get(2).doing("read")?),
                removed: read_removed(row.try_get(3).doing("read")?)?,
            };
            Ok((row.try_get(0).doing("read")?, owner))
        })
        .collect()
}
