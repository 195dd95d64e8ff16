//! Source objects: looking up a page's prior states, committing the merged page, sweeping.

use std::collections::HashMap;

use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use sqlx::{Connection as _, Row as _, Transaction};

use super::edges::{drop_edges, keep_edges, write_edges};
use super::members::references_moved;
use super::values::mark_referring_to;
use super::{Doing as _, pack, types};
use crate::error::StoreError;
use crate::records::{
    LinkId, ObjectId, ObjectWrite, ObjectsByAnchor, PageCommit, PageSummary, Removed, RoundWrite, SourceTypeId,
    StoredObject, SyncId,
};

pub(super) fn removed_number(removed: Removed) -> i64 {
    match removed {
        Removed::No => 0,
        Removed::Soft => 1,
        Removed::Hard => 2,
    }
}

pub(super) fn read_removed(number: i64) -> Result<Removed, StoreError> {
    match number {
        0 => Ok(Removed::No),
        1 => Ok(Removed::Soft),
        2 => Ok(Removed::Hard),
        _ => Err(StoreError::Record { what: "source object" }),
    }
}

pub(super) async fn has_objects(readers: &SqlitePool, source_type: SourceTypeId) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM source_object WHERE source_type = ?)")
        .bind(source_type.0)
        .fetch_one(readers)
        .await
        .doing("read")?;
    row.try_get(0).doing("read")
}

pub(super) async fn objects(
    readers: &SqlitePool,
    source_type: SourceTypeId,
    anchors: &[Vec<u8>],
) -> Result<ObjectsByAnchor, StoreError> {
    let (blob, json) = pack::keys(anchors.iter().map(Vec::as_slice));
    let rows = sqlx::query(
        "SELECT id, anchor, generation, removed, removed_since, state FROM source_object \
         WHERE source_type = ?3 AND anchor IN (SELECT substr(?1, value ->> 0, value ->> 1) FROM jsonb_each(?2))",
    )
    .bind(blob)
    .bind(json)
    .bind(source_type.0)
    .fetch_all(readers)
    .await
    .doing("read")?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let object = StoredObject {
            id: ObjectId(row.try_get(0).doing("read")?),
            generation: row.try_get(2).doing("read")?,
            removed: read_removed(row.try_get(3).doing("read")?)?,
            removed_since: row.try_get(4).doing("read")?,
            state: row.try_get(5).doing("read")?,
        };
        found.insert(row.try_get(1).doing("read")?, object);
    }
    Ok(found)
}

pub(super) const COMMIT: &str = "given a page";

// What fails here undoes the whole transaction. `OR FAIL` tells SQLite that no statement need be undone alone, so that it
// keeps no copy of every page that a statement changes.

pub(super) async fn commit_page(writer: &mut SqliteConnection, page: &PageCommit) -> Result<PageSummary, StoreError> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(COMMIT)?;
    let newest = newest_object(&mut transaction).await?;
    let (known, fresh): (Vec<&ObjectWrite>, Vec<&ObjectWrite>) =
        page.objects.iter().partition(|object| object.known.is_some());
    update_objects(&mut transaction, page.round.generation, &known).await?;
    if !insert_objects(&mut transaction, page, &fresh, newest).await? {
        transaction.rollback().await.doing(COMMIT)?;
        return Ok(PageSummary { collided: true, ..PageSummary::default() });
    }
    let is = |wanted: fn(&ObjectWrite) -> bool| {
        let ids = known.iter().filter(move |object| wanted(object)).filter_map(|object| object.known);
        ids.map(|id| id.0).collect::<Vec<i64>>()
    };
    let mut summary = PageSummary { new: fresh.len() as u64, ..PageSummary::default() };
    let mut dirty = is(|object| object.changed);
    if !page.edges.is_empty() || !page.complete.is_empty() {
        let ids = ids(&mut transaction, page).await?;
        let moved = write_edges(&mut transaction, page, &ids).await?;
        summary.edges = moved.len() as u64;
        dirty.extend(moved.into_iter().filter(|id| *id <= newest));
    }
    let came_or_went = is(|object| object.came_or_went);
    if !came_or_went.is_empty() {
        references_moved(&mut transaction).await?;
    }
    mark_referring_to(&mut transaction, &pack::numbers(came_or_went)).await?;
    drop_edges(&mut transaction, is(|object| object.removed == Removed::Hard && object.came_or_went).into_iter())
        .await?;
    dirty.sort_unstable();
    dirty.dedup();
    mark_dirty(&mut transaction, page.source_type, &dirty).await?;
    if !fresh.is_empty() {
        summary.first_object = ObjectId(newest + 1);
        summary.first_links = link_new(&mut transaction, page.source_type, newest, fresh.len()).await?;
    }
    keep_edges(&mut transaction, page).await?;
    write_round(&mut transaction, page.source_type, &page.round).await?;
    transaction.commit().await.doing(COMMIT)?;
    Ok(summary)
}

/// The greatest id that an object ever had.
async fn newest_object(transaction: &mut Transaction<'_, Sqlite>) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'source_object'")
        .fetch_one(&mut **transaction)
        .await
        .doing(COMMIT)?;
    row.try_get(0).doing(COMMIT)
}

/// Writes objects that are stored already, by their ids.
async fn update_objects(
    transaction: &mut Transaction<'_, Sqlite>,
    generation: i64,
    objects: &[&ObjectWrite],
) -> Result<(), StoreError> {
    if objects.is_empty() {
        return Ok(());
    }
    let mut rows = pack::Rows::new();
    for object in objects {
        rows.row()
            .optional_number(object.known.map(|id| id.0))
            .number(removed_number(object.removed))
            .optional_number(object.removed_since)
            .bytes(object.state.as_deref());
    }
    let (blob, json) = rows.finish();
    sqlx::query(
        "UPDATE OR FAIL source_object SET generation = max(generation, ?3), removed = new.value ->> 1, \
             removed_since = new.value ->> 2, \
             state = CASE WHEN new.value ->> 3 IS NULL THEN state \
                     ELSE substr(?1, new.value ->> 3, new.value ->> 4) END \
         FROM jsonb_each(?2) AS new WHERE source_object.id = new.value ->> 0",
    )
    .bind(blob)
    .bind(json)
    .bind(generation)
    .execute(&mut **transaction)
    .await
    .doing(COMMIT)?;
    Ok(())
}

/// Writes objects that were not stored when the page was merged, with the ids after `newest`, in their order. Returns
/// false when one of them is stored by now.
async fn insert_objects(
    transaction: &mut Transaction<'_, Sqlite>,
    page: &PageCommit,
    objects: &[&ObjectWrite],
    newest: i64,
) -> Result<bool, StoreError> {
    if objects.is_empty() {
        return Ok(true);
    }
    let mut rows = pack::Rows::new();
    for object in objects {
        rows.row()
            .bytes(Some(&object.anchor))
            .number(removed_number(object.removed))
            .optional_number(object.removed_since)
            .bytes(object.state.as_deref());
    }
    let (blob, json) = rows.finish();
    let inserted = sqlx::query(
        "INSERT OR FAIL INTO source_object (id, source_type, anchor, generation, removed, removed_since, state) \
         SELECT ?5 + key, ?3, substr(?1, value ->> 0, value ->> 1), ?4, value ->> 2, value ->> 3, \
                CASE WHEN value ->> 4 IS NULL THEN NULL ELSE substr(?1, value ->> 4, value ->> 5) END \
         FROM jsonb_each(?2)",
    )
    .bind(blob)
    .bind(json)
    .bind(page.source_type.0)
    .bind(page.round.generation)
    .bind(newest + 1)
    .execute(&mut **transaction)
    .await;
    match inserted {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        inserted => inserted.doing(COMMIT).map(|_| true),
    }
}

/// The ids of the page's objects.
async fn ids(
    transaction: &mut Transaction<'_, Sqlite>,
    page: &PageCommit,
) -> Result<HashMap<Vec<u8>, i64>, StoreError> {
    let (blob, json) = pack::keys(page.objects.iter().map(|object| object.anchor.as_slice()));
    let rows = sqlx::query(
        "SELECT anchor, id FROM source_object WHERE source_type = ?3 \
         AND anchor IN (SELECT substr(?1, value ->> 0, value ->> 1) FROM jsonb_each(?2))",
    )
    .bind(blob)
    .bind(json)
    .bind(page.source_type.0)
    .fetch_all(&mut **transaction)
    .await
    .doing(COMMIT)?;
    rows.into_iter()
        .map(|row| Ok((row.try_get(0).doing(COMMIT)?, row.try_get(1).doing(COMMIT)?)))
        .collect::<Result<_, StoreError>>()
}

/// Gives the objects that came with this transaction their links. Returns for each sync the first of its links,
/// which are as many as the objects and in the same order.
async fn link_new(
    transaction: &mut Transaction<'_, Sqlite>,
    source_type: SourceTypeId,
    newest: i64,
    objects: usize,
) -> Result<Vec<(SyncId, LinkId)>, StoreError> {
    let rows = sqlx::query("SELECT id, (SELECT coalesce(max(id), 0) FROM link) FROM sync WHERE source_type = ? AND retired = 0 ORDER BY id")
        .bind(source_type.0)
        .fetch_all(&mut **transaction)
        .await
        .doing(COMMIT)?;
    let mut first_links = Vec::with_capacity(rows.len());
    for (position, row) in rows.iter().enumerate() {
        let sync: i64 = row.try_get(0).doing(COMMIT)?;
        let first = row.try_get::<i64, _>(1).doing(COMMIT)? + 1 + (position * objects) as i64;
        sqlx::query(
            "WITH RECURSIVE fresh (position) AS \
             (SELECT 0 UNION ALL SELECT position + 1 FROM fresh WHERE position + 1 < ?2) \
             INSERT OR FAIL INTO link (id, sync, object, target_type) \
             SELECT ?4 + position, sync.id, ?1 + 1 + position, sync.target_type FROM sync CROSS JOIN fresh WHERE sync.id = ?3",
        )
        .bind(newest)
        .bind(objects as i64)
        .bind(sync)
        .bind(first)
        .execute(&mut **transaction)
        .await
        .doing(COMMIT)?;
        // Where every earlier object has its link already, there is nothing left to fill.
        sqlx::query("UPDATE sync SET filled_to = ?1 WHERE id = ?2 AND filled_to >= ?3")
            .bind(newest + objects as i64)
            .bind(sync)
            .bind(newest)
            .execute(&mut **transaction)
            .await
            .doing(COMMIT)?;
        first_links.push((SyncId(sync), LinkId(first)));
    }
    Ok(first_links)
}

/// Marks the links of known objects dirty, and makes those of placeholders that became objects.
async fn mark_dirty(
    transaction: &mut Transaction<'_, Sqlite>,
    source_type: SourceTypeId,
    objects: &[i64],
) -> Result<(), StoreError> {
    if objects.is_empty() {
        return Ok(());
    }
    let json = pack::numbers(objects.iter().copied());
    sqlx::query(
        "UPDATE OR FAIL link SET dirty = dirty + 1, not_before = NULL WHERE object IN (SELECT value FROM jsonb_each(?))",
    )
    .bind(&json)
    .execute(&mut **transaction)
    .await
    .doing(COMMIT)?;
    // A sync that is still being filled reaches objects beyond `filled_to` by itself; a link made here is left alone then.
    sqlx::query(
        "INSERT OR IGNORE INTO link (sync, object, target_type) \
         SELECT sync.id, source_object.id, sync.target_type FROM jsonb_each(?1) \
         CROSS JOIN source_object ON source_object.id = jsonb_each.value \
         CROSS JOIN sync ON sync.source_type = source_object.source_type \
         WHERE sync.source_type = ?2 AND sync.retired = 0 AND source_object.state IS NOT NULL",
    )
    .bind(&json)
    .bind(source_type.0)
    .execute(&mut **transaction)
    .await
    .doing(COMMIT)?;
    Ok(())
}

async fn write_round(
    transaction: &mut Transaction<'_, Sqlite>,
    source_type: SourceTypeId,
    round: &RoundWrite,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE source_type SET round = ?, generation = ?, unswept = ?, watermark = ?, cursor = ?, attributes = ?, keys_read = ? WHERE id = ?",
    )
    .bind(types::round_number(round.round))
    .bind(round.generation)
    .bind(round.unswept)
    .bind(round.watermark.as_deref())
    .bind(round.cursor.as_deref())
    .bind(pack::numbers(round.attributes.iter().map(|id| i64::from(id.0))))
    .bind(round.keys_read)
    .bind(source_type.0)
    .execute(&mut **transaction)
    .await
    .doing(COMMIT)?;
    Ok(())
}

pub(super) async fn live_objects(readers: &SqlitePool, source_type: SourceTypeId) -> Result<(u64, u64), StoreError> {
    // All of a type are read in the order of the table, here and where it is swept: the plus keeps the index over anchors
    // out of it, in whose order every object is on another page.
    let row = sqlx::query(
        "SELECT count(*), count(*) FILTER (WHERE generation = (SELECT generation FROM source_type WHERE id = ?1)) \
         FROM source_object WHERE +source_type = ?1 AND removed = 0 AND state IS NOT NULL",
    )
    .bind(source_type.0)
    .fetch_one(readers)
    .await
    .doing("read")?;
    let number = |index: usize| -> Result<u64, StoreError> { Ok(row.try_get::<i64, _>(index).doing("read")? as u64) };
    Ok((number(0)?, number(1)?))
}

pub(super) async fn live_anchors(
    readers: &SqlitePool,
    source_type: SourceTypeId,
    after: ObjectId,
    limit: u32,
) -> Result<Vec<(ObjectId, Vec<u8>)>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, anchor FROM source_object WHERE +source_type = ? AND removed = 0 AND state IS NOT NULL AND id > ? \
         ORDER BY id LIMIT ?",
    )
    .bind(source_type.0)
    .bind(after.0)
    .bind(limit)
    .fetch_all(readers)
    .await
    .doing("read")?;
    rows.into_iter().map(|row| Ok((ObjectId(row.try_get(0).doing("read")?), row.try_get(1).doing("read")?))).collect()
}

pub(super) async fn sweep(
    writer: &mut SqliteConnection,
    source_type: SourceTypeId,
    now: i64,
    limit: u32,
) -> Result<u64, StoreError> {
    const ACTION: &str = "swept";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    // The references that the complete generation did not repeat are gone, as far as their objects were seen. Those to
    // objects in the recycle bin are not listed, and come back with them.
    let moved = sqlx::query(
        "DELETE FROM edge WHERE generation < (SELECT generation FROM source_type WHERE id = ?1) AND object IN \
         (SELECT id FROM source_object WHERE +source_type = ?1 \
          AND generation = (SELECT generation FROM source_type WHERE id = ?1)) \
         AND NOT EXISTS (SELECT 1 FROM source_object AS other WHERE other.id = edge.referenced AND other.removed = 1) \
         RETURNING object",
    )
    .bind(source_type.0)
    .fetch_all(&mut *transaction)
    .await
    .doing(ACTION)?;
    let removed = sqlx::query(
        "UPDATE source_object SET removed = 1, removed_since = ?2 WHERE id IN \
         (SELECT id FROM source_object WHERE +source_type = ?1 AND removed = 0 AND state IS NOT NULL \
          AND generation < (SELECT generation FROM source_type WHERE id = ?1) LIMIT ?3) RETURNING id",
    )
    .bind(source_type.0)
    .bind(now)
    .bind(limit)
    .fetch_all(&mut *transaction)
    .await
    .doing(ACTION)?;
    if !moved.is_empty() || !removed.is_empty() {
        references_moved(&mut transaction).await?;
    }
    let swept = removed.len() as u64;
    let gone = removed.iter().map(|row| row.try_get(0).doing(ACTION)).collect::<Result<Vec<i64>, _>>()?;
    mark_referring_to(&mut transaction, &pack::numbers(gone)).await?;
    let mut dirty = Vec::with_capacity(removed.len() + moved.len());
    for row in removed.iter().chain(&moved) {
        dirty.push(row.try_get(0).doing(ACTION)?);
    }
    dirty.sort_unstable();
    dirty.dedup();
    mark_dirty(&mut transaction, source_type, &dirty).await?;
    if swept == 0 {
        sqlx::query("UPDATE source_type SET unswept = 0 WHERE id = ?")
            .bind(source_type.0)
            .execute(&mut *transaction)
            .await
            .doing(ACTION)?;
    }
    transaction.commit().await.doing(ACTION)?;
    Ok(swept)
}

pub(super) async fn harden_removals(
    writer: &mut SqliteConnection,
    source_type: SourceTypeId,
    before: i64,
    now: i64,
) -> Result<u64, StoreError> {
    const ACTION: &str = "told that removals are final";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    let rows = sqlx::query(
        "UPDATE source_object SET removed = 2, removed_since = ? WHERE source_type = ? AND removed = 1 AND removed_since <= ? RETURNING id",
    )
    .bind(now)
    .bind(source_type.0)
    .bind(before)
    .fetch_all(&mut *transaction)
    .await
    .doing(ACTION)?;
    let mut ids = Vec::with_capacity(rows.len());
    for row in rows {
        ids.push(row.try_get::<i64, _>(0).doing(ACTION)?);
    }
    drop_edges(&mut transaction, ids.iter().copied()).await?;
    mark_dirty(&mut transaction, source_type, &ids).await?;
    transaction.commit().await.doing(ACTION)?;
    Ok(ids.len() as u64)
}
