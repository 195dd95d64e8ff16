//! Batches on their way, and what becomes of links when outcomes are known.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use sqlx::{Connection as _, Row as _, Transaction};
use uuid::Uuid;

use super::keys::IndexedKeys;
use super::links::{origin_number, state_number};
use super::{Doing as _, holds, pack, values};
use crate::error::StoreError;
use crate::records::{
    BatchEnd, BatchId, BatchMember, BatchRecord, LinkId, LinkUpdate, Opened, OperationKind, SyncId, TargetTypeId,
};

pub(super) fn kind_number(kind: OperationKind) -> i64 {
    match kind {
        OperationKind::Create => 0,
        OperationKind::Update => 1,
        OperationKind::Disable => 2,
        OperationKind::Delete => 3,
        OperationKind::Rename => 4,
        OperationKind::Put => 5,
    }
}

pub(super) fn read_kind(number: i64) -> Result<OperationKind, StoreError> {
    match number {
        0 => Ok(OperationKind::Create),
        1 => Ok(OperationKind::Update),
        2 => Ok(OperationKind::Disable),
        3 => Ok(OperationKind::Delete),
        4 => Ok(OperationKind::Rename),
        5 => Ok(OperationKind::Put),
        _ => Err(StoreError::Record { what: "operation" }),
    }
}

/// Operation id 16, content hash 16, link 8, revision 8, kind 1.
const MEMBER: usize = 49;

fn write_members(members: &[BatchMember]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(members.len() * MEMBER);
    for member in members {
        bytes.extend_from_slice(member.operation.as_bytes());
        bytes.extend_from_slice(&member.content);
        bytes.extend_from_slice(&member.link.0.to_le_bytes());
        bytes.extend_from_slice(&member.revision.to_le_bytes());
        bytes.push(kind_number(member.kind) as u8);
    }
    bytes
}

pub(super) fn read_members(bytes: &[u8]) -> Result<Vec<BatchMember>, StoreError> {
    let damaged = StoreError::Record { what: "batch" };
    if !bytes.len().is_multiple_of(MEMBER) {
        return Err(damaged);
    }
    bytes.chunks_exact(MEMBER).map(read_member).collect()
}

fn read_member(bytes: &[u8]) -> Result<BatchMember, StoreError> {
    let damaged = || StoreError::Record { what: "batch" };
    let part = |from: usize, to: usize| bytes.get(from..to).ok_or_else(damaged);
    let number = |from: usize| -> Result<i64, StoreError> {
        Ok(i64::from_le_bytes(part(from, from + 8)?.try_into().map_err(|_| damaged())?))
    };
    Ok(BatchMember {
        operation: Uuid::from_slice(part(0, 16)?).map_err(|_| damaged())?,
        content: part(16, 32)?.try_into().map_err(|_| damaged())?,
        link: LinkId(number(32)?),
        revision: number(40)?,
        kind: read_kind(i64::from(part(48, 49)?[0]))?,
        sought: Vec::new(),
    })
}

fn write_sought(members: &[BatchMember]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        bytes.extend_from_slice(&(member.sought.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&member.sought);
    }
    bytes
}

fn read_sought(members: &mut [BatchMember], mut bytes: &[u8]) -> Result<(), StoreError> {
    let damaged = StoreError::Record { what: "batch" };
    for member in members {
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Err(damaged) };
        let Some((sought, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize) else {
            return Err(damaged);
        };
        member.sought = sought.to_vec();
        bytes = rest;
    }
    Ok(())
}

pub(super) async fn open_batch(
    writer: &mut SqliteConnection,
    keys: &IndexedKeys,
    batch: &BatchRecord,
) -> Result<Opened, StoreError> {
    const ACTION: &str = "told about a batch";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    let decided = decided(&mut transaction, batch.sync).await?;
    let is_withdrawn = |member: &BatchMember| decided.get(&member.link.0).is_some_and(|at| *at > member.revision);
    let (withdrawn, members): (Vec<BatchMember>, Vec<BatchMember>) =
        batch.members.iter().cloned().partition(is_withdrawn);
    let guarded: Vec<&(LinkId, String)> =
        batch.guarded.iter().filter(|(link, _)| !withdrawn.iter().any(|member| member.link == *link)).collect();
    let mut amounts: BTreeMap<&str, i64> = BTreeMap::new();
    for (_, kind) in &guarded {
        *amounts.entry(kind).or_default() += 1;
    }
    for (kind, amount) in amounts {
        sqlx::query(
            "INSERT INTO counter (sync, kind, minute, amount) VALUES (?, ?, ?, ?) \
             ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
        )
        .bind(batch.sync.0)
        .bind(kind)
        .bind(batch.sent_at / 60_000)
        .bind(amount)
        .execute(&mut *transaction)
        .await
        .doing(ACTION)?;
    }
    let standing = batch.values.iter().filter(|(link, _)| !withdrawn.iter().any(|member| member.link == *link));
    values::may_be_there(&mut transaction, keys, standing).await?;
    let row = sqlx::query(
        "INSERT INTO batch (sync, target_type, incarnation, epoch, host, sent_at, members, guarded, sought) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(batch.sync.0)
    .bind(batch.target_type.0)
    .bind(batch.epoch.0)
    .bind(batch.epoch.1)
    .bind(&batch.host)
    .bind(batch.sent_at)
    .bind(write_members(&members))
    .bind(serde_json::to_string(&guarded).unwrap_or_default())
    .bind(write_sought(&members))
    .fetch_one(&mut *transaction)
    .await
    .doing(ACTION)?;
    let batch = BatchId(row.try_get(0).doing(ACTION)?);
    transaction.commit().await.doing(ACTION)?;
    Ok(Opened { batch, withdrawn: withdrawn.into_iter().map(|member| member.link).collect() })
}

/// The links that a person decided over, or whose object became another link's, with the revisions as of which. They are few.
async fn decided(transaction: &mut Transaction<'_, Sqlite>, sync: SyncId) -> Result<HashMap<i64, i64>, StoreError> {
    let rows = sqlx::query("SELECT id, decided FROM link WHERE sync = ? AND decided > 0")
        .bind(sync.0)
        .fetch_all(&mut **transaction)
        .await
        .doing("read")?;
    rows.into_iter().map(|row| Ok((row.try_get(0).doing("read")?, row.try_get(1).doing("read")?))).collect()
}

pub(super) async fn open_batches(readers: &SqlitePool, sync: SyncId) -> Result<Vec<BatchRecord>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, target_type, incarnation, epoch, host, sent_at, members, guarded, sought FROM batch WHERE sync = ? ORDER BY id",
    )
    .bind(sync.0)
    .fetch_all(readers)
    .await
    .doing("read")?;
    rows.into_iter()
        .map(|row| {
            let members: Vec<u8> = row.try_get(6).doing("read")?;
            let guarded: String = row.try_get(7).doing("read")?;
            let mut members = read_members(&members)?;
            if let Some(sought) = row.try_get::<Option<Vec<u8>>, _>(8).doing("read")? {
                read_sought(&mut members, &sought)?;
            }
            Ok(BatchRecord {
                values: Vec::new(),
                guarded: serde_json::from_str(&guarded).map_err(|_| StoreError::Record { what: "batch" })?,
                id: BatchId(row.try_get(0).doing("read")?),
                sync,
                target_type: TargetTypeId(row.try_get(1).doing("read")?),
                epoch: (row.try_get(2).doing("read")?, row.try_get(3).doing("read")?),
                host: row.try_get(4).doing("read")?,
                sent_at: row.try_get(5).doing("read")?,
                members,
            })
        })
        .collect()
}

pub(super) async fn settle(
    writer: &mut SqliteConnection,
    keys: &IndexedKeys,
    sync: SyncId,
    updates: &[LinkUpdate],
    now: i64,
) -> Result<(), StoreError> {
    const ACTION: &str = "given evaluations";
    if updates.is_empty() {
        return Ok(());
    }
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    write_updates(&mut transaction, keys, sync, updates, now).await?;
    transaction.commit().await.doing(ACTION)
}

pub(super) async fn close_batches(
    writer: &mut SqliteConnection,
    keys: &IndexedKeys,
    sync: SyncId,
    ends: &[BatchEnd],
    now: i64,
) -> Result<(), StoreError> {
    const ACTION: &str = "given outcomes";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    for BatchEnd { batch, updates, returned, open, .. } in ends {
        write_updates(&mut transaction, keys, sync, updates, now).await?;
        for (kind, amount) in returned.iter().filter(|(_, amount)| *amount > 0) {
            // In the minute they were counted in, so that no later window misses them.
            sqlx::query(
                "UPDATE counter SET amount = max(0, amount - ?4) WHERE sync = ?1 AND kind = ?2 \
                 AND minute = (SELECT sent_at / 60000 FROM batch WHERE id = ?3)",
            )
            .bind(sync.0)
            .bind(kind)
            .bind(batch.0)
            .bind(*amount as i64)
            .execute(&mut *transaction)
            .await
            .doing(ACTION)?;
        }
        let statement = if open.is_empty() {
            sqlx::query("DELETE FROM batch WHERE id = ?").bind(batch.0)
        } else {
            sqlx::query("UPDATE batch SET members = ?, sought = ? WHERE id = ?")
                .bind(write_members(open))
                .bind(write_sought(open))
                .bind(batch.0)
        };
        statement.execute(&mut *transaction).await.doing(ACTION)?;
    }
    transaction.commit().await.doing(ACTION)
}

async fn write_updates(
    transaction: &mut Transaction<'_, Sqlite>,
    keys: &IndexedKeys,
    sync: SyncId,
    updates: &[LinkUpdate],
    now: i64,
) -> Result<(), StoreError> {
    if updates.is_empty() {
        return Ok(());
    }
    let decided = decided(transaction, sync).await?;
    let fresh: HashSet<&[u8]> = updates.iter().filter(|update| update.fresh_key).filter_map(key_of).collect();
    // What was computed before a person decided, or before the object became another link's, counts no more.
    let outdated = |update: &LinkUpdate| {
        decided.get(&update.link.0).is_some_and(|at| *at > update.seen)
            || (!update.fresh_key && key_of(update).is_some_and(|key| fresh.contains(key)))
    };
    let standing: Vec<LinkUpdate>;
    let updates = if updates.iter().any(outdated) {
        standing = updates.iter().filter(|update| !outdated(update)).cloned().collect();
        &standing
    } else {
        updates
    };
    release_stale_keys(transaction, keys, sync, updates).await?;
    values::mark_referring(transaction, updates).await?;
    values::write_values(transaction, keys, updates).await?;
    // Most updates of a batch end alike, and what is the same for all need not be packed for each.
    let mut alike: BTreeMap<Ending, Vec<&LinkUpdate>> = BTreeMap::new();
    for update in updates {
        alike.entry(Ending::of(update)).or_default().push(update);
    }
    let mut cleared = false;
    'again: loop {
        for (ending, updates) in &alike {
            match write_alike(transaction, keys, ending, updates).await {
                // A key that one of these gives up is another one's now, whichever is written first.
                Err(StoreError::Database { source, .. }) if is_taken(&source) && !cleared => {
                    cleared = true;
                    clear_keys(transaction, updates_of(&alike)).await?;
                    continue 'again;
                }
                done => done?,
            }
        }
        break;
    }
    holds::spend(transaction, sync, updates).await?;
    write_parked(transaction, sync, updates, now).await
}

fn key_of(update: &LinkUpdate) -> Option<&[u8]> {
    update.target_key.as_deref()
}

fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

fn updates_of(alike: &BTreeMap<Ending, Vec<&LinkUpdate>>) -> String {
    pack::numbers(alike.values().flatten().map(|update| update.link.0))
}

/// Takes the keys of links that get theirs anew.
async fn clear_keys(transaction: &mut Transaction<'_, Sqlite>, links: String) -> Result<(), StoreError> {
    sqlx::query("UPDATE link SET target_key = NULL, indexed_key = NULL WHERE id IN (SELECT value FROM jsonb_each(?))")
        .bind(links)
        .execute(&mut **transaction)
        .await
        .doing("given link states")?;
    Ok(())
}

/// What an update writes, apart from the target key, the values and the due date, which most people have of their own.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ending {
    state: i64,
    origin: i64,
    evaluated: i64,
    dirty_again: bool,
    attempts: i64,
    not_before: Option<i64>,
    has_values: bool,
}

impl Ending {
    fn of(update: &LinkUpdate) -> Self {
        Self {
            state: state_number(update.state),
            origin: origin_number(update.origin),
            evaluated: update.evaluated,
            dirty_again: update.dirty_again,
            attempts: update.attempts,
            not_before: update.not_before,
            has_values: update.written.is_some(),
        }
    }
}

async fn write_alike(
    transaction: &mut Transaction<'_, Sqlite>,
    keys: &IndexedKeys,
    ending: &Ending,
    updates: &[&LinkUpdate],
) -> Result<(), StoreError> {
    const ACTION: &str = "given link states";
    let mut rows = pack::Rows::new();
    for update in updates {
        let indexed = key_of(update).map(|key| keys.indexed(key));
        let row = rows.row().number(update.link.0).bytes(key_of(update)).bytes(indexed.as_deref());
        row.optional_number(update.due_at);
    }
    let (blob, json) = rows.finish();
    sqlx::query(
        "UPDATE OR FAIL link SET state = ?3, origin = ?4, evaluated = max(evaluated, ?5), dirty = dirty + ?6, attempts = ?7, \
             not_before = ?8, due_at = new.value ->> 5, \
             target_key = substr(?1, new.value ->> 1, new.value ->> 2), \
             indexed_key = substr(?1, new.value ->> 3, new.value ->> 4) \
         FROM jsonb_each(?2) AS new WHERE link.id = new.value ->> 0",
    )
    .bind(blob)
    .bind(json)
    .bind(ending.state)
    .bind(ending.origin)
    .bind(ending.evaluated)
    .bind(i64::from(ending.dirty_again))
    .bind(ending.attempts)
    .bind(ending.not_before)
    .execute(&mut **transaction)
    .await
    .doing(ACTION)?;
    if ending.has_values {
        let mut rows = pack::Rows::new();
        for update in updates {
            rows.row().number(update.link.0).bytes(update.written.as_deref());
        }
        let (blob, json) = rows.finish();
        sqlx::query(
            "INSERT OR FAIL INTO link_values (link, written) \
             SELECT value ->> 0, substr(?1, value ->> 1, value ->> 2) FROM jsonb_each(?2) WHERE true \
             ON CONFLICT (link) DO UPDATE SET written = excluded.written",
        )
        .bind(blob)
        .bind(json)
        .execute(&mut **transaction)
        .await
        .doing(ACTION)?;
    }
    Ok(())
}

/// A key that the target assigned just now cannot belong to another object any more (row numbers come back
/// after a deletion), so a link that still claims it has lost its target object, and nothing computed before counts.
async fn release_stale_keys(
    transaction: &mut Transaction<'_, Sqlite>,
    keys: &IndexedKeys,
    sync: SyncId,
    updates: &[LinkUpdate],
) -> Result<(), StoreError> {
    let fresh = updates.iter().filter(|update| update.fresh_key).filter_map(key_of);
    let (blob, json) = pack::keys(fresh.map(|key| keys.indexed(key)));
    if blob.is_empty() {
        return Ok(());
    }
    let stale = sqlx::query(
        "UPDATE link SET target_key = NULL, indexed_key = NULL, state = 3, dirty = dirty + 1, decided = dirty + 1 \
         WHERE target_type = (SELECT target_type FROM sync WHERE id = ?3) AND owner = 0 AND indexed_key IS NOT NULL \
         AND indexed_key IN (SELECT substr(?1, value ->> 0, value ->> 1) FROM jsonb_each(?2)) RETURNING id, object",
    )
    .bind(blob)
    .bind(json)
    .bind(sync.0)
    .fetch_all(&mut **transaction)
    .await
    .doing("given link states")?;
    let mut links = Vec::with_capacity(stale.len());
    let mut objects = Vec::with_capacity(stale.len());
    for row in stale {
        links.push(row.try_get::<i64, _>(0).doing("given link states")?);
        objects.push(row.try_get::<i64, _>(1).doing("given link states")?);
    }
    values::forget_values(transaction, &pack::numbers(links)).await?;
    values::mark_referring_to(transaction, &pack::numbers(objects)).await
}

async fn write_parked(
    transaction: &mut Transaction<'_, Sqlite>,
    sync: SyncId,
    updates: &[LinkUpdate],
    now: i64,
) -> Result<(), StoreError> {
    const ACTION: &str = "told what is parked";
    let any = sqlx::query("SELECT EXISTS (SELECT 1 FROM parked WHERE sync = ?)")
        .bind(sync.0)
        .fetch_one(&mut **transaction)
        .await
        .doing(ACTION)?;
    if any.try_get(0).doing(ACTION)? {
        let healed = pack::numbers(updates.iter().filter(|update| update.parked.is_none()).map(|update| update.link.0));
        for statement in [
            "DELETE FROM operation WHERE state = 2 AND link IN \
             (SELECT parked.link FROM jsonb_each(?) CROSS JOIN parked ON parked.link = jsonb_each.value)",
            "DELETE FROM parked WHERE link IN (SELECT value FROM jsonb_each(?))",
        ] {
            sqlx::query(statement).bind(&healed).execute(&mut **transaction).await.doing(ACTION)?;
        }
    }
    for update in updates {
        let Some(reason) = &update.parked else { continue };
        let operation = reason.operation.unwrap_or_else(Uuid::now_v7).as_bytes().to_vec();
        sqlx::query("DELETE FROM operation WHERE state = 2 AND link = ?")
            .bind(update.link.0)
            .execute(&mut **transaction)
            .await
            .doing(ACTION)?;
        sqlx::query(
            "INSERT OR REPLACE INTO operation (id, sync, link, state, kind, revision, content) VALUES (?, ?, ?, 2, ?, ?, ?)",
        )
        .bind(&operation)
        .bind(sync.0)
        .bind(update.link.0)
        .bind(kind_number(reason.kind))
        .bind(update.evaluated)
        .bind(reason.message.as_bytes())
        .execute(&mut **transaction)
        .await
        .doing(ACTION)?;
        sqlx::query(
            "INSERT INTO parked (link, sync, operation, kind, rule, attribute, since, attempts) \
             VALUES (?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (link) DO UPDATE SET operation = excluded.operation, \
             kind = excluded.kind, rule = excluded.rule, attribute = excluded.attribute, attempts = attempts + 1",
        )
        .bind(update.link.0)
        .bind(sync.0)
        .bind(&operation)
        .bind(kind_number(reason.kind))
        .bind(&reason.rule)
        .bind(reason.attribute.as_deref())
        .bind(now)
        .execute(&mut **transaction)
        .await
        .doing(ACTION)?;
    }
    Ok(())
}
