//! Limits that must hold whatever else changes, and rules of one sync that must not reach another.

use serde_json::{Value, json};

use crate::support::{Program, counts, entra, sqlite, tenant};

fn staff(users: &[Value]) -> Vec<&Value> {
    users.iter().filter(|user| user["accountEnabled"] == json!(true)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disable_that_comes_with_a_new_key_is_guarded_too() {
    let sandbox = tenant(100, 0).await;
    let directory = sandbox.directory();
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    let table = "CREATE TABLE app_user (login TEXT PRIMARY KEY NOT NULL, is_active BOOLEAN NOT NULL)";
    muster_connector_sql::script::run_script(&program.path("app.db"), table).await.unwrap();
    let sync = "[connections.app]\nconnector = \"sql\"\nurl = \"sqlite:app.db\"\n[connections.app.types.user]\ntable = \"app_user\"\n\
                enabled = \"is_active\"\n[syncs.staff]\nfrom = \"entra:user\"\nto = \"app:user\"\n\
                match = [{ source = \"[userPrincipalName]\", target = \"login\" }]\n[syncs.staff.map]\nlogin = \"[userPrincipalName]\"\n";
    program.write("muster.toml", &format!("{}{sync}", entra(&sandbox.facts())));
    program.sync(&["staff"]);
    let active = "SELECT count(*) FROM app_user WHERE is_active";
    let before = sqlite(&program.path("app.db"), active).await;
    let users = directory.users();
    for user in staff(&users).into_iter().take(30) {
        let renamed = format!("renamed.{}", user["userPrincipalName"].as_str().unwrap());
        let change = json!({ "userPrincipalName": renamed, "accountEnabled": false });
        directory.patch_user(user["id"].as_str().unwrap(), &change).unwrap();
    }
    let plan: Value = serde_json::from_str(&program.ok(&["--output", "json", "plan", "staff"])).unwrap();
    assert_eq!((plan["report"]["disabled"].as_u64(), plan["report"]["held"].as_u64()), (Some(30), Some(30)));
    // The new key is harmless and goes; the disable waits.
    assert_eq!(counts(&program.sync(&["staff"])), "30 updated, 30 held");
    assert_eq!(sqlite(&program.path("app.db"), active).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_syncs_impatience_deletes_nobody_in_another() {
    let sandbox = tenant(40, 0).await;
    let directory = sandbox.directory();
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    let tables = "CREATE TABLE one (id INTEGER PRIMARY KEY, login TEXT NOT NULL UNIQUE, is_active BOOLEAN NOT NULL); \
                  CREATE TABLE two (id INTEGER PRIMARY KEY, login TEXT NOT NULL UNIQUE, is_active BOOLEAN NOT NULL);";
    muster_connector_sql::script::run_script(&program.path("app.db"), tables).await.unwrap();
    let mut text = entra(&sandbox.facts());
    text.push_str("[connections.app]\nconnector = \"sql\"\nurl = \"sqlite:app.db\"\n");
    for (name, removal) in [("one", "absent_for = \"1s\"\nsoft = \"keep\""), ("two", "grace = \"1s\"")] {
        text.push_str(&format!(
            "[connections.app.types.{name}]\ntable = \"{name}\"\nenabled = \"is_active\"\n[syncs.{name}]\nfrom = \"entra:user\"\n\
             to = \"app:{name}\"\nmatch = [{{ source = \"[userPrincipalName]\", target = \"login\" }}]\n\
             [syncs.{name}.removal]\n{removal}\n[syncs.{name}.map]\nlogin = \"[userPrincipalName]\"\n"
        ));
    }
    program.write("muster.toml", &text);
    program.sync(&["one"]);
    program.sync(&["two"]);
    let users = directory.users();
    for user in staff(&users).into_iter().take(3) {
        directory.delete_user(user["id"].as_str().unwrap()).unwrap();
    }
    assert_eq!(counts(&program.sync(&["two"])), "3 disabled");
    // Time enough for the impatient sync's rule, if it counted.
    let until = std::time::Instant::now() + std::time::Duration::from_millis(2_100);
    while std::time::Instant::now() < until {
        program.sync(&["one"]);
    }
    assert_eq!(counts(&program.sync(&["two"])), "");
    let left = sqlite(&program.path("app.db"), "SELECT count(*) FROM two").await;
    assert_eq!(left, [[users.len().to_string()]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_application_is_mended_by_reconciliation() {
    let sandbox = tenant(60, 0).await;
    let directory = sandbox.directory();
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    let table = "CREATE TABLE app_user (id INTEGER PRIMARY KEY, login TEXT NOT NULL UNIQUE, department TEXT, is_active BOOLEAN NOT NULL)";
    muster_connector_sql::script::run_script(&program.path("app.db"), table).await.unwrap();
    let sync = "[connections.app]\nconnector = \"sql\"\nurl = \"sqlite:app.db\"\n[connections.app.types.user]\ntable = \"app_user\"\n\
                enabled = \"is_active\"\n[syncs.staff]\nfrom = \"entra:user\"\nto = \"app:user\"\n\
                match = [{ source = \"[userPrincipalName]\", target = \"login\" }]\n[syncs.staff.map]\nlogin = \"[userPrincipalName]\"\n\
                department = \"[department]\"\n";
    program.write("muster.toml", &format!("{}{sync}", entra(&sandbox.facts())));
    program.sync(&["staff"]);
    std::fs::copy(program.path("app.db"), program.path("backup.db")).unwrap();
    let users = directory.users();
    let people = staff(&users);
    directory.delete_user(people[0]["id"].as_str().unwrap()).unwrap();
    directory.patch_user(people[1]["id"].as_str().unwrap(), &json!({ "department": "Elsewhere" })).unwrap();
    directory.join();
    assert_eq!(counts(&program.sync(&["staff"])), "1 created, 1 updated, 1 disabled");
    let all = "SELECT login, department, is_active FROM app_user ORDER BY login";
    let before = sqlite(&program.path("app.db"), all).await;
    std::fs::copy(program.path("backup.db"), program.path("app.db")).unwrap();
    assert_eq!(counts(&program.sync(&["staff", "--reconcile"])), "1 created, 1 updated, 1 disabled");
    assert_eq!(sqlite(&program.path("app.db"), all).await, before);
    assert_eq!(counts(&program.sync(&["staff", "--reconcile"])), "");
}
