//! The state store: what Muster last read of every source object, the links, and what is on its way.
//!
//! [`Store`] is the one trait; [`sqlite`] stands behind it. A second back end runs the same contract suite.
//! The store keeps records and keeps them together in one transaction where the design says so; it decides nothing.

pub mod error;
pub mod members;
pub mod operator;
pub mod records;
pub mod sqlite;
pub mod store;
pub mod values;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod contract_service;

pub use error::StoreError;
pub use members::{MemberStore, ScopeGroup};
pub use operator::{
    Approval, Decided, Decision, EventRecord, Grant, LinkFacts, OperatorStore, QuarantineRecord, Retry,
};
pub use records::{
    AttributeSpec, BatchEnd, BatchId, BatchMember, BatchRecord, Connection, ConnectionId, EdgeWrite, HeldChange,
    HoldRecord, LinkId, LinkState, LinkUpdate, LinkView, ObjectId, ObjectWrite, ObjectsByAnchor, Opened, OperationKind,
    Origin, Owner, PageCommit, PageSummary, ParkReason, ParkedView, Removed, Round, RoundWrite, RunRecord, SourceType,
    SourceTypeId, StoreFacts, StoredObject, Sync, SyncCounts, SyncDefinition, SyncId, SyncStanding, TargetType,
    TargetTypeId,
};
pub use sqlite::{Restored, SqliteStore, StateLock};
pub use store::Store;
pub use values::{ReferencesOf, Referred, ReferredEnd, ValueStore, ValueWrite};
