//! Secrets: found, fetched, and never shown.

use secrecy::ExposeSecret as _;

use super::{Files, SAMPLE, environment, messages, sample_with};
use crate::{Environment, SecretSource, Settings};

const PLANTED: &str = "Pl4nted~Secret";

const KEYS: &str = r#"
[connections.third]
connector = "entra"
certificate = { certificate_file = "a.pem", private_key = { file = "key.pem" } }
keys = [{ env = "ONE" }, { file = "two" }]
extension_attributes = { env = "text" }
"#;

fn files() -> Files {
    Files::new(&[
        ("muster.toml", &format!("{SAMPLE}{KEYS}")),
        ("key.pem", "key\r\n"),
        ("two", "2\n\n"),
        ("hrapp.url", PLANTED),
    ])
}

fn variables() -> Environment {
    environment(&[("ENTRA_SECRET", PLANTED), ("ONE", "1\n")])
}

#[test]
fn secrets_are_found_wherever_the_schema_has_them() {
    let settings = files().load(&[]).unwrap();
    let paths =
        |name: &str| settings.connections[name].secrets.iter().map(|secret| secret.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths("entra"), ["client_secret"]);
    assert_eq!(paths("hrapp"), ["url"]);
    assert_eq!(paths("third"), ["certificate.private_key", "keys[0]", "keys[1]"]);
    let file = &settings.connections["hrapp"].secrets[0].source;
    assert_eq!(*file, SecretSource::File(settings.folder.join("hrapp.url")));
}

#[test]
fn secrets_are_fetched_on_demand_and_never_shown() {
    let files = files();
    let settings: Settings = files.load(&[("ENTRA_SECRET", PLANTED)]).unwrap();
    let environment = variables();
    for (connection, path, expected) in [
        ("entra", "client_secret", PLANTED),
        ("hrapp", "url", PLANTED),
        ("third", "certificate.private_key", "key"),
        ("third", "keys[0]", "1"),
        ("third", "keys[1]", "2\n"),
    ] {
        let secrets = settings.connections[connection].resolve_secrets(&environment).unwrap();
        assert_eq!(secrets[path].expose_secret(), expected);
        assert!(!format!("{secrets:?}").contains(PLANTED));
    }
    for shown in [format!("{settings:?}"), format!("{settings:#?}"), format!("{environment:?}")] {
        assert!(!shown.contains(PLANTED), "{shown}");
    }
}

#[test]
fn secrets_that_cannot_be_fetched() {
    let files = files();
    let settings = files.load(&[]).unwrap();
    let check = |connection: &str, environment: &Environment, expected: &[&str]| {
        let problems = settings.connections[connection].resolve_secrets(environment).unwrap_err();
        let found: Vec<String> = problems.iter().map(|problem| files.shorten(&problem.to_string())).collect();
        assert_eq!(found, expected);
        assert!(!format!("{problems:?}").contains(PLANTED));
    };
    let none = Environment::default();
    check(
        "entra",
        &none,
        &[
            "muster.toml:7: connections.entra.client_secret: the environment variable ENTRA_SECRET is not set; set it for the process that runs muster",
        ],
    );
    check(
        "entra",
        &environment(&[("ENTRA_SECRET", " \n")]),
        &[
            "muster.toml:7: connections.entra.client_secret: the environment variable ENTRA_SECRET is empty; put the secret there",
        ],
    );
    let path = files.folder.path().join("hrapp.url");
    std::fs::write(&path, PLANTED.repeat(5_000)).unwrap();
    check(
        "hrapp",
        &none,
        &[
            "muster.toml:11: connections.hrapp.url: the file hrapp.url is larger than 64 KiB; give the path of a file with the secret alone",
        ],
    );
    std::fs::write(&path, "\n").unwrap();
    check(
        "hrapp",
        &none,
        &["muster.toml:11: connections.hrapp.url: the file hrapp.url is empty; put the secret there"],
    );
    std::fs::write(&path, [b'a', 0xff]).unwrap();
    check(
        "hrapp",
        &none,
        &[
            "muster.toml:11: connections.hrapp.url: the file hrapp.url is not UTF-8 text; store the secret as plain text",
        ],
    );
    std::fs::remove_file(&path).unwrap();
    check(
        "hrapp",
        &none,
        &["muster.toml:11: connections.hrapp.url: there is no file hrapp.url; create it, or correct the path"],
    );
    std::fs::create_dir(&path).unwrap();
    check(
        "hrapp",
        &none,
        &[
            "muster.toml:11: connections.hrapp.url: hrapp.url is not a file; give the path of a file with the secret alone",
        ],
    );
    // All of one connection at once.
    std::fs::remove_file(files.folder.path().join("two")).unwrap();
    let problems = settings.connections["third"].resolve_secrets(&none).unwrap_err();
    assert_eq!(problems.iter().count(), 2);
}

#[test]
fn secrets_never_stand_in_the_configuration() {
    const FORM: &str = r#"use { env = "NAME" } or { file = "PATH" }"#;
    let client_secret = "{ env = \"ENTRA_SECRET\" }";
    let url = "{ file = \"hrapp.url\" }";
    let cases = [
        (client_secret, format!("\"{PLANTED}\""), format!("muster.toml:7: connections.entra.client_secret: secrets never stand in the configuration; {FORM}")),
        (client_secret, format!("[\"{PLANTED}\"]"), format!("muster.toml:7: connections.entra.client_secret: expected a reference to a secret, found a list; {FORM}")),
        (client_secret, format!("{{ env = \"{PLANTED}\" }}"), "muster.toml:7: connections.entra.client_secret.env: this is not the name of a variable; give a name of letters, digits and underscores; the secret itself stands in the variable".to_owned()),
        (client_secret, format!("{{ value = \"{PLANTED}\" }}"), "muster.toml:7: connections.entra.client_secret.value: unknown setting; known here are \"env\" and \"file\"".to_owned()),
        (client_secret, "{}".to_owned(), format!("muster.toml:7: connections.entra.client_secret: no source is named; {FORM}")),
        (client_secret, "{ env = \"A\", file = \"b\" }".to_owned(), "muster.toml:7: connections.entra.client_secret: two sources are named; keep env or file".to_owned()),
        (client_secret, "{ env = 5 }".to_owned(), "muster.toml:7: connections.entra.client_secret.env: expected text, found a whole number; write it in quotes: \"…\"".to_owned()),
        (client_secret, "{ file = \"\" }".to_owned(), format!("muster.toml:7: connections.entra.client_secret.file: nothing is named here; {FORM}")),
        (url, format!("\"postgres://hr:{PLANTED}@db/hr\""), "muster.toml:11: connections.hrapp.url: the address holds a password in plain text; put the whole address into a file and write { file = \"PATH\" }, or a variable and { env = \"NAME\" }".to_owned()),
        (url, "{ fil = \"a\" }".to_owned(), "muster.toml:11: connections.hrapp.url.fil: unknown setting; did you mean \"file\"?".to_owned()),
        (client_secret, PLANTED.to_owned(), "muster.toml:7: a text stands here without quotes; write it in quotes: \"…\"".to_owned()),
    ];
    for (piece, replacement, expected) in cases {
        let found = messages(&sample_with(piece, &replacement));
        assert_eq!(found, [expected], "{replacement}");
    }
    let by_variable =
        Files::new(&[("muster.toml", SAMPLE)]).load(&[("MUSTER_CONNECTIONS__ENTRA__CLIENT_SECRET", PLANTED)]);
    assert_eq!(
        by_variable.unwrap_err(),
        [format!(
            "environment variable MUSTER_CONNECTIONS__ENTRA__CLIENT_SECRET: connections.entra.client_secret: secrets never stand in the configuration; {FORM}"
        )]
    );
}

#[test]
fn addresses_without_a_password_may_stand_there() {
    for url in [
        "postgres://hr@db:5432/hr",
        "postgres://db:5432/hr?a=b@c",
        "sqlite:///tmp/a@b:c.db",
        "postgres://[::1]:5432/a@b",
    ] {
        assert_eq!(
            messages(&sample_with("{ file = \"hrapp.url\" }", &format!("\"{url}\""))),
            Vec::<String>::new(),
            "{url}"
        );
    }
    for url in ["postgres://hr:a/b@db/hr", "postgres://hr@db/hr?password=x", "postgres://hr:a@b@db/hr"] {
        assert_eq!(messages(&sample_with("{ file = \"hrapp.url\" }", &format!("\"{url}\""))).len(), 1, "{url}");
    }
}
