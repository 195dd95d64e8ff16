//! Changes, renames and deletes.

use muster_connector::Outcome;
use muster_model::{Key, Slot, Value};
use serde_json::json;

use crate::on_each;
use crate::world::{World, delete, id, is_applied, number, rejection, rename, text, update};

const PEOPLE: &str = "INSERT INTO person (no, mail, name, state) VALUES \
    ('1', 'a@x', 'A', 1), ('2', 'b@x', 'B', 1), ('3', 'c@x', 'C', 1), ('4', NULL, 'D', NULL)";

async fn several_shapes_and_missing_rows(world: World) {
    world.run(PEOPLE).await;
    let outcomes = world
        .connect()
        .send(
            "person",
            &["mail", "name", "state"],
            vec![
                update(Key::text("1"), vec![Slot::Unknown, text("A2"), Slot::Unknown]),
                update(Key::text("2"), vec![Slot::Null, Slot::Unknown, number(7)]),
                update(Key::text("nobody"), vec![Slot::Unknown, text("X"), Slot::Unknown]),
                update(Key::text("3"), vec![Slot::Unknown, Slot::Null, Slot::Unknown]),
                update(Key::text("4"), vec![Slot::Unknown, Slot::Unknown, Slot::Unknown]),
                update(Key::text("none"), vec![Slot::Unknown, Slot::Unknown, Slot::Unknown]),
            ],
        )
        .await;
    assert!([0, 1, 3, 4].iter().all(|i| is_applied(&outcomes[*i])), "{outcomes:?}");
    assert_eq!((&outcomes[2], &outcomes[5]), (&Outcome::Missing, &Outcome::Missing));
    assert_eq!(
        world.rows("SELECT no, mail, name, state FROM person ORDER BY no").await,
        [
            ["1", "a@x", "A2", "1"],
            ["2", "<null>", "B", "7"],
            ["3", "c@x", "<null>", "1"],
            ["4", "<null>", "D", "<null>"]
        ]
    );
}

async fn deletes(world: World) {
    world.run(PEOPLE).await;
    let operations = vec![delete(Key::text("1")), delete(Key::text("nobody")), delete(Key::text("3"))];
    let connection = world.connect();
    let outcomes = connection.send("person", &[], operations.clone()).await;
    assert!(is_applied(&outcomes[0]) && is_applied(&outcomes[2]));
    assert_eq!(outcomes[1], Outcome::Missing);
    assert_eq!(world.rows("SELECT no FROM person ORDER BY no").await, [["2"], ["4"]]);
    assert_eq!(connection.send("person", &[], operations).await, vec![Outcome::Missing; 3]);
}

async fn what_a_delete_frees_a_create_may_take(world: World) {
    world.run(PEOPLE).await;
    let outcomes = world
        .connect()
        .send(
            "person",
            &["no", "mail"],
            vec![crate::world::create(vec![text("9"), text("a@x")]), delete(Key::text("1"))],
        )
        .await;
    assert!(outcomes.iter().all(is_applied), "{outcomes:?}");
}

async fn renames(world: World) {
    world.run(PEOPLE).await;
    let to = |no: &str| Key::text(no);
    let outcomes = world
        .connect()
        .send(
            "person",
            &["no", "name"],
            vec![
                rename(to("1"), to("11"), vec![text("11"), text("renamed")]),
                rename(to("2"), to("22"), vec![Slot::Unknown, Slot::Unknown]),
                rename(to("nobody"), to("3"), vec![Slot::Unknown, Slot::Unknown]),
            ],
        )
        .await;
    assert!(is_applied(&outcomes[0]) && is_applied(&outcomes[1]), "{outcomes:?}");
    assert_eq!(outcomes[2], Outcome::Missing);
    assert_eq!(
        world.rows("SELECT no, name FROM person ORDER BY no").await,
        [["11", "renamed"], ["22", "B"], ["3", "C"], ["4", "D"]]
    );
    let taken = world.connect().send("person", &[], vec![rename(to("11"), to("22"), vec![])]).await;
    assert_eq!(rejection(&taken[0]), (Some("no"), "unique"));
}

async fn keys_of_several_columns(world: World) {
    world.run("INSERT INTO badge (site, number, holder) VALUES ('A', 1, 'x'), ('A', 2, 'y'), ('B', 1, 'z')").await;
    let key = |site: &str, number: i64| Key(vec![Value::text(site), Value::Integer(number)]);
    let outcomes = world
        .connect()
        .send(
            "badge",
            &["holder"],
            vec![
                update(key("A", 1), vec![text("new")]),
                delete(key("B", 1)),
                delete(key("B", 2)),
                rename(key("A", 2), key("C", 9), vec![Slot::Unknown]),
            ],
        )
        .await;
    assert!([0, 1, 3].iter().all(|i| is_applied(&outcomes[*i])), "{outcomes:?}");
    assert_eq!(outcomes[2], Outcome::Missing);
    assert_eq!(
        world.rows("SELECT site, number, holder FROM badge ORDER BY site").await,
        [["A", "1", "new"], ["C", "9", "y"]]
    );
}

async fn a_key_that_names_several_rows_changes_none(world: World) {
    world
        .run("CREATE TABLE loose (code text, name text); INSERT INTO loose VALUES ('a', '1'), ('a', '2'), ('b', '3')")
        .await;
    let connection = world.connect_with(json!({ "types": { "loose": { "table": "loose", "anchor": ["code"] } } }));
    let outcomes = connection
        .send(
            "loose",
            &["code", "name"],
            vec![
                update(Key::text("a"), vec![Slot::Unknown, text("x")]),
                update(Key::text("b"), vec![Slot::Unknown, text("y")]),
                crate::world::create(vec![text("b"), text("again")]),
                crate::world::create(vec![text("c"), text("new")]),
            ],
        )
        .await;
    assert_eq!(rejection(&outcomes[0]), (Some("code"), "ambiguous_key"));
    assert_eq!(outcomes[2], Outcome::Exists { key: Key::text("b") });
    let outcomes = connection.send("loose", &[], vec![delete(Key::text("a")), delete(Key::text("c"))]).await;
    assert_eq!(rejection(&outcomes[0]), (Some("code"), "ambiguous_key"));
    assert_eq!(world.rows("SELECT code, name FROM loose ORDER BY name").await, [["a", "1"], ["a", "2"], ["b", "y"]]);
}

async fn enabling_by_a_boolean_or_a_number(world: World) {
    world.run("INSERT INTO app_user (employee_no, full_name) VALUES ('1', 'n')").await;
    world.run("INSERT INTO person (no, state) VALUES ('1', 2)").await;
    let types = json!({ "types": {
        "user": { "table": "app_user", "enabled": "is_active" },
        "person": { "table": "person", "enabled": "state" },
    } });
    let connection = world.connect_with(types);
    let schema = connection.0.schema().await.unwrap();
    for (name, attribute) in [("user", "is_active"), ("person", "state")] {
        let found = schema.object_type(name).unwrap();
        assert_eq!(found.enabling.as_ref().unwrap().attribute, attribute);
        assert_eq!(found.attribute(attribute).unwrap().value_type, muster_model::ValueType::Boolean);
    }
    let (on, off) = (Slot::One(Value::Boolean(true)), Slot::One(Value::Boolean(false)));
    let key = id(1);
    assert_eq!(
        connection.get("user", &["is_active"], std::slice::from_ref(&key)).await[0].as_ref().unwrap().0,
        std::slice::from_ref(&on)
    );
    assert_eq!(
        connection.get("person", &["state"], &[Key::text("1")]).await[0].as_ref().unwrap().0,
        std::slice::from_ref(&on)
    );
    connection.send("user", &["is_active"], vec![update(key.clone(), vec![off.clone()])]).await;
    connection.send("person", &["state"], vec![update(Key::text("1"), vec![off.clone()])]).await;
    assert_eq!(world.rows("SELECT is_active FROM app_user").await.concat(), [world.either("f", "0")]);
    assert_eq!(world.rows("SELECT state FROM person").await.concat(), ["0"]);
    connection.send("person", &["state"], vec![update(Key::text("1"), vec![on])]).await;
    assert_eq!(world.rows("SELECT state FROM person").await.concat(), ["1"]);
    assert_eq!(connection.get("user", &["is_active"], &[key]).await[0].as_ref().unwrap().0, [off]);
}

on_each!(
    several_shapes_and_missing_rows,
    deletes,
    what_a_delete_frees_a_create_may_take,
    renames,
    keys_of_several_columns,
    a_key_that_names_several_rows_changes_none,
    enabling_by_a_boolean_or_a_number,
);
