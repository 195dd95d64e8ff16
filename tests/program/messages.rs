//! What a person reads when something is wrong: where, what, and what to change; and nothing was touched.

use muster_sandbox::{Sandbox, SandboxOptions};
use muster_store::StateLock;
use muster_testkit::Postgres;

use crate::support::{Program, entra, sqlite, tenant};

const SQLITE: &str = r#"
[connections.app]
connector = "sql"
url = "sqlite:app.db"
[connections.app.types.user]
table = "app_user"
enabled = "is_active"
"#;

const SYNC: &str = r#"
[syncs.staff]
from = "entra:user"
to = "app:user"
match = [{ source = "[userPrincipalName]", target = "login" }]
[syncs.staff.map]
login = "[userPrincipalName]"
full_name = "[displayName]"
"#;

const TABLE: &str = "CREATE TABLE app_user (id INTEGER PRIMARY KEY, login VARCHAR(120) NOT NULL UNIQUE, full_name TEXT, \
                     level INTEGER, is_active BOOLEAN NOT NULL DEFAULT 1)";

/// A tenant and a SQLite application, configured.
async fn configured() -> (Program, Sandbox) {
    let sandbox = tenant(30, 0).await;
    let mut program = Program::new();
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    muster_connector_sql::script::run_script(&program.path("app.db"), TABLE).await.unwrap();
    program.write("muster.toml", &format!("{}{SQLITE}{SYNC}", entra(&sandbox.facts())));
    (program, sandbox)
}

/// Changes the configuration, and expects `check` and `sync` to say all of these and to touch nothing.
async fn refused(program: &Program, code: i32, from: &str, to: &str, expected: &[&str]) {
    let text = std::fs::read_to_string(program.path("muster.toml")).unwrap();
    assert!(text.contains(from), "the configuration has no {from:?}");
    program.write("muster.toml", &text.replace(from, to));
    let line = text.lines().position(|line| line.contains(from.lines().next().unwrap())).unwrap() + 1;
    for command in [vec!["check"], vec!["sync", "staff"]] {
        // `check` always finds, whatever the cause; `sync` ends for it.
        let said = program.fails(if command.len() == 1 { 2 } else { code }, &command);
        for part in expected {
            let part = part.replace("LINE", &format!("muster.toml:{line}:"));
            assert!(said.contains(&part), "{command:?} does not say {part:?}:\n{said}");
        }
    }
    assert_eq!(sqlite(&program.path("app.db"), "SELECT count(*) FROM app_user").await, [["0"]]);
    program.write("muster.toml", &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_is_named_with_its_place_and_fix() {
    let (program, _sandbox) = configured().await;
    refused(&program, 2, "table = \"app_user\"", "tabel = \"app_user\"", &["LINE", "tabel", "did you mean \"table\"?"])
        .await;
    refused(
        &program,
        2,
        "table = \"app_user\"",
        "table = \"app_usr\"",
        &["LINE", "no table \"app_usr\"", "did you mean \"app_user\"?"],
    )
    .await;
    refused(
        &program,
        2,
        "full_name = ",
        "fullname = ",
        &["LINE", "no attribute \"fullname\"", "did you mean \"full_name\"?"],
    )
    .await;
    refused(
        &program,
        2,
        "[displayName]",
        "[dispalyName]",
        &["LINE", "no attribute \"dispalyName\"", "did you mean \"displayName\"?"],
    )
    .await;
    refused(
        &program,
        2,
        "full_name = \"[displayName]\"",
        "level = \"[displayName]\"",
        &["LINE", "level", "integer", "cannot hold [displayName]"],
    )
    .await;
    refused(
        &program,
        2,
        "full_name = \"[displayName]\"",
        "full_name = \"[signInActivity]\"",
        &["LINE", "[signInActivity] cannot be read"],
    )
    .await;
    refused(&program, 2, "enabled = \"is_active\"", "enabled = \"is_activ\"", &["LINE", "did you mean \"is_active\"?"])
        .await;
    refused(&program, 2, "to = \"app:user\"", "to = \"ap:user\"", &["LINE", "did you mean \"app"]).await;
    refused(
        &program,
        2,
        "url = \"sqlite:app.db\"",
        "url = \"sqlite:other.db\"",
        &["LINE", "there is no file", "never makes one"],
    )
    .await;
    refused(&program, 2, "match = [", "matsch = [", &["LINE", "did you mean \"match\"?"]).await;
    refused(&program, 2, "{ env = \"ENTRA_SECRET\" }", "\"in plain text\"", &["LINE", "secret"]).await;
    refused(&program, 2, "{ env = \"ENTRA_SECRET\" }", "{ env = \"NOWHERE\" }", &["LINE", "NOWHERE"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_explained() {
    let (mut program, _sandbox) = configured().await;
    program.set("ENTRA_SECRET", "not-the-secret-of-this-tenant");
    let said = program.fails(3, &["sync", "staff"]);
    assert!(said.contains("\"entra\"") && said.contains("client_secret"), "{said}");
    assert!(!said.contains("not-the-secret-of-this-tenant"));
    let said = program.fails(2, &["check"]);
    assert!(said.contains("client_secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named() {
    let options =
        SandboxOptions { users: 10, permissions: vec!["Group.Read.All".to_owned()], ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await.unwrap();
    let (mut program, _other) = configured().await;
    program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
    program.write("muster.toml", &format!("{}{SQLITE}{SYNC}", entra(&sandbox.facts())));
    for (code, command) in [(2, vec!["check"]), (3, vec!["sync", "staff"])] {
        let said = program.fails(code, &command);
        assert!(said.contains("User.Read.All") && said.contains("consent"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_is_named() {
    let (program, _sandbox) = configured().await;
    let text = std::fs::read_to_string(program.path("muster.toml")).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    program.write("muster.toml", &text.replace("sqlite:app.db", &format!("postgres://app@127.0.0.1:{nobody}/app")));
    let said = program.fails(3, &["sync", "staff"]);
    assert!(said.contains("\"app\"") && said.contains("refused"), "{said}");
    let said = program.fails(2, &["check"]);
    assert!(said.contains("PostgreSQL cannot be reached") && said.contains("firewall"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_stops_nothing_and_a_full_disk_is_said() {
    let (program, sandbox) = configured().await;
    program.ok(&["sync", "staff"]);
    assert!(program.fails(2, &["sync", "staff", "--only", "nobody"]).contains("no object with the key \"nobody\""));
    let secret = sandbox.facts().client_secret;
    let shell = |arguments: &str| {
        let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_muster"));
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &line]).current_dir(program.folder.path()).env("ENTRA_SECRET", &secret);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (_, said) = shell("schema entra | true");
    assert!(!said.contains("panicked"), "{said}");
    let (code, said) = shell("status > /dev/full");
    assert!(code == Some(1) && said.contains("cannot be written"), "{code:?} {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_waits_for_the_first() {
    let (program, _sandbox) = configured().await;
    let lock = StateLock::take(&program.path("muster.state.db"), "on server-1, process 42").unwrap();
    let said = program.fails(4, &["sync", "staff"]);
    assert!(said.contains("on server-1, process 42"), "{said}");
    drop(lock);
    program.ok(&["sync", "staff"]);
    // A look at the state needs no lock.
    let _lock = StateLock::take(&program.path("muster.state.db"), "on server-1, process 42").unwrap();
    assert!(program.ok(&["status"]).contains("staff"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_foreign_state_is_never_read_as_empty() {
    let (program, _sandbox) = configured().await;
    program.write("muster.state.db", "this is no state");
    let said = program.fails(4, &["sync", "staff"]);
    assert!(said.contains("is not a Muster state"), "{said}");
    assert_eq!(sqlite(&program.path("app.db"), "SELECT count(*) FROM app_user").await, [["0"]]);
    program.write("muster.state.db", "");
    let said = program.fails(4, &["sync", "staff"]);
    assert!(said.contains("damaged") && said.contains("backup"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_printed_or_kept() {
    let sandbox = tenant(20, 0).await;
    let postgres = Postgres::start();
    postgres.psql("CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'planted-password-9f2c'");
    postgres.psql("CREATE TABLE app_user (id serial PRIMARY KEY, login text NOT NULL UNIQUE, full_name text, is_active boolean NOT NULL)");
    let mut program = Program::new();
    let facts = sandbox.facts();
    program.set("ENTRA_SECRET", &facts.client_secret);
    program.set("MUSTER_LOG", "debug");
    let url = postgres.url_for("keeper:planted-password-9f2c", "postgres");
    program.write("app.url", &url);
    let connection = SQLITE.replace("\"sqlite:app.db\"", "{ file = \"app.url\" }");
    program.write("muster.toml", &format!("{}{connection}{SYNC}", entra(&facts)));
    let mut said = String::new();
    for arguments in [
        vec!["check"],
        vec!["plan", "staff", "--sql"],
        vec!["sync", "staff"],
        vec!["--output", "json", "status"],
        vec!["schema", "app"],
    ] {
        let ran = program.run(&arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.out, ran.err);
        said.push_str(&ran.out);
        said.push_str(&ran.err);
    }
    program.write("app.url", &url.replace("9f2c", "9f2c-wrong"));
    program.set("ENTRA_SECRET", "planted-secret-77aa");
    for arguments in [vec!["check"], vec!["sync", "staff"]] {
        let ran = program.run(&arguments);
        said.push_str(&ran.out);
        said.push_str(&ran.err);
    }
    let mut kept = Vec::new();
    for file in ["muster.state.db", "muster.state.db-wal", "muster.state.db.lock"] {
        kept.extend(std::fs::read(program.path(file)).unwrap_or_default());
    }
    for secret in ["planted-password", "planted-secret", facts.client_secret.as_str()] {
        assert!(!said.contains(secret), "{secret} was printed");
        assert!(!kept.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is in the state");
    }
}
