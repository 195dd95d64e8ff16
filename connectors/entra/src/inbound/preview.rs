//! What would be uploaded, for a person: the records, and how long they take.

use muster_connector::{Batch, Error, OperationId, Outcome};

use super::attributes::MOST_OPERATIONS;
use super::{Inbound, limiter, payload};
use crate::connector::Entra;

impl Inbound {
    /// Each operation's record, for a person.
    pub(crate) fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        let prepared = self.prepare(batch);
        let show = |id: OperationId| {
            if let Some(person) = prepared.people.iter().find(|person| person.id == id) {
                return serde_json::to_string_pretty(&payload::alone(person))
                    .map_err(|error| Error::Bug(error.to_string()));
            }
            let outcome = prepared.outcomes.iter().find(|(other, _)| *other == id);
            Ok(outcome.map(|(_, outcome)| why(outcome)).unwrap_or_default())
        };
        batch.operations.iter().map(|operation| show(operation.id)).collect()
    }
}

impl Entra {
    /// How long so many records take within the limits.
    pub(crate) async fn upload_effort(&self, inbound: &Inbound, operations: u64) -> Result<Option<String>, Error> {
        let calls = &inbound.calls;
        let usage = calls.usage(self.session.environment.now()).await?;
        Ok(Some(limiter::effort(operations, u64::from(MOST_OPERATIONS), calls.quota, usage.used)))
    }
}

/// Why an operation would not be sent.
fn why(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Rejected { message, .. } => format!("not sent: {message}"),
        Outcome::Unsupported { what } => format!("not sent: {what} is not supported"),
        _ => String::new(),
    }
}
