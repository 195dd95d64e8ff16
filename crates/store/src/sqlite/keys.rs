//! What stands for a target key in the index over all of them.

use std::borrow::Cow;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::pack;

/// Numbers and GUIDs stand for themselves: they are short, and often come in order.
const SHORT: usize = 18;

/// No encoded key begins with it (see `muster_model::pack`).
const DIGEST: u8 = 0xff;

/// With nine bytes that nobody can choose, ten million keys have one chance in a hundred million that two are alike.
const DIGEST_LENGTH: usize = 9;

/// Makes what the index holds: a short key itself, or a digest of a long one.
#[derive(Clone)]
pub(super) struct IndexedKeys {
    digest_key: [u8; 32],
}

impl std::fmt::Debug for IndexedKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("IndexedKeys").finish_non_exhaustive()
    }
}

impl IndexedKeys {
    pub(super) async fn of(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let row = sqlx::query("SELECT digest_key FROM store").fetch_one(connection).await?;
        let digest_key: Vec<u8> = row.try_get(0)?;
        let damaged = |_| sqlx::Error::Decode("the state's digest key is damaged".into());
        Ok(Self { digest_key: digest_key.try_into().map_err(damaged)? })
    }

    pub(super) fn indexed<'a>(&self, key: &'a [u8]) -> Cow<'a, [u8]> {
        self.digest(key).map_or(Cow::Borrowed(key), |digest| Cow::Owned(digest.to_vec()))
    }

    /// `None` for a key that stands for itself.
    pub(super) fn digest(&self, key: &[u8]) -> Option<[u8; 1 + DIGEST_LENGTH]> {
        if key.len() <= SHORT {
            return None;
        }
        let mut digest = [DIGEST; 1 + DIGEST_LENGTH];
        digest[1..].copy_from_slice(&blake3::keyed_hash(&self.digest_key, key).as_bytes()[..DIGEST_LENGTH]);
        Some(digest)
    }
}

/// Rows that are upgraded together.
const TOGETHER: i64 = if cfg!(test) { 2 } else { 5_000 };

/// Fills the columns in a state that had none. Runs inside the upgrade's transaction.
pub(super) async fn fill(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let keys = IndexedKeys::of(connection).await?;
    let mut after = 0_i64;
    loop {
        let query = "SELECT id, target_key FROM link WHERE target_key IS NOT NULL AND id > ? ORDER BY id LIMIT ?";
        let found = sqlx::query(query).bind(after).bind(TOGETHER).fetch_all(&mut *connection).await?;
        let Some(last) = found.last() else { break };
        after = last.try_get(0)?;
        let mut rows = pack::Rows::new();
        for row in &found {
            rows.row().number(row.try_get(0)?).bytes(Some(&keys.indexed(row.try_get(1)?)));
        }
        let (blob, list) = rows.finish();
        sqlx::query(
            "UPDATE link SET indexed_key = substr(?1, new.value ->> 1, new.value ->> 2) \
             FROM jsonb_each(?2) AS new WHERE link.id = new.value ->> 0",
        )
        .bind(blob)
        .bind(list)
        .execute(&mut *connection)
        .await?;
    }
    fill_values(connection, &keys).await
}

async fn fill_values(connection: &mut SqliteConnection, keys: &IndexedKeys) -> Result<(), sqlx::Error> {
    let mut after = (0_i64, 0_i64, Vec::new());
    loop {
        let found = sqlx::query(
            "SELECT link, attribute, value FROM written_value WHERE (link, attribute, value) > (?, ?, ?) \
             ORDER BY link, attribute, value LIMIT ?",
        )
        .bind(after.0)
        .bind(after.1)
        .bind(after.2)
        .bind(TOGETHER)
        .fetch_all(&mut *connection)
        .await?;
        let Some(last) = found.last() else { return Ok(()) };
        after = (last.try_get(0)?, last.try_get(1)?, last.try_get(2)?);
        let mut rows = pack::Rows::new();
        for row in &found {
            let value: &[u8] = row.try_get(2)?;
            if let Some(digest) = keys.digest(value) {
                rows.row().number(row.try_get(0)?).number(row.try_get(1)?).bytes(Some(value)).bytes(Some(&digest));
            }
        }
        let (blob, list) = rows.finish();
        sqlx::query(
            "UPDATE written_value AS written SET indexed_value = substr(?1, new.value ->> 4, new.value ->> 5) \
             FROM jsonb_each(?2) AS new WHERE written.link = new.value ->> 0 AND written.attribute = new.value ->> 1 \
             AND written.value = substr(?1, new.value ->> 2, new.value ->> 3)",
        )
        .bind(blob)
        .bind(list)
        .execute(&mut *connection)
        .await?;
    }
}
