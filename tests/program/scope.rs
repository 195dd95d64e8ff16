//! A scope from configuration to table.

use std::collections::BTreeSet;

use muster_sandbox::Sandbox;
use serde_json::{Value, json};

use crate::support::{APP, Program, counts, entra, sqlite, tenant};

const TABLE: &str =
    "CREATE TABLE app_user (login TEXT PRIMARY KEY, full_name TEXT, is_active BOOLEAN NOT NULL DEFAULT 1)";

fn sync(scope: &str) -> String {
    format!(
        r#"
[syncs.staff]
from = "entra:user"
to = "app:user"
scope = {scope}
match = [{{ source = "[userPrincipalName]", target = "login" }}]
[syncs.staff.map]
login = "[userPrincipalName]"
full_name = "[displayName]"
"#
    )
}

fn logins(sandbox: &Sandbox, belongs: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let users = sandbox.directory().users();
    let chosen = users.iter().filter(|user| user["accountEnabled"] == json!(true) && belongs(user));
    chosen.map(|user| user["userPrincipalName"].as_str().unwrap().to_owned()).collect()
}

async fn rows(program: &Program) -> BTreeSet<String> {
    let rows = sqlite(&program.path("app.db"), "SELECT login FROM app_user WHERE is_active").await;
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_holds_those_in_scope_and_nobody_else() {
    let sandbox = tenant(300, 0).await;
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    muster_connector_sql::script::run_script(&program.path("app.db"), TABLE).await.unwrap();
    let departments: BTreeSet<String> =
        sandbox.directory().users().iter().filter_map(|user| Some(user["department"].as_str()?.to_owned())).collect();
    let mut departments = departments.into_iter();
    let (first, second) = (departments.next().unwrap(), departments.next().unwrap());
    let write = |scope: &str| program.write("muster.toml", &format!("{}{APP}{}", entra(&sandbox.facts()), sync(scope)));
    write(&format!(
        r#"['[department] EQUALS "{first}" AND [accountEnabled] IS TRUE', '[department] EQUALS "{second}" AND [employeeHireDate] GREATER_THAN_OR_EQUALS "2020-01-01"']"#
    ));
    program.sync(&["staff"]);
    let belongs = |user: &Value| {
        let hired = user["employeeHireDate"].as_str().is_some_and(|day| day >= "2020-01-01");
        user["department"] == json!(first) || (user["department"] == json!(second) && hired)
    };
    let expected = logins(&sandbox, belongs);
    assert!(expected.len() > 10, "{expected:?}");
    assert_eq!(rows(&program).await, expected);

    // Somebody moves to another department.
    let login = expected.iter().next().unwrap();
    let users = sandbox.directory().users();
    let id = users.iter().find(|user| user["userPrincipalName"] == json!(login)).unwrap()["id"].clone();
    sandbox.directory().patch_user(id.as_str().unwrap(), &json!({ "department": "Elsewhere" })).unwrap();
    assert_eq!(counts(&program.sync(&["staff"])), "1 disabled");
    assert_eq!(rows(&program).await, logins(&sandbox, belongs));
    let explained = program.ok(&["explain", "staff", login]);
    assert!(explained.contains("it is out of scope: disable (syncs.staff.removal.out_of_scope)"), "{explained}");
    assert!(explained.contains(&format!("[department] EQUALS \"{first}\" does not hold: the value is")), "{explained}");

    // A mistake in the scope takes nobody's access.
    write(r#"['[department] EQUALS "no such department"']"#);
    let said = counts(&program.sync(&["staff"]));
    assert!(said.ends_with(&format!(" unchanged, {} held", expected.len() - 1)), "{said}");
    assert_eq!(rows(&program).await.len(), expected.len() - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_cannot_be_read_is_named_by_line() {
    let sandbox = tenant(3, 0).await;
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    muster_connector_sql::script::run_script(&program.path("app.db"), TABLE).await.unwrap();
    program.write(
        "muster.toml",
        &format!("{}{APP}{}", entra(&sandbox.facts()), sync(r#"['[department] REGEX MATCH "("']"#)),
    );
    let said = program.fails(2, &["check"]);
    assert!(said.contains("syncs.staff.scope[0]: the pattern cannot be used: unclosed group"), "{said}");
    program.write("muster.toml", &format!("{}{APP}{}", entra(&sandbox.facts()), sync(r#"['[deparment] EQUALS "x"']"#)));
    let said = program.fails(2, &["check"]);
    assert!(said.contains("syncs.staff.scope[0]") && said.contains("did you mean \"department\"?"), "{said}");
}
