//! Passes over dirty links: evaluate a slice, match its candidates, settle what needs nothing, send the rest.
//! While one slice is at the target, the next is evaluated.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_store::{
    EventRecord, LinkId, LinkState, LinkUpdate, LinkView, OperationKind, Origin, ParkReason, ReferredEnd,
};
use tokio::sync::mpsc;
use tokio::task::JoinError;

use crate::apply::{Sent, Shipment};
use crate::commit::CommitPoint;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Wanted, evaluate, park};
use crate::fleet::Fleet;
use crate::guard::{Group, GuardedChange, Verdict, guarded_changes, harmless};
use crate::matching::{Blind, Candidate};
use crate::prepare::Prepared;
use crate::quarantine::{Reason, Window};
use crate::recognition::MatchValues;
use crate::record::look_again;
use crate::report::Report;
use crate::rules::GuardKind;
use crate::values::{Step, ValueProgress};

/// Links evaluated together: large enough for set-based writing, small enough to hold a few such batches in memory.
pub(crate) const SLICE: u32 = 1_000;

/// Which links a pass visits, and what it may send.
#[derive(Clone, Copy)]
pub(crate) enum Pass<'a> {
    /// All dirty links, until nothing more comes; guarded changes are left out and collected.
    Free {
        /// Set when the import is over.
        until: &'a AtomicBool,
    },
    /// These links; guarded changes are left out and collected.
    These(&'a [LinkId]),
    /// These links, and those of their guarded changes that may go.
    Approved {
        /// The links.
        links: &'a [LinkId],
        /// Which changes may go.
        verdict: &'a Verdict,
    },
}

/// What a cycle remembers between slices.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Links that stay dirty on purpose, with the revision at which they were left.
    pub(crate) left: HashMap<LinkId, i64>,
    /// Links whose last operation is still open at the target.
    pub(crate) open: HashSet<LinkId>,
    /// Guarded changes wanted.
    pub(crate) guarded: BTreeMap<LinkId, Vec<GuardedChange>>,
    /// Links that the report has counted already, and that are visited again for their guarded changes.
    pub(crate) counted: HashSet<LinkId>,
    /// The last outcomes.
    pub(crate) window: Window,
    /// Outcomes of this cycle.
    pub(crate) succeeded: u64,
    pub(crate) refused: u64,
    /// The sync was put into quarantine: nothing more is sent.
    pub(crate) quarantined: bool,
    /// A quarantined sync tries a few objects.
    pub(crate) probing: bool,
    /// Objects parked, by reason.
    pub(crate) parked: BTreeMap<Reason, u64>,
    /// Objects that others changed at the target.
    pub(crate) drifted: u64,
    /// Linked objects that the target has no more.
    pub(crate) gone: crate::gone::Gone,
    /// What happened.
    pub(crate) events: Vec<EventRecord>,
    /// Match values of creates on their way: one in flight for each.
    pub(crate) creating: HashSet<MatchValues>,
    /// How many objects each rule found.
    pub(crate) matched_by: BTreeMap<usize, u64>,
    /// What `SelectUniqueValue` chose in this cycle: by attribute and value, for whom.
    pub(crate) chosen: HashMap<(usize, String), LinkId>,
    /// What is remembered of single values.
    pub(crate) values: ValueProgress,
    /// Whether creates may go out without a look for what matches.
    pub(crate) blind: Blind,
    /// New objects are being evaluated while others are still to be read.
    pub(crate) arriving: bool,
    /// The source was read to the end.
    pub(crate) read: Arc<AtomicBool>,
    /// Links that refer to what may still be read.
    pub(crate) until_read: Vec<LinkId>,
    /// Links whose disable was refused together with what else it wrote.
    pub(crate) refused_with_more: Vec<LinkId>,
    /// Links that failed to find peace in this cycle, to bound repeated attempts.
    pub(crate) attempts: HashMap<LinkId, u32>,
}

impl Progress {
    pub(crate) fn new(open: HashSet<LinkId>) -> Self {
        Self { open, ..Self::default() }
    }

    /// Those of these links that this cycle has not left as they are.
    fn unvisited(&self, mut links: Vec<LinkView>) -> Vec<LinkView> {
        links.retain(|link| !self.open.contains(&link.id) && self.left.get(&link.id) != Some(&link.dirty));
        links
    }

    /// The source was read: what waited for it is visited again.
    pub(crate) fn was_read(&mut self) {
        for link in self.until_read.drain(..) {
            self.left.remove(&link);
        }
    }

    /// Counts a refusal for the events.
    pub(crate) fn note_parked(&mut self, update: &LinkUpdate) {
        if let Some(reason) = &update.parked {
            *self.parked.entry((reason.rule.clone(), reason.attribute.clone())).or_default() += 1;
        }
    }

    /// Notes that a link stays dirty; after a few rounds it is left for the next cycle, so that a cycle ends.
    pub(crate) fn unsettled(&mut self, link: &LinkView) {
        const ROUNDS: u32 = 4;
        let rounds = self.attempts.entry(link.id).or_default();
        *rounds += 1;
        if *rounds >= ROUNDS {
            self.left.insert(link.id, link.dirty);
        }
    }
}

/// Whether a linked object refers to one that may be on its way from the source.
fn is_awaited(link: &LinkView) -> bool {
    let ends = link.referred.iter().flatten();
    link.state == LinkState::Linked && ends.map(|referred| &referred.end).any(|end| *end == ReferredEnd::Unread)
}

/// An evaluation that leaves the link as it is, apart from what the caller changes.
pub(crate) fn unchanged(link: &LinkView) -> LinkUpdate {
    LinkUpdate {
        link: link.id,
        seen: link.dirty,
        evaluated: link.dirty,
        dirty_again: false,
        state: link.state,
        origin: link.origin,
        target_key: link.target_key.clone(),
        fresh_key: false,
        written: None,
        due_at: None,
        not_before: None,
        attempts: 0,
        parked: None,
        values: Vec::new(),
    }
}

/// A link that waits for a change, and is looked at again by itself later.
pub(crate) fn parked(link: &LinkView, reason: ParkReason, now: i64) -> LinkUpdate {
    LinkUpdate { parked: Some(reason), due_at: Some(now + look_again(false)), ..unchanged(link) }
}

/// The same, looked at again by then at the latest.
pub(crate) fn sooner(update: LinkUpdate, due_at: Option<i64>) -> LinkUpdate {
    LinkUpdate { due_at: [update.due_at, due_at].into_iter().flatten().min(), ..update }
}

impl Engine {
    pub(crate) async fn pass(
        &self,
        prepared: &Prepared,
        pass: Pass<'_>,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let mut fleet = Fleet::new(prepared);
        let mut after = LinkId(0);
        let mut given = match pass {
            Pass::Free { .. } => [].as_slice(),
            Pass::These(links) | Pass::Approved { links, .. } => links,
        }
        .chunks(SLICE as usize);
        let mut moved = false;
        loop {
            if self.stop.is_asked() {
                self.land_all(prepared, &mut fleet, progress, report).await?;
                return Err(EngineError::Stopped);
            }
            let over = matches!(pass, Pass::Free { until } if until.load(Ordering::Acquire));
            if progress.quarantined {
                return self.land_all(prepared, &mut fleet, progress, report).await;
            }
            let links = match (pass, given.next()) {
                (Pass::Free { .. }, _) => self.store.dirty_links(prepared.sync, after, self.clock.now(), SLICE).await,
                (_, Some(ids)) => self.store.links(ids).await,
                (_, None) => Ok(Vec::new()),
            };
            let links = match links {
                Ok(links) => links,
                Err(error) => {
                    self.land_all(prepared, &mut fleet, progress, report).await.ok();
                    return Err(error.into());
                }
            };
            if links.is_empty() {
                // All that is at the target must be recorded before the same links may be looked at again.
                self.land_all(prepared, &mut fleet, progress, report).await?;
                if !matches!(pass, Pass::Free { .. }) || (over && !moved) {
                    return Ok(());
                }
                if !moved {
                    tokio::select! {
                        () = self.imported.notified() => {}
                        () = self.stop.asked() => {}
                    }
                }
                after = LinkId(0);
                moved = false;
                continue;
            }
            after = links.last().map_or(after, |link| link.id);
            let links = progress.unvisited(links);
            if links.is_empty() {
                continue;
            }
            moved = true;
            let verdict = if let Pass::Approved { verdict, .. } = pass { Some(verdict) } else { None };
            self.visit(prepared, links, verdict, &mut fleet, progress, report).await?;
        }
    }

    /// Evaluates new objects as the import hands them over, until it ends or evaluation falls too far behind. What
    /// was not handed over is dirty in the state.
    pub(crate) async fn arriving(
        &self,
        prepared: &Prepared,
        handed: &mut mpsc::Receiver<Vec<LinkView>>,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let mut fleet = Fleet::new(prepared);
        progress.arriving = true;
        loop {
            let links = tokio::select! {
                biased;
                Some(sent) = fleet.flying.join_next() => {
                    if let Err(error) = self.land(prepared, sent, &mut fleet, progress, report).await {
                        self.land_all(prepared, &mut fleet, progress, report).await.ok();
                        return Err(error);
                    }
                    continue;
                }
                () = self.stop.asked() => None,
                links = handed.recv() => links,
                () = fleet.closing.patience() => {
                    if let Err(error) = self.record(prepared, &mut fleet.closing, progress).await {
                        self.land_all(prepared, &mut fleet, progress, report).await.ok();
                        return Err(error);
                    }
                    continue;
                }
            };
            let Some(mut links) = links.filter(|_| !progress.quarantined) else {
                let landed = self.land_all(prepared, &mut fleet, progress, report).await;
                progress.arriving = false;
                return landed;
            };
            while !links.is_empty() {
                let rest = links.split_off(links.len().min(SLICE as usize));
                let links = progress.unvisited(std::mem::replace(&mut links, rest));
                self.visit(prepared, links, None, &mut fleet, progress, report).await?;
            }
        }
    }

    /// Evaluates links and sends what they call for.
    async fn visit(
        &self,
        prepared: &Prepared,
        links: Vec<LinkView>,
        verdict: Option<&Verdict>,
        fleet: &mut Fleet,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let shipments = match self.slice(prepared, links, verdict, progress, report).await {
            Ok(shipments) => shipments,
            Err(error) => {
                self.land_all(prepared, fleet, progress, report).await.ok();
                return Err(error);
            }
        };
        for shipment in shipments {
            let shipped = async {
                while fleet.is_full() {
                    self.land_next(prepared, fleet, progress, report).await?;
                }
                // What is not sent stays dirty.
                if !progress.quarantined {
                    self.ship(prepared, shipment, fleet).await?;
                }
                Ok(())
            };
            if let Err(error) = shipped.await {
                // What is on its way still lands, so that no more than necessary is unknown.
                self.land_all(prepared, fleet, progress, report).await.ok();
                return Err(error);
            }
            if progress.quarantined {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Evaluates a slice, records what needs no operation, and returns what must be sent.
    async fn slice(
        &self,
        prepared: &Prepared,
        links: Vec<LinkView>,
        verdict: Option<&Verdict>,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<Vec<Shipment>, EngineError> {
        let (now, lifecycle) = (self.clock.now(), self.clock.lifecycle());
        self.observer.evaluated(links.len() as u64);
        let mut settled = Vec::new();
        let mut candidates = Vec::new();
        let mut sending = Vec::new();
        progress.values.begin_slice();
        let links = self.with_groups(prepared, links).await?;
        for link in self.with_referred(prepared, links).await? {
            // To whom its old reference was, or that it leads nowhere now, is known when all is read.
            if is_awaited(&link) && !progress.read.load(Ordering::Acquire) {
                progress.left.insert(link.id, link.dirty);
                progress.until_read.push(link.id);
                continue;
            }
            let evaluation = evaluate(&prepared.compiled, &prepared.layout, &link, lifecycle)?;
            let mut guarded = guarded_changes(prepared, &link, &evaluation.wanted)?;
            let held_values = match self.value_step(prepared, &link, &evaluation, verdict, progress).await? {
                Step::None(removals) => {
                    let are_held = verdict.is_some() && !removals.is_empty();
                    guarded.extend(removals.into_iter().filter(|_| verdict.is_none()));
                    are_held
                }
                Step::Send(sent) => {
                    sending.push(*sent);
                    continue;
                }
                Step::Later => {
                    if verdict.is_some() {
                        progress.values.more.insert(link.id);
                    }
                    continue;
                }
                Step::Misfit(misfit, attribute) => {
                    report.parked += 1;
                    if let Wanted::Park(reason) =
                        park(OperationKind::Update, misfit.rule, Some(&attribute), misfit.message)
                    {
                        settled.push(parked(&link, reason, now));
                    }
                    continue;
                }
            };
            if guarded.is_empty() {
                // It may have called for something else before news arrived.
                progress.guarded.remove(&link.id);
            }
            match evaluation.wanted {
                Wanted::Nothing(_) | Wanted::Park(_) if !guarded.is_empty() => {
                    progress.left.insert(link.id, link.dirty);
                    progress.guarded.insert(link.id, guarded);
                }
                Wanted::Nothing(_) if held_values => {
                    progress.left.insert(link.id, link.dirty);
                }
                Wanted::Nothing(_) if progress.values.refusal(link.id).is_some() => {
                    report.parked += 1;
                    let reason = progress.values.refusal(link.id).cloned();
                    settled.extend(reason.map(|reason| parked(&link, reason, now)));
                }
                Wanted::Nothing(state) => {
                    report.unchanged += u64::from(!progress.values.counted.contains(&link.id));
                    settled.push(LinkUpdate { state, due_at: evaluation.due_at, ..unchanged(&link) });
                }
                Wanted::NotYet => {
                    progress.left.insert(link.id, link.dirty);
                }
                Wanted::Park(reason) => {
                    report.parked += 1;
                    settled.push(sooner(parked(&link, reason, now), evaluation.due_at));
                }
                Wanted::Object { row, matches, may_create } => {
                    candidates.push(Candidate { link, row, matches, may_create, due_at: evaluation.due_at });
                }
                Wanted::Change(_) | Wanted::Delete if !guarded.is_empty() && verdict.is_none() => {
                    progress.left.insert(link.id, link.dirty);
                    progress.guarded.insert(link.id, guarded);
                }
                Wanted::Change(change) => {
                    let may_go = |change: &GuardedChange| verdict.is_some_and(|verdict| verdict.lets(change));
                    let (going, waiting): (Vec<_>, Vec<_>) = guarded.into_iter().partition(may_go);
                    if !waiting.is_empty() {
                        progress.left.insert(link.id, link.dirty);
                    }
                    let Some(change) = harmless(prepared, change, &waiting) else { continue };
                    let counted = progress.counted.contains(&link.id) || progress.values.counted.contains(&link.id);
                    let (change, going, stripped) = match change.alone(&prepared.compiled) {
                        // Refused before with all that it writes, so what takes access away goes by itself.
                        Some(alone) if link.attempts > 0 => {
                            let is_it = |change: &GuardedChange| change.kind == GuardKind::Disable;
                            (alone, going.into_iter().filter(is_it).collect(), true)
                        }
                        _ => (change, going, false),
                    };
                    let rest =
                        stripped || !waiting.is_empty() || held_values || progress.values.refusal(link.id).is_some();
                    let sent = Sent::change(&prepared.compiled, link, change, evaluation.due_at);
                    sending.push(Sent { counted, charge: charge(going, verdict), rest, ..sent });
                }
                Wanted::Delete => {
                    if guarded.iter().all(|change| verdict.is_some_and(|verdict| verdict.lets(change))) {
                        sending.push(Sent { charge: charge(guarded, verdict), ..Sent::delete(link) });
                    } else {
                        progress.left.insert(link.id, link.dirty);
                    }
                }
            }
        }
        self.matched(prepared, candidates, progress, &mut settled, &mut sending, report).await?;
        let sending = self.hold_back(prepared, sending, progress, &mut settled, report);
        let sending = self.choose_unique(prepared, sending, progress, &mut settled, report).await?;
        let sending = self.spare_protected(prepared, sending, &mut settled, report).await?;
        for update in &settled {
            progress.note_parked(update);
        }
        if !settled.is_empty() {
            self.store.settle(prepared.sync, &settled, now).await?;
            self.observer.passed(CommitPoint::Settled);
        }
        Ok(Shipment::pack(sending, prepared))
    }
}

/// The changes that count towards a limit: those that no person approved.
pub(crate) fn charge(going: Vec<GuardedChange>, verdict: Option<&Verdict>) -> Vec<Group> {
    let is_granted = |change: &GuardedChange| verdict.is_some_and(|verdict| verdict.is_granted(change));
    going.into_iter().filter(|change| !is_granted(change)).map(|change| (change.kind, change.attribute)).collect()
}

/// A task's end; a panic of the connector's goes on here.
pub(crate) fn joined<T>(task: Result<T, JoinError>) -> Result<T, EngineError> {
    match task {
        Ok(result) => Ok(result),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(EngineError::Stopped),
        },
    }
}

/// A link that a create or adoption makes.
pub(crate) fn linked_state(disabled: bool) -> LinkState {
    if disabled { LinkState::Disabled } else { LinkState::Linked }
}

/// The origin after adoption: an object that Muster created once stays its own.
pub(crate) fn adopted(origin: Origin) -> Origin {
    if origin == Origin::Created { Origin::Created } else { Origin::Adopted }
}
