//! The process itself ends without warning at each commit point; run again, it comes to the same end.

use muster_engine::CommitPoint;
use muster_testkit::Postgres;
use serde_json::json;

use crate::support::{Program, counts, entra, tenant};

const SYNC: &str = r#"
[connections.app]
connector = "sql"
url = { env = "APP_URL" }
[connections.app.types.user]
table = "app_user"
enabled = "is_active"
[syncs.staff]
from = "entra:user"
to = "app:user"
match = [{ source = "[userPrincipalName]", target = "login" }]
[syncs.staff.map]
login = "[userPrincipalName]"
full_name = "[displayName]"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_comes_to_the_same_end() {
    let sandbox = tenant(2_500, 0).await;
    let directory = sandbox.directory();
    let people = directory.users();
    let postgres = Postgres::start();
    let table = "CREATE TABLE app_user (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
                 login text NOT NULL UNIQUE, full_name text NOT NULL, is_active boolean NOT NULL);";
    let held =
        |database: &str| postgres.psql_in(database, "SELECT login, full_name, is_active FROM app_user ORDER BY login");
    let mut reference = None;
    for (number, point) in CommitPoint::ALL.into_iter().enumerate() {
        let database = format!("kill_{number}");
        let mut program = Program::new();
        program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
        program.set("APP_URL", &postgres.create_database(&database));
        postgres.psql_in(&database, table);
        // Somebody is there already, so that there is also something to adopt.
        let login = people[1]["userPrincipalName"].as_str().unwrap().replace('\'', "''");
        postgres.psql_in(
            &database,
            &format!("INSERT INTO app_user (login, full_name, is_active) VALUES ('{login}', 'Old', true)"),
        );
        program.write("muster.toml", &format!("{}{SYNC}", entra(&sandbox.facts())));
        // Nothing can be missing from the first read of all, so that point is passed in a second run.
        if point == CommitPoint::Swept {
            program.sync(&["staff"]);
        }
        // An unknown batch exists only after a kill, so that point is passed in a second run too.
        let kills = match point {
            CommitPoint::PageMerged => vec!["page_merged:1".to_owned()],
            CommitPoint::UnknownResolved => vec!["batch_answered:1".to_owned(), "unknown_resolved:1".to_owned()],
            other => vec![format!("{other}:1")],
        };
        for kill in kills {
            program.set("CRASH_MUSTER_AT", &kill);
            let ran = program.run(&["sync", "staff", "--full"]);
            assert_eq!(ran.code, None, "{kill} was not passed:\n{}{}", ran.out, ran.err);
        }
        program.unset("CRASH_MUSTER_AT");
        program.sync(&["staff"]);
        assert_eq!(counts(&program.sync(&["staff"])), "", "after a kill at {point}");
        let rows = held(&database);
        assert_eq!(rows.len(), people.len(), "after a kill at {point}");
        assert_eq!(&rows, reference.get_or_insert_with(|| rows.clone()), "after a kill at {point}");
    }
    let active = people.iter().filter(|user| user["accountEnabled"] == json!(true)).count();
    assert_eq!(reference.unwrap().iter().filter(|row| row[2] == "t").count(), active);
}
