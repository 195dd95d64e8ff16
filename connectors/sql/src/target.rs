//! The target side of the contract.

use async_trait::async_trait;
use muster_connector::{
    Batch, Cursor, Error, FoundObject, FoundPage, OperationId, Outcome, ReadRequest, Resolution, Target,
};
use muster_model::{Key, Value};

use crate::connector::SqlConnector;
use crate::staging::as_stored;

#[async_trait]
impl Target for SqlConnector {
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error> {
        let anchor = self.table_type(&request.object_type).await?.object_type.anchor.attributes;
        let tuples: Vec<Vec<Value>> = keys.iter().map(|key| key.0.clone()).collect();
        if tuples.iter().any(|tuple| tuple.len() != anchor.len()) {
            return Err(Error::Bug(format!("a key of {} needs {} values", request.object_type, anchor.len())));
        }
        let found = self.look_up(request, &anchor, &tuples).await?;
        Ok(found.into_iter().map(|objects| objects.into_iter().next()).collect())
    }

    async fn find(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        self.look_up(request, by, values).await
    }

    async fn holds(&self, request: &ReadRequest, attribute: &str, pairs: &[(Key, Value)]) -> Result<Vec<bool>, Error> {
        let table = self.table_type(&request.object_type).await?;
        self.hold(&table, attribute, pairs).await
    }

    async fn list(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<FoundPage, Error> {
        self.list_page(request, cursor).await
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        let table = self.table_type(&batch.object_type).await?;
        let batch = &as_stored(&table, batch);
        batch
            .operations
            .iter()
            .map(|operation| crate::preview::statement(self.database.as_ref(), &table, batch, operation))
            .collect()
    }

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        self.write(batch).await
    }

    async fn outcomes(&self, ids: &[OperationId]) -> Result<Vec<(OperationId, Resolution)>, Error> {
        if !self.settings.ledger {
            return Ok(ids.iter().map(|id| (*id, Resolution::NotRecorded)).collect());
        }
        self.recorded(ids).await.map_err(|failure| self.failed(failure))
    }

    async fn acknowledge(&self, ids: &[OperationId]) -> Result<(), Error> {
        if !self.settings.ledger {
            return Ok(());
        }
        self.forget(ids).await.map_err(|failure| self.failed(failure))
    }
}
