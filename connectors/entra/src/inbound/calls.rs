//! The uploads of the last 24 hours, remembered in a small file.
//!
//! A call is written down, durably, before it leaves: a kill at any moment leaves one counted too many, never one too
//! few. One process at a time runs syncs, so the file has one writer.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use muster_connector::Error;
use tokio::sync::Mutex;

use super::limiter::{Noted, Wait};
use crate::error::setting;

/// A file that is longer is not ours.
const LONGEST_FILE: u64 = 1 << 20;

const SETTING: &str = "inbound.calls_file";

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct Calls {
    file: PathBuf,
    pub(super) quota: u32,
    /// Read when it is first needed.
    noted: Mutex<Option<Known>>,
    under_way: UnderWay,
}

#[derive(Debug, Clone)]
struct Known {
    noted: Noted,
    /// What was wrong with the file, for `check`.
    damage: Option<String>,
}

/// How much of the quota is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) used: u32,
    pub(super) damage: Option<String>,
}

/// Calls that left from here and wait for their answer.
type UnderWay = Arc<std::sync::Mutex<Vec<i64>>>;

/// A call that was noted and may leave. It is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Sent {
    at: i64,
    under_way: UnderWay,
}

impl Drop for Sent {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = under_way.iter().position(|at| *at == self.at) {
            under_way.swap_remove(place);
        }
    }
}

impl Calls {
    pub(super) fn new(file: PathBuf, quota: u32) -> Self {
        Self { file, quota, noted: Mutex::new(None), under_way: UnderWay::default() }
    }

    /// Notes a call that is about to leave, or says how long none may: the inner error.
    pub(super) async fn take(&self, now: DateTime<Utc>) -> Result<Result<Sent, Wait>, Error> {
        let now = now.timestamp_millis();
        let mut guard = self.noted.lock().await;
        let mut known = self.known(&mut guard, now).await?;
        match known.noted.take(self.quota, now) {
            Ok(()) => {
                self.write(&known.noted).await?;
                known.damage = None;
                *guard = Some(known);
                self.under_way.lock().unwrap_or_else(PoisonError::into_inner).push(now);
                Ok(Ok(Sent { at: now, under_way: Arc::clone(&self.under_way) }))
            }
            Err(wait) => Ok(Err(wait)),
        }
    }

    /// A noted call has had a clear answer. If that does not reach the disk, later uploads are doubted for nothing.
    pub(super) async fn settle(&self, sent: &Sent) {
        if let Some(known) = self.noted.lock().await.as_mut() {
            known.noted.settle(sent.at);
            if let Err(error) = self.write(&known.noted).await {
                tracing::warn!(%error, "that an upload was answered is not noted");
            }
        }
    }

    /// Nobody calls before `pause` has passed, after a restart neither.
    pub(super) async fn close(&self, now: DateTime<Utc>, pause: Duration) {
        if let Some(known) = self.noted.lock().await.as_mut() {
            known.noted.close(now.timestamp_millis(), pause);
            if let Err(error) = self.write(&known.noted).await {
                tracing::warn!(%error, "how long Entra asked to wait is not noted");
            }
        }
    }

    /// Whether an answer before this call was lost not long ago.
    pub(super) async fn in_doubt(&self, sent: &Sent) -> bool {
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.noted.lock().await.as_ref().is_some_and(|known| known.noted.in_doubt(sent.at, &under_way))
    }

    pub(super) async fn usage(&self, now: DateTime<Utc>) -> Result<Usage, Error> {
        let now = now.timestamp_millis();
        let mut guard = self.noted.lock().await;
        let known = self.known(&mut guard, now).await?;
        let usage = Usage { used: known.noted.used(now), damage: known.damage.clone() };
        *guard = Some(known);
        Ok(usage)
    }

    /// Whether the file can be written, which leaves it as it is.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        let beside = beside(&self.file, "probe");
        let probed = run(move || {
            File::create(&beside)?;
            fs::remove_file(&beside)
        });
        probed.await.map_err(|error| self.unwritable(&error))
    }

    async fn known(&self, guard: &mut Option<Known>, now: i64) -> Result<Known, Error> {
        if let Some(known) = guard {
            return Ok(known.clone());
        }
        let file = self.file.clone();
        let read = run(move || read(&file)).await;
        let noted = match read {
            Ok(None) => Ok(Noted::default()),
            Ok(Some(text)) => serde_json::from_slice(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error.to_string()),
            Err(error) => {
                let fix = "let Muster's user read it, or name another file";
                return Err(setting(SETTING, format!("{} cannot be read: {error}", self.file.display()), fix));
            }
        };
        let known = match noted {
            Ok(noted) => Known { noted, damage: None },
            Err(problem) => {
                let damage = format!("{} is damaged ({problem})", self.file.display());
                tracing::warn!(
                    damage,
                    "how many uploads were made today is not known; a tenth of the quota is used until tomorrow"
                );
                Known { noted: Noted::guessed(self.quota - self.quota / 10, now), damage: Some(damage) }
            }
        };
        *guard = Some(known.clone());
        Ok(known)
    }

    /// Replaces the file as a whole and waits until the disk has it.
    async fn write(&self, noted: &Noted) -> Result<(), Error> {
        let text = serde_json::to_vec(noted).map_err(|error| Error::Bug(error.to_string()))?;
        let (file, new) = (self.file.clone(), beside(&self.file, "new"));
        let written = run(move || {
            let mut output = File::create(&new)?;
            output.write_all(&text)?;
            output.sync_all()?;
            fs::rename(&new, &file)?;
            sync_folder(&file)
        });
        written.await.map_err(|error| self.unwritable(&error))
    }

    fn unwritable(&self, error: &io::Error) -> Error {
        setting(
            SETTING,
            format!("{} cannot be written: {error}; without it the day's quota cannot be kept", self.file.display()),
            "name a file in a folder that Muster's user may write, such as the one that holds the state",
        )
    }
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(file) {
        Ok(found) if found.len() > LONGEST_FILE => Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long")),
        Ok(_) => fs::read(file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// A rename is durable only with its folder; where folders cannot be opened the system sees to it itself.
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(calls.take(at(second)).await.unwrap().is_ok());
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
        calls.take(at(0)).await.unwrap().unwrap();
        calls.close(at(0), Duration::from_secs(3_600)).await;
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
        let calls = Calls::new(file, 10);
        let third = calls.take(at(3)).await.unwrap().unwrap();
        assert!(calls.in_doubt(&third).await);
    }

    #[tokio::test]
    async fn a_damaged_file_is_told_and_used_carefully() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.json");
        for damage in ["", "{\"buckets\":", "[1]", "{\"buckets\":{},\"recent\":[],\"open\":[],\"more\":1}"] {
            fs::write(&file, damage).unwrap();
            let calls = Calls::new(file.clone(), 2_000);
            let usage = calls.usage(at(0)).await.unwrap();
            assert_eq!(usage.used, 1_800);
            assert!(usage.damage.unwrap().contains("calls.json is damaged"));
            assert!(calls.take(at(0)).await.unwrap().is_ok());
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
