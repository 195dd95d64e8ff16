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
    fn add(&mut self, ended: Ended) {
        self.ended.push(ended);
        self.since.get_or_insert_with(Instant::now);
    }

    fn is_due(&self) -> bool {
        // Tickets are known here alone.
        let has_tickets = self.ended.iter().any(|ended| !ended.end.open.is_empty());
        let outcomes = self.ended.iter().map(|ended| ended.end.updates.len()).sum::<usize>();
        has_tickets || outcomes >= TOGETHER || self.since.is_some_and(|since| since.elapsed() >= PATIENCE)
    }

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
        closing.add(ended);
        if closing.is_due() {
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

#[cfg(test)]
mod tests {
    use muster_store::{BatchId, BatchMember, LinkId, LinkState, LinkUpdate, OperationKind, Origin};
    use uuid::Uuid;

    use super::*;

    fn ended(outcomes: usize, tickets: usize) -> Ended {
        let update = LinkUpdate {
            link: LinkId(1),
            seen: 1,
            evaluated: 1,
            dirty_again: false,
            state: LinkState::Linked,
            origin: Origin::Created,
            target_key: None,
            fresh_key: false,
            written: None,
            due_at: None,
            not_before: None,
            attempts: 0,
            parked: None,
            values: Vec::new(),
        };
        let member = BatchMember {
            operation: Uuid::nil(),
            link: LinkId(1),
            kind: OperationKind::Create,
            revision: 1,
            content: [0; 16],
            sought: Vec::new(),
        };
        let end = BatchEnd {
            batch: BatchId(1),
            updates: vec![update; outcomes],
            returned: Vec::new(),
            open: vec![member; tickets],
            forgotten: false,
        };
        Ended { end, answered: Vec::new(), matches: Vec::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn outcomes_wait_for_others_and_not_for_long() {
        let mut closing = Closing::default();
        closing.add(ended(1_000, 0));
        assert!(!closing.is_due());
        tokio::time::advance(PATIENCE / 2).await;
        closing.add(ended(10, 0));
        assert!(!closing.is_due(), "a few are recorded together");
        tokio::time::advance(PATIENCE / 2).await;
        assert!(closing.is_due(), "the first has waited long enough");
        closing.patience().await;
        let mut closing = Closing::default();
        closing.add(ended(TOGETHER / 2, 0));
        closing.add(ended(TOGETHER / 2, 0));
        assert!(closing.is_due(), "they are many");
        let mut closing = Closing::default();
        closing.add(ended(1, 1));
        assert!(closing.is_due(), "a ticket is known here alone");
    }
}
