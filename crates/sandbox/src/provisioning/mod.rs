//! API-driven inbound provisioning: people arrive as bulk requests, wait, and are brought into the directory by a run
//! that keeps a log (Microsoft Entra: API-driven inbound provisioning concepts).
//!
//! `bulk` reads what arrives, `limits` counts calls, `mapping` says which SCIM attribute becomes which property, `run`
//! works through what waits, and `log` is what readers see of it, later still.

pub(crate) mod bulk;
pub(crate) mod limits;
pub(crate) mod log;
mod mapping;
mod run;

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::options::InboundOptions;
use crate::state::Shared;
use bulk::Record;
use limits::Limits;
use log::{Delays, LogEntry};

/// The application that the job belongs to, as the gallery calls it.
pub(crate) const APPLICATION: &str = "API-driven provisioning to Microsoft Entra ID";

/// What the job holds at one time.
#[derive(Debug)]
pub(crate) struct Provisioning {
    /// How long things take; may be changed while the sandbox runs.
    pub(crate) delays: Delays,
    pub(crate) limits: Limits,
    /// Calls that were taken, with the millisecond in which they were, oldest first.
    staged: VecDeque<(u64, Vec<Record>)>,
    /// In the order in which people were worked on; entries that readers do not see yet included.
    entries: Vec<LogEntry>,
    accepted_calls: u64,
    accepted_records: u64,
    runs: u64,
}

impl Provisioning {
    pub(crate) fn new(options: &InboundOptions) -> Self {
        Self {
            delays: Delays { processing: options.processing_seconds, log: options.log_seconds },
            limits: Limits::new(options.calls_per_day),
            staged: VecDeque::new(),
            entries: Vec::new(),
            accepted_calls: 0,
            accepted_records: 0,
            runs: 0,
        }
    }

    pub(crate) fn stage(&mut self, now: u64, records: Vec<Record>) {
        self.accepted_calls += 1;
        self.accepted_records += records.len() as u64;
        self.staged.push_back((now, records));
    }

    /// What the next run works on, and when it does, if that time has come: it begins so long after the first call that
    /// waits, and takes in all that have come by then.
    fn due(&mut self, now: u64) -> Option<(u64, Vec<Record>)> {
        let &(first, _) = self.staged.front()?;
        let begins = first.saturating_add(self.delays.processing.saturating_mul(1_000));
        if now < begins {
            return None;
        }
        let mut records = Vec::new();
        while self.staged.front().is_some_and(|&(accepted, _)| accepted <= begins)
            && let Some((_, more)) = self.staged.pop_front()
        {
            records.extend(more);
        }
        self.runs += 1;
        Some((begins, records))
    }

    /// The entries that readers see by now, oldest first, each with its place.
    pub(crate) fn visible(&self, now: u64) -> impl DoubleEndedIterator<Item = (u64, &LogEntry)> {
        let seen = move |(_, entry): &(u64, &LogEntry)| entry.visible_at <= now;
        self.entries.iter().enumerate().map(|(place, entry)| (place as u64, entry)).filter(seen)
    }

    /// For tests and demonstrations in other processes.
    pub(crate) fn state(&self) -> Value {
        json!({
            "calls": self.accepted_calls,
            "records": self.accepted_records,
            "waiting": self.staged.iter().map(|(_, records)| records.len()).sum::<usize>(),
            "logged": self.entries.len(),
            "runs": self.runs,
            "processingSeconds": self.delays.processing,
            "logSeconds": self.delays.log,
            "violations": self.limits.violations(),
        })
    }
}

/// Does what the job would have done by now. Called before anybody looks, so that it needs no task of its own.
pub(crate) fn catch_up(shared: &Shared) {
    let now = shared.clock.now_millis();
    let mut provisioning = shared.provisioning();
    while let Some((begins, records)) = provisioning.due(now) {
        let run = run::Run { shared, begins, number: provisioning.runs, delays: provisioning.delays };
        let entries = run.work(&mut shared.tenant_mut(), records);
        provisioning.entries.extend(entries);
    }
}
