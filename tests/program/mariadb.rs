//! The main job into MariaDB, compared with what the tenant itself says: users with their managers, and groups with
//! their members.

use std::collections::{BTreeMap, BTreeSet};

use muster_sandbox::Directory;
use muster_testkit::{MariaDb, NULL};
use serde_json::{Value, json};

use crate::support::{Program, counts, entra, tenant};

/// As an application of its kind declares them: texts whose case does not count, and numbers for booleans.
const TABLES: &str = "
    CREATE TABLE app_user (
        id int unsigned AUTO_INCREMENT PRIMARY KEY,
        entra_id char(36) NOT NULL UNIQUE,
        login varchar(160) COLLATE utf8mb4_general_ci NOT NULL UNIQUE,
        full_name varchar(256) NOT NULL,
        department varchar(64),
        hired_on date,
        is_active tinyint(1) NOT NULL DEFAULT 1,
        manager_id int unsigned,
        remark text NOT NULL DEFAULT 'untouched',
        changed timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
        FOREIGN KEY (manager_id) REFERENCES app_user (id));
    CREATE TABLE team (id int AUTO_INCREMENT PRIMARY KEY, entra_id char(36) NOT NULL UNIQUE, name varchar(256) NOT NULL);
    CREATE TABLE team_member (team_id int NOT NULL REFERENCES team (id), user_id int unsigned NOT NULL,
        PRIMARY KEY (team_id, user_id), FOREIGN KEY (user_id) REFERENCES app_user (id));";

const SYNCS: &str = r#"
[connections.app]
connector = "sql"
url = { env = "APP_URL" }
[connections.app.types.user]
table = "app_user"
enabled = "is_active"
[connections.app.types.team]
table = "team"
[connections.app.types.team.multi.members]
table = "team_member"
key = "team_id"
value = "user_id"

[syncs.staff]
from = "entra:user"
to = "app:user"
match = [{ source = "[id]", target = "entra_id" }, { source = "[userPrincipalName]", target = "login" }]
[syncs.staff.map]
entra_id = "[id]"
login = "[userPrincipalName]"
full_name = "[displayName]"
department = "[department]"
hired_on = "[employeeHireDate]"
manager_id = "[manager]"

[syncs.teams]
from = "entra:group"
to = "app:team"
match = [{ source = "[id]", target = "entra_id" }]
[syncs.teams.map]
entra_id = "[id]"
name = "[displayName]"
members = "[members]"
[syncs.teams.removal]
soft = "delete"
"#;

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| NULL.to_owned(), str::to_owned)
}

/// What the tenant says the table should hold: id → login, name, department, day of hire, active, the manager's id.
fn expected(directory: &Directory) -> BTreeMap<String, Vec<String>> {
    let users = directory.users();
    let row = |user: &Value| {
        let active = if user["accountEnabled"] == json!(true) { "1" } else { "0" };
        let hired = text(&user["employeeHireDate"]).chars().take(10).collect();
        let id = text(&user["id"]);
        let manager = directory.manager(&id).unwrap_or_else(|| NULL.to_owned());
        let of = |name: &str| text(&user[name]);
        let row = [of("userPrincipalName"), of("displayName"), of("department"), hired, active.to_owned(), manager];
        (id, row.to_vec())
    };
    users.iter().map(row).collect()
}

fn held(server: &MariaDb) -> BTreeMap<String, Vec<String>> {
    let rows = server.sql(
        "SELECT u.entra_id, u.login, u.full_name, u.department, u.hired_on, u.is_active, m.entra_id \
         FROM app_user AS u LEFT JOIN app_user AS m ON m.id = u.manager_id WHERE u.remark <> 'foreign'",
    );
    rows.into_iter().map(|mut row| (row.remove(0), row)).collect()
}

fn members(server: &MariaDb) -> BTreeSet<(String, String)> {
    let rows = server.sql(
        "SELECT t.entra_id, u.entra_id FROM team_member JOIN team AS t ON t.id = team_id JOIN app_user AS u ON u.id = user_id",
    );
    rows.into_iter().map(|mut row| (row.remove(0), row.remove(0))).collect()
}

fn expected_members(directory: &Directory) -> BTreeSet<(String, String)> {
    let users: BTreeSet<String> = directory.users().iter().map(|user| text(&user["id"])).collect();
    let groups = directory.groups();
    let pairs = groups.iter().flat_map(|group| {
        let id = text(&group["id"]);
        let members = directory.members(&id).unwrap_or_default();
        members.into_iter().map(move |member| (id.clone(), member))
    });
    pairs.filter(|(_, member)| users.contains(member)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_managers_and_groups_reach_mariadb_exactly() {
    let sandbox = tenant(300, 6).await;
    let directory = sandbox.directory();
    let server = MariaDb::start();
    server.sql(TABLES);
    let people = directory.users();
    let login = text(&people[3]["userPrincipalName"]).to_uppercase().replace('\'', "''");
    // A row of somebody whom the tenant knows under a login in other letters, and a stranger's.
    server.sql(&format!(
        "INSERT INTO app_user (entra_id, login, full_name, remark) VALUES ('old', '{login}', 'Old', 'kept'), \
         ('none', 'backup', 'A service', 'foreign')"
    ));
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    program.set("APP_URL", &server.url());
    // A proposal from the discovered table.
    let url = server.url();
    let arguments = ["-c", "proposed.toml", "init", "--tenant", "t", "--client-id"];
    let client = ["11111111-2222-3333-4444-555555555555", "--secret-env", "S", "--database-url", &url];
    program.ok(&[&arguments[..], &client[..], &["--table", "app_user"]].concat());
    let proposed = std::fs::read_to_string(program.path("proposed.toml")).unwrap();
    assert!(proposed.contains("enabled = \"is_active\"") && proposed.contains("login = "), "{proposed}");

    program.write("muster.toml", &format!("{}{SYNCS}", entra(&sandbox.facts())));
    let check = program.ok(&["check"]);
    assert!(check.contains("everything is in order"), "{check}");
    let schema = program.ok(&["schema", "app"]);
    assert!(schema.contains("manager_id") && schema.contains("members") && schema.contains("char(36)"), "{schema}");
    let plan = program.ok(&["--output", "json", "plan", "staff", "--sql", "--limit", "2"]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!((plan["report"]["created"].as_u64(), plan["report"]["adopted"].as_u64()), (Some(299), Some(1)));
    let statement = plan["statements"][0].as_str().unwrap();
    assert!(statement.contains("`app`.`app_user`"), "{statement}");
    assert_eq!(server.sql("SELECT count(*) FROM app_user"), [["2"]], "a plan wrote to the target");

    let report = program.sync(&["staff"]);
    assert_eq!((report["created"].as_u64(), report["adopted"].as_u64()), (Some(299), Some(1)), "{report}");
    assert_eq!(held(&server), expected(&directory));
    program.sync(&["teams"]);
    assert_eq!(members(&server), expected_members(&directory));
    assert!(members(&server).len() > 10);
    // A second run changes nothing: the database itself would note it.
    server.sql("SET timestamp = 1; UPDATE app_user SET changed = '2001-01-01 00:00:00'");
    for arguments in [&["staff"][..], &["staff", "--full"], &["staff", "--reconcile"], &["teams", "--reconcile"]] {
        assert_eq!(counts(&program.sync(arguments)), "", "{arguments:?}");
    }
    assert_eq!(server.sql("SELECT count(*) FROM app_user WHERE changed > '2001-01-01'"), [["0"]]);

    let id = |number: usize| people[number]["id"].as_str().unwrap();
    directory.patch_user(id(20), &json!({ "department": "It's \"quoted\" \\ ☃ `x`" })).unwrap();
    directory.patch_user(id(21), &json!({ "userPrincipalName": "renamed.person@sandbox.example" })).unwrap();
    directory.patch_user(id(22), &json!({ "accountEnabled": people[22]["accountEnabled"] != json!(true) })).unwrap();
    directory.join();
    program.sync(&["staff"]);
    assert_eq!(held(&server), expected(&directory));
    assert_eq!(
        server.sql("SELECT remark FROM app_user WHERE remark <> 'untouched' ORDER BY id"),
        [["kept"], ["foreign"]]
    );
    directory.delete_group(&text(&directory.groups()[0]["id"])).unwrap();
    assert_eq!(counts(&program.sync(&["teams"])), "1 deleted");
    assert_eq!(members(&server), expected_members(&directory));
}
