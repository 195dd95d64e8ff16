//! An HR system's file as the source: who is in it has access, whoever leaves it loses it, and a file with a fault moves
//! nobody.

use serde_json::{Value, json};

use crate::support::{Program, counts, sqlite};

const TABLE: &str = "CREATE TABLE app_user (id INTEGER PRIMARY KEY, employee_no TEXT NOT NULL UNIQUE, name TEXT NOT NULL, \
                     hired DATE, manager INTEGER REFERENCES app_user (id), is_active BOOLEAN NOT NULL)";

const CONFIGURATION: &str = r#"
[connections.hr]
connector = "csv"
[connections.hr.types.person]
file = "people.csv"
key = ["employee_no"]
delimiter = ";"
settle = "1ms"
enabled = { column = "status", values = ["active"] }
columns.manager_no = { references = "person" }

[connections.app]
connector = "sql"
url = "sqlite:app.db"
[connections.app.types.user]
table = "app_user"
enabled = "is_active"

[syncs.staff]
from = "hr:person"
to = "app:user"
match = [{ source = "[employee_no]", target = "employee_no" }]
[syncs.staff.map]
employee_no = "[employee_no]"
name = 'Join(" ", [given], [family])'
hired = 'FormatDateTime([hired], , "dd.MM.yyyy", "yyyy-MM-dd")'
manager = "[manager_no]"
"#;

/// So many people, a tenth of whom left; everybody's manager has the number divided by ten.
fn people(number: usize) -> Vec<String> {
    let line = |no: usize| {
        let (boss, status) =
            (if no < 10 { String::new() } else { (no / 10).to_string() }, if no % 10 == 9 { "left" } else { "active" });
        format!("{no};Given{no};Öberg{no};{:02}.11.2026;{boss};{status}", no % 28 + 1)
    };
    (1..=number).map(line).collect()
}

fn export(program: &Program, people: &[String]) {
    program.write("people.csv", &format!("employee_no;given;family;hired;manager_no;status\n{}\n", people.join("\n")));
}

async fn held(program: &Program) -> Vec<Vec<String>> {
    let query = "SELECT u.employee_no, u.name, u.hired, m.employee_no, u.is_active FROM app_user u \
                 LEFT JOIN app_user m ON m.id = u.manager ORDER BY u.id";
    let mut rows = sqlite(&program.path("app.db"), query).await;
    rows.sort_by_key(|row| row[0].parse::<usize>().unwrap());
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_people_is_followed_and_a_damaged_one_moves_nobody() {
    let program = Program::new();
    muster_connector_sql::script::run_script(&program.path("app.db"), TABLE).await.unwrap();
    program.write("muster.toml", CONFIGURATION);
    let mut everybody = people(2_500);
    export(&program, &everybody);
    program.ok(&["check"]);
    program.sync(&["staff"]);
    let rows = held(&program).await;
    let active = everybody.iter().filter(|line| line.ends_with("active")).count();
    assert_eq!((rows.len(), rows.iter().filter(|row| row[4] == "1").count()), (2_500, active));
    assert_eq!(rows[26], ["27", "Given27 Öberg27", "2026-11-28", "2", "1"]);
    assert_eq!(counts(&program.sync(&["staff"])), "");

    everybody[10] = "11;Åsa;Öberg11;01.12.2026;2;active".to_owned();
    everybody[11] = "12;Given12;Öberg12;13.11.2026;1;left".to_owned();
    everybody.push("9001;New;Joiner;01.01.2027;11;active".to_owned());
    everybody.remove(12);
    export(&program, &everybody);
    // Ten people lose the manager who is no longer in the file.
    assert_eq!(counts(&program.sync(&["staff"])), "1 created, 11 updated, 2 disabled");
    let before = held(&program).await;
    assert!(before.iter().any(|row| row[..4] == ["11", "Åsa Öberg11", "2026-12-01", "2"].map(str::to_owned)));

    // One line is damaged: nobody of this file is moved, and the line is named.
    let mut damaged = everybody.clone();
    damaged[700].push_str(";too much");
    export(&program, &damaged);
    let said = program.fails(3, &["sync", "staff"]);
    assert!(said.contains("people.csv: line 702 has 7 values, and there are 6 columns"), "{said}");

    // Half of it is missing, and the rest is in order: the guard asks a person, and names who would lose access.
    export(&program, &everybody[..1_200]);
    program.sync(&["staff"]);
    assert_eq!(held(&program).await, before);
    let told: Value = serde_json::from_str(&program.ok(&["--output", "json", "held", "staff"])).unwrap();
    let hold = &told["held"][0];
    assert_eq!((&hold["kind"], &hold["wanted"]), (&json!("missing"), &json!(1_300)), "{told}");
    assert_eq!(hold["objects"][0]["name"], "1202", "{told}");

    export(&program, &everybody);
    program.sync(&["staff"]);
    assert_eq!(held(&program).await, before);
    assert_eq!(counts(&program.sync(&["staff"])), "");
}
