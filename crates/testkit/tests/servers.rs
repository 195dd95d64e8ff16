//! The throw-away servers themselves.

use muster_testkit::{Directory, MariaDb, NULL, Postgres};

#[test]
fn rows_survive_a_crash_and_nothing_survives_the_test() {
    let server = Postgres::start();
    let folder = server.folder().to_owned();
    server.psql("CREATE TABLE t (a text); INSERT INTO t VALUES ('a\nb,c'), (NULL), ('')");
    server.kill();
    server.restart();
    assert_eq!(server.psql("SELECT a, 1 FROM t"), [["a\nb,c", "1"], [NULL, "1"], ["", "1"]]);
    let other = server.create_database("it's \"another\"");
    assert!(other.ends_with("/it's \"another\""));
    assert!(server.psql_in("it's \"another\"", "SELECT 1 WHERE false").is_empty());
    server.stop();
    server.restart();
    assert_eq!(server.psql("SELECT count(*) FROM t"), [["3"]]);
    drop(server);
    assert!(!folder.exists());
}

#[test]
fn users_need_their_passwords_and_encryption_where_it_is_on() {
    let server = Postgres::with_tls();
    server.psql("CREATE ROLE somebody LOGIN PASSWORD 'secret'");
    assert!(server.try_psql("somebody", "postgres", "SELECT 1").unwrap_err().contains("password"));
    assert_eq!(server.psql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), [["t"]]);
    assert!(server.ca_file().is_file());
}

#[test]
fn a_failed_test_leaves_the_folder_to_look_at() {
    let failed = std::thread::spawn(|| {
        let server = Postgres::start();
        let folder = server.folder().to_owned();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _server = server;
            panic!("on purpose");
        }));
        assert!(outcome.is_err());
        folder
    });
    let folder = failed.join().unwrap();
    let kept = folder.with_file_name(format!("failed-{}", folder.file_name().unwrap().to_string_lossy()));
    assert!(!folder.exists());
    assert!(std::fs::read_to_string(kept.join("log")).unwrap().contains("ready to accept connections"));
    std::fs::remove_dir_all(kept).unwrap();
}

#[test]
fn mariadb_survives_a_crash_too_and_encrypts_where_it_is_told_to() {
    let server = MariaDb::start();
    server.sql("CREATE TABLE t (a text); INSERT INTO t VALUES ('a\nb\t\\\\c'), (NULL), ('')");
    server.kill();
    server.restart();
    assert_eq!(server.sql("SELECT a, 1 FROM t"), [["a\nb\t\\c", "1"], [NULL, "1"], ["", "1"]]);
    server.sql("CREATE USER somebody@'127.0.0.1' IDENTIFIED BY 'secret'");
    assert!(server.try_sql("somebody", "app", "SELECT 1").unwrap_err().contains("Access denied"));
    let encrypted = MariaDb::with_tls();
    assert!(encrypted.ca_file().is_file());
    assert_eq!(encrypted.sql("SELECT count(*) FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher' AND variable_value <> ''"), [["1"]]);
}

fn a_directory_works(server: &Directory, people: &str, class: &str) {
    let person = format!("cn=Åsa\\, Berg,{people},{}", server.base());
    server.ldif(&format!("dn: {person}\nobjectClass: {class}\nsn: Berg\ndescription: a  b\n"));
    let other = server.tls_url();
    assert!(other.starts_with("ldaps://"));
    server.kill();
    server.restart();
    let found = server.one("(sn=Berg)", &["sn", "cn", "description"]);
    assert_eq!((found.get("cn"), found.get("description")), ("Åsa, Berg", "a  b"));
    assert!(server.admits(server.admin(), server.password()) && !server.admits(server.admin(), "wrong"));
    assert!(server.try_ldif("dn: cn=x,dc=nowhere\nobjectClass: person\nsn: x\n").is_err());
}

#[test]
fn slapd_survives_a_crash() {
    let (server, other) = (Directory::slapd(), Directory::slapd());
    a_directory_works(&server, "ou=people", "inetOrgPerson");
    assert!(other.search("(sn=Berg)", &[]).is_empty());
}

#[test]
fn ds389_survives_a_crash() {
    let (server, other) = (Directory::ds389(), Directory::ds389());
    a_directory_works(&server, "ou=people", "inetOrgPerson");
    assert!(other.search("(sn=Berg)", &[]).is_empty());
}

#[test]
fn samba_survives_a_crash() {
    let (server, other) = (Directory::samba(), Directory::samba());
    a_directory_works(&server, "OU=Muster", "user");
    assert!(other.search("(sn=Berg)", &[]).is_empty());
}
