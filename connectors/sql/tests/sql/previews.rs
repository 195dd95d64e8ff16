//! What a preview shows is what would happen.

use muster_connector::{Batch, Kind};
use muster_model::{Decimal, Key, Slot, Value};

use crate::on_each;
use crate::world::{World, batch, create, delete, id, is_applied, operation, rename, text, update};

const PERSON: [&str; 3] = ["no", "mail", "name"];
const SETUP: &str =
    "INSERT INTO person (no, mail, name) VALUES ('1', 'a@x', 'A'), ('2', 'b@x', 'B'), ('3', 'c@x', 'C')";

fn changes() -> Batch {
    batch(
        "person",
        &PERSON,
        vec![
            create(vec![text("7"), text("O'Neil\\"), text("x'); DELETE FROM person; --")]),
            operation(Kind::Create, Some(Key::text("8")), vec![Slot::Unknown, Slot::Null, text("\n\t\u{1F600}")]),
            update(Key::text("1"), vec![Slot::Unknown, Slot::Null, text("changed ''")]),
            update(Key::text("3"), vec![Slot::Unknown; 3]),
            rename(Key::text("2"), Key::text("22"), vec![text("22"), Slot::Unknown, text("moved")]),
            delete(Key::text("3")),
        ],
    )
}

async fn by_hand_it_has_the_same_effect(world: World) {
    let all = "SELECT no, mail, name FROM person ORDER BY no";
    world.run(SETUP).await;
    let connection = world.connect();
    let statements = connection.0.target().unwrap().preview(&changes()).await.unwrap();
    assert_eq!(world.rows("SELECT count(*) FROM person").await, [["3"]]);
    assert!(connection.apply(&changes()).await.iter().all(is_applied));
    let applied = world.rows(all).await;
    world.run("DELETE FROM person").await;
    world.run(SETUP).await;
    for statement in statements {
        world.run(&statement).await;
    }
    assert_eq!(world.rows(all).await, applied);
}

async fn of_every_type(world: World) {
    world.run("CREATE TABLE kinds (id integer PRIMARY KEY, yes boolean, exact numeric(10, 2), day date, bytes {bytes}, at {instant})").await;
    let attributes = ["id", "yes", "exact", "day", "bytes", "at"];
    let row = vec![
        crate::world::number(-4),
        Slot::One(Value::Boolean(true)),
        Slot::One(Value::Decimal(Decimal::parse("-1.25").unwrap())),
        Slot::One(Value::Date(chrono::NaiveDate::from_ymd_opt(2024, 2, 29).unwrap())),
        Slot::One(Value::Binary([0, 39, 92, 255].into())),
        Slot::One(Value::Instant(chrono::DateTime::from_timestamp_micros(1_234_567).unwrap())),
    ];
    let connection = world.connect();
    let batch = batch("kinds", &attributes, vec![create(row.clone())]);
    for statement in connection.0.target().unwrap().preview(&batch).await.unwrap() {
        world.run(&statement).await;
    }
    assert_eq!(connection.get("kinds", &attributes, &[id(-4)]).await[0].as_ref().unwrap().0, row);
}

on_each!(by_hand_it_has_the_same_effect, of_every_type);
