//! The log that transactions are written to first: waited for, and moved into the state, without the connection that
//! writes.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::{Doing as _, open};
use crate::error::StoreError;

/// After so many operations the log is moved into the state. The connection that writes moves what is left, and with
/// it all that small batches leave there.
const MOVED_AFTER: usize = 10_000;

/// What was committed unsynced is in the file beside the state, or was moved from there into the state by a checkpoint, which
/// syncs both. So whoever waits for the log's content to reach the disk has waited for all of it, by whichever handle.
/// Source: SQLite documentation, "Write-Ahead Logging" and PRAGMA synchronous; the log's own header is synced
/// by SQLite when it is written.
#[derive(Debug)]
pub(super) struct Log {
    state: PathBuf,
    asked: AtomicU64,
    /// Who asked before this number has been answered.
    answered: Mutex<u64>,
    noted: AtomicUsize,
    moving: Mutex<JoinSet<()>>,
}

impl Log {
    pub(super) fn new(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            asked: AtomicU64::new(0),
            answered: Mutex::new(0),
            noted: AtomicUsize::new(0),
            moving: Mutex::default(),
        }
    }

    /// Waits until all that was committed before is on disk. Those who ask meanwhile are answered together.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answered = self.answered.lock().await;
        if number < *answered {
            return Ok(());
        }
        let asked = self.asked.load(Ordering::SeqCst);
        let log = open::log_of(&self.state);
        let synced = tokio::task::spawn_blocking(move || OpenOptions::new().write(true).open(log)?.sync_data()).await;
        let synced = synced.map_err(std::io::Error::other).flatten();
        synced.map_err(sqlx::Error::Io).doing("written to disk")?;
        *answered = asked;
        Ok(())
    }

    /// Notes that operations were recorded, and has the log moved into the state when they are many.
    pub(super) fn note(&self, operations: usize) {
        if self.noted.fetch_add(operations, Ordering::Relaxed) + operations < MOVED_AFTER {
            return;
        }
        let Ok(mut moving) = self.moving.try_lock() else { return };
        while moving.try_join_next().is_some() {}
        if moving.is_empty() {
            self.noted.store(0, Ordering::Relaxed);
            let state = self.state.clone();
            moving.spawn(async move {
                // What keeps it from being moved now keeps the connection that writes from it too, which says so.
                checkpoint(&state).await.ok();
            });
        }
    }

    /// Waits until nothing is being moved.
    pub(super) async fn at_rest(&self) {
        while self.moving.lock().await.join_next().await.is_some() {}
    }
}

async fn checkpoint(state: &Path) -> Result<(), sqlx::Error> {
    let mut connection: SqliteConnection = open::options(state).pragma("cache_size", "-100").connect().await?;
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await?;
    connection.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asks_is_answered_once_what_was_written_before_is_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(&folder.path().join("state.db"));
        let file = open::log_of(&log.state);
        std::fs::write(&file, "").unwrap();
        // While the first waits, others ask, and one wait answers them all.
        let held = log.answered.lock().await;
        let (first, second, third, ()) = tokio::join!(log.flush(), log.flush(), log.flush(), async { drop(held) });
        first.and(second).and(third).unwrap();
        assert_eq!(*log.answered.lock().await, 3);
        std::fs::remove_file(&file).unwrap();
        assert!(log.flush().await.is_err(), "nothing was waited for");
        assert_eq!(*log.answered.lock().await, 3);
    }

    #[tokio::test]
    async fn many_operations_move_the_log_into_the_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let mut writer = open::open(&path, 0).await.unwrap();
        let length = || std::fs::metadata(&path).unwrap().len();
        let before = length();
        sqlx::raw_sql("CREATE TABLE filler (bytes BLOB); INSERT INTO filler VALUES (zeroblob(1000000))")
            .execute(&mut writer)
            .await
            .unwrap();
        let log = Log::new(&path);
        log.note(MOVED_AFTER - 1);
        log.at_rest().await;
        assert_eq!(length(), before, "a few are left where they are");
        log.note(1);
        log.at_rest().await;
        assert!(length() > before + 1_000_000);
        assert_eq!(log.noted.load(Ordering::Relaxed), 0);
    }
}
