//! One cycle of one sync, as a task.

use std::sync::Arc;

use muster_engine::{CycleOptions, Engine, EngineError, ErrorClass, Report, SyncRules};
use muster_store::{Store, SyncCounts, SyncId};

use super::schedule::Mode;

/// What a task is to do.
pub(crate) struct Job {
    pub(crate) engine: Engine,
    pub(crate) rules: SyncRules,
    pub(crate) mode: Mode,
    /// Counts are of interest whatever the cycle did.
    pub(crate) wants_counts: bool,
    /// A request that this cycle serves.
    pub(crate) request: Option<(SyncId, i64)>,
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) sync: String,
    pub(crate) result: Result<Option<Report>, Trouble>,
    /// When a link becomes dirty by itself.
    pub(crate) due: Option<i64>,
    pub(crate) counts: Option<SyncCounts>,
    pub(crate) is_served: bool,
}

/// Why it failed, without personal values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) class: ErrorClass,
    pub(crate) problem: String,
    /// The connection to blame.
    pub(crate) connection: Option<String>,
    /// The least pause that the system asked for, in milliseconds.
    pub(crate) pause: i64,
}

impl Trouble {
    pub(crate) fn configuration(problem: String) -> Self {
        Self { class: ErrorClass::Configuration, problem, connection: None, pause: 0 }
    }

    fn of(error: &EngineError) -> Self {
        let (connection, pause) = match error {
            EngineError::Connection { connection, source } => {
                let pause = match source {
                    muster_connector::Error::Throttled { after, .. } => {
                        i64::try_from(after.as_millis()).unwrap_or(i64::MAX)
                    }
                    _ => 0,
                };
                (Some(connection.clone()), pause)
            }
            _ => (None, 0),
        };
        // The system's own causes say more than ours, and hold no values where it could not be reached.
        let problem = match error {
            EngineError::Store(_) => crate::exit::with_causes(error),
            _ => error.summary(),
        };
        Self { class: error.class(), problem, connection, pause }
    }
}

/// Runs a cycle to its end, whatever happens in it.
pub(crate) async fn run(job: Job) -> Ended {
    let sync = job.rules.name.clone();
    let started = job.engine.clock.lifecycle();
    let store = Arc::clone(&job.engine.store);
    let (wants_counts, is_served) = (job.wants_counts, job.request.is_some());
    // A task of its own, so that a panic in it ends this cycle and nothing else.
    let result = match tokio::spawn(cycle(job)).await {
        Ok(result) => result.map_err(|error| Trouble::of(&error)),
        Err(_) => Err(Trouble {
            class: ErrorClass::Unexpected,
            problem: "the cycle broke off by a mistake in this program; its message stands in the log".to_owned(),
            connection: None,
            pause: 0,
        }),
    };
    let did_something = match &result {
        Ok(Some(report)) => report.visited() > 0,
        Ok(None) => false,
        Err(_) => true,
    };
    let (due, counts) = look(&store, &sync, started, did_something || wants_counts).await;
    Ended { sync, result, due, counts, is_served }
}

async fn cycle(job: Job) -> Result<Option<Report>, EngineError> {
    if let Some((sync, seen)) = job.request {
        job.engine.store.clear_request(sync, seen).await?;
    }
    match job.mode {
        Mode::Whole => job.engine.cycle(&job.rules, &CycleOptions::default()).await.map(Some),
        Mode::Import => job.engine.import(&job.rules).await.map(|_| None),
    }
}

/// What is to be known until the next cycle. What cannot be read now is asked again then.
async fn look(store: &Arc<dyn Store>, name: &str, started: i64, counts: bool) -> (Option<i64>, Option<SyncCounts>) {
    let names = store.sync_names().await.unwrap_or_default();
    let Some((_, sync)) = names.into_iter().find(|(known, _)| known == name) else { return (None, None) };
    // What was due before this cycle began is settled, or waits for something else than time.
    let due = store.next_due(sync, started).await.ok().flatten();
    let counts = if counts { store.counts(sync, started).await.ok() } else { None };
    (due, counts)
}
