//! What a person reads where names, states and settings are unusual, and what lies in the folder afterwards.

use muster_sandbox::Sandbox;
use serde_json::{Value, json};

use crate::running::Running;
use crate::support::{APP, Program, entra, sqlite, tenant};

const TABLE: &str = "CREATE TABLE app_user (id INTEGER PRIMARY KEY, login TEXT NOT NULL UNIQUE, full_name TEXT, \
                     is_active BOOLEAN NOT NULL DEFAULT 1)";

const SYNC: &str = r#"
[syncs.staff]
from = "entra:user"
to = "app:user"
every = "1s"
match = [{ source = "[employeeId]", target = "login" }]
[syncs.staff.map]
login = "[employeeId]"
full_name = "[displayName]"
"#;

async fn configured(users: usize) -> (Program, Sandbox) {
    let sandbox = tenant(users, 0).await;
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    muster_connector_sql::script::run_script(&program.path("app.db"), TABLE).await.unwrap();
    let listen = "service = { listen = \"127.0.0.1:0\" }\n";
    program.write("muster.toml", &format!("{listen}{}{APP}{SYNC}", entra(&sandbox.facts())));
    (program, sandbox)
}

fn ids(sandbox: &Sandbox) -> Vec<String> {
    let users = sandbox.directory().users();
    let active = users.iter().filter(|user| user["accountEnabled"] == json!(true) && user["employeeId"].is_string());
    active.map(|user| user["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_value_to_match_by_is_shown_by_another_name() {
    let (program, sandbox) = configured(20).await;
    let id = ids(&sandbox).remove(0);
    let guest = json!({ "employeeId": null, "displayName": "Guest of Contoso" });
    sandbox.directory().patch_user(&id, &guest).unwrap();
    program.sync(&["staff"]);
    let parked: Value = serde_json::from_str(&program.ok(&["--output", "json", "parked", "staff"])).unwrap();
    let found = parked["parked"].as_array().unwrap().iter().find(|object| object["source"] == json!(id)).unwrap();
    assert_eq!(found["name"], json!("Guest of Contoso"));
    assert!(program.ok(&["parked"]).contains("Guest of Contoso"));
    assert!(program.ok(&["explain", "staff", &id]).starts_with(&format!("staff: Guest of Contoso  {id}\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_position_of_another_address_is_a_matter_of_the_configuration() {
    let (mut program, sandbox) = configured(20).await;
    program.sync(&["staff"]);
    // The same tenant, reached at another address.
    let elsewhere = tenant(20, 0).await;
    program.set("ENTRA_SECRET", &elsewhere.facts().client_secret);
    program.write("muster.toml", &format!("{}{APP}{SYNC}", entra(&elsewhere.facts())));
    let said = program.fails(2, &["sync", "staff"]);
    for part in [
        "muster.toml:",
        "connections.entra.graph_url",
        sandbox.facts().graph_url.trim_end_matches("/v1.0"),
        "muster sync SYNC --full",
    ] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    let rows = "SELECT count(*) FROM app_user";
    let before = sqlite(&program.path("app.db"), rows).await;
    assert_eq!(program.sync(&["staff", "--full"])["created"], json!(0));
    program.sync(&["staff"]);
    assert_eq!(sqlite(&program.path("app.db"), rows).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_backed_up_or_restored_is_said_in_a_line() {
    let (program, sandbox) = configured(10).await;
    program.sync(&["staff"]);
    // After a clean end the file alone is everything, also where somebody else has it open.
    let state = program.path("muster.state.db");
    let open = muster_store::SqliteStore::open(&state, 0).await.unwrap();
    assert_eq!(muster_store::Store::sync_names(&open).await.unwrap().len(), 1);
    sandbox.directory().patch_user(&ids(&sandbox)[0], &json!({ "displayName": "Somebody New" })).unwrap();
    program.sync(&["staff"]);
    let log = std::fs::metadata(program.path("muster.state.db-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0, "the log holds what the file lacks");
    drop(open);
    std::fs::copy(state, program.path("copied.db")).unwrap();
    program.ok(&["state", "backup", "good.db"]);
    let good = std::fs::read(program.path("good.db")).unwrap();
    std::fs::write(program.path("torn.db"), &good[..good.len() / 2]).unwrap();
    let mut spoilt = good.clone();
    let (middle, page) = (good.len() / 2 / 8_192 * 8_192, 8_192);
    spoilt[middle..middle + page].fill(0x5a);
    std::fs::write(program.path("spoilt.db"), spoilt).unwrap();
    program.write("text.db", &"no database ".repeat(100));
    program.write("empty.db", "");
    let before = std::fs::read(program.path("muster.state.db")).unwrap();
    for (arguments, expected) in [
        (
            ["state", "restore", "nowhere.db"],
            "the backup nowhere.db cannot be read (there is no such file); check the path",
        ),
        (["state", "restore", "."], "the backup . cannot be read"),
        (
            ["state", "restore", "text.db"],
            "text.db is no backup of Muster's state (it is no SQLite database); name a file that",
        ),
        (
            ["state", "restore", "app.db"],
            "app.db is no backup of Muster's state (it is another application's SQLite database)",
        ),
        (["state", "restore", "empty.db"], "the backup empty.db is damaged (the file is empty); restore another one"),
        (["state", "restore", "torn.db"], "the backup torn.db is damaged (it has "),
        (["state", "restore", "spoilt.db"], "the backup spoilt.db is damaged ("),
        (
            ["state", "restore", "muster.state.db"],
            "the backup muster.state.db cannot be read (this is the state itself",
        ),
        (["state", "backup", "no/such/folder.db"], "the backup no/such/folder.db cannot be written ("),
    ] {
        let said = program.fails(4, &arguments);
        assert!(said.starts_with(&format!("error: {expected}")), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(std::fs::read(program.path("muster.state.db")).unwrap(), before, "{arguments:?}");
    }
    program.ok(&["state", "restore", "copied.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_zone_that_is_not_known_is_told_where_a_calendar_depends_on_it() {
    let (mut program, _sandbox) = configured(10).await;
    program.set("TZ", "Europe/Nowhere");
    let said = program.run(&["check"]);
    assert!(!format!("{}{}", said.out, said.err).contains("TZ"), "{}", said.out);
    let text = std::fs::read_to_string(program.path("muster.toml")).unwrap();
    program.write("muster.toml", &text.replace("every = \"1s\"", "schedule = \"0 6 * * *\""));
    let said = program.ok(&["check"]);
    assert!(said.contains("the variable TZ is \"Europe/Nowhere\", which this machine does not know"), "{said}");
    let service = Running::start(&program, "log").await;
    assert!(service.log().contains("Europe/Nowhere"), "{}", service.log());
    service.end();
    program.set("TZ", "UTC");
    assert!(!program.ok(&["check"]).contains("TZ"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_logged_once_and_not_with_every_cycle() {
    let (program, sandbox) = configured(60).await;
    program.sync(&["staff"]);
    for id in ids(&sandbox).iter().take(25) {
        sandbox.directory().delete_user(id).unwrap();
    }
    let mut service = Running::start(&program, "log").await;
    let sample = "muster_cycles_total{sync=\"staff\",outcome=\"ok\"}";
    service.until("it is held", async |service| service.log().contains("held by the guard")).await;
    let cycles = service.measured(sample);
    service.until("many cycles pass", async |service| service.measured(sample) >= cycles + 4.0).await;
    let log = service.end();
    for said in ["held by the guard", "a person should know"] {
        assert_eq!(log.matches(said).count(), 1, "{said}: {log}");
    }
}
