//! Import: reading the source page by page and committing each merged page with its cursor.

use std::sync::Arc;

use muster_connector::page::{Next, Position};
use muster_connector::{Change, ChangePage, Cursor, Entry, Error as ConnectorError, Expired, Watermark};
use muster_store::{PageCommit, Round, RoundWrite, SourceType, Store};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::commit::{CommitPoint, Observer};
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::merge::{MergeContext, merge};
use crate::prepare::SourceSide;

/// How often a round may start again within one cycle before a person should look.
const MAX_RESTARTS: u32 = 5;

/// Reads one source type. It shares nothing with evaluation but the state, so that it can run beside it.
pub(crate) struct Importer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
    /// Rung after each page.
    pub(crate) imported: Arc<Notify>,
    pub(crate) side: Arc<SourceSide>,
}

impl Engine {
    pub(crate) fn importer(&self, side: &Arc<SourceSide>) -> Importer {
        Importer {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            observer: Arc::clone(&self.observer),
            imported: Arc::clone(&self.imported),
            side: Arc::clone(side),
        }
    }
}

impl Importer {
    /// Reads until the round is complete. Returns how many entries came.
    pub(crate) async fn run(&self, full: bool) -> Result<u64, EngineError> {
        let side = self.side.as_ref();
        let Some(source) = side.connector.source() else {
            return Err(side.error(ConnectorError::Unsupported("reading".to_owned())));
        };
        let capabilities = side.object_type.source.clone();
        let changes = capabilities.as_ref().and_then(|capabilities| capabilities.changes.clone());
        let starts_full = changes.as_ref().is_some_and(|changes| changes.starts_full);
        let has_changes = changes.is_some();
        let mut standing = self.store.source_type(side.connection, &side.object_type.name).await?;
        let (request, ids, grown) = side.request(self.store.as_ref(), &standing).await?;
        let references: Vec<_> = request.attributes.iter().map(|name| side.references.get(name).cloned()).collect();
        if grown || (standing.round == Round::Idle && (full || standing.watermark.is_none() || !has_changes)) {
            standing = fresh_round(&standing);
        } else if standing.round == Round::Idle {
            standing.round = Round::Delta;
            standing.cursor = None;
        }
        standing.attributes.clone_from(&ids);
        let mut entries = 0;
        let mut restarts = 0;
        loop {
            let answer = if standing.round == Round::Full && !starts_full {
                let cursor = standing.cursor.clone().map(Cursor);
                source.read(&request, cursor.as_ref()).await.map(|page| {
                    // Taken before the first page, good once the last one is here.
                    if let Some(Watermark(taken)) = &page.watermark {
                        standing.watermark = Some(taken.clone());
                    }
                    whole_page(page, standing.watermark.clone())
                })
            } else {
                source.changes(&request, &position(&standing)).await
            };
            let page = match answer {
                Ok(page) => page,
                Err(ConnectorError::Expired { expired }) if restarts < MAX_RESTARTS => {
                    restarts += 1;
                    standing = restarted(&standing, expired);
                    continue;
                }
                Err(error) => return Err(side.error(error)),
            };
            entries += page.entries.len() as u64;
            self.observer.read(page.entries.len() as u64);
            let done = self.commit(&mut standing, &page, &ids, &references).await?;
            if done {
                return Ok(entries);
            }
        }
    }

    /// Merges and commits one page. Returns whether the round is complete.
    async fn commit(
        &self,
        standing: &mut SourceType,
        page: &ChangePage,
        ids: &[muster_model::AttributeId],
        references: &[Option<crate::merge::ReferenceAttribute>],
    ) -> Result<bool, EngineError> {
        let done = match &page.next {
            Next::Done(Watermark(watermark)) => {
                // Nothing new at all: not even the state is written.
                if page.entries.is_empty()
                    && standing.round == Round::Delta
                    && standing.cursor.is_none()
                    && standing.watermark.as_ref() == Some(watermark)
                {
                    return Ok(true);
                }
                standing.watermark = Some(watermark.clone());
                standing.cursor = None;
                true
            }
            Next::Page(Cursor(cursor)) => {
                standing.cursor = Some(cursor.clone());
                false
            }
        };
        let mut anchors: Vec<Vec<u8>> = page.entries.iter().map(|entry| entry.key.encode()).collect();
        anchors.sort_unstable();
        anchors.dedup();
        let stored = self.store.objects(self.side.id, &anchors).await?;
        let full = (standing.round == Round::Full).then_some(standing.generation);
        let context = MergeContext { ids, references, full, now: self.clock.now() };
        let merged = merge(&context, &page.entries, &stored)?;
        if done {
            standing.unswept |= standing.round == Round::Full;
            standing.round = Round::Idle;
        }
        let round = RoundWrite {
            round: standing.round,
            generation: standing.generation,
            unswept: standing.unswept,
            watermark: standing.watermark.clone(),
            cursor: standing.cursor.clone(),
            attributes: ids.to_vec(),
        };
        let commit = PageCommit { source_type: self.side.id, objects: merged.objects, edges: merged.edges, round };
        self.store.commit_page(&commit).await?;
        self.observer.passed(if done { CommitPoint::RoundFinished } else { CommitPoint::PageMerged });
        self.imported.notify_one();
        Ok(done)
    }
}

/// A new generation. It is committed only with its first page, so the old watermark stays until the source has
/// answered once.
fn fresh_round(standing: &SourceType) -> SourceType {
    SourceType {
        round: Round::Full,
        generation: standing.generation + 1,
        watermark: None,
        cursor: None,
        ..standing.clone()
    }
}

fn restarted(standing: &SourceType, expired: Expired) -> SourceType {
    match (expired, standing.round) {
        (Expired::Cursor, Round::Delta) => SourceType { cursor: None, ..standing.clone() },
        _ => fresh_round(standing),
    }
}

fn position(standing: &SourceType) -> Position {
    match (&standing.cursor, standing.round) {
        (Some(cursor), _) => Position::Page(Cursor(cursor.clone())),
        (None, Round::Full) => Position::Start(None),
        (None, _) => Position::Start(standing.watermark.clone().map(Watermark)),
    }
}

/// A page of a full read in the form of a page of changes.
fn whole_page(page: muster_connector::ReadPage, taken: Option<Vec<u8>>) -> ChangePage {
    let next = match page.next {
        Some(cursor) => Next::Page(cursor),
        None => Next::Done(Watermark(taken.unwrap_or_default())),
    };
    let entries = page
        .objects
        .into_iter()
        .map(|object| Entry { key: object.key, change: Change::Whole(object.row), edges: object.edges })
        .collect();
    ChangePage { entries, next, source_time: page.source_time }
}
