//! How often the upload and the log may be called, and who called too often.
//!
//! Sources: <https://learn.microsoft.com/graph/api/synchronization-synchronizationjob-post-bulkupload> (40 calls in 5 s;
//! a quota per tenant and 24 hours), <https://learn.microsoft.com/graph/throttling-limits> (5 requests in 10 s to the
//! reports).

use std::collections::VecDeque;

use serde::Serialize;

/// So many operations fit into one upload.
pub(crate) const MOST_OPERATIONS: usize = 50;

const UPLOADS: usize = 40;
const UPLOADS_WITHIN: u64 = 5_000;
const DAY: u64 = 24 * 3_600_000;
const READS: usize = 5;
const READS_WITHIN: u64 = 10_000;

/// What clients did that a careful one does not, counted by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Violations {
    /// Uploads beyond 40 in 5 s.
    pub(crate) rate: u64,
    /// Uploads though the day's quota was used up.
    pub(crate) quota: u64,
    /// Uploads of more than 50 operations.
    pub(crate) oversized: u64,
    /// Requests to the log beyond 5 in 10 s.
    pub(crate) log: u64,
    /// Calls before the `Retry-After` of an earlier answer had passed.
    pub(crate) retry_after: u64,
}

/// Why a call was not let through, and for how many milliseconds none will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excess {
    pub(crate) what: String,
    pub(crate) wait: u64,
}

#[derive(Debug)]
pub(crate) struct Limits {
    per_day: usize,
    /// Calls that were let through.
    day: VecDeque<u64>,
    /// All calls, since those made while throttled count all the same.
    uploads: VecDeque<u64>,
    reads: VecDeque<u64>,
    uploads_closed: u64,
    reads_closed: u64,
    violations: Violations,
}

impl Limits {
    pub(crate) fn new(per_day: u32) -> Self {
        Self {
            per_day: per_day as usize,
            day: VecDeque::new(),
            uploads: VecDeque::new(),
            reads: VecDeque::new(),
            uploads_closed: 0,
            reads_closed: 0,
            violations: Violations::default(),
        }
    }

    pub(crate) fn violations(&self) -> Violations {
        self.violations
    }

    pub(crate) fn oversized(&mut self) {
        self.violations.oversized += 1;
    }

    /// Counts an upload, or says why it may not be.
    pub(crate) fn upload(&mut self, now: u64) -> Result<(), Excess> {
        if now < self.uploads_closed {
            self.violations.retry_after += 1;
        }
        let rate = admit(&mut self.uploads, UPLOADS, UPLOADS_WITHIN, now);
        forget(&mut self.day, DAY, now);
        let excess = if let Some(oldest) = self.day.front().filter(|_| self.day.len() >= self.per_day) {
            self.violations.quota += 1;
            let what = format!("the quota of {} calls in 24 hours is used up", self.per_day);
            Excess { what, wait: oldest + DAY - now }
        } else if let Some(wait) = rate {
            self.violations.rate += 1;
            Excess { what: format!("more than {UPLOADS} calls in 5 seconds"), wait }
        } else {
            self.day.push_back(now);
            return Ok(());
        };
        self.uploads_closed = now + excess.wait;
        Err(excess)
    }

    /// Counts a request to the log, or says why it may not be.
    pub(crate) fn read(&mut self, now: u64) -> Result<(), Excess> {
        if now < self.reads_closed {
            self.violations.retry_after += 1;
        }
        let Some(wait) = admit(&mut self.reads, READS, READS_WITHIN, now) else { return Ok(()) };
        self.violations.log += 1;
        self.reads_closed = now + wait;
        Err(Excess { what: format!("more than {READS} requests in 10 seconds"), wait })
    }
}

/// Counts a call at `now`; beyond `most` within so many milliseconds, how long it takes until one is free.
fn admit(calls: &mut VecDeque<u64>, most: usize, within: u64, now: u64) -> Option<u64> {
    forget(calls, within, now);
    calls.push_back(now);
    // Whoever keeps calling must not fill the memory; the newest calls decide.
    if calls.len() > 2 * most {
        calls.pop_front();
    }
    let over = calls.len().checked_sub(most).filter(|over| *over > 0)?;
    calls.get(over - 1).map(|oldest| (oldest + within).saturating_sub(now).max(1))
}

fn forget(calls: &mut VecDeque<u64>, within: u64, now: u64) {
    while calls.front().is_some_and(|call| call + within <= now) {
        calls.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_calls_in_five_seconds_and_no_more() {
        let mut limits = Limits::new(2_000);
        assert!((0..40).all(|call| limits.upload(1_000 + call).is_ok()));
        assert_eq!(limits.upload(2_000).unwrap_err().wait, 4_000);
        assert_eq!(limits.violations(), Violations { rate: 1, ..Violations::default() });
        assert!(limits.upload(6_001).is_ok());
        assert_eq!(limits.violations(), Violations { rate: 1, ..Violations::default() });
    }

    #[test]
    fn the_quota_comes_back_call_by_call() {
        let mut limits = Limits::new(3);
        for hour in 0..3 {
            assert!(limits.upload(hour * 3_600_000).is_ok());
        }
        let excess = limits.upload(10 * 3_600_000).unwrap_err();
        assert_eq!(excess.wait, 14 * 3_600_000);
        assert!(limits.upload(11 * 3_600_000).is_err());
        let expected = Violations { quota: 2, retry_after: 1, ..Violations::default() };
        assert_eq!(limits.violations(), expected);
        assert!(limits.upload(DAY).is_ok());
        assert!(limits.upload(DAY + 1).is_err(), "only one call was free");
    }

    #[test]
    fn the_log_may_be_read_five_times_in_ten_seconds() {
        let mut limits = Limits::new(1);
        assert!((0..5).all(|_| limits.read(0).is_ok()));
        assert_eq!(limits.read(4_000).unwrap_err().wait, 6_000);
        assert!(limits.read(10_000).is_ok());
        assert_eq!(limits.violations(), Violations { log: 1, ..Violations::default() });
    }
}
