//! References as their target knows them, and multi-valued attributes value by value.

use async_trait::async_trait;
use muster_model::AttributeId;
use sqlx::sqlite::Sqlite;
use sqlx::{Row as _, Transaction};

use super::keys::IndexedKeys;
use super::{Doing as _, SqliteStore, pack};
use crate::error::StoreError;
use crate::records::{LinkId, LinkUpdate, ObjectId, SyncId, TargetTypeId};
use crate::values::{ReferencesOf, Referred, ReferredEnd, ValueStore, ValueWrite};

fn type_list(types: &[TargetTypeId]) -> String {
    pack::numbers(types.iter().map(|id| id.0))
}

#[async_trait]
impl ValueStore for SqliteStore {
    async fn referred(
        &self,
        objects: &[ObjectId],
        attribute: AttributeId,
        target_types: &[TargetTypeId],
    ) -> Result<Vec<Referred>, StoreError> {
        // Whoever has a link that was never evaluated or is parked may still get a target object; so may who was not read
        // yet, but for types that were.
        let rows = sqlx::query(
            "SELECT edge.object, \
                 (SELECT link.target_key FROM link WHERE link.object = edge.referenced AND link.owner = 0 \
                  AND link.target_key IS NOT NULL AND link.target_type IN (SELECT value FROM jsonb_each(?3)) \
                  AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.link = link.id AND parked.rule = 'other_object') \
                  ORDER BY link.id LIMIT 1), \
                 source_object.removed, \
                 EXISTS \
                 (SELECT 1 FROM link WHERE link.object = edge.referenced AND link.state = 0 \
                  AND link.target_type IN (SELECT value FROM jsonb_each(?3)) \
                  AND (link.evaluated = 0 OR EXISTS (SELECT 1 FROM parked WHERE parked.link = link.id))), \
                 CASE WHEN source_object.state IS NULL THEN \
                 (SELECT CASE WHEN round <> 0 THEN 2 WHEN generation > 0 THEN 3 ELSE 1 END FROM source_type \
                  WHERE id = source_object.source_type) END \
             FROM jsonb_each(?1) AS one CROSS JOIN edge ON edge.object = one.value AND edge.attribute = ?2 \
             CROSS JOIN source_object ON source_object.id = edge.referenced ORDER BY edge.object, edge.referenced",
        )
        .bind(pack::numbers(objects.iter().map(|id| id.0)))
        .bind(i64::from(attribute.0))
        .bind(type_list(target_types))
        .fetch_all(&self.readers)
        .await
        .doing("read")?;
        rows.into_iter()
            .map(|row| {
                let removed: i64 = row.try_get(2).doing("read")?;
                let may_come: bool = row.try_get(3).doing("read")?;
                let unseen: Option<i64> = row.try_get(4).doing("read")?;
                let end = match (row.try_get::<Option<Vec<u8>>, _>(1).doing("read")?, unseen) {
                    _ if removed != 0 => ReferredEnd::None,
                    (Some(key), _) => ReferredEnd::Object(key),
                    (None, Some(2)) => ReferredEnd::Unread,
                    (None, Some(3)) => ReferredEnd::Absent,
                    (None, Some(_)) => ReferredEnd::NotYet,
                    (None, None) if may_come => ReferredEnd::NotYet,
                    (None, None) => ReferredEnd::None,
                };
                Ok(Referred { object: ObjectId(row.try_get(0).doing("read")?), attribute, end })
            })
            .collect()
    }

    async fn references_to_add(
        &self,
        of: &ReferencesOf,
        after: ObjectId,
        limit: u32,
    ) -> Result<Vec<(ObjectId, Vec<u8>)>, StoreError> {
        let rows = sqlx::query(
            "SELECT edge.referenced, member.target_key FROM edge \
             CROSS JOIN source_object ON source_object.id = edge.referenced AND source_object.removed = 0 \
             CROSS JOIN link AS member ON member.object = edge.referenced AND member.owner = 0 \
                 AND member.target_key IS NOT NULL AND member.target_type IN (SELECT value FROM jsonb_each(?5)) \
                 AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.link = member.id AND parked.rule = 'other_object') \
             WHERE edge.object = ?1 AND edge.attribute = ?2 AND edge.referenced > ?6 AND NOT EXISTS \
                 (SELECT 1 FROM written_value AS written WHERE written.link = ?3 AND written.attribute = ?4 \
                  AND written.value = member.target_key AND written.state = 1) \
             ORDER BY edge.referenced LIMIT ?7",
        )
        .bind(of.object.0)
        .bind(i64::from(of.source_attribute.0))
        .bind(of.link.0)
        .bind(i64::from(of.target_attribute.0))
        .bind(type_list(&of.target_types))
        .bind(after.0)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .doing("read")?;
        rows.into_iter()
            .map(|row| Ok((ObjectId(row.try_get(0).doing("read")?), row.try_get(1).doing("read")?)))
            .collect()
    }

    async fn references_to_remove(
        &self,
        of: &ReferencesOf,
        after: &[u8],
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows = sqlx::query(
            "SELECT written.value FROM written_value AS written \
             WHERE written.link = ?3 AND written.attribute = ?4 AND written.value > ?6 AND NOT EXISTS \
                 (SELECT 1 FROM jsonb_each(?5) AS kind \
                  CROSS JOIN link AS member ON member.target_type = kind.value \
                      AND member.indexed_key = coalesce(written.indexed_value, written.value) \
                      AND member.owner = 0 AND NOT EXISTS \
                      (SELECT 1 FROM parked WHERE parked.link = member.id AND parked.rule = 'other_object') \
                  CROSS JOIN edge ON edge.object = ?1 AND edge.attribute = ?2 AND edge.referenced = member.object \
                  CROSS JOIN source_object ON source_object.id = member.object AND source_object.removed = 0 \
                  WHERE member.indexed_key IS NOT NULL) \
             ORDER BY written.value LIMIT ?7",
        )
        .bind(of.object.0)
        .bind(i64::from(of.source_attribute.0))
        .bind(of.link.0)
        .bind(i64::from(of.target_attribute.0))
        .bind(type_list(&of.target_types))
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .doing("read")?;
        rows.into_iter().map(|row| row.try_get(0).doing("read")).collect()
    }

    async fn written_values(
        &self,
        link: LinkId,
        attribute: AttributeId,
        after: &[u8],
        limit: u32,
    ) -> Result<Vec<(Vec<u8>, bool)>, StoreError> {
        let rows = sqlx::query(
            "SELECT value, state = 1 FROM written_value WHERE link = ? AND attribute = ? AND value > ? \
             ORDER BY value LIMIT ?",
        )
        .bind(link.0)
        .bind(i64::from(attribute.0))
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .doing("read")?;
        rows.into_iter().map(|row| Ok((row.try_get(0).doing("read")?, row.try_get(1).doing("read")?))).collect()
    }

    async fn count_written_values(&self, sync: SyncId) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "SELECT count(*) FROM written_value CROSS JOIN link ON link.id = written_value.link WHERE link.sync = ?",
        )
        .bind(sync.0)
        .fetch_one(&self.readers)
        .await
        .doing("read")?;
        Ok(row.try_get::<i64, _>(0).doing("read")? as u64)
    }

    async fn referenced(
        &self,
        object: ObjectId,
        attribute: AttributeId,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows = sqlx::query(
            "SELECT source_object.anchor FROM edge CROSS JOIN source_object ON source_object.id = edge.referenced \
             WHERE edge.object = ? AND edge.attribute = ? ORDER BY edge.referenced LIMIT ?",
        )
        .bind(object.0)
        .bind(i64::from(attribute.0))
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .doing("read")?;
        rows.into_iter().map(|row| row.try_get(0).doing("read")).collect()
    }
}

const ACTION: &str = "given values";

/// The rule of a link whose key names somebody else's object by now, so that nobody refers to it.
const OTHER_OBJECT: &str = "other_object";

async fn is_empty(transaction: &mut Transaction<'_, Sqlite>, query: &'static str) -> Result<bool, StoreError> {
    let row = sqlx::query(query).fetch_one(&mut **transaction).await.doing(ACTION)?;
    Ok(!row.try_get::<bool, _>(0).doing(ACTION)?)
}

/// Additions that are about to be sent may be at the target from now on.
pub(super) async fn may_be_there(
    transaction: &mut Transaction<'_, Sqlite>,
    keys: &IndexedKeys,
    values: impl Iterator<Item = &(LinkId, ValueWrite)>,
) -> Result<(), StoreError> {
    let added = packed(keys, values.map(|(link, write)| (*link, write)), |write| &write.added);
    run(
        transaction,
        added,
        "INSERT OR IGNORE INTO written_value (link, attribute, value, indexed_value, state) \
         SELECT value ->> 0, value ->> 1, substr(?1, value ->> 2, value ->> 3), substr(?1, value ->> 4, value ->> 5), 0 \
         FROM jsonb_each(?2)",
    )
    .await
}

/// Link, attribute, value and what the index over keys would hold in its stead, for each value.
fn packed<'a>(
    keys: &IndexedKeys,
    writes: impl Iterator<Item = (LinkId, &'a ValueWrite)>,
    of: impl Fn(&'a ValueWrite) -> &'a Vec<Vec<u8>>,
) -> (Vec<u8>, Vec<u8>) {
    let mut rows = pack::Rows::new();
    for (link, write) in writes {
        for value in of(write) {
            let row = rows.row().number(link.0).number(i64::from(write.attribute.0));
            row.bytes(Some(value)).bytes(keys.digest(value).as_ref().map(<[u8; _]>::as_slice));
        }
    }
    rows.finish()
}

async fn run(
    transaction: &mut Transaction<'_, Sqlite>,
    (blob, json): (Vec<u8>, Vec<u8>),
    statement: &'static str,
) -> Result<(), StoreError> {
    if !blob.is_empty() {
        sqlx::query(statement).bind(blob).bind(json).execute(&mut **transaction).await.doing(ACTION)?;
    }
    Ok(())
}

/// Writes what updates say of values, and forgets the values of links that lose their target objects. Runs before the
/// links themselves are written.
pub(super) async fn write_values(
    transaction: &mut Transaction<'_, Sqlite>,
    keys: &IndexedKeys,
    updates: &[LinkUpdate],
) -> Result<(), StoreError> {
    let (added, removed) = {
        let writes = || updates.iter().flat_map(|update| update.values.iter().map(|write| (update.link, write)));
        (packed(keys, writes(), |write| &write.added), packed(keys, writes(), |write| &write.removed))
    };
    run(
        transaction,
        added,
        "INSERT INTO written_value (link, attribute, value, indexed_value, state) \
         SELECT value ->> 0, value ->> 1, substr(?1, value ->> 2, value ->> 3), substr(?1, value ->> 4, value ->> 5), 1 \
         FROM jsonb_each(?2) WHERE true \
         ON CONFLICT DO UPDATE SET state = 1",
    )
    .await?;
    run(
        transaction,
        removed,
        "DELETE FROM written_value WHERE (link, attribute, value) IN \
         (SELECT value ->> 0, value ->> 1, substr(?1, value ->> 2, value ->> 3) FROM jsonb_each(?2))",
    )
    .await?;
    let lost = updates.iter().filter(|update| update.target_key.is_none()).map(|update| update.link.0);
    forget_values(transaction, &pack::numbers(lost)).await
}

/// Forgets all values of links, given as a JSON list.
pub(super) async fn forget_values(transaction: &mut Transaction<'_, Sqlite>, links: &str) -> Result<(), StoreError> {
    if links == "[]" || is_empty(transaction, "SELECT EXISTS (SELECT 1 FROM written_value)").await? {
        return Ok(());
    }
    sqlx::query("DELETE FROM written_value WHERE link IN (SELECT value FROM jsonb_each(?))")
        .bind(links)
        .execute(&mut **transaction)
        .await
        .doing(ACTION)?;
    Ok(())
}

/// Marks the links dirty whose source objects refer to objects that get another target object by these updates, lose
/// theirs, or turn out to get none. Runs before the links themselves are written.
pub(super) async fn mark_referring(
    transaction: &mut Transaction<'_, Sqlite>,
    updates: &[LinkUpdate],
) -> Result<(), StoreError> {
    if updates.is_empty() || is_empty(transaction, "SELECT EXISTS (SELECT 1 FROM edge)").await? {
        return Ok(());
    }
    let mut rows = pack::Rows::new();
    for update in updates {
        let row = rows.row().number(update.link.0).number(i64::from(update.evaluated > 0));
        let is_other = update.parked.as_ref().is_some_and(|reason| reason.rule == OTHER_OBJECT);
        row.bytes(update.target_key.as_deref()).number(i64::from(is_other));
    }
    let (blob, json) = rows.finish();
    sqlx::query(
        "UPDATE link SET dirty = dirty + 1, not_before = NULL \
         WHERE sync IN (SELECT id FROM sync WHERE refers = 1) AND object IN \
         (SELECT edge.object FROM jsonb_each(?2) AS new CROSS JOIN link AS moved ON moved.id = new.value ->> 0 \
          CROSS JOIN edge ON edge.referenced = moved.object \
          WHERE moved.target_key IS NOT substr(?1, new.value ->> 2, new.value ->> 3) \
             OR (moved.target_key IS NULL AND moved.evaluated = 0 AND new.value ->> 1) \
             OR new.value ->> 4)",
    )
    .bind(blob)
    .bind(json)
    .execute(&mut **transaction)
    .await
    .doing(ACTION)?;
    Ok(())
}

/// Marks the links of objects dirty that refer to any of these, given as a JSON list.
pub(super) async fn mark_referring_to(
    transaction: &mut Transaction<'_, Sqlite>,
    objects: &str,
) -> Result<(), StoreError> {
    if objects == "[]" {
        return Ok(());
    }
    sqlx::query(
        "UPDATE link SET dirty = dirty + 1, not_before = NULL \
         WHERE sync IN (SELECT id FROM sync WHERE refers = 1) AND object IN \
         (SELECT edge.object FROM jsonb_each(?1) CROSS JOIN edge ON edge.referenced = jsonb_each.value)",
    )
    .bind(objects)
    .execute(&mut **transaction)
    .await
    .doing(ACTION)?;
    Ok(())
}
