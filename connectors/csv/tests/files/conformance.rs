//! The connector keeps the contract, by the kit that proves it of any connector.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use muster_conformance::{Options, Subject, run};
use muster_connector::{Connector, ConnectorKind as _, Description, Error};
use muster_connector_csv::CsvKind;
use muster_model::{Key, Slot};
use serde_json::json;

use crate::world::World;

const COLUMNS: [&str; 3] = ["no", "name", "note"];

/// The people of a file, by number, as somebody exports them.
struct Export {
    world: World,
    people: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Export {
    fn write(&self) {
        let quoted = |text: Option<&String>| format!("\"{}\"", text.map_or("", String::as_str).replace('"', "\"\""));
        let people = self.people.lock().unwrap();
        let line = |person: &BTreeMap<String, String>| COLUMNS.map(|name| quoted(person.get(name))).join(",") + "\n";
        let rows: String = people.values().map(line).collect();
        self.world.write("people.csv", COLUMNS.join(",") + "\n" + &rows);
    }

    fn put(&self, no: &str, values: &[(String, Slot)]) {
        let mut people = self.people.lock().unwrap();
        let person = people.entry(no.to_owned()).or_default();
        person.insert("no".to_owned(), no.to_owned());
        for (name, slot) in values.iter().filter(|(name, _)| name != "no") {
            person.insert(name.clone(), slot.value().map(ToString::to_string).unwrap_or_default());
        }
    }

    fn next(&self) -> String {
        let people = self.people.lock().unwrap();
        let last = people.keys().filter_map(|no| no.parse::<u64>().ok()).max();
        (last.unwrap_or(0) + 1).to_string()
    }
}

#[async_trait]
impl Subject for Export {
    async fn start(&self) -> Result<Arc<dyn Connector>, Error> {
        Ok(self.world.people(json!({})))
    }

    fn description(&self) -> Option<Description> {
        Some(CsvKind.describe())
    }

    fn world(&self) -> Option<&dyn muster_conformance::World> {
        Some(self)
    }
}

#[async_trait]
impl muster_conformance::World for Export {
    async fn insert(&self, object_type: &str, values: &[(String, Slot)]) -> Result<Key, String> {
        let made = self.insert_all(object_type, &[values.to_vec()]).await?;
        made.into_iter().next().ok_or_else(|| "nobody was made".to_owned())
    }

    async fn insert_all(&self, _: &str, objects: &[Vec<(String, Slot)>]) -> Result<Vec<Key>, String> {
        let mut keys = Vec::new();
        for values in objects {
            let no = self.next();
            self.put(&no, values);
            keys.push(Key::text(&no));
        }
        self.write();
        Ok(keys)
    }

    async fn change(&self, _: &str, key: &Key, values: &[(String, Slot)]) -> Result<(), String> {
        self.put(&key.to_string(), values);
        self.write();
        Ok(())
    }

    async fn remove(&self, _: &str, key: &Key) -> Result<(), String> {
        self.people.lock().unwrap().remove(&key.to_string());
        self.write();
        Ok(())
    }
}

#[tokio::test]
async fn the_contract_is_kept() {
    let export = Export { world: World::new(), people: Mutex::default() };
    export.write();
    let report = run(&export, &Options { many: 2_100, ..Options::default() }).await;
    assert!(report.passed(), "{report}");
    for tried in ["reading.full", "reading.get", "reading.paging_insert", "reading.foreign_token"] {
        let passed =
            |one: &muster_conformance::CheckResult| one.id == tried && one.status == muster_conformance::Status::Passed;
        assert!(report.results.iter().any(passed), "{tried} was not tried: {report}");
    }
}
