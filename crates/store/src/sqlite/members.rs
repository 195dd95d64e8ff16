//! Who is in the groups that a sync's scope names.

use async_trait::async_trait;
use muster_model::AttributeId;
use sqlx::sqlite::Sqlite;
use sqlx::{Connection as _, Row as _, Transaction};

use super::{Doing as _, SqliteStore, pack};
use crate::error::StoreError;
use crate::members::{MemberStore, Named, ScopeGroup};
use crate::records::{ObjectId, SourceTypeId, SyncId};

const ACTION: &str = "told who is in which group";

/// References have changed, so whoever depends on them compares anew.
pub(super) async fn references_moved(transaction: &mut Transaction<'_, Sqlite>) -> Result<(), StoreError> {
    sqlx::query("UPDATE store SET edge_revision = edge_revision + 1")
        .execute(&mut **transaction)
        .await
        .doing("given references")?;
    Ok(())
}

/// What stands for its members in each of the groups named, themselves included, and their members.
const MEMBERS: &str = "WITH RECURSIVE inside (number, object, source_type, attribute) AS ( \
        SELECT one.value ->> 0, root.id, root.source_type, kind.value ->> 1 FROM jsonb_each(?2) AS one \
        CROSS JOIN source_object AS root ON root.id = one.value ->> 1 \
        CROSS JOIN jsonb_each(?3) AS kind ON kind.value ->> 0 = root.source_type \
        UNION \
        SELECT inside.number, member.id, member.source_type, kind.value ->> 1 FROM inside \
        CROSS JOIN edge ON edge.object = inside.object AND edge.attribute = inside.attribute \
        CROSS JOIN source_object AS member ON member.id = edge.referenced AND member.removed = 0 \
        CROSS JOIN jsonb_each(?3) AS kind ON kind.value ->> 0 = member.source_type \
        WHERE inside.number % 2 = 1 OR member.source_type != inside.source_type) \
    SELECT DISTINCT edge.referenced AS object, inside.number AS number FROM inside \
    CROSS JOIN edge ON edge.object = inside.object AND edge.attribute = inside.attribute \
    CROSS JOIN source_object ON source_object.id = edge.referenced \
    WHERE source_object.source_type = (SELECT source_type FROM sync WHERE id = ?1)";

#[async_trait]
impl MemberStore for SqliteStore {
    async fn present_objects(
        &self,
        source_type: SourceTypeId,
        after: ObjectId,
        limit: u32,
    ) -> Result<Vec<Named>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, anchor, state FROM source_object WHERE +source_type = ? AND id > ? AND removed = 0 \
             AND state IS NOT NULL ORDER BY id LIMIT ?",
        )
        .bind(source_type.0)
        .bind(after.0)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .doing("read")?;
        rows.into_iter()
            .map(|row| {
                let id = ObjectId(row.try_get(0).doing("read")?);
                Ok((id, row.try_get(1).doing("read")?, row.try_get(2).doing("read")?))
            })
            .collect()
    }

    async fn scope_groups(&self, sync: SyncId) -> Result<Vec<ScopeGroup>, StoreError> {
        let rows = sqlx::query("SELECT asked, named, transitive, object FROM scope_group WHERE sync = ?")
            .bind(sync.0)
            .fetch_all(&self.readers)
            .await
            .doing("read")?;
        rows.into_iter()
            .map(|row| {
                Ok(ScopeGroup {
                    asked: row.try_get(0).doing("read")?,
                    named: row.try_get(1).doing("read")?,
                    transitive: row.try_get(2).doing("read")?,
                    object: ObjectId(row.try_get(3).doing("read")?),
                })
            })
            .collect()
    }

    async fn compare_members(
        &self,
        sync: SyncId,
        members: &[(SourceTypeId, AttributeId)],
        groups: &[ScopeGroup],
    ) -> Result<u64, StoreError> {
        let mut writer = self.writer.synced().await?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing(ACTION)?;
        let row = sqlx::query(
            "SELECT members_as_of IS (SELECT edge_revision FROM store), (SELECT edge_revision FROM store) \
             FROM sync WHERE id = ?",
        )
        .bind(sync.0)
        .fetch_one(&mut *transaction)
        .await
        .doing(ACTION)?;
        let (is_current, revision): (bool, i64) = (row.try_get(0).doing(ACTION)?, row.try_get(1).doing(ACTION)?);
        let mut names = pack::Rows::new();
        let mut numbers = pack::Rows::new();
        for group in groups {
            let row = names.row().text(Some(&group.asked)).text(Some(&group.named)).number(group.object.0);
            row.number(i64::from(group.transitive));
            numbers.row().number(group.number()).number(group.object.0);
        }
        let mut kinds = pack::Rows::new();
        for (source_type, attribute) in members {
            kinds.row().number(source_type.0).number(i64::from(attribute.0));
        }
        let (names, numbers, kinds) = (names.finish().1, numbers.finish().1, kinds.finish().1);
        let mut changed = 0;
        for statement in [
            "DELETE FROM scope_group WHERE sync = ?1 AND (asked, named, object) NOT IN \
             (SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each(?2))",
            "INSERT OR IGNORE INTO scope_group (sync, asked, named, object, transitive) \
             SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM jsonb_each(?2)",
        ] {
            let done =
                sqlx::query(statement).bind(sync.0).bind(&names).execute(&mut *transaction).await.doing(ACTION)?;
            changed += done.rows_affected();
        }
        if is_current && changed == 0 {
            return Ok(0);
        }
        let gone =
            format!("DELETE FROM scope_member WHERE sync = ?1 AND (object, named) NOT IN ({MEMBERS}) RETURNING object");
        let come = format!(
            "INSERT OR IGNORE INTO scope_member (sync, object, named) SELECT ?1, object, number FROM ({MEMBERS}) \
             RETURNING object"
        );
        let mut moved = Vec::new();
        for statement in [gone, come] {
            let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
                .bind(sync.0)
                .bind(&numbers)
                .bind(&kinds)
                .fetch_all(&mut *transaction)
                .await
                .doing(ACTION)?;
            for row in rows {
                moved.push(row.try_get::<i64, _>(0).doing(ACTION)?);
            }
        }
        let marked = sqlx::query(
            "UPDATE link SET dirty = dirty + 1, not_before = NULL \
             WHERE sync = ?1 AND object IN (SELECT value FROM jsonb_each(?2))",
        )
        .bind(sync.0)
        .bind(pack::numbers(moved))
        .execute(&mut *transaction)
        .await
        .doing(ACTION)?;
        sqlx::query("UPDATE sync SET members_as_of = ? WHERE id = ?")
            .bind(revision)
            .bind(sync.0)
            .execute(&mut *transaction)
            .await
            .doing(ACTION)?;
        transaction.commit().await.doing(ACTION)?;
        Ok(marked.rows_affected())
    }

    async fn members_of(&self, sync: SyncId, objects: &[ObjectId]) -> Result<Vec<(ObjectId, i64)>, StoreError> {
        let rows = sqlx::query(
            "SELECT object, named FROM jsonb_each(?2) AS one CROSS JOIN scope_member \
             ON scope_member.sync = ?1 AND scope_member.object = one.value",
        )
        .bind(sync.0)
        .bind(pack::numbers(objects.iter().map(|id| id.0)))
        .fetch_all(&self.readers)
        .await
        .doing("read")?;
        rows.into_iter()
            .map(|row| Ok((ObjectId(row.try_get(0).doing("read")?), row.try_get(1).doing("read")?)))
            .collect()
    }
}
