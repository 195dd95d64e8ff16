//! The one trait behind which the state lives.

use std::collections::HashMap;

use async_trait::async_trait;
use muster_model::AttributeId;
use uuid::Uuid;

use crate::error::StoreError;
use crate::members::MemberStore;
use crate::operator::OperatorStore;
use crate::records::{
    AttributeSpec, BatchEnd, BatchRecord, Connection, ConnectionId, HoldRecord, LinkId, LinkUpdate, LinkView, ObjectId,
    ObjectsByAnchor, Opened, Owner, PageCommit, PageSummary, ParkedView, RunRecord, SourceType, SourceTypeId,
    StoreFacts, Sync, SyncCounts, SyncDefinition, SyncId, SyncStanding, TargetType, TargetTypeId,
};
use crate::values::ValueStore;

/// The state of one Muster. Every method is one transaction unless it says otherwise.
#[async_trait]
pub trait Store: OperatorStore + ValueStore + MemberStore + Send + std::marker::Sync {
    /// The store itself.
    async fn facts(&self) -> Result<StoreFacts, StoreError>;

    /// The connection of that name, made on first use.
    async fn connection(&self, name: &str) -> Result<Connection, StoreError>;

    /// Notes which system stands behind a connection.
    async fn set_identity(&self, connection: ConnectionId, identity: &str) -> Result<(), StoreError>;

    /// The ids of attributes, in the same order; an id is made on first use and never changes its meaning.
    async fn attribute_ids(
        &self,
        connection: ConnectionId,
        object_type: &str,
        attributes: &[AttributeSpec],
    ) -> Result<Vec<AttributeId>, StoreError>;

    /// What attribute ids stand for.
    async fn attribute_specs(&self, ids: &[AttributeId]) -> Result<HashMap<AttributeId, AttributeSpec>, StoreError>;

    /// An object type that is read, made on first use.
    async fn source_type(&self, connection: ConnectionId, name: &str) -> Result<SourceType, StoreError>;

    /// An object type that is written, made on first use.
    async fn target_type(&self, connection: ConnectionId, name: &str) -> Result<TargetType, StoreError>;

    /// Raises the target type's epoch and returns the new counter.
    async fn next_epoch(&self, target_type: TargetTypeId) -> Result<i64, StoreError>;

    /// The sync of that definition, made on first use; other rules than before mark all its links dirty.
    async fn sync(&self, definition: &SyncDefinition) -> Result<Sync, StoreError>;

    /// Makes links for source objects that were there before the sync, at most `limit` in this transaction.
    /// Returns whether more remain.
    async fn fill_candidates(&self, sync: SyncId, limit: u32) -> Result<bool, StoreError>;

    /// Whether anything of a source type is stored, placeholders included.
    async fn has_objects(&self, source_type: SourceTypeId) -> Result<bool, StoreError>;

    /// The stored objects among these encoded anchors.
    async fn objects(&self, source_type: SourceTypeId, anchors: &[Vec<u8>]) -> Result<ObjectsByAnchor, StoreError>;

    /// Commits a merged page: objects, references, links of new objects, dirty marks and the round's standing.
    /// Writes nothing when an object that is written as new is stored already.
    async fn commit_page(&self, page: &PageCommit) -> Result<PageSummary, StoreError>;

    /// How many live objects a source type has: (all, those that the current generation saw).
    async fn live_objects(&self, source_type: SourceTypeId) -> Result<(u64, u64), StoreError>;

    /// The live objects of a source type whose ids come after `after`, in the order of their ids: id and encoded anchor.
    async fn live_anchors(
        &self,
        source_type: SourceTypeId,
        after: ObjectId,
        limit: u32,
    ) -> Result<Vec<(ObjectId, Vec<u8>)>, StoreError>;

    /// Removes softly what the complete generation did not see, with references it did not see, at most
    /// `limit` objects in this transaction. Returns how many objects; zero ends the sweep.
    async fn sweep(&self, source_type: SourceTypeId, now: i64, limit: u32) -> Result<u64, StoreError>;

    /// Soft removals older than `before` become hard as of `now`, and their links dirty.
    async fn harden_removals(&self, source_type: SourceTypeId, before: i64, now: i64) -> Result<u64, StoreError>;

    /// Marks links dirty whose due time has come, which ends a pause between attempts, and notes for
    /// [`StoreFacts::clock_reached`] that dates up to `now` were acted upon, where there were any.
    async fn mark_due(&self, sync: SyncId, now: i64) -> Result<u64, StoreError>;

    /// Marks all parked links dirty, so that they are tried again.
    async fn retry_parked(&self, sync: SyncId) -> Result<u64, StoreError>;

    /// Dirty links after `after` in order of their ids, without those that wait for a pause to end.
    async fn dirty_links(&self, sync: SyncId, after: LinkId, now: i64, limit: u32)
    -> Result<Vec<LinkView>, StoreError>;

    /// Links that have a target object, after `after` in order of their ids.
    async fn linked(&self, sync: SyncId, after: LinkId, limit: u32) -> Result<Vec<LinkView>, StoreError>;

    /// These links.
    async fn links(&self, ids: &[LinkId]) -> Result<Vec<LinkView>, StoreError>;

    /// The owning links of these encoded target keys.
    async fn owners(&self, target_type: TargetTypeId, keys: &[Vec<u8>]) -> Result<HashMap<Vec<u8>, Owner>, StoreError>;

    /// Writes what evaluations decided without an operation.
    async fn settle(&self, sync: SyncId, updates: &[LinkUpdate], now: i64) -> Result<(), StoreError>;

    /// Notes a batch, and counts the guarded changes in it in the same transaction, so that no end of the process
    /// sends what is not counted. Before the batch leaves, [`Self::flush`] has to end. The record's own id is ignored;
    /// the new one is returned.
    async fn open_batch(&self, batch: &BatchRecord) -> Result<Opened, StoreError>;

    /// Waits until all that was recorded before is on disk. Nobody who writes waits for it.
    async fn flush(&self) -> Result<(), StoreError>;

    /// Writes the outcomes of batches, one after the other.
    async fn close_batches(&self, sync: SyncId, ends: &[BatchEnd], now: i64) -> Result<(), StoreError>;

    /// Batches whose outcomes were never recorded.
    async fn open_batches(&self, sync: SyncId) -> Result<Vec<BatchRecord>, StoreError>;

    /// Guarded changes of a kind sent since.
    async fn sent_since(&self, sync: SyncId, kind: &str, since: i64) -> Result<u64, StoreError>;

    /// Replaces what a sync holds of these kinds. A hold that was there before and has not expired keeps its times.
    /// Returns the holds that are new.
    async fn set_holds(
        &self,
        sync: SyncId,
        kinds: &[&str],
        holds: &[HoldRecord],
        now: i64,
    ) -> Result<Vec<HoldRecord>, StoreError>;

    /// What a sync holds, expired holds included.
    async fn holds(&self, sync: SyncId) -> Result<Vec<HoldRecord>, StoreError>;

    /// Parked objects, oldest first.
    async fn parked(&self, sync: SyncId, limit: u32) -> Result<Vec<ParkedView>, StoreError>;

    /// How many links are in which state.
    async fn counts(&self, sync: SyncId, now: i64) -> Result<SyncCounts, StoreError>;

    /// Notes that a run began.
    async fn begin_run(&self, sync: SyncId, now: i64) -> Result<i64, StoreError>;

    /// Notes how a run ended.
    async fn finish_run(&self, run: i64, now: i64, outcome: &str, report: &str) -> Result<(), StoreError>;

    /// Forgets old runs: the newest 1,000 of each sync stay, and those of the 30 days before `now` (in milliseconds
    /// since 1970) in which something was done. Returns how many are forgotten.
    async fn prune_runs(&self, now: i64) -> Result<u64, StoreError>;

    /// At a clean end: whatever a back end keeps beside its file goes into it, so that the file alone is the state.
    async fn merge_log(&self) -> Result<(), StoreError>;

    /// The last runs, newest first.
    async fn runs(&self, sync: SyncId, limit: u32) -> Result<Vec<RunRecord>, StoreError>;

    /// Ids of syncs by name, retired ones included.
    async fn sync_names(&self) -> Result<Vec<(String, SyncId)>, StoreError>;

    /// The target keys of links by their source objects' anchors, for tests and explanations.
    async fn link_of(&self, sync: SyncId, anchor: &[u8]) -> Result<Option<LinkView>, StoreError>;

    /// The references of an object: (attribute, encoded anchor of the referenced object).
    async fn edges(&self, source_type: SourceTypeId, anchor: &[u8]) -> Result<Vec<(AttributeId, Vec<u8>)>, StoreError>;

    /// The store's incarnation is replaced by a new one, as after a restore.
    async fn renew_incarnation(&self, incarnation: Uuid, now: i64) -> Result<(), StoreError>;

    /// How all syncs stand that are not retired. One cheap query, which writes nothing: a service asks every second.
    async fn standings(&self) -> Result<Vec<SyncStanding>, StoreError>;

    /// The first moment after `after` at which a link becomes dirty by itself, or a dirty one's pause ends. Costs
    /// the same however many links there are.
    async fn next_due(&self, sync: SyncId, after: i64) -> Result<Option<i64>, StoreError>;

    /// Asks whoever runs the sync for a cycle soon.
    async fn request_cycle(&self, sync: SyncId, now: i64) -> Result<(), StoreError>;

    /// A request made until `seen` is being served; a later one stays.
    async fn clear_request(&self, sync: SyncId, seen: i64) -> Result<(), StoreError>;

    /// Pauses a sync for a reason, or ends its pause.
    async fn set_paused(&self, sync: SyncId, reason: Option<&str>) -> Result<(), StoreError>;

    /// The linked target objects of a sync, or of every one, are to be read again before anything is sent, as after a
    /// restore.
    async fn require_reconciliation(&self, sync: Option<SyncId>) -> Result<(), StoreError>;

    /// A sync's linked target objects have been read again.
    async fn reconciled(&self, sync: SyncId) -> Result<(), StoreError>;

    /// Raises the high-water mark of confirmed time; it never falls.
    async fn raise_clock_mark(&self, mark: i64) -> Result<(), StoreError>;
}
