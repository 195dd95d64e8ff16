//! Batches on their way: each leaves once its note is on disk, lands, and has its outcomes recorded.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_connector::{Operation, Outcome, RetryScope};
use muster_store::{BatchRecord, StoreError};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinError, JoinSet};

use crate::apply::{Landed, Sent, Shipment};
use crate::closing::Closing;
use crate::commit::CommitPoint;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::pass::{Progress, joined};
use crate::prepare::Prepared;
use crate::quarantine::blamed_alone;
use crate::report::Report;
use crate::send::Carrier;

/// Batches at the target, and outcomes being recorded. Tasks of their own all of them, so that none keeps what another
/// waits for.
pub(crate) struct Fleet {
    pub(crate) flying: JoinSet<Result<Landed, StoreError>>,
    pub(crate) closing: Closing,
    /// As many batches as the target may be given at a time.
    lanes: Arc<Semaphore>,
    /// As many are noted or on their way at a time.
    most: usize,
    /// Answers once the last batch has a lane: they leave in the order in which they came.
    last: Option<oneshot::Receiver<()>>,
    /// The target could not go on: what has not left stays.
    grounded: Arc<AtomicBool>,
}

impl Fleet {
    pub(crate) fn new(prepared: &Prepared) -> Self {
        let lanes = usize::try_from(prepared.compiled.capabilities.max_in_flight.clamp(1, 4)).unwrap_or(1);
        Self {
            flying: JoinSet::new(),
            closing: Closing::default(),
            lanes: Arc::new(Semaphore::new(lanes)),
            // Where several are at the target, one note after the other has to be on disk in time.
            most: lanes + lanes.min(2),
            last: None,
            grounded: Arc::default(),
        }
    }

    /// Lets nothing leave that has no lane yet.
    fn ground(&self) {
        self.grounded.store(true, Ordering::Release);
    }

    /// Whether a batch has to land before another one is noted.
    pub(crate) fn is_full(&self) -> bool {
        self.flying.len() >= self.most
    }
}

impl Engine {
    /// Notes a batch, and lets it leave once the note is on disk. Meanwhile others are evaluated.
    pub(crate) fn fly(
        &self,
        prepared: &Prepared,
        record: BatchRecord,
        mut shipment: Shipment,
        mut operations: Vec<Operation>,
        fleet: &mut Fleet,
    ) {
        let (store, lanes, grounded) = (Arc::clone(&self.store), Arc::clone(&fleet.lanes), Arc::clone(&fleet.grounded));
        let carrier = Carrier {
            connector: Arc::clone(&prepared.target.connector),
            object_type: Arc::clone(&prepared.target.request.object_type),
            attributes: prepared.compiled.sent_attributes(),
            epoch: prepared.target.epoch,
            observer: Arc::clone(&self.observer),
        };
        let (has_lane, after) = oneshot::channel();
        let before = fleet.last.replace(after);
        fleet.flying.spawn(async move {
            let opened = store.open_batch(&record).await?;
            drop(record);
            carrier.observer.passed(CommitPoint::BatchOpened);
            // A person decided over these meanwhile, and evaluation has to begin anew.
            if !opened.withdrawn.is_empty() {
                let is_withdrawn = |sent: &Sent| opened.withdrawn.contains(&sent.link.id);
                let (withdrawn, sent): (Vec<_>, Vec<_>) = shipment.sent.into_iter().partition(is_withdrawn);
                operations.retain(|operation| !withdrawn.iter().any(|sent| sent.operation.id == operation.id));
                shipment = Shipment { sent };
            }
            store.flush().await?;
            carrier.observer.passed(CommitPoint::BatchFlushed);
            let mut outcomes = HashMap::new();
            let mut refusals = Vec::new();
            let mut error = None;
            if let Some(before) = before {
                // One that never leaves is waited for no longer.
                before.await.ok();
            }
            // Never closed, so that nobody is turned away.
            let lane = lanes.acquire_owned().await.ok();
            has_lane.send(()).ok();
            if !grounded.load(Ordering::Acquire) {
                outcomes.reserve(shipment.sent.len());
                error = carrier.send(operations, &mut outcomes, &mut refusals).await;
                grounded.fetch_or(error.is_some() || outcomes.values().any(is_busy), Ordering::Release);
                carrier.observer.passed(CommitPoint::BatchAnswered);
                carrier.observer.applied(outcomes.len() as u64);
            }
            // The next one leaves at once, unless this one may be the last before a quarantine.
            let is_refused = |outcome: &Outcome| matches!(outcome, Outcome::Rejected { .. });
            let lane = lane.filter(|_| outcomes.values().any(is_refused));
            let blamed = blamed_alone(&refusals);
            Ok(Landed { batch: opened.batch, sent: shipment.sent, outcomes, error, blamed, lane })
        });
    }

    /// Takes in what a batch's task brought back.
    pub(crate) async fn land(
        &self,
        prepared: &Prepared,
        sent: Result<Result<Landed, StoreError>, JoinError>,
        fleet: &mut Fleet,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let mut landed = joined(sent)?.inspect_err(|_| fleet.ground())?;
        let lane = landed.lane.take();
        let recorded = self.landed(prepared, landed, &mut fleet.closing, progress, report).await;
        if progress.quarantined {
            fleet.ground();
        }
        drop(lane);
        recorded
    }

    /// Waits for the next batch to land; known outcomes do not wait with it.
    pub(crate) async fn land_next(
        &self,
        prepared: &Prepared,
        fleet: &mut Fleet,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        loop {
            tokio::select! {
                biased;
                sent = fleet.flying.join_next() => {
                    let Some(sent) = sent else { return Ok(()) };
                    return self.land(prepared, sent, fleet, progress, report).await;
                }
                () = fleet.closing.patience() => self.record(prepared, &mut fleet.closing, progress).await?,
            }
        }
    }

    /// Records everything that is on its way, and then the first error.
    pub(crate) async fn land_all(
        &self,
        prepared: &Prepared,
        fleet: &mut Fleet,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        if self.stop.is_asked() {
            fleet.ground();
        }
        // A target may keep the last batch for long, or be given up.
        let mut result = self.record(prepared, &mut fleet.closing, progress).await;
        while !fleet.flying.is_empty() {
            let landed = self.land_next(prepared, fleet, progress, report).await;
            if result.is_ok() {
                result = landed;
            }
        }
        let recorded = self.close_all(prepared, &mut fleet.closing, progress).await;
        result.and(recorded)
    }
}

/// The target cannot take more just now.
fn is_busy(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Retry { scope: RetryScope::Target, .. })
}
