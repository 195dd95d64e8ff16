//! A configuration from a few answers.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::Program;

const TABLE: &str = "CREATE TABLE people (id INTEGER PRIMARY KEY, login TEXT NOT NULL UNIQUE, first_name TEXT, \
                     email TEXT, cost_centre TEXT NOT NULL, is_active BOOLEAN NOT NULL DEFAULT 1)";

#[tokio::test]
async fn a_few_answers_become_a_configuration() {
    let program = Program::new();
    muster_connector_sql::script::run_script(&program.path("app.db"), TABLE).await.unwrap();
    let mut child =
        program.command(&["init"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let answers = "contoso.onmicrosoft.com\n11111111-2222-3333-4444-555555555555\n\nsqlite:app.db\npeople\n";
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let ran = Program::ran(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("nothing is known for them: cost_centre"), "{}", ran.out);
    let text = std::fs::read_to_string(program.path("muster.toml")).unwrap();
    for line in [
        "client_secret = { env = \"ENTRA_SECRET\" }",
        "enabled = \"is_active\"",
        "match = [{ source = \"[userPrincipalName]\", target = \"login\" }]",
        "login = \"[userPrincipalName]\"",
        "first_name = \"[givenName]\"",
        "email = \"[mail]\"",
        "#cost_centre = \"[…]\"   # must be filled",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is missing:\n{text}");
    }
    // Its form is right: what `check` still finds is about the systems.
    let said = program.fails(2, &["check"]);
    assert!(said.contains("cost_centre") || said.contains("ENTRA_SECRET"), "{said}");
    assert!(!said.contains("unknown setting"), "{said}");
    // Nothing is replaced.
    assert!(program.fails(2, &["init"]).contains("is not replaced"));
    assert_eq!(std::fs::read_to_string(program.path("muster.toml")).unwrap(), text);
}

#[test]
fn flags_spare_the_questions() {
    let program = Program::new();
    let arguments = "init --tenant t --client-id 11111111-2222-3333-4444-555555555555 --secret-env S --database-url-file db.url --table people";
    let said = program.ok(&arguments.split(' ').collect::<Vec<_>>());
    assert!(said.contains("there is no such file yet"), "{said}");
    let text = std::fs::read_to_string(program.path("muster.toml")).unwrap();
    assert!(text.contains("url = { file = \"db.url\" }") && text.contains("table = \"people\""), "{text}");
    let other = Program::new();
    let mut child = other.command(&["init"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert!(!other.path("muster.toml").exists());
}
