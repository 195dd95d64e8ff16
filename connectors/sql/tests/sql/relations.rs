//! Columns that name other rows, and attributes of several values in tables of their own.

use muster_connector::{Batch, Error, Kind, Operation, Outcome, ValueDelta};
use muster_model::{Key, Multiplicity, Slot, Value, ValueType};
use serde_json::json;

use crate::on_each;
use crate::world::{Connection, World, batch, delete, id, is_applied, operation, rejection, text, update};

const TEAMS: &str = "
    CREATE TABLE member (id integer PRIMARY KEY, name text, boss integer REFERENCES member (id));
    INSERT INTO member (id, name, boss) VALUES (1, 'A', NULL), (2, 'B', 1), (3, 'C', 1), (4, 'D', 4);
    CREATE TABLE team (id integer PRIMARY KEY, name text);
    INSERT INTO team (id, name) VALUES (10, 'ten'), (20, 'twenty');
    CREATE TABLE in_team (team_id integer NOT NULL REFERENCES team (id), member_id integer NOT NULL REFERENCES member (id),
        since date, PRIMARY KEY (team_id, member_id));
    INSERT INTO in_team (team_id, member_id) VALUES (10, 1), (20, 1), (20, 2);
    CREATE TABLE tag (team integer, word varchar(5), CHECK (word <> 'no'));";

const ATTRIBUTES: [&str; 3] = ["name", "members", "tags"];

fn settings() -> serde_json::Value {
    json!({ "types": { "team": { "table": "team", "multi": {
        "members": { "table": "in_team", "key": "team_id", "value": "member_id" },
        "tags": { "table": "tag", "key": ["team"], "value": "word" },
    } } } })
}

async fn teams(world: &World) -> Connection {
    world.run(TEAMS).await;
    world.connect_with(settings())
}

async fn in_teams(world: &World) -> Vec<String> {
    let rows = world.rows("SELECT team_id, member_id FROM in_team ORDER BY team_id, member_id").await;
    rows.into_iter().map(|row| row.join(" ")).collect()
}

fn numbers(numbers: &[i64]) -> Vec<Value> {
    numbers.iter().map(|number| Value::Integer(*number)).collect()
}

fn members(team: i64, add: &[i64], remove: &[i64]) -> Operation {
    let delta = ValueDelta { attribute: 1, add: numbers(add), remove: numbers(remove) };
    Operation { deltas: vec![delta], ..operation(Kind::Update, Some(id(team)), Vec::new()) }
}

fn of_teams(operations: Vec<Operation>) -> Batch {
    batch("team", &ATTRIBUTES, operations)
}

async fn are_discovered(world: World) {
    let connection = teams(&world).await;
    let schema = connection.0.schema().await.unwrap();
    let team = schema.object_type("team").unwrap();
    let found = team.attribute("members").unwrap();
    assert_eq!((found.multiplicity, found.value_type), (Multiplicity::Set, ValueType::Integer));
    assert_eq!(
        (found.references.as_slice(), found.native_type.as_str()),
        (["member".to_owned()].as_slice(), "in_team.member_id")
    );
    let tags = team.attribute("tags").unwrap();
    assert_eq!((tags.references.len(), tags.max_length), (0, Some(5)));
    let member = schema.object_type("member").unwrap();
    assert_eq!(member.attribute("boss").unwrap().references, ["member"]);
    assert_eq!(schema.object_type("app_user").unwrap().attribute("dept_id").unwrap().references, ["dept"]);
    // Said by hand where the database does not say it; not where the type is known by another key.
    let by_hand = json!({ "types": { "member": { "table": "member", "references": { "name": "visit" } }, "team": {
        "table": "team", "multi": { "tags": { "table": "tag", "key": "team", "value": "word", "references": "person" } } },
        "department": { "table": "dept", "anchor": ["name"] } } });
    let schema = world.connect_with(by_hand).0.schema().await.unwrap();
    assert_eq!(schema.object_type("member").unwrap().attribute("name").unwrap().references, ["visit"]);
    assert_eq!(schema.object_type("team").unwrap().attribute("tags").unwrap().references, ["person"]);
    assert!(schema.object_type("app_user").unwrap().attribute("dept_id").unwrap().references.is_empty());
}

async fn slips_are_told(world: World) {
    world.run(TEAMS).await;
    let with = |many: serde_json::Value| json!({ "team": { "table": "team", "multi": { "members": many } } });
    let cases = [
        (
            with(json!({ "table": "in_tem", "key": "team_id", "value": "member_id" })),
            "types.team.multi.members.table",
            "\"in_team\"",
        ),
        (
            with(json!({ "table": "in_team", "key": "team_ix", "value": "member_id" })),
            "types.team.multi.members.key",
            "\"team_id\"",
        ),
        (
            with(json!({ "table": "in_team", "key": "team_id", "value": "membr_id" })),
            "types.team.multi.members.value",
            "\"member_id\"",
        ),
        (
            with(json!({ "table": "in_team", "key": ["team_id", "member_id"], "value": "member_id" })),
            "types.team.multi.members.key",
            "id, in that order",
        ),
        (
            with(json!({ "table": "in_team", "key": "team_id", "value": "member_id", "references": "membr" })),
            "types.team.multi.members.references",
            "\"member\"",
        ),
        (
            json!({ "team": { "table": "team", "multi": { "name": { "table": "tag", "key": "team", "value": "word" } } } }),
            "types.team.multi.name",
            "another name",
        ),
        (
            json!({ "team": { "table": "team", "references": { "nme": "member" } } }),
            "types.team.references.nme",
            "\"name\"",
        ),
        (
            json!({ "team": { "table": "team", "references": { "name": "badge" } } }),
            "types.team.references.name",
            "name one of",
        ),
    ];
    for (types, at, hint) in cases {
        let connection = world.connect_with(json!({ "types": types }));
        let Err(Error::Configuration { setting, fix, .. }) = connection.0.schema().await else { panic!("{at}") };
        assert_eq!(setting.as_deref(), Some(at));
        assert!(fix.contains(hint), "{fix}");
    }
}

async fn change_one_by_one(world: World) {
    let connection = teams(&world).await;
    let other = Operation { expected: Some((0, Value::text("another name"))), ..members(20, &[3], &[1]) };
    let tags = ValueDelta { attribute: 2, add: vec![Value::text("a"), Value::text("b")], remove: vec![] };
    let both =
        Operation { deltas: vec![members(10, &[2, 3, 1], &[4]).deltas.remove(0), tags], ..members(10, &[], &[]) };
    let renamed = Operation { row: muster_model::Row(vec![text("x"), Slot::Unknown, Slot::Unknown]), ..both };
    let outcomes = connection.apply(&of_teams(vec![renamed, members(99, &[1], &[2]), other])).await;
    assert!(is_applied(&outcomes[0]), "{outcomes:?}");
    assert_eq!(outcomes[1..], [Outcome::Missing, Outcome::OtherObject]);
    assert_eq!(in_teams(&world).await, ["10 1", "10 2", "10 3", "20 1", "20 2"]);
    assert_eq!(world.rows("SELECT team, word FROM tag ORDER BY word").await, [["10", "a"], ["10", "b"]]);
    assert_eq!(world.rows("SELECT name FROM team ORDER BY id").await, [["x"], ["twenty"]]);
    // What is there and what is absent already is as it should be.
    for _ in 0..2 {
        let outcomes = connection.apply(&of_teams(vec![members(10, &[2], &[1, 3, 4])])).await;
        assert!(is_applied(&outcomes[0]));
    }
    assert_eq!(in_teams(&world).await, ["10 2", "20 1", "20 2"]);
    // Rows are read without them.
    let row = connection.get("team", &ATTRIBUTES, &[id(10)]).await.remove(0).unwrap();
    assert_eq!(row.0, [text("x"), Slot::Unknown, Slot::Unknown]);
    let found = connection.find("team", &["tags", "name"], &["name"], vec![vec![Value::text("twenty")]]).await;
    assert_eq!(found[0][0].1.0, [Slot::Unknown, text("twenty")]);
    let page = connection.0.target().unwrap().list(&crate::world::request("team", &ATTRIBUTES), None).await.unwrap();
    assert_eq!(page.objects[1].row.0, [text("twenty"), Slot::Unknown, Slot::Unknown]);
}

async fn are_asked_for_one_by_one(world: World) {
    let connection = teams(&world).await;
    let pairs: Vec<(Key, Value)> =
        [(10, 1), (10, 2), (20, 2), (99, 1)].map(|(team, member)| (id(team), Value::Integer(member))).to_vec();
    let target = connection.0.target().unwrap();
    let request = crate::world::request("team", &ATTRIBUTES);
    assert_eq!(target.holds(&request, "members", &pairs).await.unwrap(), [true, false, true, false]);
    assert!(matches!(target.holds(&request, "name", &pairs).await, Err(Error::Bug(_))));
}

async fn what_is_refused_names_the_attribute(world: World) {
    let connection = teams(&world).await;
    let outcomes = connection.apply(&of_teams(vec![members(10, &[77], &[])])).await;
    assert_eq!(rejection(&outcomes[0]), (Some("members"), "foreign_key"));
    let tag = |word: &str| {
        let delta = ValueDelta { attribute: 2, add: vec![Value::text(word)], remove: vec![] };
        Operation { deltas: vec![delta], ..members(10, &[], &[]) }
    };
    assert_eq!(rejection(&connection.apply(&of_teams(vec![tag("no")])).await[0]), (Some("tags"), "check"));
    let whole = update(id(10), vec![Slot::Unknown, Slot::One(Value::Integer(1)), Slot::Unknown]);
    assert_eq!(rejection(&connection.apply(&of_teams(vec![whole])).await[0]), (Some("members"), "several_values"));
    let single = Operation {
        deltas: vec![ValueDelta { attribute: 0, add: vec![Value::text("x")], remove: vec![] }],
        ..members(10, &[], &[])
    };
    assert_eq!(rejection(&connection.apply(&of_teams(vec![single])).await[0]), (Some("name"), "several_values"));
    assert!(world.rows("SELECT * FROM tag").await.is_empty());
    assert_eq!(in_teams(&world).await, ["10 1", "20 1", "20 2"]);
}

async fn go_with_their_row(world: World) {
    let connection = teams(&world).await;
    world.run("INSERT INTO tag (team, word) VALUES (20, 'x'), (10, 'y')").await;
    let other = Operation { expected: Some((0, Value::text("another name"))), ..delete(id(10)) };
    let outcomes = connection.apply(&of_teams(vec![delete(id(20)), delete(id(99)), other])).await;
    assert!(is_applied(&outcomes[0]), "{outcomes:?}");
    assert_eq!(outcomes[1..], [Outcome::Missing, Outcome::OtherObject]);
    assert_eq!(in_teams(&world).await, ["10 1"]);
    assert_eq!(world.rows("SELECT word FROM tag").await, [["y"]]);
}

async fn follow_a_renamed_row(world: World) {
    world
        .run(
            "CREATE TABLE crew (name varchar(20) PRIMARY KEY); INSERT INTO crew VALUES ('G'), ('X'); \
               CREATE TABLE in_crew (crew varchar(20), who varchar(9)); \
               INSERT INTO in_crew VALUES ('G', 'a'), ('G', 'b'), ('X', 'c')",
        )
        .await;
    let connection = world.connect_with(json!({ "types": { "crew": { "table": "crew", "multi": {
        "members": { "table": "in_crew", "key": "crew", "value": "who" } } } } }));
    let rename = crate::world::rename(Key::text("G"), Key::text("H"), vec![Slot::Unknown]);
    assert!(is_applied(&connection.send("crew", &["name"], vec![rename]).await[0]));
    let rows = world.rows("SELECT crew, who FROM in_crew ORDER BY who").await;
    assert_eq!(rows, [["H", "a"], ["H", "b"], ["X", "c"]]);
}

async fn previews_have_the_same_effect(world: World) {
    let connection = teams(&world).await;
    let changes = of_teams(vec![members(10, &[2, 3], &[1]), delete(id(20))]);
    for statements in connection.0.target().unwrap().preview(&changes).await.unwrap() {
        world.run(&statements).await;
    }
    assert_eq!(in_teams(&world).await, ["10 2", "10 3"]);
    assert_eq!(world.rows("SELECT id FROM team").await, [["10"]]);
    let many: Vec<i64> = (0..1_500).collect();
    let preview = connection.0.target().unwrap().preview(&of_teams(vec![members(10, &many, &[])])).await.unwrap();
    assert!(preview[0].lines().count() == 1_001 && preview[0].ends_with("-- and 500 more values"));
}

on_each!(
    are_discovered,
    slips_are_told,
    change_one_by_one,
    are_asked_for_one_by_one,
    what_is_refused_names_the_attribute,
    go_with_their_row,
    follow_a_renamed_row,
    previews_have_the_same_effect,
);
