//! Matching: is there already a target object for this source object? Asked in bulk, before any create.

use std::collections::HashSet;

use muster_model::pack::{pack_row, unpack_row};
use muster_model::{Once, Row, Slot, Value};
use muster_store::{LinkId, LinkUpdate, LinkView, OperationKind, Owner, Removed};

use crate::apply::Sent;
use crate::compile::{Compiled, Matching};
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Wanted, evaluate, park};
use crate::guard::guarded_changes;
use crate::pass::{Progress, adopted, linked_state, parked, sooner, unchanged};
use crate::prepare::Prepared;
use crate::protect::{PROTECTED, reason};
use crate::report::Report;

/// The rule of whoever matches an object that belongs to somebody else.
pub(crate) const SECOND_CLAIMANT: &str = "second_claimant";

/// A link without a target object that should have one.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) link: LinkView,
    pub(crate) row: Row,
    pub(crate) match_value: Option<Value>,
    /// Whether one is created where none matches.
    pub(crate) may_create: bool,
    /// When it must be evaluated again by itself.
    pub(crate) due_at: Option<i64>,
}

impl Candidate {
    /// Nobody's object, and none is made: it is as it should be until its time comes.
    fn left_alone(&self) -> LinkUpdate {
        LinkUpdate { due_at: self.due_at, ..unchanged(&self.link) }
    }
}

/// Whether creates may go out without a look for objects that match. A create never overwrites, so where the target
/// itself keeps the matched attribute unique, an object that is there refuses the create and is found then. That is
/// cheaper as long as there are next to none.
#[derive(Debug, Default)]
pub(crate) struct Blind {
    allowed: bool,
    /// Links whose create met an object that is there.
    met: HashSet<LinkId>,
}

/// So many must have been looked for in vain before creates go out blindly.
pub(crate) const LOOKED_FOR: usize = 500;

impl Blind {
    /// A blind create met something: that link, and whoever comes next, is looked for.
    pub(crate) fn no_more(&mut self, link: LinkId) {
        self.allowed = false;
        self.met.insert(link);
    }

    fn learned(&mut self, asked: usize, found: usize, enough: usize) {
        if asked >= enough {
            self.allowed = found == 0;
        }
    }

    fn may(&self, compiled: &Compiled, matching: &Matching, link: &LinkView) -> bool {
        self.allowed
            && compiled.capabilities.once != Once::None
            && compiled.columns.get(matching.target).is_some_and(|column| column.attribute.unique)
            && link.attempts == 0
            && !self.met.contains(&link.id)
    }
}

impl Engine {
    /// Looks for target objects that match the candidates: one is adopted, none is created, more wait for a person.
    pub(crate) async fn matched(
        &self,
        prepared: &Prepared,
        candidates: Vec<Candidate>,
        progress: &mut Progress,
        settled: &mut Vec<LinkUpdate>,
        sending: &mut Vec<Sent>,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        if candidates.is_empty() {
            return Ok(());
        }
        let compiled = &prepared.compiled;
        let Some(matching) = &compiled.matching else {
            let (creating, waiting): (Vec<_>, Vec<_>) =
                candidates.into_iter().partition(|candidate| candidate.may_create);
            report.unchanged += waiting.len() as u64;
            settled.extend(waiting.iter().map(Candidate::left_alone));
            sending.extend(creating.into_iter().map(|candidate| Sent::create(compiled, candidate)));
            return Ok(());
        };
        let mut asked = Vec::new();
        for candidate in candidates {
            match &candidate.match_value {
                None if !candidate.may_create => {
                    report.unchanged += 1;
                    settled.push(candidate.left_alone());
                }
                Some(value) if progress.creating.contains(value) => {
                    // Its twin's create is on its way; what came of it shows when this link's turn comes again.
                    progress.unsettled(&candidate.link);
                }
                Some(value) if candidate.may_create && progress.blind.may(compiled, matching, &candidate.link) => {
                    progress.creating.insert(value.clone());
                    sending.push(Sent { blind: true, ..Sent::create(compiled, candidate) });
                }
                Some(value) => {
                    progress.creating.insert(value.clone());
                    asked.push((value.clone(), candidate));
                }
                None if compiled.anchor.is_some() => sending.push(Sent::create(compiled, candidate)),
                None => {
                    let attribute = compiled.columns.get(matching.target).map(|column| column.attribute.name.clone());
                    let message =
                        "the value to match by is empty, so the new object could never be recognised".to_owned();
                    if let Wanted::Park(reason) =
                        park(OperationKind::Create, "match_value_empty", attribute.as_deref(), message)
                    {
                        report.parked += 1;
                        settled.push(parked(&candidate.link, reason, self.clock.now()));
                    }
                }
            }
        }
        let found = self.find(prepared, matching.target, asked.iter().map(|(value, _)| value.clone())).await?;
        let met = found.iter().filter(|objects| !objects.is_empty()).count();
        progress.blind.learned(found.len(), met, self.blind_after);
        let keys: Vec<Vec<u8>> = found.iter().flatten().map(|object| object.key.encode()).collect();
        let owners = if keys.is_empty() {
            std::collections::HashMap::new()
        } else {
            self.store.owners(prepared.target.id, &keys).await?
        };
        let left = self.left_by_date(prepared, owners.values(), &progress.open).await?;
        let mut claimed: HashSet<Vec<u8>> = HashSet::new();
        for ((value, candidate), mut objects) in asked.into_iter().zip(found) {
            let refusal = match objects.as_slice() {
                [] if !candidate.may_create => {
                    progress.creating.remove(&value);
                    report.unchanged += 1;
                    settled.push(candidate.left_alone());
                    continue;
                }
                [] => {
                    sending.push(Sent::create(compiled, candidate));
                    continue;
                }
                [one] => {
                    let key = one.key.encode();
                    // Whoever comes back under a new anchor gets what the former one had.
                    let owned = owners.get(&key).is_some_and(|owner| {
                        owner.link != candidate.link.id
                            && owner.removed == Removed::No
                            && !(candidate.may_create && left.contains(&owner.link))
                    });
                    if compiled.protects(&one.row) && !compiled.rules.protect.is_empty() {
                        Some((PROTECTED, reason(compiled, OperationKind::Update).message))
                    } else if owned || !claimed.insert(key) {
                        Some((
                            SECOND_CLAIMANT,
                            "the matching object belongs to another source object already".to_owned(),
                        ))
                    } else {
                        None
                    }
                }
                _ => Some(("ambiguous_match", "more than one object of the target matches".to_owned())),
            };
            progress.creating.remove(&value);
            if let Some((rule, message)) = refusal {
                if rule == SECOND_CLAIMANT && !candidate.may_create {
                    // Outside the person's own dates there is nothing to claim.
                    report.unchanged += 1;
                    settled.push(candidate.left_alone());
                    continue;
                }
                if rule == SECOND_CLAIMANT && candidate.link.attempts == 0 {
                    // Perhaps its owner is giving the value up in this very cycle: the second pass knows.
                    progress.unsettled(&candidate.link);
                    let attempts = i64::from(!progress.arriving);
                    settled.push(LinkUpdate { evaluated: 0, attempts, ..unchanged(&candidate.link) });
                    continue;
                }
                let attribute = compiled.columns.get(matching.target).map(|column| column.attribute.name.as_str());
                if let Wanted::Park(reason) = park(OperationKind::Create, rule, attribute, message) {
                    report.parked += 1;
                    settled.push(sooner(parked(&candidate.link, reason, self.clock.now()), candidate.due_at));
                }
                continue;
            }
            if let Some(object) = objects.pop() {
                self.adopt(prepared, candidate.link, &object, progress, settled, sending, report)?;
            }
        }
        Ok(())
    }

    /// Those owners of target objects whose end has passed, and for which nothing is being written now. Many sources
    /// keep the former record of a person who is hired again.
    pub(crate) async fn left_by_date(
        &self,
        prepared: &Prepared,
        owners: impl Iterator<Item = &Owner>,
        open: &HashSet<LinkId>,
    ) -> Result<HashSet<LinkId>, EngineError> {
        let Some(lifecycle) = &prepared.compiled.lifecycle else { return Ok(HashSet::new()) };
        let links: Vec<LinkId> = owners.filter(|owner| owner.sync == prepared.sync).map(|owner| owner.link).collect();
        let mut left = HashSet::new();
        if links.is_empty() {
            return Ok(left);
        }
        for link in self.store.links(&links).await? {
            let source = unpack_row(&prepared.layout.source, link.source.as_deref().unwrap_or_default())?;
            let now = self.clock.lifecycle();
            if !lifecycle.window(&source).has_ended(now) || open.contains(&link.id) {
                continue;
            }
            let wanted = evaluate(&prepared.compiled, &prepared.layout, &link, now)?.wanted;
            // What is guarded leaves at the end of a cycle only.
            if matches!(wanted, Wanted::Nothing(_)) || !guarded_changes(prepared, &link, &wanted)?.is_empty() {
                left.insert(link.id);
            }
        }
        Ok(left)
    }

    pub(crate) async fn find(
        &self,
        prepared: &Prepared,
        target: usize,
        values: impl Iterator<Item = Value>,
    ) -> Result<Vec<Vec<muster_connector::FoundObject>>, EngineError> {
        let side = &prepared.target;
        let Some(connector) = side.connector.target() else { return Err(EngineError::NoConnection(side.name.clone())) };
        let by: Vec<String> =
            prepared.compiled.columns.get(target).map(|column| column.attribute.name.clone()).into_iter().collect();
        let values: Vec<Vec<Value>> = values.map(|value| vec![value]).collect();
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let found = connector
            .find(&side.request, &by, &values)
            .await
            .map_err(|error| EngineError::connection(&side.name, error))?;
        if found.len() == values.len() {
            return Ok(found);
        }
        let problem = format!("asked to find {} objects, it answered {}", values.len(), found.len());
        Err(EngineError::connection(&side.name, muster_connector::Error::Bug(problem)))
    }

    /// Links an existing object and evaluates at once what its values lack.
    fn adopt(
        &self,
        prepared: &Prepared,
        link: LinkView,
        object: &muster_connector::FoundObject,
        progress: &mut Progress,
        settled: &mut Vec<LinkUpdate>,
        sending: &mut Vec<Sent>,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let compiled = &prepared.compiled;
        let off = Slot::One(Value::Boolean(false));
        let disabled = compiled.enabling.is_some_and(|position| *object.row.slot(position) == off);
        let adopted_link = LinkView {
            state: linked_state(disabled),
            origin: adopted(link.origin),
            target_key: Some(object.key.encode()),
            written: Some(pack_row(&prepared.layout.target, &object.row)),
            ..link
        };
        report.adopted += 1;
        let evaluation = evaluate(compiled, &prepared.layout, &adopted_link, self.clock.lifecycle())?;
        let guarded = guarded_changes(prepared, &adopted_link, &evaluation.wanted)?;
        // A former owner whose source object is gone loses the object in the same transaction.
        let base = LinkUpdate { written: adopted_link.written.clone(), fresh_key: true, ..unchanged(&adopted_link) };
        match evaluation.wanted {
            // What holds several values comes next.
            Wanted::Nothing(state) if !compiled.many.is_empty() => {
                settled.push(LinkUpdate { evaluated: 0, state, ..base });
            }
            Wanted::Nothing(state) => settled.push(LinkUpdate { state, due_at: evaluation.due_at, ..base }),
            Wanted::Park(reason) => {
                settled.push(LinkUpdate { parked: Some(reason), due_at: evaluation.due_at, ..base });
            }
            // The adoption is recorded now; the link stays dirty until the difference is gone.
            Wanted::Change(change) => {
                settled.push(LinkUpdate { evaluated: 0, ..base });
                if guarded.is_empty() {
                    let sent = Sent::change(compiled, adopted_link, change, evaluation.due_at);
                    sending.push(Sent { counted: true, rest: !compiled.many.is_empty(), ..sent });
                } else {
                    progress.left.insert(adopted_link.id, adopted_link.dirty);
                    progress.counted.insert(adopted_link.id);
                    progress.guarded.insert(adopted_link.id, guarded);
                }
            }
            Wanted::NotYet | Wanted::Object { .. } | Wanted::Delete => {
                settled.push(LinkUpdate { evaluated: 0, ..base });
            }
        }
        Ok(())
    }
}
