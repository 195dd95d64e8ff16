//! A progress bar on a terminal; nothing elsewhere.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use muster_engine::{CommitPoint, Observer};

/// Follows a cycle on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
    read: AtomicU64,
    evaluated: AtomicU64,
    applied: AtomicU64,
    crash: CrashPoint,
}

impl Progress {
    /// A bar when standard error is a terminal and people are reading.
    pub(crate) fn new(for_people: bool) -> Self {
        let bar = if for_people && std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            ProgressBar::hidden()
        };
        let [read, evaluated, applied] = [const { AtomicU64::new(0) }; 3];
        Self { bar, read, evaluated, applied, crash: CrashPoint::from_environment() }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self) {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.bar.set_message(format!(
            "{} read, {} evaluated, {} written",
            number(&self.read),
            number(&self.evaluated),
            number(&self.applied)
        ));
    }
}

impl Observer for Progress {
    fn passed(&self, point: CommitPoint) {
        self.crash.passed(point);
    }

    fn read(&self, objects: u64) {
        self.read.fetch_add(objects, Ordering::Relaxed);
        self.show();
    }

    fn evaluated(&self, links: u64) {
        self.evaluated.fetch_add(links, Ordering::Relaxed);
        self.show();
    }

    fn applied(&self, operations: u64) {
        self.applied.fetch_add(operations, Ordering::Relaxed);
        self.show();
    }
}

/// Ends the process without warning at the n-th passing of a commit point: `CRASH_MUSTER_AT=batch_answered:2`.
/// Only builds with debug assertions know it; tests prove with it that no moment of a kill does harm.
struct CrashPoint {
    wanted: Option<String>,
    left: AtomicU64,
}

impl CrashPoint {
    fn from_environment() -> Self {
        let setting = if cfg!(debug_assertions) { std::env::var("CRASH_MUSTER_AT").ok() } else { None };
        let parts = setting.as_deref().and_then(|setting| setting.split_once(':'));
        let left = parts.and_then(|(_, count)| count.parse().ok()).unwrap_or(0);
        Self { wanted: parts.map(|(name, _)| name.to_owned()), left: AtomicU64::new(left) }
    }

    fn passed(&self, point: CommitPoint) {
        if self.wanted.as_deref() == Some(point.name()) && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    }
}
