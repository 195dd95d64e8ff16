//! The main job: a tenant into PostgreSQL, compared person by person with what the tenant itself says.

use std::collections::BTreeMap;

use muster_model::Key;
use muster_sandbox::Directory;
use muster_store::{SqliteStore, Store as _};
use muster_testkit::Postgres;
use serde_json::{Value, json};

use crate::support::{Program, counts, entra, tenant};

const TABLES: &str = "
    CREATE TABLE app_user (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        login varchar(160) NOT NULL UNIQUE,
        full_name varchar(256) NOT NULL,
        department varchar(64),
        title varchar(128),
        hired_on date,
        is_active boolean NOT NULL DEFAULT true,
        remark text NOT NULL DEFAULT 'untouched');
    CREATE TABLE team (team_id uuid PRIMARY KEY, name text NOT NULL, about text);";

const SYNCS: &str = r#"
[connections.app.types.user]
table = "app_user"
enabled = "is_active"
[connections.app.types.team]
table = "team"

[syncs.staff]
from = "entra:user"
to = "app:user"
match = [{ source = "[userPrincipalName]", target = "login" }]
read = ["manager"]
[syncs.staff.map]
login = "[userPrincipalName]"
full_name = "[displayName]"
department = "[department]"
title = "[jobTitle]"
hired_on = "[employeeHireDate]"

[syncs.teams]
from = "entra:group"
to = "app:team"
read = ["members"]
[syncs.teams.map]
team_id = "[id]"
name = "[displayName]"
about = "[description]"
[syncs.teams.removal]
soft = "delete"
"#;

/// What the tenant says the table should hold: login → (name, department, title, day of hire, active).
fn expected(directory: &Directory) -> BTreeMap<String, [String; 5]> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    directory
        .users()
        .iter()
        .map(|user| {
            let hired = text(&user["employeeHireDate"]).chars().take(10).collect();
            let active = if user["accountEnabled"] == json!(true) { "t" } else { "f" };
            let values = [
                text(&user["displayName"]),
                text(&user["department"]),
                text(&user["jobTitle"]),
                hired,
                active.to_owned(),
            ];
            (text(&user["userPrincipalName"]), values)
        })
        .collect()
}

fn held(postgres: &Postgres, condition: &str) -> BTreeMap<String, [String; 5]> {
    let query = format!(
        "SELECT login, full_name, coalesce(department, ''), coalesce(title, ''), coalesce(hired_on::text, ''), is_active \
         FROM app_user WHERE {condition}"
    );
    postgres
        .psql(&query)
        .into_iter()
        .map(|mut row| {
            let login = row.remove(0);
            (login, row.try_into().unwrap())
        })
        .collect()
}

fn assert_same(postgres: &Postgres, directory: &Directory, condition: &str) {
    let (expected, held) = (expected(directory), held(postgres, condition));
    assert_eq!(held.len(), expected.len());
    for (login, values) in &expected {
        assert_eq!(held.get(login), Some(values), "{login}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_users_reach_postgresql_exactly() {
    let sandbox = tenant(10_000, 200).await;
    let directory = sandbox.directory();
    let postgres = Postgres::start();
    postgres.psql(TABLES);
    // Rows that were there before: two people whom the tenant knows, and two strangers.
    let people = directory.users();
    let login = |number: usize| people[number]["userPrincipalName"].as_str().unwrap().replace('\'', "''");
    postgres.psql(&format!(
        "INSERT INTO app_user (login, full_name, remark) VALUES ('{}', 'Old', 'kept'), ('{}', 'Older', 'kept'), \
         ('backup', 'A service', 'foreign'), ('root', 'Another', 'foreign')",
        login(3),
        login(9_000)
    ));
    let foreign = postgres.psql("SELECT *, xmin FROM app_user WHERE remark = 'foreign' ORDER BY id");

    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    program.set("APP_URL", &postgres.url());
    let connection = "[connections.app]\nconnector = \"sql\"\nurl = { env = \"APP_URL\" }\n";
    program.write("muster.toml", &format!("{}{connection}{SYNCS}", entra(&sandbox.facts())));
    let check = program.ok(&["check"]);
    assert!(check.contains("everything is in order"), "{check}");
    let plan: Value =
        serde_json::from_str(&program.ok(&["--output", "json", "plan", "staff", "--sql", "--limit", "2"])).unwrap();
    assert_eq!((plan["report"]["created"].as_u64(), plan["report"]["adopted"].as_u64()), (Some(9_998), Some(2)));
    assert!(
        plan["statements"][0].as_str().unwrap().starts_with("INSERT INTO \"public\".\"app_user\""),
        "{}",
        plan["statements"][0]
    );
    assert_eq!(postgres.psql("SELECT count(*) FROM app_user"), [["4"]], "a plan wrote to the target");

    let report = program.sync(&["staff"]);
    assert_eq!(counts(&report), "9998 created, 2 adopted");
    assert_same(&postgres, &directory, "remark <> 'foreign'");
    assert_eq!(postgres.psql("SELECT count(*) FROM app_user WHERE remark = 'kept'"), [["2"]]);
    assert_eq!(postgres.psql("SELECT *, xmin FROM app_user WHERE remark = 'foreign' ORDER BY id"), foreign);
    // A second run changes nothing: not a single row version.
    let versions = || postgres.psql("SELECT md5(string_agg(id || ' ' || xmin, ',' ORDER BY id)) FROM app_user");
    let before = versions();
    assert_eq!(counts(&program.sync(&["staff"])), "");
    assert_eq!(counts(&program.sync(&["staff", "--full"])), "");
    assert_eq!(versions(), before);

    // A delta applies exactly its changes.
    let id = |number: usize| people[number]["id"].as_str().unwrap();
    directory.patch_user(id(20), &json!({ "department": "It's \"quoted\" \\ ☃", "jobTitle": null })).unwrap();
    directory.patch_user(id(21), &json!({ "userPrincipalName": "renamed.person@sandbox.example" })).unwrap();
    directory.patch_user(id(22), &json!({ "accountEnabled": people[22]["accountEnabled"] != json!(true) })).unwrap();
    directory.join();
    let report = program.sync(&["staff"]);
    let switched = if people[22]["accountEnabled"] == json!(true) { "1 disabled" } else { "1 enabled" };
    assert_eq!(counts(&report), format!("1 created, 2 updated, {switched}"));
    assert_same(&postgres, &directory, "remark <> 'foreign'");
    directory.delete_user(id(30)).unwrap();
    let active = held(&postgres, "is_active").len();
    let counted = counts(&program.sync(&["staff"]));
    assert!(matches!(counted.as_str(), "1 disabled" | "1 unchanged"), "{counted}");
    assert!(active - held(&postgres, "is_active").len() <= 1);
    directory.restore_user(id(30)).unwrap();
    program.sync(&["staff"]);
    assert_same(&postgres, &directory, "remark <> 'foreign'");
    assert_eq!(sandbox.directory().violations(), Vec::<String>::new());

    groups(&program, &postgres, &directory).await;
}

/// Groups become rows, and their members are in the state.
async fn groups(program: &Program, postgres: &Postgres, directory: &Directory) {
    let groups = directory.groups();
    // A large group comes in slices, so its link may be looked at again when further members arrive.
    let report = program.sync(&["teams"]);
    assert_eq!(report["created"].as_u64(), Some(groups.len() as u64), "{report}");
    assert_eq!(counts(&program.sync(&["teams"])), "");
    let rows = postgres.psql("SELECT team_id, name FROM team");
    let names: BTreeMap<String, String> = rows.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    for group in &groups {
        assert_eq!(names.get(group["id"].as_str().unwrap()).map(String::as_str), group["displayName"].as_str());
    }
    let store = SqliteStore::open(&program.path("muster.state.db"), 0).await.unwrap();
    let connection = store.connection("entra").await.unwrap().id;
    let group_type = store.source_type(connection, "group").await.unwrap().id;
    let mut largest = 0;
    for group in &groups {
        let id = group["id"].as_str().unwrap();
        let mut members: Vec<String> = directory.members(id).unwrap();
        members.sort();
        let edges = store.edges(group_type, &Key::text(id).encode()).await.unwrap();
        let mut known: Vec<String> = edges.iter().map(|(_, key)| Key::decode(key).unwrap().to_string()).collect();
        known.sort();
        assert_eq!(known, members, "members of {id}");
        largest = largest.max(members.len());
    }
    assert!(largest > 1_000, "no group is large enough to be split: {largest}");
    directory.delete_group(groups[0]["id"].as_str().unwrap()).unwrap();
    assert_eq!(counts(&program.sync(&["teams"])), "1 deleted");
}
