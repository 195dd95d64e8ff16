//! Batches whose outcomes are known: a few of them are recorded in one transaction, since each rewrites much the same
//! pages of the state.

use std::sync::Arc;
use std::time::Duration;

use muster_connector::OperationId;
use muster_store::{BatchEnd, StoreError};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::commit::CommitPoint;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::pass::{Progress, joined};
use crate::prepare::Prepared;
use crate::recognition::MatchValues;
use crate::send::acknowledge;

/// From so many outcomes on they are recorded. More would gain little, and are asked for again after a crash.
const TOGETHER: usize = 2_000;

/// How long known outcomes wait for others.
const PATIENCE: Duration = Duration::from_millis(500);

/// A batch whose outcomes are known.
pub(crate) struct Ended {
    pub(crate) end: BatchEnd,
    /// Operations whose outcomes the target need not remember once they are recorded.
    pub(crate) answered: Vec<OperationId>,
    /// By what its creates would be found. Nobody else may look for these before it is recorded whose they are.
    pub(crate) matches: Vec<MatchValues>,
}

/// What waits to be recorded, and what is being recorded: a task of its own, so that it keeps nobody from sending.
#[derive(Default)]
pub(crate) struct Closing {
    ended: Vec<Ended>,
    /// When the first of these ended.
    since: Option<Instant>,
    recording: JoinSet<Result<Vec<MatchValues>, StoreError>>,
}

impl Closing {
    /// Ends when known outcomes have waited long enough.
    pub(crate) async fn patience(&self) {
        match self.since {
            Some(since) => tokio::time::sleep_until(since + PATIENCE).await,
            None => std::future::pending().await,
        }
    }
}

impl Engine {
    /// Records a batch's outcomes, together with others.
    pub(crate) async fn close(
        &self,
        prepared: &Prepared,
        ended: Ended,
        closing: &mut Closing,
        progress: &mut Progress,
    ) -> Result<(), EngineError> {
        closing.ended.push(ended);
        let since = *closing.since.get_or_insert_with(Instant::now);
        // Tickets are known here alone.
        let must_be_kept = closing.ended.iter().any(|ended| !ended.end.open.is_empty());
        let outcomes = closing.ended.iter().map(|ended| ended.end.updates.len()).sum::<usize>();
        if must_be_kept || outcomes >= TOGETHER || since.elapsed() >= PATIENCE {
            self.record(prepared, closing, progress).await?;
        }
        Ok(())
    }

    /// Records everything that waits for it.
    pub(crate) async fn close_all(
        &self,
        prepared: &Prepared,
        closing: &mut Closing,
        progress: &mut Progress,
    ) -> Result<(), EngineError> {
        // What failed to be recorded keeps nothing else from it.
        let before = recorded(prepared, closing, progress).await;
        let begun = self.record(prepared, closing, progress).await;
        let done = recorded(prepared, closing, progress).await;
        before.and(begun).and(done)
    }

    /// Begins to record what waits for it.
    pub(crate) async fn record(
        &self,
        prepared: &Prepared,
        closing: &mut Closing,
        progress: &mut Progress,
    ) -> Result<(), EngineError> {
        // One at a time, which bounds how many outcomes are in memory.
        recorded(prepared, closing, progress).await?;
        let ended = std::mem::take(&mut closing.ended);
        closing.since = None;
        if ended.is_empty() {
            return Ok(());
        }
        let (store, observer, sync, now) =
            (Arc::clone(&self.store), Arc::clone(&self.observer), prepared.sync, self.clock.now());
        let (connector, capabilities) =
            (Arc::clone(&prepared.target.connector), prepared.compiled.capabilities.clone());
        closing.recording.spawn(async move {
            let (mut ends, mut answered, mut matches) = (Vec::with_capacity(ended.len()), Vec::new(), Vec::new());
            for one in ended {
                ends.push(one.end);
                answered.extend(one.answered);
                matches.extend(one.matches);
            }
            store.close_batches(sync, &ends, now).await?;
            observer.passed(CommitPoint::BatchClosed);
            acknowledge(connector.as_ref(), &capabilities, &answered).await;
            Ok(matches)
        });
        Ok(())
    }
}

/// Waits until nothing is being recorded.
async fn recorded(prepared: &Prepared, closing: &mut Closing, progress: &mut Progress) -> Result<(), EngineError> {
    while let Some(recorded) = closing.recording.join_next().await {
        progress.release(&prepared.compiled, &joined(recorded)??);
    }
    Ok(())
}
