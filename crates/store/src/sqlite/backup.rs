//! A copy of the state while it is in use, and the way back from one.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use uuid::Uuid;

use super::open::{self, beside, opening};
use super::{Doing as _, SqliteStore, StateLock};
use crate::error::StoreError;
use crate::store::Store as _;

/// The files that belong to one SQLite database.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where the state that was in place before lies now; none where there was none.
    pub former: Option<PathBuf>,
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn text(path: &Path) -> Result<&str, StoreError> {
    path.to_str().ok_or_else(|| opening(path, "the path is not UTF-8"))
}

impl SqliteStore {
    /// Writes a copy of the state to a file that does not exist yet, readable by its owner only. Cycles may go on.
    ///
    /// # Errors
    /// The file exists, cannot be made, or the disk is full; nothing is left behind then.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let to = std::path::absolute(to).map_err(|error| opening(to, error))?;
        let file = options.open(&to).map_err(|error| opening(&to, error))?;
        let copied = match copy(self.path(), &to).await {
            Ok(()) => file.sync_all().map_err(|error| opening(&to, error)),
            Err(error) => Err(error),
        };
        if copied.is_err() {
            drop(std::fs::remove_file(&to));
        }
        copied
    }

    /// Puts a backup in the place of the state at `path`. The former state is kept beside it. Whoever calls holds
    /// the state's lock.
    ///
    /// The restored state has a new incarnation, so that its epochs are above all that came before, and every sync
    /// reads its linked target objects again before it sends anything.
    ///
    /// # Errors
    /// The backup is foreign, newer or damaged, and nothing was changed; or a file cannot be moved.
    pub async fn restore(path: &Path, from: &Path, now: i64, _held: &StateLock) -> Result<Restored, StoreError> {
        if !from.is_file() {
            return Err(opening(from, "there is no such file"));
        }
        if is_same(from, path) {
            return Err(opening(from, "this is the state itself; name the backup to restore"));
        }
        open::refuse_foreign(from)?;
        let fresh = beside(path, &format!(".{}.restored", std::process::id()));
        clear(&fresh);
        let made = prepare(path, from, &fresh, now).await;
        let placed = match made {
            Ok(()) => place(path, &fresh, now),
            Err(error) => Err(error),
        };
        clear(&fresh);
        placed
    }
}

async fn copy(state: &Path, to: &Path) -> Result<(), StoreError> {
    const ACTION: &str = "copied";
    let target = text(to)?;
    let mut connection = SqliteConnectOptions::new()
        .filename(state)
        .busy_timeout(std::time::Duration::from_secs(10))
        .disable_statement_logging()
        .connect()
        .await
        .doing(ACTION)?;
    sqlx::query("VACUUM INTO ?").bind(target).execute(&mut connection).await.doing(ACTION)?;
    connection.close().await.doing(ACTION)
}

/// A whole, checked copy of the backup under another name, ready to be put in place.
async fn prepare(path: &Path, from: &Path, fresh: &Path, now: i64) -> Result<(), StoreError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| opening(path, error))?;
    }
    // A file that was copied by hand may have its latest changes in a log beside it.
    for part in PARTS {
        let piece = beside(from, part);
        if part != "-shm" && piece.exists() {
            std::fs::copy(&piece, beside(fresh, part)).map_err(|error| opening(&piece, error))?;
        }
    }
    let store = SqliteStore::open(fresh, now).await.map_err(|error| renamed(error, fresh, from))?;
    let verdict = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&store.readers).await.doing("checked")?;
    let verdict: String = verdict.try_get(0).doing("checked")?;
    if verdict != "ok" {
        return Err(StoreError::Damaged { path: from.to_owned(), problem: verdict });
    }
    let facts = store.facts().await?;
    // Above the backup's own, and above that of the state which it replaces, where that can still be read.
    let former = match path.exists() {
        true => match SqliteStore::open(path, now).await {
            Ok(former) => former.facts().await.ok(),
            Err(_) => None,
        },
        false => None,
    };
    let least = former.as_ref().map_or(facts.created_at, |former| former.created_at.max(facts.created_at)) + 1;
    store.renew_incarnation(Uuid::now_v7(), now.max(least)).await?;
    if let Some(former) = former {
        store.raise_clock_mark(former.clock_high_water).await?;
        super::links::reached(&mut *store.writer.synced().await?, former.clock_reached).await?;
    }
    store.require_reconciliation(None).await?;
    store.close().await
}

fn renamed(error: StoreError, fresh: &Path, from: &Path) -> StoreError {
    let right = |path: PathBuf| if path == fresh { from.to_owned() } else { path };
    match error {
        StoreError::Foreign { path, found } => StoreError::Foreign { path: right(path), found },
        StoreError::Newer { path, found, known } => StoreError::Newer { path: right(path), found, known },
        StoreError::Damaged { path, problem } => StoreError::Damaged { path: right(path), problem },
        StoreError::Open { path, source } => StoreError::Open { path: right(path), source },
        other => other,
    }
}

fn place(path: &Path, fresh: &Path, now: i64) -> Result<Restored, StoreError> {
    let mut former = None;
    if path.exists() {
        let aside = unused(path, now / 1_000);
        for part in PARTS {
            let piece = beside(path, part);
            if piece.exists() {
                std::fs::rename(&piece, beside(&aside, part)).map_err(|error| opening(&piece, error))?;
            }
        }
        former = Some(aside);
    }
    std::fs::rename(fresh, path).map_err(|error| opening(path, error))?;
    Ok(Restored { former })
}

/// A name for the former state under which nothing lies yet: what is kept aside once is never replaced.
fn unused(path: &Path, seconds: i64) -> PathBuf {
    let is_free = |name: &PathBuf| PARTS.iter().all(|part| !beside(name, part).exists());
    let first = beside(path, &format!(".before-restore-{seconds}"));
    let others = (2..).map(|number: u32| beside(path, &format!(".before-restore-{seconds}-{number}")));
    std::iter::once(first.clone()).chain(others).find(is_free).unwrap_or(first)
}

fn clear(path: &Path) {
    for part in PARTS {
        drop(std::fs::remove_file(beside(path, part)));
    }
}
