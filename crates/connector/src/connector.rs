//! The traits that a connector implements.

use std::sync::Arc;

use async_trait::async_trait;
use muster_model::{Key, Schema, Value};

use crate::description::Description;
use crate::error::Error;
use crate::finding::{CheckReport, UsedType};
use crate::operation::{Batch, OperationId};
use crate::outcome::{Outcome, Resolution};
use crate::page::{ChangePage, Cursor, FoundObject, FoundPage, Position, ReadPage, ReadRequest, SourceObject};
use crate::settings::ConnectorSettings;

/// One kind of connector, as it stands in the host's list.
pub trait ConnectorKind: Send + Sync {
    /// What it is and which settings it takes. Touches nothing.
    fn describe(&self) -> Description;

    /// Makes one configured connection. Does no I/O beyond reading files that the settings name.
    ///
    /// # Errors
    /// [`Error::Configuration`] for settings that the schema alone cannot refuse.
    fn connect(&self, settings: ConnectorSettings) -> Result<Arc<dyn Connector>, Error>;
}

/// One configured connection to a system.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Examines the connection for what the syncs use: reachability, credentials, permissions, features.
    ///
    /// # Errors
    /// Only what kept it from examining at all; what it found wrong is in the report.
    async fn check(&self, used: &[UsedType]) -> Result<CheckReport, Error>;

    /// What the system holds.
    ///
    /// # Errors
    /// The system cannot be asked.
    async fn schema(&self) -> Result<Schema, Error>;

    /// The source side, if there is one.
    fn source(&self) -> Option<&dyn Source> {
        None
    }

    /// The target side, if there is one.
    fn target(&self) -> Option<&dyn Target> {
        None
    }
}

/// A connector's source side.
#[async_trait]
pub trait Source: Send + Sync {
    /// A page of whole objects. The first page (no cursor) carries the watermark taken before it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the type's full read is a round of [`Self::changes`].
    async fn read(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<ReadPage, Error>;

    /// A page of what changed. [`Position::Start`] without a watermark starts a full round where the
    /// schema says that the system's delta does so.
    ///
    /// # Errors
    /// [`Error::Expired`] when the system no longer honours the cursor or the watermark.
    async fn changes(&self, request: &ReadRequest, position: &Position) -> Result<ChangePage, Error>;

    /// The objects with these keys, in the order of the keys; `None` where there is none.
    ///
    /// # Errors
    /// The system cannot be asked.
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<SourceObject>>, Error>;
}

/// A connector's target side.
#[async_trait]
pub trait Target: Send + Sync {
    /// The objects with these keys, in the order of the keys; `None` where there is none.
    ///
    /// # Errors
    /// The system cannot be asked.
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error>;

    /// For each tuple of values, all objects whose attributes `by` equal it (by the attributes' own case
    /// rules); at most two each, since more than one is ambiguous anyway. Asked in bulk.
    ///
    /// # Errors
    /// The system cannot be asked.
    async fn find(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error>;

    /// For each pair, whether the object with that key has the value in a multi-valued attribute. Asked in bulk, when
    /// what others changed at the system is looked for. Optional.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where single values cannot be asked for.
    async fn holds(
        &self,
        _request: &ReadRequest,
        _attribute: &str,
        _pairs: &[(Key, Value)],
    ) -> Result<Vec<bool>, Error> {
        Err(Error::Unsupported("asking for single values".to_owned()))
    }

    /// A page of all objects of the type, in any order that no object leaves, for the report that says which of them
    /// belong to nobody. Optional.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where objects cannot be listed.
    async fn list(&self, _request: &ReadRequest, _cursor: Option<&Cursor>) -> Result<FoundPage, Error> {
        Err(Error::Unsupported("listing objects".to_owned()))
    }

    /// The exact SQL, LDIF or request of each operation, for a person. Changes nothing.
    ///
    /// # Errors
    /// The operations cannot be expressed, which `apply` would say as well.
    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error>;

    /// Applies the operations, each all or nothing, and answers one outcome for each id; an id that is not
    /// answered counts as [`Outcome::Unknown`].
    ///
    /// # Errors
    /// [`Error::Refused`]: nothing of the batch was applied and one of its operations is to blame, so the host
    /// splits it. Any other error: the whole batch is unknown, unless the error says that nothing was sent.
    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error>;

    /// What became of operations whose answer was lost or is still to come, from a ledger or a log.
    ///
    /// # Errors
    /// The system cannot be asked.
    async fn outcomes(&self, ids: &[OperationId]) -> Result<Vec<(OperationId, Resolution)>, Error> {
        Ok(ids.iter().map(|id| (*id, Resolution::NotRecorded)).collect())
    }

    /// What became of operations that were answered with [`Outcome::Accepted`], each with the ticket given then; an id
    /// that is not answered is still pending. [`Resolution::NotRecorded`]: nobody will ever know, and the host sends
    /// the whole state again under a new id. Asked as often as the system may be asked, over weeks if need be, and
    /// also by a process that did not send them.
    ///
    /// # Errors
    /// The system cannot be asked.
    async fn confirm(
        &self,
        _object_type: &str,
        accepted: &[(OperationId, String)],
    ) -> Result<Vec<(OperationId, Resolution)>, Error> {
        Ok(accepted.iter().map(|(id, _)| (*id, Resolution::NotRecorded)).collect())
    }

    /// What so many operations will take where the system limits how many it takes, for a person who decides before
    /// they are sent: calls, and days under a quota. None where there is nothing to say.
    ///
    /// # Errors
    /// The system cannot be asked.
    async fn effort(&self, _object_type: &str, _operations: u64) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// The outcomes of these operations are durable at the host; a ledger may forget them. A host whose state is
    /// restored from a backup may ask for them all the same, so a ledger keeps them for a while. Told once only, so a
    /// ledger also forgets by age.
    ///
    /// # Errors
    /// The system cannot be told.
    async fn acknowledge(&self, _ids: &[OperationId]) -> Result<(), Error> {
        Ok(())
    }
}
