//! What `check` finds, and what it tells to do.

use muster_connector::{Finding, Severity, UsedType};
use muster_testkit::{Authority, Postgres};
use serde_json::json;

use crate::on_each;
use crate::world::{Connection, World, try_connect};

fn uses(object_type: &str, attributes: &[&str]) -> Vec<UsedType> {
    vec![UsedType {
        object_type: object_type.to_owned(),
        attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
        named: Vec::new(),
        as_source: false,
        as_target: true,
    }]
}

pub(crate) async fn findings(connection: &Connection, used: &[UsedType]) -> Vec<Finding> {
    connection.0.check(used).await.unwrap().findings
}

async fn nothing_is_wrong(world: World) {
    let connection = world.connect();
    let report = connection.0.check(&uses("app_user", &["id", "employee_no", "full_name"])).await.unwrap();
    assert_eq!(report.findings, []);
    assert!(
        report.features[0]
            .starts_with(world.sqlserver_or("SQL Server 1", world.each("PostgreSQL 1", "MariaDB 1", "SQLite 3."))),
        "{:?}",
        report.features
    );
    assert_eq!(world.rows("SELECT count(*) FROM app_user").await, [["0"]]);
}

async fn an_anchor_that_nothing_keeps_unique(world: World) {
    let connection =
        world.connect_with(json!({ "types": { "user": { "table": "app_user", "anchor": ["full_name"] } } }));
    let found = findings(&connection, &uses("user", &["full_name"])).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].severity, found[0].setting.as_deref()), (Severity::Warning, Some("types.user.anchor")));
}

on_each!(nothing_is_wrong, an_anchor_that_nothing_keeps_unique);

#[tokio::test]
async fn a_table_that_refuses_every_change_is_told_of() {
    let world = World::postgres().await;
    world
        .run(
            "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'the books are closed' USING ERRCODE = '23514'; END $$; \
             CREATE TRIGGER closed BEFORE UPDATE ON app_user FOR EACH STATEMENT EXECUTE FUNCTION closed()",
        )
        .await;
    let found = findings(&world.connect(), &uses("app_user", &["employee_no", "full_name"])).await;
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.severity, one.setting.as_deref()), (Severity::Warning, Some("types.app_user.table")));
    assert!(one.problem.contains("the books are closed") && one.fix.contains("triggers"), "{one:?}");
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_to_grant() {
    let world = World::postgres().await;
    world.run("CREATE ROLE hr LOGIN PASSWORD 'right'; REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC").await;
    let url = world.pg().url_for("hr:right", "postgres");
    let given = |password: &str| {
        let values = json!({ "url": world.pg().url_for("hr", "postgres"), "password": { "env": "X" } });
        let secrets = [("password".to_owned(), muster_connector::settings::SecretString::from(password.to_owned()))];
        let settings = muster_connector::ConnectorSettings {
            connection: "hrapp".to_owned(),
            values,
            secrets: secrets.into(),
            base_folder: std::env::temp_dir(),
        };
        use muster_connector::ConnectorKind as _;
        Connection(muster_connector_sql::SqlKind.connect(settings).unwrap())
    };
    assert!(try_connect(&url, json!({})).is_err(), "a password in the open");
    let found = findings(&given("wrong"), &[]).await;
    assert_eq!(found.len(), 1);
    assert!(
        found[0].problem.contains("password authentication failed") && found[0].fix.contains("password"),
        "{found:?}"
    );

    let used = uses("app_user", &["employee_no", "full_name"]);
    let connection = given("right");
    let found = findings(&connection, &used).await;
    let fixes: Vec<&str> = found.iter().map(|finding| finding.fix.as_str()).collect();
    for right in ["TEMPORARY ON", "SELECT ON \"public\".\"app_user\"", "INSERT ON", "UPDATE ON", "DELETE ON"] {
        assert!(fixes.iter().any(|fix| fix.contains(right)), "{right}: {fixes:#?}");
    }
    let refused = connection
        .try_apply(&crate::world::batch(
            "app_user",
            &["employee_no"],
            vec![crate::world::create(vec![crate::world::text("1")])],
        ))
        .await;
    assert!(
        matches!(&refused, Err(muster_connector::Error::Credentials { fix, .. }) if fix.contains("TEMPORARY")),
        "{refused:?}"
    );

    world
        .run(
            "GRANT TEMPORARY ON DATABASE postgres TO hr; GRANT SELECT ON app_user TO hr; \
             GRANT INSERT (employee_no, full_name), UPDATE (employee_no, full_name) ON app_user TO hr",
        )
        .await;
    let found = findings(&connection, &used).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].severity, Severity::Warning);
    assert!(found[0].fix.contains("DELETE"));
    world.run("GRANT DELETE ON app_user TO hr").await;
    assert_eq!(findings(&connection, &used).await, []);
    assert!(connection.0.schema().await.unwrap().identity.starts_with("postgresql:"));
    let outcomes = connection
        .send(
            "app_user",
            &["employee_no", "full_name"],
            vec![crate::world::create(vec![crate::world::text("1"), crate::world::text("n")])],
        )
        .await;
    assert!(crate::world::is_applied(&outcomes[0]));
}

#[tokio::test]
async fn what_is_not_there() {
    let world = World::postgres().await;
    let missing = try_connect(&world.pg().url_for("app", "nowhere"), json!({})).unwrap();
    let found = findings(&missing, &[]).await;
    assert!(found[0].problem.contains("nowhere"), "{found:?}");

    let started = std::time::Instant::now();
    let unreachable = try_connect("postgres://app@127.0.0.1:9/postgres", json!({})).unwrap();
    let found = findings(&unreachable, &[]).await;
    assert!(found[0].problem.contains("127.0.0.1:9") && found[0].problem.contains("refused"), "{found:?}");
    assert!(started.elapsed().as_secs() < 5);

    let no_file = try_connect("sqlite:///no/such/file.db", json!({})).unwrap();
    let found = findings(&no_file, &[]).await;
    assert!(found[0].problem.contains("there is no file /no/such/file.db"), "{found:?}");
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("not a database");
    std::fs::write(&garbage, "hello ".repeat(1000)).unwrap();
    let garbage = try_connect(&format!("sqlite://{}", garbage.display()), json!({})).unwrap();
    assert!(!findings(&garbage, &[]).await.is_empty());
    for (url, hint) in [
        ("oracle://x/y", "oracle"),
        ("sqlite:", "no file"),
        ("postgres://h", "no database"),
        ("hello", "not an address"),
    ] {
        let Err(error) = try_connect(url, json!({})) else { panic!("{url}") };
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test]
async fn the_servers_certificate_is_verified() {
    let server = Postgres::with_tls();
    server.psql("CREATE TABLE t (id int PRIMARY KEY)");
    let connect = |url: &str, settings| try_connect(url, settings).unwrap();
    let right = connect(&server.url(), json!({ "tls": "verify", "ca_file": server.ca_file() }));
    assert_eq!(findings(&right, &[]).await, []);
    assert!(right.0.schema().await.unwrap().object_type("t").is_some());

    let other = server.folder().join("other.pem");
    let _authority = Authority::new(&other, "somebody else");
    let wrong = connect(&server.url(), json!({ "tls": "verify", "ca_file": other }));
    let found = findings(&wrong, &[]).await;
    assert!(found[0].problem.contains("UnknownIssuer") && found[0].fix.contains("ca_file"), "{found:?}");

    // This address leads to the same server, and its certificate does not name it.
    let elsewhere = server.url().replace("localhost", "0.0.0.0");
    let found = findings(&connect(&elsewhere, json!({ "tls": "verify", "ca_file": server.ca_file() })), &[]).await;
    assert!(found[0].problem.contains("not valid for name"), "{found:?}");

    let plain = connect(&server.url(), json!({ "tls": "off" }));
    assert!(findings(&plain, &[]).await[0].problem.contains("no encryption"));

    let unencrypted = Postgres::start();
    let found =
        findings(&connect(&unencrypted.url(), json!({ "tls": "verify", "ca_file": server.ca_file() })), &[]).await;
    assert!(found[0].problem.contains("TLS"), "{found:?}");
}
