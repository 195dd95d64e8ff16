//! First passwords from configuration to table and receiver.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::{APP, Program, counts, entra, sqlite, tenant};

const TABLE: &str = "CREATE TABLE app_user (login TEXT PRIMARY KEY, full_name TEXT, password_hash VARCHAR(60) NOT NULL,
    is_active BOOLEAN NOT NULL DEFAULT 1)";

fn sync(password: &str) -> String {
    format!(
        r#"
[syncs.staff]
from = "entra:user"
to = "app:user"
match = [{{ source = "[userPrincipalName]", target = "login" }}]
[syncs.staff.map]
login = "[userPrincipalName]"
full_name = "[displayName]"
[syncs.staff.password]
attribute = "password_hash"
{password}
"#
    )
}

/// The passwords that a receiver got, by login.
fn received(program: &Program, name: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(program.path(name)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let all = lines.map(|line| {
        assert_eq!((&line["confirmed"], &line["sync"]), (&Value::Bool(true), &Value::from("staff")));
        assert!(line["values"].get("password_hash").is_none() && line["source"].is_string());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&line["values"]["login"]), text(&line["password"]))
    });
    all.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_reach_the_table_and_their_receiver_and_nothing_else() {
    let sandbox = tenant(12, 0).await;
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    program.set("MUSTER_LOG", "debug");
    muster_connector_sql::script::run_script(&program.path("app.db"), TABLE).await.unwrap();
    let write = |password: &str| {
        program.write("muster.toml", &format!("{}{APP}{}", entra(&sandbox.facts()), sync(password)));
    };
    // What does not fit is said before anything is made.
    write("hash = \"argon2id\"");
    assert!(program.fails(2, &["check"]).contains("has room for 60 characters, and what is written has 97"));
    write("length = 8");
    assert!(program.fails(2, &["check"]).contains("muster.toml"));

    // Planned, nothing is made, and nothing shows what will be.
    write("length = 24\nreceiver = { file = \"new.jsonl\" }");
    let planned = program.ok(&["plan", "staff", "--sql"]);
    assert!(planned.contains("(a new password)") && planned.contains("'[Redact]'"), "{planned}");
    assert!(!program.path("new.jsonl").exists());

    // A file that others may read is refused, and nobody is created.
    std::fs::write(program.path("new.jsonl"), "").unwrap();
    std::fs::set_permissions(program.path("new.jsonl"), std::fs::Permissions::from_mode(0o644)).unwrap();
    for command in [&["check"][..], &["sync", "staff"]] {
        let said = program.fails(2, command);
        assert!(said.contains("chmod 600") && said.contains("password.receiver"), "{said}");
    }
    write("length = 24\nreceiver = { command = [\"no-such-program\"] }");
    assert!(program.fails(2, &["check"]).contains("there is no program \"no-such-program\""));
    write("length = 24\nreceiver = { file = \"no-such-folder/new.jsonl\" }");
    assert!(program.fails(2, &["check"]).contains("no-such-folder"));
    write("length = 24\nreceiver = { file = \"new.jsonl\" }");
    std::fs::remove_file(program.path("new.jsonl")).unwrap();
    program.ok(&["check"]);
    assert!(!program.path("new.jsonl").exists(), "check makes nothing");

    program.sync(&["staff"]);
    let rows = sqlite(&program.path("app.db"), "SELECT login, password_hash FROM app_user").await;
    let written: BTreeMap<String, String> = rows.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(written.len(), sandbox.directory().users().len());
    assert_eq!(received(&program, "new.jsonl"), written);
    assert!(written.values().all(|password| password.len() == 24));
    let mode = std::fs::metadata(program.path("new.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(counts(&program.sync(&["staff", "--reconcile"])), "");

    // A program takes the next one, of which the table gets the hash; no log and no state holds either.
    write(
        "hash = \"bcrypt\"\nsymbols = false\nreceiver = { command = [\"sh\", \"-c\", \"cat >> \\\"$0\\\"\", \"taken.jsonl\"] }",
    );
    let joined = sandbox.directory().join();
    let ran = program.run(&["sync", "staff"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let taken = received(&program, "taken.jsonl");
    let (login, password) = taken.iter().next().unwrap();
    assert!(taken.len() == 1 && password.len() == 20 && password.chars().all(char::is_alphanumeric), "{joined}");
    let query = "SELECT login, password_hash FROM app_user WHERE length(password_hash) = 60";
    let hash = sqlite(&program.path("app.db"), query).await;
    assert_eq!((hash.len(), &hash[0][0]), (1, login));
    assert!(hash[0][1].starts_with("$2b$12$"));
    let state = std::fs::read(program.path("muster.state.db")).unwrap();
    let mut secrets: Vec<&String> = written.values().chain([password, &hash[0][1]]).collect();
    secrets.retain(|secret| state.windows(secret.len()).any(|part| part == secret.as_bytes()));
    assert!(secrets.is_empty(), "the state holds {secrets:?}");
    assert!(!ran.out.contains(password) && !ran.err.contains(password) && !ran.err.contains("$2b$"));

    // A program that fails is told of.
    write("hash = \"bcrypt\"\nreceiver = { command = [\"sh\", \"-c\", \"cat > /dev/null; exit 3\"] }");
    sandbox.directory().join();
    let said = program.ok(&["sync", "staff"]);
    assert!(
        said.contains("the passwords of 1 new objects were not taken") && said.contains("exit status: 3"),
        "{said}"
    );
    write("receiver = { command = [\"/nowhere/at-all\"] }");
    assert!(program.fails(2, &["sync", "staff"]).contains("there is no program \"/nowhere/at-all\""));
}
