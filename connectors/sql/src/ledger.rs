//! The ledger: the ids of operations are stored in the transaction of their effects, so that an answer that was lost
//! can be had from the database itself. Whoever writes a type holds its row of the lease's table shared while writing:
//! to look into the ledger is to wait until nobody writes, so that what is not there will never be.

use std::collections::{BTreeMap, HashMap};

use muster_connector::{Effect, Epoch, Error, OperationId, Outcome, Resolution};
use muster_model::{AssignedBy, Key};
use tokio::sync::Mutex;

use crate::apply::Writing;
use crate::connector::SqlConnector;
use crate::database::{Database, Session, Text};
use crate::error::{Class, Failure};
use crate::statement::{Sql, joined, sql};
use crate::text::unhex;

/// One row for each operation that took effect.
pub(crate) const OPERATIONS: &str = "muster_ledger";

/// One row for each object type: who writes it, and up to where its operations were forgotten.
pub(crate) const LEASES: &str = "muster_ledger_lease";

/// How long operations stay in the ledger, by the clock of the host that sends them: a state that is restored from a
/// backup of this age finds them.
const KEPT_MILLISECONDS: u64 = 24 * 3_600 * 1_000;

/// How far that clock moves before the ledger is pruned again.
const PRUNED_EVERY_MILLISECONDS: u64 = 600 * 1_000;

/// Rows or ids in one statement.
const TOGETHER: usize = 500;

/// What the connection knows of the ledger without asking.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    leases: Mutex<HashMap<String, Epoch>>,
    pruned: Mutex<u64>,
}

/// What makes the ledger's tables.
pub(crate) fn tables(database: &dyn Database) -> Vec<String> {
    let key = database.long_text();
    vec![
        format!("CREATE TABLE {OPERATIONS} (operation_id varchar(36) NOT NULL PRIMARY KEY, assigned_key {key});"),
        format!(
            "CREATE TABLE {LEASES} (object_type varchar(190) NOT NULL PRIMARY KEY, incarnation bigint NOT NULL, \
             counter bigint NOT NULL, forgotten varchar(36) NOT NULL);"
        ),
    ]
}

/// What a writer needs: the tables, and the rights on them. Changes nothing.
pub(crate) fn trials() -> [Sql; 4] {
    [
        sql!("SELECT operation_id, assigned_key FROM {OPERATIONS} WHERE 1 = 0"),
        sql!(
            "INSERT INTO {OPERATIONS} (operation_id, assigned_key) SELECT operation_id, assigned_key FROM {OPERATIONS} WHERE 1 = 0"
        ),
        sql!("DELETE FROM {OPERATIONS} WHERE 1 = 0"),
        sql!("UPDATE {LEASES} SET incarnation = 0, counter = 0, forgotten = forgotten WHERE 1 = 0"),
    ]
}

fn milliseconds(id: OperationId) -> u64 {
    // RFC 9562, 5.7: the first 48 bits.
    u64::try_from(id.0.as_u128() >> 80).unwrap_or(u64::MAX)
}

/// The smallest id of that moment, as text: ids as texts are in the order of their moments.
fn smallest_id(milliseconds: u64) -> String {
    format!("{:08x}-{:04x}-0000-0000-000000000000", milliseconds >> 16, milliseconds & 0xffff)
}

fn number(text: Option<&Text>) -> Option<i64> {
    text?.as_deref()?.parse().ok()
}

impl SqlConnector {
    /// The name of a type as it stands in the lease's table.
    fn lease_name(&self, object_type: &str) -> String {
        let short: String = object_type.chars().take(190).collect();
        self.database.literal(&Some(short.into()), &self.database.long_text())
    }

    /// Who writes the type according to the database.
    async fn lease(&self, session: &mut dyn Session, name: &str, exclusive: bool) -> Result<Option<Epoch>, Failure> {
        let (table, lock) = self.database.locked(LEASES, exclusive);
        let read = |column| self.database.read_expression(column, "bigint");
        let (incarnation, counter) = (read("incarnation"), read("counter"));
        let rows = session
            .query(sql!("SELECT {incarnation}, {counter} FROM {table} WHERE object_type = {name}{lock}"))
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        match (number(row.first()), number(row.get(1))) {
            (Some(incarnation), Some(counter)) => Ok(Some(Epoch { incarnation, counter })),
            _ => Err(Failure::new(Class::Bug, format!("{LEASES} holds no numbers"))),
        }
    }

    /// Enters a new lease before the first batch under it, unless a newer one is there.
    pub(crate) async fn take_lease(&self, object_type: &str, epoch: Epoch) -> Result<(), Error> {
        let mut leases = self.ledger.leases.lock().await;
        if leases.get(object_type) == Some(&epoch) {
            return Ok(());
        }
        let name = self.lease_name(object_type);
        let entered = async {
            let mut session = self.database.begin(true).await?;
            let known = self.lease(session.as_mut(), &name, true).await?;
            let Epoch { incarnation, counter } = epoch;
            let statement = match known {
                Some(known) if known > epoch => return Err(superseded(object_type)),
                Some(_) => sql!(
                    "UPDATE {LEASES} SET incarnation = {incarnation}, counter = {counter} WHERE object_type = {name}"
                ),
                None => sql!(
                    "INSERT INTO {LEASES} (object_type, incarnation, counter, forgotten) VALUES ({name}, {incarnation}, {counter}, '')"
                ),
            };
            session.execute(statement).await?;
            session.commit().await
        };
        match entered.await {
            Ok(()) => {
                leases.insert(object_type.to_owned(), epoch);
                Ok(())
            }
            // Whatever became of the lease, no operation was sent.
            Err(failure) if failure.blames_a_row() => Err(Failure::new(Class::Busy, failure.message).error(true)),
            Err(failure) => Err(failure.error(true)),
        }
    }

    /// What the ledger knows of operations, once nobody writes.
    pub(crate) async fn recorded(&self, ids: &[OperationId]) -> Result<Vec<(OperationId, Resolution)>, Failure> {
        let mut session = self.database.begin(true).await?;
        let (table, lock) = self.database.locked(LEASES, true);
        let forgotten = session.query(sql!("SELECT forgotten FROM {table} ORDER BY object_type{lock}")).await?;
        let forgotten = forgotten.into_iter().filter_map(|row| row.into_iter().next().flatten()).max();
        let mut found: HashMap<String, Text> = HashMap::new();
        for ids in ids.chunks(TOGETHER) {
            let some = joined(ids.iter().map(|id| format!("'{}'", id.0)), ", ");
            let query = sql!("SELECT operation_id, assigned_key FROM {OPERATIONS} WHERE operation_id IN ({some})");
            for mut row in session.query(query).await? {
                let key = row.pop().flatten();
                if let Some(id) = row.pop().flatten() {
                    found.insert(id.trim().to_owned(), key);
                }
            }
        }
        session.commit().await?;
        let resolution = |id: &OperationId| -> Result<Resolution, Failure> {
            let text = id.0.to_string();
            match found.get(&text) {
                Some(key) => {
                    let key = key.as_deref().map(decode_key).transpose()?;
                    Ok(Resolution::Known(Outcome::Applied(Effect { key, ..Effect::default() })))
                }
                None if forgotten.as_deref().is_some_and(|forgotten| text.as_str() < forgotten) => {
                    Ok(Resolution::NotRecorded)
                }
                None => Ok(Resolution::NeverApplied),
            }
        };
        ids.iter().map(|id| Ok((*id, resolution(id)?))).collect()
    }

    /// Forgets operations long before these, which are durable at the host.
    pub(crate) async fn forget(&self, ids: &[OperationId]) -> Result<(), Failure> {
        let newest = ids.iter().copied().map(milliseconds).max().unwrap_or_default();
        let until = newest.saturating_sub(KEPT_MILLISECONDS);
        let mut pruned = self.ledger.pruned.lock().await;
        if until < pruned.saturating_add(PRUNED_EVERY_MILLISECONDS) {
            return Ok(());
        }
        let limit = smallest_id(until);
        let mut session = self.database.begin(true).await?;
        session.execute(sql!("UPDATE {LEASES} SET forgotten = '{limit}' WHERE forgotten < '{limit}'")).await?;
        session.execute(sql!("DELETE FROM {OPERATIONS} WHERE operation_id < '{limit}'")).await?;
        session.commit().await?;
        *pruned = until;
        Ok(())
    }
}

impl Writing<'_> {
    /// Holds the lease for the length of the transaction, unless somebody newer has it.
    pub(crate) async fn hold_lease(&self, session: &mut dyn Session) -> Result<(), Failure> {
        let name = self.connector.lease_name(&self.batch.object_type);
        match self.connector.lease(session, &name, false).await? {
            Some(known) if known == self.batch.epoch => Ok(()),
            Some(known) if known > self.batch.epoch => Err(superseded(&self.batch.object_type)),
            // Somebody emptied the table meanwhile.
            _ => {
                self.connector.ledger.leases.lock().await.remove(&*self.batch.object_type);
                Err(Failure::new(Class::Busy, format!("the lease in {LEASES} is not the one taken")))
            }
        }
    }

    /// Enters what took effect.
    pub(crate) async fn enter(&self, session: &mut dyn Session) -> Result<(), Failure> {
        let is_assigned = self.table.object_type.anchor.assigned_by == AssignedBy::System;
        let applied: BTreeMap<OperationId, Option<&Key>> = self
            .outcomes
            .iter()
            .filter_map(|(position, outcome)| match outcome {
                Outcome::Applied(effect) => {
                    Some((self.batch.operations.get(*position)?.id, effect.key.as_ref().filter(|_| is_assigned)))
                }
                _ => None,
            })
            .collect();
        let rows: Vec<String> = applied
            .into_iter()
            .map(|(id, key)| match key {
                Some(key) => format!("('{}', '{}')", id.0, encode_key(key)),
                None => format!("('{}', NULL)", id.0),
            })
            .collect();
        for rows in rows.chunks(TOGETHER) {
            let rows = joined(rows, ", ");
            session.execute(sql!("INSERT INTO {OPERATIONS} (operation_id, assigned_key) VALUES {rows}")).await?;
        }
        Ok(())
    }
}

fn superseded(object_type: &str) -> Failure {
    Failure::new(
        Class::Superseded,
        format!(
            "somebody else has written the type {object_type:?} since: the ledger in the database holds a newer lease \
             than this state"
        ),
    )
}

/// Digits only, so that it can stand in a statement.
fn encode_key(key: &Key) -> String {
    let mut digits = String::new();
    digits.extend(key.encode().iter().map(|byte| format!("{byte:02x}")));
    digits
}

fn decode_key(digits: &str) -> Result<Key, Failure> {
    let key = unhex(digits.trim()).and_then(|bytes| Key::decode(&bytes).ok());
    key.ok_or_else(|| Failure::new(Class::Bug, format!("{OPERATIONS} holds a key that Muster did not write")))
}

#[cfg(test)]
mod tests {
    use muster_model::Value;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn ids_are_ordered_by_their_moments() {
        let early = OperationId(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_700_000_000, 0)));
        let late = OperationId(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_700_000_000, 2_000_000)));
        assert_eq!(milliseconds(early), 1_700_000_000_000);
        assert_eq!(milliseconds(late), 1_700_000_000_002);
        let between = smallest_id(1_700_000_000_001);
        assert!(early.0.to_string() < between && between < late.0.to_string());
        assert!(smallest_id(0) <= early.0.to_string());
    }

    #[test]
    fn keys_stand_in_statements_as_digits() {
        let key = Key(vec![Value::text("'; DROP TABLE x; --"), Value::Integer(-7)]);
        let digits = encode_key(&key);
        assert!(digits.chars().all(|digit| digit.is_ascii_hexdigit()));
        assert_eq!(decode_key(&digits).unwrap(), key);
        assert!(decode_key("zz").is_err());
    }
}
