//! One pass of a sync, from the source's news to the target's outcomes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_connector::Connector;
use muster_model::Key;
use muster_store::{EventRecord, LinkId, Store};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::accepted::Verdict;
use crate::clock::Clock;
use crate::commit::{CommitPoint, Observer};
use crate::error::EngineError;
use crate::import::{Handing, MERGED_TOGETHER};
use crate::matching::LOOKED_FOR;
use crate::pass::{Pass, Progress, joined};
use crate::passwords::{NoReceivers, PasswordReceivers};
use crate::plan::PlanOptions;
use crate::prepare::Prepared;
use crate::quarantine::Window;
use crate::report::Report;
use crate::rules::{Mode, SyncRules};
use crate::stop::Stop;

/// Everything that cycles work with.
pub struct Engine {
    /// The state.
    pub store: Arc<dyn Store>,
    /// The open connections by name.
    pub connections: HashMap<String, Arc<dyn Connector>>,
    /// All configured syncs: those that read the same type share one reading.
    pub syncs: Vec<SyncRules>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who follows.
    pub observer: Arc<dyn Observer>,
    /// Asks running cycles to end.
    pub stop: Stop,
    /// This host's name, for records.
    pub host: String,
    /// Who brings new passwords to their receivers.
    pub passwords: Arc<dyn PasswordReceivers>,
    /// Rung by the import after each page.
    pub(crate) imported: Arc<Notify>,
    /// Entries merged in one transaction.
    pub(crate) merged_together: usize,
    /// So many match values must have been looked for in vain before creates go out without a look.
    pub(crate) blind_after: usize,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").field("connections", &self.connections.keys()).finish_non_exhaustive()
    }
}

/// How to run a cycle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CycleOptions {
    /// Read everything anew.
    pub full: bool,
    /// Read every linked target object again, to find what was changed there by others.
    pub reconcile: bool,
    /// Evaluate only this source object.
    pub only: Option<Key>,
}

/// Tells the evaluation that nothing more will come, however the import ends.
struct Finished {
    done: Arc<AtomicBool>,
    imported: Arc<Notify>,
}

impl Drop for Finished {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        self.imported.notify_one();
    }
}

/// Said while the machine's clock is not believed.
const DOUBTFUL: &str = "this machine's clock is more than 24 hours ahead of the last time that was confirmed; nothing is \
    done for the sake of time alone (start and end dates, due deletions, final removals) until the source's clock confirms it, or \
    `muster resume` does";

/// Links made for a new sync in one transaction.
const FILL: u32 = 10_000;

impl Engine {
    /// An engine over a state and open connections.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        connections: HashMap<String, Arc<dyn Connector>>,
        syncs: Vec<SyncRules>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".to_owned());
        let imported = Arc::new(Notify::new());
        let stop = Stop::default();
        Self {
            store,
            connections,
            syncs,
            clock,
            observer,
            stop,
            host,
            passwords: Arc::new(NoReceivers),
            imported,
            merged_together: MERGED_TOGETHER,
            blind_after: LOOKED_FOR,
        }
    }

    /// Runs one cycle of a sync. The caller holds the right to write the state.
    ///
    /// # Errors
    /// Why it could not go on. What was recorded until then stands, and the next cycle goes on from there.
    pub async fn cycle(&self, rules: &SyncRules, options: &CycleOptions) -> Result<Report, EngineError> {
        let span = tracing::info_span!("cycle", sync = rules.name);
        self.whole_cycle(rules, options).instrument(span).await
    }

    async fn whole_cycle(&self, rules: &SyncRules, options: &CycleOptions) -> Result<Report, EngineError> {
        if rules.mode == Mode::Observe {
            return self.observe(rules, options).await;
        }
        let started = std::time::Instant::now();
        let prepared = match self.prepare(rules, true).await {
            Ok(prepared) => prepared,
            Err(error) => {
                self.import_in_spite_of(rules, &error).await;
                self.note_failure(rules, &error).await?;
                return Err(error);
            }
        };
        let run = self.store.begin_run(prepared.sync, self.clock.now()).await?;
        let mut report = Report { sync: rules.name.clone(), notes: prepared.notes.clone(), ..Report::default() };
        let result = self.stages(&prepared, options, &mut report).await;
        report.seconds = started.elapsed().as_secs_f64();
        if self.clock.is_doubtful() {
            report.notes.push(DOUBTFUL.to_owned());
        }
        let outcome = match &result {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.summary(),
        };
        let text = serde_json::to_string(&report).unwrap_or_default();
        self.store.finish_run(run, self.clock.now(), &outcome, &text).await?;
        if let Some(mark) = self.clock.take_mark() {
            self.store.raise_clock_mark(mark).await?;
        }
        self.observer.ended(&report);
        self.observer.passed(CommitPoint::RunFinished);
        result.map(|()| report)
    }

    /// A run that could not even begin is a run to whoever asks how the sync stands.
    async fn note_failure(&self, rules: &SyncRules, error: &EngineError) -> Result<(), EngineError> {
        let known = self.store.sync_names().await?.into_iter().find(|(name, _)| *name == rules.name);
        if let Some((_, sync)) = known {
            let now = self.clock.now();
            let run = self.store.begin_run(sync, now).await?;
            self.store.finish_run(run, now, &error.summary(), "").await?;
        }
        Ok(())
    }

    async fn stages(
        &self,
        prepared: &Prepared,
        options: &CycleOptions,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let (open, verdicts, drifted) = match self.look_first(prepared, options, report).await {
            Ok(looked) => looked,
            Err(error) => {
                self.import_in_spite_of(&prepared.compiled.rules, &error).await;
                return Err(error);
            }
        };
        let mut progress = Progress::new(open);
        progress.drifted = drifted;
        progress.window = Window::read(&self.store.outcome_window(prepared.sync).await?);
        self.told_later(prepared, &verdicts, &mut progress).await?;
        let result = self.flow(prepared, options, &mut progress, report).await;
        self.tell_gone(prepared, &mut progress, report).await?;
        self.remember(prepared, &mut progress).await?;
        result
    }

    async fn flow(
        &self,
        prepared: &Prepared,
        options: &CycleOptions,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        // What keeps changes from the target must not keep the source from being read.
        let free = match (&options.only, self.store.quarantine(prepared.sync).await?) {
            (Some(_), _) => Ok(true),
            (None, quarantine) => self.is_free(prepared, quarantine, progress, report).await,
        };
        let is_free = matches!(free, Ok(true));
        // The import never waits for the target, nor the other way round: it is a task of its own, ended with the cycle.
        let done = Arc::new(AtomicBool::new(false));
        progress.read = Arc::clone(&done);
        let (to, mut handed) = mpsc::channel(1);
        // Where calls are counted, they are filled: nothing leaves before everything is read.
        let at_once = is_free && prepared.compiled.capabilities.readable;
        let handing = (options.only.is_none() && at_once).then_some(Handing { sync: prepared.sync, to });
        let importer = self.importer(&prepared.source, handing);
        let finished = Finished { done: Arc::clone(&done), imported: Arc::clone(&self.imported) };
        let full = options.full;
        let mut importing = JoinSet::new();
        let reading = async move {
            let _finished = finished;
            importer.run(full).await
        };
        importing.spawn(reading.in_current_span());
        let evaluated = if options.only.is_some() || !at_once {
            Ok(())
        } else {
            let arriving = self.arriving(prepared, &mut handed, progress, report).await;
            drop(handed);
            match arriving {
                Ok(()) => self.pass(prepared, Pass::Free { until: &done }, progress, report).await,
                Err(error) => Err(error),
            }
        };
        let read = match importing.join_next().await {
            Some(read) => joined(read)?,
            None => Err(EngineError::Stopped),
        };
        progress.was_read();
        let swept = match &read {
            Ok(entries) => {
                report.read = *entries;
                self.sweep(prepared, report).await
            }
            Err(_) => Ok(()),
        };
        evaluated?;
        if let Some(key) = &options.only {
            self.only(prepared, key, progress, report).await?;
            return read.map(drop);
        }
        if free? {
            self.pass(prepared, Pass::Free { until: &done }, progress, report).await?;
            self.guarded(prepared, false, progress, report).await?;
        }
        swept?;
        read.map(drop)
    }

    /// What must be known of the target and the links before anything new is read or sent. Returns the links whose
    /// operations are still open, what the target told of others, and how many target objects others had changed.
    async fn look_first(
        &self,
        prepared: &Prepared,
        options: &CycleOptions,
        report: &mut Report,
    ) -> Result<(HashSet<LinkId>, Vec<Verdict>, u64), EngineError> {
        if prepared.reconcile {
            tracing::info!(
                "the target is read again before anything is sent: the state was restored, or much was gone"
            );
            // The target may be ahead of the state: first catch up with the source, so that nobody is made anew whose
            // removal is among its news.
            self.importer(&prepared.source, None).run(options.full).await?;
        }
        let (open, verdicts) = self.resolve_open_batches(prepared, report).await?;
        self.receiver_is_ready(prepared).await?;
        self.read_groups(prepared, options.full, report).await?;
        while self.store.fill_candidates(prepared.sync, FILL).await? {
            self.observer.passed(CommitPoint::CandidatesFilled);
            self.stop.check()?;
        }
        self.observer.passed(CommitPoint::CandidatesFilled);
        self.store.mark_due(prepared.sync, self.clock.lifecycle()).await?;
        if options.full {
            self.store.retry_parked(prepared.sync).await?;
        }
        let mut drifted = 0;
        if (options.reconcile || prepared.reconcile) && !prepared.compiled.capabilities.readable {
            let again = self.say_again(prepared, &open).await?;
            report
                .notes
                .push(format!("nothing can be read from the target, so that all {again} objects are sent again"));
            self.store.reconciled(prepared.sync).await?;
        } else if options.reconcile || prepared.reconcile {
            drifted = self.reconcile(prepared, &open, report).await?;
            if prepared.reconcile {
                self.store.reconciled(prepared.sync).await?;
            }
        }
        Ok((open, verdicts, drifted))
    }

    /// Keeps what the next cycles and people should know of this one.
    async fn remember(&self, prepared: &Prepared, progress: &mut Progress) -> Result<(), EngineError> {
        if let Some(outcomes) = progress.window.write() {
            self.store.set_outcome_window(prepared.sync, &outcomes).await?;
        }
        let at = self.clock.now();
        let mut note = |code: &str, detail: String| {
            progress.events.push(EventRecord { at, sync: prepared.sync, link: None, code: code.to_owned(), detail });
        };
        if progress.drifted > 0 {
            note("drift", progress.drifted.to_string());
        }
        for ((rule, attribute), times) in &progress.parked {
            let attribute = attribute.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
            note("parked", format!("{times} {rule}{attribute}"));
        }
        if !progress.events.is_empty() {
            self.store.add_events(&progress.events).await?;
        }
        Ok(())
    }

    /// Says what a cycle would do, as a run of its own.
    async fn observe(&self, rules: &SyncRules, options: &CycleOptions) -> Result<Report, EngineError> {
        let started = std::time::Instant::now();
        let prepared = match self.prepare(rules, false).await {
            Ok(prepared) => prepared,
            Err(error) => {
                self.note_failure(rules, &error).await?;
                return Err(error);
            }
        };
        let run = self.store.begin_run(prepared.sync, self.clock.now()).await?;
        let planned =
            self.plan_prepared(&prepared, &PlanOptions { full: options.full, ..PlanOptions::default() }).await;
        let outcome = match &planned {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.summary(),
        };
        let report =
            planned.map(|plan| Report { seconds: started.elapsed().as_secs_f64(), observed: true, ..plan.report });
        let text = report.as_ref().ok().and_then(|report| serde_json::to_string(report).ok()).unwrap_or_default();
        self.store.finish_run(run, self.clock.now(), &outcome, &text).await?;
        if let Some(mark) = self.clock.take_mark() {
            self.store.raise_clock_mark(mark).await?;
        }
        if let Ok(report) = &report {
            self.observer.ended(report);
        }
        self.observer.passed(CommitPoint::RunFinished);
        report
    }

    async fn only(
        &self,
        prepared: &Prepared,
        key: &Key,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        match self.store.link_of(prepared.sync, &key.encode()).await? {
            Some(link) => {
                self.pass(prepared, Pass::These(&[link.id]), progress, report).await?;
                // What holds several values follows, a limited number at a time.
                if !prepared.compiled.many.is_empty() {
                    self.pass(prepared, Pass::These(&[link.id]), progress, report).await?;
                    while progress.values.has_moved() && !progress.quarantined {
                        self.pass(prepared, Pass::These(&[link.id]), progress, report).await?;
                    }
                }
            }
            None => return Err(EngineError::NoObject { key: key.to_string() }),
        }
        self.guarded(prepared, true, progress, report).await
    }
}
