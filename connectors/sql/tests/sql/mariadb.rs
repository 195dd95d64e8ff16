//! What only MySQL and MariaDB do.

use muster_connector::{Error, Finding, UsedType};
use muster_model::{AssignedBy, CaseRule, Decimal, Key, Slot, Value, ValueType};
use muster_testkit::{Authority, Fault, MariaDb, Proxy};
use serde_json::json;

use crate::world::{
    Connection, World, batch, create, delete, id, is_applied, key_of, number, rejection, text, try_connect, update,
};

async fn findings(connection: &Connection, used: &[UsedType]) -> Vec<Finding> {
    connection.0.check(used).await.unwrap().findings
}

fn decimal(text: &str) -> Slot {
    Slot::One(Value::Decimal(Decimal::parse(text).unwrap()))
}

#[tokio::test]
async fn types_and_what_they_mean() {
    let world = World::mariadb().await;
    world
        .run(
            "CREATE TABLE special (id int unsigned AUTO_INCREMENT PRIMARY KEY, flag tinyint(1), bit1 bit(1), bits bit(8), \
             tiny tinyint unsigned, big bigint unsigned, born year, price decimal(65,30), ratio double, \
             level enum('low', 'it''s high', '7'), tags set('a','b','1'), data json, made timestamp(6) NULL, at datetime, \
             clock time, raw binary(4), place point, uid uuid, ci varchar(20) COLLATE utf8mb4_general_ci UNIQUE, \
             cs varchar(20) COLLATE utf8mb4_bin UNIQUE, old varchar(20) CHARACTER SET latin1, \
             twice int AS (tiny * 2), body text, UNIQUE (body(10)), made_by varchar(100) DEFAULT (user()))",
        )
        .await;
    let connection = world.connect();
    let schema = connection.0.schema().await.unwrap();
    let special = schema.object_type("special").unwrap();
    assert_eq!(special.anchor.assigned_by, AssignedBy::System);
    let attribute = |name: &str| special.attribute(name).unwrap();
    let unsupported: Vec<&str> =
        special.attributes.iter().filter(|one| one.unsupported.is_some()).map(|one| one.name.as_str()).collect();
    assert_eq!(unsupported, ["bits", "clock", "place"]);
    let types = ["flag", "bit1", "tiny", "price", "level", "made", "at", "raw", "uid", "data"];
    let types = types.map(|name| attribute(name).value_type);
    let expected = [
        ValueType::Boolean,
        ValueType::Boolean,
        ValueType::Integer,
        ValueType::Decimal,
        ValueType::Text,
        ValueType::Instant,
        ValueType::Instant,
        ValueType::Binary,
        ValueType::Uuid,
        ValueType::Text,
    ];
    assert_eq!(types, expected);
    assert_eq!((attribute("ci").case, attribute("cs").case), (CaseRule::Insensitive, CaseRule::Sensitive));
    assert_eq!((attribute("ci").max_length, attribute("body").max_length), (Some(20), None));
    assert!(!attribute("twice").creatable && !attribute("body").unique && attribute("ci").unique);
    assert!(attribute("made_by").creatable && !attribute("made_by").required);

    let attributes = [
        "flag", "bit1", "tiny", "big", "born", "price", "ratio", "level", "tags", "data", "made", "at", "raw", "uid",
        "old",
    ];
    let instant = |text: &str| Slot::One(Value::Instant(text.parse().unwrap()));
    let row = vec![
        Slot::One(Value::Boolean(true)),
        Slot::One(Value::Boolean(true)),
        number(255),
        number(i64::MAX),
        number(1999),
        decimal("12345678901234567890123456789012345.000000000000000000000000000001"),
        decimal("0.1"),
        text("it's high"),
        text("a,b"),
        text("{\"a\": [1]}"),
        instant("2026-03-29T01:30:00.123456Z"),
        instant("2026-03-29T02:30:00Z"),
        Slot::One(Value::Binary([0, 39, 92, 255].into())),
        Slot::One(Value::Uuid(uuid::Uuid::max())),
        text("Åsa"),
    ];
    let operation = create(row.clone());
    let outcome = connection.send("special", &attributes, vec![operation.clone()]).await.remove(0);
    assert_eq!(connection.get("special", &attributes, &[key_of(&outcome)]).await[0].as_ref().unwrap().0, row);
    assert_eq!(
        world.rows("SELECT made, at, hex(raw) FROM special").await,
        [["2026-03-29 01:30:00.123456", "2026-03-29 02:30:00", "00275CFF"]]
    );
    // By hand in another time zone the statement has the same effect.
    let preview =
        connection.0.target().unwrap().preview(&batch("special", &attributes, vec![operation])).await.unwrap();
    world.run(&format!("SET time_zone = '+09:00'; {}", preview[0])).await;
    assert_eq!(connection.get("special", &attributes, &[id(2)]).await[0].as_ref().unwrap().0, row);
    let off = connection.send("special", &["bit1"], vec![update(id(1), vec![Slot::One(Value::Boolean(false))])]).await;
    assert!(is_applied(&off[0]));
    assert_eq!(world.rows("SELECT bit1 + 0 FROM special ORDER BY id").await, [["0"], ["1"]]);
}

#[tokio::test]
async fn nothing_is_cut_or_bent_to_fit() {
    let world = World::mariadb().await;
    world
        .run(
            "SET GLOBAL sql_mode = ''; CREATE TABLE odd (id int PRIMARY KEY, mood enum('happy', 'sad', '9'), short varchar(5), \
             small smallint, money decimal(5,2), tags set('x', 'y'), old varchar(20) CHARACTER SET latin1, \
             must varchar(9) NOT NULL DEFAULT '', data json, seen timestamp NULL, uid uuid, CONSTRAINT lucky CHECK (small <> 13))",
        )
        .await;
    let connection = world.connect();
    let attributes = ["id", "mood", "short", "small", "money", "tags", "old", "must", "data", "seen", "uid"];
    let row = |position: usize, slot: Slot| {
        let mut row = vec![Slot::Unknown; attributes.len()];
        row[0] = number(1);
        row[position] = slot;
        create(row)
    };
    let far = Slot::One(Value::Instant("2200-01-01T00:00:00Z".parse().unwrap()));
    let cases = [
        (row(1, text("angry")), (Some("mood"), "refused")),
        // MySQL would take it for the second text of the list.
        (row(1, text("2")), (Some("mood"), "refused")),
        (row(2, text("too long")), (Some("short"), "too_long")),
        (row(2, text("     over")), (Some("short"), "too_long")),
        (row(3, number(70_000)), (Some("small"), "out_of_range")),
        (row(3, number(13)), (None, "lucky")),
        (row(4, decimal("1000")), (Some("money"), "out_of_range")),
        (row(5, text("3")), (Some("tags"), "refused")),
        (row(5, text("x,z")), (Some("tags"), "refused")),
        (row(6, text("漢字")), (Some("old"), "refused")),
        (row(7, Slot::Null), (Some("must"), "required")),
        (row(9, far), (Some("seen"), "refused")),
    ];
    for (operation, expected) in cases {
        let outcomes = connection.send("odd", &attributes, vec![operation]).await;
        assert_eq!(rejection(&outcomes[0]), expected, "{outcomes:?}");
    }
    let json = connection.send("odd", &attributes, vec![row(8, text("{"))]).await;
    assert_eq!(rejection(&json[0]).1, "data");
    assert_eq!(world.rows("SELECT count(*) FROM odd").await, [["0"]]);
    assert!(is_applied(&connection.send("odd", &attributes, vec![row(1, text("9"))]).await[0]));
    // An update as well, and a key of zero is a key.
    let outcomes = connection.send("odd", &["short"], vec![update(id(1), vec![text("too long")])]).await;
    assert_eq!(rejection(&outcomes[0]), (Some("short"), "too_long"));
    let zero = vec![create(vec![number(0), text("zero")])];
    world.run("CREATE TABLE counted (id int AUTO_INCREMENT PRIMARY KEY, name varchar(9))").await;
    let fresh = world.connect();
    assert_eq!(key_of(&fresh.send("counted", &["id", "name"], zero).await[0]), id(0));
    assert_eq!(world.rows("SELECT id FROM counted").await, [["0"]]);
}

#[tokio::test]
async fn a_change_to_the_same_value_is_no_missing_row() {
    let world = World::mariadb().await;
    world.run("INSERT INTO person (no, name, state) VALUES ('1', 'same', 1), ('2', 'other', 1)").await;
    let connection = world.connect();
    let operations = vec![update(Key::text("1"), vec![text("same")]), update(Key::text("2"), vec![text("same")])];
    for _ in 0..2 {
        assert!(connection.send("person", &["name"], operations.clone()).await.iter().all(is_applied));
    }
    assert_eq!(world.rows("SELECT DISTINCT name FROM person").await, [["same"]]);
}

/// Blanks at the end and letters of another case are the same to most collations.
#[tokio::test]
async fn keys_are_compared_as_the_column_does() {
    let world = World::mariadb().await;
    world
        .run(
            "CREATE TABLE account (login varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, name varchar(20), \
             mail varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci UNIQUE); \
             INSERT INTO account VALUES ('Eva', 'x', 'eva@x')",
        )
        .await;
    let connection = world.connect();
    let find = |by: &'static str, value: &str| {
        let value = Value::text(value);
        let connection = &connection;
        async move { connection.find("account", &[], &[by], vec![vec![value]]).await[0].len() }
    };
    assert_eq!([find("login", "EVA ").await, find("login", "eva").await, find("login", "ev").await], [1, 1, 0]);
    assert_eq!([find("mail", "EVA@X").await, find("mail", "漢字").await], [1, 0]);
    // A key that is too long is not cut until it fits.
    assert_eq!(find("login", &format!("Eva{}x", " ".repeat(40))).await, 0);
    let row = |login: &str, mail: &str| create(vec![text(login), text(mail)]);
    let outcomes = connection
        .send(
            "account",
            &["login", "mail"],
            vec![row("eVA", "z@x"), row("bo", "EVA@X"), row("cy", "c@x"), row("CY ", "d@x")],
        )
        .await;
    assert_eq!(outcomes[0], muster_connector::Outcome::Exists { key: Key::text("Eva") });
    assert_eq!(rejection(&outcomes[1]), (Some("mail"), "unique"));
    assert!(is_applied(&outcomes[2]), "{outcomes:?}");
    assert_eq!(rejection(&outcomes[3]), (Some("login"), "unique"));
    let outcomes = connection.send("account", &["name"], vec![update(Key::text("EVA"), vec![text("y")])]).await;
    assert!(is_applied(&outcomes[0]));
    assert!(is_applied(&connection.send("account", &[], vec![delete(Key::text("CY"))]).await[0]));
    assert_eq!(world.rows("SELECT login, name FROM account").await, [["Eva", "y"]]);
}

#[tokio::test]
async fn new_rows_larger_than_one_message() {
    let world = World::mariadb().await;
    for (round, packet) in [1_048_576, 262_144].into_iter().enumerate() {
        world.run(&format!("SET GLOBAL max_allowed_packet = {packet}")).await;
        let name = text(&"ß".repeat(9_000));
        let people = (0..120).map(|no| create(vec![text(&format!("{round}-{no}")), name.clone()])).collect();
        assert!(world.connect().send("person", &["no", "name"], people).await.iter().all(is_applied), "{packet}");
    }
    assert_eq!(world.rows("SELECT count(*) FROM person WHERE char_length(name) = 9000").await, [["240"]]);
}

#[tokio::test]
async fn a_batch_larger_than_one_message() {
    let world = World::mariadb().await;
    world.run("SET GLOBAL max_allowed_packet = 1048576").await;
    let connection = world.connect();
    let long = "ß".repeat(100_000);
    let operations = (0..40).map(|_| create(vec![text(&long)])).collect();
    assert!(connection.send("visit", &["who"], operations).await.iter().all(is_applied));
    assert_eq!(world.rows("SELECT count(*) FROM visit WHERE char_length(who) = 100000").await, [["40"]]);
    let longer = connection.send("visit", &["who"], vec![create(vec![text(&"x".repeat(1_100_000))])]).await;
    assert_eq!(rejection(&longer[0]), (Some("who"), "too_long"));
    // More values than one statement may have.
    let columns: Vec<String> = (0..200).map(|number| format!("c{number} int")).collect();
    world.run(&format!("CREATE TABLE wide (id int PRIMARY KEY, {})", columns.join(", "))).await;
    let attributes: Vec<String> = std::iter::once("id".to_owned()).chain((0..200).map(|i| format!("c{i}"))).collect();
    let attributes: Vec<&str> = attributes.iter().map(String::as_str).collect();
    let rows = (0..700).map(|row| create((0..201).map(|column| number(row * 1_000 + column)).collect())).collect();
    assert!(world.connect().send("wide", &attributes, rows).await.iter().all(is_applied));
    assert_eq!(world.rows("SELECT count(*), max(c199) FROM wide").await, [["700", "699200"]]);
}

#[tokio::test]
async fn whether_a_cut_batch_took_effect_is_told_truly() {
    let world = World::mariadb().await;
    let proxy = Proxy::start(world.maria().port());
    let url = world.url().replace(&world.maria().port().to_string(), &proxy.port().to_string());
    let connection = try_connect(&url, json!({})).unwrap();
    connection.0.schema().await.unwrap();
    let people = |first: usize| (first..first + 50).map(|no| create(vec![text(&no.to_string()), text("n")])).collect();
    // A message of seven bytes: a query, and its text.
    const COMMIT: &str = "\u{7}\0\0\0\u{3}COMMIT";
    // New rows need no table in between.
    proxy.set(Fault::CutBefore("CREATE TEMPORARY".into()));
    let none = (900..905).map(|no| create(vec![text(&no.to_string()), text("n")])).collect();
    assert!(connection.send("person", &["no", "name"], none).await.iter().all(is_applied));
    world.run("DELETE FROM person").await;
    for cut in ["INSERT INTO `app`", COMMIT] {
        proxy.set(Fault::CutBefore(cut.into()));
        let failed = connection.try_apply(&batch("person", &["no", "name"], people(0))).await;
        let expected = cut != COMMIT;
        assert!(
            matches!(failed, Err(Error::Unreachable { nothing_sent, .. }) if nothing_sent == expected),
            "{cut}: {failed:?}"
        );
        assert_eq!(world.rows("SELECT count(*) FROM person").await, [["0"]], "{cut}");
    }
    proxy.set(Fault::CutAfter(COMMIT.into()));
    let failed = connection.try_apply(&batch("person", &["no", "name"], people(0))).await;
    assert!(matches!(failed, Err(Error::Unreachable { nothing_sent: false, .. })), "{failed:?}");
    for _ in 0..200 {
        if world.rows("SELECT count(*) FROM person").await == [["50"]] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let renamed = |no: &str| update(Key::text(no), vec![Slot::Unknown, text("other")]);
    for cut in ["CREATE TEMPORARY", "UPDATE `app`"] {
        proxy.set(Fault::CutBefore(cut.into()));
        let failed = connection.try_apply(&batch("person", &["no", "name"], vec![renamed("0"), renamed("1")])).await;
        assert!(matches!(failed, Err(Error::Unreachable { nothing_sent: true, .. })), "{cut}: {failed:?}");
    }
    proxy.heal();
    let found = connection.get("person", &["name"], &[Key::text("0"), Key::text("50")]).await;
    assert_eq!(found, [Some(muster_model::Row(vec![text("n")])), None]);
    assert!(connection.send("person", &["no", "name"], people(50)).await.iter().all(is_applied));
    world.maria().kill();
    world.maria().restart();
    assert!(connection.send("person", &["no", "name"], people(100)).await.iter().all(is_applied));
    assert_eq!(world.rows("SELECT count(*) FROM person").await, [["150"]]);
    // A replica takes no changes; whoever is a superuser may write all the same.
    world.run("CREATE USER hr@'127.0.0.1'; GRANT ALL ON app.* TO hr@'127.0.0.1'; SET GLOBAL read_only = 1").await;
    let url = world.maria().url_for("hr", "app");
    let failed = try_connect(&url, json!({})).unwrap().try_apply(&batch("person", &["no", "name"], people(300))).await;
    assert!(matches!(&failed, Err(Error::Unreachable { problem, .. }) if problem.contains("read-only")), "{failed:?}");
}

#[tokio::test]
async fn a_deadlock_is_resolved_by_trying_again() {
    let world = World::mariadb().await;
    world.run("INSERT INTO person (no, state) VALUES ('1', 0), ('2', 0)").await;
    let connection = world.connect();
    connection.0.schema().await.unwrap();
    let options: sqlx::mysql::MySqlConnectOptions = world.url().parse().unwrap();
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    // The other transaction has changed more, so it is not the one to give way.
    sqlx::raw_sql("CREATE TABLE heavy AS SELECT seq FROM seq_1_to_500; BEGIN; UPDATE heavy SET seq = 0")
        .execute(&mut other)
        .await
        .unwrap();
    sqlx::raw_sql("UPDATE person SET state = 5 WHERE no = '2'").execute(&mut other).await.unwrap();
    let name = |key: &str, name: &str| update(Key::text(key), vec![text(name), Slot::Unknown]);
    let state = |key: &str| update(Key::text(key), vec![Slot::Unknown, number(1)]);
    let (outcomes, ()) =
        tokio::join!(connection.send("person", &["name", "state"], vec![name("1", "a"), state("2")]), async {
            // The server renews what it says here only when nobody asked for 100 ms.
            for _ in 0..100 {
                tokio::time::sleep(std::time::Duration::from_millis(150)).await;
                let waiting = "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
                if world.rows(waiting).await == [["1"]] {
                    break;
                }
            }
            sqlx::raw_sql("UPDATE person SET state = 5 WHERE no = '1'; COMMIT").execute(&mut other).await.unwrap();
        });
    assert!(outcomes.iter().all(is_applied), "{outcomes:?}");
    assert_eq!(world.rows("SELECT name, state FROM person ORDER BY no").await, [["a", "5"], ["<null>", "1"]]);
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_to_grant() {
    let world = World::mariadb().await;
    world.run("CREATE USER hr@'127.0.0.1' IDENTIFIED BY 'right'; GRANT SELECT ON app.app_user TO hr@'127.0.0.1'").await;
    let given = |password: &str| {
        let types = json!({ "user": { "table": "app_user", "anchor": ["employee_no"] } });
        let url = world.maria().url_for("hr", "app");
        let secrets = [("password".to_owned(), muster_connector::settings::SecretString::from(password.to_owned()))];
        let settings = muster_connector::ConnectorSettings {
            connection: "hrapp".to_owned(),
            values: json!({ "url": url, "password": { "env": "X" }, "types": types }),
            secrets: secrets.into(),
            base_folder: std::env::temp_dir(),
        };
        use muster_connector::ConnectorKind as _;
        Connection(muster_connector_sql::SqlKind.connect(settings).unwrap())
    };
    assert!(try_connect(&world.maria().url_for("hr:right", "app"), json!({})).is_err(), "a password in the open");
    let found = findings(&given("wrong"), &[]).await;
    assert!(found[0].problem.contains("Access denied") && found[0].fix.contains("password"), "{found:?}");
    let used = vec![UsedType {
        object_type: "user".to_owned(),
        attributes: vec!["employee_no".to_owned(), "full_name".to_owned()],
        named: Vec::new(),
        as_source: false,
        as_target: true,
    }];
    let connection = given("right");
    let found = findings(&connection, &used).await;
    let fixes: Vec<&str> = found.iter().map(|finding| finding.fix.as_str()).collect();
    for right in ["CREATE TEMPORARY TABLES ON `app`.*", "INSERT ON `app`.`app_user`", "UPDATE ON", "DELETE ON"] {
        assert!(fixes.iter().any(|fix| fix.contains(right)), "{right}: {fixes:#?}");
    }
    assert_eq!(found.len(), 4, "{found:?}");
    world
        .run(
            "GRANT CREATE TEMPORARY TABLES ON app.* TO hr@'127.0.0.1'; GRANT DELETE, INSERT (employee_no, full_name), \
             UPDATE (employee_no, full_name) ON app.app_user TO hr@'127.0.0.1'",
        )
        .await;
    // The server looks rights on a whole database up when somebody connects.
    let connection = given("right");
    assert_eq!(findings(&connection, &used).await, []);
    let row = vec![create(vec![text("1"), text("n")])];
    assert!(is_applied(&connection.send("user", &["employee_no", "full_name"], row).await[0]));
}

#[tokio::test]
async fn a_table_that_cannot_undo_is_found() {
    let world = World::mariadb().await;
    world.run("CREATE TABLE loose (no int PRIMARY KEY, name varchar(9)) ENGINE = MyISAM").await;
    let used = |object_type: &str| {
        let attributes = vec!["no".to_owned(), "name".to_owned()];
        vec![UsedType {
            object_type: object_type.to_owned(),
            attributes,
            named: Vec::new(),
            as_source: false,
            as_target: true,
        }]
    };
    let found = findings(&world.connect(), &used("loose")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].problem.contains("MyISAM") && found[0].fix.contains("`app`.`loose` ENGINE = InnoDB"), "{found:?}");
    world.run("CREATE VIEW names AS SELECT no, name FROM person").await;
    let types = json!({ "types": { "names": { "table": "names", "anchor": ["no"] } } });
    let found = findings(&world.connect_with(types), &used("names")).await;
    assert!(found.iter().all(|finding| finding.setting.as_deref() == Some("types.names.anchor")), "{found:?}");
}

#[tokio::test]
async fn what_is_not_there_and_who_is_not_let_in() {
    let world = World::mariadb().await;
    let missing = try_connect(&world.maria().url_for("app", "nowhere"), json!({})).unwrap();
    let found = findings(&missing, &[]).await;
    assert!(found[0].problem.contains("nowhere"), "{found:?}");
    let unreachable = try_connect("mariadb://app@127.0.0.1:9/app", json!({})).unwrap();
    let found = findings(&unreachable, &[]).await;
    assert!(found[0].problem.contains("127.0.0.1:9") && found[0].problem.contains("refused"), "{found:?}");
    assert!(try_connect("mysql://h", json!({})).is_err_and(|error| error.to_string().contains("no database")));
    let identity = world.connect().0.schema().await.unwrap().identity;
    assert!(identity.starts_with("mysql:") && identity.ends_with("/app"), "{identity}");
    let other = World::mariadb().await;
    assert_ne!(other.connect().0.schema().await.unwrap().identity, identity);
    world.maria().restart();
    assert_eq!(world.connect().0.schema().await.unwrap().identity, identity);
}

#[tokio::test]
async fn the_servers_certificate_is_verified() {
    let server = MariaDb::with_tls();
    server.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let connect = |url: &str, settings| try_connect(url, settings).unwrap();
    let right = connect(&server.url(), json!({ "tls": "verify", "ca_file": server.ca_file() }));
    assert_eq!(findings(&right, &[]).await, []);
    assert!(right.0.schema().await.unwrap().object_type("t").is_some());
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pem");
    let _authority = Authority::new(&other, "somebody else");
    let found = findings(&connect(&server.url(), json!({ "tls": "verify", "ca_file": other })), &[]).await;
    assert!(found[0].problem.contains("UnknownIssuer") && found[0].fix.contains("ca_file"), "{found:?}");
    // This address leads to the same server, and its certificate does not name it.
    let elsewhere = server.url().replace("localhost", "0.0.0.0");
    let found = findings(&connect(&elsewhere, json!({ "tls": "verify", "ca_file": server.ca_file() })), &[]).await;
    assert!(found[0].problem.contains("not valid for name"), "{found:?}");
    let plain = findings(&connect(&server.url(), json!({ "tls": "off" })), &[]).await;
    assert!(plain[0].problem.contains("refused the connection"), "{plain:?}");
    let unencrypted = MariaDb::start();
    let found =
        findings(&connect(&unencrypted.url(), json!({ "tls": "verify", "ca_file": server.ca_file() })), &[]).await;
    assert!(found[0].problem.contains("TLS"), "{found:?}");
}
