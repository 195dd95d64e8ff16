//! Names that need their quotes.

use muster_model::Slot;
use serde_json::json;

use crate::on_each;
use crate::world::{World, create, delete, is_applied, key_of, rename, text, update};

const TABLES: [&str; 5] = ["order", "App User", "Größe", "it's; DROP TABLE app_user; --", "a\"b \"\" c"];
const COLUMNS: [&str; 7] = ["select", "First Name", "fïrst", "x\"; DROP TABLE app_user; --", "t.s.n", "t", "v0"];

async fn any_name_is_only_a_name(world: World) {
    for table in TABLES {
        let columns: Vec<String> = COLUMNS.iter().map(|name| format!("{} text", world.quoted(name))).collect();
        world
            .run(&format!(
                "CREATE TABLE {} ({} {{text}} PRIMARY KEY, {}, {} {})",
                world.quoted(table),
                world.quoted("the key\""),
                columns.join(", "),
                world.quoted("id\"t."),
                world.sqlserver_or("AS (1)", world.either("int GENERATED ALWAYS AS (1) STORED", "int AS (1)"))
            ))
            .await;
        let connection = world.connect_with(json!({ "types": { "a type": { "table": table } } }));
        let mut attributes = vec!["the key\""];
        attributes.extend(COLUMNS);
        let row =
            |key: &str| std::iter::once(text(key)).chain(COLUMNS.iter().map(|name| text(name))).collect::<Vec<Slot>>();
        let outcomes = connection.send("a type", &attributes, vec![create(row("1")), create(row("2"))]).await;
        let (one, two) = (key_of(&outcomes[0]), key_of(&outcomes[1]));
        let again = connection.send("a type", &attributes, vec![create(row("1")), create(row("3"))]).await;
        assert!(is_applied(&again[1]), "{again:?}");
        let changed = std::iter::once(Slot::Unknown).chain(COLUMNS.iter().map(|_| text("changed"))).collect();
        let outcomes = connection
            .send(
                "a type",
                &attributes,
                vec![update(one.clone(), changed), rename(two, muster_model::Key::text("22"), vec![Slot::Unknown; 8])],
            )
            .await;
        assert!(outcomes.iter().all(is_applied), "{outcomes:?}");
        let read = connection.get("a type", &COLUMNS, std::slice::from_ref(&one)).await;
        assert_eq!(read[0].as_ref().unwrap().0, vec![text("changed"); COLUMNS.len()]);
        let batch = crate::world::batch("a type", &attributes, vec![create(row("4")), delete(one)]);
        for statement in connection.0.target().unwrap().preview(&batch).await.unwrap() {
            world.run(&statement).await;
        }
        let left =
            world.rows(&format!("SELECT {} FROM {} ORDER BY 1", world.quoted("the key\""), world.quoted(table))).await;
        assert_eq!(left, [["22"], ["3"], ["4"]]);
    }
    assert_eq!(world.rows("SELECT count(*) FROM app_user").await, [["0"]]);
}

on_each!(any_name_is_only_a_name);

#[tokio::test]
async fn types_and_schemas_with_odd_names_in_postgresql() {
    let world = World::postgres().await;
    world
        .run(
            "CREATE SCHEMA \"my; schema\"; CREATE TYPE \"my; schema\".\"Mood \"\"x\"\"\" AS ENUM ('a'); \
             CREATE TABLE \"my; schema\".\"T.x\" (id text PRIMARY KEY, mood \"my; schema\".\"Mood \"\"x\"\"\"); \
             CREATE TABLE muster_stage (v0 text); INSERT INTO muster_stage VALUES ('untouched'); \
             ALTER ROLE app SET search_path = public, pg_temp",
        )
        .await;
    let connection = world.connect();
    let schema = connection.0.schema().await.unwrap();
    assert!(schema.object_type("my; schema.T.x").is_some(), "{schema:?}");
    let outcomes = connection.send("my; schema.T.x", &["id", "mood"], vec![create(vec![text("1"), text("a")])]).await;
    assert!(is_applied(&outcomes[0]));
    assert_eq!(world.rows("SELECT * FROM muster_stage").await, [["untouched"]]);
}

#[tokio::test]
async fn a_declared_type_of_sqlite_is_no_sql() {
    let world = World::sqlite().await;
    world.run("CREATE TABLE trap (id text PRIMARY KEY, a \"text); DROP TABLE app_user; --\", b \"BLOB x'y\")").await;
    let outcomes = world.connect().send("trap", &["id", "a"], vec![create(vec![text("1"), text("x")])]).await;
    assert!(is_applied(&outcomes[0]));
    assert_eq!(world.rows("SELECT count(*) FROM app_user").await, [["0"]]);
}
