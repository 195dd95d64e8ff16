//! The documented connector in Python, as an administrator configures it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Program, counts, entra, tenant};

const SYNC: &str = r#"
[connections.people]
connector = "process"
command = ["python3", "people.py"]
settings = { file = "people.json" }
environment = { HOME = "HOME_OF_TESTS" }

[syncs.people]
from = "entra:user"
to = "people:user"
removal = { soft = "keep", disabled = "keep" }
match = [{ source = "[id]", target = "id" }]
[syncs.people.map]
id = "[id]"
name = "[displayName]"
mail = "[mail]"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_connector_in_python_is_filled_from_the_tenant() {
    let sandbox = tenant(10_000, 0).await;
    let directory = sandbox.directory();
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    program.write("people.py", include_str!("../../docs/connectors/people.py"));
    // An interpreter of a version manager looks there.
    let home = std::env::var("HOME").unwrap_or_default();
    program.write("muster.toml", &format!("{}{}", entra(&sandbox.facts()), SYNC.replace("HOME_OF_TESTS", &home)));
    program.ok(&["check"]);
    let shown = program.ok(&["schema", "people"]);
    assert!(shown.contains("user"), "{shown}");
    let held = || -> BTreeMap<String, Value> {
        serde_json::from_str(&std::fs::read_to_string(program.path("people.json")).unwrap()).unwrap()
    };
    let report = program.sync(&["people"]);
    let people = held();
    assert_eq!(report["created"].as_u64(), Some(people.len() as u64), "{report}");
    for user in directory.users() {
        let person = people.get(user["id"].as_str().unwrap()).unwrap_or_else(|| panic!("{user} is missing"));
        assert_eq!((&person["name"], &person["mail"]), (&user["displayName"], &user["mail"]));
    }
    assert_eq!(counts(&program.sync(&["people"])), "");
}
