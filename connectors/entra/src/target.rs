//! The target side of the contract: people by API-driven provisioning, users and groups by Microsoft Graph.

use async_trait::async_trait;
use muster_connector::{
    Batch, Cursor, Error, FoundObject, FoundPage, OperationId, Outcome, ReadRequest, Resolution, Target,
};
use muster_model::{Key, Value};

use crate::connector::Entra;
use crate::inbound::Inbound;
use crate::inbound::attributes::INBOUND_USER;
use crate::schema::{GROUP, USER};

/// By which way objects of a type are written.
enum Way<'a> {
    Inbound(&'a Inbound),
    Graph,
}

impl Entra {
    fn way(&self, object_type: &str) -> Result<Way<'_>, Error> {
        match (object_type, &self.inbound) {
            (INBOUND_USER, Some(inbound)) => Ok(Way::Inbound(inbound)),
            (USER | GROUP, _) => Ok(Way::Graph),
            _ => Err(Error::Unsupported(format!("writing Entra {object_type} objects"))),
        }
    }

    /// Refuses to look where nothing can be seen.
    fn readable(&self, object_type: &str, what: &str) -> Result<(), Error> {
        match self.way(object_type)? {
            Way::Graph => Ok(()),
            Way::Inbound(_) => Err(Error::Unsupported(format!(
                "{what} uploaded people (API-driven provisioning takes records and shows none)"
            ))),
        }
    }
}

#[async_trait]
impl Target for Entra {
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error> {
        self.readable(&request.object_type, "reading")?;
        self.objects_of(request, keys).await
    }

    async fn find(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        self.readable(&request.object_type, "searching")?;
        self.search(request, by, values).await
    }

    async fn holds(&self, request: &ReadRequest, attribute: &str, pairs: &[(Key, Value)]) -> Result<Vec<bool>, Error> {
        self.readable(&request.object_type, "asking for single values of")?;
        self.refers(request, attribute, pairs).await
    }

    async fn list(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<FoundPage, Error> {
        self.readable(&request.object_type, "listing")?;
        self.list_page(request, cursor).await
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        match self.way(&batch.object_type)? {
            Way::Inbound(inbound) => inbound.preview(batch),
            Way::Graph => self.preview_requests(batch).await,
        }
    }

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        match self.way(&batch.object_type)? {
            Way::Inbound(inbound) => self.upload(inbound, batch).await,
            Way::Graph => self.write(batch).await,
        }
    }

    async fn confirm(
        &self,
        object_type: &str,
        accepted: &[(OperationId, String)],
    ) -> Result<Vec<(OperationId, Resolution)>, Error> {
        match self.way(object_type)? {
            Way::Inbound(inbound) => self.resolve(inbound, accepted).await,
            // What Graph answers is what became of it.
            Way::Graph => Ok(accepted.iter().map(|(id, _)| (*id, Resolution::NotRecorded)).collect()),
        }
    }

    async fn effort(&self, object_type: &str, operations: u64) -> Result<Option<String>, Error> {
        match self.way(object_type)? {
            Way::Inbound(inbound) => self.upload_effort(inbound, operations).await,
            Way::Graph => Ok(None),
        }
    }
}
