//! A target in memory, with faults.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use muster_connector::ExposeSecret as _;
use muster_connector::{
    Batch, CheckReport, Connector, Cursor, Effect, Error, FoundObject, FoundPage, Kind, Operation, OperationId,
    Outcome, ReadRequest, RetryScope, Target, UsedType, ValueDelta,
};
use muster_model::{
    Anchor, AssignedBy, Attribute, CaseRule, Enabling, Key, Multiplicity, ObjectType, Once, Row, Schema, Slot,
    TargetCapabilities, Value, ValueType,
};

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
    /// Every operation is answered "the whole target takes nothing just now", this many times.
    Busy(usize),
    /// Someone is asked to forget an id: the answer lacks it.
    Silent(usize),
    /// Whatever does not disable is rejected, each operation by itself.
    RejectAll,
    /// Everything is rejected, each operation by itself.
    RejectEverything,
}

#[derive(Default)]
pub(super) struct TargetState {
    pub(super) rows: BTreeMap<i64, BTreeMap<String, Slot>>,
    pub(super) next: i64,
    pub(super) faults: Vec<Fault>,
    pub(super) applied: Vec<(OperationId, Kind)>,
    pub(super) batches: usize,
    /// From this batch on none is answered.
    pub(super) hangs_from: Option<usize>,
}

pub(super) struct MemoryTarget {
    pub(super) state: Mutex<TargetState>,
    pub(super) identity: Mutex<String>,
    pub(super) can_disable: bool,
    pub(super) boss_is_required: std::sync::atomic::AtomicBool,
    /// Names are the same in any case.
    pub(super) names_ignore_case: std::sync::atomic::AtomicBool,
    pub(super) max_batch: std::sync::atomic::AtomicU32,
    pub(super) max_in_flight: std::sync::atomic::AtomicU32,
    /// The login is the anchor, and may be changed.
    pub(super) login_is_key: std::sync::atomic::AtomicBool,
}

impl MemoryTarget {
    pub(super) fn new(can_disable: bool) -> Self {
        let state = TargetState { next: 1, ..TargetState::default() };
        Self {
            state: Mutex::new(state),
            identity: Mutex::new("memory target".to_owned()),
            can_disable,
            boss_is_required: false.into(),
            names_ignore_case: false.into(),
            max_batch: 4.into(),
            max_in_flight: 2.into(),
            login_is_key: false.into(),
        }
    }

    fn login_is_key(&self) -> bool {
        self.login_is_key.load(std::sync::atomic::Ordering::Relaxed)
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
        let person = || vec!["person".to_owned()];
        let case = match self.names_ignore_case.load(std::sync::atomic::Ordering::Relaxed) {
            true => CaseRule::Insensitive,
            false => CaseRule::Sensitive,
        };
        let login_is_key = self.login_is_key();
        let login = Attribute { required: true, unique: true, ..Attribute::new("login", ValueType::Text) };
        Ok(Schema {
            setup: Vec::new(),
            identity: self.identity.lock().unwrap().clone(),
            types: vec![ObjectType {
                name: "person".to_owned(),
                anchor: match login_is_key {
                    true => Anchor { attributes: vec!["login".to_owned()], assigned_by: AssignedBy::Creator },
                    false => Anchor { attributes: vec!["key".to_owned()], assigned_by: AssignedBy::System },
                },
                alternate_keys: if login_is_key { Vec::new() } else { vec![vec!["login".to_owned()]] },
                attributes: vec![
                    Attribute::new("key", ValueType::Integer),
                    login,
                    Attribute { max_length: Some(20), case, ..Attribute::new("name", ValueType::Text) },
                    Attribute::new("enabled", ValueType::Boolean),
                    Attribute::new("extra", ValueType::Text),
                    Attribute { readable: false, max_length: Some(60), ..Attribute::new("password", ValueType::Text) },
                    Attribute { unique: true, ..Attribute::new("level", ValueType::Integer) },
                    Attribute {
                        references: person(),
                        required: self.boss_is_required.load(std::sync::atomic::Ordering::Relaxed),
                        ..Attribute::new("boss", ValueType::Integer)
                    },
                    Attribute {
                        references: person(),
                        multiplicity: Multiplicity::Set,
                        ..Attribute::new("friends", ValueType::Integer)
                    },
                    Attribute { multiplicity: Multiplicity::Set, ..Attribute::new("roles", ValueType::Text) },
                ],
                enabling: self.can_disable.then(|| Enabling { attribute: "enabled".to_owned() }),
                source: None,
                target: Some(TargetCapabilities {
                    once: Once::Natural,
                    readable: true,
                    can_delete: true,
                    can_rename: login_is_key,
                    writes_secrets: true,
                    ordered: false,
                    max_batch: self.max_batch.load(std::sync::atomic::Ordering::Relaxed),
                    max_in_flight: self.max_in_flight.load(std::sync::atomic::Ordering::Relaxed),
                }),
            }],
        })
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }
}

/// What holds several values, which are never read with their rows.
const MANY: [&str; 2] = ["friends", "roles"];

/// The number of the row that a key names; -1 where none has that login.
fn number(state: &TargetState, key: &Key) -> i64 {
    match key.0.as_slice() {
        [Value::Integer(number)] => *number,
        [login @ Value::Text(_)] => {
            let mut rows = state.rows.iter();
            rows.find(|(_, row)| row.get("login").and_then(Slot::value) == Some(login)).map_or(-1, |(id, _)| *id)
        }
        _ => panic!("not a key of this target: {key}"),
    }
}

/// Whether another row has the login.
fn taken(state: &TargetState, key: Option<&Key>, values: &BTreeMap<String, Slot>) -> bool {
    let own = key.map(|key| number(state, key));
    let login = values.get("login");
    login.is_some() && state.rows.iter().any(|(id, row)| Some(*id) != own && row.get("login") == login)
}

/// Whether an operation adds a person that is not there.
fn names_nobody(state: &TargetState, batch: &Batch, operation: &Operation) -> bool {
    let friends = operation.deltas.iter().filter(|delta| batch.attributes[delta.attribute] == "friends");
    let boss = batch.attributes.iter().position(|name| name == "boss").map(|position| operation.row.slot(position));
    let named = friends.flat_map(|delta| &delta.add).chain(boss.and_then(Slot::value));
    named.into_iter().any(|value| !matches!(value, Value::Integer(id) if state.rows.contains_key(id)))
}

fn change_values(row: &mut BTreeMap<String, Slot>, name: &str, delta: &ValueDelta) {
    assert!(delta.add.len() + delta.remove.len() <= 2_000, "too many values at once");
    let mut values = match row.remove(name) {
        Some(Slot::Many(values)) => values,
        Some(Slot::One(value)) => vec![value],
        _ => Vec::new(),
    };
    values.retain(|value| !delta.remove.contains(value));
    values.extend(delta.add.iter().filter(|value| !values.contains(value)).cloned().collect::<Vec<_>>());
    row.insert(name.to_owned(), Slot::many(values));
}

fn key_of(login_is_key: bool, id: i64, row: &BTreeMap<String, Slot>) -> Key {
    match row.get("login").and_then(Slot::value).filter(|_| login_is_key) {
        Some(login) => Key::one(login.clone()),
        None => Key::one(Value::Integer(id)),
    }
}

fn found(login_is_key: bool, request: &ReadRequest, id: i64, row: &BTreeMap<String, Slot>) -> FoundObject {
    let read = |name: &String| match MANY.contains(&name.as_str()) {
        true => Slot::Unknown,
        false => row.get(name).cloned().unwrap_or(Slot::Null),
    };
    let slots = request.attributes.iter().map(read).collect();
    FoundObject { key: key_of(login_is_key, id, row), row: Row(slots), version: None }
}

#[async_trait]
impl Target for MemoryTarget {
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error> {
        let state = self.state.lock().unwrap();
        let of = |key: &Key| {
            let id = number(&state, key);
            state.rows.get(&id).map(|row| found(self.login_is_key(), request, id, row))
        };
        Ok(keys.iter().map(of).collect())
    }

    async fn find(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        let state = self.state.lock().unwrap();
        let ignore_case = self.names_ignore_case.load(std::sync::atomic::Ordering::Relaxed);
        let matches = |row: &BTreeMap<String, Slot>, tuple: &[Value]| {
            let equal = |name: &str, here: &Value, value: &Value| match name == "name" && ignore_case {
                true => here.to_string().to_lowercase() == value.to_string().to_lowercase(),
                false => here == value,
            };
            let here = |name: &String| row.get(name).and_then(Slot::value);
            by.iter().zip(tuple).all(|(name, value)| here(name).is_some_and(|here| equal(name, here, value)))
        };
        let of = |tuple: &Vec<Value>| {
            let rows = state.rows.iter().filter(|(_, row)| matches(row, tuple));
            rows.take(2).map(|(id, row)| found(self.login_is_key(), request, *id, row)).collect()
        };
        Ok(values.iter().map(of).collect())
    }

    async fn holds(&self, _request: &ReadRequest, attribute: &str, pairs: &[(Key, Value)]) -> Result<Vec<bool>, Error> {
        let state = self.state.lock().unwrap();
        let has =
            |(key, value): &(Key, Value)| match state.rows.get(&number(&state, key)).and_then(|row| row.get(attribute))
            {
                Some(Slot::Many(values)) => values.contains(value),
                Some(Slot::One(one)) => one == value,
                _ => false,
            };
        Ok(pairs.iter().map(has).collect())
    }

    async fn list(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<FoundPage, Error> {
        let state = self.state.lock().unwrap();
        let after = cursor.map_or(0, |Cursor(at)| String::from_utf8_lossy(at).parse::<i64>().unwrap());
        let rows: Vec<_> = state.rows.range(after + 1..).take(2).collect();
        let next = (rows.len() == 2).then(|| Cursor(rows[1].0.to_string().into_bytes()));
        Ok(FoundPage {
            objects: rows.into_iter().map(|(id, row)| found(self.login_is_key(), request, *id, row)).collect(),
            next,
        })
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        Ok(batch.operations.iter().map(|operation| format!("{:?}", operation.kind)).collect())
    }

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        let hangs = {
            let mut state = self.state.lock().unwrap();
            state.batches += 1;
            state.hangs_from.is_some_and(|first| state.batches >= first)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        let mut state = self.state.lock().unwrap();
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
                fault @ (Fault::Later(1..) | Fault::Busy(1..)) => {
                    let (Fault::Later(times) | Fault::Busy(times)) = fault else { continue };
                    *times -= 1;
                    let scope = if matches!(fault, Fault::Busy(_)) { RetryScope::Target } else { RetryScope::Object };
                    let retry = Outcome::Retry { after: Duration::from_secs(30), scope, problem: "locked".to_owned() };
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
                let secret = |(position, value): &(usize, muster_connector::SecretValue)| {
                    (batch.attributes[*position].clone(), Slot::text(value.0.expose_secret()))
                };
                let secrets = operation.secrets.iter().map(secret);
                known.map(|(name, slot)| (name.clone(), slot.clone())).chain(secrets).collect::<BTreeMap<_, _>>()
            };
            let spared = state.faults.contains(&Fault::RejectAll) && operation.enabling == Some(false);
            if !spared && (state.faults.contains(&Fault::RejectAll) || state.faults.contains(&Fault::RejectEverything))
            {
                let rejected = Outcome::Rejected {
                    attribute: Some("name".to_owned()),
                    rule: "forbidden".to_owned(),
                    message: format!("not today: {:?}", values().get("password")),
                };
                outcomes.push((operation.id, rejected));
                continue;
            }
            let is_other = operation.expected.as_ref().is_some_and(|(position, value)| {
                let name = &batch.attributes[*position];
                let row = operation.key.as_ref().and_then(|key| state.rows.get(&number(&state, key)));
                row.is_some_and(|row| row.get(name).and_then(Slot::value) != Some(value))
            });
            let id = operation.key.as_ref().map_or(-1, |key| number(&state, key));
            let outcome = match &operation.kind {
                _ if is_other => Outcome::OtherObject,
                Kind::Create => {
                    let values = values();
                    let login = values.get("login").cloned();
                    let twin = state.rows.iter().find(|(_, row)| row.get("login") == login.as_ref()).map(|(id, _)| *id);
                    match twin {
                        Some(id) => Outcome::Exists { key: key_of(self.login_is_key(), id, &state.rows[&id]) },
                        None => {
                            let id = state.next;
                            state.next += 1;
                            let key = Some(key_of(self.login_is_key(), id, &values));
                            state.rows.insert(id, values);
                            Outcome::Applied(Effect { key, ..Effect::default() })
                        }
                    }
                }
                Kind::Update | Kind::Rename { .. } if taken(&state, operation.key.as_ref(), &values()) => {
                    Outcome::Rejected {
                        attribute: Some("login".to_owned()),
                        rule: "unique".to_owned(),
                        message: "taken".to_owned(),
                    }
                }
                Kind::Update if names_nobody(&state, batch, operation) => Outcome::Rejected {
                    attribute: Some("friends".to_owned()),
                    rule: "foreign_key".to_owned(),
                    message: "no such person".to_owned(),
                },
                Kind::Update => match state.rows.get_mut(&id) {
                    Some(row) => {
                        row.extend(values());
                        for delta in &operation.deltas {
                            change_values(row, &batch.attributes[delta.attribute], delta);
                        }
                        Outcome::Applied(Effect::default())
                    }
                    None => Outcome::Missing,
                },
                Kind::Delete => match state.rows.remove(&id) {
                    Some(_) => Outcome::Applied(Effect::default()),
                    None => Outcome::Missing,
                },
                Kind::Rename { to } => match state.rows.get_mut(&id) {
                    Some(row) => {
                        row.extend(values());
                        row.insert("login".to_owned(), Slot::One(to.0[0].clone()));
                        Outcome::Applied(Effect { key: Some(to.clone()), ..Effect::default() })
                    }
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
