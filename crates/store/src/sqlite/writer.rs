//! The one connection that writes, and which of its transactions are on disk when they end.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, MutexGuard};

use super::{Doing as _, open};
use crate::error::StoreError;

/// A transaction that is not synced is there for everybody at once, survives the end of the process, and reaches the
/// disk with the next one that is synced and writes something, or when the log is flushed; a power failure before then
/// takes the state back to an earlier transaction's end. That does no harm where what was recorded is found out again
/// from there: pages are read again, evaluations made again, and outcomes asked for, since the note of the batch that
/// they belong to was flushed before it left.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Held beside the connection by whoever is not urgent, so that one of them at most stands before who is.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct Connection {
    connection: SqliteConnection,
    syncs: bool,
}

impl Writer {
    /// A connection that syncs.
    pub(super) fn new(path: PathBuf, connection: SqliteConnection) -> Self {
        Self { path, connection: Mutex::new(Connection { connection, syncs: true }), turn: Mutex::default() }
    }

    pub(super) fn into_connection(self) -> SqliteConnection {
        self.connection.into_inner().connection
    }

    /// For what the target waits for, and what must come before that: ahead of all who wait, but for one at most.
    pub(super) async fn urgent(&self, syncs: bool) -> Result<Borrowed<'_>, StoreError> {
        self.borrow(None, syncs).await
    }

    /// For what must be on disk, with everything before it, when the transaction has ended.
    pub(super) async fn synced(&self) -> Result<Borrowed<'_>, StoreError> {
        self.borrow(Some(self.turn.lock().await), true).await
    }

    /// For what is found out again after a power failure.
    pub(super) async fn unsynced(&self) -> Result<Borrowed<'_>, StoreError> {
        self.borrow(Some(self.turn.lock().await), false).await
    }

    /// How the last transaction ended: 1 unsynced, 2 synced (SQLite documentation, PRAGMA synchronous).
    #[cfg(test)]
    pub(super) async fn last(&self) -> i64 {
        let mut guard = self.connection.lock().await;
        sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut guard.connection).await.unwrap()
    }

    async fn borrow<'a>(&'a self, turn: Option<MutexGuard<'a, ()>>, syncs: bool) -> Result<Borrowed<'a>, StoreError> {
        let mut guard = self.connection.lock().await;
        if guard.connection.is_in_transaction() {
            // Perhaps a rollback is on its way.
            guard.connection.ping().await.doing("reached")?;
        }
        if guard.connection.is_in_transaction() {
            // A full disk made SQLite undo a transaction by itself, and the driver waits for its end for ever.
            guard.connection = open::options(&self.path).connect().await.doing("opened again")?;
            guard.syncs = true;
        }
        if guard.syncs != syncs {
            // Also where this is given up halfway.
            guard.syncs = false;
            let statement = if syncs { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
            sqlx::query(statement).execute(&mut guard.connection).await.doing("told when to sync")?;
            guard.syncs = syncs;
        }
        Ok(Borrowed { connection: guard, _turn: turn })
    }
}

/// The connection, for as long as nobody else may write.
pub(super) struct Borrowed<'a> {
    // Given back first, to whoever is urgent.
    connection: MutexGuard<'a, Connection>,
    _turn: Option<MutexGuard<'a, ()>>,
}

impl Deref for Borrowed<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection.connection
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection.connection
    }
}
