//! Values of every kind survive the way in and the way out, whatever is in them.

use chrono::{DateTime, NaiveDate, Utc};
use muster_model::{Decimal, Key, Slot, Value, ValueType};
use uuid::Uuid;

use crate::on_each;
use crate::world::{World, create, id, is_applied, number, text, update};

/// Texts that something on the way might take for more than texts.
fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "  both ends  ",
        "\t\n\r\u{b}\u{c}",
        "\\N",
        "\\.",
        "\\",
        "\\\\x41",
        "a\\tb",
        "it's \"quoted\" `and` [so] on",
        "'); DROP TABLE app_user; --",
        "\"; DROP TABLE app_user; --",
        "$1 ?1 :name @p %s {0} ${x}",
        "NULL",
        "null",
        "\u{1F9D1}\u{200D}\u{1F52C} Åsa Ωμέγα 漢字 שלום",
        "e\u{301} and \u{e9}",
        "\u{1}\u{7f}\u{feff}\u{fffd}\u{10ffff}",
        "--comment /* */ #",
        "<script>&amp;",
        "1e5",
        "007",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("ß".repeat(512 * 1024));
    texts
}

async fn texts(world: World) {
    let connection = world.connect();
    let operations = hostile().iter().map(|name| create(vec![text(name)])).chain([create(vec![Slot::Null])]).collect();
    let outcomes = connection.send("visit", &["who"], operations).await;
    let keys: Vec<Key> = outcomes.iter().map(crate::world::key_of).collect();
    let read = connection.get("visit", &["who"], &keys).await;
    let read: Vec<Slot> = read.into_iter().map(|row| row.unwrap().0.remove(0)).collect();
    assert_eq!(read, hostile().iter().map(|name| text(name)).chain([Slot::Null]).collect::<Vec<_>>());
    if world.is_sqlserver() {
        assert_eq!(world.rows("SELECT who FROM visit WHERE who IS NOT NULL ORDER BY id").await.concat(), hostile());
    } else {
        let length = world.each("octet_length(who)", "octet_length(who)", "length(CAST(who AS blob))");
        let stored =
            world.rows(&format!("SELECT {length} FROM visit WHERE who IS NOT NULL ORDER BY id")).await.concat();
        assert_eq!(stored, hostile().iter().map(|name| name.len().to_string()).collect::<Vec<_>>());
    }
    // To SQL Server a text of blanks is as good as none.
    let empty = world.sqlserver_or("2", "1");
    assert_eq!(world.rows("SELECT count(*) FROM visit WHERE who = ''").await, [[empty]]);
    for name in hostile() {
        let found = connection.find("visit", &[], &["who"], vec![vec![Value::text(&name)]]).await;
        let alike = hostile()
            .iter()
            .filter(|other| {
                world.sqlserver_or(other.trim_end_matches(' ') == name.trim_end_matches(' '), **other == name)
            })
            .count();
        assert_eq!(found[0].len(), alike, "{name:?}");
    }
    let changes =
        keys.iter().zip(hostile().into_iter().rev()).map(|(key, name)| update(key.clone(), vec![text(&name)]));
    assert!(connection.send("visit", &["who"], changes.collect()).await.iter().all(is_applied));
    assert_eq!(world.rows("SELECT count(*) FROM app_user").await, [["0"]]);
}

async fn hostile_keys(world: World) {
    let connection = world.connect();
    let keys: Vec<String> = hostile().into_iter().filter(|key| key.chars().count() <= 12).collect();
    let keys: Vec<String> = keys.into_iter().filter(|key| world.sqlserver_or(key != " ", true)).collect();
    let operations = keys.iter().map(|key| create(vec![text(key), text("n")])).collect();
    assert!(connection.send("person", &["no", "name"], operations).await.iter().all(is_applied));
    let changes = keys.iter().map(|key| update(Key::text(key), vec![text(key)])).collect();
    assert!(connection.send("person", &["name"], changes).await.iter().all(is_applied));
    assert_eq!(world.rows("SELECT count(*) FROM person WHERE name <> no").await, [["0"]]);
    let deletes = keys.iter().map(|key| crate::world::delete(Key::text(key))).collect();
    assert!(connection.send("person", &[], deletes).await.iter().all(is_applied));
    assert_eq!(world.rows("SELECT count(*) FROM person").await, [["0"]]);
}

fn instant(text: &str) -> Value {
    Value::Instant(DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc))
}

async fn every_type(world: World) {
    world
        .run(&format!(
            "CREATE TABLE everything (id integer PRIMARY KEY, whole bigint, exact numeric(40, 10), yes boolean, \
             day date, at {{instant}}, made {}, uid uuid, bytes {{bytes}}, named varchar(5))",
            world.sqlserver_or("datetime2(6)", world.each("timestamp", "datetime(6)", "datetime"))
        ))
        .await;
    let attributes = ["id", "whole", "exact", "yes", "day", "at", "made", "uid", "bytes", "named"];
    let precise = world.each(
        "123456789012345678901234567890.0123456789",
        "123456789012345678901234567890.0123456789",
        "12345678901.2345",
    );
    let precise = world.sqlserver_or("123456789012345678901234567890.12345678", precise);
    let smallest = world.sqlserver_or("-0.00000001", "-0.0000000001");
    let row = |number: i64, values: [Value; 9]| -> Vec<Slot> {
        std::iter::once(crate::world::number(number)).chain(values.into_iter().map(Slot::One)).collect()
    };
    let rows = [
        row(
            1,
            [
                Value::Integer(i64::MAX),
                Value::Decimal(Decimal::parse(precise).unwrap()),
                Value::Boolean(true),
                Value::Date(NaiveDate::from_ymd_opt(2024, 2, 29).unwrap()),
                instant("2026-03-29T01:59:59.999999Z"),
                instant("1970-01-01T00:00:00Z"),
                Value::Uuid(Uuid::max()),
                Value::Binary((0..=255).collect()),
                Value::text("ÅÅÅÅÅ"),
            ],
        ),
        row(
            2,
            [
                Value::Integer(i64::MIN),
                Value::Decimal(Decimal::parse(smallest).unwrap()),
                Value::Boolean(false),
                Value::Date(NaiveDate::from_ymd_opt(1, 1, 1).unwrap()),
                instant("0001-01-01T00:00:00.000001Z"),
                instant("9999-12-31T23:59:59.999999Z"),
                Value::Uuid(Uuid::nil()),
                Value::Binary([].into()),
                Value::text(""),
            ],
        ),
    ];
    let connection = world.connect();
    let outcomes = connection.send("everything", &attributes, rows.iter().cloned().map(create).collect()).await;
    assert!(outcomes.iter().all(is_applied), "{outcomes:?}");
    let mut empty = vec![Slot::Null; attributes.len()];
    empty[0] = number(3);
    connection.send("everything", &attributes, vec![create(empty.clone())]).await;
    let read = connection.get("everything", &attributes, &[id(1), id(2), id(3)]).await;
    let read: Vec<Vec<Slot>> = read.into_iter().map(|row| row.unwrap().0).collect();
    assert_eq!(read, [rows[0].clone(), rows[1].clone(), empty]);
    let stored = world.rows("SELECT whole, day, uid, named FROM everything WHERE id = 1").await;
    assert_eq!(stored, [["9223372036854775807", "2024-02-29", "ffffffff-ffff-ffff-ffff-ffffffffffff", "ÅÅÅÅÅ"]]);
    for (position, name) in attributes.iter().enumerate().skip(1) {
        let Slot::One(value) = &rows[0][position] else { continue };
        let found = connection.find("everything", &[], &[name], vec![vec![value.clone()]]).await;
        assert_eq!(found[0].iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), [id(1)], "{name}");
    }
}

async fn odd_values_hide_no_others(world: World) {
    world.run("CREATE TABLE odd (id integer PRIMARY KEY, day date, amount numeric, name text)").await;
    if world.is_postgres() {
        world.run("INSERT INTO odd VALUES (1, 'infinity', 'NaN', 'a'), (2, '2024-01-02', 1.5, 'b')").await;
    } else if world.is_sqlserver() {
        // A number that Muster does not hold, however it is written.
        return;
    } else if world.each(false, true, false) {
        // Zero dates, and numbers that no integer of Muster holds.
        world.run("DROP TABLE odd; CREATE TABLE odd (id integer PRIMARY KEY, day date, amount bigint unsigned, name text)").await;
        world
            .run(
                "SET sql_mode = ''; INSERT INTO odd VALUES (1, '0000-00-00', 18446744073709551615, 'a'), \
                  (2, '2024-01-02', 1, 'b')",
            )
            .await;
    } else {
        world.run("INSERT INTO odd VALUES (1, 'soon', x'ff00', x'fffe'), (2, '2024-01-02', 1.5, 'b')").await;
    }
    let read = world.connect().get("odd", &["day", "amount", "name"], &[id(1), id(2)]).await;
    assert_eq!(read[0].as_ref().unwrap().0[..2], [Slot::Unknown, Slot::Unknown]);
    assert_eq!(read[1].as_ref().unwrap().0[2], text("b"));
}

on_each!(texts, hostile_keys, every_type, odd_values_hide_no_others);

#[tokio::test]
async fn types_that_only_postgresql_has() {
    let world = World::postgres().await;
    world
        .run(
            "CREATE DOMAIN mail AS text CHECK (value LIKE '%@%'); CREATE TYPE level AS ENUM ('low', 'High one'); \
             CREATE TABLE special (id int PRIMARY KEY, mail mail NOT NULL, level level, data jsonb, ratio float8, \
             tags text[], place point, fixed char(4), named name)",
        )
        .await;
    let connection = world.connect();
    let schema = connection.0.schema().await.unwrap();
    let special = schema.object_type("special").unwrap();
    let unsupported: Vec<&str> =
        special.attributes.iter().filter(|one| one.unsupported.is_some()).map(|one| one.name.as_str()).collect();
    assert_eq!(unsupported, ["tags", "place"]);
    let mail = special.attribute("mail").unwrap();
    assert_eq!((mail.value_type, mail.required, mail.native_type.as_str()), (ValueType::Text, true, "mail"));
    let attributes = ["id", "mail", "level", "data", "ratio", "fixed", "named"];
    let ratio = Slot::One(Value::Decimal(Decimal::parse("0.1").unwrap()));
    let row = vec![number(1), text("a@b"), text("High one"), text("{\"a\": [1]}"), ratio, text("ab"), text("n")];
    connection.send("special", &attributes, vec![create(row.clone())]).await;
    assert_eq!(connection.get("special", &attributes, &[id(1)]).await[0].as_ref().unwrap().0, row);
    let changed = connection.send("special", &["level"], vec![update(id(1), vec![text("low")])]).await;
    assert!(is_applied(&changed[0]), "{changed:?}");
    // Nothing of ours keeps an administrator from changing what a batch used.
    world.run("ALTER TABLE special DROP COLUMN level; DROP TYPE level").await;
}
