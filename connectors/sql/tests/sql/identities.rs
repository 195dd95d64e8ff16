//! A row under a key that the database assigned is changed only while it has the value it is known by.

use muster_connector::{Operation, Outcome};
use muster_model::{Slot, Value};

use crate::on_each;
use crate::world::{World, batch, delete, id, is_applied, text, update};

const MAIL: usize = 0;

fn known(operation: Operation, mail: &str) -> Operation {
    Operation { expected: Some((MAIL, Value::text(mail))), ..operation }
}

async fn strangers_are_left_alone(world: World) {
    world.run("CREATE TABLE member (id {identity}, mail varchar(40) UNIQUE, name varchar(40), level integer)").await;
    world
        .run(
            "INSERT INTO member (mail, name, level) VALUES ('a@x', 'A', 1), ('b@x', 'B', 1), ('c@x', 'C', 1), \
              ('d@x', 'D', 1), (NULL, 'E', 1), ('f@x', 'F', 1)",
        )
        .await;
    let all = "SELECT id, mail, name, level FROM member ORDER BY id";
    let name = |name: &str| vec![Slot::Unknown, text(name)];
    let operations = vec![
        known(update(id(1), name("A2")), "a@x"),
        known(update(id(2), name("stolen")), "gone@x"),
        // One that changes the value it is known by, and one whose row has exactly the new value, yet not the old one.
        known(update(id(3), vec![text("c2@x"), text("C2")]), "c@x"),
        known(update(id(4), vec![text("d@x"), text("stolen")]), "gone@x"),
        known(update(id(5), name("stolen")), "e@x"),
        known(update(id(77), name("nobody")), "z@x"),
        update(id(6), name("F2")),
    ];
    let connection = world.connect();
    let before = world.rows(all).await;
    let batch = batch("member", &["mail", "name"], operations);
    let statements = connection.0.target().unwrap().preview(&batch).await.unwrap();
    let outcomes = connection.apply(&batch).await;
    assert!([0, 2, 6].iter().all(|i| is_applied(&outcomes[*i])), "{outcomes:?}");
    assert!([1, 3, 4].iter().all(|i| outcomes[*i] == Outcome::OtherObject), "{outcomes:?}");
    assert_eq!(outcomes[5], Outcome::Missing);
    let expected = [
        ["1", "a@x", "A2", "1"],
        ["2", "b@x", "B", "1"],
        ["3", "c2@x", "C2", "1"],
        ["4", "d@x", "D", "1"],
        ["5", "<null>", "E", "1"],
        ["6", "f@x", "F2", "1"],
    ];
    assert_eq!(world.rows(all).await, expected);

    // By hand the statements have the same effect.
    world
        .run("UPDATE member SET mail = 'c@x', name = 'C' WHERE id = 3; UPDATE member SET name = substr(name, 1, 1)")
        .await;
    assert_eq!(world.rows(all).await, before);
    for statement in statements {
        world.run(&statement).await;
    }
    assert_eq!(world.rows(all).await, expected);

    let deletes = vec![
        known(delete(id(1)), "a@x"),
        known(delete(id(2)), "gone@x"),
        known(delete(id(5)), "e@x"),
        known(delete(id(77)), "z@x"),
        delete(id(6)),
    ];
    let outcomes = connection.send("member", &["mail"], deletes).await;
    assert!(is_applied(&outcomes[0]) && is_applied(&outcomes[4]), "{outcomes:?}");
    assert_eq!(outcomes[1..4], [Outcome::OtherObject, Outcome::OtherObject, Outcome::Missing]);
    assert_eq!(world.rows("SELECT id FROM member ORDER BY id").await, [["2"], ["3"], ["4"], ["5"]]);
}

on_each!(strangers_are_left_alone);
