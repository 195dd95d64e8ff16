//! References between source objects: one row each, kept with placeholders for what was not seen yet.

use std::collections::{HashMap, HashSet};

use muster_model::AttributeId;
use sqlx::sqlite::{Sqlite, SqlitePool};
use sqlx::{Row as _, Transaction};

use super::members::references_moved;
use super::objects::COMMIT;
use super::values::mark_referring_to;
use super::{Doing as _, pack, types};
use crate::error::StoreError;
use crate::records::{EdgeWrite, PageCommit, SourceTypeId};

/// Writes references and returns the objects whose references changed.
pub(super) async fn write_edges(
    transaction: &mut Transaction<'_, Sqlite>,
    page: &PageCommit,
    ids: &HashMap<Vec<u8>, i64>,
) -> Result<Vec<i64>, StoreError> {
    let referenced = referenced_ids(transaction, &page.edges).await?;
    let mut moved = drop_unnamed(transaction, page, ids, &referenced).await?;
    // Order matters within a page: the same reference may be added and removed again. So a run of edges ends
    // where the kind of change does, and where a single-valued reference comes a second time.
    let mut run: Vec<&EdgeWrite> = Vec::new();
    let mut singles: HashSet<(&[u8], AttributeId)> = HashSet::new();
    for edge in &page.edges {
        let breaks = run.last().is_some_and(|last| (last.removed, last.single) != (edge.removed, edge.single));
        let repeats = edge.single && singles.contains(&(edge.anchor.as_slice(), edge.attribute));
        if breaks || repeats {
            apply_edges(transaction, page.round.generation, ids, &referenced, &run, &mut moved).await?;
            run.clear();
            singles.clear();
        }
        if edge.single {
            singles.insert((edge.anchor.as_slice(), edge.attribute));
        }
        run.push(edge);
    }
    apply_edges(transaction, page.round.generation, ids, &referenced, &run, &mut moved).await?;
    if !moved.is_empty() {
        references_moved(transaction).await?;
    }
    Ok(moved)
}

type Referenced = HashMap<(i64, Vec<u8>), i64>;

/// Resolves referenced objects, making placeholders for those that were not seen yet.
async fn referenced_ids(
    transaction: &mut Transaction<'_, Sqlite>,
    edges: &[EdgeWrite],
) -> Result<Referenced, StoreError> {
    let mut by_type: HashMap<i64, Vec<&[u8]>> = HashMap::new();
    for edge in edges {
        by_type.entry(edge.referenced_type.0).or_default().push(&edge.referenced);
    }
    let mut found = HashMap::with_capacity(edges.len());
    for (source_type, mut anchors) in by_type {
        anchors.sort_unstable();
        anchors.dedup();
        let (blob, json) = pack::keys(anchors);
        sqlx::query(
            "INSERT OR IGNORE INTO source_object (source_type, anchor, generation) \
             SELECT ?3, substr(?1, value ->> 0, value ->> 1), 0 FROM jsonb_each(?2)",
        )
        .bind(&blob)
        .bind(&json)
        .bind(source_type)
        .execute(&mut **transaction)
        .await
        .doing(COMMIT)?;
        let rows = sqlx::query(
            "SELECT anchor, id FROM source_object WHERE source_type = ?3 \
             AND anchor IN (SELECT substr(?1, value ->> 0, value ->> 1) FROM jsonb_each(?2))",
        )
        .bind(&blob)
        .bind(&json)
        .bind(source_type)
        .fetch_all(&mut **transaction)
        .await
        .doing(COMMIT)?;
        for row in rows {
            found.insert((source_type, row.try_get(0).doing(COMMIT)?), row.try_get(1).doing(COMMIT)?);
        }
    }
    Ok(found)
}

async fn apply_edges(
    transaction: &mut Transaction<'_, Sqlite>,
    generation: i64,
    ids: &HashMap<Vec<u8>, i64>,
    referenced: &Referenced,
    edges: &[&EdgeWrite],
    moved: &mut Vec<i64>,
) -> Result<(), StoreError> {
    let Some(first) = edges.first() else { return Ok(()) };
    let mut rows = pack::Rows::new();
    for edge in edges {
        let object = ids.get(&edge.anchor);
        let target = referenced.get(&(edge.referenced_type.0, edge.referenced.clone()));
        let (Some(object), Some(target)) = (object, target) else {
            return Err(StoreError::Record { what: "reference" });
        };
        rows.row().number(*object).number(i64::from(edge.attribute.0)).number(*target);
    }
    let (_, json) = rows.finish();
    let mut statements: Vec<&'static str> = Vec::new();
    if first.removed {
        statements.push(
            "DELETE FROM edge WHERE (object, attribute, referenced) IN \
             (SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each(?1)) AND ?2 = ?2 RETURNING object",
        );
    } else {
        if first.single {
            statements.push(
                "DELETE FROM edge WHERE (object, attribute) IN (SELECT value ->> 0, value ->> 1 FROM jsonb_each(?1)) \
                 AND (object, attribute, referenced) NOT IN \
                 (SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each(?1)) AND ?2 = ?2 RETURNING object",
            );
        }
        statements.push(
            "UPDATE edge SET generation = ?2 WHERE (object, attribute, referenced) IN \
             (SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each(?1)) AND generation < ?2 \
             RETURNING NULL",
        );
        statements.push(
            "INSERT OR IGNORE INTO edge (object, attribute, referenced, generation) \
             SELECT value ->> 0, value ->> 1, value ->> 2, ?2 FROM jsonb_each(?1) RETURNING object",
        );
    }
    for statement in statements {
        let rows =
            sqlx::query(statement).bind(&json).bind(generation).fetch_all(&mut **transaction).await.doing(COMMIT)?;
        for row in rows {
            moved.extend(row.try_get::<Option<i64>, _>(0).doing(COMMIT)?);
        }
    }
    Ok(())
}

/// Drops what a page does not name of references that it names in full.
async fn drop_unnamed(
    transaction: &mut Transaction<'_, Sqlite>,
    page: &PageCommit,
    ids: &HashMap<Vec<u8>, i64>,
    referenced: &Referenced,
) -> Result<Vec<i64>, StoreError> {
    if page.complete.is_empty() {
        return Ok(Vec::new());
    }
    let mut complete = pack::Rows::new();
    for (anchor, attribute) in &page.complete {
        let object = ids.get(anchor).ok_or(StoreError::Record { what: "reference" })?;
        complete.row().number(*object).number(i64::from(attribute.0));
    }
    let mut named = pack::Rows::new();
    for edge in &page.edges {
        let target = referenced.get(&(edge.referenced_type.0, edge.referenced.clone()));
        if let (Some(object), Some(target)) = (ids.get(&edge.anchor), target) {
            named.row().number(*object).number(i64::from(edge.attribute.0)).number(*target);
        }
    }
    let rows = sqlx::query(
        "DELETE FROM edge WHERE (object, attribute) IN (SELECT value ->> 0, value ->> 1 FROM jsonb_each(?1)) \
         AND (object, attribute, referenced) NOT IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each(?2)) RETURNING object",
    )
    .bind(complete.finish().1)
    .bind(named.finish().1)
    .fetch_all(&mut **transaction)
    .await
    .doing(COMMIT)?;
    rows.iter().map(|row| row.try_get(0).doing(COMMIT)).collect()
}

/// Lets references that a generation does not look at count as seen by it.
pub(super) async fn keep_edges(transaction: &mut Transaction<'_, Sqlite>, page: &PageCommit) -> Result<(), StoreError> {
    if page.unread.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE edge SET generation = ?1 WHERE generation < ?1 AND attribute IN (SELECT value FROM jsonb_each(?2)) \
         AND object IN (SELECT id FROM source_object WHERE source_type = ?3)",
    )
    .bind(page.round.generation)
    .bind(pack::numbers(page.unread.iter().map(|id| i64::from(id.0))))
    .bind(page.source_type.0)
    .execute(&mut **transaction)
    .await
    .doing(COMMIT)?;
    Ok(())
}

/// Drops all references of objects that are gone for good, and marks the links of those that refer to them. What refers
/// to them leads nowhere as long as they are gone, and is not forgotten: they may come back under the same key, and not
/// every source tells again who referred to them.
pub(super) async fn drop_edges(
    transaction: &mut Transaction<'_, Sqlite>,
    objects: impl Iterator<Item = i64>,
) -> Result<(), StoreError> {
    let json = pack::numbers(objects);
    if json == "[]" {
        return Ok(());
    }
    mark_referring_to(transaction, &json).await?;
    references_moved(transaction).await?;
    sqlx::query("DELETE FROM edge WHERE object IN (SELECT value FROM jsonb_each(?1))")
        .bind(&json)
        .execute(&mut **transaction)
        .await
        .doing(COMMIT)?;
    Ok(())
}

pub(super) async fn edges(
    readers: &SqlitePool,
    source_type: SourceTypeId,
    anchor: &[u8],
) -> Result<Vec<(AttributeId, Vec<u8>)>, StoreError> {
    let rows = sqlx::query(
        "SELECT edge.attribute, other.anchor FROM source_object AS one JOIN edge ON edge.object = one.id \
         JOIN source_object AS other ON other.id = edge.referenced \
         WHERE one.source_type = ? AND one.anchor = ? ORDER BY edge.attribute, other.anchor",
    )
    .bind(source_type.0)
    .bind(anchor)
    .fetch_all(readers)
    .await
    .doing("read")?;
    rows.into_iter()
        .map(|row| Ok((types::attribute_id(row.try_get(0).doing("read")?)?, row.try_get(1).doing("read")?)))
        .collect()
}
