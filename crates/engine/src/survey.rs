//! What a source's deltas do not show: objects that are gone, and attributes that change in a table of their own. From
//! time to time all keys are read, with those attributes, as a generation that leaves the others as they are.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use muster_connector::{Change, Entry, Error as ConnectorError, ReadRequest};
use muster_model::{Attribute, AttributeId, Changes, Key, Row, Slot};
use muster_store::{ObjectId, PageCommit, Removed, RoundWrite, SourceType};

use crate::error::EngineError;
use crate::import::{Fetched, Importer};
use crate::merge::ReferenceAttribute;

/// Anchors looked at together.
const ANCHORS: u32 = 10_000;

/// When all keys are to be read.
pub(crate) struct Survey {
    /// In milliseconds; `None` where deltas show everything.
    every: Option<i64>,
}

impl Survey {
    pub(crate) fn new(changes: &Changes, wanted: &[Attribute]) -> Self {
        let shows_all = changes.deletes_visible && wanted.iter().all(|attribute| attribute.in_changes);
        let every = i64::try_from(changes.keys_every.saturating_mul(1_000)).unwrap_or(i64::MAX);
        Self { every: (!shows_all).then_some(every) }
    }

    /// A clock that went back must not put it off.
    pub(crate) fn is_due(&self, standing: &SourceType, now: i64) -> bool {
        let waited = |read: i64| now.saturating_sub(read);
        self.every.is_some_and(|every| standing.keys_read.is_none_or(|read| waited(read) < 0 || waited(read) >= every))
    }
}

/// The attributes of a request that deltas do not show.
#[derive(Clone)]
pub(crate) struct Unshown {
    pub(crate) request: ReadRequest,
    /// Where each stands in the whole request.
    positions: Vec<usize>,
}

pub(crate) fn unshown(wanted: &[Attribute], request: &ReadRequest) -> Unshown {
    let is_unshown = |name: &String| wanted.iter().any(|attribute| attribute.name == *name && !attribute.in_changes);
    let positions: Vec<usize> = (0..)
        .zip(request.attributes.iter())
        .filter(|(_, name)| is_unshown(name))
        .map(|(position, _)| position)
        .collect();
    let attributes = positions.iter().filter_map(|position| request.attributes.get(*position).cloned()).collect();
    Unshown { request: ReadRequest { attributes, ..request.clone() }, positions }
}

impl Unshown {
    /// Whether deltas show all attributes, so that keys are all that is read.
    pub(crate) fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Lets a page of keys say of the other attributes that they are as they were.
    pub(crate) fn spread(&self, page: Fetched, width: usize) -> Fetched {
        let entries = page.entries.into_iter().map(|mut entry| {
            if let Change::Whole(read) = entry.change {
                let mut row = Row::unknown(width);
                for (slot, position) in read.0.into_iter().zip(&self.positions) {
                    if let Some(place) = row.0.get_mut(*position) {
                        // What was read is all that there is.
                        *place = if slot.is_unknown() { Slot::Null } else { slot };
                    }
                }
                entry.change = if self.positions.is_empty() { Change::Same } else { Change::Partial(row) };
            }
            for edge in &mut entry.edges {
                edge.attribute = self.positions.get(edge.attribute).copied().unwrap_or(usize::MAX);
            }
            entry
        });
        Fetched { entries: entries.collect(), next: page.next, source_time: page.source_time, taken: page.taken }
    }
}

impl Importer {
    /// Whether the source has exactly the objects that are known, so that nothing needs to be written. Eight bytes are
    /// remembered of each key: that one which is gone looks like another is next to impossible, and the next time they
    /// are others.
    pub(crate) async fn all_are_there(&self, request: &ReadRequest) -> Result<bool, EngineError> {
        let Some(source) = self.side.connector.source() else {
            return Err(self.side.error(ConnectorError::Unsupported("reading".to_owned())));
        };
        let request = ReadRequest { attributes: Arc::default(), ..request.clone() };
        let hasher = RandomState::new();
        let mut there: Vec<u64> = Vec::new();
        let mut cursor = None;
        loop {
            self.stop.check()?;
            let page = match source.read(&request, cursor.as_ref()).await {
                Ok(page) => page,
                // The reading that marks every object knows how to begin again.
                Err(ConnectorError::Expired { .. }) => return Ok(false),
                Err(error) => return Err(self.side.error(error)),
            };
            there.extend(page.objects.iter().map(|object| hasher.hash_one(object.key.encode())));
            // A source that leads in a circle is found by that reading, too.
            match page.next {
                Some(next) if cursor.as_ref() != Some(&next) && !page.objects.is_empty() => cursor = Some(next),
                Some(_) => return Ok(false),
                None => break,
            }
        }
        there.sort_unstable();
        there.dedup();
        let (mut after, mut known) = (ObjectId(0), 0);
        loop {
            self.stop.check()?;
            let some = self.store.live_anchors(self.side.id, after, ANCHORS).await?;
            let Some((last, _)) = some.last() else { break };
            after = *last;
            known += some.len();
            if some.iter().any(|(_, anchor)| there.binary_search(&hasher.hash_one(anchor)).is_err()) {
                return Ok(false);
            }
        }
        Ok(known == there.len())
    }

    /// Notes that all keys were read just now.
    pub(crate) async fn note_keys_read(&self, standing: &SourceType) -> Result<(), EngineError> {
        let round = RoundWrite {
            round: standing.round,
            generation: standing.generation,
            unswept: standing.unswept,
            watermark: standing.watermark.clone(),
            cursor: standing.cursor.clone(),
            attributes: standing.attributes.clone(),
            keys_read: Some(self.clock.now()),
        };
        let nothing = PageCommit {
            source_type: self.side.id,
            objects: Vec::new(),
            edges: Vec::new(),
            complete: Vec::new(),
            unread: Vec::new(),
            round,
        };
        self.store.commit_page(&nothing).await?;
        Ok(())
    }

    /// Reads the objects of a page of keys that are not known, or count as gone: deltas may never show them.
    pub(crate) async fn read_unknown(&self, entries: &mut Vec<Entry>) -> Result<(), EngineError> {
        let anchors: Vec<Vec<u8>> = entries.iter().map(|entry| entry.key.encode()).collect();
        let stored = self.store.objects(self.side.id, &anchors).await?;
        let is_known = |anchor: &Vec<u8>| {
            stored.get(anchor).is_some_and(|object| object.state.is_some() && object.removed == Removed::No)
        };
        let unknown: Vec<Key> = entries
            .iter()
            .zip(&anchors)
            .filter(|(_, anchor)| !is_known(anchor))
            .map(|(entry, _)| entry.key.clone())
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let Some(source) = self.side.connector.source() else {
            return Err(self.side.error(ConnectorError::Unsupported("reading".to_owned())));
        };
        let standing = self.store.source_type(self.side.connection, &self.side.object_type.name).await?;
        let (request, ..) = self.side.request(self.store.as_ref(), &standing).await?;
        let found = source.get(&request, &unknown).await.map_err(|error| self.side.error(error))?;
        let mut position = 0;
        entries.retain(|_| {
            position += 1;
            anchors.get(position - 1).is_some_and(&is_known)
        });
        // What is not there any more is not seen either.
        entries.extend(found.into_iter().flatten().map(|object| Entry {
            key: object.key,
            change: Change::Whole(object.row),
            edges: object.edges,
        }));
        Ok(())
    }

    /// The references that a reading of all keys does not look at.
    pub(crate) fn shown_references(
        &self,
        ids: &[AttributeId],
        references: &[Option<ReferenceAttribute>],
    ) -> Vec<AttributeId> {
        let is_shown =
            |reference: &Option<ReferenceAttribute>| reference.as_ref().is_some_and(|found| found.in_changes);
        ids.iter().zip(references).filter(|(_, reference)| is_shown(reference)).map(|(id, _)| *id).collect()
    }
}
