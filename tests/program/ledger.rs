//! Nothing but the ledger can tell here what took effect: the tables give keys of their own, keep no value unique, and
//! the sync has no match rule.

use std::collections::BTreeMap;

use muster_sandbox::Directory;
use muster_testkit::{Fault, MariaDb, NULL, Postgres, Proxy};
use serde_json::json;

use crate::support::{Program, entra, tenant};

const SYNC: &str = r#"
[connections.app]
connector = "sql"
url = { env = "APP_URL" }
ledger = true
[connections.app.types.user]
table = "app_user"
enabled = "is_active"

[syncs.staff]
from = "entra:user"
to = "app:user"
guard = { disable = { percent = 100 } }
[syncs.staff.map]
entra_id = "[id]"
full_name = "[displayName]"
department = "[department]"
"#;

/// Everybody who is not gone: id → name, department.
fn expected(directory: &Directory) -> BTreeMap<String, Vec<String>> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| NULL.to_owned(), str::to_owned);
    let users = directory.users();
    let rows =
        users.iter().map(|user| (text(&user["id"]), vec![text(&user["displayName"]), text(&user["department"])]));
    rows.collect()
}

async fn every_lost_answer_is_found(
    port: u16,
    tables: &str,
    url: impl Fn(u16) -> String,
    rows: impl Fn(&str) -> Vec<Vec<String>>,
) {
    let sandbox = tenant(90, 0).await;
    let directory = sandbox.directory();
    rows(tables);
    let proxy = Proxy::start(port);
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    program.set("APP_URL", &url(proxy.port()));
    program.write("muster.toml", &format!("{}{SYNC}", entra(&sandbox.facts())));
    let told = program.fails(2, &["check"]);
    assert!(told.contains("CREATE TABLE muster_ledger"), "{told}");
    let shown = program.ok(&["schema", "app"]);
    let setup: Vec<&str> = shown.lines().filter_map(|line| line.trim().strip_prefix("CREATE TABLE muster_")).collect();
    assert_eq!(setup.len(), 2, "{shown}");
    setup.iter().for_each(|statement| drop(rows(&format!("CREATE TABLE muster_{statement}"))));
    program.ok(&["check"]);

    let mut lost = 0;
    for round in 0..14 {
        // The first COMMIT of a cycle takes the lease, the next ones end batches.
        proxy.set(Fault::CutAfterSeveral(b"COMMIT".to_vec(), 1 + round % 3));
        let (cuts, context) = (proxy.cuts(), format!("round {round}"));
        let ran = program.run(&["sync", "staff"]);
        assert!(matches!(ran.code, Some(0 | 3)), "{context}: {:?} {}{}", ran.code, ran.out, ran.err);
        lost += proxy.cuts() - cuts;
        proxy.heal();
        let report = program.sync(&["staff"]);
        assert_eq!((report["unknown"].as_u64(), report["parked"].as_u64()), (Some(0), Some(0)), "{context}: {report}");
        let held = rows("SELECT entra_id, full_name, department FROM app_user WHERE is_active");
        let held_once: BTreeMap<_, _> = held.iter().cloned().map(|mut row| (row.remove(0), row)).collect();
        assert_eq!(held.len(), held_once.len(), "{context}: somebody is there twice");
        assert_eq!(rows("SELECT count(*) - count(DISTINCT entra_id) FROM app_user"), [["0"]], "{context}");
        let active = directory.users().into_iter().filter(|user| user["accountEnabled"] == json!(true));
        let active: Vec<String> = active.map(|user| user["id"].as_str().unwrap().to_owned()).collect();
        let mut wanted = expected(&directory);
        wanted.retain(|id, _| active.contains(id));
        assert_eq!(held_once, wanted, "{context}");
        for _ in 0..6 {
            directory.join();
        }
        directory.churn(20);
    }
    assert!(lost >= 8, "only {lost} answers were lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_of_postgresql_lost_after_commit_repeat_nothing() {
    let server = Postgres::start();
    let tables = "CREATE TABLE app_user (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entra_id text, \
                  full_name text, department text, is_active boolean NOT NULL DEFAULT true)";
    let url = |port: u16| server.url().replace(&server.port().to_string(), &port.to_string());
    every_lost_answer_is_found(server.port(), tables, url, |sql| server.psql(sql)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_of_mariadb_lost_after_commit_repeat_nothing() {
    let server = MariaDb::start();
    let tables = "CREATE TABLE app_user (id bigint AUTO_INCREMENT PRIMARY KEY, entra_id text, full_name text, \
                  department text, is_active boolean NOT NULL DEFAULT true)";
    let url = |port: u16| server.url().replace(&server.port().to_string(), &port.to_string());
    every_lost_answer_is_found(server.port(), tables, url, |sql| server.sql(sql)).await;
}
