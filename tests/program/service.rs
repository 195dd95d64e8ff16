//! The service: what happens by itself, what people and supervisors see of it, and what it survives.

use std::os::unix::net::UnixDatagram;

use muster_sandbox::Sandbox;
use muster_testkit::{Fault, Postgres, Proxy};
use serde_json::{Value, json};

use crate::running::Running;
use crate::support::{Program, counts, entra, sqlite, tenant};

const TABLE: &str = "CREATE TABLE app_user (id INTEGER PRIMARY KEY, login TEXT NOT NULL UNIQUE, full_name TEXT, \
                     department TEXT, is_active BOOLEAN NOT NULL DEFAULT 1)";

/// A sync into a database of its own, every second.
fn sync(name: &str, url: &str) -> String {
    format!(
        "[connections.{name}]\nconnector = \"sql\"\nurl = {url}\n[connections.{name}.types.user]\ntable = \"app_user\"\n\
         enabled = \"is_active\"\n[syncs.{name}]\nfrom = \"entra:user\"\nto = \"{name}:user\"\nevery = \"1s\"\n\
         match = [{{ source = \"[userPrincipalName]\", target = \"login\" }}]\n[syncs.{name}.map]\n\
         login = \"[userPrincipalName]\"\nfull_name = \"[displayName]\"\ndepartment = \"[department]\"\n"
    )
}

/// A tenant and one sync for each of these databases.
async fn configured(databases: &[&str]) -> (Program, Sandbox) {
    let sandbox = tenant(40, 0).await;
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    let mut text =
        format!("service = {{ listen = \"127.0.0.1:0\", unhealthy_after = \"1s\" }}\n{}", entra(&sandbox.facts()));
    for name in databases {
        muster_connector_sql::script::run_script(&program.path(&format!("{name}.db")), TABLE).await.unwrap();
        text.push_str(&sync(name, &format!("\"sqlite:{name}.db\"")));
    }
    program.write("muster.toml", &text);
    (program, sandbox)
}

async fn number(program: &Program, database: &str, query: &'static str) -> u64 {
    sqlite(&program.path(database), query).await[0][0].parse().unwrap()
}

const ALL: &str = "SELECT count(*) FROM app_user";

fn active(sandbox: &Sandbox) -> Vec<String> {
    let users = sandbox.directory().users();
    let active = users.iter().filter(|user| user["accountEnabled"] == json!(true));
    active.map(|user| user["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn joiners_movers_and_leavers_arrive_by_themselves() {
    let (program, sandbox) = configured(&["app"]).await;
    let directory = sandbox.directory();
    let everybody = directory.users();
    let mut service = Running::start(&program, "log").await;
    let all = everybody.len() as u64;
    service.until("everybody is there", async |_| number(&program, "app.db", ALL).await == all).await;

    // Somebody joins, moves, leaves.
    let people = active(&sandbox);
    directory.join();
    directory.patch_user(&people[0], &json!({ "department": "Elsewhere" })).unwrap();
    directory.delete_user(&people[1]).unwrap();
    let moved = "SELECT count(*) FROM app_user WHERE department = 'Elsewhere'";
    let off = "SELECT count(*) FROM app_user WHERE NOT is_active";
    let gone = number(&program, "app.db", off).await + 1;
    service
        .until("all three arrive", async |_| {
            number(&program, "app.db", ALL).await == all + 1
                && number(&program, "app.db", moved).await == 1
                && number(&program, "app.db", off).await == gone
        })
        .await;
    // A cycle is counted when it is over, so a moment after its rows can be read.
    let created = "muster_operations_total{sync=\"app\",kind=\"create\"}";
    service.until("it is measured", async |service| service.measured(created) >= (all + 1) as f64).await;
    assert_eq!(service.measured(created), (all + 1) as f64);
    assert!(service.measured("muster_linked{sync=\"app\"}") > 0.0);
    let read = "muster_source_objects_total{connection=\"entra\"}";
    service.until("what was read is counted", async |service| service.measured(read) >= (all + 3) as f64).await;
    assert!(service.measured("process_resident_memory_bytes") > 1e6);
    let (code, health) = service.health();
    assert_eq!((code, &health["status"], &health["syncs"]["app"]["failing"]), (200, &json!("ok"), &Value::Null));
    assert_eq!(service.get("/other").0, 404);

    // Whoever comes second hears who is there.
    let text = std::fs::read_to_string(program.path("muster.toml")).unwrap();
    // With the very address that the service listens at: whoever holds it matters, not the port.
    program.write("muster.toml", &text.replace("127.0.0.1:0", service.address()));
    for arguments in [&["run"][..], &["sync", "app"], &["plan", "app", "--wait", "1s"]] {
        let said = program.fails(4, arguments);
        assert!(said.contains("syncs already run on this state: on ") && !said.contains("listen"), "{said}");
    }
    program.write("muster.toml", &text);

    // Paused, the source is read and nothing is sent.
    program.ok(&["pause", "app", "--reason", "audit"]);
    service.until("it is paused", async |service| service.health().1["syncs"]["app"]["paused"] == "audit").await;
    service
        .until("the running cycle is over", async |service| {
            let (_, health) = service.health();
            health["syncs"]["app"]["running"] == json!(false)
        })
        .await;
    let read = service.measured("muster_source_objects_total{connection=\"entra\"}");
    directory.patch_user(&people[2], &json!({ "department": "Elsewhere" })).unwrap();
    service
        .until("the news are read", async |service| {
            service.measured("muster_source_objects_total{connection=\"entra\"}") > read
        })
        .await;
    assert_eq!(number(&program, "app.db", moved).await, 1);
    program.ok(&["resume", "app"]);
    service.until("it goes on", async |_| number(&program, "app.db", moved).await == 2).await;

    // A backup while it runs, and once only.
    program.ok(&["state", "backup", "backup.db"]);
    assert!(program.fails(2, &["state", "backup", "backup.db"]).contains("never replaces a file"));
    assert!(program.fails(4, &["state", "restore", "backup.db"]).contains("already run"));
    directory.patch_user(&people[3], &json!({ "department": "Elsewhere" })).unwrap();
    directory.delete_user(&people[4]).unwrap();
    let joined = directory.join();
    service.until("the rest arrives", async |_| number(&program, "app.db", ALL).await == all + 2).await;
    service.until("the leaver too", async |_| number(&program, "app.db", off).await == gone + 1).await;
    let log = service.end();
    assert!(log.contains("\"message\":\"ended\""), "{log}");

    // Nothing of a person stands in what was logged.
    assert!(!log.contains(&joined), "{log}");
    for user in &everybody {
        for value in user.as_object().into_iter().flatten().filter(|(name, _)| {
            ["id", "userPrincipalName", "mail", "displayName", "surname", "givenName"].contains(&name.as_str())
        }) {
            if let Some(text) = value.1.as_str().filter(|text| text.len() > 4) {
                assert!(!log.contains(text), "{} of somebody stands in the log:\n{log}", value.0);
            }
        }
    }

    // Restored, the state is behind the target and finds out.
    let before = sqlite(&program.path("app.db"), "SELECT * FROM app_user ORDER BY id").await;
    let said = program.ok(&["state", "restore", "backup.db"]);
    assert!(said.contains("the former state is kept as"), "{said}");
    program.sync(&["app"]);
    assert_eq!(sqlite(&program.path("app.db"), "SELECT * FROM app_user ORDER BY id").await, before);
    assert_eq!(counts(&program.sync(&["app"])), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_target_that_is_away_turns_health_red_and_leaves_the_others_alone() {
    let (program, sandbox) = configured(&["one", "two"]).await;
    let all = sandbox.directory().users().len() as u64;
    let mut service = Running::start(&program, "log").await;
    service
        .until("everybody is there", async |_| {
            number(&program, "one.db", ALL).await == all && number(&program, "two.db", ALL).await == all
        })
        .await;
    std::fs::rename(program.path("one.db"), program.path("away.db")).unwrap();
    service.until("health turns red", async |service| service.health().0 == 503).await;
    let (_, health) = service.health();
    assert_eq!((&health["reasons"][0]["sync"], &health["syncs"]["two"]["failing"]), (&json!("one"), &Value::Null));
    sandbox.directory().join();
    service.until("the other goes on", async |_| number(&program, "two.db", ALL).await == all + 1).await;
    // Said once, however often it is tried.
    let said = service.log().lines().filter(|line| line.contains("needs a person")).count();
    assert_eq!(said, 1, "{}", service.log());
    std::fs::rename(program.path("away.db"), program.path("one.db")).unwrap();
    service.until("health turns green", async |service| service.health().0 == 200).await;
    service.until("nothing is lost", async |_| number(&program, "one.db", ALL).await == all + 1).await;
    service.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_server_is_down_the_source_is_read_and_the_server_not_hammered() {
    let sandbox = tenant(30, 0).await;
    let postgres = Postgres::start();
    postgres.psql(
        "CREATE TABLE app_user (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, login text NOT NULL UNIQUE, \
         full_name text, department text, is_active boolean NOT NULL)",
    );
    let direct = postgres.url();
    let port: u16 = direct.rsplit(':').next().and_then(|rest| rest.split('/').next()).unwrap().parse().unwrap();
    let proxy = Proxy::start(port);
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    program.set("APP_URL", &direct.replace(&format!(":{port}/"), &format!(":{}/", proxy.port())));
    let listen = "service = { listen = \"127.0.0.1:0\", unhealthy_after = \"1s\" }\n";
    program
        .write("muster.toml", &format!("{listen}{}{}", entra(&sandbox.facts()), sync("app", "{ env = \"APP_URL\" }")));
    let mut service = Running::start(&program, "log").await;
    let rows = || postgres.psql("SELECT count(*) FROM app_user")[0][0].parse::<usize>().unwrap();
    let all = sandbox.directory().users().len();
    service.until("everybody is there", async |_| rows() == all).await;

    proxy.set(Fault::Refuse);
    proxy.cut();
    sandbox.directory().join();
    service.until("health turns red", async |service| service.health().0 == 503).await;
    let read = service.measured("muster_source_objects_total{connection=\"entra\"}");
    sandbox.directory().join();
    service
        .until("the news are read", async |service| {
            service.measured("muster_source_objects_total{connection=\"entra\"}") > read
        })
        .await;
    // Every failed attempt is a cycle that failed; between them are seconds, however often the sync runs.
    let failed = service.measured("muster_cycles_total{sync=\"app\",outcome=\"failed\"}");
    let pages = service.measured("muster_source_pages_total{connection=\"entra\"}");
    service
        .until("it is read ten more times", async |service| {
            service.measured("muster_source_pages_total{connection=\"entra\"}") >= pages + 10.0
        })
        .await;
    let again = service.measured("muster_cycles_total{sync=\"app\",outcome=\"failed\"}") - failed;
    assert!(again <= 5.0, "{again} attempts in the time of ten reads");
    proxy.heal();
    service.until("both joiners arrive", async |_| rows() == all + 2).await;
    service.until("health turns green", async |service| service.health().0 == 200).await;
    service.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_is_told_and_a_changed_configuration_taken_over() {
    let (mut program, sandbox) = configured(&["one", "two"]).await;
    let all = sandbox.directory().users().len() as u64;
    let text = std::fs::read_to_string(program.path("muster.toml")).unwrap();
    let first = text.split("[connections.two]").next().unwrap();
    program.write("muster.toml", first);
    let told = UnixDatagram::bind(program.path("notify")).unwrap();
    told.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let socket = program.path("notify");
    program.set("NOTIFY_SOCKET", socket.to_str().unwrap());
    let hear = || {
        let mut buffer = [0; 256];
        let length = told.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut service = Running::start(&program, "log").await;
    assert_eq!((hear(), hear()), ("READY=1".to_owned(), "WATCHDOG=1".to_owned()));
    service.until("everybody is there", async |_| number(&program, "one.db", ALL).await == all).await;

    program.write("muster.toml", &text.replace("[syncs.two.map]", "[syncs.two.mapp]"));
    service.signal("HUP");
    service.until("it says what is wrong", async |service| service.log().contains("did you mean")).await;
    sandbox.directory().join();
    service.until("the former one counts", async |_| number(&program, "one.db", ALL).await == all + 1).await;
    program.write("muster.toml", &text);
    service.signal("HUP");
    service.until("the new sync runs", async |_| number(&program, "two.db", ALL).await == all + 1).await;
    service.end();
    let mut last = hear();
    while last != "STOPPING=1" {
        assert_eq!(last, "WATCHDOG=1");
        last = hear();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_date_wakes_a_sync_by_itself() {
    let (program, sandbox) = configured(&["app"]).await;
    let text = std::fs::read_to_string(program.path("muster.toml")).unwrap();
    // Nothing but the date brings about a cycle.
    let text = text.replace("every = \"1s\"", "every = \"12h\"");
    program.write("muster.toml", &format!("{text}[syncs.app.lifecycle]\nends = \"[employeeLeaveDateTime]\"\n"));
    let users = sandbox.directory().users();
    let stays = |user: &&Value| user["accountEnabled"] == json!(true) && user["employeeLeaveDateTime"].is_null();
    let leaver = users.iter().find(stays).unwrap()["id"].as_str().unwrap();
    let mut service = Running::start(&program, "log").await;
    let created = "muster_operations_total{sync=\"app\",kind=\"create\"}";
    service.until("the first cycle is over", async |service| service.measured(created) > 0.0).await;
    let off = "SELECT count(*) FROM app_user WHERE NOT is_active";
    let before = number(&program, "app.db", off).await;
    let end = chrono::Utc::now() + chrono::TimeDelta::seconds(5);
    let end_text = end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    sandbox.directory().patch_user(leaver, &json!({ "employeeLeaveDateTime": end_text })).unwrap();
    // The date is read with the cycle that this asks for, and nothing else is asked for afterwards.
    program.ok(&["resume", "app"]);
    service.until("the leaver is disabled", async |_| number(&program, "app.db", off).await == before + 1).await;
    assert!(chrono::Utc::now().timestamp() >= end.timestamp(), "before the date");
    let disabled = "muster_operations_total{sync=\"app\",kind=\"disable\"}";
    service.until("it is counted", async |service| service.measured(disabled) > 0.0).await;
    assert_eq!(service.measured(disabled), 1.0);
}
