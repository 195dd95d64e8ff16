//! One check's workplace: the connector, what the check made, and the transcript.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use muster_connector::{
    Batch, Connector, Epoch, Error, FoundObject, Kind, Operation, OperationId, Outcome, ReadRequest, Resolution,
};
use muster_model::{
    AssignedBy, Attribute, Key, Multiplicity, ObjectType, Row, Schema, Slot, TargetCapabilities, Value,
};
use muster_model::{Once, ValueType};
use uuid::Uuid;

use crate::report::Status;
use crate::sample;
use crate::subject::{Fault, Options, Subject};
use crate::transcript::{Transcript, redacted};

/// Numbers made-up values across all checks of a process, so that leftovers of one do not meet the next.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// When the first check of this process began, in milliseconds since 1970.
static STARTED: OnceLock<i64> = OnceLock::new();

/// Why a check does not end well.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(String),
    Skipped(String),
}

pub(crate) type Verdict<T = ()> = Result<T, Stop>;

pub(crate) fn failed<T>(why: impl Into<String>) -> Verdict<T> {
    Err(Stop::Failed(why.into()))
}

pub(crate) fn skipped<T>(why: impl Into<String>) -> Verdict<T> {
    Err(Stop::Skipped(why.into()))
}

/// Fails unless it holds.
pub(crate) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { failed(why()) }
}

pub(crate) fn is_success(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Applied(_) | Outcome::AlreadySo(_) | Outcome::Accepted { .. })
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A check that panicked has its say in the report; the next uses what is left.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Bench<'a> {
    pub(crate) subject: &'a dyn Subject,
    pub(crate) options: &'a Options,
    pub(crate) schema: &'a Schema,
    pub(crate) object_type: &'a ObjectType,
    connector: Mutex<Option<Arc<dyn Connector>>>,
    transcript: Mutex<Transcript>,
    made: Mutex<Vec<Key>>,
    /// The attributes of every batch, and of every read.
    pub(crate) layout: Arc<[String]>,
    readable: Arc<[String]>,
    tag: String,
    pub(crate) epoch: Mutex<Epoch>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(
        subject: &'a dyn Subject,
        options: &'a Options,
        schema: &'a Schema,
        object_type: &'a ObjectType,
    ) -> Self {
        let names = |wanted: &dyn Fn(&Attribute) -> bool| {
            let usable = object_type.attributes.iter().filter(|one| one.unsupported.is_none() && wanted(one));
            usable.map(|one| one.name.clone()).collect::<Arc<[String]>>()
        };
        let is_key = |one: &Attribute| {
            object_type.anchor.assigned_by == AssignedBy::Creator && object_type.anchor.attributes.contains(&one.name)
        };
        // Grows from check to check, since a ledger refuses what is older than what it has seen.
        let incarnation = *STARTED.get_or_init(|| chrono::Utc::now().timestamp_millis());
        let counter = i64::try_from(NUMBER.fetch_add(2, Ordering::Relaxed)).unwrap_or(i64::MAX);
        let epoch = Epoch { incarnation, counter };
        Self {
            subject,
            options,
            schema,
            object_type,
            connector: Mutex::new(None),
            transcript: Mutex::new(Transcript::default()),
            made: Mutex::new(Vec::new()),
            layout: names(&|one| one.creatable || one.updatable || is_key(one)),
            readable: names(&|one| one.readable),
            tag: Uuid::new_v4().simple().to_string().chars().take(5).collect(),
            epoch: Mutex::new(epoch),
        }
    }

    pub(crate) fn status(&self, verdict: Verdict) -> Status {
        let secrets = self.subject.planted_secrets();
        match verdict {
            Ok(()) => Status::Passed,
            Err(Stop::Skipped(why)) => Status::NotApplicable { why: redacted(&why, &secrets) },
            Err(Stop::Failed(why)) => {
                Status::Failed { problem: redacted(&why, &secrets), transcript: held(&self.transcript).lines() }
            }
        }
    }

    pub(crate) fn leaks(&self) -> Vec<String> {
        held(&self.transcript).leaks.clone()
    }

    pub(crate) fn note(&self, call: &str, answer: &str) {
        held(&self.transcript).add(call, answer, &self.subject.planted_secrets());
    }

    /// The connector, made where there is none.
    pub(crate) async fn connector(&self) -> Verdict<Arc<dyn Connector>> {
        if let Some(connector) = held(&self.connector).clone() {
            return Ok(connector);
        }
        let made = self.subject.start().await;
        let connector = made.or_else(|error| failed(format!("the connector does not start again: {error}")))?;
        *held(&self.connector) = Some(connector.clone());
        Ok(connector)
    }

    /// Ends the connector without warning; the next call makes a new one.
    pub(crate) async fn kill(&self) {
        held(&self.connector).take();
        self.subject.kill().await;
        self.note("kill", "a new connector is made on the next call");
    }

    pub(crate) fn target(&self) -> Verdict<&'a TargetCapabilities> {
        self.object_type.target.as_ref().map_or_else(|| skipped("the type is no target"), Ok)
    }

    /// The capabilities of a target that can be read back.
    pub(crate) fn readable(&self) -> Verdict<&'a TargetCapabilities> {
        let target = self.target()?;
        if target.readable { Ok(target) } else { skipped("the schema says that objects cannot be read back") }
    }

    pub(crate) fn deletable(&self) -> Verdict {
        if self.readable()?.can_delete { Ok(()) } else { skipped("the schema says that objects cannot be deleted") }
    }

    pub(crate) fn level(&self, once: Once) -> Verdict {
        let declared = self.readable()?.once;
        if declared == once { Ok(()) } else { skipped(format!("the schema declares the level {declared:?}")) }
    }

    pub(crate) fn number(&self) -> u64 {
        NUMBER.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.object_type.attribute(name)
    }

    /// A fresh value of the attribute.
    pub(crate) fn value(&self, attribute: &Attribute) -> Option<Value> {
        let number = self.number();
        let given = self.options.samples.get(&format!("{}.{}", self.object_type.name, attribute.name));
        match given {
            Some(samples) => {
                let position = usize::try_from(number).unwrap_or(0).checked_rem(samples.len())?;
                samples.get(position).cloned()
            }
            None => sample::plain(attribute, &self.tag, number),
        }
    }

    pub(crate) fn is_key(&self, name: &str) -> bool {
        self.object_type.anchor.attributes.iter().any(|part| part == name)
    }

    fn identifies(&self, attribute: &Attribute) -> bool {
        attribute.unique
            || self.is_key(&attribute.name)
            || self.object_type.alternate_keys.iter().any(|key| key.contains(&attribute.name))
    }

    fn is_enabling(&self, name: &str) -> bool {
        self.object_type.enabling.as_ref().is_some_and(|enabling| enabling.attribute == name)
    }

    /// Attributes whose values may be changed and read back, and which neither identify nor refer.
    pub(crate) fn changeable(&self) -> Vec<&'a Attribute> {
        let plain = |one: &&Attribute| {
            one.updatable
                && one.readable
                && one.unsupported.is_none()
                && one.multiplicity == Multiplicity::Single
                && !one.refers()
                && one.value_type != ValueType::Structure
                && !self.identifies(one)
                && !self.is_enabling(&one.name)
        };
        self.object_type.attributes.iter().filter(plain).collect()
    }

    /// One changeable attribute and two different values of it.
    pub(crate) fn changing(&self) -> Verdict<(&'a Attribute, Value, Value)> {
        self.readable()?;
        let mut candidates = self.changeable();
        candidates.sort_by_key(|one| (one.value_type != ValueType::Text, one.value_type == ValueType::Boolean));
        for attribute in candidates {
            let (first, second) = (self.value(attribute), self.value(attribute));
            if let (Some(first), Some(second)) = (first, second)
                && first != second
            {
                return Ok((attribute, first, second));
            }
        }
        skipped("no attribute that is neither key nor reference can be changed and read back")
    }

    /// A row of the layout; attributes that are not named stay unknown.
    pub(crate) fn row(&self, values: &[(&str, Slot)]) -> Row {
        let of = |name: &String| values.iter().rev().find(|(other, _)| other == name).map(|(_, slot)| slot.clone());
        Row(self.layout.iter().map(|name| of(name).unwrap_or_default()).collect())
    }

    /// Fresh values of all that a new object needs and all that identifies it, and these besides.
    pub(crate) fn new_row(&self, values: &[(&str, Slot)]) -> Verdict<Row> {
        self.target()?;
        let mut all = Vec::new();
        let creator = self.object_type.anchor.assigned_by == AssignedBy::Creator;
        for attribute in &self.object_type.attributes {
            let given = values.iter().any(|(name, _)| *name == attribute.name);
            let key = self.is_key(&attribute.name);
            let needed = match key {
                true => creator,
                false => attribute.creatable && (attribute.required || self.identifies(attribute)),
            };
            if given || !needed || attribute.unsupported.is_some() {
                continue;
            }
            let sampled = self.options.samples.contains_key(&format!("{}.{}", self.object_type.name, attribute.name));
            if attribute.refers() && !sampled {
                if attribute.required {
                    let name = &attribute.name;
                    return skipped(format!("{name:?} must refer to something: name values in Options::samples"));
                }
                continue;
            }
            let Some(value) = self.value(attribute) else {
                return skipped(format!(
                    "no value for {:?} can be made up: name some in Options::samples",
                    attribute.name
                ));
            };
            let slot =
                if attribute.multiplicity == Multiplicity::Single { Slot::One(value) } else { Slot::many(vec![value]) };
            let slot = if self.is_enabling(&attribute.name) { Slot::One(Value::Boolean(true)) } else { slot };
            all.push((attribute.name.as_str(), slot));
        }
        all.extend(values.iter().cloned());
        if all.is_empty()
            && let Some(attribute) = self.changeable().into_iter().find(|one| one.creatable)
        {
            // An object without any value is no object that a sync makes.
            all.extend(self.value(attribute).map(|value| (attribute.name.as_str(), Slot::One(value))));
        }
        Ok(self.row(&all))
    }

    pub(crate) fn slot<'r>(&self, row: &'r Row, name: &str) -> &'r Slot {
        let position = self.layout.iter().position(|other| other == name);
        row.slot(position.unwrap_or(usize::MAX))
    }

    /// The anchor that a row gives.
    pub(crate) fn key_of(&self, row: &Row) -> Option<Key> {
        if self.object_type.anchor.assigned_by == AssignedBy::System {
            return None;
        }
        let parts = self.object_type.anchor.attributes.iter().map(|name| self.slot(row, name).value().cloned());
        parts.collect::<Option<Vec<_>>>().map(Key)
    }

    pub(crate) fn key_of_values(&self, values: &[(String, Slot)]) -> Option<Key> {
        let values: Vec<(&str, Slot)> = values.iter().map(|(name, slot)| (name.as_str(), slot.clone())).collect();
        self.key_of(&self.row(&values))
    }

    pub(crate) fn operation(&self, kind: Kind, key: Option<Key>, row: Row) -> Operation {
        Operation {
            id: OperationId(Uuid::now_v7()),
            kind,
            key,
            row,
            deltas: Vec::new(),
            enabling: None,
            expected_version: None,
            expected: None,
            depends_on: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// What makes a new object; where nothing can be read, whole states are all that is ever sent.
    pub(crate) fn create_operation(&self, row: Row) -> Operation {
        let readable = self.object_type.target.as_ref().is_none_or(|target| target.readable);
        let kind = if readable { Kind::Create } else { Kind::Put };
        self.operation(kind, self.key_of(&row), row)
    }

    pub(crate) fn update(&self, key: &Key, values: &[(&str, Slot)]) -> Operation {
        self.operation(Kind::Update, Some(key.clone()), self.row(values))
    }

    pub(crate) fn delete(&self, key: &Key) -> Operation {
        self.operation(Kind::Delete, Some(key.clone()), Row::unknown(self.layout.len()))
    }

    pub(crate) fn batch(&self, operations: Vec<Operation>) -> Batch {
        Batch {
            object_type: self.object_type.name.as_str().into(),
            attributes: self.layout.clone(),
            operations,
            epoch: *held(&self.epoch),
            deadline: Duration::from_mins(1),
        }
    }

    /// The connector's own answer.
    pub(crate) async fn raw(&self, batch: &Batch) -> Verdict<Result<Vec<(OperationId, Outcome)>, Error>> {
        let connector = self.connector().await?;
        let Some(target) = connector.target() else {
            return failed(format!(
                "type {} is a target by the schema, but there is no target side",
                self.object_type.name
            ));
        };
        let answer = target.apply(batch).await;
        self.note(&told(batch), &format!("{answer:?}"));
        if let Ok(outcomes) = &answer {
            for (operation, outcome) in batch.operations.iter().filter_map(|operation| {
                outcomes.iter().find(|(id, _)| *id == operation.id).map(|(_, outcome)| (operation, outcome))
            }) {
                self.remember(operation, outcome);
            }
        }
        Ok(answer)
    }

    fn remember(&self, operation: &Operation, outcome: &Outcome) {
        let mut made = held(&self.made);
        match (&operation.kind, outcome) {
            (Kind::Create | Kind::Put, Outcome::Applied(effect) | Outcome::AlreadySo(effect)) => {
                made.extend(effect.key.clone().or_else(|| operation.key.clone()));
            }
            (Kind::Rename { to }, Outcome::Applied(_)) => made.push(to.clone()),
            _ => {}
        }
    }

    /// Keys to be deleted at the end, of objects whose answer was lost.
    pub(crate) fn will_clean(&self, key: Key) {
        held(&self.made).push(key);
    }

    /// The outcomes in the order of the operations, in batches as large as declared; what is not answered is unknown.
    pub(crate) async fn apply(&self, operations: Vec<Operation>) -> Verdict<Vec<Outcome>> {
        let most = (self.target()?.max_batch as usize).max(1);
        let mut all = Vec::with_capacity(operations.len());
        for some in operations.chunks(most) {
            let batch = self.batch(some.to_vec());
            let answered = self.raw(&batch).await?.or_else(|error| failed(format!("`apply` fails: {error}")))?;
            for operation in &batch.operations {
                let found = answered.iter().find(|(id, _)| *id == operation.id);
                all.push(found.map_or(Outcome::Unknown, |(_, outcome)| outcome.clone()));
            }
        }
        Ok(all)
    }

    pub(crate) async fn one(&self, operation: Operation) -> Verdict<Outcome> {
        Ok(self.apply(vec![operation]).await?.pop().unwrap_or(Outcome::Unknown))
    }

    /// The keys of new objects, all of which must be taken.
    pub(crate) async fn create_all(&self, rows: Vec<Row>) -> Verdict<Vec<Key>> {
        let operations: Vec<_> = rows.into_iter().map(|row| self.create_operation(row)).collect();
        let given: Vec<_> = operations.iter().map(|operation| operation.key.clone()).collect();
        let outcomes = self.apply(operations).await?;
        let key = |(outcome, given): (Outcome, Option<Key>)| match outcome {
            Outcome::Applied(effect) => match effect.key.or(given) {
                Some(key) => Ok(key),
                None => failed("a create brings no key although the system assigns it"),
            },
            Outcome::Accepted { .. } if given.is_some() => given.map_or_else(|| failed("no key"), Ok),
            Outcome::Rejected { rule, message, .. } => failed(format!(
                "made-up values are rejected ({rule}: {message}); name values that the system takes in Options::samples"
            )),
            other => failed(format!("a create of a new object is answered {other:?}")),
        };
        outcomes.into_iter().zip(given).map(key).collect()
    }

    pub(crate) async fn create(&self, values: &[(&str, Slot)]) -> Verdict<(Key, Row)> {
        let row = self.new_row(values)?;
        let mut keys = self.create_all(vec![row.clone()]).await?;
        keys.pop().map_or_else(|| failed("no key"), |key| Ok((key, row)))
    }

    pub(crate) fn request(&self) -> ReadRequest {
        ReadRequest {
            object_type: self.object_type.name.as_str().into(),
            attributes: self.readable.clone(),
            named: Arc::new([]),
        }
    }

    pub(crate) async fn get(&self, keys: &[Key]) -> Verdict<Vec<Option<FoundObject>>> {
        let connector = self.connector().await?;
        let Some(target) = connector.target() else { return failed("there is no target side") };
        let answer = target.get(&self.request(), keys).await;
        self.note(&format!("get {} {}", self.object_type.name, keyed(keys)), &format!("{answer:?}"));
        let found = answer.or_else(|error| failed(format!("`get` fails: {error}")))?;
        ensure(found.len() == keys.len(), || format!("`get` of {} keys answers {} objects", keys.len(), found.len()))?;
        Ok(found)
    }

    pub(crate) async fn look(&self, key: &Key) -> Verdict<Option<FoundObject>> {
        Ok(self.get(std::slice::from_ref(key)).await?.pop().flatten())
    }

    /// The value of a readable attribute of a found object.
    pub(crate) fn read<'r>(&self, found: &'r FoundObject, name: &str) -> &'r Slot {
        let position = self.readable.iter().position(|other| other == name);
        found.row.slot(position.unwrap_or(usize::MAX))
    }

    /// Fails unless the object is there and its attribute reads so.
    pub(crate) async fn expect(&self, key: &Key, name: &str, slot: &Slot, when: &str) -> Verdict {
        let Some(found) = self.look(key).await? else { return failed(format!("{when}, {key} is not there")) };
        let read = self.read(&found, name);
        ensure(read == slot, || format!("{when}, {name} of {key} reads {read:?} instead of {slot:?}"))
    }

    pub(crate) async fn find(&self, by: &[String], values: &[Vec<Value>]) -> Verdict<Vec<Vec<FoundObject>>> {
        let connector = self.connector().await?;
        let Some(target) = connector.target() else { return failed("there is no target side") };
        let answer = target.find(&self.request(), by, values).await;
        self.note(&format!("find {} by {by:?} {values:?}", self.object_type.name), &format!("{answer:?}"));
        let found = answer.or_else(|error| failed(format!("`find` fails: {error}")))?;
        ensure(found.len() == values.len(), || {
            format!("`find` of {} tuples answers {} lists", values.len(), found.len())
        })?;
        Ok(found)
    }

    pub(crate) async fn outcomes(&self, ids: &[OperationId]) -> Verdict<Vec<(OperationId, Resolution)>> {
        let connector = self.connector().await?;
        let Some(target) = connector.target() else { return failed("there is no target side") };
        let answer = target.outcomes(ids).await;
        self.note(&format!("outcomes of {} ids", ids.len()), &format!("{answer:?}"));
        answer.or_else(|error| failed(format!("`outcomes` fails: {error}")))
    }

    /// Attributes by which one object is found: an alternate key, a unique attribute, or the key itself.
    pub(crate) fn match_by(&self) -> Verdict<Vec<String>> {
        self.readable()?;
        let creator = self.object_type.anchor.assigned_by == AssignedBy::Creator;
        let usable = |name: &String| {
            self.attribute(name).is_some_and(|one| {
                (creator || !self.is_key(name))
                    && one.readable
                    && one.creatable
                    && one.unsupported.is_none()
                    && !one.refers()
            })
        };
        let alternate = self.object_type.alternate_keys.iter().filter(|key| !key.is_empty()).cloned();
        let unique = self.object_type.attributes.iter().filter(|one| one.unique).map(|one| vec![one.name.clone()]);
        let anchor = creator.then(|| self.object_type.anchor.attributes.clone());
        let mut all = alternate.chain(unique).chain(anchor);
        match all.find(|key| key.iter().all(usable)) {
            Some(key) => Ok(key),
            None => skipped("the schema names no unique key that a creator fills, so nothing finds a new object"),
        }
    }

    /// The values of these attributes in a row.
    pub(crate) fn tuple(&self, row: &Row, by: &[String]) -> Vec<Value> {
        by.iter().filter_map(|name| self.slot(row, name).value().cloned()).collect()
    }

    /// Applies the operation and lets its answer be lost; the connector is a new one afterwards. False where the
    /// subject had no such fault, so that the kit only forgot the answer.
    pub(crate) async fn lose_answer(&self, operations: Vec<Operation>, fault: Fault) -> Verdict<bool> {
        let armed = self.subject.arm(fault).await;
        self.note(&format!("{fault:?}"), if armed { "armed" } else { "the kit forgets the answer instead" });
        let batch = self.batch(operations);
        let answer = self.raw(&batch).await?;
        if armed && let Ok(outcomes) = &answer {
            return failed(format!("the fault was armed, and `apply` answers all the same: {outcomes:?}"));
        }
        if !armed && let Err(error) = &answer {
            return failed(format!("`apply` fails: {error}"));
        }
        if let Err(Error::Unreachable { nothing_sent: true, .. } | Error::Refused { .. } | Error::Throttled { .. }) =
            &answer
        {
            return failed(format!(
                "the answer is lost after the effect, and the error says that nothing was sent: {answer:?}"
            ));
        }
        self.kill().await;
        Ok(armed)
    }

    /// Starts the operations and gives up after this many turns, as a host does that cancels. True if it was too late.
    pub(crate) async fn cancel(&self, operations: Vec<Operation>, turns: usize) -> Verdict<bool> {
        let connector = self.connector().await?;
        let Some(target) = connector.target() else { return failed("there is no target side") };
        let batch = self.batch(operations);
        let mut call = target.apply(&batch);
        let mut turn = 0;
        let ended = std::future::poll_fn(|context| {
            if call.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            turn += 1;
            if turn > turns { Poll::Ready(false) } else { Poll::Pending }
        });
        // A connector that waits for nothing that wakes it is cancelled all the same.
        let ended = tokio::time::timeout(Duration::from_millis(200), ended).await.unwrap_or(false);
        drop(call);
        self.note(&told(&batch), if ended { "ended before it was given up" } else { "given up" });
        Ok(ended)
    }

    /// Deletes what the check made, as far as that goes.
    pub(crate) async fn clean(&self) {
        let made = std::mem::take(&mut *held(&self.made));
        let can = self.object_type.target.as_ref().is_some_and(|target| target.can_delete);
        if made.is_empty() || !can {
            return;
        }
        // What stays behind is no fault of its own; the check has said what is wrong.
        let work = async {
            let connector = self.connector().await.ok()?;
            let target = connector.target()?;
            let most = (self.target().ok()?.max_batch as usize).max(1);
            for keys in made.chunks(most) {
                let batch = self.batch(keys.iter().rev().map(|key| self.delete(key)).collect());
                target.apply(&batch).await.ok()?;
            }
            Some(())
        };
        drop(tokio::time::timeout(self.options.patience, work).await);
    }
}

fn keyed(keys: &[Key]) -> String {
    let some: Vec<String> = keys.iter().take(5).map(ToString::to_string).collect();
    let more = keys.len().saturating_sub(5);
    if more > 0 { format!("{some:?} and {more} more") } else { format!("{some:?}") }
}

/// A batch as the transcript tells it: only the slots that are written.
fn told(batch: &Batch) -> String {
    let one = |operation: &Operation| {
        let slots = batch.attributes.iter().zip(&operation.row.0).filter(|(_, slot)| !slot.is_unknown());
        let slots: Vec<String> = slots.map(|(name, slot)| format!("{name}: {slot:?}")).collect();
        let key = operation.key.as_ref().map_or(String::new(), |key| format!(" {key}"));
        let deltas = if operation.deltas.is_empty() { String::new() } else { format!(" {:?}", operation.deltas) };
        format!("{:?}{key} {{{}}}{deltas}", operation.kind, slots.join(", "))
    };
    let some: Vec<String> = batch.operations.iter().take(4).map(one).collect();
    format!("apply {} [{}{}]", batch.object_type, some.join("; "), if batch.operations.len() > 4 { "; …" } else { "" })
}
