//! Certificates that Muster shows: where they stand in for a password, and what is said when they do not.

use std::path::{Path, PathBuf};

use muster_connector::{Error, Finding};
use muster_testkit::{Authority, Certificate, MariaDb, Postgres};
use serde_json::json;

use crate::checks::findings;
use crate::world::{Connection, batch, connect_as, create, is_applied, number};

/// A server that wants certificates, and a folder for what Muster has of its own.
struct Guarded<'a> {
    url: String,
    authority: &'a Authority,
    folder: &'a Path,
}

impl Guarded<'_> {
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A connection that shows this certificate, and signs in with this password if any.
    fn shows(&self, pair: &Certificate, password: Option<&str>) -> Result<Connection, Error> {
        let certificate = self.file("muster.pem", &pair.certificate);
        let mut settings =
            json!({ "ca_file": self.authority.file(), "certificate": certificate, "key": { "env": "KEY" } });
        let mut secrets = vec![("key".to_owned(), pair.key.clone().into())];
        if let Some(password) = password {
            settings["password"] = json!({ "env": "PASSWORD" });
            secrets.push(("password".to_owned(), password.to_owned().into()));
        }
        connect_as(&self.url, settings, secrets.into_iter().collect())
    }

    fn shows_none(&self) -> Connection {
        let settings = json!({ "ca_file": self.authority.file(), "tls": "verify" });
        connect_as(&self.url, settings, Default::default()).unwrap()
    }

    /// The one thing that is wrong with a certificate.
    async fn found(&self, pair: &Certificate) -> Finding {
        let mut found = findings(&self.shows(pair, None).unwrap(), &[]).await;
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// What is said of certificates that no server takes.
    async fn refuses_what_does_not_fit(&self, user: &str) {
        let other = Authority::new(&self.folder.join("other.pem"), "somebody else");
        let found = self.found(&other.issue_to_client(user)).await;
        assert_refused(&found, "authority that the server does not trust", "ssl_ca");
        let found = self.found(&self.authority.issue_expired_to_client(user)).await;
        assert_refused(&found, "has expired", "new one");
        let found = self.found(&self.authority.issue_to_client("somebody")).await;
        assert_eq!(found.setting.as_deref(), Some("certificate"), "{found:?}");
        assert!(found.problem.contains("refused the connection"), "{found:?}");
        assert!(found.fix.contains("must name the user of `url`"), "{found:?}");
        let found = findings(&self.shows_none(), &[]).await;
        assert!(found[0].fix.contains("set `certificate` and `key`"), "{found:?}");
    }

    fn misconfigured(&self, user: &str) {
        let good = self.authority.issue_to_client(user);
        let strange = self.authority.issue_to_client(user);
        let mismatch = Certificate { key: strange.key, ..good.clone() };
        let encrypted = good
            .key
            .replace("BEGIN PRIVATE KEY", "BEGIN ENCRYPTED PRIVATE KEY")
            .replace("END PRIVATE KEY", "END ENCRYPTED PRIVATE KEY");
        let cases = [
            (mismatch, "key", "does not belong to the certificate"),
            (Certificate { key: encrypted, ..good.clone() }, "key", "encrypted with a passphrase"),
            (Certificate { key: "none".to_owned(), ..good.clone() }, "key", "no usable PEM private key"),
            (Certificate { certificate: "none".to_owned(), ..good.clone() }, "certificate", "no PEM certificate"),
        ];
        for (pair, setting, problem) in cases {
            let error = self.shows(&pair, None).err().unwrap();
            assert_wrong(&error, setting, problem);
            assert!(!error.to_string().contains(&pair.key), "{error}");
        }
        let key = || [("key".to_owned(), good.key.clone().into())].into();
        let file = self.file("good.pem", &good.certificate);
        let cases = [
            (json!({ "certificate": file, "key": { "env": "KEY" }, "tls": "off" }), true, "tls", "encrypted"),
            (
                json!({ "certificate": "/no/such/file.pem", "key": { "env": "KEY" } }),
                true,
                "certificate",
                "/no/such/file.pem",
            ),
            (json!({ "certificate": file }), false, "key", "no private key"),
            (json!({ "key": { "env": "KEY" } }), true, "certificate", "no certificate"),
        ];
        for (settings, with_key, setting, problem) in cases {
            let secrets = if with_key { key() } else { Default::default() };
            assert_wrong(&connect_as(&self.url, settings, secrets).err().unwrap(), setting, problem);
        }
    }
}

fn assert_refused(found: &Finding, problem: &str, fix: &str) {
    let is_told = found.problem.contains(problem) && found.fix.contains(fix);
    let names_the_setting = found.setting.as_deref() == Some("certificate");
    // A server says why in the moment in which it cuts the connection; its word may be lost with it.
    let is_cut = found.problem.contains("does not accept the certificate of `certificate`");
    assert!(is_cut || is_told && names_the_setting, "{found:?}");
}

fn assert_wrong(error: &Error, expected: &str, part: &str) {
    let Error::Configuration { setting: Some(setting), problem, fix } = error else { panic!("{error:?}") };
    assert!(setting == expected && problem.contains(part) && !fix.is_empty(), "{error:?}");
}

async fn writes(connection: &Connection) {
    assert_eq!(findings(connection, &[]).await, []);
    let outcomes = connection.apply(&batch("t", &["id"], vec![create(vec![number(1)])])).await;
    assert!(outcomes.iter().all(is_applied), "{outcomes:?}");
}

#[tokio::test]
async fn postgresql_takes_a_certificate_for_a_password_or_beside_it() {
    let server = Postgres::with_tls();
    server.psql(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE by_certificate; CREATE ROLE muster LOGIN IN ROLE by_certificate; \
         GRANT SELECT, INSERT ON t TO muster",
    );
    let folder = tempfile::tempdir().unwrap();
    let url = server.url_for("muster", "postgres");
    let guarded = Guarded { url, authority: server.authority(), folder: folder.path() };
    writes(&guarded.shows(&server.authority().issue_to_client("muster"), None).unwrap()).await;
    assert_eq!(server.psql("SELECT id FROM t"), [["1"]]);
    guarded.refuses_what_does_not_fit("muster").await;
    guarded.misconfigured("muster");

    server.psql("CREATE ROLE by_both; CREATE ROLE careful LOGIN PASSWORD 'right' IN ROLE by_both");
    let guarded = Guarded { url: server.url_for("careful", "postgres"), ..guarded };
    let careful = server.authority().issue_to_client("careful");
    assert_eq!(findings(&guarded.shows(&careful, Some("right")).unwrap(), &[]).await, []);
    let found = findings(&guarded.shows(&careful, Some("wrong")).unwrap(), &[]).await;
    assert!(found[0].problem.contains("password authentication failed"), "{found:?}");
    assert!(found[0].fix.contains("check `password`"), "{found:?}");
}

#[tokio::test]
async fn mariadb_takes_a_certificate_for_a_password_or_beside_it() {
    let server = MariaDb::with_tls();
    server.sql("CREATE TABLE t (id int PRIMARY KEY)");
    for (user, demand) in [
        ("muster", "REQUIRE SUBJECT '/CN=muster'"),
        ("anybody", "REQUIRE X509"),
        ("careful", "IDENTIFIED BY 'right' REQUIRE SUBJECT '/CN=careful'"),
    ] {
        server.sql(&format!("CREATE USER {user}@'127.0.0.1' {demand}"));
        server.sql(&format!("GRANT SELECT, INSERT, CREATE TEMPORARY TABLES ON app.* TO {user}@'127.0.0.1'"));
    }
    let folder = tempfile::tempdir().unwrap();
    let guarded =
        |user| Guarded { url: server.url_for(user, "app"), authority: server.authority(), folder: folder.path() };
    let issue = |name| server.authority().issue_to_client(name);
    writes(&guarded("muster").shows(&issue("muster"), None).unwrap()).await;
    assert_eq!(server.sql("SELECT id FROM t"), [["1"]]);
    assert_eq!(findings(&guarded("anybody").shows(&issue("whoever"), None).unwrap(), &[]).await, []);
    assert_eq!(findings(&guarded("careful").shows(&issue("careful"), Some("right")).unwrap(), &[]).await, []);
    let found = findings(&guarded("careful").shows(&issue("careful"), Some("wrong")).unwrap(), &[]).await;
    assert!(found[0].problem.contains("Access denied") && found[0].fix.contains("check `password`"), "{found:?}");
    guarded("muster").refuses_what_does_not_fit("muster").await;
    guarded("muster").misconfigured("muster");
}

#[tokio::test]
async fn other_databases_say_that_they_take_none() {
    let settings = || json!({ "certificate": "muster.pem", "key": { "env": "KEY" } });
    for (url, part) in
        [("sqlserver://muster@db.example.org/hrapp", "SQL Server login"), ("sqlite://hr.db", "leave out")]
    {
        let error = connect_as(url, settings(), Default::default()).err().unwrap();
        assert_wrong(&error, "certificate", "");
        assert!(format!("{error:?}").contains(part), "{error:?}");
    }
    let socket = "postgres://muster@%2Frun%2Fpostgresql/hrapp";
    let authority = tempfile::tempdir().unwrap();
    let authority = Authority::new(&authority.path().join("ca.pem"), "the authority of a test");
    let pair = authority.issue_to_client("muster");
    let folder = tempfile::tempdir().unwrap();
    let guarded = Guarded { url: socket.to_owned(), authority: &authority, folder: folder.path() };
    assert_wrong(&guarded.shows(&pair, None).err().unwrap(), "certificate", "socket");
}
