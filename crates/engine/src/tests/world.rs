//! A source and a target in memory, and an oracle that compares them without the engine's help.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use muster_connector::page::{Next, Position, Removal};
use muster_connector::{
    Change, ChangePage, CheckReport, Connector, Cursor, EdgeChange, Entry, Error, Expired, ReadPage, ReadRequest,
    Source, SourceObject, UsedType, Watermark,
};
use muster_expression::Expression;
use muster_model::{
    Anchor, AssignedBy, Attribute, Changes, Enabling, Inverse, Key, Multiplicity, ObjectType, Precision, Row, Schema,
    Slot, SourceCapabilities, Value, ValueType,
};
use muster_store::{SqliteStore, Store};
use tempfile::TempDir;

use crate::rules::{GuardRules, Limit, MappingRule, MatchRule, Mode, RemovalRules, SyncRules, When};
use crate::{Clock, CommitPoint, CycleOptions, Engine, EngineError, Observer, Report};

pub(super) use super::target::{Fault, MemoryTarget, TargetState};

pub(super) const DAY: i64 = 86_400_000;

/// One change at the source, as a delta tells it.
#[derive(Clone, Debug)]
pub(super) enum News {
    Set(BTreeMap<&'static str, Slot>),
    /// An attribute refers to another object from now on, or no longer.
    Refers(&'static str, String, bool),
    Gone(Removal),
}

#[derive(Default)]
pub(super) struct SourceState {
    pub(super) people: BTreeMap<String, BTreeMap<&'static str, Slot>>,
    pub(super) log: Vec<(String, News)>,
    /// Who refers to whom: (object, attribute, other).
    pub(super) references: BTreeSet<(String, &'static str, String)>,
    /// Who is in the recycle bin.
    pub(super) bin: BTreeSet<String>,
    pub(super) expire: Vec<Expired>,
    pub(super) refuse_attribute: Option<String>,
    pub(super) calls: usize,
    /// Objects that a full read leaves out.
    pub(super) hidden: Vec<String>,
    /// They are left out from the next expiry on.
    pub(super) hidden_after_expiry: Vec<String>,
    /// So many empty pages come first, each with a link of its own.
    pub(super) empty_pages: usize,
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
            ("hired", Slot::Null),
            ("leaves", Slot::Null),
        ];
        let mut state = self.state.lock().unwrap();
        let values: BTreeMap<&'static str, Slot> = values.into();
        state.bin.remove(id);
        state.people.insert(id.to_owned(), values.clone());
        state.log.push((id.to_owned(), News::Set(values)));
    }

    pub(super) fn set(&self, id: &str, attribute: &'static str, slot: Slot) {
        let mut state = self.state.lock().unwrap();
        state.people.get_mut(id).unwrap().insert(attribute, slot.clone());
        state.log.push((id.to_owned(), News::Set([(attribute, slot)].into())));
    }

    /// Lets an attribute refer to another object.
    pub(super) fn refer(&self, id: &str, attribute: &'static str, to: &str) {
        let mut state = self.state.lock().unwrap();
        if attribute == "manager" {
            state.references.retain(|(from, name, _)| (from.as_str(), *name) != (id, attribute));
        }
        state.references.insert((id.to_owned(), attribute, to.to_owned()));
        state.log.push((id.to_owned(), News::Refers(attribute, to.to_owned(), true)));
    }

    pub(super) fn refer_no_more(&self, id: &str, attribute: &'static str, to: &str) {
        let mut state = self.state.lock().unwrap();
        state.references.remove(&(id.to_owned(), attribute, to.to_owned()));
        state.log.push((id.to_owned(), News::Refers(attribute, to.to_owned(), false)));
    }

    pub(super) fn remove(&self, id: &str, removal: Removal) {
        let mut state = self.state.lock().unwrap();
        state.people.remove(id);
        if removal == Removal::Soft {
            state.bin.insert(id.to_owned());
        } else {
            state.bin.remove(id);
            state.references.retain(|(from, _, to)| from != id && to != id);
        }
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
        let inverse = Inverse { attribute: "friendOf".to_owned(), called_by: "name".to_owned() };
        let friends = Attribute {
            multiplicity: Multiplicity::Set,
            name: "friends".to_owned(),
            inverse: Some(inverse),
            ..manager.clone()
        };
        let several = Attribute { multiplicity: Multiplicity::Set, ..Attribute::new("phones", ValueType::Text) };
        Ok(Schema {
            setup: Vec::new(),
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
                    Attribute::new("hired", ValueType::Text),
                    Attribute::new("leaves", ValueType::Text),
                    several,
                    manager,
                    friends,
                ],
                enabling: Some(Enabling { attribute: "active".to_owned() }),
                source: Some(SourceCapabilities {
                    changes: Some(Changes {
                        starts_full: true,
                        precision: Precision::Round,
                        deletes_visible: true,
                        keys_every: 0,
                    }),
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

fn edge(request: &ReadRequest, name: &str, to: &str, removed: bool) -> Option<EdgeChange> {
    let attribute = request.attributes.iter().position(|known| known == name)?;
    Some(EdgeChange { attribute, object_type: "user".into(), referenced: Key::text(to), removed })
}

#[async_trait]
impl Source for MemorySource {
    async fn read(&self, _request: &ReadRequest, _cursor: Option<&Cursor>) -> Result<ReadPage, Error> {
        Err(Error::Unsupported("read".to_owned()))
    }

    async fn changes(&self, request: &ReadRequest, position: &Position) -> Result<ChangePage, Error> {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        if state.empty_pages > 0 {
            state.empty_pages -= 1;
            // It goes on where the round began.
            let mark = match position {
                Position::Page(Cursor(cursor)) => String::from_utf8_lossy(cursor).split(';').next().unwrap().to_owned(),
                Position::Start(Some(Watermark(mark))) => {
                    format!("{},0,{}", state.log.len(), String::from_utf8_lossy(mark))
                }
                Position::Start(None) => format!("{},1,0", state.log.len()),
            };
            let next = Next::Page(Cursor(format!("{mark};{}", state.empty_pages).into_bytes()));
            return Ok(ChangePage { entries: Vec::new(), next, source_time: None });
        }
        if let Some(name) = state.refuse_attribute.as_ref().filter(|name| request.attributes.contains(name)) {
            let problem = format!("no permission for {name}");
            return Err(Error::Credentials { problem, fix: "grant it".to_owned() });
        }
        if !matches!(position, Position::Start(None))
            && let Some(expired) = state.expire.pop()
        {
            let hidden = std::mem::take(&mut state.hidden_after_expiry);
            state.hidden.extend(hidden);
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
                let text = text.split(';').next().unwrap();
                let parts: Vec<usize> = text.split(',').map(|part| part.parse().unwrap()).collect();
                (parts[0], parts[1] == 1, parts[2])
            }
        };
        let mut entries = Vec::new();
        let total = if full { state.people.len() } else { end };
        let upto = (from + PAGE).min(total);
        if full {
            for (id, values) in state.people.iter().skip(from).take(PAGE).filter(|(id, _)| !state.hidden.contains(id)) {
                // Whoever is in the recycle bin is not listed.
                let live = |to: &String| !state.bin.contains(to);
                let own = state.references.iter().filter(|(from, _, to)| from == id && live(to));
                let edges = own.filter_map(|(_, name, to)| edge(request, name, to, false)).collect();
                entries.push(Entry { key: Key::text(id), change: Change::Partial(row(values)), edges });
            }
        } else {
            for (id, news) in &state.log[from.min(upto)..upto] {
                let mut edges = Vec::new();
                let change = match news {
                    News::Set(values) => Change::Partial(row(values)),
                    News::Refers(name, to, refers) => {
                        edges.extend(edge(request, name, to, !refers));
                        Change::Partial(row(&BTreeMap::new()))
                    }
                    News::Gone(removal) => Change::Removed(*removal),
                };
                entries.push(Entry { key: Key::text(id), change, edges });
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
pub(super) struct Killer(pub(super) Mutex<Option<(CommitPoint, usize)>>, pub(super) Mutex<Power>);

/// The power that may go with a kill, and with it all that was written since the disk was last waited for.
#[derive(Default)]
pub(super) struct Power {
    /// Whether it goes with the next kill.
    pub(super) fails: bool,
    failed: bool,
    failures: u32,
    state: PathBuf,
    /// The state's files as they were when all of it was on disk.
    on_disk: [Vec<u8>; 2],
}

impl Power {
    /// The moments just before which the state was on disk as a whole.
    const SYNCED: [CommitPoint; 3] = [CommitPoint::BatchFlushed, CommitPoint::Swept, CommitPoint::RunFinished];

    fn files(&self) -> [PathBuf; 2] {
        ["", "-wal"].map(|suffix| PathBuf::from(format!("{}{suffix}", self.state.display())))
    }

    fn keep(&mut self) {
        self.on_disk = self.files().map(|file| std::fs::read(file).unwrap_or_default());
    }

    /// Where the state is; after a failure it is as the disk had it.
    fn state(&mut self, folder: &Path) -> PathBuf {
        if std::mem::take(&mut self.failed) {
            self.failures += 1;
            // Under another name, since the process that was killed may still be closing its files.
            self.state = folder.join(format!("state-{}.db", self.failures));
            for (file, bytes) in self.files().iter().zip(&self.on_disk) {
                std::fs::write(file, bytes).unwrap();
            }
        } else if self.failures == 0 {
            self.state = folder.join("state.db");
        }
        self.state.clone()
    }
}

pub(super) const KILLED: &str = "killed at a commit point";

impl Observer for Killer {
    fn passed(&self, point: CommitPoint) {
        let mut power = self.1.lock().unwrap();
        if power.fails && Power::SYNCED.contains(&point) {
            power.keep();
        }
        let mut plan = self.0.lock().unwrap();
        if let Some((wanted, left)) = plan.as_mut()
            && *wanted == point
        {
            *left -= 1;
            if *left == 0 {
                *plan = None;
                drop(plan);
                power.failed = power.fails;
                drop(power);
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
    let value = Expression::parse(value).unwrap();
    MappingRule { target: target.to_owned(), value, when: When::Always, default: None, keeps: false }
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
            matching: vec![MatchRule::one(Expression::parse("[mail]").unwrap(), "login")],
            creates: true,
            removal: RemovalRules::default(),
            lifecycle: None,
            password: None,
            guard: GuardRules {
                delete: Limit { percent: 50.0, min: 2, max: None },
                disable: Limit { percent: 50.0, min: 2, max: None },
                missing: Limit { percent: 50.0, min: 2, max: None },
                ..GuardRules::default()
            },
            mode: Mode::Apply,
            scope: Vec::new(),
            protect: Vec::new(),
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
        let path = self.killer.1.lock().unwrap().state(self.folder.path());
        let store = SqliteStore::open(&path, self.clock.now()).await.unwrap();
        self.killer.1.lock().unwrap().keep();
        Arc::new(store)
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
