//! Batches of the size that a first load sends, with one object among them that cannot be as it is meant to be.

use muster_connector::{Operation, Outcome, ValueDelta};
use muster_model::{Key, Slot, Value};
use serde_json::json;

use crate::on_each;
use crate::world::{Connection, World, create, id, is_applied, number, rejection, text, update};

/// Statements of several sizes are needed for them.
const PEOPLE: usize = 1_337;
/// The one in the middle.
const ODD: usize = 777;

fn no(number: usize) -> String {
    format!("p{number:05}")
}

fn people(odd: &Slot) -> Vec<Operation> {
    let name = |one| if one == ODD { odd.clone() } else { text("n") };
    (0..PEOPLE).map(|one| create(vec![text(&no(one)), text(&format!("{one}@x")), name(one), Slot::Null])).collect()
}

const ATTRIBUTES: [&str; 4] = ["no", "mail", "name", "state"];

fn all_but_the_odd_one(outcomes: &[Outcome]) -> bool {
    outcomes.len() == PEOPLE && outcomes.iter().enumerate().all(|(one, outcome)| one == ODD || is_applied(outcome))
}

async fn one_that_is_there_keeps_nobody_out(world: World) {
    world.run(&format!("INSERT INTO person (no, name) VALUES ('{}', 'there before')", no(ODD))).await;
    let outcomes = world.connect().send("person", &ATTRIBUTES, people(&text("n"))).await;
    assert!(all_but_the_odd_one(&outcomes));
    assert_eq!(outcomes[ODD], Outcome::Exists { key: Key::text(&no(ODD)) });
    let counted = "SELECT count(*), count(mail), sum(CASE WHEN name = 'there before' THEN 1 ELSE 0 END) FROM person";
    let (all, new) = (PEOPLE.to_string(), (PEOPLE - 1).to_string());
    assert_eq!(world.rows(counted).await, [[all.as_str(), new.as_str(), "1"]]);
}

async fn one_that_is_refused_is_named_alone(world: World) {
    world.run("CREATE TABLE short (no varchar(12) PRIMARY KEY, name varchar(9) NOT NULL CHECK (name <> 'bad'))").await;
    let connection = world.connect();
    for (odd, rule) in [(text("bad"), "short"), (Slot::Null, "required")] {
        let name = |one| if one == ODD { odd.clone() } else { text("n") };
        let some = (0..PEOPLE).map(|one| create(vec![text(&no(one)), name(one)])).collect();
        // A refusal that is not foreseen undoes the batch, and the host halves it.
        let halved = connection.halved("short", &["no", "name"], some).await;
        assert!(all_but_the_odd_one(&halved));
        let (_, found) = rejection(&halved[ODD]);
        assert!(found == rule || rule == "short" && !found.is_empty(), "{:?}", halved[ODD]);
        assert_eq!(world.rows("SELECT count(*) FROM short").await, [[(PEOPLE - 1).to_string()]]);
        world.run("DELETE FROM short").await;
    }
}

async fn one_that_is_gone_is_told(world: World) {
    let connection = world.connect();
    assert!(connection.send("person", &ATTRIBUTES, people(&text("n"))).await.iter().all(is_applied));
    world.run(&format!("DELETE FROM person WHERE no = '{}'", no(ODD))).await;
    let changed = |one: usize| {
        let state = number(i64::try_from(one).unwrap());
        update(Key::text(&no(one)), vec![Slot::Unknown, Slot::Null, text("it's \\ ?"), state])
    };
    let outcomes = connection.send("person", &ATTRIBUTES, (0..PEOPLE).map(changed).collect()).await;
    assert!(all_but_the_odd_one(&outcomes));
    assert_eq!(outcomes[ODD], Outcome::Missing);
    let as_meant = "SELECT count(*), sum(state), count(mail) FROM person WHERE name = 'it''s \\ ?'";
    let as_meant = if world.is_mariadb() { as_meant.replace('\\', "\\\\") } else { as_meant.to_owned() };
    let sum = ((0..PEOPLE).sum::<usize>() - ODD).to_string();
    assert_eq!(world.rows(&as_meant).await, [[(PEOPLE - 1).to_string().as_str(), sum.as_str(), "0"]]);
    // The same again changes nothing, which is no absence.
    world.run(&format!("INSERT INTO person (no) VALUES ('{}')", no(ODD))).await;
    assert!(connection.send("person", &ATTRIBUTES, (0..PEOPLE).map(changed).collect()).await.iter().all(is_applied));
}

async fn groups(world: &World) -> Connection {
    world
        .run(
            "CREATE TABLE grp (id integer PRIMARY KEY, name varchar(9)); \
             CREATE TABLE in_grp (grp integer NOT NULL, who varchar(12) NOT NULL, since integer, PRIMARY KEY (grp, who))",
        )
        .await;
    let many = json!({ "table": "in_grp", "key": "grp", "value": "who" });
    world.connect_with(json!({ "types": { "grp": { "table": "grp", "multi": { "members": many } } } }))
}

fn members(group: i64, add: &[&str], remove: &[&str]) -> Operation {
    let values = |values: &[&str]| values.iter().map(|value| Value::text(value)).collect();
    let delta = ValueDelta { attribute: 1, add: values(add), remove: values(remove) };
    Operation { deltas: vec![delta], ..update(id(group), Vec::new()) }
}

async fn values_of_one_that_is_gone_are_written_for_nobody(world: World) {
    let connection = groups(&world).await;
    let count = i64::try_from(PEOPLE).unwrap();
    let new = |one: i64| create(vec![Slot::One(Value::Integer(one)), text("g")]);
    let made = (0..count).map(|one| Operation { key: Some(id(one)), ..new(one) }).collect();
    let made = connection.send("grp", &["id", "name"], made).await;
    assert!(made.iter().all(is_applied), "{:?}", made[0]);
    let attributes = ["name", "members"];
    let add = |one: i64| members(one, &["a", "b"], &["c"]);
    world.run(&format!("DELETE FROM grp WHERE id = {ODD}")).await;
    let outcomes = connection.send("grp", &attributes, (0..count).map(add).collect()).await;
    assert!(all_but_the_odd_one(&outcomes));
    assert_eq!(outcomes[ODD], Outcome::Missing);
    let counted = "SELECT count(*), count(DISTINCT grp), count(since) FROM in_grp";
    let (all, each) = ((2 * (PEOPLE - 1)).to_string(), (PEOPLE - 1).to_string());
    assert_eq!(world.rows(counted).await, [[all.as_str(), each.as_str(), "0"]]);
    // One that has the value already keeps what its row says besides.
    world
        .run(&format!("INSERT INTO grp (id) VALUES ({ODD}); UPDATE in_grp SET since = 7 WHERE grp = 5 AND who = 'b'"))
        .await;
    let swap = |one: i64| members(one, &["b", "d"], &["a", "e"]);
    assert!(connection.send("grp", &attributes, (0..count).map(swap).collect()).await.iter().all(is_applied));
    let (all, each) = ((2 * PEOPLE).to_string(), PEOPLE.to_string());
    assert_eq!(world.rows(counted).await, [[all.as_str(), each.as_str(), "1"]]);
    assert_eq!(world.rows("SELECT who FROM in_grp WHERE grp = 5 ORDER BY who").await, [["b"], ["d"]]);
}

/// What a trigger leaves out is not taken for written.
async fn one_that_a_trigger_leaves_out_is_told(world: World, trigger: &str) {
    world.run("CREATE TABLE kept (no varchar(12) PRIMARY KEY, name varchar(9))").await;
    world.run(&trigger.replace("{table}", "kept")).await;
    let connection = world.connect();
    let name = |one| text(if one == ODD { "left out" } else { "n" });
    let some = (0..PEOPLE).map(|one| create(vec![text(&no(one)), name(one)])).collect();
    let outcomes = connection.send("kept", &["no", "name"], some).await;
    assert!(all_but_the_odd_one(&outcomes));
    assert_eq!(rejection(&outcomes[ODD]), (None, "no_effect"));
    assert_eq!(world.rows("SELECT count(*) FROM kept").await, [[(PEOPLE - 1).to_string()]]);
}

/// SQLite makes a statement's way with conflicts that of its triggers (SQLite, "CREATE TRIGGER", §2).
#[tokio::test]
async fn a_trigger_of_sqlite_keeps_its_own_way_with_conflicts() {
    let world = World::sqlite().await;
    world
        .run(
            "CREATE TABLE person_seen (name text PRIMARY KEY, last text); \
             CREATE TABLE watched (no varchar(12) PRIMARY KEY, name varchar(9)); \
             CREATE TRIGGER seen AFTER INSERT ON watched \
             BEGIN INSERT OR REPLACE INTO person_seen VALUES (NEW.name, NEW.no); END; \
             CREATE TRIGGER seen_again AFTER UPDATE ON watched \
             BEGIN INSERT OR IGNORE INTO person_seen VALUES (NEW.name, 'changed'); END",
        )
        .await;
    let connection = world.connect();
    let some = (0..PEOPLE).map(|one| create(vec![text(&no(one)), text("n")])).collect();
    assert!(connection.send("watched", &["no", "name"], some).await.iter().all(is_applied));
    assert_eq!(world.rows("SELECT * FROM person_seen").await, [["n", &no(PEOPLE - 1)]]);
    let changed = |one: usize| update(Key::text(&no(one)), vec![Slot::Unknown, text("m")]);
    let outcomes = connection.send("watched", &["no", "name"], (0..PEOPLE).map(changed).collect()).await;
    assert!(outcomes.iter().all(is_applied));
    assert_eq!(world.rows("SELECT * FROM person_seen WHERE name = 'm'").await, [["m", "changed"]]);
}

#[tokio::test]
async fn one_that_a_trigger_of_sqlite_leaves_out_is_told() {
    let trigger = "CREATE TRIGGER leave_out_{table} BEFORE INSERT ON {table} WHEN NEW.name = 'left out' \
                   BEGIN SELECT RAISE(IGNORE); END";
    let world = World::sqlite().await;
    world.run("CREATE TABLE generated (id INTEGER PRIMARY KEY, name varchar(9))").await;
    world.run(&trigger.replace("{table}", "generated")).await;
    // Where the database makes the key as well.
    let outcomes = world.connect().send("generated", &["name"], vec![create(vec![text("left out")])]).await;
    assert_eq!(rejection(&outcomes[0]), (None, "no_effect"));
    one_that_a_trigger_leaves_out_is_told(world, trigger).await;
}

#[tokio::test]
async fn one_that_a_trigger_of_postgres_leaves_out_is_told() {
    let world = World::postgres().await;
    world
        .run(
            "CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN IF NEW.name = 'left out' THEN RETURN NULL; END IF; RETURN NEW; END $$",
        )
        .await;
    let trigger = "CREATE TRIGGER leave_out BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION leave_out()";
    one_that_a_trigger_leaves_out_is_told(world, trigger).await;
}

on_each!(
    one_that_is_there_keeps_nobody_out,
    one_that_is_refused_is_named_alone,
    one_that_is_gone_is_told,
    values_of_one_that_is_gone_are_written_for_nobody,
);
