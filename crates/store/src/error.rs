//! Why the state cannot be used.

use std::path::PathBuf;

/// Why the state cannot be used. Never answered by starting from nothing: that would repeat every create.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file belongs to somebody else.
    #[error("{} is not a Muster state (it is {found}); set `state` to another path; if it was one and is damaged, restore it from a backup with `muster state restore`: without it every object would look new", path.display())]
    Foreign {
        /// The configured file.
        path: PathBuf,
        /// What it seems to be.
        found: String,
    },
    /// A later version of Muster wrote it.
    #[error(
        "{} has state format {found}, and this version of Muster knows formats up to {known}; install the version that wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The configured file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// The file is incomplete or damaged.
    #[error(
        "the state {} is damaged ({problem}); restore it from a backup, and do not start without it: every object would look new",
        path.display()
    )]
    Damaged {
        /// The configured file.
        path: PathBuf,
        /// What was noticed.
        problem: String,
    },
    /// The folder or file cannot be made or opened.
    #[error("cannot open the state {}", path.display())]
    Open {
        /// The configured file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + std::marker::Sync>,
    },
    /// Another process runs syncs on this state.
    #[error("syncs already run on this state: {holder}; wait for it to end, or stop it")]
    Held {
        /// Host, process and start as the holder wrote them.
        holder: String,
    },
    /// The state has to be upgraded, and whoever runs syncs on it may not know the new format.
    #[error(
        "an older version of Muster wrote the state, and may still run on it: {holder}; stop it, and start this version \
         in its place"
    )]
    HeldByOlder {
        /// Host, process and start as the holder wrote them.
        holder: String,
    },
    /// A sync's `from` or `to` names another type than it was made for.
    #[error(
        "sync {sync:?} was made for other object types than its `from` and `to` name now; give it another name, \
         so that its links are not taken for those of other objects"
    )]
    OtherTypes {
        /// The sync.
        sync: String,
    },
    /// A statement failed: the disk is full, the file was damaged while in use, or Muster is wrong.
    #[error("the state, which is the file that `state` names in the configuration, cannot be {action}")]
    Database {
        /// What was being done.
        action: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// Stored bytes do not have the form this version writes.
    #[error("the state holds a damaged {what}; restore it from a backup")]
    Record {
        /// Which record.
        what: &'static str,
    },
}
