//! The store itself, connections, attributes, object types and syncs.

use std::collections::HashMap;

use muster_model::AttributeId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use super::{Doing as _, pack};
use crate::error::StoreError;
use crate::records::{
    AttributeSpec, Connection, ConnectionId, Round, SourceType, SourceTypeId, StoreFacts, Sync, SyncDefinition, SyncId,
    TargetType, TargetTypeId,
};

pub(super) async fn facts(readers: &SqlitePool) -> Result<StoreFacts, StoreError> {
    let row = sqlx::query("SELECT incarnation, created_at, clock_high_water, clock_reached FROM store")
        .fetch_one(readers)
        .await
        .doing("read")?;
    let incarnation: Vec<u8> = row.try_get(0).doing("read")?;
    let incarnation = Uuid::from_slice(&incarnation).map_err(|_| StoreError::Record { what: "incarnation" })?;
    let (created_at, clock_high_water) = (row.try_get(1).doing("read")?, row.try_get(2).doing("read")?);
    let clock_reached = row.try_get(3).doing("read")?;
    Ok(StoreFacts { incarnation, created_at, clock_high_water, clock_reached })
}

pub(super) async fn renew_incarnation(
    writer: &mut SqliteConnection,
    incarnation: Uuid,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE store SET incarnation = ?, created_at = max(?, created_at + 1)")
        .bind(incarnation.as_bytes().to_vec())
        .bind(now)
        .execute(writer)
        .await
        .doing("given a new incarnation")?;
    Ok(())
}

pub(super) async fn connection(writer: &mut SqliteConnection, name: &str) -> Result<Connection, StoreError> {
    const ACTION: &str = "told about a connection";
    sqlx::query("INSERT OR IGNORE INTO connection (name) VALUES (?)")
        .bind(name)
        .execute(&mut *writer)
        .await
        .doing(ACTION)?;
    let row = sqlx::query("SELECT id, identity FROM connection WHERE name = ?")
        .bind(name)
        .fetch_one(writer)
        .await
        .doing(ACTION)?;
    Ok(Connection { id: ConnectionId(row.try_get(0).doing(ACTION)?), identity: row.try_get(1).doing(ACTION)? })
}

pub(super) async fn set_identity(
    writer: &mut SqliteConnection,
    connection: ConnectionId,
    identity: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE connection SET identity = ? WHERE id = ?")
        .bind(identity)
        .bind(connection.0)
        .execute(writer)
        .await
        .doing("told a system's identity")?;
    Ok(())
}

/// The stable name of a unit enum's value, as serde spells it.
fn spelled(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

fn unspelled<T: DeserializeOwned>(name: String) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(name)).map_err(|_| StoreError::Record { what: "attribute" })
}

pub(super) async fn attribute_ids(
    writer: &mut SqliteConnection,
    connection: ConnectionId,
    object_type: &str,
    attributes: &[AttributeSpec],
) -> Result<Vec<AttributeId>, StoreError> {
    const ACTION: &str = "told about attributes";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    let mut ids = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        let value_type: String = spelled(&attribute.value_type);
        let multiplicity: String = spelled(&attribute.multiplicity);
        let find = "SELECT id FROM attribute WHERE connection = ?1 AND object_type = ?2 AND name = ?3 \
                    AND value_type = ?4 AND multiplicity = ?5";
        let insert = "INSERT INTO attribute (connection, object_type, name, value_type, multiplicity) \
                      VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id";
        let mut id = None;
        for statement in [find, insert] {
            if id.is_none() {
                id = sqlx::query(statement)
                    .bind(connection.0)
                    .bind(object_type)
                    .bind(&attribute.name)
                    .bind(&value_type)
                    .bind(&multiplicity)
                    .fetch_optional(&mut *transaction)
                    .await
                    .doing(ACTION)?;
            }
        }
        let row = id.ok_or(StoreError::Record { what: "attribute" })?;
        ids.push(attribute_id(row.try_get(0).doing(ACTION)?)?);
    }
    transaction.commit().await.doing(ACTION)?;
    Ok(ids)
}

pub(super) fn attribute_id(id: i64) -> Result<AttributeId, StoreError> {
    u32::try_from(id).map(AttributeId).map_err(|_| StoreError::Record { what: "attribute" })
}

pub(super) async fn attribute_specs(
    readers: &SqlitePool,
    ids: &[AttributeId],
) -> Result<HashMap<AttributeId, AttributeSpec>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, name, value_type, multiplicity FROM attribute WHERE id IN (SELECT value FROM jsonb_each(?))",
    )
    .bind(pack::numbers(ids.iter().map(|id| i64::from(id.0))))
    .fetch_all(readers)
    .await
    .doing("read")?;
    rows.into_iter()
        .map(|row| {
            let spec = AttributeSpec {
                name: row.try_get(1).doing("read")?,
                value_type: unspelled(row.try_get(2).doing("read")?)?,
                multiplicity: unspelled(row.try_get(3).doing("read")?)?,
            };
            Ok((attribute_id(row.try_get(0).doing("read")?)?, spec))
        })
        .collect()
}

pub(super) fn round_number(round: Round) -> i64 {
    match round {
        Round::Idle => 0,
        Round::Full => 1,
        Round::Delta => 2,
        Round::Keys => 3,
    }
}

fn read_source_type(row: &SqliteRow) -> Result<SourceType, StoreError> {
    let damaged = || StoreError::Record { what: "source type" };
    let round = match row.try_get::<i64, _>(1).doing("read")? {
        0 => Round::Idle,
        1 => Round::Full,
        2 => Round::Delta,
        3 => Round::Keys,
        _ => return Err(damaged()),
    };
    let attributes: String = row.try_get(5).doing("read")?;
    let attributes: Vec<u32> = serde_json::from_str(&attributes).map_err(|_| damaged())?;
    Ok(SourceType {
        id: SourceTypeId(row.try_get(0).doing("read")?),
        round,
        generation: row.try_get(2).doing("read")?,
        unswept: row.try_get(6).doing("read")?,
        watermark: row.try_get(3).doing("read")?,
        cursor: row.try_get(4).doing("read")?,
        attributes: attributes.into_iter().map(AttributeId).collect(),
        keys_read: row.try_get(7).doing("read")?,
    })
}

pub(super) async fn source_type(
    writer: &mut SqliteConnection,
    connection: ConnectionId,
    name: &str,
) -> Result<SourceType, StoreError> {
    const ACTION: &str = "told about a source type";
    sqlx::query("INSERT OR IGNORE INTO source_type (connection, name) VALUES (?, ?)")
        .bind(connection.0)
        .bind(name)
        .execute(&mut *writer)
        .await
        .doing(ACTION)?;
    let row = sqlx::query(
        "SELECT id, round, generation, watermark, cursor, attributes, unswept, keys_read FROM source_type WHERE connection = ? AND name = ?",
    )
    .bind(connection.0)
    .bind(name)
    .fetch_one(writer)
    .await
    .doing(ACTION)?;
    read_source_type(&row)
}

pub(super) async fn target_type(
    writer: &mut SqliteConnection,
    connection: ConnectionId,
    name: &str,
) -> Result<TargetType, StoreError> {
    const ACTION: &str = "told about a target type";
    sqlx::query("INSERT OR IGNORE INTO target_type (connection, name) VALUES (?, ?)")
        .bind(connection.0)
        .bind(name)
        .execute(&mut *writer)
        .await
        .doing(ACTION)?;
    let row = sqlx::query("SELECT id, epoch FROM target_type WHERE connection = ? AND name = ?")
        .bind(connection.0)
        .bind(name)
        .fetch_one(writer)
        .await
        .doing(ACTION)?;
    Ok(TargetType { id: TargetTypeId(row.try_get(0).doing(ACTION)?), epoch: row.try_get(1).doing(ACTION)? })
}

pub(super) async fn next_epoch(writer: &mut SqliteConnection, target_type: TargetTypeId) -> Result<i64, StoreError> {
    const ACTION: &str = "given a new epoch";
    let row = sqlx::query("UPDATE target_type SET epoch = epoch + 1 WHERE id = ? RETURNING epoch")
        .bind(target_type.0)
        .fetch_one(writer)
        .await
        .doing(ACTION)?;
    row.try_get(0).doing(ACTION)
}

pub(super) async fn sync(writer: &mut SqliteConnection, definition: &SyncDefinition) -> Result<Sync, StoreError> {
    const ACTION: &str = "told about a sync";
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
    sqlx::query(
        "INSERT OR IGNORE INTO sync (name, source_type, target_type, fingerprint, refers) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&definition.name)
    .bind(definition.source_type.0)
    .bind(definition.target_type.0)
    .bind(definition.fingerprint.to_vec())
    .bind(definition.refers)
    .execute(&mut *transaction)
    .await
    .doing(ACTION)?;
    let row = sqlx::query(
        "SELECT id, fingerprint, paused, source_type, target_type, reconcile, refers FROM sync WHERE name = ?",
    )
    .bind(&definition.name)
    .fetch_one(&mut *transaction)
    .await
    .doing(ACTION)?;
    let id: i64 = row.try_get(0).doing(ACTION)?;
    let fingerprint: Vec<u8> = row.try_get(1).doing(ACTION)?;
    let types: (i64, i64) = (row.try_get(3).doing(ACTION)?, row.try_get(4).doing(ACTION)?);
    if types != (definition.source_type.0, definition.target_type.0) {
        return Err(StoreError::OtherTypes { sync: definition.name.clone() });
    }
    let rules_changed = fingerprint != definition.fingerprint;
    if row.try_get::<bool, _>(6).doing(ACTION)? != definition.refers {
        sqlx::query("UPDATE sync SET refers = ? WHERE name = ?")
            .bind(definition.refers)
            .bind(&definition.name)
            .execute(&mut *transaction)
            .await
            .doing(ACTION)?;
    }
    if rules_changed {
        sqlx::query("UPDATE sync SET fingerprint = ? WHERE id = ?")
            .bind(definition.fingerprint.to_vec())
            .bind(id)
            .execute(&mut *transaction)
            .await
            .doing(ACTION)?;
        // Under other rules an earlier refusal or pause says nothing.
        sqlx::query("UPDATE link SET dirty = dirty + 1, not_before = NULL WHERE sync = ?")
            .bind(id)
            .execute(&mut *transaction)
            .await
            .doing(ACTION)?;
    }
    let paused = row.try_get(2).doing(ACTION)?;
    let reconcile = row.try_get(5).doing(ACTION)?;
    transaction.commit().await.doing(ACTION)?;
    Ok(Sync { id: SyncId(id), rules_changed, paused, reconcile })
}

pub(super) async fn sync_names(readers: &SqlitePool) -> Result<Vec<(String, SyncId)>, StoreError> {
    let rows = sqlx::query("SELECT name, id FROM sync ORDER BY id").fetch_all(readers).await.doing("read")?;
    rows.into_iter().map(|row| Ok((row.try_get(0).doing("read")?, SyncId(row.try_get(1).doing("read")?)))).collect()
}
