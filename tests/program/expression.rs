//! Expressions: tried by hand, and mapped into a database.

use std::collections::BTreeMap;

use muster_sandbox::Directory;
use serde_json::{Value, json};

use crate::support::{APP, Program, counts, entra, sqlite, tenant};

const TABLE: &str = "CREATE TABLE app_user (
    login TEXT PRIMARY KEY,
    full_name TEXT,
    mail TEXT NOT NULL,
    at INTEGER,
    local BOOLEAN,
    hired_year INTEGER,
    token TEXT,
    is_active BOOLEAN NOT NULL DEFAULT 1)";

const SYNC: &str = r#"
[syncs.staff]
from = "entra:user"
to = "app:user"
[syncs.staff.map]
login = 'ToLower([userPrincipalName])'
full_name = 'Join(" ", [givenName], [surname])'
mail = 'Coalesce([mail], Append("none-", [userPrincipalName]))'
at = 'InStr([userPrincipalName], "@")'
local = 'IIF([country] = "Sweden", True, False)'
hired_year = 'FormatDateTime([employeeHireDate], , "M/d/yyyy h:mm:ss tt", "yyyy")'
token = { value = 'Guid()', when = "create" }
"#;

/// What the tenant says the table should hold, without the language's help.
fn expected(directory: &Directory) -> BTreeMap<String, [String; 5]> {
    let users = directory.users();
    let rows = users.iter().map(|user| {
        let text = |name: &str| user[name].as_str().unwrap_or_default().to_owned();
        let upn = text("userPrincipalName");
        let names: Vec<String> =
            ["givenName", "surname"].map(text).into_iter().filter(|name| !name.is_empty()).collect();
        let mail = if user["mail"].is_null() { format!("none-{upn}") } else { text("mail") };
        let at = upn.chars().position(|letter| letter == '@').map_or(0, |at| at + 1);
        let local = i32::from(text("country") == "Sweden");
        let year = text("employeeHireDate").chars().take(4).collect();
        (upn.to_lowercase(), [names.join(" "), mail, at.to_string(), local.to_string(), year])
    });
    rows.collect()
}

async fn held(program: &Program) -> BTreeMap<String, [String; 5]> {
    let query = "SELECT login, full_name, mail, at, local, hired_year FROM app_user";
    let rows = sqlite(&program.path("app.db"), query).await;
    rows.into_iter()
        .map(|mut row| {
            let login = row.remove(0);
            (login, row.try_into().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn computed_values_reach_the_database_exactly() {
    let sandbox = tenant(300, 5).await;
    let mut program = Program::new();
    muster_connector_sql::script::run_script(&program.path("app.db"), TABLE).await.unwrap();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    program.write("muster.toml", &format!("{}{APP}{SYNC}", entra(&sandbox.facts())));
    program.ok(&["check"]);
    let report = program.sync(&["staff"]);
    assert_eq!(report["created"], json!(sandbox.directory().users().len()), "{report}");
    assert_eq!(report["parked"], json!(0), "{report}");
    assert_eq!(held(&program).await, expected(&sandbox.directory()));
    let tokens = "SELECT login, token FROM app_user ORDER BY login";
    let made = sqlite(&program.path("app.db"), tokens).await;
    let different: std::collections::HashSet<&String> = made.iter().map(|row| &row[1]).collect();
    assert_eq!(different.len(), made.len());
    // A second run, and a full one, change nothing.
    assert_eq!(counts(&program.sync(&["staff"])), "");
    assert_eq!(counts(&program.sync(&["staff", "--full"])), "");
    assert_eq!(sqlite(&program.path("app.db"), tokens).await, made);
    let (login, _) = expected(&sandbox.directory()).pop_first().unwrap();
    let user = sandbox
        .directory()
        .users()
        .into_iter()
        .find(|user| user["userPrincipalName"].as_str().is_some_and(|name| name.to_lowercase() == login));
    let id = user.unwrap()["id"].as_str().unwrap().to_owned();
    let explained = program.ok(&["explain", "staff", &id]);
    assert!(explained.contains("full_name ← Join(\" \", [givenName], [surname])  where [givenName] = "), "{explained}");
}

#[test]
fn an_expression_is_tried_on_values_from_a_file() {
    let program = Program::new();
    let person = json!({
        "givenName": "Åsa", "surname": null, "accountEnabled": true, "level": 7, "rate": 1.50,
        "roles": ["a", "b"], "employeeOrgData": { "division": "North" }, "dotted.name": "x"
    });
    program.write("person.json", &person.to_string());
    let value = |expression: &str| -> Value {
        let out = program.ok(&["--output", "json", "expression", expression, "--with", "person.json"]);
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str::<Value>(&out).unwrap()["value"].clone()
    };
    let cases = [
        ("ToUpper(Join(\" \", [givenName], [surname]))", json!("ÅSA")),
        ("[surname]", Value::Null),
        ("Append([nobody], \"x\")", Value::Null),
        ("[roles]", json!(["a", "b"])),
        ("[accountEnabled]", json!("True")),
        ("BitAnd([level], 3)", json!("3")),
        ("[rate]", json!("1.5")),
        ("[employeeOrgData.division]", json!("North")),
        ("[dotted.name]", json!("x")),
        ("-7", json!("-7")),
    ];
    for (expression, expected) in cases {
        assert_eq!(value(expression), expected, "{expression}");
    }
    assert_eq!(program.ok(&["expression", "[roles]", "--with", "person.json"]), "a\nb\n");
    assert_eq!(program.ok(&["expression", "Left(\"John Doe\", 3)"]), "Joh\n");
    assert_eq!(program.ok(&["expression", "[anything]"]), "null\n");
    let nothing = program.ok(&["--output", "json", "expression", "IgnoreFlowIfNullOrEmpty([x])"]);
    assert_eq!(nothing, "{\"flows\":false,\"value\":null}\n");
    let traced = program.ok(&["expression", "ToUpper(Join(\"\", [givenName]))", "--with", "person.json", "--trace"]);
    assert_eq!(
        traced,
        "[givenName] = \"Åsa\"\nJoin(\"\", [givenName]) = \"Åsa\"\nToUpper(Join(\"\", [givenName])) = \"ÅSA\"\nÅSA\n"
    );
    let ran = program.run(&["expression", "[givnName]", "--with", "person.json"]);
    assert_eq!(ran.err, "note: [givnName] is not in the file and counts as null; did you mean [givenName]?\n");
}

#[test]
fn a_mistake_is_shown_with_its_place() {
    let program = Program::new();
    let said = program.fails(2, &["expression", "Join(\"å\", ToUper([a]), [b)"]);
    let expected = "\
error: character 11: there is no function ToUper; did you mean ToUpper?
error:   Join(\"å\", ToUper([a]), [b)
error:             ^^^^^^
error: character 24: the attribute's closing ] is missing
error:   Join(\"å\", ToUper([a]), [b)
error:                          ^
";
    assert_eq!(said, expected);
    program.write("x.json", "{\"a\": \"next week\"}");
    let said = program.fails(2, &["expression", "Append(CDate([a]), \"\")", "--with", "x.json"]);
    assert!(
        said.contains("character 8: CDate: expression is \"next week\", no date or time that can be read"),
        "{said}"
    );
    assert!(said.contains("\nerror:          ^^^^^^^^^^\n"), "{said}");
    let said = program.fails(2, &["expression", "CDate(Redact([a]))", "--with", "x.json", "--trace"]);
    assert!(said.contains("which Redact hides, cannot be used") && !said.contains("next week"), "{said}");
    let long = format!("{}oops", " ".repeat(5_000));
    let said = program.fails(2, &["expression", &long]);
    assert!(said.lines().all(|line| line.chars().count() < 250), "{said}");
    program.write("list.json", "[1]");
    assert!(program.fails(2, &["expression", "[a]", "--with", "list.json"]).contains("expected a JSON object"));
    program.write("bad.json", "{");
    assert!(program.fails(2, &["expression", "[a]", "--with", "bad.json"]).contains("bad.json: "));
    assert!(program.fails(2, &["expression", "[a]", "--with", "none.json"]).contains("none.json: cannot be read"));
}
