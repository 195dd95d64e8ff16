//! A source and a target in memory, and an oracle that compares them without the engine's help.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use muster_connector::page::{Next, Position, Removal};
use muster_connector::{
    Batch, Change, ChangePage, CheckReport, Connector, Cursor, EdgeChange, Effect, Entry, Error, Expired, FoundObject,
    Kind, OperationId, Outcome, ReadPage, ReadRequest, RetryScope, Source, SourceObject, Target, UsedType, Watermark,
};
use muster_expression::Expression;
use muster_model::{
    Anchor, AssignedBy, Attribute, Changes, Enabling, Key, Multiplicity, ObjectType, Once, Precision, Row, Schema,
    Slot, SourceCapabilities, TargetCapabilities, Value, ValueType,
};
use muster_store::{SqliteStore, Store};
use tempfile::TempDir;

use crate::rules::{GuardRules, Limit, MappingRule, MatchRule, RemovalRules, SyncRules, When};
use crate::{Clock, CommitPoint, CycleOptions, Engine, EngineError, Observer, Report};

pub(super) const DAY: i64 = 86_400_000;

/// One change at the source, as a delta tells it.
#[derive(Clone, Debug)]
pub(super) enum News {
    Set(BTreeMap<&'static str, Slot>),
    Gone(Removal),
}

#[derive(Default)]
pub(super) struct SourceState {
    pub(super) people: BTreeMap<String, BTreeMap<&'static str, Slot>>,
    pub(super) log: Vec<(String, News)>,
    pub(super) managers: BTreeMap<String, String>,
    pub(super) expire: Vec<Expired>,
    pub(super) refuse_attribute: Option<String>,
    pub(super) calls: usize,
    /// Objects that a full read leaves out.
    pub(super) hidden: Vec<String>,
}

#[derive(Default)]
pub(super) struct MemorySource {
    pub(super) state: Mutex<SourceState>,
}

const PAGE: usize = 3;

impl MemorySource {
    pub(super) fn person(&self, id: &str, name: &str, mail: &str) {
        let values = [
            ("name", Slot::text(name)),
            ("mail", if mail.is_empty() { Slot::Null } else { Slot::text(mail) }),
            ("active", Slot::One(Value::Boolean(true))),
        ];
        let mut state = self.state.lock().unwrap();
        let values: BTreeMap<&'static str, Slot> = values.into();
        state.people.insert(id.to_owned(), values.clone());
        state.log.push((id.to_owned(), News::Set(values)));
    }

    pub(super) fn set(&self, id: &str, attribute: &'static str, slot: Slot) {
        let mut state = self.state.lock().unwrap();
        state.people.get_mut(id).unwrap().insert(attribute, slot.clone());
        state.log.push((id.to_owned(), News::Set([(attribute, slot)].into())));
    }

    pub(super) fn remove(&self, id: &str, removal: Removal) {
        let mut state = self.state.lock().unwrap();
        state.people.remove(id);
        state.log.push((id.to_owned(), News::Gone(removal)));
    }
}

#[async_trait]
impl Connector for MemorySource {
    async fn check(&self, _used: &[UsedType]) -> Result<CheckReport, Error> {
        Ok(CheckReport::default())
    }

    async fn schema(&self) -> Result<Schema, Error> {
        let manager =
            Attribute { references: vec!["user".to_owned()], ..Attribute::new("manager", ValueType::Reference) };
        let several = Attribute { multiplicity: Multiplicity::Set, ..Attribute::new("phones", ValueType::Text) };
        Ok(Schema {
            identity: "memory source".to_owned(),
            types: vec![ObjectType {
                name: "user".to_owned(),
                anchor: Anchor { attributes: vec!["id".to_owned()], assigned_by: AssignedBy::System },
                alternate_keys: Vec::new(),
                attributes: vec![
                    Attribute::new("name", ValueType::Text),
                    Attribute::new("mail", ValueType::Text),
                    Attribute::new("number", ValueType::Integer),
                    Attribute::new("active", ValueType::Boolean),
                    several,
                    manager,
                ],
                enabling: Some(Enabling { attribute: "active".to_owned() }),
                source: Some(SourceCapabilities {
                    changes: Some(Changes { starts_full: true, precision: Precision::Round, deletes_visible: true }),
                    recycle_bin: true,
                }),
                target: None,
            }],
        })
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn read(&self, _request: &ReadRequest, _cursor: Option<&Cursor>) -> Result<ReadPage, Error> {
        Err(Error::Unsupported("read".to_owned()))
    }

    async fn changes(&self, request: &ReadRequest, position: &Position) -> Result<ChangePage, Error> {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        if let Some(name) = state.refuse_attribute.as_ref().filter(|name| request.attributes.contains(name)) {
            let problem = format!("no permission for {name}");
            return Err(Error::Credentials { problem, fix: "grant it".to_owned() });
        }
        if !matches!(position, Position::Start(None))
            && let Some(expired) = state.expire.pop()
        {
            return Err(Error::Expired { expired });
        }
        let row = |values: &BTreeMap<&'static str, Slot>| {
            Row(request.attributes.iter().map(|name| values.get(name.as_str()).cloned().unwrap_or_default()).collect())
        };
        let (end, full, from) = match position {
            Position::Start(None) => (state.log.len(), true, 0),
            Position::Start(Some(Watermark(mark))) => {
                (state.log.len(), false, String::from_utf8_lossy(mark).parse().unwrap())
            }
            Position::Page(Cursor(cursor)) => {
                let text = String::from_utf8_lossy(cursor);
                let parts: Vec<usize> = text.split(',').map(|part| part.parse().unwrap()).collect();
                (parts[0], parts[1] == 1, parts[2])
            }
        };
        let mut entries = Vec::new();
        let total = if full { state.people.len() } else { end };
        let upto = (from + PAGE).min(total);
        if full {
            for (id, values) in state.people.iter().skip(from).take(PAGE).filter(|(id, _)| !state.hidden.contains(id)) {
                let edges = match (state.managers.get(id), request.attributes.iter().position(|name| name == "manager"))
                {
                    (Some(manager), Some(attribute)) => vec![EdgeChange {
                        attribute,
                        object_type: "user".into(),
                        referenced: Key::text(manager),
                        removed: false,
                    }],
                    _ => Vec::new(),
                };
                entries.push(Entry { key: Key::text(id), change: Change::Partial(row(values)), edges });
            }
        } else {
            for (id, news) in &state.log[from.min(upto)..upto] {
                let change = match news {
                    News::Set(values) => Change::Partial(row(values)),
                    News::Gone(removal) => Change::Removed(*removal),
                };
                entries.push(Entry { key: Key::text(id), change, edges: Vec::new() });
            }
        }
        let next = if upto >= total {
            Next::Done(Watermark(end.to_string().into_bytes()))
        } else {
            Next::Page(Cursor(format!("{end},{},{upto}", u8::from(full)).into_bytes()))
        };
        Ok(ChangePage { entries, next, source_time: None })
    }

    async fn get(&self, _request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<SourceObject>>, Error> {
        Ok(vec![None; keys.len()])
    }
}

/// What goes wrong at the target.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// A value that no object may have: rejected alone, refused in company.
    Poison(&'static str),
    /// The answer is lost after the effect, this many times.
    LostAnswers(usize),
    /// Unreachable before anything is sent, this many times.
    Down(usize),
    /// Every operation is answered "try again later", this many times.
    Later(usize),
    /// Someone is asked to forget an id: the answer lacks it.
    Silent(usize),
}

#[derive(Default)]
pub(super) struct TargetState {
    pub(super) rows: BTreeMap<i64, BTreeMap<String, Slot>>,
    pub(super) next: i64,
    pub(super) faults: Vec<Fault>,
    pub(super) applied: Vec<(OperationId, Kind)>,
    pub(super) batches: usize,
}

pub(super) struct MemoryTarget {
    pub(super) state: Mutex<TargetState>,
    pub(super) identity: Mutex<String>,
    pub(super) can_disable: bool,
}

impl MemoryTarget {
    fn new(can_disable: bool) -> Self {
        let state = TargetState { next: 1, ..TargetState::default() };
        Self { state: Mutex::new(state), identity: Mutex::new("memory target".to_owned()), can_disable }
    }

    pub(super) fn insert(&self, login: &str, name: &str) -> i64 {
        let mut state = self.state.lock().unwrap();
        let id = state.next;
        state.next += 1;
        let row = [
            ("login".to_owned(), Slot::text(login)),
            ("name".to_owned(), Slot::text(name)),
            ("enabled".to_owned(), Slot::One(Value::Boolean(true))),
            ("extra".to_owned(), Slot::text("not ours")),
        ];
        state.rows.insert(id, row.into());
        id
    }

    /// (login, name, enabled) of every row.
    pub(super) fn people(&self) -> Vec<(String, String, bool)> {
        let state = self.state.lock().unwrap();
        let text = |slot: Option<&Slot>| slot.and_then(Slot::value).map_or(String::new(), ToString::to_string);
        let mut people: Vec<_> = state
            .rows
            .values()
            .map(|row| (text(row.get("login")), text(row.get("name")), text(row.get("enabled")) == "true"))
            .collect();
        people.sort();
        people
    }
}

#[async_trait]
impl Connector for MemoryTarget {
    async fn check(&self, _used: &[UsedType]) -> Result<CheckReport, Error> {
        Ok(CheckReport::default())
    }

    async fn schema(&self) -> Result<Schema, Error> {
        let login = Attribute { required: true, unique: true, ..Attribute::new("login", ValueType::Text) };
        Ok(Schema {
            identity: self.identity.lock().unwrap().clone(),
            types: vec![ObjectType {
                name: "person".to_owned(),
                anchor: Anchor { attributes: vec!["key".to_owned()], assigned_by: AssignedBy::System },
                alternate_keys: vec![vec!["login".to_owned()]],
                attributes: vec![
                    Attribute::new("key", ValueType::Integer),
                    login,
                    Attribute { max_length: Some(20), ..Attribute::new("name", ValueType::Text) },
                    Attribute::new("enabled", ValueType::Boolean),
                    Attribute::new("extra", ValueType::Text),
                    Attribute::new("level", ValueType::Integer),
                ],
                enabling: self.can_disable.then(|| Enabling { attribute: "enabled".to_owned() }),
                source: None,
                target: Some(TargetCapabilities {
                    once: Once::Natural,
                    readable: true,
                    can_delete: true,
                    can_rename: false,
                    ordered: false,
                    max_batch: 4,
                    max_in_flight: 2,
                }),
            }],
        })
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }
}

fn number(key: &Key) -> i64 {
    match key.0.as_slice() {
        [Value::Integer(number)] => *number,
        _ => panic!("not a key of this target: {key}"),
    }
}

/// Whether another row has the login.
fn taken(state: &TargetState, key: Option<&Key>, values: &BTreeMap<String, Slot>) -> bool {
    let own = key.map(number);
    let login = values.get("login");
    login.is_some() && state.rows.iter().any(|(id, row)| Some(*id) != own && row.get("login") == login)
}

fn found(request: &ReadRequest, id: i64, row: &BTreeMap<String, Slot>) -> FoundObject {
    let slots = request.attributes.iter().map(|name| row.get(name).cloned().unwrap_or(Slot::Null)).collect();
    FoundObject { key: Key::one(Value::Integer(id)), row: Row(slots), version: None }
}

#[async_trait]
impl Target for MemoryTarget {
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error> {
        let state = self.state.lock().unwrap();
        Ok(keys.iter().map(|key| state.rows.get(&number(key)).map(|row| found(request, number(key), row))).collect())
    }

    async fn find(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        let state = self.state.lock().unwrap();
        let matches = |row: &BTreeMap<String, Slot>, tuple: &[Value]| {
            by.iter().zip(tuple).all(|(name, value)| row.get(name).and_then(Slot::value) == Some(value))
        };
        let of = |tuple: &Vec<Value>| {
            let rows = state.rows.iter().filter(|(_, row)| matches(row, tuple));
            rows.take(2).map(|(id, row)| found(request, *id, row)).collect()
        };
        Ok(values.iter().map(of).collect())
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        Ok(batch.operations.iter().map(|operation| format!("{:?}", operation.kind)).collect())
    }

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        let mut state = self.state.lock().unwrap();
        state.batches += 1;
        let mut lose = false;
        let mut silent = false;
        for index in 0..state.faults.len() {
            let unreachable =
                |nothing_sent| Error::Unreachable { problem: "connection reset".to_owned(), nothing_sent };
            match &mut state.faults[index] {
                Fault::Down(times) if *times > 0 => {
                    *times -= 1;
                    return Err(unreachable(true));
                }
                Fault::LostAnswers(times) if *times > 0 => {
                    *times -= 1;
                    lose = true;
                }
                Fault::Silent(times) if *times > 0 => {
                    *times -= 1;
                    silent = true;
                }
                Fault::Later(times) if *times > 0 => {
                    *times -= 1;
                    let retry = Outcome::Retry {
                        after: Duration::from_secs(30),
                        scope: RetryScope::Object,
                        problem: "locked".to_owned(),
                    };
                    return Ok(batch.operations.iter().map(|operation| (operation.id, retry.clone())).collect());
                }
                Fault::Poison(value) => {
                    let value = *value;
                    let poisoned = |row: &Row| row.0.iter().any(|slot| *slot == Slot::text(value));
                    if batch.operations.iter().any(|operation| poisoned(&operation.row)) {
                        let problem = format!("{value:?} is forbidden");
                        if batch.operations.len() > 1 {
                            return Err(Error::Refused { problem });
                        }
                        let rejected = Outcome::Rejected {
                            attribute: Some("name".to_owned()),
                            rule: "forbidden".to_owned(),
                            message: problem,
                        };
                        return Ok(vec![(batch.operations[0].id, rejected)]);
                    }
                }
                _ => {}
            }
        }
        let mut outcomes = Vec::new();
        for operation in &batch.operations {
            assert!(
                !state.applied.iter().any(|(id, _)| *id == operation.id),
                "operation {} was sent twice",
                operation.id
            );
            state.applied.push((operation.id, operation.kind.clone()));
            let values = || {
                let known = batch.attributes.iter().zip(&operation.row.0).filter(|(_, slot)| !slot.is_unknown());
                known.map(|(name, slot)| (name.clone(), slot.clone())).collect::<BTreeMap<_, _>>()
            };
            let outcome = match &operation.kind {
                Kind::Create => {
                    let values = values();
                    let login = values.get("login").cloned();
                    let twin = state.rows.iter().find(|(_, row)| row.get("login") == login.as_ref()).map(|(id, _)| *id);
                    match twin {
                        Some(id) => Outcome::Exists { key: Key::one(Value::Integer(id)) },
                        None => {
                            let id = state.next;
                            state.next += 1;
                            state.rows.insert(id, values);
                            let key = Some(Key::one(Value::Integer(id)));
                            Outcome::Applied(Effect { key, ..Effect::default() })
                        }
                    }
                }
                Kind::Update if taken(&state, operation.key.as_ref(), &values()) => Outcome::Rejected {
                    attribute: Some("login".to_owned()),
                    rule: "unique".to_owned(),
                    message: "taken".to_owned(),
                },
                Kind::Update => match state.rows.get_mut(&number(operation.key.as_ref().unwrap())) {
                    Some(row) => {
                        row.extend(values());
                        Outcome::Applied(Effect::default())
                    }
                    None => Outcome::Missing,
                },
                Kind::Delete => match state.rows.remove(&number(operation.key.as_ref().unwrap())) {
                    Some(_) => Outcome::Applied(Effect::default()),
                    None => Outcome::Missing,
                },
                other => Outcome::Unsupported { what: format!("{other:?}") },
            };
            outcomes.push((operation.id, outcome));
        }
        if lose {
            return Err(Error::Unreachable { problem: "connection reset".to_owned(), nothing_sent: false });
        }
        if silent {
            outcomes.pop();
        }
        Ok(outcomes)
    }
}

/// A clock that tests move.
#[derive(Default)]
pub(super) struct TestClock(pub(super) Mutex<i64>);

impl Clock for TestClock {
    fn now(&self) -> i64 {
        *self.0.lock().unwrap()
    }
}

/// Ends the cycle as a kill would, at the n-th passing of a commit point.
#[derive(Default)]
pub(super) struct Killer(pub(super) Mutex<Option<(CommitPoint, usize)>>);

pub(super) const KILLED: &str = "killed at a commit point";

impl Observer for Killer {
    fn passed(&self, point: CommitPoint) {
        let mut plan = self.0.lock().unwrap();
        if let Some((wanted, left)) = plan.as_mut()
            && *wanted == point
        {
            *left -= 1;
            if *left == 0 {
                *plan = None;
                drop(plan);
                std::panic::resume_unwind(Box::new(KILLED));
            }
        }
    }
}

pub(super) struct World {
    pub(super) source: Arc<MemorySource>,
    pub(super) target: Arc<MemoryTarget>,
    pub(super) clock: Arc<TestClock>,
    pub(super) killer: Arc<Killer>,
    pub(super) rules: SyncRules,
    pub(super) folder: TempDir,
    /// One page is committed alone, unless a test says otherwise.
    pub(super) merged_together: usize,
    /// As soon as so many were looked for in vain, creates go out without a look.
    pub(super) blind_after: usize,
}

pub(super) fn mapping(target: &str, value: &str) -> MappingRule {
    MappingRule { target: target.to_owned(), value: Expression::parse(value).unwrap(), when: When::Always }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(true)
    }

    pub(super) fn with(can_disable: bool) -> Self {
        let rules = SyncRules {
            name: "staff".to_owned(),
            source_connection: "hr".to_owned(),
            source_type: "user".to_owned(),
            target_connection: "app".to_owned(),
            target_type: "person".to_owned(),
            mappings: vec![mapping("login", "[mail]"), mapping("name", "[name]")],
            also_read: Vec::new(),
            matching: Some(MatchRule { source: Expression::parse("[mail]").unwrap(), target: "login".to_owned() }),
            removal: RemovalRules::default(),
            guard: GuardRules {
                delete: Limit { percent: 50.0, min: 2, max: None },
                disable: Limit { percent: 50.0, min: 2, max: None },
                missing: Limit { percent: 50.0, min: 2, max: None },
            },
        };
        Self {
            source: Arc::default(),
            target: Arc::new(MemoryTarget::new(can_disable)),
            clock: Arc::new(TestClock(Mutex::new(1_800_000_000_000))),
            killer: Arc::default(),
            rules,
            folder: tempfile::tempdir().unwrap(),
            merged_together: 1,
            blind_after: 2,
        }
    }

    pub(super) async fn store(&self) -> Arc<SqliteStore> {
        Arc::new(SqliteStore::open(&self.folder.path().join("state.db"), self.clock.now()).await.unwrap())
    }

    pub(super) async fn engine(&self) -> Engine {
        let mut connections: HashMap<String, Arc<dyn Connector>> = HashMap::new();
        connections.insert("hr".to_owned(), self.source.clone());
        connections.insert("app".to_owned(), self.target.clone());
        let store: Arc<dyn Store> = self.store().await;
        let mut engine =
            Engine::new(store, connections, vec![self.rules.clone()], self.clock.clone(), self.killer.clone());
        engine.merged_together = self.merged_together;
        engine.blind_after = self.blind_after;
        engine
    }

    pub(super) async fn cycle(&self) -> Result<Report, EngineError> {
        self.engine().await.cycle(&self.rules, &CycleOptions::default()).await
    }

    pub(super) async fn full(&self) -> Result<Report, EngineError> {
        let options = CycleOptions { full: true, ..CycleOptions::default() };
        self.engine().await.cycle(&self.rules, &options).await
    }

    pub(super) async fn reconcile(&self) -> Result<Report, EngineError> {
        let options = CycleOptions { reconcile: true, ..CycleOptions::default() };
        self.engine().await.cycle(&self.rules, &options).await
    }

    pub(super) fn wait(&self, milliseconds: i64) {
        *self.clock.0.lock().unwrap() += milliseconds;
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.target.state.lock().unwrap().faults.push(fault);
    }
}

/// The numbers of a report in one line: created adopted updated enabled disabled deleted unchanged parked held waiting unknown.
pub(super) fn numbers(report: &Report) -> [u64; 11] {
    [
        report.created,
        report.adopted,
        report.updated,
        report.enabled,
        report.disabled,
        report.deleted,
        report.unchanged,
        report.parked,
        report.held,
        report.waiting,
        report.unknown,
    ]
}
