//! The example of the documentation, as its files say, on each database.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use muster_sandbox::{Directory, Sandbox, SandboxOptions};
use muster_testkit::{MariaDb, NULL, Postgres};
use serde_json::Value;

use crate::support::{Program, counts};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/example")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| NULL.to_owned(), str::to_owned)
}

/// What the tenant says: each person's name and manager, phones, teams' names, kinds and members, by ids of the tenant.
fn expected(directory: &Directory) -> BTreeMap<&'static str, BTreeSet<Vec<String>>> {
    let mut all: BTreeMap<&'static str, BTreeSet<Vec<String>>> = BTreeMap::new();
    let users = directory.users();
    let known: BTreeSet<String> = users.iter().map(|user| text(&user["id"])).collect();
    let mut add = |what, row: Vec<String>| all.entry(what).or_default().insert(row);
    for user in &users {
        let id = text(&user["id"]);
        let manager = directory.manager(&id).unwrap_or_else(|| NULL.to_owned());
        add("people", vec![id.clone(), text(&user["displayName"]), manager]);
        for phone in user["businessPhones"].as_array().into_iter().flatten() {
            add("phones", vec![id.clone(), text(phone)]);
        }
    }
    for group in directory.groups() {
        let id = text(&group["id"]);
        add("teams", vec![id.clone(), text(&group["displayName"])]);
        for kind in group["groupTypes"].as_array().into_iter().flatten() {
            add("kinds", vec![id.clone(), text(kind)]);
        }
        for member in directory.members(&id).unwrap_or_default().into_iter().filter(|member| known.contains(member)) {
            add("members", vec![id.clone(), member]);
        }
    }
    all
}

const QUERIES: [(&str, &str); 5] = [
    (
        "people",
        "SELECT u.entra_id, u.full_name, m.entra_id FROM app_user AS u LEFT JOIN app_user AS m ON m.id = u.manager_id",
    ),
    ("phones", "SELECT u.entra_id, p.phone FROM user_phone AS p JOIN app_user AS u ON u.id = p.user_id"),
    ("teams", "SELECT entra_id, name FROM team"),
    ("kinds", "SELECT t.entra_id, k.kind FROM team_kind AS k JOIN team AS t ON t.id = k.team_id"),
    (
        "members",
        "SELECT t.entra_id, u.entra_id FROM team_member AS m JOIN team AS t ON t.id = m.team_id \
         JOIN app_user AS u ON u.id = m.user_id",
    ),
];

/// Follows the documentation's steps with the files as they are, but for the port.
async fn followed(tables: &str, url: &str, program: &mut Program, rows: impl AsyncFn(&str) -> Vec<Vec<String>>) {
    let options = SandboxOptions { users: 200, groups: 8, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await.unwrap();
    let facts = sandbox.facts();
    let given = std::fs::read_to_string(folder().join("muster.toml")).unwrap();
    assert!(given.contains(&facts.tenant) && given.contains(&facts.client_id), "the sandbox gives other ids now");
    let guide = std::fs::read_to_string(folder().join("../../docs/example.md")).unwrap();
    assert!(guide.contains(&format!("SANDBOX_SECRET={}", facts.client_secret)), "the sandbox gives another secret now");
    program.write("muster.toml", &given.replace("http://127.0.0.1:9460", &facts.authority));
    program.set("SANDBOX_SECRET", &facts.client_secret);
    program.set("APP_URL", url);
    rows(&std::fs::read_to_string(folder().join(tables)).unwrap()).await;

    let told = program.ok(&["check"]);
    assert!(told.contains("everything is in order"), "{told}");
    let shown = program.ok(&["schema", "app"]);
    assert!(shown.contains("refers to user") && shown.contains("set of text"), "{shown}");
    let plan = program.ok(&["plan", "staff", "--sql"]);
    assert!(plan.contains("INSERT INTO") && plan.contains("both ends have their objects"), "{plan}");
    for round in 0..2 {
        program.sync(&["staff"]);
        program.sync(&["teams"]);
        let mut held = BTreeMap::new();
        for (what, query) in QUERIES {
            held.insert(what, rows(query).await.into_iter().collect::<BTreeSet<_>>());
        }
        let people = sandbox.directory().users().len();
        assert_eq!(held["people"].len(), people, "{tables}, round {round}");
        for (what, wanted) in expected(&sandbox.directory()) {
            assert!(!wanted.is_empty(), "the tenant has no {what}");
            assert_eq!(held[what], wanted, "{tables}, round {round}: {what}");
        }
        assert_eq!(counts(&program.sync(&["staff"])), "");
        let directory = sandbox.directory();
        for _ in 0..3 {
            directory.join();
        }
        let group = text(&directory.groups()[1]["id"]);
        directory.add_member(&group, &directory.user_ids()[150]).ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_works_on_postgresql() {
    let server = Postgres::start();
    followed("postgres.sql", &server.url(), &mut Program::new(), async |sql| server.psql(sql)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_works_on_mariadb() {
    let server = MariaDb::start();
    followed("mysql.sql", &server.url(), &mut Program::new(), async |sql| server.sql(sql)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_works_on_sqlite() {
    let mut program = Program::new();
    let path = program.path("app.db");
    let rows = async |sql: &str| {
        use sqlx::{ConnectOptions as _, Row as _};
        let mut file =
            sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
        let found = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&mut file).await.unwrap();
        let text = |row: &sqlx::sqlite::SqliteRow, index| {
            row.get_unchecked::<Option<String>, _>(index).unwrap_or_else(|| NULL.to_owned())
        };
        found.iter().map(|row| (0..row.len()).map(|index| text(row, index)).collect()).collect()
    };
    followed("sqlite.sql", "sqlite://app.db", &mut program, rows).await;
}
