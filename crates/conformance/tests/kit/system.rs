//! The system behind the connector under test: it survives the connector.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_conformance::{Fault, Options, Subject, World};
use muster_connector::{Connector, Description, Epoch, Error, OperationId, Outcome, SecretString, Watermark};
use muster_model::{Key, Once, Slot, Value};
use serde_json::json;

use crate::connector::Memory;
use crate::mutants::Mutant;

pub(crate) const SECRET: &str = "planted-7f3a-secret";

pub(crate) type Fields = BTreeMap<String, Slot>;

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: BTreeMap<Key, Fields>,
    /// Every change there was; removed or not.
    pub(crate) changes: Vec<(Key, bool)>,
}

#[derive(Default)]
pub(crate) struct System {
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) next: i64,
    pub(crate) ledger: BTreeMap<OperationId, Outcome>,
    pub(crate) epoch: Epoch,
    /// Tokens of another generation have expired.
    pub(crate) generation: u32,
    pub(crate) fault: Option<Fault>,
    pub(crate) log: String,
    /// What connectors keep, in rows.
    pub(crate) held: u64,
    pub(crate) clock: i64,
    pub(crate) schemas_told: u32,
    /// For mutants: where the head was when a full read ended, and what was served already.
    pub(crate) late: usize,
    pub(crate) served: usize,
    /// For mutants: when each object was last written, by the connector's clock.
    pub(crate) pending: Option<(String, Key, Fields)>,
    pub(crate) updates: u32,
    pub(crate) stamps: BTreeMap<Key, i64>,
}

impl System {
    pub(crate) fn table(&mut self, name: &str) -> &mut Table {
        self.tables.entry(name.to_owned()).or_default()
    }

    pub(crate) fn put(&mut self, name: &str, key: &Key, fields: Fields) {
        let table = self.table(name);
        table.rows.insert(key.clone(), fields);
        table.changes.push((key.clone(), false));
    }

    pub(crate) fn remove(&mut self, name: &str, key: &Key) -> bool {
        let table = self.table(name);
        let was = table.rows.remove(key).is_some();
        table.changes.push((key.clone(), true));
        was
    }
}

/// The system, and how its connector is made.
pub(crate) struct Stand {
    pub(crate) system: Arc<Mutex<System>>,
    pub(crate) once: Once,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) dead: Mutex<Arc<AtomicBool>>,
}

impl Stand {
    pub(crate) fn new(once: Once, mutant: Option<Mutant>) -> Self {
        Self { system: Arc::default(), once, mutant, dead: Mutex::default() }
    }

    fn system(&self) -> MutexGuard<'_, System> {
        self.system.lock().unwrap()
    }

    pub(crate) fn options(only: &[&str]) -> Options {
        Options {
            only: only.iter().map(|id| (*id).to_owned()).collect(),
            many: 70,
            largest_page: 50,
            largest_growth: 4_000,
            patience: std::time::Duration::from_secs(5),
            ..Options::default()
        }
    }
}

#[async_trait]
impl Subject for Stand {
    async fn start(&self) -> Result<Arc<dyn Connector>, Error> {
        if self.mutant == Some(Mutant::NeverStarts) {
            return Err(Error::Bug("no".to_owned()));
        }
        let mut dead = self.dead.lock().unwrap();
        *dead = Arc::default();
        self.system().log.push_str(match self.mutant {
            Some(Mutant::SecretInLog) => SECRET,
            _ => "started\n",
        });
        Ok(Arc::new(Memory::new(self.system.clone(), self.once, self.mutant, dead.clone())))
    }

    async fn kill(&self) {
        self.dead.lock().unwrap().store(true, Ordering::Relaxed);
    }

    fn description(&self) -> Option<Description> {
        let mut secret = json!({ "x-muster-secret": true, "type": "object" });
        let mut settings = json!({
            "type": "object",
            "properties": { "password": { "$ref": "#/$defs/Secret" } },
            "additionalProperties": self.mutant == Some(Mutant::UnknownSettingTaken),
        });
        if self.mutant == Some(Mutant::SecretNotMarked) {
            secret["x-muster-secret"] = json!(false);
        }
        settings["$defs"] = json!({ "Secret": secret });
        Some(Description { kind: "memory".to_owned(), summary: "memory".to_owned(), version: "1".to_owned(), settings })
    }

    async fn arm(&self, fault: Fault) -> bool {
        self.system().fault = Some(fault);
        true
    }

    fn world(&self) -> Option<&dyn World> {
        Some(self)
    }

    fn planted_secrets(&self) -> Vec<(String, SecretString)> {
        vec![("password".to_owned(), SecretString::from(SECRET))]
    }

    fn log(&self) -> Option<String> {
        Some(self.system().log.clone())
    }

    fn memory(&self) -> Option<u64> {
        Some(self.system().held * 100)
    }

    async fn move_clock(&self, by: TimeDelta) -> bool {
        self.system().clock += by.num_seconds();
        true
    }
}

#[async_trait]
impl World for Stand {
    async fn insert(&self, object_type: &str, values: &[(String, Slot)]) -> Result<Key, String> {
        let mut system = self.system();
        let fields: Fields = values.iter().cloned().collect();
        let key = match object_type {
            "person" => {
                system.next += 1;
                Key::one(Value::Integer(system.next))
            }
            _ => Key(["site", "number"].iter().filter_map(|name| fields.get(*name)?.value().cloned()).collect()),
        };
        system.put(object_type, &key, fields);
        Ok(key)
    }

    async fn change(&self, object_type: &str, key: &Key, values: &[(String, Slot)]) -> Result<(), String> {
        let mut system = self.system();
        let mut fields = system.table(object_type).rows.get(key).cloned().ok_or("not there")?;
        fields.extend(values.iter().cloned());
        system.put(object_type, key, fields);
        Ok(())
    }

    async fn remove(&self, object_type: &str, key: &Key) -> Result<(), String> {
        if self.system().remove(object_type, key) { Ok(()) } else { Err("not there".to_owned()) }
    }

    async fn expire(&self) -> bool {
        self.system().generation += 1;
        true
    }

    fn in_the_future(&self, watermark: &Watermark) -> Option<Watermark> {
        let text = String::from_utf8(watermark.0.clone()).ok()?;
        let (generation, _) = text.split_once(':')?;
        Some(Watermark(format!("{generation}:999999").into_bytes()))
    }
}
