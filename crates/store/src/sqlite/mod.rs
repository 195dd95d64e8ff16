//! The state in one SQLite file: a writer's connection and a few readers, in WAL mode.

mod backup;
mod edges;
mod holds;
mod keys;
mod links;
mod lock;
mod log;
mod members;
mod objects;
mod open;
mod operations;
mod operator;
mod pack;
mod quarantine;
mod reports;
mod runs;
mod service;
mod types;
mod values;
mod writer;

#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use muster_model::AttributeId;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use uuid::Uuid;

pub use backup::Restored;
pub use lock::StateLock;

use crate::error::StoreError;
use crate::records::{
    AttributeSpec, BatchEnd, BatchRecord, Connection, ConnectionId, HoldRecord, LinkId, LinkUpdate, LinkView, ObjectId,
    ObjectsByAnchor, Opened, Owner, PageCommit, PageSummary, ParkedView, RunRecord, SourceType, SourceTypeId,
    StoreFacts, Sync, SyncCounts, SyncDefinition, SyncId, SyncStanding, TargetType, TargetTypeId,
};
use crate::store::Store;
use keys::IndexedKeys;
use log::Log;
use writer::Writer;

/// The state in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Writer,
    log: Log,
    readers: SqlitePool,
    keys: IndexedKeys,
}

/// Adds to a driver's error what was being done.
trait Doing<T> {
    fn doing(self, action: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, action: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Database { action, source })
    }
}

impl SqliteStore {
    /// Opens the state, making it when there is no file. `now` is in milliseconds since 1970.
    ///
    /// # Errors
    /// The file is foreign, newer, damaged or cannot be opened.
    pub async fn open(path: &Path, now: i64) -> Result<Self, StoreError> {
        let mut writer = open::open(path, now).await?;
        let keys = IndexedKeys::of(&mut writer).await.map_err(|error| open::opening(path, error))?;
        let readers = SqlitePoolOptions::new().max_connections(2).connect_lazy_with(open::reader_options(path));
        let writer = Writer::new(path.to_owned(), writer);
        Ok(Self { path: path.to_owned(), writer, log: Log::open(path)?, readers, keys })
    }

    /// Opens a state that is there, beside whatever runs on it. It is upgraded only while nothing does: a process of an
    /// older version would go on writing in its own way. `holder` is as for [`StateLock::take`].
    ///
    /// # Errors
    /// As for [`Self::open`]; [`StoreError::HeldByOlder`] when it would have to be upgraded under somebody's hands.
    pub async fn open_beside(path: &Path, now: i64, holder: &str) -> Result<Self, StoreError> {
        if !open::is_older(path).await? {
            return Self::open(path, now).await;
        }
        let _lock = StateLock::take(path, holder).map_err(|error| match error {
            StoreError::Held { holder } => StoreError::HeldByOlder { holder },
            other => other,
        })?;
        Self::open(path, now).await
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the log back into the file and closes it, so that nothing of it lies anywhere else.
    ///
    /// # Errors
    /// The disk is full, or the file was damaged.
    pub async fn close(self) -> Result<(), StoreError> {
        const ACTION: &str = "closed";
        self.readers.close().await;
        self.log.at_rest().await;
        let mut writer = self.writer.into_connection();
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut writer).await.doing(ACTION)?;
        sqlx::Connection::close(writer).await.doing(ACTION)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn facts(&self) -> Result<StoreFacts, StoreError> {
        types::facts(&self.readers).await
    }

    async fn connection(&self, name: &str) -> Result<Connection, StoreError> {
        types::connection(&mut *self.writer.unsynced().await?, name).await
    }

    async fn set_identity(&self, connection: ConnectionId, identity: &str) -> Result<(), StoreError> {
        types::set_identity(&mut *self.writer.synced().await?, connection, identity).await
    }

    async fn attribute_ids(
        &self,
        connection: ConnectionId,
        object_type: &str,
        attributes: &[AttributeSpec],
    ) -> Result<Vec<AttributeId>, StoreError> {
        types::attribute_ids(&mut *self.writer.unsynced().await?, connection, object_type, attributes).await
    }

    async fn attribute_specs(&self, ids: &[AttributeId]) -> Result<HashMap<AttributeId, AttributeSpec>, StoreError> {
        types::attribute_specs(&self.readers, ids).await
    }

    async fn source_type(&self, connection: ConnectionId, name: &str) -> Result<SourceType, StoreError> {
        types::source_type(&mut *self.writer.unsynced().await?, connection, name).await
    }

    async fn target_type(&self, connection: ConnectionId, name: &str) -> Result<TargetType, StoreError> {
        types::target_type(&mut *self.writer.unsynced().await?, connection, name).await
    }

    async fn next_epoch(&self, target_type: TargetTypeId) -> Result<i64, StoreError> {
        types::next_epoch(&mut *self.writer.synced().await?, target_type).await
    }

    async fn sync(&self, definition: &SyncDefinition) -> Result<Sync, StoreError> {
        types::sync(&mut *self.writer.unsynced().await?, definition).await
    }

    async fn fill_candidates(&self, sync: SyncId, limit: u32) -> Result<bool, StoreError> {
        links::fill_candidates(&mut *self.writer.unsynced().await?, sync, limit).await
    }

    async fn has_objects(&self, source_type: SourceTypeId) -> Result<bool, StoreError> {
        objects::has_objects(&self.readers, source_type).await
    }

    async fn objects(&self, source_type: SourceTypeId, anchors: &[Vec<u8>]) -> Result<ObjectsByAnchor, StoreError> {
        objects::objects(&self.readers, source_type, anchors).await
    }

    async fn commit_page(&self, page: &PageCommit) -> Result<PageSummary, StoreError> {
        objects::commit_page(&mut *self.writer.unsynced().await?, page).await
    }

    async fn live_objects(&self, source_type: SourceTypeId) -> Result<(u64, u64), StoreError> {
        objects::live_objects(&self.readers, source_type).await
    }

    async fn live_anchors(
        &self,
        source_type: SourceTypeId,
        after: ObjectId,
        limit: u32,
    ) -> Result<Vec<(ObjectId, Vec<u8>)>, StoreError> {
        objects::live_anchors(&self.readers, source_type, after, limit).await
    }

    async fn sweep(&self, source_type: SourceTypeId, now: i64, limit: u32) -> Result<u64, StoreError> {
        objects::sweep(&mut *self.writer.synced().await?, source_type, now, limit).await
    }

    async fn harden_removals(&self, source_type: SourceTypeId, before: i64, now: i64) -> Result<u64, StoreError> {
        objects::harden_removals(&mut *self.writer.synced().await?, source_type, before, now).await
    }

    async fn mark_due(&self, sync: SyncId, now: i64) -> Result<u64, StoreError> {
        links::mark_due(&mut *self.writer.synced().await?, sync, now).await
    }

    async fn retry_parked(&self, sync: SyncId) -> Result<u64, StoreError> {
        links::retry_parked(&mut *self.writer.synced().await?, sync).await
    }

    async fn dirty_links(
        &self,
        sync: SyncId,
        after: LinkId,
        now: i64,
        limit: u32,
    ) -> Result<Vec<LinkView>, StoreError> {
        links::dirty_links(&self.readers, sync, after, now, limit).await
    }

    async fn linked(&self, sync: SyncId, after: LinkId, limit: u32) -> Result<Vec<LinkView>, StoreError> {
        links::linked(&self.readers, sync, after, limit).await
    }

    async fn links(&self, ids: &[LinkId]) -> Result<Vec<LinkView>, StoreError> {
        links::links(&self.readers, ids).await
    }

    async fn owners(&self, target_type: TargetTypeId, keys: &[Vec<u8>]) -> Result<HashMap<Vec<u8>, Owner>, StoreError> {
        links::owners(&self.readers, &self.keys, target_type, keys).await
    }

    async fn settle(&self, sync: SyncId, updates: &[LinkUpdate], now: i64) -> Result<(), StoreError> {
        operations::settle(&mut *self.writer.unsynced().await?, &self.keys, sync, updates, now).await
    }

    async fn open_batch(&self, batch: &BatchRecord) -> Result<Opened, StoreError> {
        let opened = operations::open_batch(&mut *self.writer.urgent(false).await?, &self.keys, batch).await?;
        self.log.note(batch.members.len());
        Ok(opened)
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.log.flush().await
    }

    async fn close_batches(&self, sync: SyncId, ends: &[BatchEnd], now: i64) -> Result<(), StoreError> {
        // What is still open carries tickets, which nothing else knows.
        let known_here_alone = ends.iter().any(|end| !end.open.is_empty() || end.forgotten);
        // A key that was given anew withdraws what was about to be sent to its former object: no note may go ahead of it.
        let is_urgent = ends.iter().flat_map(|end| &end.updates).any(|update| update.fresh_key);
        let mut writer = match (is_urgent, known_here_alone) {
            (true, synced) => self.writer.urgent(synced).await?,
            (false, true) => self.writer.synced().await?,
            (false, false) => self.writer.unsynced().await?,
        };
        operations::close_batches(&mut writer, &self.keys, sync, ends, now).await
    }

    async fn open_batches(&self, sync: SyncId) -> Result<Vec<BatchRecord>, StoreError> {
        operations::open_batches(&self.readers, sync).await
    }

    async fn sent_since(&self, sync: SyncId, kind: &str, since: i64) -> Result<u64, StoreError> {
        reports::sent_since(&self.readers, sync, kind, since).await
    }

    async fn set_holds(
        &self,
        sync: SyncId,
        kinds: &[&str],
        holds: &[HoldRecord],
        now: i64,
    ) -> Result<Vec<HoldRecord>, StoreError> {
        holds::set_holds(&mut *self.writer.synced().await?, sync, kinds, holds, now).await
    }

    async fn holds(&self, sync: SyncId) -> Result<Vec<HoldRecord>, StoreError> {
        holds::holds(&self.readers, sync).await
    }

    async fn parked(&self, sync: SyncId, limit: u32) -> Result<Vec<ParkedView>, StoreError> {
        reports::parked(&self.readers, sync, limit).await
    }

    async fn counts(&self, sync: SyncId, now: i64) -> Result<SyncCounts, StoreError> {
        reports::counts(&self.readers, sync, now).await
    }

    async fn begin_run(&self, sync: SyncId, now: i64) -> Result<i64, StoreError> {
        reports::begin_run(&mut *self.writer.unsynced().await?, sync, now).await
    }

    async fn finish_run(&self, run: i64, now: i64, outcome: &str, report: &str) -> Result<(), StoreError> {
        reports::finish_run(&mut *self.writer.synced().await?, run, now, outcome, report).await
    }

    async fn prune_runs(&self, now: i64) -> Result<u64, StoreError> {
        runs::prune(&mut *self.writer.synced().await?, now).await
    }

    async fn merge_log(&self) -> Result<(), StoreError> {
        self.log.at_rest().await;
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
        checkpoint.execute(&mut *self.writer.synced().await?).await.doing("merged with its log")?;
        Ok(())
    }

    async fn runs(&self, sync: SyncId, limit: u32) -> Result<Vec<RunRecord>, StoreError> {
        reports::runs(&self.readers, sync, limit).await
    }

    async fn sync_names(&self) -> Result<Vec<(String, SyncId)>, StoreError> {
        types::sync_names(&self.readers).await
    }

    async fn link_of(&self, sync: SyncId, anchor: &[u8]) -> Result<Option<LinkView>, StoreError> {
        links::link_of(&self.readers, sync, anchor).await
    }

    async fn edges(&self, source_type: SourceTypeId, anchor: &[u8]) -> Result<Vec<(AttributeId, Vec<u8>)>, StoreError> {
        edges::edges(&self.readers, source_type, anchor).await
    }

    async fn renew_incarnation(&self, incarnation: Uuid, now: i64) -> Result<(), StoreError> {
        types::renew_incarnation(&mut *self.writer.synced().await?, incarnation, now).await
    }

    async fn standings(&self) -> Result<Vec<SyncStanding>, StoreError> {
        service::standings(&self.readers).await
    }

    async fn next_due(&self, sync: SyncId, after: i64) -> Result<Option<i64>, StoreError> {
        service::next_due(&self.readers, sync, after).await
    }

    async fn request_cycle(&self, sync: SyncId, now: i64) -> Result<(), StoreError> {
        service::request_cycle(&mut *self.writer.synced().await?, sync, now).await
    }

    async fn clear_request(&self, sync: SyncId, seen: i64) -> Result<(), StoreError> {
        service::clear_request(&mut *self.writer.synced().await?, sync, seen).await
    }

    async fn set_paused(&self, sync: SyncId, reason: Option<&str>) -> Result<(), StoreError> {
        service::set_paused(&mut *self.writer.synced().await?, sync, reason).await
    }

    async fn require_reconciliation(&self, sync: Option<SyncId>) -> Result<(), StoreError> {
        service::set_reconcile(&mut *self.writer.synced().await?, sync, true).await
    }

    async fn reconciled(&self, sync: SyncId) -> Result<(), StoreError> {
        service::set_reconcile(&mut *self.writer.synced().await?, Some(sync), false).await
    }

    async fn raise_clock_mark(&self, mark: i64) -> Result<(), StoreError> {
        service::raise_clock_mark(&mut *self.writer.synced().await?, mark).await
    }
}
