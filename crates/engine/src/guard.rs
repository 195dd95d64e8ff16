//! The guard: how many dangerous changes may go in a day, and what is held above that until a person approves it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use muster_model::pack::{pack_row, unpack_row};
use muster_model::{Row, Slot};
use muster_store::{EventRecord, Grant, HeldChange, HoldRecord, LinkId, LinkView};

use crate::commit::CommitPoint;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{ChangeWanted, Wanted};
use crate::pass::{Pass, Progress};
use crate::prepare::Prepared;
use crate::report::Report;
use crate::rules::GuardKind;

const DAY: i64 = 86_400_000;

/// How long a hold, and a grant, stands, in milliseconds.
pub const HOLD_EXPIRES: i64 = 72 * 3_600_000;

/// The kinds that changes of links have.
const OF_LINKS: [&str; 4] = ["disable", "delete", "clear", "member_removal"];

/// One dangerous change that a link calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct GuardedChange {
    pub(crate) link: LinkId,
    pub(crate) kind: GuardKind,
    /// The position of the attribute that is cleared.
    pub(crate) attribute: Option<usize>,
    /// Recognises the target object and what it loses, so that an approval serves nothing else.
    pub(crate) value: [u8; 16],
}

/// What is counted and held together.
pub(crate) type Group = (GuardKind, Option<usize>);

/// Which of the dangerous changes wanted may go.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Within their limits.
    allowed: HashSet<GuardedChange>,
    /// Approved by a person.
    granted: HashSet<GuardedChange>,
    /// What must wait.
    pub(crate) holds: Vec<HoldRecord>,
    held: BTreeSet<Group>,
}

impl Verdict {
    /// Whether a change may go.
    pub(crate) fn lets(&self, change: &GuardedChange) -> bool {
        self.granted.contains(change) || self.allowed.contains(change)
    }

    pub(crate) fn is_granted(&self, change: &GuardedChange) -> bool {
        self.granted.contains(change)
    }

    /// Whether a change waits for approval.
    pub(crate) fn holds_back(&self, change: &GuardedChange) -> bool {
        !self.granted.contains(change) && self.held.contains(&(change.kind, change.attribute))
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    short
}

/// The dangerous changes within what a link calls for.
pub(crate) fn guarded_changes(
    prepared: &Prepared,
    link: &LinkView,
    wanted: &Wanted,
) -> Result<Vec<GuardedChange>, EngineError> {
    let key = link.target_key.as_deref().unwrap_or_default();
    let change = |kind: GuardKind, attribute, lost: &[u8]| GuardedChange {
        link: link.id,
        kind,
        attribute,
        value: hash(&[kind.name().as_bytes(), key, lost]),
    };
    match wanted {
        Wanted::Delete => Ok(vec![change(GuardKind::Delete, None, b"")]),
        Wanted::Change(wanted) => {
            let mut changes = Vec::new();
            if wanted.enabling == Some(false) {
                changes.push(change(GuardKind::Disable, None, b""));
            }
            if wanted.row.0.contains(&Slot::Null) {
                let written = match &link.written {
                    Some(packed) => unpack_row(&prepared.layout.target, packed)?,
                    None => Row::default(),
                };
                for (position, slot) in wanted.row.0.iter().enumerate() {
                    let before = written.slot(position);
                    if *slot != Slot::Null || matches!(before, Slot::Unknown | Slot::Null) {
                        continue;
                    }
                    let ids = prepared.layout.target.get(position..=position).unwrap_or_default();
                    let lost = pack_row(ids, &Row(vec![before.clone()]));
                    changes.push(change(GuardKind::Clear, Some(position), &lost));
                }
            }
            Ok(changes)
        }
        _ => Ok(Vec::new()),
    }
}

/// The removal of one of several values as a guarded change.
pub(crate) fn removal_of(link: &LinkView, attribute: &str, value: &[u8]) -> GuardedChange {
    let key = link.target_key.as_deref().unwrap_or_default();
    let kind = GuardKind::MemberRemoval;
    let value = hash(&[kind.name().as_bytes(), key, attribute.as_bytes(), value]);
    GuardedChange { link: link.id, kind, attribute: None, value }
}

/// Takes out of a change what must wait. Returns what is left, if anything.
pub(crate) fn harmless(
    prepared: &Prepared,
    mut change: ChangeWanted,
    waiting: &[GuardedChange],
) -> Option<ChangeWanted> {
    for held in waiting {
        let position = match held.kind {
            GuardKind::Disable => {
                change.enabling = None;
                prepared.compiled.enabling
            }
            _ => held.attribute,
        };
        if let Some(slot) = position.and_then(|position| change.row.0.get_mut(position)) {
            *slot = Slot::Unknown;
        }
    }
    let is_empty = change.rename.is_none() && change.row.0.iter().all(Slot::is_unknown);
    (!is_empty).then_some(change)
}

/// The name under which changes of a group are counted.
pub(crate) fn counter(prepared: &Prepared, (kind, attribute): Group) -> String {
    match attribute_name(prepared, attribute) {
        Some(name) => format!("{}:{name}", kind.name()),
        None => kind.name().to_owned(),
    }
}

fn attribute_name(prepared: &Prepared, attribute: Option<usize>) -> Option<&str> {
    let name = prepared.compiled.target_attributes.get(attribute?)?;
    Some(name.as_str())
}

/// The first characters of a digest, as people type it.
#[must_use]
pub fn short_digest(digest: &[u8; 16]) -> String {
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// A list of changes as a hold.
pub(crate) fn hold(
    prepared: &Prepared,
    (kind, attribute): Group,
    items: Vec<HeldChange>,
    (allowed, base): (u64, u64),
    now: i64,
) -> HoldRecord {
    let attribute = attribute_name(prepared, attribute).map(str::to_owned);
    let links: Vec<u8> = items.iter().flat_map(|item| item.link.0.to_le_bytes()).collect();
    let values: Vec<u8> = items.iter().flat_map(|item| item.value).collect();
    let digest = hash(&[kind.name().as_bytes(), attribute.as_deref().unwrap_or("").as_bytes(), &links, &values]);
    HoldRecord {
        sync: prepared.sync,
        kind: kind.name().to_owned(),
        attribute,
        digest,
        created_at: now,
        expires_at: now + HOLD_EXPIRES,
        wanted: items.len() as u64,
        allowed,
        base,
        approved: false,
        items,
    }
}

/// A hold in a sentence.
pub(crate) fn held_note(sync: &str, hold: &HoldRecord) -> String {
    let HoldRecord { wanted, allowed, base, .. } = hold;
    let what = match &hold.attribute {
        Some(attribute) => format!("{} {attribute} of {wanted} of {base}", hold.kind),
        None => format!("{} {wanted} of {base}", hold.kind),
    };
    format!(
        "held: {sync} would {what} objects, and {allowed} may now. Nothing of it was sent; `muster held {sync}` lists it, \
         and `muster approve {sync} {}` lets it go",
        short_digest(&hold.digest)
    )
}

impl Engine {
    /// Decides over the dangerous changes that the links of this cycle call for: all of a kind go, or none; and sends
    /// what may go, with the harmless part of what must wait. `partial`: not all links were evaluated, so what is
    /// held stays as recorded.
    pub(crate) async fn guarded(
        &self,
        prepared: &Prepared,
        partial: bool,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        if progress.quarantined {
            return Ok(());
        }
        let wanted = std::mem::take(&mut progress.guarded);
        let now = self.clock.now();
        let verdict = self.verdict(prepared, &wanted).await?;
        let before = self.store.holds(prepared.sync).await?;
        if !partial && (!verdict.holds.is_empty() || before.iter().any(|hold| OF_LINKS.contains(&hold.kind.as_str()))) {
            let fresh = self.store.set_holds(prepared.sync, &OF_LINKS, &verdict.holds, now).await?;
            for hold in before.iter().filter(|hold| hold.expires_at <= now && !hold.approved) {
                progress.events.push(hold_event(hold, "expired", now));
            }
            for hold in &fresh {
                tracing::warn!(kind = hold.kind, wanted = hold.wanted, allowed = hold.allowed, "held by the guard");
                progress.events.push(hold_event(hold, "held", now));
            }
        }
        self.observer.passed(CommitPoint::HoldsRecorded);
        for hold in &verdict.holds {
            report.held += hold.wanted;
            report.notes.push(held_note(&prepared.compiled.rules.name, hold));
        }
        let links: Vec<LinkId> = wanted.into_keys().collect();
        for link in &links {
            progress.left.remove(link);
        }
        self.pass(prepared, Pass::Approved { links: &links, verdict: &verdict }, progress, report).await?;
        // More values may go than fit into one operation, and the rest of such links comes after them.
        loop {
            let links: Vec<LinkId> = std::mem::take(&mut progress.values.more).into_iter().collect();
            if links.is_empty() || progress.quarantined {
                break;
            }
            for link in &links {
                progress.left.remove(link);
            }
            self.pass(prepared, Pass::Approved { links: &links, verdict: &verdict }, progress, report).await?;
        }
        let again = std::mem::take(&mut progress.refused_with_more);
        if again.is_empty() {
            return Ok(());
        }
        // First what takes access away, by itself; then the rest, which the target will most likely refuse again.
        self.pass(prepared, Pass::Approved { links: &again, verdict: &verdict }, progress, report).await?;
        self.pass(prepared, Pass::These(&again), progress, report).await
    }

    /// Weighs what is wanted. The sync's population is counted only when a limit depends on it.
    pub(crate) async fn verdict(
        &self,
        prepared: &Prepared,
        wanted: &BTreeMap<LinkId, Vec<GuardedChange>>,
    ) -> Result<Verdict, EngineError> {
        let mut verdict = Verdict::default();
        if wanted.is_empty() {
            return Ok(verdict);
        }
        let now = self.clock.now();
        let grants: HashSet<Grant> = self.store.grants(prepared.sync, now).await?.into_iter().collect();
        let mut groups: BTreeMap<Group, Vec<GuardedChange>> = BTreeMap::new();
        for change in wanted.values().flatten() {
            let grant = Grant {
                link: change.link,
                kind: change.kind.name().to_owned(),
                attribute: attribute_name(prepared, change.attribute).unwrap_or("").to_owned(),
                value: change.value,
            };
            if grants.contains(&grant) {
                verdict.granted.insert(*change);
            } else {
                groups.entry((change.kind, change.attribute)).or_default().push(*change);
            }
        }
        for (group, changes) in groups {
            let limit = prepared.compiled.rules.guard.limit(group.0);
            let sent =
                self.store.sent_since(prepared.sync, &counter(prepared, group), self.clock.lifecycle() - DAY).await?;
            let total = sent + changes.len() as u64;
            if total <= limit.of(0) {
                verdict.allowed.extend(changes);
                continue;
            }
            let base = self.base(prepared, group).await?;
            let allowed = limit.of(base);
            if total <= allowed {
                verdict.allowed.extend(changes);
            } else {
                verdict.held.insert(group);
                let held = |change: &GuardedChange| HeldChange { link: change.link, value: change.value };
                let items = changes.iter().map(held).collect();
                let bounds = (allowed.saturating_sub(sent), base);
                verdict.holds.push(hold(prepared, group, items, bounds, now));
            }
        }
        Ok(verdict)
    }

    /// What a limit is a share of.
    async fn base(&self, prepared: &Prepared, (kind, attribute): Group) -> Result<u64, EngineError> {
        let id = attribute.and_then(|position| prepared.layout.target.get(position));
        match (kind, id) {
            (GuardKind::MemberRemoval, _) => Ok(self.store.count_written_values(prepared.sync).await?),
            (GuardKind::Clear, Some(id)) => Ok(self.store.links_with_value(prepared.sync, *id).await?),
            _ => {
                let counts = self.store.counts(prepared.sync, self.clock.now()).await?;
                Ok(counts.linked + counts.disabled)
            }
        }
    }
}

/// What is noted of a hold.
pub(crate) fn hold_event(hold: &HoldRecord, code: &str, now: i64) -> EventRecord {
    let attribute = hold.attribute.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    EventRecord {
        at: now,
        sync: hold.sync,
        link: None,
        code: code.to_owned(),
        detail: format!("{} {}{attribute} {}", hold.wanted, hold.kind, short_digest(&hold.digest)),
    }
}
