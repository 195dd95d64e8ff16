//! How the service stands, for whoever asks: `/health`, `/metrics`, the supervisor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_engine::{Clock, Observer, Report};
use muster_store::SyncCounts;

/// How the service stands.
pub(crate) struct Board {
    inner: Mutex<Standing>,
    clock: Arc<dyn Clock>,
    /// A sync that fails longer than this, in milliseconds, makes the service unhealthy.
    pub(crate) unhealthy_after: i64,
}

/// All that is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    pub(crate) started: i64,
    /// Why the state cannot be written.
    pub(crate) state: Option<String>,
    pub(crate) syncs: BTreeMap<String, SyncStanding>,
    /// By connection: pages and objects read.
    pub(crate) read: BTreeMap<String, (u64, u64)>,
}

/// How a sync stands. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default)]
pub(crate) struct SyncStanding {
    pub(crate) last_success: Option<i64>,
    pub(crate) failing: Option<Failing>,
    pub(crate) paused: Option<String>,
    pub(crate) is_running: bool,
    pub(crate) counts: SyncCounts,
    /// Cycles that ended well, failed, and were stopped.
    pub(crate) cycles: [u64; 3],
    pub(crate) seconds: f64,
    /// Operations by kind.
    pub(crate) operations: BTreeMap<&'static str, u64>,
}

/// A failure that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failing {
    pub(crate) since: i64,
    pub(crate) class: &'static str,
    /// What to do; no personal values.
    pub(crate) problem: String,
}

impl Board {
    pub(crate) fn new(clock: Arc<dyn Clock>, unhealthy_after: i64) -> Self {
        let inner = Standing { started: clock.now(), ..Standing::default() };
        Self { inner: Mutex::new(inner), clock, unhealthy_after }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Standing> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Changes what is known of a sync.
    pub(crate) fn update(&self, sync: &str, change: impl FnOnce(&mut SyncStanding)) {
        change(self.lock().syncs.entry(sync.to_owned()).or_default());
    }
}

/// Follows a cycle for the board.
pub(crate) struct Follower {
    pub(crate) board: Arc<Board>,
    pub(crate) sync: String,
    pub(crate) source: String,
}

impl Observer for Follower {
    fn read(&self, objects: u64) {
        let mut board = self.board.lock();
        let (pages, read) = board.read.entry(self.source.clone()).or_default();
        *pages += 1;
        *read += objects;
    }

    fn ended(&self, report: &Report) {
        self.board.update(&self.sync, |sync| {
            sync.seconds += report.seconds;
            for (kind, number) in kinds(report) {
                *sync.operations.entry(kind).or_default() += number;
            }
        });
    }
}

/// What a report says was done, by kind.
fn kinds(report: &Report) -> [(&'static str, u64); 8] {
    [
        ("create", report.created),
        ("adopt", report.adopted),
        ("update", report.updated),
        ("enable", report.enabled),
        ("disable", report.disabled),
        ("delete", report.deleted),
        ("add_value", report.values_added),
        ("remove_value", report.values_removed),
    ]
}
