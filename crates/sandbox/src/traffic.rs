//! What clients asked for, and what they should not have done.

use std::collections::{BTreeMap, HashMap};

/// Enough for every kind of path; a client that invents paths must not fill the memory.
const MOST_PATHS: usize = 1_000;
const MOST_VIOLATIONS: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct Traffic {
    requests: BTreeMap<String, u64>,
    closed_until: HashMap<String, u64>,
    violations: Vec<String>,
}

impl Traffic {
    /// Counts a request and notes a violation when its path is still throttled. Requests made while throttled
    /// count all the same (Microsoft Graph: throttling guidance).
    pub(crate) fn record(&mut self, method: &str, path: &str, now_millis: u64) {
        if let Some(&until) = self.closed_until.get(path)
            && now_millis < until
        {
            let early = until - now_millis;
            self.violate(format!("{method} {path} came {early} ms before its Retry-After had passed"));
        }
        if self.requests.len() < MOST_PATHS || self.requests.contains_key(path) {
            *self.requests.entry(path.to_owned()).or_default() += 1;
        }
    }

    pub(crate) fn close(&mut self, path: &str, until_millis: u64) {
        if self.closed_until.len() < MOST_PATHS || self.closed_until.contains_key(path) {
            self.closed_until.insert(path.to_owned(), until_millis);
        }
    }

    pub(crate) fn violate(&mut self, what: String) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(what);
        }
    }

    pub(crate) fn requests(&self) -> BTreeMap<String, u64> {
        self.requests.clone()
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.clone()
    }
}
