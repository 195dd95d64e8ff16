//! The log that transactions are written to first: waited for, and moved into the state, without the connection that
//! writes.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::{Doing as _, open};
use crate::error::StoreError;

/// After so many operations the log is moved into the state. The connection that writes moves what is left, and with
/// it all that small batches leave there.
const MOVED_AFTER: usize = 10_000;

/// What was committed unsynced is in the file beside the state, or was moved from there into the state by a checkpoint,
/// which syncs both. So whoever waits for the log's content to reach the disk has waited for all of it, by whichever
/// handle. Source: SQLite documentation, "Write-Ahead Logging" and PRAGMA synchronous; the log's own header is synced
/// by SQLite when it is written.
#[derive(Debug)]
pub(super) struct Log {
    state: PathBuf,
    /// Open as long as this is: a handle that is opened after an error is not told of it.
    file: Arc<File>,
    asked: AtomicU64,
    /// Who asked before this number has been answered.
    answered: Mutex<u64>,
    /// The disk refused something once. What became of the rest nobody can know.
    failed: Arc<AtomicBool>,
    noted: AtomicUsize,
    moving: Mutex<JoinSet<()>>,
}

impl Log {
    /// The log of a state that is open.
    pub(super) fn open(state: &Path) -> Result<Self, StoreError> {
        let path = open::log_of(state);
        let file = OpenOptions::new().write(true).open(&path).map_err(|error| open::opening(&path, error))?;
        Ok(Self {
            state: state.to_owned(),
            file: Arc::new(file),
            asked: AtomicU64::new(0),
            answered: Mutex::new(0),
            failed: Arc::default(),
            noted: AtomicUsize::new(0),
            moving: Mutex::default(),
        })
    }

    /// Waits until all that was committed before is on disk. Those who ask meanwhile are answered together.
    ///
    /// # Errors
    /// The disk failed, now or earlier: the state has to be opened anew.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answered = self.answered.lock().await;
        if self.failed.load(Ordering::SeqCst) {
            let problem = "the disk failed before; start Muster anew once it is sound";
            return Err(sqlx::Error::Io(std::io::Error::other(problem))).doing(WRITTEN);
        }
        if number < *answered {
            return Ok(());
        }
        let asked = self.asked.load(Ordering::SeqCst);
        let file = Arc::clone(&self.file);
        let synced = tokio::task::spawn_blocking(move || refuse_removed(&file).and_then(|()| file.sync_data())).await;
        let synced = synced.map_err(std::io::Error::other).flatten();
        self.failed.fetch_or(synced.is_err(), Ordering::SeqCst);
        synced.map_err(sqlx::Error::Io).doing(WRITTEN)?;
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
            let (state, failed) = (self.state.clone(), Arc::clone(&self.failed));
            moving.spawn(async move {
                // Whatever else keeps it from being moved keeps the connection that writes from it too, which says so.
                let moved = checkpoint(&state).await;
                failed.fetch_or(moved.as_ref().is_err_and(is_disks), Ordering::SeqCst);
            });
        }
    }

    /// Waits until nothing is being moved.
    pub(super) async fn at_rest(&self) {
        while self.moving.lock().await.join_next().await.is_some() {}
    }
}

const WRITTEN: &str = "written to disk";

async fn checkpoint(state: &Path) -> Result<(), sqlx::Error> {
    let mut connection: SqliteConnection = open::options(state).pragma("cache_size", "-100").connect().await?;
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await?;
    connection.close().await
}

/// Whether the disk failed (SQLITE_IOERR with its extended forms).
fn is_disks(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.parse::<u32>().is_ok_and(|code| code & 0xff == 10))
}

/// What is written to a file that has no name any more is gone with the process.
#[cfg(unix)]
fn refuse_removed(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    match file.metadata()?.nlink() {
        0 => Err(std::io::Error::other(
            "somebody removed the state's log, the file beside it that ends with -wal; start Muster anew",
        )),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn refuse_removed(_file: &File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opened() -> (tempfile::TempDir, PathBuf, SqliteConnection, Log) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let writer = open::open(&path, 0).await.unwrap();
        let log = Log::open(&path).unwrap();
        (folder, path, writer, log)
    }

    #[tokio::test]
    async fn whoever_asks_is_answered_once_what_was_written_before_is_on_disk() {
        let (_folder, _, _writer, log) = opened().await;
        // While the first waits, others ask, and one wait answers them all.
        let held = log.answered.lock().await;
        let (first, second, third, ()) = tokio::join!(log.flush(), log.flush(), log.flush(), async { drop(held) });
        first.and(second).and(third).unwrap();
        assert_eq!(*log.answered.lock().await, 3);
    }

    #[tokio::test]
    async fn a_disk_that_failed_once_is_not_believed_again() {
        let (folder, path, _writer, log) = opened().await;
        std::fs::rename(open::log_of(&path), folder.path().join("aside")).unwrap();
        log.flush().await.unwrap();
        std::fs::remove_file(folder.path().join("aside")).unwrap();
        for problem in ["somebody removed", "failed before"] {
            let error = log.flush().await.unwrap_err();
            assert!(format!("{error:?}").contains(problem), "{error:?}");
        }
        assert_eq!(*log.answered.lock().await, 1, "only the first was answered");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_state_behind_a_link_has_its_log_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("state.db"), folder.path().join("link.db"));
        drop(open::open(&file, 0).await.unwrap());
        std::os::unix::fs::symlink(&file, &link).unwrap();
        // What lies beside the link is nobody's log.
        std::fs::write(open::beside(&link, "-wal"), "").unwrap();
        let _writer = open::open(&link, 0).await.unwrap();
        assert_eq!(open::log_of(&link), open::log_of(&file));
        Log::open(&link).unwrap().flush().await.unwrap();
    }

    #[tokio::test]
    async fn many_operations_move_the_log_into_the_state() {
        let (_folder, path, mut writer, log) = opened().await;
        let length = || std::fs::metadata(&path).unwrap().len();
        let before = length();
        sqlx::raw_sql("CREATE TABLE filler (bytes BLOB); INSERT INTO filler VALUES (zeroblob(1000000))")
            .execute(&mut writer)
            .await
            .unwrap();
        log.note(MOVED_AFTER - 1);
        log.at_rest().await;
        assert_eq!(length(), before, "a few are left where they are");
        log.note(1);
        log.at_rest().await;
        assert!(length() > before + 1_000_000);
        assert_eq!(log.noted.load(Ordering::Relaxed), 0);
    }
}
