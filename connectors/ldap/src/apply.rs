//! Applying a batch: what it is about is looked up together, then its operations run side by side, each a request or a
//! few.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::stream::{self, StreamExt as _};
use muster_connector::{Batch, Effect, Error, Kind, Operation, OperationId, Outcome, RetryScope};
use muster_model::{Key, Slot, Value};
use tokio::time::Instant;

use crate::connector::{Known, LdapConnector};
use crate::entries::{CONTAINER, DN, ENABLED, EntryType, Field, Refers};
use crate::find::AT_A_TIME;
use crate::protocol::message::Entry;
use crate::refusal::{rejected, retry};
use crate::rows::wanted;

/// A batch, and what was looked up for it.
pub(crate) struct Context<'a> {
    pub(crate) known: &'a Known,
    pub(crate) of: &'a EntryType,
    pub(crate) batch: &'a Batch,
    /// The entries of operations that have a key, with what the operations change.
    pub(crate) entries: HashMap<Key, Entry>,
    /// What stands in a reference for each referenced object, by the attribute's position.
    written: HashMap<usize, HashMap<Key, Vec<u8>>>,
}

impl LdapConnector {
    pub(crate) async fn prepare<'a>(&self, known: &'a Known, batch: &'a Batch) -> Result<Context<'a>, Error> {
        let of = known.entry_type(&batch.object_type)?;
        let keys: BTreeSet<Key> = batch
            .operations
            .iter()
            .filter(|operation| operation.kind != Kind::Create)
            .filter_map(|operation| operation.key.clone())
            .collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        let mut attributes = wanted(of, &[])?;
        attributes.extend(of.switch.iter().map(|switch| switch.attribute().to_owned()));
        attributes.push(of.field(&of.rdn)?.wire.clone());
        let mut written = HashMap::new();
        for (position, name) in batch.attributes.iter().enumerate() {
            if [DN, CONTAINER, ENABLED].contains(&name.as_str()) {
                continue;
            }
            let field = of.field(name)?;
            let is_readable = of.object_type.attribute(name).is_some_and(|attribute| attribute.readable);
            if is_readable && !of.is_many(name) {
                attributes.push(field.wire.clone());
            }
            if field.refers == Refers::No {
                continue;
            }
            let referenced: Vec<&Value> =
                batch.operations.iter().flat_map(|operation| values_of(operation, position)).collect();
            if !referenced.is_empty() {
                written.insert(position, self.written_as(known, of, name, &referenced).await?);
            }
        }
        let entries = match keys.is_empty() {
            true => HashMap::new(),
            false => self.entries_of(known, of, &keys, &attributes).await?,
        };
        Ok(Context { known, of, batch, entries, written })
    }

    pub(crate) async fn write(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        let known = self.known().await?;
        let until = Instant::now() + batch.deadline;
        self.directory.settled().await;
        let context = self.prepare(&known, batch).await?;
        let mut outcomes: Vec<(OperationId, Outcome)> = Vec::with_capacity(batch.operations.len());
        let mut left: Vec<&Operation> = batch.operations.iter().collect();
        let in_batch: HashSet<OperationId> = left.iter().map(|operation| operation.id).collect();
        // Whatever others depend on comes before them.
        while !left.is_empty() {
            let done: HashMap<OperationId, bool> =
                outcomes.iter().map(|(id, outcome)| (*id, is_success(outcome))).collect();
            let mut before = Before::default();
            let waits = |operation: &&Operation| {
                let depends = operation.depends_on.iter().any(|id| in_batch.contains(id) && !done.contains_key(id));
                depends || before.must_come_before(&context, operation)
            };
            let (later, now): (Vec<_>, Vec<_>) = left.into_iter().partition(waits);
            if now.is_empty() {
                outcomes.extend(later.iter().map(|operation| {
                    (operation.id, retry(RetryScope::Object, "operations depend on each other".to_owned()))
                }));
                break;
            }
            let running: Vec<_> =
                now.into_iter().map(|operation| self.timed(&context, operation, &done, until)).collect();
            let some: Vec<(OperationId, Outcome)> = stream::iter(running).buffer_unordered(AT_A_TIME).collect().await;
            outcomes.extend(some);
            left = later;
        }
        all_unreachable(&outcomes).map_or(Ok(outcomes), Err)
    }

    /// One operation, within the batch's time, unless one that it depends on failed.
    async fn timed(
        &self,
        context: &Context<'_>,
        operation: &Operation,
        done: &HashMap<OperationId, bool>,
        until: Instant,
    ) -> (OperationId, Outcome) {
        if operation.depends_on.iter().any(|id| done.get(id) == Some(&false)) {
            let problem = "what it depends on did not take effect".to_owned();
            return (operation.id, retry(RetryScope::Object, problem));
        }
        let outcome = tokio::time::timeout_at(until, self.one(context, operation)).await;
        (operation.id, outcome.unwrap_or(Outcome::Unknown))
    }

    async fn one(&self, context: &Context<'_>, operation: &Operation) -> Outcome {
        if operation.kind == Kind::Create {
            return self.create(context, operation).await;
        }
        let Some(entry) = operation.key.as_ref().and_then(|key| context.entries.get(key)) else {
            return Outcome::Missing;
        };
        if let Some((position, value)) = &operation.expected
            && !context.is_expected(entry, *position, value)
        {
            return Outcome::OtherObject;
        }
        match &operation.kind {
            Kind::Update => self.change(context, operation, entry).await,
            Kind::Rename { to } => self.rename(context, entry, to).await,
            Kind::Delete => self.delete(context, entry).await,
            Kind::Create | Kind::Put => Outcome::Unsupported { what: "writing without looking".to_owned() },
        }
    }
}

/// What stands earlier in a batch and has not taken effect yet, as far as it may give up a name.
#[derive(Default)]
struct Before {
    deletes: bool,
    names: bool,
}

impl Before {
    /// Whether an operation may take a name that an earlier one is still to give up. Notes what it gives up itself.
    fn must_come_before(&mut self, context: &Context<'_>, operation: &Operation) -> bool {
        let is_named =
            || [context.of.rdn.as_str(), CONTAINER].iter().any(|name| !context.slot(operation, name).is_unknown());
        let (gives_up, waits) = match operation.kind {
            Kind::Create => (false, self.deletes || self.names),
            Kind::Delete => (true, false),
            Kind::Rename { .. } => (true, self.deletes),
            Kind::Update | Kind::Put => (is_named(), self.deletes && is_named()),
        };
        self.deletes |= operation.kind == Kind::Delete;
        self.names |= gives_up;
        waits
    }
}

/// Where nothing could even be sent, the whole target is to be left alone for a while.
fn all_unreachable(outcomes: &[(OperationId, Outcome)]) -> Option<Error> {
    let mut problems = outcomes.iter().map(|(_, outcome)| match outcome {
        Outcome::Retry { scope: RetryScope::Target, problem, .. } => Some(problem),
        _ => None,
    });
    let first = problems.next()??.clone();
    problems.all(|problem| problem.is_some()).then_some(Error::Unreachable { problem: first, nothing_sent: true })
}

fn is_success(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Applied(_) | Outcome::AlreadySo(_))
}

pub(crate) fn applied() -> Outcome {
    Outcome::Applied(Effect::default())
}

fn values_of(operation: &Operation, position: usize) -> impl Iterator<Item = &Value> {
    let slot: &[Value] = match operation.row.slot(position) {
        Slot::One(value) => std::slice::from_ref(value),
        Slot::Many(values) => values,
        Slot::Unknown | Slot::Null => &[],
    };
    let deltas = operation.deltas.iter().filter(move |delta| delta.attribute == position);
    slot.iter().chain(deltas.flat_map(|delta| delta.add.iter().chain(&delta.remove)))
}

impl Context<'_> {
    /// The position of an attribute in the batch's rows.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.batch.attributes.iter().position(|other| other == name)
    }

    /// The slot of an attribute in an operation's row.
    pub(crate) fn slot<'o>(&self, operation: &'o Operation, name: &str) -> &'o Slot {
        self.position(name).map_or(&Slot::Unknown, |position| operation.row.slot(position))
    }

    /// The attributes that an operation writes, for blaming one.
    pub(crate) fn written_names(&self, operation: &Operation) -> Vec<&str> {
        let is_written = |position: usize| {
            !operation.row.slot(position).is_unknown()
                || operation.deltas.iter().any(|delta| delta.attribute == position)
                || operation.secrets.iter().any(|(other, _)| *other == position)
        };
        let names = self.batch.attributes.iter().enumerate();
        names.filter(|(position, _)| is_written(*position)).map(|(_, name)| name.as_str()).collect()
    }

    /// The bytes of one value to write; what keeps it from being written otherwise. None for an empty text, which
    /// directories cannot hold.
    pub(crate) fn bytes(
        &self,
        position: usize,
        name: &str,
        field: &Field,
        value: &Value,
    ) -> Result<Option<Vec<u8>>, Outcome> {
        if field.refers != Refers::No {
            let key = match value {
                Value::Reference(reference) => reference.key.clone(),
                other => Key::one(other.clone()),
            };
            let written = self.written.get(&position).and_then(|written| written.get(&key));
            return match written {
                Some(bytes) => Ok(Some(bytes.clone())),
                None => Err(Outcome::WaitsFor { attribute: name.to_owned() }),
            };
        }
        let bytes = field.form.write(value).map_err(|problem| rejected(name, "wrong_type", problem))?;
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// The values that a slot puts in place of what is there; none where it says nothing.
    pub(crate) fn replacement(
        &self,
        position: usize,
        name: &str,
        field: &Field,
        slot: &Slot,
    ) -> Result<Option<Vec<Vec<u8>>>, Outcome> {
        let values: &[Value] = match slot {
            Slot::Unknown => return Ok(None),
            Slot::Null => &[],
            Slot::One(value) => std::slice::from_ref(value),
            Slot::Many(values) => values,
        };
        let mut all = Vec::with_capacity(values.len());
        for value in values {
            all.extend(self.bytes(position, name, field, value)?);
        }
        if all.is_empty() && field.form == crate::directory::form::Form::FileTime {
            // Never.
            all.push(b"0".to_vec());
        }
        Ok(Some(all))
    }

    fn is_expected(&self, entry: &Entry, position: usize, value: &Value) -> bool {
        let Some(name) = self.batch.attributes.get(position) else { return true };
        let Ok(field) = self.of.field(name) else { return true };
        if [DN, CONTAINER, ENABLED].contains(&name.as_str()) || field.refers != Refers::No {
            return true;
        }
        let Ok(wanted) = field.form.write(value) else { return true };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase();
        entry.values(&field.wire).iter().any(|found| *found == wanted || text(found) == text(&wanted))
    }
}
