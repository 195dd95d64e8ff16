//! Variables over files.

use super::{Files, SAMPLE, settings};

fn refused(variables: &[(&str, &str)]) -> Vec<String> {
    Files::new(&[("muster.toml", SAMPLE)]).load(variables).err().unwrap_or_default()
}

#[test]
fn variables_win_and_take_the_type_that_is_wanted() {
    let settings = settings(
        &[("muster.toml", SAMPLE)],
        &[
            ("MUSTER_STATE", "0123"),
            ("MUSTER_SYNCS__STAFF__EVERY", "10m"),
            ("MUSTER_SYNCS__STAFF__GUARD__DELETE__PERCENT", "7"),
            ("MUSTER_SYNCS__STAFF__GUARD__DISABLE__PERCENT", "7.5"),
            ("MUSTER_SYNCS__STAFF__REMOVAL__DELETE_ADOPTED", "false"),
            ("MUSTER_SYNCS__STAFF__READ", r#"["mail"]"#),
            ("MUSTER_SYNCS__STAFF__MAP__FULL_NAME", "42"),
            ("muster_syncs__staff__every", "not ours"),
            ("MUSTER_CONNECTIONS__ENTRA__TENANT", "true"),
            ("MUSTER_CONNECTIONS__ENTRA__PAGE_SIZE", "50"),
            ("MUSTER_CONNECTIONS__ENTRA__VERBOSE", "true"),
            ("MUSTER_CONNECTIONS__ENTRA__CLIENT_SECRET__FILE", "/run/secret"),
            ("MUSTER_CONNECTIONS__OTHER__CONNECTOR", "sql"),
            ("MUSTER_CONNECTIONS__OTHER__URL", "sqlite:///tmp/a.db"),
            ("MUSTER_CONNECTIONS__OTHER__TYPES__USER", r#"{ table = "a" }"#),
            ("MUSTER_CONFIG", "/etc/muster/muster.toml"),
            ("MUSTER_LOG", "debug"),
            ("MUSTER_SERVICE_HOST", "10.0.0.1"),
            ("MUSTER_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ],
    );
    assert!(settings.state.ends_with("0123"));
    let staff = settings.sync("staff").unwrap();
    assert_eq!(staff.every.map(crate::TimeSpan::milliseconds), Some(600_000));
    assert_eq!(staff.guard.delete.and_then(|limit| limit.percent), Some(7.0));
    assert_eq!(staff.guard.disable.and_then(|limit| limit.percent), Some(7.5));
    assert_eq!(staff.removal.delete_adopted, Some(false));
    assert_eq!(staff.read, ["mail"]);
    assert_eq!(staff.map[1].value.to_string(), "42");
    let expected = serde_json::json!({
        "tenant": "true", "page_size": 50, "verbose": true, "client_secret": { "file": "/run/secret" }
    });
    assert_eq!(settings.connections["entra"].section, expected);
    let expected = serde_json::json!({ "url": "sqlite:///tmp/a.db", "types": { "user": { "table": "a" } } });
    assert_eq!(settings.connections["other"].section, expected);
    assert_eq!(
        settings.place("syncs.staff.every").unwrap().to_string(),
        "environment variable MUSTER_SYNCS__STAFF__EVERY"
    );
}

#[test]
fn names_match_the_case_of_the_files() {
    let text = SAMPLE.replace("syncs.staff", "syncs.Staff").replace("full_name", "fullName");
    let settings = settings(&[("muster.toml", &text)], &[("MUSTER_SYNCS__STAFF__MAP__FULLNAME", "[x]")]);
    assert_eq!(settings.syncs[0].map[1].value.to_string(), "[x]");
    assert_eq!(settings.syncs[0].map[1].target, "fullName");
    let text = SAMPLE.replace("full_name", "ACTIVE");
    let message =
        Files::new(&[("muster.toml", &text)]).load(&[("MUSTER_SYNCS__STAFF__MAP__ACTIVE", "[x]")]).unwrap_err();
    let expected = "environment variable MUSTER_SYNCS__STAFF__MAP__ACTIVE: syncs.staff.map.active: two settings differ in the case of their letters only; rename one, or set it in a file";
    assert_eq!(message, [expected]);
}

#[test]
fn mistakes_name_the_variable() {
    let cases: [(&str, &str, &str); 11] = [
        ("MUSTER_SYNCS__STAFF__EVRY", "5m", "syncs.staff.evry: unknown setting; did you mean \"every\"?"),
        ("MUSTER_SYNCS__STAFF__EVERY", "5", "syncs.staff.every: this text does not have the form"),
        (
            "MUSTER_SYNCS__STAFF__GUARD__DELETE__PERCENT",
            "x",
            "syncs.staff.guard.delete.percent: expected a number, found text; write a number, without quotes",
        ),
        (
            "MUSTER_SYNCS__STAFF__READ",
            "mail",
            "syncs.staff.read: expected a list, found text; write it as a list: [\"…\", \"…\"]",
        ),
        (
            "MUSTER_SYNCS__STAFF__READ__0",
            "mail",
            "syncs.staff.read: the elements of a list cannot be set one by one; set the whole list, such as MUSTER_…='[\"a\", \"b\"]'",
        ),
        ("MUSTER_SYNCS____EVERY", "5m", "it names an empty level; put exactly two underscores between levels"),
        (
            "MUSTER_SYNCS_STAFF_EVERY",
            "5m",
            "it names no setting; put two underscores between levels: MUSTER_SYNCS__NAME__EVERY",
        ),
        ("MUSTER_STAT", "x", "it names no setting; did you mean MUSTER_STATE?"),
        ("MUSTER_CONFG", "x", "it names no setting; did you mean MUSTER_CONFIG?"),
        ("MUSTER_CONECTIONS__ENTRA__TENANT", "x", "conections: unknown setting; did you mean \"connections\"?"),
        ("MUSTER_SYNCS__STAFF", "x", "syncs.staff: expected a table, found text; write it as a table: { name = … }"),
    ];
    for (name, value, expected) in cases {
        let found = refused(&[(name, value)]);
        let message = found.first().cloned().unwrap_or_default();
        let rest = message.strip_prefix(&format!("environment variable {name}: ")).unwrap_or(&message).to_owned();
        assert!(rest.starts_with(expected) && found.len() == 1, "{found:#?}");
    }
    let both = refused(&[("MUSTER_CONNECTIONS__ENTRA", "{}"), ("MUSTER_CONNECTIONS__ENTRA__TENANT", "x")]);
    let expected = "environment variable MUSTER_CONNECTIONS__ENTRA__TENANT: connections.entra: environment variable MUSTER_CONNECTIONS__ENTRA sets the whole of it; unset one of the two variables";
    assert!(both.iter().any(|message| message == expected), "{both:#?}");
}

#[test]
fn a_variable_that_holds_a_secret_may_have_any_name() {
    let listed = format!("{SAMPLE}[connections.x]\nconnector = \"entra\"\nkeys = [{{ env = \"MUSTER_KEYS__1\" }}]");
    settings(&[("muster.toml", &listed)], &[("MUSTER_KEYS__1", "hunter2")]);
    let text = SAMPLE.replace("ENTRA_SECRET", "MUSTER_SYNCS__SECRET");
    settings(&[("muster.toml", &text)], &[("MUSTER_SYNCS__SECRET", "hunter2")]);
}
