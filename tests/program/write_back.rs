//! What a target made up flows back to where people come from, by a sync in the other direction, and comes to rest.

use crate::support::{Program, counts, sqlite};

const HR: &str =
    "CREATE TABLE person (no TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, login TEXT, employed BOOLEAN NOT NULL);
    INSERT INTO person (no, name, employed) VALUES ('1', 'Anna', true), ('2', 'Bo', true), ('3', 'Cy', false);";

const APP: &str = "CREATE TABLE account (id INTEGER PRIMARY KEY, no TEXT UNIQUE, name TEXT NOT NULL, login TEXT NOT NULL, \
    is_active BOOLEAN NOT NULL);
    INSERT INTO account (no, name, login, is_active) VALUES (NULL, 'Service', 'svc', true), ('77', 'Guest', 'guest', true);";

const CONFIGURATION: &str = r#"
[connections.hr]
connector = "sql"
url = "sqlite:hr.db"
[connections.hr.types.person]
table = "person"
enabled = "employed"

[connections.app]
connector = "sql"
url = "sqlite:app.db"
[connections.app.types.account]
table = "account"
enabled = "is_active"

[syncs.accounts]
from = "hr:person"
to = "app:account"
match = [{ source = "[no]", target = "no" }]
[syncs.accounts.map]
no = "[no]"
name = "[name]"
login = { value = 'Join(".", ToLower([name]), [no])', when = "create" }

[syncs.logins]
from = "app:account"
to = "hr:person"
scope = ['[no] IS NOT NULL']
match = [{ source = "[no]", target = "no" }]
create = false
[syncs.logins.map]
login = "[login]"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_made_up_flows_back_and_comes_to_rest() {
    let program = Program::new();
    muster_connector_sql::script::run_script(&program.path("hr.db"), HR).await.unwrap();
    muster_connector_sql::script::run_script(&program.path("app.db"), APP).await.unwrap();
    program.write("muster.toml", CONFIGURATION);
    program.ok(&["check"]);
    assert_eq!(counts(&program.sync(&["accounts"])), "3 created");
    // Whoever has an account and is nobody in the personnel system gets no row there.
    assert_eq!(counts(&program.sync(&["logins"])), "3 adopted, 2 unchanged");
    let people = sqlite(&program.path("hr.db"), "SELECT no, login, employed FROM person ORDER BY no").await;
    assert_eq!(people, [["1", "anna.1", "1"], ["2", "bo.2", "1"], ["3", "cy.3", "0"]]);
    for sync in ["accounts", "logins", "accounts", "logins"] {
        assert_eq!(counts(&program.sync(&[sync])), "", "{sync} comes to rest");
    }
    let told = program.ok(&["explain", "logins", "77"]);
    assert!(told.contains("the sync makes none (create = false)"), "{told}");

    // A change at either end reaches the other once.
    let change = "UPDATE person SET name = 'Anna B', employed = false WHERE no = '1'";
    muster_connector_sql::script::run_script(&program.path("hr.db"), change).await.unwrap();
    let renamed = "UPDATE account SET login = 'bo' WHERE no = '2'";
    muster_connector_sql::script::run_script(&program.path("app.db"), renamed).await.unwrap();
    assert_eq!(counts(&program.sync(&["accounts"])), "1 disabled");
    assert_eq!(counts(&program.sync(&["logins"])), "1 updated, 1 unchanged");
    let people = sqlite(&program.path("hr.db"), "SELECT no, login, employed FROM person ORDER BY no").await;
    assert_eq!(people, [["1", "anna.1", "0"], ["2", "bo", "1"], ["3", "cy.3", "0"]]);
    for sync in ["accounts", "logins"] {
        assert_eq!(counts(&program.sync(&[sync])), "", "{sync} comes to rest");
    }
}
