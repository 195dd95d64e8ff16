//! What this process remembers of what it wrote: Graph is many servers, and not all of them know at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// For so long a new object may be unknown to some of Graph's servers.
const SETTLES: Duration = Duration::from_secs(600);

/// More are not remembered at a time.
const MOST: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Memory {
    made: Mutex<HashMap<String, Duration>>,
    writable: Mutex<BTreeSet<String>>,
}

impl Memory {
    /// Notes an object that was made at `now` of the process's own time.
    pub(super) fn note_made(&self, id: &str, now: Duration) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= MOST {
            made.retain(|_, at| now.saturating_sub(*at) < SETTLES);
        }
        if made.len() < MOST {
            made.insert(id.to_owned(), now);
        }
    }

    /// Forgets an object that was deleted.
    pub(super) fn note_gone(&self, id: &str) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Whether "not found" may only mean that the object is new.
    pub(super) fn is_new(&self, id: &str, now: Duration) -> bool {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get(id).is_some_and(|at| now.saturating_sub(*at) < SETTLES)
    }

    /// Notes that the app may write objects of a type.
    pub(super) fn note_writable(&self, object_type: &str) {
        let mut writable = self.writable.lock().unwrap_or_else(PoisonError::into_inner);
        if !writable.contains(object_type) {
            writable.insert(object_type.to_owned());
        }
    }

    /// Whether the app has written an object of the type: what is forbidden then is so because of the object.
    pub(super) fn may_write(&self, object_type: &str) -> bool {
        self.writable.lock().unwrap_or_else(PoisonError::into_inner).contains(object_type)
    }
}
