//! The target side of the contract.

use async_trait::async_trait;
use muster_connector::{Batch, Error, FoundObject, OperationId, Outcome, ReadRequest, Resolution, Target};
use muster_model::{Key, Value};

use super::attributes::{INBOUND_USER, MOST_OPERATIONS};
use super::{Inbound, limiter, payload};
use crate::connector::Entra;

impl Entra {
    /// The inbound side, for its object type.
    fn inbound_for(&self, object_type: &str) -> Result<&Inbound, Error> {
        match &self.inbound {
            Some(inbound) if object_type == INBOUND_USER => Ok(inbound),
            _ => Err(Error::Unsupported(format!("writing Entra {object_type} objects"))),
        }
    }
}

fn unreadable<T>(what: &str) -> Result<T, Error> {
    Err(Error::Unsupported(format!("{what} uploaded people (API-driven provisioning takes records and shows none)")))
}

#[async_trait]
impl Target for Entra {
    async fn get(&self, _request: &ReadRequest, _keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error> {
        unreadable("reading")
    }

    async fn find(
        &self,
        _request: &ReadRequest,
        _by: &[String],
        _values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        unreadable("searching")
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        let prepared = self.inbound_for(&batch.object_type)?.prepare(batch);
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

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        self.upload(self.inbound_for(&batch.object_type)?, batch).await
    }

    async fn confirm(
        &self,
        object_type: &str,
        accepted: &[(OperationId, String)],
    ) -> Result<Vec<(OperationId, Resolution)>, Error> {
        self.resolve(self.inbound_for(object_type)?, accepted).await
    }

    async fn effort(&self, object_type: &str, operations: u64) -> Result<Option<String>, Error> {
        let calls = &self.inbound_for(object_type)?.calls;
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
