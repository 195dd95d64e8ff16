//! A batch on its way: sent, and split when it is refused as a whole, until the object to blame stands alone. Knows nothing
//! of the state.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use muster_connector::{Batch, Connector, Epoch, Error as ConnectorError, Operation, OperationId, Outcome, RetryScope};

use muster_model::{Once, TargetCapabilities};

use crate::commit::Observer;
use crate::passwords::{hide, without_secrets};
use crate::quarantine::Reason;

/// How long a target may take for one batch.
const DEADLINE: Duration = Duration::from_secs(300);

/// Objects blamed one by one within a batch before the rest is left for later: by then the fault is no object's.
pub(crate) const MAX_BLAMED: usize = 20;

/// What is needed to send.
pub(crate) struct Carrier {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) object_type: Arc<str>,
    /// The attributes of the rows that are sent.
    pub(crate) attributes: Arc<[String]>,
    pub(crate) epoch: Epoch,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Carrier {
    /// Sends operations, splitting what is refused as a whole. Those without an outcome afterwards were never sent.
    pub(crate) async fn send(
        &self,
        operations: Vec<Operation>,
        outcomes: &mut HashMap<OperationId, Outcome>,
        refusals: &mut Vec<Reason>,
    ) -> Option<ConnectorError> {
        let Some(target) = self.connector.target() else {
            return Some(ConnectorError::Unsupported("writing".to_owned()));
        };
        let mut waiting = vec![operations];
        let mut split = false;
        while let Some(operations) = waiting.pop() {
            let batch = Batch {
                object_type: Arc::clone(&self.object_type),
                attributes: Arc::clone(&self.attributes),
                operations,
                epoch: self.epoch,
                deadline: DEADLINE,
            };
            let answer = match tokio::time::timeout(DEADLINE, target.apply(&batch)).await {
                Ok(answer) => answer,
                Err(_) => Err(ConnectorError::Unreachable {
                    problem: format!("no answer within {} s", DEADLINE.as_secs()),
                    nothing_sent: false,
                }),
            };
            match answer {
                Ok(answers) => {
                    for operation in &batch.operations {
                        outcomes.insert(operation.id, Outcome::Unknown);
                    }
                    // An answer for an id that was not asked about is nobody's outcome.
                    for (id, outcome) in answers {
                        let outcome = without_secrets(outcome, &batch.operations);
                        if let Outcome::Rejected { attribute, rule, .. } = &outcome
                            && split
                            && batch.operations.len() == 1
                        {
                            refusals.push((rule.clone(), attribute.clone()));
                        }
                        if let Some(slot) = outcomes.get_mut(&id) {
                            *slot = outcome;
                        }
                    }
                }
                Err(ConnectorError::Refused { problem }) => {
                    match (batch.operations.as_slice(), hide(problem, &batch.operations)) {
                        ([one], problem) => {
                            refusals.push(("refused".to_owned(), None));
                            let rejected =
                                Outcome::Rejected { attribute: None, rule: "refused".to_owned(), message: problem };
                            outcomes.insert(one.id, rejected);
                        }
                        (_, problem) if refusals.len() >= MAX_BLAMED => postpone(&batch.operations, &problem, outcomes),
                        (..) => {
                            split = true;
                            let mut operations = batch.operations;
                            let second = operations.split_off(operations.len() / 2);
                            waiting.push(second);
                            waiting.push(operations);
                        }
                    }
                }
                Err(error) => {
                    let nothing_sent = nothing_sent(&error);
                    let fate = if nothing_sent { None } else { Some(Outcome::Unknown) };
                    for operation in &batch.operations {
                        if let Some(fate) = &fate {
                            outcomes.insert(operation.id, fate.clone());
                        }
                    }
                    return Some(error);
                }
            }
        }
        None
    }
}

/// Whether the target remembers outcomes until it is told that they are recorded here.
pub(crate) fn forgets(capabilities: &TargetCapabilities) -> bool {
    capabilities.once == Once::Ledger
}

/// Tells a target that keeps a ledger that these outcomes are recorded here. Whether it hears of it makes no difference
/// to anybody's safety.
pub(crate) async fn acknowledge(connector: &dyn Connector, capabilities: &TargetCapabilities, ids: &[OperationId]) {
    let Some(target) = connector.target().filter(|_| forgets(capabilities) && !ids.is_empty()) else {
        return;
    };
    if let Err(error) = target.acknowledge(ids).await {
        tracing::debug!(%error, "the target's ledger could not be told what is recorded");
    }
}

fn postpone(operations: &[Operation], problem: &str, outcomes: &mut HashMap<OperationId, Outcome>) {
    for operation in operations {
        let retry =
            Outcome::Retry { after: Duration::from_secs(60), scope: RetryScope::Object, problem: problem.to_owned() };
        outcomes.insert(operation.id, retry);
    }
}

fn nothing_sent(error: &ConnectorError) -> bool {
    match error {
        ConnectorError::Unreachable { nothing_sent, .. } => *nothing_sent,
        ConnectorError::Configuration { .. }
        | ConnectorError::Credentials { .. }
        | ConnectorError::Throttled { .. }
        | ConnectorError::Unsupported(_)
        | ConnectorError::Refused { .. } => true,
        ConnectorError::Expired { .. } | ConnectorError::Bug(_) => false,
    }
}
