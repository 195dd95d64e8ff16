//! What authors of connectors do: start from a whole small connector, and prove theirs with the kit.

use std::process::Command;

use serde_json::Value;

use crate::support::{Program, Ran};

const PEOPLE: &str = include_str!("../../docs/connectors/people.py");

const CONNECTION: &str = r#"
[connections.people]
connector = "process"
command = ["python3", "people.py"]
settings = { file = "people.json" }
environment = { HOME = "HOME_OF_TESTS" }
"#;

/// The documented connector in Python, alone in a configuration.
fn people(script: &str) -> Program {
    let program = Program::new();
    program.write("people.py", script);
    // An interpreter of a version manager looks there.
    program.write("muster.toml", &CONNECTION.replace("HOME_OF_TESTS", &std::env::var("HOME").unwrap_or_default()));
    program
}

#[test]
fn the_documented_connector_in_python_keeps_the_contract() {
    let program = people(PEOPLE);
    let Ran { code, out, err } = program.run(&["connector", "test", "--config", "muster.toml", "--many", "300"]);
    assert_eq!(code, Some(0), "{out}{err}");
    for check in ["trip.create_get", "identity.never_overwrites", "faults.natural_create", "limits.memory"] {
        assert!(out.contains(&format!("passed          {check}")), "{check} was not tried: {out}");
    }
    assert!(out.lines().last().unwrap().contains(" passed, 0 failed, "), "{out}");
    // The command line names the program as well, and its paths start where it is typed.
    let command = ["connector", "test", "--config", "muster.toml", "--only", "trip.", "--", "python3", "./people.py"];
    assert_eq!(program.run(&command).code, Some(0));
}

#[test]
fn planted_faults_are_found_over_stdio() {
    let faults = [
        ("trip.create_get", "    save(people)  #", "    pass  #"),
        ("values.null_clears", "if value != {\"unknown\": True}}", "if value != {\"unknown\": True} and value}"),
        ("identity.never_overwrites", "if kind == \"create\" and key in people:", "if False:"),
        ("identity.delete_twice", "elif kind in (\"update\", \"delete\") and", "elif kind == \"update\" and"),
        ("outcomes.unsupported", "elif kind not in (", "elif kind in () and kind not in ("),
        ("outcomes.right_id", "outcomes.append([operation[\"id\"], outcome])", "outcomes.insert(0, outcome)"),
        ("reading.foreign_token", "if cursor is not None and not cursor.startswith(\"after \"):", "if False:"),
        (
            "reading.get",
            "people[key], request) if key in people else None for",
            "people[key], request) if key in people else {} for",
        ),
        ("shape.starts", "print(json.dumps(reply), flush=True)", "print(reply, flush=True)"),
    ];
    for (check, right, wrong) in faults {
        let right = right.trim_end_matches('\n');
        assert!(PEOPLE.contains(right), "the connector has changed: {right}");
        let mut broken = PEOPLE.replace(right, wrong);
        if check == "outcomes.right_id" {
            // The outcomes in the wrong order under the right ids.
            broken = broken.replace(
                "    return outcomes\n",
                "    return [[o[\"id\"], x] for o, x in zip(operations, outcomes)]\n",
            );
        }
        let program = people(&broken);
        let ran = program.run(&["connector", "test", "--config", "muster.toml", "--only", check, "--output", "json"]);
        assert_eq!(ran.code, Some(1), "{check}: {}{}", ran.out, ran.err);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        let failed = |result: &Value| result["id"] == check && result["status"] == "failed";
        assert!(report["results"].as_array().unwrap().iter().any(failed), "{check}: {}", ran.out);
        assert!(ran.err.contains("the connector does not keep the contract"), "{}", ran.err);
    }
}

#[test]
fn the_kit_reports_to_ci_servers_and_refuses_what_would_prove_nothing() {
    let program = people(PEOPLE);
    let junit = program.run(&["connector", "test", "--config", "muster.toml", "--only", "trip.", "--output", "junit"]);
    assert_eq!(junit.code, Some(0), "{}", junit.err);
    assert!(
        junit.out.starts_with("<?xml") && junit.out.contains("<testcase classname=\"user\" name=\"trip.create_get\"/>")
    );

    program.write("samples.json", r#"{"user.nam": ["Ada"]}"#);
    program.write(
        "syncs.toml",
        &format!(
            "{CONNECTION}{}\n[syncs.s]\nfrom = \"people:user\"\nto = \"others:user\"\nmap.id = \"[id]\"\n",
            CONNECTION.replace(".people]", ".others]")
        ),
    );
    let test = |more: &[&str]| {
        let ran = program.run(&[&["connector", "test"], more].concat());
        assert_eq!(ran.code, Some(2), "{more:?}: {}{}", ran.out, ran.err);
        ran.err
    };
    let wrong = [
        (test(&[]), "after two hyphens"),
        (test(&["--", "no-such-program"]), "no program \"no-such-program\" in PATH"),
        (test(&["--config", "muster.toml", "--only", "trips"]), "no check's id begins with \"trips\""),
        (test(&["--config", "muster.toml", "--type", "usr"]), "it has: user"),
        (test(&["--config", "muster.toml", "--samples", "samples.json"]), "no attribute \"user.nam\""),
        (test(&["--config", "muster.toml", "--except", "trip.create_gets=known"]), "did you mean \"trip.create_get\"?"),
        (test(&["--config", "syncs.toml"]), "its systems are in use"),
    ];
    for (said, wanted) in wrong {
        assert!(said.contains(wanted), "{said:?} lacks {wanted:?}");
    }
    assert_eq!(program.run(&["status", "--output", "junit"]).code, Some(2));
}

#[test]
fn a_secret_that_leaks_is_found_and_not_printed() {
    let marked = PEOPLE.replace(
        r#""properties": {"file": {"type": "string"}}"#,
        r#""properties": {"file": {"type": "string"}, "token": {"x-muster-secret": True}}"#,
    );
    let configured = "        reply = {\"configured\": {}}\n";
    assert!(marked.contains("x-muster-secret") && marked.contains(configured), "the connector has changed");
    let leaks = [
        ("secrecy.log", "        print(body[\"secrets\"][\"token\"], file=sys.stderr, flush=True)\n"),
        (
            "shape.starts",
            "        print(body[\"secrets\"][\"token\"], file=sys.stderr, flush=True)\n        sys.exit(3)\n",
        ),
    ];
    for (check, leak) in leaks {
        let mut program = people(&marked.replace(configured, &format!("{leak}{configured}")));
        program.set("PEOPLE_TOKEN", "hunter22-planted");
        let configuration = std::fs::read_to_string(program.path("muster.toml")).unwrap();
        program.write("muster.toml", &format!("{configuration}secrets = {{ token = {{ env = \"PEOPLE_TOKEN\" }} }}\n"));
        let ran = program.run(&["connector", "test", "--config", "muster.toml", "--only", check]);
        assert_eq!(ran.code, Some(1), "{check}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(&format!("FAILED          {check}")), "{}", ran.out);
        assert!(!format!("{}{}", ran.out, ran.err).contains("hunter22"), "{}{}", ran.out, ran.err);
    }
    let program = people("import sys\nsys.exit('no licence')");
    let ran = program.run(&["connector", "test", "--config", "muster.toml"]);
    assert!(ran.out.contains("it said: no licence"), "{}{}", ran.out, ran.err);
    // Without a line end, too.
    let program = people("import sys\nsys.stderr.write('no licence')\nsys.exit(1)");
    let ran = program.run(&["connector", "test", "--config", "muster.toml"]);
    assert!(ran.out.contains("it said: no licence"), "{}{}", ran.out, ran.err);
}

/// Starts from a connector in the language, and runs its own tests, the kit among them.
fn starts_from(lang: &str, test: &[&str]) {
    let program = Program::new();
    let said = program.ok(&["connector", "new", "crm-people", "--lang", lang]);
    assert!(said.contains("cd crm-people"), "{said}");
    let folder = program.path("crm-people");
    for hidden in [".github/workflows/ci.yml", ".gitignore", "README.md", "muster.toml"] {
        assert!(folder.join(hidden).is_file(), "{hidden} is missing");
    }
    let again = program.run(&["connector", "new", "crm-people", "--lang", lang]);
    assert_eq!((again.code, again.err.contains("exists already")), (Some(2), true));
    let (first, rest) = test.split_first().unwrap();
    let mut command = Command::new(first);
    command.args(rest).current_dir(&folder).env("MUSTER", env!("CARGO_BIN_EXE_muster"));
    let ran = Program::ran(command.output().unwrap());
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let told = std::fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(told.starts_with("# crm-people\n") && !told.contains("my-connector"), "{told}");
}

#[test]
fn a_connector_in_python_to_start_from_keeps_the_contract() {
    starts_from("python", &["python3", "-m", "unittest"]);
}

#[test]
fn a_connector_in_node_to_start_from_keeps_the_contract() {
    starts_from("node", &["node", "--test"]);
}

/// Its code is a member of the workspace, where its tests run; what is written is a package of its own.
#[test]
fn a_connector_in_rust_to_start_from_is_a_package_of_its_own() {
    let program = Program::new();
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let needed = program.run(&["connector", "new", "crm-people", "--lang", "rust"]);
    assert_eq!((needed.code, needed.err.contains("--sources")), (Some(2), true), "{}", needed.err);
    program.ok(&["connector", "new", "crm-people", "--lang", "rust", "--sources", sources.to_str().unwrap()]);
    let folder = program.path("crm-people");
    // The versions that are known to be here; a new package would ask a registry.
    std::fs::copy(sources.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let asked = ["tree", "--offline", "--prefix", "none"];
    let ran = Program::ran(Command::new(cargo).args(asked).current_dir(&folder).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for wanted in ["crm-people v0.1.0", "muster-connector v", "muster-conformance v"] {
        assert!(ran.out.lines().any(|line| line.starts_with(wanted)), "{wanted} is missing: {}", ran.out);
    }
    let test = std::fs::read_to_string(folder.join("tests/contract.rs")).unwrap();
    assert!(test.contains("use crm_people::PeopleKind;"), "{test}");
}
