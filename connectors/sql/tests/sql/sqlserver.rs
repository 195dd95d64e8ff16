//! What only SQL Server does.

use muster_connector::{Error, Finding, UsedType};
use muster_model::{AssignedBy, CaseRule, Decimal, Key, Slot, Value, ValueType};
use muster_testkit::{Fault, Proxy};
use serde_json::json;

use crate::sqlserver_kit::VARIABLE;
use crate::world::{
    Connection, World, batch, create, delete, id, is_applied, key_of, number, rejection, text, try_connect, update,
    with_password,
};

/// The scenarios are set aside for a run without a server; with one, they all run here.
#[test]
fn scenarios_run_where_a_server_is_named() {
    if std::env::var_os(VARIABLE).is_none() {
        eprintln!("SQL SERVER IS NOT COVERED: {VARIABLE} names no server, so its scenarios are skipped");
        return;
    }
    let own = std::env::current_exe().unwrap();
    let ran =
        std::process::Command::new(own).args(["--ignored", "sqlserver::", "--test-threads", "1"]).status().unwrap();
    assert!(ran.success(), "scenarios failed on SQL Server: see above");
}

async fn findings(connection: &Connection, used: &[UsedType]) -> Vec<Finding> {
    connection.0.check(used).await.unwrap().findings
}

fn decimal(text: &str) -> Slot {
    Slot::One(Value::Decimal(Decimal::parse(text).unwrap()))
}

fn instant(text: &str) -> Slot {
    Slot::One(Value::Instant(chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc()))
}

#[tokio::test]
#[ignore = "SQL Server is not covered unless MUSTER_TEST_SQLSERVER_URL names one"]
async fn types_and_what_they_mean() {
    let world = World::sqlserver().await;
    world
        .run(
            "CREATE TABLE special (id int IDENTITY PRIMARY KEY, flag bit, tiny tinyint, small smallint, price money, \
             ratio float, part real, fixed nchar(6), code VARCHAR(8) COLLATE Latin1_General_BIN2, \
             ci nvarchar(20) COLLATE Latin1_General_CI_AS UNIQUE, made datetime, at datetimeoffset, clock time, \
             raw varbinary(4), version rowversion, twice AS (tiny * 2), state nvarchar(9) NOT NULL DEFAULT N'new')",
        )
        .await;
    let connection = world.connect();
    let schema = connection.0.schema().await.unwrap();
    let special = schema.object_type("special").unwrap();
    assert_eq!(special.anchor.assigned_by, AssignedBy::System);
    let attribute = |name: &str| special.attribute(name).unwrap();
    let unsupported = special.attributes.iter().filter(|one| one.unsupported.is_some()).map(|one| one.name.as_str());
    assert_eq!(unsupported.collect::<Vec<_>>(), ["clock"]);
    let types = ["flag", "tiny", "price", "ratio", "fixed", "made", "at", "raw", "version"];
    let types = types.map(|name| attribute(name).value_type);
    let expected = [
        ValueType::Boolean,
        ValueType::Integer,
        ValueType::Decimal,
        ValueType::Decimal,
        ValueType::Text,
        ValueType::Instant,
        ValueType::Instant,
        ValueType::Binary,
        ValueType::Binary,
    ];
    assert_eq!(types, expected);
    assert_eq!((attribute("ci").case, attribute("code").case), (CaseRule::Insensitive, CaseRule::Sensitive));
    assert_eq!((attribute("code").max_length, attribute("ci").max_length), (Some(8), Some(20)));
    for generated in ["id", "twice", "version"] {
        assert!(!attribute(generated).creatable && !attribute(generated).required, "{generated}");
    }
    assert!(attribute("ci").unique && !attribute("state").required);
    let attributes = ["flag", "tiny", "small", "price", "ratio", "part", "fixed", "code", "ci", "made", "at", "raw"];
    let row = vec![
        Slot::One(Value::Boolean(true)),
        number(255),
        number(-32_768),
        decimal("-922337203685477.5808"),
        decimal("0.1"),
        decimal("0.1"),
        text("Å b"),
        text("plain"),
        text("Eva"),
        instant("2026-03-01T08:00:00.120Z"),
        instant("2026-03-29T01:59:59.999999Z"),
        Slot::One(Value::Binary([0, 255].into())),
    ];
    let outcomes = connection.send("special", &attributes, vec![create(row.clone())]).await;
    let key = key_of(&outcomes[0]);
    assert_eq!(connection.get("special", &attributes, std::slice::from_ref(&key)).await[0].as_ref().unwrap().0, row);
    // What does not fit names its column, without a word from the server.
    let cases = [
        (1, number(256), "out_of_range"),
        (1, text("many"), "refused"),
        (6, text("seven77"), "too_long"),
        (7, text("nine99999"), "too_long"),
        (11, Slot::One(Value::Binary([1, 2, 3, 4, 5].into())), "too_long"),
    ];
    for (position, slot, rule) in cases {
        let mut row = vec![Slot::Unknown; attributes.len()];
        row[position] = slot.clone();
        let outcomes = connection.send("special", &attributes, vec![update(key.clone(), row)]).await;
        assert_eq!(rejection(&outcomes[0]), (Some(attributes[position]), rule), "{slot:?}");
    }
    let found =
        connection.find("special", &[], &["ci"], vec![vec![Value::text("EVA")], vec![Value::text("Eve")]]).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
}

#[tokio::test]
#[ignore = "SQL Server is not covered unless MUSTER_TEST_SQLSERVER_URL names one"]
async fn keys_that_the_database_makes_are_told() {
    let world = World::sqlserver().await;
    world.run("CREATE TABLE device (id uniqueidentifier PRIMARY KEY DEFAULT NEWID(), name nvarchar(20))").await;
    world.run("CREATE TABLE log (id int IDENTITY(500, 1) PRIMARY KEY, what nvarchar(60))").await;
    for table in ["device", "visit"] {
        let name = if table == "device" { "name" } else { "who" };
        // One that counts rows and makes keys of its own.
        world.run(&format!("CREATE TRIGGER logged_{table} ON {table} AFTER INSERT AS INSERT INTO log (what) SELECT {name} FROM inserted")).await;
        let connection = world.connect();
        let made = (0..3).map(|_| create(vec![text("the same")])).collect();
        let outcomes = connection.send(table, &[name], made).await;
        let mut told: Vec<String> = outcomes.iter().map(|outcome| key_of(outcome).to_string()).collect();
        told.sort();
        let mut stored = world.rows(&format!("SELECT id FROM {table}")).await.concat();
        stored.sort();
        assert_eq!(told, stored);
        let key = key_of(&outcomes[0]);
        let missing = match &key.0[0] {
            Value::Uuid(_) => Key::one(Value::Uuid(uuid::Uuid::nil())),
            _ => id(-1),
        };
        let outcomes = connection.send(table, &[], vec![delete(key), delete(missing)]).await;
        assert!(is_applied(&outcomes[0]) && !is_applied(&outcomes[1]), "{outcomes:?}");
    }
    assert_eq!(world.rows("SELECT count(*) FROM log").await, [["6"]]);
}

#[tokio::test]
#[ignore = "SQL Server is not covered unless MUSTER_TEST_SQLSERVER_URL names one"]
async fn a_letter_that_a_code_page_lacks_is_not_replaced() {
    let world = World::sqlserver().await;
    world.run("CREATE TABLE latin (id int PRIMARY KEY, name VARCHAR(20) COLLATE Latin1_General_CI_AS)").await;
    let connection = world.connect();
    let outcomes = connection.send("latin", &["id", "name"], vec![create(vec![number(1), text("Åsa")])]).await;
    assert!(is_applied(&outcomes[0]), "{outcomes:?}");
    let outcomes = connection.send("latin", &["id", "name"], vec![create(vec![number(2), text("漢字")])]).await;
    // A server whose code page is UTF-8 has all of them.
    if is_applied(&outcomes[0]) {
        assert_eq!(connection.get("latin", &["name"], &[id(2)]).await[0].as_ref().unwrap().0, [text("漢字")]);
    } else {
        assert_eq!(rejection(&outcomes[0]), (Some("name"), "refused"));
        assert_eq!(connection.find("latin", &[], &["name"], vec![vec![Value::text("漢字")]]).await, [vec![]]);
    }
}

#[tokio::test]
#[ignore = "SQL Server is not covered unless MUSTER_TEST_SQLSERVER_URL names one"]
async fn whether_a_cut_batch_took_effect_is_told_truly() {
    let world = World::sqlserver().await;
    let proxy = Proxy::start(world.mssql().port());
    let mut url = url::Url::parse(&world.url()).unwrap();
    url.set_port(Some(proxy.port())).unwrap();
    let connection = with_password(url.as_str(), &world.mssql().password(), json!({}));
    connection.0.schema().await.unwrap();
    let people = |first: usize| (first..first + 50).map(|no| create(vec![text(&no.to_string()), text("n")])).collect();
    let sent = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    for cut in ["CREATE TABLE #muster", "INSERT BULK", "INSERT INTO [dbo]", "COMMIT TRANSACTION"] {
        proxy.set(Fault::CutBefore(sent(cut)));
        let failed = connection.try_apply(&batch("person", &["no", "name"], people(0))).await;
        // Once COMMIT was to be sent, nobody here can know that it did not arrive.
        let expected = cut != "COMMIT TRANSACTION";
        assert!(
            matches!(failed, Err(Error::Unreachable { nothing_sent, .. }) if nothing_sent == expected),
            "{cut}: {failed:?}"
        );
        assert_eq!(world.rows("SELECT count(*) FROM person").await, [["0"]], "{cut}");
    }
    proxy.set(Fault::CutAfter(sent("COMMIT TRANSACTION")));
    let failed = connection.try_apply(&batch("person", &["no", "name"], people(0))).await;
    assert!(matches!(failed, Err(Error::Unreachable { nothing_sent: false, .. })), "{failed:?}");
    for _ in 0..500 {
        if world.rows("SELECT count(*) FROM person").await == [["50"]] {
            break;
        }
    }
    proxy.heal();
    let found = connection.get("person", &["name"], &[Key::text("0"), Key::text("50")]).await;
    assert_eq!(found, [Some(muster_model::Row(vec![text("n")])), None]);
    assert!(connection.send("person", &["no", "name"], people(50)).await.iter().all(is_applied));
    // An idle connection that died is not noticed by whoever uses it next.
    proxy.set(Fault::CutBefore(sent("BEGIN TRANSACTION")));
    assert!(connection.send("person", &["no", "name"], people(100)).await.iter().all(is_applied));
    assert_eq!(world.rows("SELECT count(*) FROM person").await, [["150"]]);
}

#[tokio::test]
#[ignore = "SQL Server is not covered unless MUSTER_TEST_SQLSERVER_URL names one"]
async fn a_call_that_is_given_up_leaves_nothing_behind() {
    let world = World::sqlserver().await;
    let connection = world.connect();
    connection.0.schema().await.unwrap();
    let mut other = world.mssql().other().await;
    other.run("BEGIN TRANSACTION; INSERT INTO person (no, name) VALUES ('1', 'theirs')").await;
    let sent =
        batch("person", &["no", "name"], vec![create(vec![text("0"), text("n")]), create(vec![text("1"), text("n")])]);
    // It waits for the other one's lock, and is not waited for.
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(700), connection.try_apply(&sent)).await;
    assert!(given_up.is_err(), "{given_up:?}");
    other.run("COMMIT TRANSACTION").await;
    let outcomes = connection.send("person", &["no", "name"], vec![create(vec![text("2"), text("n")])]).await;
    assert!(is_applied(&outcomes[0]), "{outcomes:?}");
    assert_eq!(world.rows("SELECT no FROM person ORDER BY no").await, [["1"], ["2"]]);
}

#[tokio::test]
#[ignore = "SQL Server is not covered unless MUSTER_TEST_SQLSERVER_URL names one"]
async fn who_may_not_is_told_what_to_grant() {
    let world = World::sqlserver().await;
    let login = format!("hr_{}", uuid::Uuid::new_v4().simple());
    world.run(&format!("CREATE LOGIN {login} WITH PASSWORD = 'Right-Secret1'")).await;
    world.run(&format!("CREATE USER {login} FOR LOGIN {login}")).await;
    let url = {
        let mut url = url::Url::parse(&world.url()).unwrap();
        url.set_username(&login).unwrap();
        url.to_string()
    };
    let found = findings(&with_password(&url, "wrong", json!({})), &[]).await;
    assert!(found[0].problem.contains("refused the connection") && found[0].fix.contains("password"), "{found:?}");
    let used = UsedType {
        object_type: "app_user".to_owned(),
        attributes: ["employee_no", "full_name"].map(str::to_owned).to_vec(),
        as_source: false,
        as_target: true,
        named: Default::default(),
    };
    world.run(&format!("GRANT SELECT ON app_user TO {login}")).await;
    let connection = with_password(&url, "Right-Secret1", json!({}));
    let row = || vec![create(vec![text("1"), text("n")])];
    let refused = connection.try_apply(&batch("app_user", &["employee_no", "full_name"], row())).await;
    assert!(!matches!(&refused, Ok(outcomes) if outcomes.iter().any(is_applied)), "{refused:?}");
    let found = findings(&connection, std::slice::from_ref(&used)).await;
    assert!(found.len() > 2, "{found:?}");
    if world.numbers_errors("a right that is missing is told from a row that is refused").await {
        assert!(matches!(&refused, Err(Error::Credentials { fix, .. }) if fix.contains("INSERT")), "{refused:?}");
        let fixes: Vec<&str> = found.iter().map(|finding| finding.fix.as_str()).collect();
        for right in ["INSERT ON [dbo].[app_user]", "UPDATE ON", "DELETE ON"] {
            assert!(fixes.iter().any(|fix| fix.contains(right)), "{right}: {fixes:#?}");
        }
    }
    world.run(&format!("GRANT INSERT, UPDATE, DELETE ON app_user TO {login}")).await;
    assert_eq!(findings(&connection, &[used]).await, []);
    assert!(connection.send("app_user", &["employee_no", "full_name"], row()).await.iter().all(is_applied));
    drop(connection);
    // A server may keep who still has rights.
    world.run(&format!("REVOKE SELECT, INSERT, UPDATE, DELETE ON app_user FROM {login}")).await;
    world.run(&format!("DROP USER {login}")).await;
    world.run(&format!("DROP LOGIN {login}")).await;
}

#[tokio::test]
#[ignore = "SQL Server is not covered unless MUSTER_TEST_SQLSERVER_URL names one"]
async fn what_is_not_there() {
    let world = World::sqlserver().await;
    let mut url = url::Url::parse(&world.url()).unwrap();
    url.set_path("nowhere");
    let missing = with_password(url.as_str(), &world.mssql().password(), json!({}));
    let found = findings(&missing, &[]).await;
    assert!(found[0].problem.contains("nowhere"), "{found:?}");
}

/// `MUSTER_TEST_SQLSERVER_CA` is the file of the authority behind the server's certificate, which names `localhost`.
#[tokio::test]
#[ignore = "SQL Server is not covered unless MUSTER_TEST_SQLSERVER_URL names one"]
async fn the_servers_certificate_is_verified() {
    let world = World::sqlserver().await;
    let mut url = url::Url::parse(&world.url()).unwrap();
    let connect = |url: &url::Url, settings| with_password(url.as_str(), &world.mssql().password(), settings);
    let found = findings(&connect(&url, json!({ "tls": "verify" })), &[]).await;
    assert!(found[0].problem.contains("no encrypted connection"), "{found:?}");
    let Some(ca_file) = std::env::var_os("MUSTER_TEST_SQLSERVER_CA") else {
        eprintln!("A SQL SERVER WITH A CERTIFICATE IS NOT COVERED: MUSTER_TEST_SQLSERVER_CA names no file");
        return;
    };
    let settings = json!({ "tls": "verify", "ca_file": ca_file.to_str().unwrap() });
    url.set_host(Some("localhost")).unwrap();
    assert_eq!(findings(&connect(&url, settings.clone()), &[]).await, []);
    let found = findings(&connect(&url, json!({ "tls": "verify" })), &[]).await;
    assert!(found[0].problem.contains("UnknownIssuer") && found[0].fix.contains("ca_file"), "{found:?}");
    assert!(!found[0].problem.contains("trust_cert"), "{found:?}");
    // This address leads to the same server, and its certificate does not name it.
    url.set_host(Some("127.0.0.1")).unwrap();
    let found = findings(&connect(&url, settings), &[]).await;
    assert!(found[0].problem.contains("not valid for name"), "{found:?}");
}

#[tokio::test]
async fn nobody_answers() {
    let unreachable = try_connect("sqlserver://sync@127.0.0.1:9/hr", json!({})).unwrap();
    let found = findings(&unreachable, &[]).await;
    assert!(found[0].problem.contains("127.0.0.1:9"), "{found:?}");
    for url in ["sqlserver://sync:secret@127.0.0.1/hr", "sqlserver://sync@127.0.0.1", "sqlserver://127.0.0.1/hr"] {
        let Err(Error::Configuration { setting, .. }) = try_connect(url, json!({})) else { panic!("{url}") };
        assert_eq!(setting.as_deref(), Some("url"));
    }
}
