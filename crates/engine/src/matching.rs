//! Matching: is there already a target object for this source object? Asked in bulk, before any create.

use std::collections::HashSet;

use muster_connector::FoundObject;
use muster_model::pack::{pack_row, unpack_row};
use muster_model::{Once, Row, Slot, Value};
use muster_store::{LinkId, LinkUpdate, LinkView, OperationKind, Owner, ParkReason, Removed};

use crate::apply::Sent;
use crate::compile::Compiled;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Wanted, evaluate, park};
use crate::guard::guarded_changes;
use crate::pass::{Progress, adopted, linked_state, parked, sooner, unchanged};
use crate::prepare::Prepared;
use crate::protect::{PROTECTED, reason};
use crate::recognition::MatchValues;
use crate::report::Report;

/// The rule of whoever matches an object that belongs to somebody else.
pub(crate) const SECOND_CLAIMANT: &str = "second_claimant";

/// After how long an object that others have to make is looked for again, in milliseconds.
const LOOK_AGAIN: i64 = 3_600_000;

/// A match rule, and what it found.
type Found = (usize, Vec<FoundObject>);

/// A link without a target object that should have one.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) link: LinkView,
    pub(crate) row: Row,
    /// The values to match by, in the order of the rules.
    pub(crate) matches: Vec<MatchValues>,
    /// Whether one is created where none matches.
    pub(crate) may_create: bool,
    /// When it must be evaluated again by itself.
    pub(crate) due_at: Option<i64>,
}

impl Candidate {
    /// Nobody's object, and none is made: it is as it should be until its time comes. Where none is ever made, somebody
    /// else may make it, and tells nobody.
    fn left_alone(&self, compiled: &Compiled, now: i64) -> LinkUpdate {
        let look_again = (!compiled.rules.creates).then(|| now.saturating_add(LOOK_AGAIN));
        let due_at = [self.due_at, look_again].into_iter().flatten().min();
        LinkUpdate { due_at, ..unchanged(&self.link) }
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

    fn may(&self, compiled: &Compiled, candidate: &Candidate) -> bool {
        // A create meets whatever any of the rules would find.
        let meets = |matched: &MatchValues| match compiled.positions(matched.rule).as_slice() {
            [only] => compiled
                .columns
                .get(*only)
                .is_some_and(|column| column.attribute.unique && column.input != crate::compile::Input::None),
            _ => false,
        };
        self.allowed
            && compiled.capabilities.once != Once::None
            && candidate.link.attempts == 0
            && !self.met.contains(&candidate.link.id)
            && candidate.matches.iter().all(meets)
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
        let mut asked = Vec::new();
        for candidate in candidates {
            if candidate.matches.is_empty() && !candidate.may_create {
                report.unchanged += 1;
                settled.push(candidate.left_alone(compiled, self.clock.lifecycle()));
            } else if candidate.matches.is_empty() {
                if compiled.matching.is_empty() || compiled.anchor.is_some() {
                    sending.push(Sent::create(compiled, candidate));
                } else {
                    report.parked += 1;
                    settled.push(parked(&candidate.link, nothing_to_match_by(compiled), self.clock.now()));
                }
            } else if progress.is_reserved(compiled, &candidate.matches) {
                // Its twin's create is on its way; what came of it shows when this link's turn comes again.
                progress.unsettled(&candidate.link);
            } else {
                progress.reserve(compiled, &candidate.matches);
                if candidate.may_create && progress.blind.may(compiled, &candidate) {
                    sending.push(Sent { blind: true, ..Sent::create(compiled, candidate) });
                } else {
                    asked.push(candidate);
                }
            }
        }
        let found = self.find_in_turn(prepared, &asked).await?;
        let met = found.iter().filter(|found| found.is_some()).count();
        progress.blind.learned(found.len(), met, self.blind_after);
        let objects = found.iter().flatten().flat_map(|(_, objects)| objects);
        let keys: Vec<Vec<u8>> = objects.map(|object| object.key.encode()).collect();
        let owners = if keys.is_empty() {
            std::collections::HashMap::new()
        } else {
            self.store.owners(prepared.target.id, &keys).await?
        };
        let left = self.left_by_date(prepared, owners.values(), &progress.open).await?;
        let mut claimed: HashSet<Vec<u8>> = HashSet::new();
        for (candidate, found) in asked.into_iter().zip(found) {
            let Some((rule, mut objects)) = found else {
                if !candidate.may_create {
                    progress.release(compiled, &candidate.matches);
                    report.unchanged += 1;
                    settled.push(candidate.left_alone(compiled, self.clock.lifecycle()));
                    continue;
                }
                sending.push(Sent::create(compiled, candidate));
                continue;
            };
            let refusal = match objects.as_slice() {
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
            progress.release(compiled, &candidate.matches);
            if let Some((refusal, message)) = refusal {
                if refusal == SECOND_CLAIMANT && !candidate.may_create && compiled.rules.creates {
                    // Outside the person's own dates there is nothing to claim.
                    report.unchanged += 1;
                    settled.push(candidate.left_alone(compiled, self.clock.lifecycle()));
                    continue;
                }
                if refusal == SECOND_CLAIMANT && candidate.link.attempts == 0 {
                    // Perhaps its owner is giving the value up in this very cycle: the second pass knows.
                    progress.unsettled(&candidate.link);
                    let attempts = i64::from(!progress.arriving);
                    settled.push(LinkUpdate { evaluated: 0, attempts, ..unchanged(&candidate.link) });
                    continue;
                }
                let attribute = compiled.rule_name(rule);
                if let Wanted::Park(reason) = park(OperationKind::Create, refusal, Some(&attribute), message) {
                    report.parked += 1;
                    settled.push(sooner(parked(&candidate.link, reason, self.clock.now()), candidate.due_at));
                }
                continue;
            }
            if let Some(object) = objects.pop() {
                *progress.matched_by.entry(rule).or_default() += 1;
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

    /// What the first rule that finds anything found for each candidate, with that rule. Each rule is asked once, for
    /// all candidates that the rules before it did not find.
    async fn find_in_turn(&self, prepared: &Prepared, asked: &[Candidate]) -> Result<Vec<Option<Found>>, EngineError> {
        let mut found: Vec<Option<Found>> = vec![None; asked.len()];
        for rule in 0..prepared.compiled.matching.len() {
            let mut waiting = Vec::new();
            let mut values = Vec::new();
            for (number, candidate) in asked.iter().enumerate().filter(|(number, _)| found[*number].is_none()) {
                if let Some(matched) = candidate.matches.iter().find(|matched| matched.rule == rule) {
                    waiting.push(number);
                    values.push(matched.values.clone());
                }
            }
            let answers = self.find(prepared, &prepared.compiled.positions(rule), values).await?;
            for (number, objects) in waiting.into_iter().zip(answers) {
                found[number] = (!objects.is_empty()).then_some((rule, objects));
            }
        }
        Ok(found)
    }

    /// The target objects whose attributes at these positions have the values.
    pub(crate) async fn find(
        &self,
        prepared: &Prepared,
        by: &[usize],
        values: Vec<Vec<Value>>,
    ) -> Result<Vec<Vec<FoundObject>>, EngineError> {
        let side = &prepared.target;
        let Some(connector) = side.connector.target() else { return Err(EngineError::NoConnection(side.name.clone())) };
        let names = by.iter().filter_map(|position| prepared.compiled.columns.get(*position));
        let by: Vec<String> = names.map(|column| column.attribute.name.clone()).collect();
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
        object: &FoundObject,
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

/// Why somebody without any value to match by gets no object.
fn nothing_to_match_by(compiled: &Compiled) -> ParkReason {
    let message = match compiled.matching.len() {
        1 => "the value to match by is empty, so the new object could never be recognised",
        _ => "every match rule lacks a value, so the new object could never be recognised",
    };
    ParkReason {
        operation: None,
        kind: OperationKind::Create,
        rule: "match_value_empty".to_owned(),
        attribute: Some(compiled.rule_name(0)),
        message: message.to_owned(),
    }
}
