//! Columns that say in words of their own whether a row is enabled.

use muster_model::{Key, Slot, Value, ValueType};
use serde_json::{Value as Json, json};

use crate::on_each;
use crate::world::{Connection, World, batch, is_applied, operation, text, update};

fn truth(truth: bool) -> Slot {
    Slot::One(Value::Boolean(truth))
}

fn user(enabled: &str, values: Option<Json>) -> Json {
    let mut user = json!({ "table": "account", "enabled": enabled });
    if let Some(values) = values {
        user["enabled_values"] = values;
    }
    json!({ "types": { "user": user } })
}

async fn table(world: &World) {
    world
        .run(
            "CREATE TABLE account (login varchar(20) PRIMARY KEY, status varchar(10), locked boolean, rank_no integer, \
             left_on date, gone_at {instant} NULL, born date NOT NULL DEFAULT '2000-01-01')",
        )
        .await;
}

/// What the rows say, by login.
async fn said(connection: &Connection, column: &str, logins: &[&str]) -> Vec<Slot> {
    let keys: Vec<Key> = logins.iter().map(|login| Key::text(login)).collect();
    let rows = connection.get("user", &["login", column], &keys).await;
    rows.into_iter().map(|row| row.unwrap().slot(1).clone()).collect()
}

/// One person is created, disabled and enabled again; returns what the column held each time.
async fn life(world: &World, connection: &Connection, column: &str) -> Vec<String> {
    let mut held = Vec::new();
    let row = |enabled| vec![text("anna"), truth(enabled)];
    let create = operation(muster_connector::Kind::Create, Some(Key::text("anna")), row(true));
    let steps = [
        create,
        update(Key::text("anna"), vec![Slot::Unknown, truth(false)]),
        update(Key::text("anna"), vec![Slot::Unknown, truth(true)]),
    ];
    for (step, enabled) in steps.into_iter().zip([true, false, true]) {
        let sent = batch("user", &["login", column], vec![step]);
        let planned = connection.0.target().unwrap().preview(&sent).await.unwrap();
        assert!(connection.apply(&sent).await.iter().all(is_applied));
        assert_eq!(said(connection, column, &["anna"]).await, [truth(enabled)]);
        let query = format!("SELECT coalesce(cast({column} AS char(30)), 'null') FROM account WHERE login = 'anna'");
        let now = world.rows(&query).await[0][0].trim().to_owned();
        assert!(planned.len() == 1 && !planned[0].is_empty(), "{planned:?}");
        held.push(now);
    }
    held
}

async fn words_of_a_text(world: World) {
    table(&world).await;
    world.run("INSERT INTO account (login, status) VALUES ('bo', 'invited'), ('cy', 'gone'), ('di', 'odd'), ('eve', NULL)").await;
    let words = json!({ "on": ["active", "invited"], "off": ["locked", "gone"] });
    let connection = world.connect_with(user("status", Some(words)));
    let schema = connection.0.schema().await.unwrap();
    let object_type = schema.object_type("user").unwrap();
    assert_eq!(object_type.attribute("status").unwrap().value_type, ValueType::Boolean);
    assert_eq!(object_type.enabling.as_ref().unwrap().attribute, "status");
    assert_eq!(life(&world, &connection, "status").await, ["active", "locked", "active"]);
    // Any of the words counts; what is neither is not known, so that the right one is written.
    let found = said(&connection, "status", &["bo", "cy", "di", "eve"]).await;
    assert_eq!(found, [truth(true), truth(false), Slot::Unknown, Slot::Unknown]);
}

async fn the_other_way_round_and_numbers(world: World) {
    table(&world).await;
    let inverted = world.connect_with(user("locked", Some(json!({ "on": [false], "off": [true] }))));
    let held = life(&world, &inverted, "locked").await;
    assert_eq!(held, world.each(["false", "true", "false"], ["0", "1", "0"], ["0", "1", "0"]));
    world.run("DELETE FROM account").await;
    let numbers = world.connect_with(user("rank_no", Some(json!({ "on": [2, 3], "off": [-1] }))));
    assert_eq!(life(&world, &numbers, "rank_no").await, ["2", "-1", "2"]);
}

async fn since_when(world: World) {
    table(&world).await;
    for column in ["left_on", "gone_at"] {
        world.run("DELETE FROM account").await;
        let connection = world.connect_with(user(column, None));
        let held = life(&world, &connection, column).await;
        assert_eq!((held[0].as_str(), held[2].as_str()), ("null", "null"));
        let year = held[1].split_once('-').unwrap().0;
        assert!(year.parse::<u32>().unwrap() >= 2026, "{column} {held:?}");
    }
}

async fn what_says_nothing_is_refused(world: World) {
    table(&world).await;
    let cases = [
        (user("status", None), "enabled_values = { on ="),
        (user("born", None), "may be null"),
        (user("gone_at", Some(json!({ "on": ["a"], "off": ["b"] }))), "remove enabled_values"),
        (user("status", Some(json!({ "on": [1], "off": ["b"] }))), "1 is no text"),
        (user("locked", Some(json!({ "on": ["no"], "off": [true] }))), "\"no\" is no boolean"),
        (user("status", Some(json!({ "on": ["a", "b"], "off": ["b"] }))), "both enabled and disabled"),
        (user("status", Some(json!({ "on": [], "off": ["b"] }))), "a value is missing"),
        (
            json!({ "types": { "user": { "table": "account", "enabled_values": { "on": ["a"], "off": ["b"] } } } }),
            "COLUMN",
        ),
    ];
    for (settings, told) in cases {
        let error = world.connect_with(settings.clone()).0.schema().await.unwrap_err();
        let muster_connector::Error::Configuration { problem, fix, .. } = &error else { panic!("{error:?}") };
        assert!(format!("{problem}; {fix}").contains(told), "{settings}: {problem}; {fix}");
    }
}

on_each!(words_of_a_text, the_other_way_round_and_numbers, since_when, what_says_nothing_is_refused);
