//! Operations of a benchmark, sent to a connector as the host sends them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use muster_connector::{Batch, Connector, Effect, Epoch, Kind, Operation, OperationId, Outcome};
use muster_model::{Key, Row, Slot};
use tokio::task::JoinSet;
use uuid::Uuid;

/// An operation that does nothing beyond what its row says.
pub(super) fn operation(kind: Kind, key: Option<Key>, row: Vec<Slot>) -> Operation {
    Operation {
        id: OperationId(Uuid::now_v7()),
        key,
        kind,
        row: Row(row),
        deltas: Vec::new(),
        enabling: None,
        expected_version: None,
        expected: None,
        depends_on: Vec::new(),
        secrets: Vec::new(),
    }
}

/// Operations on users in batches of one size.
pub(super) fn batches(attributes: &[String], size: usize, operations: Vec<Operation>) -> Vec<Arc<Batch>> {
    let attributes: Arc<[String]> = attributes.into();
    let mut rest = operations.into_iter();
    let mut batches = Vec::new();
    loop {
        let operations: Vec<Operation> = rest.by_ref().take(size).collect();
        if operations.is_empty() {
            return batches;
        }
        batches.push(Arc::new(Batch {
            object_type: "user".into(),
            attributes: Arc::clone(&attributes),
            operations,
            epoch: Epoch::default(),
            deadline: Duration::from_secs(300),
        }));
    }
}

/// A connector that batches are sent to. How many it takes at once is asked here, since a cycle asks once as well,
/// whatever it sends: a catalogue can be slow.
pub(super) struct Sender {
    connector: Arc<dyn Connector>,
    most: usize,
    /// Operations in a batch.
    pub(super) max_batch: usize,
}

impl Sender {
    pub(super) async fn new(connector: Arc<dyn Connector>) -> anyhow::Result<Self> {
        let schema = connector.schema().await?;
        let capabilities = schema.object_type("user").and_then(|found| found.target.clone()).context("no target")?;
        let (most, max_batch) = (capabilities.max_in_flight as usize, capabilities.max_batch as usize);
        Ok(Self { connector, most, max_batch })
    }

    /// Sends batches, as many at once as the connector takes, and says what each operation brought.
    ///
    /// The batches stay with the caller, as the raw side's rows do: to free them takes its time as well.
    pub(super) async fn send(
        &self,
        batches: &[Arc<Batch>],
        mut brought: impl FnMut(OperationId, Effect),
    ) -> anyhow::Result<()> {
        let mut flying: JoinSet<anyhow::Result<Vec<(OperationId, Outcome)>>> = JoinSet::new();
        let mut waiting = batches.iter();
        loop {
            while flying.len() < self.most
                && let Some(batch) = waiting.next().cloned()
            {
                let connector = Arc::clone(&self.connector);
                flying.spawn(async move { Ok(connector.target().context("no target")?.apply(&batch).await?) });
            }
            let Some(landed) = flying.join_next().await else { return Ok(()) };
            for (id, outcome) in landed?? {
                match outcome {
                    Outcome::Applied(effect) => brought(id, effect),
                    other => bail!("an operation did not take effect: {other:?}"),
                }
            }
        }
    }
}
