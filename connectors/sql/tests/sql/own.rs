//! Statements of the administrator's own: stored procedures and parameterised SQL in place of Muster's.

use std::slice;

use muster_connector::{Error, ExposeSecret as _, Kind, Operation, Outcome, SecretValue, UsedType, ValueDelta};
use muster_model::{Key, Slot, Value};
use serde_json::{Value as Json, json};

use crate::on_each;
use crate::world::{
    Connection, World, batch, create, delete, id, is_applied, key_of, operation, rejection, rename, text, update,
};

/// A table that only statements of its own may change, as far as this goes without procedures.
const TABLES: &str = "
    CREATE TABLE account (id {identity}, login varchar(20) NOT NULL, mail varchar(40), born date, active integer NOT NULL DEFAULT 1,
        secret varchar(40));
    CREATE TABLE audit (what varchar(90) NOT NULL, who varchar(60));
    CREATE TABLE tag (account integer, word varchar(9));
    INSERT INTO account (login, mail, born) VALUES ('anna', 'a@x', '1980-02-03'), ('bo', NULL, NULL);";

fn statements(world: &World) -> Json {
    let text = world.each("CAST(:id AS text)", "CAST(:id AS CHAR)", "CAST(:id AS TEXT)");
    if world.is_sqlserver() {
        return json!({
            "create": "INSERT INTO account (login, mail, born, active) OUTPUT inserted.id VALUES (:login, :mail, :born, :active)",
            "password": "UPDATE account SET secret = :secret WHERE login = :login",
            "update": [
                "UPDATE account SET login = :login, mail = :mail, born = :born WHERE id = :id",
                "INSERT INTO audit (what, who) VALUES ('from ' + :old.login, CAST(:id AS nvarchar(20)))",
            ],
            "disable": "UPDATE account SET active = 0, mail = NULL WHERE id = :id",
            "delete": ["INSERT INTO audit (what, who) VALUES ('gone', :login)", "DELETE FROM account WHERE id = :id"],
        });
    }
    json!({
        "create": world.each(
            json!("INSERT INTO account (login, mail, born, active) VALUES (:login, :mail, :born, :active) RETURNING id"),
            json!("INSERT INTO account (login, mail, born, active) VALUES (:login, :mail, :born, :active) RETURNING id"),
            json!(["INSERT INTO account (login, mail, born, active) VALUES (:login, :mail, :born, :active) RETURNING id"]),
        ),
        "password": "UPDATE account SET secret = :secret WHERE login = :login",
        "update": [
            "UPDATE account SET login = :login, mail = :mail, born = :born WHERE id = :id",
            format!("INSERT INTO audit (what, who) VALUES ('from ' || :old.login, {text})"),
        ],
        "disable": "UPDATE account SET active = 0, mail = NULL WHERE id = :id",
        "delete": ["INSERT INTO audit (what, who) VALUES ('gone', :login)", "DELETE FROM account WHERE id = :id"],
    })
}

async fn accounts(world: &World) -> Connection {
    world.run(TABLES).await;
    let mut statements = statements(world);
    if !world.is_postgres()
        && statements["update"][1].as_str().unwrap().contains("||")
        && world.each(false, true, false)
    {
        statements["update"][1] =
            json!("INSERT INTO audit (what, who) VALUES (CONCAT('from ', :old.login), CAST(:id AS CHAR))");
    }
    world.connect_with(settings(&statements))
}

fn settings(statements: &Json) -> Json {
    json!({ "types": { "account": { "table": "account", "enabled": "active", "statements": statements, "multi": {
        "tags": { "table": "tag", "key": "account", "value": "word" } } } } })
}

const ATTRIBUTES: [&str; 4] = ["login", "mail", "active", "tags"];

fn active(active: bool) -> Slot {
    Slot::One(Value::Boolean(active))
}

async fn held(world: &World) -> Vec<Vec<String>> {
    let shown = world.each("'null'", "'null'", "'null'");
    let born = world.either("CAST(born AS text)", "CAST(born AS char(10))");
    world
        .rows(&format!(
            "SELECT login, coalesce(mail, {shown}), coalesce({born}, {shown}), active FROM account ORDER BY id"
        ))
        .await
}

async fn take_the_place_of_musters(world: World) {
    let connection = accounts(&world).await;
    let used = UsedType {
        object_type: "account".to_owned(),
        attributes: ATTRIBUTES.map(str::to_owned).to_vec(),
        named: Vec::new(),
        as_source: false,
        as_target: true,
    };
    let findings = connection.0.check(&[used]).await.unwrap().findings;
    assert!(
        findings.iter().all(|finding| !finding.setting.as_deref().unwrap_or_default().contains("statements")),
        "{findings:?}"
    );
    let sent = vec![
        create(vec![text("it's :cy"), text("c@x"), active(true)]),
        update(id(1), vec![Slot::Unknown, text("new@x")]),
        update(id(77), vec![text("nobody")]),
        operation(Kind::Update, Some(id(2)), vec![text("bob"), Slot::Unknown, active(false)]),
    ];
    let mut sent = batch("account", &ATTRIBUTES, sent);
    sent.operations[3].enabling = Some(false);
    let tags = ValueDelta { attribute: 3, add: vec![Value::text("t")], remove: vec![] };
    sent.operations[1].deltas = vec![tags];
    let planned = connection.0.target().unwrap().preview(&sent).await.unwrap();
    let planned: Vec<String> = planned.iter().map(|statement| statement.replace(" N'", " '")).collect();
    assert!(planned[0].contains("'it''s :cy'") && planned[0].contains("NULL"), "{planned:?}");
    assert!(planned[1].contains("mail = 'new@x'") && planned[1].contains(":old.login"), "{planned:?}");
    assert!(planned[3].contains("login = 'bob'") && planned[3].contains("active = 0"), "{planned:?}");
    let outcomes = connection.apply(&sent).await;
    assert_eq!(key_of(&outcomes[0]), id(3));
    assert!(is_applied(&outcomes[1]) && is_applied(&outcomes[3]), "{outcomes:?}");
    assert_eq!(outcomes[2], Outcome::Missing);
    // What the operation leaves alone reaches the statement as it is stored.
    let rows = held(&world).await;
    assert_eq!(
        rows,
        [["anna", "new@x", "1980-02-03", "1"], ["bob", "null", "null", "0"], ["it's :cy", "c@x", "null", "1"]]
    );
    assert_eq!(world.rows("SELECT account, word FROM tag").await, [["1", "t"]]);
    assert_eq!(world.rows("SELECT what, who FROM audit ORDER BY who").await, [["from anna", "1"], ["from bo", "2"]]);
    // Enabling has no statement of its own, so `update` has to do it, and here it does not.
    let mut enabled =
        batch("account", &ATTRIBUTES, vec![update(id(2), vec![Slot::Unknown, Slot::Unknown, active(true)])]);
    enabled.operations[0].enabling = Some(true);
    let outcomes = connection.apply(&enabled).await;
    assert_eq!(rejection(&outcomes[0]).1, "no_effect");
    assert!(connection.send("account", &ATTRIBUTES, vec![delete(id(1)), delete(id(1))]).await.iter().any(is_applied));
    assert_eq!(world.rows("SELECT what, who FROM audit WHERE what = 'gone'").await, [["gone", "anna"]]);
    assert_eq!(world.rows("SELECT count(*) FROM account").await, [["2"]]);
    // Whoever is known by a value that the row does not have is somebody else.
    let stranger = Operation { expected: Some((0, Value::text("other"))), ..delete(id(3)) };
    assert_eq!(connection.send("account", &ATTRIBUTES, vec![stranger]).await, [Outcome::OtherObject]);
}

async fn what_does_nothing_is_an_error(world: World) {
    world.run(TABLES).await;
    let idle = json!({
        "create": "INSERT INTO audit (what) VALUES (:login)",
        "update": "UPDATE account SET login = :login WHERE id = :id + 1000",
        "delete": "INSERT INTO audit (what) VALUES (:login)",
        "rename": "UPDATE account SET login = login WHERE id = :old.id",
    });
    let connection = world.connect_with(settings(&idle));
    let cases = [
        (create(vec![text("cy")]), "return it"),
        (update(id(1), vec![text("x")]), "changed no row"),
        (delete(id(1)), "still there"),
        (rename(id(1), id(50), vec![]), "not under the key"),
    ];
    for (one, told) in cases {
        let outcomes = connection.send("account", &ATTRIBUTES, vec![one]).await;
        let Outcome::Rejected { rule, message, .. } = &outcomes[0] else { panic!("{outcomes:?}") };
        assert!(rule == "no_effect" && message.contains(told), "{rule}: {message}");
    }
    // What such a statement did besides is undone, and its neighbours are not.
    assert_eq!(world.rows("SELECT count(*) FROM audit").await, [["0"]]);
    let some =
        json!({ "update": "UPDATE account SET mail = CASE WHEN login = 'bo' THEN mail ELSE :mail END WHERE id = :id" });
    let connection = world.connect_with(settings(&some));
    let sent = vec![update(id(1), vec![Slot::Unknown, text("z@x")]), update(id(2), vec![Slot::Unknown, text("z@x")])];
    let outcomes = connection.send("account", &ATTRIBUTES, sent).await;
    assert!(is_applied(&outcomes[0]));
    assert_eq!(rejection(&outcomes[1]).1, "no_effect");
    // The row is as it should be already.
    let outcomes = connection.send("account", &ATTRIBUTES, vec![update(id(2), vec![Slot::Unknown, Slot::Null])]).await;
    assert!(is_applied(&outcomes[0]), "{outcomes:?}");
    assert_eq!(held(&world).await[1][1], "null");
}

async fn secrets_go_to_their_own(world: World) {
    let connection = accounts(&world).await;
    let secret = SecretValue("p'; DROP TABLE tag; --".to_owned().into());
    let attributes = ["login", "active", "secret"];
    let made = Operation { secrets: vec![(2, secret.clone())], ..create(vec![text("dora"), active(true)]) };
    let sent = batch("account", &attributes, vec![made]);
    assert!(is_applied(&connection.apply(&sent).await[0]));
    let rows = world.rows("SELECT secret FROM account WHERE login = 'dora'").await;
    assert_eq!(rows, [[secret.0.expose_secret()]]);
    assert_eq!(world.rows("SELECT count(*) FROM tag").await, [["0"]]);
    let without = connection.send("account", &attributes, vec![create(vec![text("eve"), active(true)])]).await;
    assert!(is_applied(&without[0]), "{without:?}");
}

async fn slips_are_told(world: World) {
    world.run(TABLES).await;
    let cases = [
        (json!({ "update": "CALL f(:logn)" }), "update", ":login"),
        (json!({ "create": "CALL f(:old.login)" }), "create", "write :login"),
        (json!({ "delete": " " }), "delete", "remove it"),
        (json!({ "delete": [] }), "delete", "remove it"),
        (json!({ "password": "CALL f(:secret)" }), "password", "add `create`"),
    ];
    for (statements, at, hint) in cases {
        let connection = world.connect_with(settings(&statements));
        let Err(Error::Configuration { setting, fix, .. }) = connection.0.schema().await else {
            panic!("{statements}")
        };
        assert_eq!(setting, Some(format!("types.account.statements.{at}")));
        assert!(fix.contains(hint), "{fix}");
    }
    let connection = world.connect_with(settings(&json!({ "update": "UPDATE acount SET login = :login" })));
    let used = UsedType {
        object_type: "account".to_owned(),
        attributes: vec!["login".to_owned()],
        named: Vec::new(),
        as_source: false,
        as_target: true,
    };
    let findings = connection.0.check(slice::from_ref(&used)).await.unwrap().findings;
    let at = "types.account.statements.update";
    let finding = findings.iter().find(|finding| finding.setting.as_deref() == Some(at));
    let wrong = connection.try_apply(&batch("account", &ATTRIBUTES, vec![update(id(1), vec![text("x")])])).await;
    if world.numbers_errors("a statement that names no table is told from one that is refused").await {
        let Err(Error::Configuration { setting, .. }) = &wrong else { panic!("{wrong:?}") };
        assert_eq!(setting.as_deref(), Some(at));
        assert!(finding.is_some_and(|finding| finding.problem.contains("acount")), "{findings:?}");
    }
}

on_each!(take_the_place_of_musters, what_does_nothing_is_an_error, secrets_go_to_their_own, slips_are_told);

/// Stored procedures, and functions that return the key.
#[tokio::test]
async fn procedures_of_postgresql() {
    let world = World::postgres().await;
    world
        .run(
            "CREATE TABLE staff (no integer PRIMARY KEY, name text, level numeric(4,2), seen timestamptz, raw bytea); \
             CREATE SEQUENCE staff_no START 500; \
             CREATE FUNCTION hire(name text, level numeric) RETURNS integer LANGUAGE plpgsql AS $$ \
                DECLARE made integer; BEGIN IF name = 'no' THEN RAISE EXCEPTION 'not this one'; END IF; \
                INSERT INTO staff VALUES (nextval('staff_no'), name, level, now(), '\\x00ff') RETURNING no INTO made; RETURN made; END $$; \
             CREATE PROCEDURE change(number integer, to_name text, to_level numeric, seen timestamptz, raw bytea) LANGUAGE plpgsql AS $$ \
                BEGIN UPDATE staff AS s SET name = to_name, level = to_level, seen = change.seen, raw = change.raw WHERE s.no = number; END $$; \
             ALTER TABLE staff ALTER no SET DEFAULT 0",
        )
        .await;
    let connection = world.connect_with(json!({ "types": { "staff": { "table": "staff", "statements": {
        "create": "SELECT hire(:name, :level)", "update": "CALL change(:no, :name, :level, :seen, :raw)" } } } }));
    let level = |level: &str| Slot::One(Value::Decimal(muster_model::Decimal::parse(level).unwrap()));
    let sent = vec![
        create(vec![text("A"), level("1.25")]),
        create(vec![text("no"), level("2")]),
        create(vec![text("B"), Slot::Null]),
    ];
    let outcomes = connection.send("staff", &["name", "level"], sent).await;
    assert_eq!(key_of(&outcomes[0]), id(500));
    let Outcome::Rejected { message, .. } = &outcomes[1] else { panic!("{outcomes:?}") };
    assert!(message.contains("not this one"), "{message}");
    let before = world.rows("SELECT seen, raw FROM staff WHERE no = 500").await;
    let outcomes = connection
        .send("staff", &["name", "level"], vec![update(Key(vec![Value::Integer(500)]), vec![text("A2")])])
        .await;
    assert!(is_applied(&outcomes[0]), "{outcomes:?}");
    assert_eq!(
        world.rows("SELECT name, level FROM staff ORDER BY no").await,
        [["A2", "1.25"], ["B", muster_testkit::NULL]]
    );
    assert_eq!(world.rows("SELECT seen, raw FROM staff WHERE no = 500").await, before);
}

#[tokio::test]
async fn procedures_of_mariadb() {
    let world = World::mariadb().await;
    world
        .run(
            "CREATE TABLE staff (no integer PRIMARY KEY AUTO_INCREMENT, name varchar(20) NOT NULL, seen datetime(6), raw varbinary(9)); \
             CREATE PROCEDURE hire(IN name varchar(20), IN seen datetime(6)) BEGIN \
                INSERT INTO staff (name, seen, raw) VALUES (name, seen, x'00ff'); SELECT LAST_INSERT_ID() AS no; END; \
             CREATE PROCEDURE rename_staff(IN number integer, IN to_name varchar(20), IN seen datetime(6), IN raw varbinary(9)) \
                UPDATE staff AS s SET s.name = to_name, s.seen = seen, s.raw = raw WHERE s.no = number;",
        )
        .await;
    let connection = world.connect_with(json!({ "types": { "staff": { "table": "staff", "statements": {
        "create": "CALL hire(:name, :seen)", "update": "CALL rename_staff(:no, :name, :seen, :raw)" } } } }));
    let moment = Slot::One(Value::Instant("2026-03-01T08:00:00.123456Z".parse().unwrap()));
    let outcomes = connection
        .send("staff", &["name", "seen"], vec![create(vec![text("A"), moment]), create(vec![text("B")])])
        .await;
    assert_eq!((key_of(&outcomes[0]), key_of(&outcomes[1])), (id(1), id(2)));
    assert!(is_applied(&connection.send("staff", &["name"], vec![update(id(1), vec![text("A2")])]).await[0]));
    let rows = world.rows("SELECT name, CAST(seen AS char), HEX(raw) FROM staff ORDER BY no").await;
    assert_eq!(rows[0], ["A2", "2026-03-01 08:00:00.123456", "00FF"]);
    assert_eq!(rows[1][0], "B");
}

/// Thousands of operations leave no savepoint within another, which would make each slower than the one before.
#[tokio::test]
async fn many_operations_stay_side_by_side() {
    let world = World::postgres().await;
    world.run("CREATE TABLE flat (no integer PRIMARY KEY, depth bigint)").await;
    // Every open savepoint is a transaction of its own, and the server numbers those that wrote.
    let connection = world.connect_with(json!({ "types": { "flat": { "table": "flat", "statements": {
        "create": "INSERT INTO flat (no, depth) SELECT :no, count(*) FROM pg_locks \
                   WHERE locktype = 'transactionid' AND pid = pg_backend_pid()" } } } }));
    let made = (0..50).map(|number| operation(Kind::Create, Some(id(number)), Vec::new())).collect();
    assert!(connection.send("flat", &[], made).await.iter().all(is_applied));
    let deepest: u64 = world.rows("SELECT max(depth) FROM flat").await[0][0].parse().unwrap();
    assert!(deepest < 10, "{deepest}");
}
