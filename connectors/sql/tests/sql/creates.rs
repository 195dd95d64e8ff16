//! New rows, and creates that meet rows that are there.

use muster_connector::Outcome;
use muster_model::{Key, Slot, Value};
use serde_json::json;

use crate::on_each;
use crate::world::{World, create, id, is_applied, key_of, number, operation, rejection, text};

const USER: [&str; 3] = ["employee_no", "login", "full_name"];

async fn with_a_natural_key(world: World) {
    let outcomes = world
        .connect()
        .send(
            "person",
            &["no", "name"],
            vec![create(vec![text("7"), text("Åsa")]), create(vec![text("8"), Slot::Null])],
        )
        .await;
    assert_eq!(outcomes.iter().map(key_of).collect::<Vec<_>>(), [Key::text("7"), Key::text("8")]);
    assert_eq!(world.rows("SELECT no, name FROM person ORDER BY no").await, [["7", "Åsa"], ["8", "<null>"]]);
}

async fn with_the_key_given_beside_the_row(world: World) {
    let operation = operation(muster_connector::Kind::Create, Some(Key::text("9")), vec![text("Bo")]);
    let outcomes = world.connect().send("person", &["name"], vec![operation]).await;
    assert_eq!(key_of(&outcomes[0]), Key::text("9"));
    assert_eq!(world.rows("SELECT no, name FROM person").await, [["9", "Bo"]]);
}

async fn with_an_assigned_key_found_again_by_a_unique_one(world: World) {
    let operations = (0..50).map(|i| create(vec![text(&format!("e{i}")), Slot::Null, text("n")])).collect();
    let outcomes = world.connect().send("app_user", &USER, operations).await;
    let stored = world.rows("SELECT employee_no, id FROM app_user").await;
    for (i, outcome) in outcomes.iter().enumerate() {
        let row = stored.iter().find(|row| row[0] == format!("e{i}")).unwrap();
        assert_eq!(key_of(outcome).to_string(), row[1]);
    }
}

async fn with_an_assigned_key_and_nothing_unique(world: World) {
    let operations = (0..5).map(|_| create(vec![text("the same")])).collect();
    let outcomes = world.connect().send("visit", &["who"], operations).await;
    let mut keys: Vec<String> = outcomes.iter().map(|outcome| key_of(outcome).to_string()).collect();
    keys.dedup();
    assert_eq!(keys.len(), 5);
    assert_eq!(world.rows("SELECT id FROM visit ORDER BY id").await.concat(), keys);
}

async fn without_any_value_and_its_neighbours(world: World) {
    let operations = vec![create(vec![text("somebody")]), create(vec![Slot::Unknown])];
    let outcomes = world.connect().send("visit", &["who"], operations).await;
    assert!(is_applied(&outcomes[0]), "{outcomes:?}");
    assert_eq!(rejection(&outcomes[1]).1, "required", "{outcomes:?}");
    assert_eq!(world.rows("SELECT who FROM visit").await, [["somebody"]]);
}

async fn with_unique_values_that_are_partly_null(world: World) {
    world.run("CREATE TABLE guest (id {identity}, mail {text}{unique}, name text)").await;
    if world.is_sqlserver() {
        world.run("CREATE UNIQUE INDEX one_mail ON guest (mail) WHERE mail IS NOT NULL").await;
    }
    let rows = [text("a@x"), Slot::Null, text("b@x"), Slot::Null];
    let operations = rows.into_iter().map(|mail| create(vec![mail, text("g")])).collect();
    let outcomes = world.connect().send("guest", &["mail", "name"], operations).await;
    let keys: std::collections::BTreeSet<Key> = outcomes.iter().map(key_of).collect();
    assert_eq!(keys.len(), 4);
}

async fn what_is_there_is_never_overwritten(world: World) {
    world.run("INSERT INTO person (no, mail, name) VALUES ('1', 'one@x', 'first')").await;
    let outcomes = world
        .connect()
        .send(
            "person",
            &["no", "mail", "name"],
            vec![
                create(vec![text("0"), text("zero@x"), text("ok")]),
                create(vec![text("1"), text("other@x"), text("overwritten?")]),
                create(vec![text("2"), text("one@x"), text("taken")]),
                create(vec![text("1"), text("one@x"), text("both")]),
                create(vec![text("3"), text("three@x"), text("ok")]),
            ],
        )
        .await;
    assert!(is_applied(&outcomes[0]) && is_applied(&outcomes[4]), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Exists { key: Key::text("1") });
    assert_eq!(rejection(&outcomes[2]), (Some("mail"), "unique"));
    assert_eq!(outcomes[3], Outcome::Exists { key: Key::text("1") });
    assert_eq!(world.rows("SELECT no, name FROM person ORDER BY no").await, [["0", "ok"], ["1", "first"], ["3", "ok"]]);
}

async fn an_assigned_key_is_told_when_a_match_value_is_taken(world: World) {
    world.run("INSERT INTO app_user (employee_no, full_name) VALUES ('5', 'there')").await;
    let connection =
        world.connect_with(json!({ "types": { "user": { "table": "app_user", "anchor": ["employee_no"] } } }));
    let outcomes = connection
        .send(
            "user",
            &["employee_no", "full_name"],
            vec![create(vec![text("5"), text("new")]), create(vec![text("6"), text("new")])],
        )
        .await;
    assert_eq!(outcomes[0], Outcome::Exists { key: Key::text("5") });
    assert_eq!(key_of(&outcomes[1]), Key::text("6"));
}

async fn twins_in_one_batch(world: World) {
    let row = |no: &str, login: &str| create(vec![text(no), text(login), text("n")]);
    let outcomes =
        world.connect().send("app_user", &USER, vec![row("1", "a"), row("2", "a"), row("1", "b"), row("3", "c")]).await;
    assert!(is_applied(&outcomes[0]) && is_applied(&outcomes[3]), "{outcomes:?}");
    assert_eq!(rejection(&outcomes[1]), (Some("login"), "unique"));
    assert_eq!(rejection(&outcomes[2]), (Some("employee_no"), "unique"));
    assert_eq!(world.rows("SELECT employee_no FROM app_user ORDER BY 1").await, [["1"], ["3"]]);
}

async fn a_unique_key_of_several_columns(world: World) {
    world.run("INSERT INTO badge (site, number, holder, colour) VALUES ('A', 1, 'eva', 'red')").await;
    let row = |site: &str, no: i64, holder: Slot| create(vec![text(site), number(no), holder, text("red")]);
    let outcomes = world
        .connect()
        .send(
            "badge",
            &["site", "number", "holder", "colour"],
            vec![row("A", 1, text("x")), row("A", 2, text("eva")), row("A", 3, Slot::Null), row("B", 1, Slot::Null)],
        )
        .await;
    let key = Key(vec![Value::text("A"), Value::Integer(1)]);
    assert_eq!(outcomes[0], Outcome::Exists { key });
    assert_eq!(rejection(&outcomes[1]), (Some("holder"), "unique"));
    assert!(is_applied(&outcomes[2]) && is_applied(&outcomes[3]), "{outcomes:?}");
}

async fn different_columns_in_one_batch(world: World) {
    let outcomes = world
        .connect()
        .send(
            "app_user",
            &["employee_no", "login", "full_name", "is_active"],
            vec![
                create(vec![text("1"), text("a"), text("n"), Slot::Unknown]),
                create(vec![text("2"), Slot::Unknown, text("n"), Slot::One(Value::Boolean(false))]),
            ],
        )
        .await;
    assert!(outcomes.iter().all(is_applied));
    let expected = world.either([["1", "t"], ["2", "f"]], [["1", "1"], ["2", "0"]]);
    assert_eq!(world.rows("SELECT employee_no, is_active FROM app_user ORDER BY 1").await, expected);
}

async fn five_thousand_rows(world: World) {
    let operations: Vec<_> =
        (0..5_000).map(|i| create(vec![text(&format!("e{i}")), text(&format!("l{i}")), text("Åsa Öberg")])).collect();
    let connection = world.connect();
    let outcomes = connection.send("app_user", &USER, operations).await;
    assert!(outcomes.iter().all(is_applied));
    assert_eq!(world.rows("SELECT count(*), count(DISTINCT id) FROM app_user").await, [["5000", "5000"]]);
    let again = (0..5_000).map(|i| create(vec![text(&format!("f{i}")), text(&format!("l{}", i * 2)), text("n")]));
    let outcomes = connection.send("app_user", &USER, again.collect()).await;
    assert_eq!(outcomes.iter().filter(|outcome| is_applied(outcome)).count(), 2_500);
    let changes = outcomes.iter().filter(|outcome| is_applied(outcome)).map(key_of);
    let changes =
        changes.map(|key| crate::world::update(key, vec![Slot::Unknown, Slot::Null, text("changed")])).collect();
    assert!(connection.send("app_user", &USER, changes).await.iter().all(is_applied));
    assert_eq!(
        world.rows("SELECT count(*) FROM app_user WHERE full_name = 'changed' AND login IS NULL").await,
        [["2500"]]
    );
}

async fn keys_that_a_trigger_changes_are_still_told(world: World) {
    if world.is_postgres() {
        world
            .run(
                "CREATE FUNCTION lower_it() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN NEW.employee_no := lower(NEW.employee_no); NEW.login := lower(NEW.login); RETURN NEW; END'; \
                 CREATE TRIGGER lower_it BEFORE INSERT ON app_user FOR EACH ROW EXECUTE FUNCTION lower_it()",
            )
            .await;
    } else if world.is_sqlserver() {
        world
            .run(
                "CREATE TRIGGER lower_it ON app_user AFTER INSERT AS UPDATE u SET employee_no = lower(i.employee_no), \
                 login = lower(i.login) FROM app_user AS u JOIN inserted AS i ON i.id = u.id",
            )
            .await;
    } else if world.each(false, true, false) {
        world
            .run(
                "CREATE TRIGGER lower_it BEFORE INSERT ON app_user FOR EACH ROW \
                 SET NEW.employee_no = lower(NEW.employee_no), NEW.login = lower(NEW.login)",
            )
            .await;
    } else {
        world
            .run(
                "CREATE TRIGGER lower_it AFTER INSERT ON app_user BEGIN UPDATE app_user \
                 SET employee_no = lower(employee_no), login = lower(login) WHERE id = new.id; END",
            )
            .await;
    }
    let row = |no: &str| create(vec![text(no), text(no), text("n")]);
    let outcomes = world.connect().send("app_user", &USER, vec![row("ABC"), row("DEF")]).await;
    assert_eq!(outcomes.iter().map(key_of).filter(|key| *key != id(0)).count(), 2);
    assert_eq!(world.rows("SELECT employee_no FROM app_user ORDER BY id").await, [["abc"], ["def"]]);
}

on_each!(
    with_a_natural_key,
    with_the_key_given_beside_the_row,
    with_an_assigned_key_found_again_by_a_unique_one,
    with_an_assigned_key_and_nothing_unique,
    without_any_value_and_its_neighbours,
    with_unique_values_that_are_partly_null,
    what_is_there_is_never_overwritten,
    an_assigned_key_is_told_when_a_match_value_is_taken,
    twins_in_one_batch,
    a_unique_key_of_several_columns,
    different_columns_in_one_batch,
    five_thousand_rows,
    keys_that_a_trigger_changes_are_still_told,
);

#[tokio::test]
async fn a_uuid_that_the_database_makes() {
    let world = World::postgres().await;
    world.run("CREATE TABLE device (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), \"est.no\" text UNIQUE)").await;
    let connection = world.connect();
    let outcomes =
        connection.send("device", &["est.no"], vec![create(vec![text("a")]), create(vec![Slot::Null])]).await;
    let stored = world.rows("SELECT id FROM device ORDER BY \"est.no\" NULLS LAST").await.concat();
    assert_eq!(outcomes.iter().map(|outcome| key_of(outcome).to_string()).collect::<Vec<_>>(), stored);
    let chosen = Value::Uuid(uuid::Uuid::from_u128(7));
    let outcomes =
        connection.send("device", &["id", "est.no"], vec![create(vec![Slot::One(chosen.clone()), text("c")])]).await;
    assert_eq!(key_of(&outcomes[0]), Key::one(chosen));
}
