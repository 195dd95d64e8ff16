//! Attributes of several values, members of groups among them: the target is told what to add and what to remove, a
//! limited number at a time, so that no group ever stands as one value in memory or in the state.

use std::collections::{BTreeSet, HashMap, HashSet};

use muster_connector::{Outcome, ValueDelta};
use muster_model::{AttributeId, Key, Slot, Value};
use muster_store::{LinkId, LinkUpdate, LinkView, ObjectId, OperationKind, ParkReason, ReferencesOf, ValueWrite};

use crate::apply::Sent;
use crate::compile::{Column, Input};
use crate::computed::{Subject, flow};
use crate::convert::Misfit;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Evaluation, Present};
use crate::guard::{GuardedChange, Verdict, removal_of};
use crate::pass::{Progress, charge, unchanged};
use crate::prepare::Prepared;
use crate::references::naming;

/// The most values that one operation adds or removes.
const TOGETHER: usize = 2_000;

/// The most values that the operations of one slice add and remove.
const IN_A_SLICE: usize = 20_000;

/// Values read from the state together.
const PAGE: u32 = 10_000;

/// A target attribute of several values, which are written one by one.
#[derive(Debug, Clone)]
pub struct ManyColumn {
    /// The position of its column, into whose row nothing flows.
    pub position: usize,
    /// What flows.
    pub input: Input,
}

/// Values that were refused alone, and why the last of them was.
type Refused = (HashSet<(AttributeId, Vec<u8>)>, ParkReason);

/// What a cycle remembers of values between slices.
#[derive(Debug, Default)]
pub(crate) struct ValueProgress {
    /// How far additions are looked through: the link's revision, and the last referenced object.
    reached: HashMap<(LinkId, AttributeId), (i64, ObjectId)>,
    /// How many values at a time, where more were refused together.
    together: HashMap<LinkId, usize>,
    /// Values that were refused alone, and why the last of them was.
    refused: HashMap<LinkId, Refused>,
    /// Links of which more may be removed than fits into one operation.
    pub(crate) more: BTreeSet<LinkId>,
    /// Links whose values were changed, which the report has counted.
    pub(crate) counted: HashSet<LinkId>,
    /// Values in the operations of this slice.
    in_slice: usize,
    /// Values took effect, or were tried.
    moved: bool,
}

impl ValueProgress {
    pub(crate) fn begin_slice(&mut self) {
        self.in_slice = 0;
    }

    /// Whether values were on their way since this was asked last.
    pub(crate) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    fn is_refused(&self, link: LinkId, attribute: AttributeId, value: &[u8]) -> bool {
        self.refused.get(&link).is_some_and(|(values, _)| values.contains(&(attribute, value.to_vec())))
    }

    /// Why values of a link were refused, if any were.
    pub(crate) fn refusal(&self, link: LinkId) -> Option<&ParkReason> {
        self.refused.get(&link).map(|(_, reason)| reason)
    }

    /// Values took effect: the next ones follow them, more at a time again.
    pub(crate) fn succeeded(&mut self, sent: &Sent) {
        let Some(values) = &sent.values else { return };
        self.advance(sent, values);
        if let Some(together) = self.together.get_mut(&sent.link.id) {
            *together = (*together * 8).min(TOGETHER);
        }
    }

    fn advance(&mut self, sent: &Sent, values: &ValuesSent) {
        if let Some(reached) = values.reached {
            self.reached.insert((sent.link.id, values.write.attribute), (sent.link.dirty, reached));
        }
    }

    /// Values were refused: fewer are tried together, until the one to blame stands alone and is left out.
    pub(crate) fn refused(&mut self, sent: &Sent, outcome: &Outcome) -> Option<LinkUpdate> {
        let (Some(values), Outcome::Rejected { attribute, rule, message }) = (&sent.values, outcome) else {
            return None;
        };
        let link = &sent.link;
        let blamed: Vec<&Vec<u8>> = values.write.added.iter().chain(&values.write.removed).collect();
        if let [value] = blamed.as_slice() {
            let reason = ParkReason {
                operation: Some(sent.operation.id.0),
                kind: OperationKind::Update,
                rule: rule.clone(),
                attribute: attribute.clone(),
                message: message.clone(),
            };
            let (refused, last) = self.refused.entry(link.id).or_insert_with(|| (HashSet::new(), reason.clone()));
            *last = reason;
            refused.insert((values.write.attribute, (*value).clone()));
            self.advance(sent, values);
        } else {
            self.together.insert(link.id, (blamed.len() / 8).max(1));
        }
        Some(LinkUpdate { evaluated: 0, attempts: link.attempts, ..unchanged(link) })
    }
}

/// What is to be done about a link's values before anything else.
pub(crate) enum Step {
    /// Nothing that may be done now; these removals wait for the guard.
    None(Vec<GuardedChange>),
    /// This is to be sent first.
    Send(Box<Sent>),
    /// There is no room left in this slice.
    Later,
    /// A value of this attribute does not fit.
    Misfit(Misfit, String),
}

/// Values of one attribute on their way.
#[derive(Debug, Clone)]
pub(crate) struct ValuesSent {
    pub(crate) write: ValueWrite,
    /// The last referenced object that was looked at.
    reached: Option<ObjectId>,
}

/// One attribute of one link.
pub(crate) struct Of<'a> {
    link: &'a LinkView,
    many: &'a ManyColumn,
    pub(crate) column: &'a Column,
    id: AttributeId,
    /// What it should hold, where that follows from the object alone: encoded, each once.
    own: Option<Vec<Vec<u8>>>,
}

impl Of<'_> {
    pub(crate) fn decoded(&self, encoded: &[Vec<u8>]) -> Result<Result<Vec<Value>, Misfit>, EngineError> {
        let mut values = Vec::with_capacity(encoded.len());
        for value in encoded {
            match &self.own {
                Some(_) => values.extend(Key::decode(value)?.0.into_iter().next()),
                None => match naming(value, &self.column.attribute) {
                    Ok(value) => values.push(value),
                    Err(misfit) => return Ok(Err(misfit)),
                },
            }
        }
        Ok(Ok(values))
    }
}

/// What an attribute should hold, where its values flow from the link's own source object.
fn own_values(many: &ManyColumn, column: &Column, subject: &Subject<'_>) -> Result<Vec<Vec<u8>>, Misfit> {
    let values = match flow(&many.input, &column.attribute, subject, true)? {
        Slot::One(value) => vec![value],
        Slot::Many(values) => values,
        Slot::Unknown | Slot::Null => Vec::new(),
    };
    let mut seen = HashSet::new();
    let encoded = values.into_iter().map(|value| Key::one(value).encode());
    Ok(encoded.filter(|value| seen.insert(value.clone())).collect())
}

impl Engine {
    /// What the values of a linked object lack. Additions come first; removals are guarded.
    pub(crate) async fn value_step(
        &self,
        prepared: &Prepared,
        link: &LinkView,
        evaluation: &Evaluation,
        verdict: Option<&Verdict>,
        progress: &mut Progress,
    ) -> Result<Step, EngineError> {
        let together = progress.values.together.get(&link.id).copied().unwrap_or(TOGETHER);
        let mut waiting = Vec::new();
        for many in &prepared.compiled.many {
            let of = match self.of(prepared, link, evaluation, many)? {
                Ok(Some(of)) => of,
                Ok(None) => continue,
                Err((misfit, name)) => return Ok(Step::Misfit(misfit, name)),
            };
            let (id, column) = (of.id, of.column);
            let (added, reached) = self.to_add(prepared, &of, &progress.values, together).await?;
            if !added.is_empty() {
                let write = ValueWrite { attribute: id, added, removed: Vec::new() };
                return self.send_values(&of, write, reached, evaluation, progress);
            }
            let surplus = self.to_remove(prepared, &of, &progress.values).await?;
            let surplus = surplus.into_iter().map(|value| (removal_of(link, &column.attribute.name, &value), value));
            let is_let = |change: &GuardedChange| verdict.is_some_and(|verdict| verdict.lets(change));
            let (going, held): (Vec<_>, Vec<_>) = surplus.partition(|(change, _)| is_let(change));
            waiting.extend(held.into_iter().map(|(change, _)| change));
            if going.is_empty() {
                continue;
            }
            progress.values.more.insert(link.id);
            let (changes, removed): (Vec<_>, Vec<_>) = going.into_iter().take(together).unzip();
            let write = ValueWrite { attribute: id, added: Vec::new(), removed };
            let mut step = self.send_values(&of, write, None, evaluation, progress)?;
            if let Step::Send(sent) = &mut step {
                sent.charge = charge(changes, verdict);
            }
            return Ok(step);
        }
        Ok(Step::None(waiting))
    }

    /// An attribute of a link whose target object should be there.
    pub(crate) fn of<'a>(
        &self,
        prepared: &'a Prepared,
        link: &'a LinkView,
        evaluation: &Evaluation,
        many: &'a ManyColumn,
    ) -> Result<Result<Option<Of<'a>>, (Misfit, String)>, EngineError> {
        let compiled = &prepared.compiled;
        let (Some(Present { source, enabled }), Some(column), Some(id)) =
            (&evaluation.present, compiled.columns.get(many.position), prepared.layout.target.get(many.position))
        else {
            return Ok(Ok(None));
        };
        let subject = Subject {
            sync: &compiled.rules.name,
            anchor: &link.anchor,
            source,
            enabled: *enabled,
            now: self.clock.lifecycle(),
        };
        let own = match many.input {
            Input::Reference(_) => None,
            _ => match own_values(many, column, &subject) {
                Ok(values) => Some(values),
                Err(misfit) => return Ok(Err((misfit, column.attribute.name.clone()))),
            },
        };
        Ok(Ok(Some(Of { link, many, column, id: *id, own })))
    }

    fn send_values(
        &self,
        of: &Of<'_>,
        write: ValueWrite,
        reached: Option<ObjectId>,
        evaluation: &Evaluation,
        progress: &mut Progress,
    ) -> Result<Step, EngineError> {
        let amount = write.added.len() + write.removed.len();
        if progress.values.in_slice > 0 && progress.values.in_slice + amount > IN_A_SLICE {
            return Ok(Step::Later);
        }
        let misfit = |misfit| Step::Misfit(misfit, of.column.attribute.name.clone());
        let (add, remove) = match (of.decoded(&write.added)?, of.decoded(&write.removed)?) {
            (Ok(add), Ok(remove)) => (add, remove),
            (Err(found), _) | (_, Err(found)) => return Ok(misfit(found)),
        };
        progress.values.in_slice += amount;
        progress.values.moved = true;
        let delta = ValueDelta { attribute: of.many.position, add, remove };
        let sent = Sent::values(of.link.clone(), delta, ValuesSent { write, reached }, evaluation.due_at);
        Ok(Step::Send(Box::new(sent)))
    }

    /// Values that should be there and are not certainly there.
    pub(crate) async fn to_add(
        &self,
        prepared: &Prepared,
        of: &Of<'_>,
        progress: &ValueProgress,
        together: usize,
    ) -> Result<(Vec<Vec<u8>>, Option<ObjectId>), EngineError> {
        let is_tried = |value: &Vec<u8>| progress.is_refused(of.link.id, of.id, value);
        if let Some(wanted) = &of.own {
            let certain: HashSet<Vec<u8>> =
                self.written(of).await?.into_iter().filter(|(_, certain)| *certain).map(|(value, _)| value).collect();
            let missing = wanted.iter().filter(|value| !certain.contains(*value) && !is_tried(value));
            return Ok((missing.take(together).cloned().collect(), None));
        }
        let Some(references) = references_of(prepared, of.link, of.many) else { return Ok((Vec::new(), None)) };
        let before = progress.reached.get(&(of.link.id, of.id)).filter(|(revision, _)| *revision == of.link.dirty);
        let mut after = before.map_or(ObjectId(0), |(_, reached)| *reached);
        let limit = u32::try_from(together).unwrap_or(u32::MAX).max(2);
        loop {
            let mut found = self.store.references_to_add(&references, after, limit).await?;
            // An object may have several target objects, and the rest of the last one's may be cut off.
            if found.len() >= limit as usize
                && let Some((last, _)) = found.last().cloned()
                && found.first().is_some_and(|(first, _)| *first != last)
            {
                found.retain(|(object, _)| *object != last);
            }
            let Some((last, _)) = found.last() else { return Ok((Vec::new(), None)) };
            after = *last;
            let values: Vec<(ObjectId, Vec<u8>)> =
                found.into_iter().filter(|(_, value)| !is_tried(value)).take(together).collect();
            if let Some((last, _)) = values.last() {
                let reached = Some(*last);
                return Ok((values.into_iter().map(|(_, value)| value).collect(), reached));
            }
        }
    }

    /// All values that may be there and should not.
    pub(crate) async fn to_remove(
        &self,
        prepared: &Prepared,
        of: &Of<'_>,
        progress: &ValueProgress,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        let mut surplus = Vec::new();
        if let Some(wanted) = &of.own {
            let wanted: HashSet<&Vec<u8>> = wanted.iter().collect();
            let written = self.written(of).await?.into_iter().map(|(value, _)| value);
            surplus.extend(written.filter(|value| !wanted.contains(value)));
        } else if let Some(references) = references_of(prepared, of.link, of.many) {
            let mut after = Vec::new();
            loop {
                let found = self.store.references_to_remove(&references, &after, PAGE).await?;
                let Some(last) = found.last() else { break };
                after.clone_from(last);
                surplus.extend(found);
            }
        }
        surplus.retain(|value| !progress.is_refused(of.link.id, of.id, value));
        Ok(surplus)
    }

    /// The values of one object's attribute that were written, which are as many as the object itself once had.
    async fn written(&self, of: &Of<'_>) -> Result<Vec<(Vec<u8>, bool)>, EngineError> {
        let mut written: Vec<(Vec<u8>, bool)> = Vec::new();
        loop {
            let after = written.last().map_or(Vec::new(), |(value, _)| value.clone());
            let found = self.store.written_values(of.link.id, of.id, &after, PAGE).await?;
            if found.is_empty() {
                return Ok(written);
            }
            written.extend(found);
        }
    }
}

/// A link's reference attribute on both sides.
pub(crate) fn references_of(prepared: &Prepared, link: &LinkView, many: &ManyColumn) -> Option<ReferencesOf> {
    let Input::Reference(source) = many.input else { return None };
    let column = prepared.compiled.columns.get(many.position)?;
    Some(ReferencesOf {
        link: link.id,
        object: link.object,
        source_attribute: *prepared.layout.source.get(source)?,
        target_attribute: *prepared.layout.target.get(many.position)?,
        target_types: prepared.target_types(&column.attribute),
    })
}
