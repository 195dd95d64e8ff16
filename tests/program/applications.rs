//! Whoever is assigned to an enterprise application, and nobody else.

use std::collections::BTreeSet;

use muster_sandbox::{Oddities, Sandbox, SandboxOptions};
use serde_json::json;

use crate::support::{APP, Program, counts, entra, sqlite};

const TABLE: &str = "CREATE TABLE app_user (entra_id TEXT PRIMARY KEY, is_active BOOLEAN NOT NULL DEFAULT 1)";

fn sync(scope: &str) -> String {
    format!(
        r#"
[syncs.staff]
from = "entra:user"
to = "app:user"
scope = {scope}
match = [{{ source = "[id]", target = "entra_id" }}]
guard = {{ disable = {{ percent = 60 }} }}
[syncs.staff.map]
entra_id = "[id]"
"#
    )
}

async fn there(program: &Program) -> BTreeSet<String> {
    let rows = sqlite(&program.path("app.db"), "SELECT entra_id FROM app_user WHERE is_active").await;
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_assigned_is_there_as_long_as_they_are() {
    let oddities = Oddities::none();
    let options = SandboxOptions { users: 60, groups: 0, oddities, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await.unwrap();
    let directory = sandbox.directory();
    let people: Vec<String> = directory
        .users()
        .iter()
        .filter(|user| user["accountEnabled"] == json!(true))
        .map(|user| user["id"].as_str().unwrap().to_owned())
        .collect();
    let group = |name: &str| {
        let body = json!({ "displayName": name, "mailNickname": name, "mailEnabled": false, "securityEnabled": true });
        directory.create_group(&body).unwrap()
    };
    let (team, inner) = (group("team"), group("inner"));
    directory.add_member(&team, &people[1]).unwrap();
    directory.add_member(&team, &people[2]).unwrap();
    directory.add_member(&team, &inner).unwrap();
    directory.add_member(&inner, &people[3]).unwrap();
    let warehouse = directory.add_application("Warehouse", &["Picker", "Lead"]);
    directory.assign(&warehouse, None, &people[0]).unwrap();
    directory.assign(&warehouse, Some("Picker"), &team).unwrap();
    directory.assign(&warehouse, Some("Lead"), &people[4]).unwrap();

    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    muster_connector_sql::script::run_script(&program.path("app.db"), TABLE).await.unwrap();
    let write = |scope: &str| program.write("muster.toml", &format!("{}{APP}{}", entra(&sandbox.facts()), sync(scope)));
    let who = |numbers: &[usize]| numbers.iter().map(|number| people[*number].clone()).collect::<BTreeSet<_>>();
    write(r#"['[assignedTo] EQUALS "Warehouse/Pickr"']"#);
    let told = program.fails(2, &["check"]);
    assert!(told.contains("no such role") && told.contains("\"Warehouse/Picker\""), "{told}");
    let told = program.fails(2, &["sync", "staff"]);
    assert!(told.contains("name the application by its id") && told.contains("muster check"), "{told}");
    write(r#"['[assignedTo] EQUALS "Warehouse"']"#);
    let checked = program.ok(&["check"]);
    assert!(checked.contains("application objects can be read in full"), "{checked}");

    // Directly and as a direct member of a group, as Entra has it; nobody of a group within a group.
    program.sync(&["staff"]);
    assert_eq!(there(&program).await, who(&[0, 1, 2, 4]));
    assert_eq!(counts(&program.sync(&["staff"])), "");
    directory.unassign(&warehouse, Some("Lead"), &people[4]).unwrap();
    directory.remove_member(&team, &people[2]).unwrap();
    directory.add_member(&team, &people[5]).unwrap();
    directory.assign(&warehouse, Some("Lead"), &people[6]).unwrap();
    assert_eq!(counts(&program.sync(&["staff"])), "2 created, 2 disabled");
    assert_eq!(there(&program).await, who(&[0, 1, 5, 6]));
    let explained = program.ok(&["explain", "staff", &people[4]]);
    assert!(explained.contains("[assignedTo] EQUALS \"Warehouse\" does not hold"), "{explained}");

    // Whatever goes wrong while assignments are read takes nobody's access.
    for (faults, code) in [
        ("throttle:path=servicePrincipals,times=2,retry-after=1", 0),
        ("error:path=servicePrincipals,status=503", 0),
        ("cut:path=appRoleAssignedTo html:path=appRoleAssignedTo broken-json:path=appRoleAssignedTo", 0),
        ("broken-gzip:path=servicePrincipals unauthorized:path=appRoleAssignedTo", 0),
        ("error:path=appRoleAssignedTo,status=404", 2),
        ("error:path=appRoleAssignedTo,status=403,times=0", 3),
        ("unauthorized:path=servicePrincipals,times=0", 3),
        ("error:path=appRoleAssignedTo,status=400,times=0", 3),
    ] {
        let all: Vec<muster_sandbox::Fault> = faults.split(' ').map(|fault| fault.parse().unwrap()).collect();
        sandbox.faults().set(all.into());
        let ran = program.run(&["sync", "staff"]);
        assert_eq!(ran.code, Some(code), "{faults}: {}{}", ran.out, ran.err);
        assert!(sandbox.faults().struck() > 0, "{faults}: the fault did not strike");
        assert_eq!(there(&program).await, who(&[0, 1, 5, 6]), "{faults}");
        sandbox.faults().clear();
    }
    assert_eq!(counts(&program.sync(&["staff"])), "");

    // By a role; whoever is in a group within a group, where the scope says so; and whoever is not assigned.
    write(r#"['[assignedTo] EQUALS "Warehouse/Lead"', '[transitiveAssignedTo] EQUALS "Warehouse/Picker"']"#);
    program.sync(&["staff"]);
    assert_eq!(there(&program).await, who(&[1, 3, 5, 6]));
    write(&format!(r#"['[assignedTo] EQUALS "{warehouse}" AND [assignedTo] NOT EQUALS "Warehouse/Picker"']"#));
    program.sync(&["staff"]);
    assert_eq!(there(&program).await, who(&[0, 6]));

    // Together with groups.
    write(r#"['[assignedTo] EQUALS "Warehouse" AND [memberOf] EQUALS "team"']"#);
    program.sync(&["staff"]);
    assert_eq!(there(&program).await, who(&[1, 5]));

    // Without its application the sync stops, and nobody is touched.
    assert!(directory.remove_application(&warehouse));
    let said = program.fails(2, &["sync", "staff"]);
    assert!(said.contains("no application is called \"Warehouse\"") && said.contains("syncs.staff.scope"), "{said}");
    assert_eq!(there(&program).await, who(&[1, 5]));
    write(r#"['[assignedTo] STARTS_WITH "Ware"']"#);
    let said = program.fails(2, &["check"]);
    assert!(said.contains("can only be asked for one application"), "{said}");
}
