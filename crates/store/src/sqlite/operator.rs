//! What people see and decide.

use async_trait::async_trait;
use muster_model::pack::unpack_row;
use muster_model::{AttributeId, Slot};
use sqlx::sqlite::{Sqlite, SqlitePool};
use sqlx::{Connection as _, Row as _, Transaction};

use super::keys::IndexedKeys;
use super::operations::read_members;
use super::reports::{read_parked, select_parked};
use super::{Doing as _, SqliteStore, holds, links, pack, quarantine, values};
use crate::error::StoreError;
use crate::operator::{
    Approval, Decided, Decision, EventRecord, Grant, LinkFacts, OperatorStore, QuarantineRecord, Retry,
};
use crate::records::{LinkId, LinkView, ObjectId, SourceTypeId, SyncId};

/// How long events are kept, in milliseconds.
const KEPT: i64 = 90 * 86_400_000;

/// Rows decoded together.
const SLICE: i64 = 10_000;

#[async_trait]
impl OperatorStore for SqliteStore {
    async fn grants(&self, sync: SyncId, now: i64) -> Result<Vec<Grant>, StoreError> {
        holds::grants(&self.readers, sync, now).await
    }

    async fn approve(
        &self,
        sync: SyncId,
        digest: &[u8; 16],
        now: i64,
        expires_at: i64,
    ) -> Result<Approval, StoreError> {
        holds::approve(&mut *self.writer.synced().await?, sync, digest, now, expires_at).await
    }

    async fn forget_grants(&self, sync: SyncId, kind: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM granted WHERE sync = ? AND kind = ?")
            .bind(sync.0)
            .bind(kind)
            .execute(&mut *self.writer.synced().await?)
            .await
            .doing("told what was used")?;
        Ok(())
    }

    async fn links_with_value(&self, sync: SyncId, attribute: AttributeId) -> Result<u64, StoreError> {
        let mut after = 0;
        let mut found = 0;
        loop {
            let rows = sqlx::query(
                "SELECT link.id, link_values.written FROM link CROSS JOIN link_values ON link_values.link = link.id \
                 WHERE link.sync = ? AND link.target_key IS NOT NULL AND link.id > ? ORDER BY link.id LIMIT ?",
            )
            .bind(sync.0)
            .bind(after)
            .bind(SLICE)
            .fetch_all(&self.readers)
            .await
            .doing("read")?;
            let Some(last) = rows.last() else { return Ok(found) };
            after = last.try_get(0).doing("read")?;
            for row in &rows {
                let written: Option<Vec<u8>> = row.try_get(1).doing("read")?;
                let row = unpack_row(&[attribute], written.as_deref().unwrap_or_default())
                    .map_err(|_| StoreError::Record { what: "link" })?;
                found += u64::from(!matches!(row.slot(0), Slot::Unknown | Slot::Null));
            }
        }
    }

    async fn unseen_objects(
        &self,
        source_type: SourceTypeId,
        sync: SyncId,
    ) -> Result<Vec<(ObjectId, LinkId)>, StoreError> {
        let rows = sqlx::query(
            "SELECT source_object.id, link.id FROM source_object JOIN link ON link.object = source_object.id AND link.sync = ?2 \
             WHERE +source_object.source_type = ?1 AND source_object.removed = 0 AND source_object.state IS NOT NULL \
             AND source_object.generation < (SELECT generation FROM source_type WHERE id = ?1) ORDER BY link.id",
        )
        .bind(source_type.0)
        .bind(sync.0)
        .fetch_all(&self.readers)
        .await
        .doing("read")?;
        rows.into_iter()
            .map(|row| Ok((ObjectId(row.try_get(0).doing("read")?), LinkId(row.try_get(1).doing("read")?))))
            .collect()
    }

    async fn quarantine(&self, sync: SyncId) -> Result<Option<QuarantineRecord>, StoreError> {
        quarantine::quarantine(&self.readers, sync).await
    }

    async fn set_quarantine(&self, record: &QuarantineRecord) -> Result<(), StoreError> {
        quarantine::set_quarantine(&mut *self.writer.synced().await?, record).await
    }

    async fn end_quarantine(&self, sync: SyncId) -> Result<bool, StoreError> {
        quarantine::end_quarantine(&mut *self.writer.synced().await?, sync).await
    }

    async fn outcome_window(&self, sync: SyncId) -> Result<Vec<u8>, StoreError> {
        quarantine::outcome_window(&self.readers, sync).await
    }

    async fn set_outcome_window(&self, sync: SyncId, outcomes: &[u8]) -> Result<(), StoreError> {
        quarantine::set_outcome_window(&mut *self.writer.synced().await?, sync, outcomes).await
    }

    async fn retry(&self, sync: SyncId, which: &Retry) -> Result<u64, StoreError> {
        const ACTION: &str = "told to try again";
        let (links, rule, attribute) = match which {
            Retry::All => (None, None, None),
            Retry::Links(links) => (Some(pack::numbers(links.iter().map(|link| link.0))), None, None),
            Retry::Rule { rule, attribute } => (None, Some(rule.as_str()), attribute.as_deref()),
        };
        let result = sqlx::query(
            "UPDATE link SET dirty = dirty + 1, attempts = 0, not_before = NULL WHERE id IN \
             (SELECT parked.link FROM parked WHERE parked.sync = ?1 AND (?2 IS NULL OR parked.rule = ?2) \
              AND (?3 IS NULL OR parked.attribute = ?3) \
              AND (?4 IS NULL OR parked.link IN (SELECT value FROM jsonb_each(?4))))",
        )
        .bind(sync.0)
        .bind(rule)
        .bind(attribute)
        .bind(links)
        .execute(&mut *self.writer.synced().await?)
        .await
        .doing(ACTION)?;
        Ok(result.rows_affected())
    }

    async fn parked_links(
        &self,
        sync: SyncId,
        rule: &str,
        attribute: Option<&str>,
        limit: u32,
    ) -> Result<Vec<LinkId>, StoreError> {
        let rows = sqlx::query(
            "SELECT link FROM parked WHERE sync = ? AND rule = ? AND attribute IS ? ORDER BY since, link LIMIT ?",
        )
        .bind(sync.0)
        .bind(rule)
        .bind(attribute)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .doing("read")?;
        rows.into_iter().map(|row| Ok(LinkId(row.try_get(0).doing("read")?))).collect()
    }

    async fn decide(&self, sync: SyncId, link: LinkId, decision: &Decision) -> Result<Decided, StoreError> {
        const ACTION: &str = "told what a person decided";
        let mut writer = self.writer.synced().await?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
        if is_on_its_way(&mut transaction, sync, link).await? {
            return Ok(Decided::OnItsWay);
        }
        let (state, origin, key, written) = match decision {
            Decision::Release => (4, Some(0), None, None),
            Decision::Ignore => (5, Some(0), None, None),
            Decision::Return => (0, Some(0), None, None),
            Decision::Link { state, target_key, written } => {
                if let Some(owner) = owner(&mut transaction, &self.keys, sync, link, target_key).await? {
                    return Ok(Decided::Owned(owner));
                }
                (links::state_number(*state), None, Some(target_key), Some(written))
            }
        };
        for statement in [
            "DELETE FROM operation WHERE state = 2 AND link = ?",
            "DELETE FROM parked WHERE link = ?",
            "DELETE FROM granted WHERE link = ?",
            "DELETE FROM link_values WHERE link = ?",
            "DELETE FROM written_value WHERE link = ?",
        ] {
            sqlx::query(statement).bind(link.0).execute(&mut *transaction).await.doing(ACTION)?;
        }
        let object = sqlx::query("SELECT object FROM link WHERE id = ?").bind(link.0).fetch_optional(&mut *transaction);
        if let Some(row) = object.await.doing(ACTION)? {
            let object: i64 = row.try_get(0).doing(ACTION)?;
            values::mark_referring_to(&mut transaction, &pack::numbers([object])).await?;
        }
        // An object that Muster made stays its own when it is linked again; one that was there before is adopted.
        sqlx::query(
            "UPDATE link SET state = ?2, origin = coalesce(?3, CASE WHEN origin = 0 OR target_key IS NOT ?4 THEN 2 ELSE origin END), \
             target_key = ?4, indexed_key = ?5, dirty = dirty + 1, decided = dirty + 1, attempts = 0, not_before = NULL, due_at = NULL \
             WHERE id = ?1",
        )
        .bind(link.0)
        .bind(state)
        .bind(origin)
        .bind(key)
        .bind(key.map(|key| self.keys.indexed(key).into_owned()))
        .execute(&mut *transaction)
        .await
        .doing(ACTION)?;
        if let Some(written) = written {
            sqlx::query("INSERT INTO link_values (link, written) VALUES (?, ?)")
                .bind(link.0)
                .bind(written)
                .execute(&mut *transaction)
                .await
                .doing(ACTION)?;
        }
        transaction.commit().await.doing(ACTION)?;
        Ok(Decided::Done)
    }

    async fn link_facts(&self, sync: SyncId, link: LinkId) -> Result<Option<LinkFacts>, StoreError> {
        let row = sqlx::query(
            "SELECT source_object.generation, link.evaluated, link.not_before FROM link \
             JOIN source_object ON source_object.id = link.object WHERE link.id = ? AND link.sync = ?",
        )
        .bind(link.0)
        .bind(sync.0)
        .fetch_optional(&self.readers)
        .await
        .doing("read")?;
        let Some(row) = row else { return Ok(None) };
        let parked = sqlx::query(select_parked!("WHERE parked.link = ?"))
            .bind(link.0)
            .fetch_optional(&self.readers)
            .await
            .doing("read")?;
        let batches = batches(&self.readers, sync).await?;
        let mut on_its_way = false;
        for members in &batches {
            on_its_way |= read_members(members)?.iter().any(|member| member.link == link);
        }
        Ok(Some(LinkFacts {
            generation: row.try_get(0).doing("read")?,
            evaluated: row.try_get(1).doing("read")?,
            not_before: row.try_get(2).doing("read")?,
            parked: parked.as_ref().map(read_parked).transpose()?,
            on_its_way,
        }))
    }

    async fn all_links(&self, sync: SyncId, after: LinkId, limit: u32) -> Result<Vec<LinkView>, StoreError> {
        links::all_links(&self.readers, sync, after, limit).await
    }

    async fn add_events(&self, events: &[EventRecord]) -> Result<(), StoreError> {
        const ACTION: &str = "told what happened";
        let Some(newest) = events.iter().map(|event| event.at).max() else { return Ok(()) };
        let mut writer = self.writer.synced().await?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
        for event in events {
            sqlx::query("INSERT INTO event (at, sync, link, code, detail) VALUES (?, ?, ?, ?, ?)")
                .bind(event.at)
                .bind(event.sync.0)
                .bind(event.link.map(|link| link.0))
                .bind(&event.code)
                .bind(&event.detail)
                .execute(&mut *transaction)
                .await
                .doing(ACTION)?;
        }
        // Ids grow with time, so the old ones are the first: no index over times is needed.
        sqlx::query("DELETE FROM event WHERE id IN (SELECT id FROM event ORDER BY id LIMIT 100) AND at < ?")
            .bind(newest.saturating_sub(KEPT))
            .execute(&mut *transaction)
            .await
            .doing(ACTION)?;
        transaction.commit().await.doing(ACTION)
    }

    async fn events(&self, sync: SyncId, link: Option<LinkId>, limit: u32) -> Result<Vec<EventRecord>, StoreError> {
        let statement = match link {
            Some(_) => {
                "SELECT at, link, code, detail FROM event WHERE sync = ?1 AND link = ?2 ORDER BY id DESC LIMIT ?3"
            }
            None => "SELECT at, link, code, detail FROM event WHERE sync = ?1 AND ?2 IS NULL ORDER BY id DESC LIMIT ?3",
        };
        let rows = sqlx::query(statement)
            .bind(sync.0)
            .bind(link.map(|link| link.0))
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .doing("read")?;
        rows.into_iter()
            .map(|row| {
                Ok(EventRecord {
                    at: row.try_get(0).doing("read")?,
                    sync,
                    link: row.try_get::<Option<i64>, _>(1).doing("read")?.map(LinkId),
                    code: row.try_get(2).doing("read")?,
                    detail: row.try_get::<Option<String>, _>(3).doing("read")?.unwrap_or_default(),
                })
            })
            .collect()
    }
}

async fn batches(readers: &SqlitePool, sync: SyncId) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows =
        sqlx::query("SELECT members FROM batch WHERE sync = ?").bind(sync.0).fetch_all(readers).await.doing("read")?;
    rows.into_iter().map(|row| row.try_get(0).doing("read")).collect()
}

async fn is_on_its_way(
    transaction: &mut Transaction<'_, Sqlite>,
    sync: SyncId,
    link: LinkId,
) -> Result<bool, StoreError> {
    let rows = sqlx::query("SELECT members FROM batch WHERE sync = ?")
        .bind(sync.0)
        .fetch_all(&mut **transaction)
        .await
        .doing("read")?;
    for row in rows {
        let members: Vec<u8> = row.try_get(0).doing("read")?;
        if read_members(&members)?.iter().any(|member| member.link == link) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The other link that owns a target object.
async fn owner(
    transaction: &mut Transaction<'_, Sqlite>,
    keys: &IndexedKeys,
    sync: SyncId,
    link: LinkId,
    target_key: &[u8],
) -> Result<Option<LinkId>, StoreError> {
    let row = sqlx::query(
        "SELECT id FROM link WHERE target_type = (SELECT target_type FROM sync WHERE id = ?) AND indexed_key = ? \
         AND owner = 0 AND id <> ?",
    )
    .bind(sync.0)
    .bind(keys.indexed(target_key).into_owned())
    .bind(link.0)
    .fetch_optional(&mut **transaction)
    .await
    .doing("read")?;
    row.map(|row| Ok(LinkId(row.try_get(0).doing("read")?))).transpose()
}
