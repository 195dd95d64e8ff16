//! Import: reading the source page by page and committing each merged page with its cursor.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use muster_connector::page::{Next, Position};
use muster_connector::{
    Change, Connector, Cursor, Entry, Error as ConnectorError, Expired, ReadPage, ReadRequest, Watermark,
};
use muster_store::{
    LinkId, LinkState, LinkView, ObjectId, ObjectWrite, ObjectsByAnchor, Origin, PageCommit, PageSummary, Round,
    RoundWrite, SourceType, Store, SyncId,
};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::commit::{CommitPoint, Observer};
use crate::committed::Committed;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::merge::{MergeContext, Merged, ReferenceAttribute, merge};
use crate::pass::joined;
use crate::prepare::SourceSide;
use crate::stop::Stop;
use crate::survey::{Survey, Unshown, unshown};

/// How often a round may start again within one cycle before a person should look.
const MAX_RESTARTS: u32 = 5;

/// Pages of a round that follow one another without an entry before the source is taken to lead in a circle. Links
/// that differ each time cannot be recognised otherwise.
pub(crate) const MAX_EMPTY_PAGES: u32 = 1_000;

/// Entries merged in one transaction, when they come fast: a few pages at a time were measured best.
pub(crate) const MERGED_TOGETHER: usize = 1_350;

/// Pages that are here before they are needed.
const PAGES_AHEAD: usize = 1;

/// How long pages that are here wait for the next one.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long the import waits for the evaluation of what it hands over.
const PATIENCE_WITH_EVALUATION: Duration = Duration::from_secs(5);

/// Reads one source type. It shares nothing with evaluation but the state, so that it can run beside it.
pub(crate) struct Importer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
    /// Rung after each page.
    pub(crate) imported: Arc<Notify>,
    pub(crate) side: Arc<SourceSide>,
    /// Who evaluates new objects straight away.
    pub(crate) handing: Option<Handing>,
    pub(crate) merged_together: usize,
    pub(crate) stop: Stop,
}

impl Engine {
    pub(crate) fn importer(&self, side: &Arc<SourceSide>, handing: Option<Handing>) -> Importer {
        Importer {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            observer: Arc::clone(&self.observer),
            imported: Arc::clone(&self.imported),
            side: Arc::clone(side),
            handing,
            merged_together: self.merged_together,
            stop: self.stop.clone(),
        }
    }
}

impl Importer {
    /// Reads until the round is complete. Returns how many entries came.
    ///
    /// The next pages are on their way while the last ones are merged, and pages that come fast are merged together.
    pub(crate) async fn run(mut self, full: bool) -> Result<u64, EngineError> {
        let side = Arc::clone(&self.side);
        if side.connector.source().is_none() {
            return Err(side.error(ConnectorError::Unsupported("reading".to_owned())));
        }
        let capabilities = side.object_type.source.clone();
        let changes = capabilities.as_ref().and_then(|capabilities| capabilities.changes.clone());
        let starts_full = changes.as_ref().is_some_and(|changes| changes.starts_full);
        let has_changes = changes.is_some();
        let surveys = changes.as_ref().map(|changes| Survey::new(changes, &side.wanted));
        let mut standing = self.store.source_type(side.connection, &side.object_type.name).await?;
        let (request, ids, grown) = side.request(self.store.as_ref(), &standing).await?;
        // A full read that was begun goes on; changes that were being read are among what it reads anyway.
        let starts_anew = full && standing.round != Round::Full;
        let is_first = standing.round == Round::Idle && (standing.watermark.is_none() || !has_changes);
        if grown || starts_anew || is_first {
            standing = fresh_round(&standing);
        } else if standing.round == Round::Idle {
            standing.round = Round::Delta;
            standing.cursor = None;
        }
        standing.attributes = ids;
        let resumes_keys = standing.round == Round::Keys;
        let (mut entries, mut standing) = self.read_round(&request, standing, starts_full, has_changes).await?;
        if resumes_keys {
            standing.round = Round::Delta;
            let (more, after) = self.read_round(&request, standing, starts_full, has_changes).await?;
            (entries, standing) = (entries + more, after);
        }
        if surveys.is_some_and(|survey| survey.is_due(&standing, self.clock.now())) {
            // What is held as missing must be marked as seen where it came back.
            let needs_no_marks = !standing.unswept && unshown(&side.wanted, &request).is_empty();
            if needs_no_marks && self.all_are_there(&request).await? {
                self.note_keys_read(&standing).await?;
                return Ok(entries);
            }
            standing.round = Round::Keys;
            standing.generation += 1;
            tracing::info!(generation = standing.generation, "all keys are read, to find what is gone");
            let (more, _) = self.read_round(&request, standing, starts_full, has_changes).await?;
            entries += more;
        }
        Ok(entries)
    }

    /// Reads until a round is complete. Returns how many entries came, and where reading stands then.
    async fn read_round(
        &mut self,
        request: &ReadRequest,
        mut standing: SourceType,
        starts_full: bool,
        has_changes: bool,
    ) -> Result<(u64, SourceType), EngineError> {
        let side = Arc::clone(&self.side);
        // What is always read in full begins anew with every cycle.
        if standing.round == Round::Full && standing.cursor.is_none() && has_changes {
            tracing::info!(generation = standing.generation, "a full read begins");
        }
        let references = request.attributes.iter().map(|name| side.references.get(name).cloned()).collect();
        let (connector, pages) = (Arc::clone(&side.connector), mpsc::channel(1).1);
        let unshown = unshown(&side.wanted, request);
        let request = request.clone();
        let mut reading = Reading { connector, request, unshown, starts_full, task: JoinSet::new(), pages };
        let committed = (!self.store.has_objects(side.id).await?).then(Committed::default);
        let mut unmerged = Pages { entries: Vec::new(), weight: 0, committed, references };
        let mut cursors = HashSet::new();
        let mut entries = 0;
        let mut restarts = 0;
        let mut empty_pages = 0;
        reading.start(&standing);
        loop {
            let answer = match unmerged.entries.is_empty() {
                true => tokio::select! {
                    biased;
                    () = self.stop.asked() => return Err(EngineError::Stopped),
                    answer = reading.next() => answer?,
                },
                false => match tokio::time::timeout(PATIENCE, reading.next()).await {
                    Ok(answer) => answer?,
                    Err(_) => {
                        self.commit(&standing, &mut unmerged, false).await?;
                        continue;
                    }
                },
            };
            // A page that was there before would lead round in a circle.
            let answer = match answer {
                Ok(Fetched { next: Next::Page(cursor), .. }) if !cursors.insert(cursor.clone().0) => {
                    Err(ConnectorError::Expired { expired: Expired::Cursor })
                }
                Ok(Fetched { next: Next::Page(_), entries, .. })
                    if entries.is_empty() && empty_pages + 1 >= MAX_EMPTY_PAGES =>
                {
                    Err(ConnectorError::Bug(format!(
                        "the source misbehaves: {MAX_EMPTY_PAGES} pages in a row had no entry and each led to another one"
                    )))
                }
                answer => answer,
            };
            match answer {
                Ok(page) => {
                    empty_pages = if page.entries.is_empty() { empty_pages + 1 } else { 0 };
                    entries += page.entries.len() as u64;
                    self.observer.read(page.entries.len() as u64);
                    if let Some(time) = page.source_time {
                        self.clock.heard(time.timestamp_millis());
                    }
                    let is_idle = page.entries.is_empty() && unmerged.entries.is_empty() && standing.cursor.is_none();
                    let before = standing.watermark.clone();
                    let done = advance(&mut standing, &page, starts_full);
                    if done && is_idle && standing.round == Round::Delta && standing.watermark == before {
                        // Nothing new at all: not even the state is written.
                        return Ok((entries, idle(standing)));
                    }
                    // A group may bring a thousand members along.
                    unmerged.weight += page.entries.iter().map(|entry| 1 + entry.edges.len()).sum::<usize>();
                    unmerged.entries.extend(page.entries);
                    if done || unmerged.weight >= self.merged_together {
                        self.commit(&standing, &mut unmerged, done).await?;
                    }
                    if done {
                        if standing.round != Round::Delta {
                            standing.keys_read = Some(self.clock.now());
                        }
                        return Ok((entries, idle(standing)));
                    }
                }
                Err(error) => {
                    if !unmerged.entries.is_empty() {
                        self.commit(&standing, &mut unmerged, false).await?;
                    }
                    match error {
                        ConnectorError::Expired { expired } if restarts < MAX_RESTARTS => {
                            restarts += 1;
                            tracing::info!(%expired, "the source begins again");
                            cursors.clear();
                            standing = restarted(&standing, expired);
                            // What was read before may be gone from what is read now.
                            unmerged.committed = None;
                            reading.start(&standing);
                        }
                        error => return Err(side.error(error)),
                    }
                }
            }
        }
    }

    /// Merges pages and commits them with the round's standing after them.
    async fn commit(&mut self, standing: &SourceType, pages: &mut Pages, done: bool) -> Result<(), EngineError> {
        let mut entries = std::mem::take(&mut pages.entries);
        pages.weight = 0;
        if standing.round == Round::Keys {
            self.read_unknown(&mut entries).await?;
        }
        let full = (standing.round == Round::Full).then_some(standing.generation);
        let ends_generation = done && standing.round != Round::Delta;
        // What the generation did not look at is not missing.
        let unread = match standing.round == Round::Keys && done {
            true => self.shown_references(&standing.attributes, &pages.references),
            false => Vec::new(),
        };
        let context =
            MergeContext { ids: &standing.attributes, references: &pages.references, full, now: self.clock.now() };
        let round = RoundWrite {
            round: if done { Round::Idle } else { standing.round },
            generation: standing.generation,
            unswept: standing.unswept || ends_generation,
            watermark: standing.watermark.clone(),
            cursor: standing.cursor.clone(),
            attributes: standing.attributes.clone(),
            keys_read: if ends_generation { Some(self.clock.now()) } else { standing.keys_read },
        };
        let (commit, summary) = loop {
            // The removal of what is not found goes by unnoticed, so nothing that is stored may be left out.
            let mut anchors = anchors(&entries);
            if let Some(committed) = &pages.committed {
                anchors.retain(|anchor| committed.may_hold(anchor));
            }
            let stored = match anchors.is_empty() {
                true => ObjectsByAnchor::new(),
                false => self.store.objects(self.side.id, &anchors).await?,
            };
            let Merged { objects, edges, complete } = merge(&context, &entries, &stored)?;
            // Where nothing was known before, nothing can be missing.
            let unswept = round.unswept && pages.committed.is_none();
            let round = RoundWrite { unswept, ..round.clone() };
            let commit =
                PageCommit { source_type: self.side.id, objects, edges, complete, unread: unread.clone(), round };
            let summary = self.store.commit_page(&commit).await?;
            if !summary.collided {
                break (commit, summary);
            }
            // Somebody referred to them before they were read.
            pages.committed = None;
        };
        if let Some(committed) = &mut pages.committed {
            commit.objects.iter().for_each(|object| committed.hold(&object.anchor));
            commit.edges.iter().for_each(|edge| committed.hold(&edge.referenced));
        }
        drop(entries);
        tracing::debug!(new = summary.new, round_is_complete = done, "pages are merged");
        self.observer.passed(if done { CommitPoint::RoundFinished } else { CommitPoint::PageMerged });
        self.imported.notify_one();
        if let Some(handing) = self.handing.take().filter(|_| standing.round == Round::Full) {
            self.handing = handing.hand(commit.objects, &summary).await;
        }
        Ok(())
    }
}

/// A standing whose round is complete.
fn idle(standing: SourceType) -> SourceType {
    SourceType { round: Round::Idle, cursor: None, ..standing }
}

fn anchors(entries: &[Entry]) -> Vec<Vec<u8>> {
    let mut anchors: Vec<Vec<u8>> = entries.iter().map(|entry| entry.key.encode()).collect();
    anchors.sort_unstable();
    anchors.dedup();
    anchors
}

/// Pages that are here and not merged yet.
struct Pages {
    entries: Vec<Entry>,
    /// Entries and references.
    weight: usize,
    /// Where no object of the type was stored when the round began, those that are by now; until one turns up that is
    /// not among them, or the round begins again. One importer at a time reads a type, so that nobody else adds any.
    committed: Option<Committed>,
    references: Vec<Option<ReferenceAttribute>>,
}

/// Reads pages ahead of their merging: a task of its own, which ends when this is dropped.
struct Reading {
    connector: Arc<dyn Connector>,
    request: ReadRequest,
    /// What is read with all keys.
    unshown: Unshown,
    starts_full: bool,
    task: JoinSet<()>,
    pages: mpsc::Receiver<Result<Fetched, ConnectorError>>,
}

/// How a round is read.
enum Way {
    /// Whole objects.
    Whole,
    /// What changed.
    Changes,
    /// All keys.
    Keys(Unshown),
}

/// A page of a round, whichever way it was read.
pub(crate) struct Fetched {
    pub(crate) entries: Vec<Entry>,
    pub(crate) next: Next,
    pub(crate) source_time: Option<DateTime<Utc>>,
    /// A watermark that was taken before the first page of a full read.
    pub(crate) taken: Option<Vec<u8>>,
}

impl Reading {
    /// Reads on from where a round stands.
    fn start(&mut self, standing: &SourceType) {
        let (connector, request) = (Arc::clone(&self.connector), self.request.clone());
        let way = match standing.round {
            Round::Full if !self.starts_full => Way::Whole,
            Round::Keys => Way::Keys(self.unshown.clone()),
            _ => Way::Changes,
        };
        let mut position = position(standing);
        let (to, pages) = mpsc::channel(PAGES_AHEAD);
        self.pages = pages;
        self.task = JoinSet::new();
        self.task.spawn(async move {
            // Room is waited for first, so that no page is in memory that has no place yet.
            while let Ok(room) = to.reserve().await {
                let answer = fetch(connector.as_ref(), &request, &way, &position).await;
                let next = match &answer {
                    Ok(Fetched { next: Next::Page(cursor), .. }) => Some(Position::Page(cursor.clone())),
                    _ => None,
                };
                room.send(answer);
                match next {
                    Some(next) => position = next,
                    None => return,
                }
            }
        });
    }

    async fn next(&mut self) -> Result<Result<Fetched, ConnectorError>, EngineError> {
        if let Some(answer) = self.pages.recv().await {
            return Ok(answer);
        }
        while let Some(ended) = self.task.join_next().await {
            joined(ended)?;
        }
        Err(EngineError::Stopped)
    }
}

async fn fetch(
    connector: &dyn Connector,
    request: &ReadRequest,
    way: &Way,
    position: &Position,
) -> Result<Fetched, ConnectorError> {
    let Some(source) = connector.source() else {
        return Err(ConnectorError::Unsupported("reading".to_owned()));
    };
    let cursor = match position {
        Position::Page(cursor) => Some(cursor),
        Position::Start(_) => None,
    };
    match way {
        Way::Whole => return source.read(request, cursor).await.map(whole_page),
        Way::Keys(unshown) => {
            let keys = source.read(&unshown.request, cursor).await?;
            return Ok(unshown.spread(whole_page(keys), request.attributes.len()));
        }
        Way::Changes => {}
    }
    let page = source.changes(request, position).await?;
    Ok(Fetched { entries: page.entries, next: page.next, source_time: page.source_time, taken: None })
}

/// Moves a round on by a page. Returns whether it is complete.
fn advance(standing: &mut SourceType, page: &Fetched, starts_full: bool) -> bool {
    if let Some(taken) = page.taken.as_ref().filter(|_| standing.round == Round::Full) {
        standing.watermark = Some(taken.clone());
    }
    match &page.next {
        Next::Done(Watermark(watermark)) => {
            // A full read's own watermark was taken before its first page and is good now that the last one is here.
            if standing.round == Round::Delta || (starts_full && standing.round == Round::Full) {
                standing.watermark = Some(watermark.clone());
            }
            standing.cursor = None;
            true
        }
        Next::Page(Cursor(cursor)) => {
            standing.cursor = Some(cursor.clone());
            false
        }
    }
}

/// Passes new objects on to their evaluation while they are in memory, as long as it keeps up.
pub(crate) struct Handing {
    pub(crate) sync: SyncId,
    pub(crate) to: mpsc::Sender<Vec<LinkView>>,
}

impl Handing {
    /// Hands over the new objects of a page. `None` ends it for this cycle: what is not handed over is found in
    /// the state, where it is marked.
    async fn hand(self, objects: Vec<ObjectWrite>, summary: &PageSummary) -> Option<Self> {
        let (_, first) = summary.first_links.iter().find(|(sync, _)| *sync == self.sync)?;
        let known = objects.len() as u64 - summary.new;
        // Mostly known objects are looked for in the state, which is the quicker for it.
        if known > summary.new {
            return None;
        }
        let fresh = objects.into_iter().filter(|object| object.known.is_none());
        // Room is waited for first, so that one page at most is ready and waiting.
        let room = tokio::time::timeout(PATIENCE_WITH_EVALUATION, self.to.clone().reserve_owned()).await;
        let views = (0..).zip(fresh).map(|(position, object)| LinkView {
            id: LinkId(first.0 + position),
            object: ObjectId(summary.first_object.0 + position),
            anchor: object.anchor,
            source: object.state,
            removed: object.removed,
            removed_since: object.removed_since,
            state: LinkState::Candidate,
            origin: Origin::None,
            target_key: None,
            written: None,
            sticky: None,
            dirty: 1,
            attempts: 0,
            due_at: None,
            parked: false,
            referred: None,
            member_of: None,
        });
        // A target that is slow must not keep the import waiting: page tokens die in minutes.
        let Ok(Ok(room)) = room else { return None };
        room.send(views.collect());
        Some(self)
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
        (Expired::Cursor, Round::Delta | Round::Keys) => SourceType { cursor: None, ..standing.clone() },
        _ => fresh_round(standing),
    }
}

fn position(standing: &SourceType) -> Position {
    match (&standing.cursor, standing.round) {
        (Some(cursor), _) => Position::Page(Cursor(cursor.clone())),
        (None, Round::Full | Round::Keys) => Position::Start(None),
        (None, _) => Position::Start(standing.watermark.clone().map(Watermark)),
    }
}

/// A page of a full read in the form of a page of changes.
fn whole_page(page: ReadPage) -> Fetched {
    let next = match page.next {
        Some(cursor) => Next::Page(cursor),
        None => Next::Done(Watermark(Vec::new())),
    };
    let entries = page
        .objects
        .into_iter()
        .map(|object| {
            let change = if object.continues { Change::Same } else { Change::Whole(object.row) };
            Entry { key: object.key, change, edges: object.edges }
        })
        .collect();
    let source_time = page.source_time;
    Fetched { entries, next, source_time, taken: page.watermark.map(|Watermark(taken)| taken) }
}
