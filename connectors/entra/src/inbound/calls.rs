//! The uploads of the last 24 hours, remembered in a small file.
//!
//! A call is written down, durably, before it leaves: a kill at any moment leaves one counted too many, never one too
//! few. One process at a time runs syncs, and within it all connections that name the same file share what is known.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, PoisonError, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use muster_connector::Error;
use tokio::sync::Mutex;

use super::disk::Disk;
use super::limiter::{Noted, Wait};
use crate::error::setting;

const SETTING: &str = "inbound.calls_file";

/// The files in use. A configuration that is read again makes a connection anew while the former one still sends.
static OPEN: LazyLock<std::sync::Mutex<HashMap<PathBuf, Weak<Book>>>> = LazyLock::new(Default::default);

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) quota: u32,
    book: Arc<Book>,
}

/// One file and what is known of it.
#[derive(Debug)]
struct Book {
    disk: Disk,
    /// Read when it is first needed.
    known: Mutex<Option<Known>>,
    under_way: std::sync::Mutex<Vec<i64>>,
}

#[derive(Debug, Clone)]
struct Known {
    noted: Noted,
    /// What was wrong with the file, for `check`.
    damage: Option<String>,
    /// Numbers what is written; zero while nothing was.
    version: u64,
}

/// How much of the quota is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) used: u32,
    pub(super) damage: Option<String>,
}

/// A call that was noted and may leave. It is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Sent {
    at: i64,
    book: Arc<Book>,
}

impl Drop for Sent {
    fn drop(&mut self) {
        let mut under_way = self.book.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = under_way.iter().position(|at| *at == self.at) {
            under_way.swap_remove(place);
        }
    }
}

/// Whoever ends in order says so, and the next process need not doubt what this one did last.
impl Drop for Book {
    fn drop(&mut self) {
        let Some(known) = self.known.get_mut().take().filter(|known| known.version > 0) else { return };
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have opened the file anew since the last one let go of this.
        if open.get(self.disk.path()).is_some_and(|other| other.strong_count() > 0) {
            return;
        }
        open.remove(self.disk.path());
        let noted = known.noted.ended();
        if let Ok(text) = serde_json::to_vec(&noted)
            && let Err(error) = self.disk.write_now(known.version + 1, &text)
        {
            tracing::warn!(%error, "the end of the last upload is not noted");
        }
    }
}

impl Calls {
    pub(super) fn new(file: PathBuf, quota: u32) -> Self {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let book = open.get(&file).and_then(Weak::upgrade).unwrap_or_else(|| {
            let book = Arc::new(Book {
                disk: Disk::new(file.clone()),
                known: Mutex::new(None),
                under_way: std::sync::Mutex::default(),
            });
            open.insert(file, Arc::downgrade(&book));
            book
        });
        drop(open);
        Self { quota, book }
    }

    /// Notes a call that is about to leave, or says how long none may: the inner error.
    pub(super) async fn take(&self, now: DateTime<Utc>) -> Result<Result<Sent, Wait>, Error> {
        let now = now.timestamp_millis();
        let mut guard = self.book.known.lock().await;
        let mut known = self.known(&mut guard, now).await?;
        match known.noted.take(self.quota, now) {
            Ok(()) => {
                self.write(&mut known).await?;
                known.damage = None;
                *guard = Some(known);
                self.book.under_way.lock().unwrap_or_else(PoisonError::into_inner).push(now);
                Ok(Ok(Sent { at: now, book: Arc::clone(&self.book) }))
            }
            Err(wait) => Ok(Err(wait)),
        }
    }

    /// A noted call has had a clear answer. If that does not reach the disk, later uploads are doubted for nothing.
    pub(super) async fn settle(&self, sent: &Sent) {
        self.change("that an upload was answered", |noted| noted.settle(sent.at)).await;
    }

    /// Nobody calls before `pause` has passed, after a restart neither.
    pub(super) async fn close(&self, now: DateTime<Utc>, pause: Duration) {
        self.change("how long Entra asked to wait", |noted| noted.close(now.timestamp_millis(), pause)).await;
    }

    /// Whether an answer before this call was lost not long ago.
    pub(super) async fn in_doubt(&self, sent: &Sent) -> bool {
        let under_way = self.book.under_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.book.known.lock().await.as_ref().is_some_and(|known| known.noted.in_doubt(sent.at, &under_way))
    }

    pub(super) async fn usage(&self, now: DateTime<Utc>) -> Result<Usage, Error> {
        let now = now.timestamp_millis();
        let mut guard = self.book.known.lock().await;
        let known = self.known(&mut guard, now).await?;
        Ok(Usage { used: known.noted.used(now), damage: known.damage })
    }

    /// Whether the file can be written, which leaves it as it is.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        self.book.disk.probe().await.map_err(|error| self.unwritable(&error))
    }

    /// What is known, from the file the first time.
    async fn known(&self, guard: &mut Option<Known>, now: i64) -> Result<Known, Error> {
        if let Some(known) = guard {
            return Ok(known.clone());
        }
        let file = self.book.disk.path().display();
        let noted = match self.book.disk.read().await {
            Ok(None) => Ok(Noted::default()),
            Ok(Some(text)) => serde_json::from_slice::<Noted>(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(error.to_string()),
            Err(error) => {
                let fix = "let Muster's user read it, or name another file";
                return Err(setting(SETTING, format!("{file} cannot be read: {error}"), fix));
            }
        };
        let known = match noted {
            Ok(noted) => Known { noted: noted.taken_over(), damage: None, version: 0 },
            Err(problem) => {
                let damage = format!("{file} is damaged ({problem})");
                tracing::warn!(
                    damage,
                    "how many uploads were made today is not known; a tenth of the quota is used until tomorrow"
                );
                let noted = Noted::guessed(self.quota - self.quota / 10, now);
                Known { noted, damage: Some(damage), version: 0 }
            }
        };
        *guard = Some(known.clone());
        Ok(known)
    }

    /// Changes what is known; a disk that fails costs time later, and no call its count.
    async fn change(&self, what: &str, change: impl FnOnce(&mut Noted)) {
        if let Some(known) = self.book.known.lock().await.as_mut() {
            change(&mut known.noted);
            if let Err(error) = self.write(known).await {
                tracing::warn!(%error, "{what} is not noted");
            }
        }
    }

    async fn write(&self, known: &mut Known) -> Result<(), Error> {
        let text = serde_json::to_vec(&known.noted).map_err(|error| Error::Bug(error.to_string()))?;
        known.version += 1;
        self.book.disk.write(known.version, text).await.map_err(|error| self.unwritable(&error))
    }

    fn unwritable(&self, error: &std::io::Error) -> Error {
        let file = self.book.disk.path().display();
        setting(
            SETTING,
            format!("{file} cannot be written: {error}; without it the day's quota cannot be kept"),
            "name a file in a folder that Muster's user may write, such as the one that holds the state",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Ends as a process that is killed does: nothing more is written.
    fn kill(calls: Calls) {
        OPEN.lock().unwrap().remove(calls.book.disk.path());
        std::mem::forget(calls);
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[tokio::test]
    async fn a_restart_forgets_no_call() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.json");
        for second in 0..3 {
            // A new process each time, and no answer ever noted: killed while the call was under way.
            let calls = Calls::new(file.clone(), 3);
            std::mem::forget(calls.take(at(second)).await.unwrap().unwrap());
            kill(calls);
        }
        let calls = Calls::new(file.clone(), 3);
        assert_eq!(calls.usage(at(3)).await.unwrap().used, 3);
        let Err(Wait::UsedUp(wait)) = calls.take(at(3)).await.unwrap() else { panic!("the quota is used up") };
        assert!(wait >= Duration::from_secs(86_400 - 3), "{wait:?}");
        assert!(calls.take(at(86_400 + 600)).await.unwrap().is_ok(), "a day later");
    }

    #[tokio::test]
    async fn a_pause_that_entra_asked_for_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.json");
        let calls = Calls::new(file.clone(), 10);
        drop(calls.take(at(0)).await.unwrap().unwrap());
        calls.close(at(0), Duration::from_secs(3_600)).await;
        kill(calls);
        let calls = Calls::new(file, 10);
        assert_eq!(calls.take(at(60)).await.unwrap().unwrap_err(), Wait::Closed(Duration::from_secs(3_540)));
    }

    #[tokio::test]
    async fn a_call_without_an_answer_casts_doubt_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.json");
        let calls = Calls::new(file.clone(), 10);
        let answered = calls.take(at(0)).await.unwrap().unwrap();
        calls.settle(&answered).await;
        let first = calls.take(at(1)).await.unwrap().unwrap();
        let second = calls.take(at(2)).await.unwrap().unwrap();
        assert!(!calls.in_doubt(&second).await, "the first is under way, and the other answered");
        drop(first);
        assert!(calls.in_doubt(&second).await, "given up");
        drop(second);
        drop(calls);
        let calls = Calls::new(file, 10);
        let third = calls.take(at(3)).await.unwrap().unwrap();
        assert!(calls.in_doubt(&third).await);
    }

    #[tokio::test]
    async fn what_a_killed_process_did_last_is_doubted_and_after_an_orderly_end_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.json");
        for killed in [false, true] {
            let calls = Calls::new(file.clone(), 10);
            let answered = calls.take(at(0)).await.unwrap().unwrap();
            calls.settle(&answered).await;
            if killed {
                // The answer came, and the host may not have noted it.
                std::mem::forget(answered);
                kill(calls);
            } else {
                drop(answered);
                drop(calls);
            }
            let calls = Calls::new(file.clone(), 10);
            let next = calls.take(at(1)).await.unwrap().unwrap();
            assert_eq!(calls.in_doubt(&next).await, killed);
            calls.settle(&next).await;
        }
    }

    #[tokio::test]
    async fn connections_of_one_process_share_their_count() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.json");
        let (former, latter) = (Calls::new(file.clone(), 2), Calls::new(file.clone(), 2));
        let sent = former.take(at(0)).await.unwrap().unwrap();
        let next = latter.take(at(1)).await.unwrap().unwrap();
        assert!(!latter.in_doubt(&next).await, "the other's call is under way");
        former.settle(&sent).await;
        latter.settle(&next).await;
        drop((former, sent));
        assert!(latter.take(at(2)).await.unwrap().is_err(), "the quota is used up");
        drop((latter, next));
        assert_eq!(Calls::new(file, 2).usage(at(3)).await.unwrap().used, 2);
    }

    #[tokio::test]
    async fn a_damaged_file_is_told_and_used_carefully() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.json");
        for damage in
            ["", "{\"buckets\":", "[1]", "{\"buckets\":{},\"recent\":[],\"open\":[],\"running\":false,\"more\":1}"]
        {
            fs::write(&file, damage).unwrap();
            let calls = Calls::new(file.clone(), 2_000);
            let usage = calls.usage(at(0)).await.unwrap();
            assert_eq!(usage.used, 1_800);
            assert!(usage.damage.unwrap().contains("calls.json is damaged"));
            drop(calls.take(at(0)).await.unwrap().unwrap());
            drop(calls);
            assert_eq!(
                Calls::new(file.clone(), 2_000).usage(at(0)).await.unwrap(),
                Usage { used: 1_801, damage: None }
            );
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_keeps_everything_here() {
        let folder = tempfile::tempdir().unwrap();
        let calls = Calls::new(folder.path().join("no/such/calls.json"), 10);
        for result in [calls.probe().await, calls.take(at(0)).await.map(drop)] {
            let Err(Error::Configuration { setting, .. }) = result else { panic!("it was accepted") };
            assert_eq!(setting.as_deref(), Some(SETTING));
        }
        assert_eq!(calls.usage(at(0)).await.unwrap().used, 0, "nothing left");
    }
}
