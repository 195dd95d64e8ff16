//! What an operator types when something waits: the words, the effects, and that nothing else is touched.

use muster_sandbox::Sandbox;
use serde_json::{Value, json};

use crate::support::{APP, Program, counts, entra, sqlite, tenant};

/// Runs SQL whose text depends on the tenant's people, and returns its rows as text.
async fn execute(program: &Program, sql: &str) -> Vec<Vec<String>> {
    use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(program.path("app.db"));
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
    let text = |row: &sqlx::sqlite::SqliteRow, index| row.get_unchecked::<Option<String>, _>(index).unwrap_or_default();
    rows.iter().map(|row| (0..row.len()).map(|index| text(row, index)).collect()).collect()
}

const TABLE: &str = "CREATE TABLE app_user (id INTEGER PRIMARY KEY, login TEXT NOT NULL UNIQUE, full_name VARCHAR(100), \
                     department TEXT, role TEXT, is_active BOOLEAN NOT NULL DEFAULT 1)";

const SYNC: &str = r#"
[syncs.staff]
from = "entra:user"
to = "app:user"
match = [{ source = "[userPrincipalName]", target = "login" }]
[syncs.staff.map]
login = "[userPrincipalName]"
full_name = "[displayName]"
department = "[department]"
"#;

async fn configured(users: usize) -> (Program, Sandbox) {
    let sandbox = tenant(users, 0).await;
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    muster_connector_sql::script::run_script(&program.path("app.db"), TABLE).await.unwrap();
    program.write("muster.toml", &format!("{}{APP}{SYNC}", entra(&sandbox.facts())));
    (program, sandbox)
}

/// Id and user principal name of enabled people who have a department.
fn staff(sandbox: &Sandbox) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    sandbox
        .directory()
        .users()
        .iter()
        .filter(|user| user["accountEnabled"] == json!(true) && user["department"].is_string())
        .map(|user| (text(&user["id"]), text(&user["userPrincipalName"])))
        .collect()
}

fn document(program: &Program, arguments: &[&str]) -> Value {
    let mut all = vec!["--output", "json"];
    all.extend(arguments);
    serde_json::from_str(&program.ok(&all)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn held_changes_are_listed_approved_and_sent() {
    let (program, sandbox) = configured(60).await;
    program.sync(&["staff"]);
    assert_eq!(program.ok(&["held"]), "nothing is held\n");
    let people = staff(&sandbox);
    for (id, _) in people.iter().take(20) {
        sandbox.directory().delete_user(id).unwrap();
    }
    for (id, _) in people.iter().skip(20).take(15) {
        sandbox.directory().patch_user(id, &json!({ "department": null, "displayName": "New Name" })).unwrap();
    }
    // The new names go, the leavers and the emptied departments wait.
    assert_eq!(counts(&program.sync(&["staff"])), "15 updated, 35 held");
    let named = "SELECT count(*) FROM app_user WHERE full_name = 'New Name' AND department IS NOT NULL";
    assert_eq!(sqlite(&program.path("app.db"), named).await, [["15"]]);
    let held = document(&program, &["held", "staff", "--limit", "3"]);
    let holds = held["held"].as_array().unwrap();
    let kinds: Vec<_> =
        holds.iter().map(|hold| (hold["kind"].clone(), hold["attribute"].clone(), hold["wanted"].clone())).collect();
    assert_eq!(kinds, [(json!("clear"), json!("department"), json!(15)), (json!("disable"), json!(null), json!(20))]);
    assert_eq!(holds[1]["objects"].as_array().unwrap().len(), 3);
    assert!(holds[1]["objects"][0]["name"].as_str().unwrap().contains('@'), "{held}");
    let text = program.ok(&["held"]);
    assert!(text.contains("staff: 20 × disable held, 10 of ") && text.contains("muster approve staff "), "{text}");
    // `status` names the very command.
    let digest = holds[1]["digest"].as_str().unwrap().get(..8).unwrap();
    let status = program.ok(&["status"]);
    assert!(status.contains(&format!("muster approve staff {digest}")), "{status}");
    let wrong = program.fails(2, &["approve", "staff", "ffffffff"]);
    assert!(wrong.contains("nothing with the digest \"ffffffff\" is held") && wrong.contains(digest), "{wrong}");
    assert!(program.fails(2, &["approve", "staff", "f"]).contains("at least 4 characters"));
    let said = program.ok(&["approve", "staff", digest]);
    assert!(said.contains("20 × disable approved until"), "{said}");
    assert_eq!(counts(&program.sync(&["staff"])), "20 disabled, 15 held");
    let active = "SELECT count(*) FROM app_user WHERE is_active AND department IS NULL";
    let before = sqlite(&program.path("app.db"), active).await;
    assert!(program.fails(2, &["approve", "staff", digest]).contains("held now:"));
    let clear = holds[0]["digest"].as_str().unwrap();
    program.ok(&["approve", "staff", clear]);
    assert_eq!(counts(&program.sync(&["staff"])), "15 updated");
    assert_ne!(sqlite(&program.path("app.db"), active).await, before);
    assert_eq!(counts(&program.sync(&["staff"])), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_explained_retried_and_ignored() {
    let (program, sandbox) = configured(30).await;
    let people = staff(&sandbox);
    let (id, login) = &people[0];
    sandbox.directory().patch_user(id, &json!({ "displayName": "x".repeat(150) })).unwrap();
    assert_eq!(program.sync(&["staff"])["parked"], json!(1));
    let parked = document(&program, &["parked", "staff"]);
    let first = &parked["parked"][0];
    assert_eq!((&first["source"], &first["name"]), (&json!(id), &json!(login)));
    assert_eq!(
        (&first["rule"], &first["attribute"], &first["attempts"]),
        (&json!("too_long"), &json!("full_name"), &json!(1))
    );
    let text = program.ok(&["parked"]);
    assert!(text.contains("too_long") && text.contains("muster retry SYNC KEY"), "{text}");
    let explained = program.ok(&["explain", "staff", login]);
    for part in [
        id.as_str(),
        "next: it would be parked: full_name too_long",
        "waits: parked: full_name: too_long",
        "full_name ← [displayName]",
    ] {
        assert!(explained.contains(part), "{part:?} is not in:\n{explained}");
    }
    assert_eq!(document(&program, &["retry", "staff", "--rule", "too_long"])["retried"], json!(1));
    let said = program.fails(2, &["retry", "staff", "--rule", "other"]);
    assert!(said.contains("rule \"other\"; parked now: 1 by too_long of full_name"), "{said}");
    let said = program.fails(2, &["retry", "staff", "--rule", "too_long", "--attribute", "department"]);
    assert!(said.contains("rule \"too_long\" of department; parked now: 1 by too_long of full_name"), "{said}");
    assert!(program.fails(2, &["retry", "staff", &people[1].1]).contains("is not parked"));
    assert_eq!(document(&program, &["retry", "staff", login])["retried"], json!(1));
    assert_eq!(counts(&program.sync(&["staff"])), "1 parked");
    program.ok(&["ignore", "staff", id]);
    assert!(program.ok(&["parked"]).contains("nothing is parked"));
    sandbox.directory().patch_user(id, &json!({ "displayName": "Short" })).unwrap();
    assert_eq!(counts(&program.sync(&["staff", "--full"])), "1 unchanged");
    assert!(program.ok(&["explain", "staff", id]).contains("to be ignored"));
    program.ok(&["unignore", "staff", id]);
    assert_eq!(counts(&program.sync(&["staff"])), "1 created");
    assert!(program.fails(2, &["unignore", "staff", id]).contains("neither ignored nor unlinked"));
    assert!(program.fails(2, &["explain", "staff", "nobody@x"]).contains("no object with the key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_made_and_separated_by_hand() {
    let (program, sandbox) = configured(30).await;
    program.sync(&["staff"]);
    let people = staff(&sandbox);
    let (id, login) = &people[0];
    let insert = "INSERT INTO app_user (id, login, full_name) VALUES (9001, 'old.account', 'Old')";
    muster_connector_sql::script::run_script(&program.path("app.db"), insert).await.unwrap();
    let said = program.ok(&["unlink", "staff", login]);
    assert!(said.contains("stays as it is") && said.contains("muster link staff"), "{said}");
    sandbox.directory().patch_user(id, &json!({ "department": "Elsewhere" })).unwrap();
    assert_eq!(counts(&program.sync(&["staff", "--full"])), "1 unchanged");
    assert!(program.fails(2, &["link", "staff", id, "77777"]).contains("has no object with the key \"77777\""));
    let other = format!("SELECT id FROM app_user WHERE login = '{}'", people[1].1);
    let other = execute(&program, &other).await[0][0].clone();
    let owned = program.fails(2, &["link", "staff", id, &other]);
    assert!(owned.contains(&format!("belongs to {}", people[1].0)) && owned.contains("muster unlink staff"), "{owned}");
    program.ok(&["link", "staff", id, "9001"]);
    let delete = format!("DELETE FROM app_user WHERE login = '{login}'");
    execute(&program, &delete).await;
    assert_eq!(counts(&program.sync(&["staff"])), "1 updated");
    let row = sqlite(&program.path("app.db"), "SELECT login, department FROM app_user WHERE id = 9001").await;
    assert_eq!(row, [[login.clone(), "Elsewhere".to_owned()]]);
    let explained = document(&program, &["explain", "staff", id]);
    assert_eq!((&explained["target"], &explained["state"]), (&json!("9001"), &json!("linked")));
    let codes: Vec<_> = explained["events"].as_array().unwrap().iter().map(|event| event[1].clone()).collect();
    assert!(codes.contains(&json!("linked")) && codes.contains(&json!("unlinked")), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_database_is_taken_over_by_observing_first() {
    let (program, sandbox) = configured(30).await;
    let people = staff(&sandbox);
    let insert = format!(
        "INSERT INTO app_user (login, full_name, role) VALUES ('{}', 'Old Name', NULL), ('{}', 'Keep', 'service'), ('svc-backup', 'Backup', NULL)",
        people[0].1, people[1].1
    );
    execute(&program, &insert).await;
    let text = std::fs::read_to_string(program.path("muster.toml")).unwrap();
    let observing = text
        .replace("[syncs.staff.map]", "mode = \"observe\"\nprotect = ['[role] EQUALS \"service\"']\n[syncs.staff.map]");
    program.write("muster.toml", &observing);
    let plan = document(&program, &["plan", "staff"]);
    let takeover = &plan["takeover"];
    let numbers = ["matched", "protected", "target_objects", "foreign"].map(|name| takeover[name].as_u64().unwrap());
    assert_eq!(numbers, [1, 1, 3, 2], "{plan}");
    let shown = program.ok(&["plan", "staff"]);
    assert!(
        shown.contains("2 of 3 target objects belong to no source object") && shown.contains("svc-backup"),
        "{shown}"
    );
    let all = "SELECT * FROM app_user ORDER BY id";
    let before = sqlite(&program.path("app.db"), all).await;
    let report = program.sync(&["staff"]);
    assert_eq!((&report["observed"], &report["adopted"]), (&json!(true), &json!(1)));
    assert_eq!(sqlite(&program.path("app.db"), all).await, before);
    assert!(program.ok(&["status"]).contains("observes only"));
    program.write("muster.toml", &observing.replace("\"observe\"", "\"apply\""));
    let report = program.sync(&["staff"]);
    assert_eq!((&report["adopted"], &report["parked"]), (&json!(1), &json!(1)));
    let kept = sqlite(&program.path("app.db"), "SELECT full_name FROM app_user WHERE role = 'service'").await;
    assert_eq!(kept, [["Keep"]]);
    let wrong = observing.replace("[role] EQUALS", "[rol] EQUALS");
    program.write("muster.toml", &wrong);
    assert!(program.fails(2, &["check"]).contains("syncs.staff.protect[0]"));
    program.write("muster.toml", &observing.replace("EQUALS \"service\"", "LIKE \"service\""));
    assert!(program.fails(2, &["check"]).contains("look at character"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_is_said_and_shown() {
    let (program, sandbox) = configured(120).await;
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON app_user BEGIN SELECT RAISE(ABORT, 'not today'); END";
    muster_connector_sql::script::run_script(&program.path("app.db"), trigger).await.unwrap();
    let report = program.sync(&["staff"]);
    assert!(report["notes"].to_string().contains("quarantined"), "{report}");
    let status = document(&program, &["status"]);
    assert!(status["syncs"][0]["quarantine"]["rule"].is_string(), "{status}");
    assert!(program.ok(&["status"]).contains("in quarantine since"));
    let sent = "SELECT count(*) FROM app_user";
    assert_eq!(sqlite(&program.path("app.db"), sent).await, [["0"]]);
    assert_eq!(counts(&program.sync(&["staff"])), "");
    // The cause goes, and a person need not wait for the next try.
    muster_connector_sql::script::run_script(&program.path("app.db"), "DROP TRIGGER refuse").await.unwrap();
    assert!(program.ok(&["resume", "staff"]).contains("not in quarantine any more"));
    program.ok(&["retry", "staff", "--all"]);
    program.sync(&["staff"]);
    assert_eq!(sqlite(&program.path("app.db"), sent).await, [[sandbox.directory().users().len().to_string()]]);
    assert!(document(&program, &["status"])["syncs"][0]["quarantine"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_took_a_deleted_ones_number_is_left_alone() {
    let (program, sandbox) = configured(30).await;
    program.sync(&["staff"]);
    let last = execute(&program, "SELECT id, login FROM app_user ORDER BY id DESC LIMIT 1").await.remove(0);
    let (key, login) = (&last[0], &last[1]);
    // Without AUTOINCREMENT the number of a deleted last row is given again.
    execute(&program, &format!("DELETE FROM app_user WHERE id = {key}")).await;
    execute(&program, "INSERT INTO app_user (login, full_name) VALUES ('stranger', 'A Stranger')").await;
    let stranger = format!("SELECT id, login, full_name, is_active FROM app_user WHERE id = {key}");
    let before = execute(&program, &stranger).await;
    assert_eq!(before[0][..2], [key.clone(), "stranger".to_owned()]);
    let people = sandbox.directory().users();
    let id = people.iter().find(|user| user["userPrincipalName"] == json!(login)).unwrap()["id"].clone();
    let id = id.as_str().unwrap();
    sandbox.directory().patch_user(id, &json!({ "displayName": "New Name" })).unwrap();
    assert_eq!(counts(&program.sync(&["staff"])), "1 parked");
    sandbox.directory().patch_user(id, &json!({ "accountEnabled": false })).unwrap();
    program.sync(&["staff"]);
    program.sync(&["staff", "--reconcile"]);
    assert_eq!(execute(&program, &stranger).await, before);
    let parked = program.ok(&["parked", "staff"]);
    assert!(parked.contains("other_object") && parked.contains(&format!("muster unlink staff {login}")), "{parked}");
    // As the message says.
    sandbox.directory().patch_user(id, &json!({ "accountEnabled": true })).unwrap();
    program.ok(&["unlink", "staff", login]);
    program.ok(&["unignore", "staff", login]);
    assert_eq!(counts(&program.sync(&["staff"])), "1 created");
    assert_eq!(execute(&program, &stranger).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_shown_with_its_end_and_keeps_only_the_target_from_changing() {
    let (program, sandbox) = configured(20).await;
    program.sync(&["staff"]);
    assert_eq!(document(&program, &["status"])["syncs"][0]["paused"], Value::Null);
    for reason in ["two\nlines".to_owned(), "a\u{1b}[2J".to_owned(), "x".repeat(201)] {
        let said = program.fails(2, &["pause", "staff", "--reason", &reason]);
        assert!(said.contains("a reason is one line of at most 200 letters"), "{said}");
    }
    assert_eq!(document(&program, &["status"])["syncs"][0]["paused"], Value::Null);
    program.ok(&["pause", "staff", "--reason", "audit until Friday"]);
    assert_eq!(document(&program, &["status"])["syncs"][0]["paused"], json!("audit until Friday"));
    let status = program.ok(&["status"]);
    let line = "staff: paused: audit until Friday; nothing is sent until `muster resume staff`";
    assert!(status.lines().any(|shown| shown == line), "{status}");

    // The source is read, the target left alone, and whoever asks learns how to go on.
    let (id, login) = &staff(&sandbox)[0];
    sandbox.directory().patch_user(id, &json!({ "displayName": "Read Meanwhile" })).unwrap();
    let all = "SELECT * FROM app_user ORDER BY id";
    let before = sqlite(&program.path("app.db"), all).await;
    let said = program.fails(2, &["sync", "staff"]);
    assert!(said.contains("its source was read, nothing was sent, and `muster resume staff` lets it go on"), "{said}");
    assert!(said.contains("audit until Friday"), "{said}");
    assert_eq!(sqlite(&program.path("app.db"), all).await, before);
    let explained = program.ok(&["explain", "staff", login]);
    assert!(explained.contains("Read Meanwhile"), "{explained}");
    program.ok(&["resume", "staff"]);
    assert!(!program.ok(&["status"]).contains("staff: paused"));
    assert_eq!(counts(&program.sync(&["staff"])), "1 updated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_date_disables_shows_why_and_is_undone_by_the_source_alone() {
    let (program, sandbox) = configured(20).await;
    let dates = "[syncs.staff.lifecycle]\nstarts = \"[employeeHireDate]\"\nends = \"[employeeLeaveDateTime]\"\n";
    program.write("muster.toml", &format!("{}{APP}{SYNC}{dates}", entra(&sandbox.facts())));
    program.sync(&["staff"]);
    let (id, login) = staff(&sandbox).remove(0);
    let leaves = |date: Value| {
        sandbox.directory().patch_user(&id, &json!({ "employeeLeaveDateTime": date })).unwrap();
    };
    let is_active = async || {
        let rows = execute(&program, &format!("SELECT is_active FROM app_user WHERE login = '{login}'")).await;
        rows[0][0] == "1"
    };
    leaves(json!("2099-12-31T00:00:00Z"));
    assert_eq!(counts(&program.sync(&["staff"])), "1 unchanged");
    let explained = program.ok(&["explain", "staff", &id]);
    assert!(
        explained.contains("ends \u{2190} [employeeLeaveDateTime]  where [employeeLeaveDateTime] = 2099-12-31"),
        "{explained}"
    );
    assert!(explained.contains("looked at again by itself: 2099-12-31"), "{explained}");

    leaves(json!("2024-12-31T00:00:00Z"));
    let plan = document(&program, &["plan", "staff"]);
    assert_eq!((plan["report"]["disabled"].as_u64(), is_active().await), (Some(1), true), "{plan}");
    assert_eq!(counts(&program.sync(&["staff"])), "1 disabled");
    assert_eq!(counts(&program.sync(&["staff"])), "");
    assert!(!is_active().await);
    let explained = program.ok(&["explain", "staff", &id]);
    assert!(explained.contains("rule: the end has passed: no access (syncs.staff.lifecycle.ends)"), "{explained}");

    leaves(Value::Null);
    assert_eq!(counts(&program.sync(&["staff"])), "1 enabled");
    assert!(is_active().await);
}
