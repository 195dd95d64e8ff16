//! What is held, and what a person let go.

use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Connection as _, Row as _, Transaction};

use super::{Doing as _, pack};
use crate::error::StoreError;
use crate::operator::{Approval, Grant};
use crate::records::{HeldChange, HoldRecord, LinkId, LinkUpdate, SyncId};

/// Link 8, value 16.
const ITEM: usize = 24;

fn write_items(items: &[HeldChange]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(items.len() * ITEM);
    for item in items {
        bytes.extend_from_slice(&item.link.0.to_le_bytes());
        bytes.extend_from_slice(&item.value);
    }
    bytes
}

fn read_items(bytes: &[u8]) -> Result<Vec<HeldChange>, StoreError> {
    let damaged = || StoreError::Record { what: "hold" };
    let (items, rest) = bytes.as_chunks::<ITEM>();
    if !rest.is_empty() {
        return Err(damaged());
    }
    items
        .iter()
        .map(|item| {
            let (link, value) = item.split_at(8);
            Ok(HeldChange {
                link: LinkId(i64::from_le_bytes(link.try_into().map_err(|_| damaged())?)),
                value: value.try_into().map_err(|_| damaged())?,
            })
        })
        .collect()
}

const COLUMNS: &str =
    "SELECT kind, attribute, digest, created_at, expires_at, state, wanted, allowed, base, items FROM hold";

fn read_hold(sync: SyncId, row: &SqliteRow) -> Result<HoldRecord, StoreError> {
    let digest: Vec<u8> = row.try_get(2).doing("read")?;
    let items: Vec<u8> = row.try_get(9).doing("read")?;
    Ok(HoldRecord {
        sync,
        kind: row.try_get(0).doing("read")?,
        attribute: row.try_get(1).doing("read")?,
        digest: digest.try_into().map_err(|_| StoreError::Record { what: "hold" })?,
        created_at: row.try_get(3).doing("read")?,
        expires_at: row.try_get(4).doing("read")?,
        approved: row.try_get::<i64, _>(5).doing("read")? == 1,
        wanted: row.try_get::<i64, _>(6).doing("read")? as u64,
        allowed: row.try_get::<i64, _>(7).doing("read")? as u64,
        base: row.try_get::<i64, _>(8).doing("read")? as u64,
        items: read_items(&items)?,
    })
}

pub(super) async fn set_holds(
    writer: &mut SqliteConnection,
    sync: SyncId,
    kinds: &[&str],
    holds: &[HoldRecord],
    now: i64,
) -> Result<Vec<HoldRecord>, StoreError> {
    const ACTION: &str = "told what is held";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    let mut fresh = Vec::new();
    let mut digests = pack::Rows::new();
    for hold in holds {
        digests.row().text(Some(&hold.kind)).bytes(Some(&hold.digest));
        // The same list as before is the same hold: only what would be allowed may have changed meanwhile.
        let known = sqlx::query(
            "UPDATE hold SET allowed = ?4, base = ?5 WHERE sync = ?1 AND kind = ?2 AND digest = ?3 AND expires_at > ?6",
        )
        .bind(sync.0)
        .bind(&hold.kind)
        .bind(hold.digest.to_vec())
        .bind(hold.allowed as i64)
        .bind(hold.base as i64)
        .bind(now)
        .execute(&mut *transaction)
        .await
        .doing(ACTION)?;
        if known.rows_affected() > 0 {
            continue;
        }
        sqlx::query(
            "INSERT OR REPLACE INTO hold (sync, kind, attribute, digest, created_at, expires_at, wanted, allowed, base, items) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(sync.0)
        .bind(&hold.kind)
        .bind(hold.attribute.as_deref())
        .bind(hold.digest.to_vec())
        .bind(hold.created_at)
        .bind(hold.expires_at)
        .bind(hold.wanted as i64)
        .bind(hold.allowed as i64)
        .bind(hold.base as i64)
        .bind(write_items(&hold.items))
        .execute(&mut *transaction)
        .await
        .doing(ACTION)?;
        fresh.push(hold.clone());
    }
    let (blob, json) = digests.finish();
    let kinds = serde_json::to_string(kinds).unwrap_or_default();
    sqlx::query(
        "DELETE FROM hold WHERE sync = ?3 AND kind IN (SELECT value FROM jsonb_each(?4)) AND (kind, digest) NOT IN \
         (SELECT value ->> 0, substr(?1, value ->> 1, value ->> 2) FROM jsonb_each(?2))",
    )
    .bind(blob)
    .bind(json)
    .bind(sync.0)
    .bind(kinds)
    .execute(&mut *transaction)
    .await
    .doing(ACTION)?;
    transaction.commit().await.doing(ACTION)?;
    Ok(fresh)
}

pub(super) async fn holds(readers: &SqlitePool, sync: SyncId) -> Result<Vec<HoldRecord>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE sync = ? ORDER BY kind, attribute")))
        .bind(sync.0)
        .fetch_all(readers)
        .await
        .doing("read")?;
    rows.iter().map(|row| read_hold(sync, row)).collect()
}

pub(super) async fn approve(
    writer: &mut SqliteConnection,
    sync: SyncId,
    digest: &[u8; 16],
    now: i64,
    expires_at: i64,
) -> Result<Approval, StoreError> {
    const ACTION: &str = "told about an approval";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE sync = ? AND digest = ?")))
        .bind(sync.0)
        .bind(digest.to_vec())
        .fetch_optional(&mut *transaction)
        .await
        .doing(ACTION)?;
    let Some(row) = row else { return Ok(Approval::Unknown) };
    let hold = read_hold(sync, &row)?;
    if hold.expires_at <= now {
        return Ok(Approval::Expired);
    }
    sqlx::query("DELETE FROM granted WHERE expires_at <= ?")
        .bind(now)
        .execute(&mut *transaction)
        .await
        .doing(ACTION)?;
    let mut rows = pack::Rows::new();
    for item in &hold.items {
        rows.row().number(item.link.0).bytes(Some(&item.value));
    }
    let (blob, json) = rows.finish();
    sqlx::query(
        "INSERT OR REPLACE INTO granted (link, kind, attribute, value, sync, expires_at) \
         SELECT value ->> 0, ?3, ?4, substr(?1, value ->> 1, value ->> 2), ?5, ?6 FROM jsonb_each(?2)",
    )
    .bind(&blob)
    .bind(&json)
    .bind(&hold.kind)
    .bind(hold.attribute.as_deref().unwrap_or(""))
    .bind(sync.0)
    .bind(expires_at)
    .execute(&mut *transaction)
    .await
    .doing(ACTION)?;
    for statement in [
        "UPDATE link SET dirty = dirty + 1 WHERE id IN (SELECT value ->> 0 FROM jsonb_each(?2)) AND sync = ?1",
        "UPDATE hold SET state = 1 WHERE sync = ?1 AND digest = ?2",
    ] {
        let query = sqlx::query(statement).bind(sync.0);
        let query = if statement.contains("jsonb_each") { query.bind(&json) } else { query.bind(digest.to_vec()) };
        query.execute(&mut *transaction).await.doing(ACTION)?;
    }
    transaction.commit().await.doing(ACTION)?;
    Ok(Approval::Recorded(HoldRecord { approved: true, ..hold }))
}

pub(super) async fn grants(readers: &SqlitePool, sync: SyncId, now: i64) -> Result<Vec<Grant>, StoreError> {
    let rows = sqlx::query("SELECT link, kind, attribute, value FROM granted WHERE sync = ? AND expires_at > ?")
        .bind(sync.0)
        .bind(now)
        .fetch_all(readers)
        .await
        .doing("read")?;
    rows.into_iter()
        .map(|row| {
            let value: Vec<u8> = row.try_get(3).doing("read")?;
            Ok(Grant {
                link: LinkId(row.try_get(0).doing("read")?),
                kind: row.try_get(1).doing("read")?,
                attribute: row.try_get(2).doing("read")?,
                value: value.try_into().map_err(|_| StoreError::Record { what: "grant" })?,
            })
        })
        .collect()
}

/// A link that calls for nothing more has no use for what was granted: the change was made, or is not wanted any more.
pub(super) async fn spend(
    transaction: &mut Transaction<'_, Sqlite>,
    sync: SyncId,
    updates: &[LinkUpdate],
) -> Result<(), StoreError> {
    const ACTION: &str = "told what was used";
    let any = sqlx::query("SELECT EXISTS (SELECT 1 FROM granted WHERE sync = ?)")
        .bind(sync.0)
        .fetch_one(&mut **transaction)
        .await
        .doing(ACTION)?;
    if !any.try_get::<bool, _>(0).doing(ACTION)? {
        return Ok(());
    }
    let settled = updates.iter().filter(|update| update.evaluated >= update.seen && update.parked.is_none());
    // Whether objects are missing is no matter of their links.
    sqlx::query("DELETE FROM granted WHERE kind <> 'missing' AND link IN (SELECT value FROM jsonb_each(?))")
        .bind(pack::numbers(settled.map(|update| update.link.0)))
        .execute(&mut **transaction)
        .await
        .doing(ACTION)?;
    Ok(())
}
