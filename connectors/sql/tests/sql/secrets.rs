//! Values that nobody may see: written by a create, and shown nowhere.

use muster_connector::{Kind, Operation, SecretString, SecretValue};
use muster_model::{Key, Slot};

use crate::on_each;
use crate::world::{World, batch, is_applied, operation, rejection, text};

fn with_secret(no: &str, secret: &str) -> Operation {
    let secrets = vec![(1, SecretValue(SecretString::from(secret)))];
    Operation { secrets, ..operation(Kind::Create, Some(Key::text(no)), vec![text(no)]) }
}

async fn a_create_writes_them(world: World) {
    let plain = operation(Kind::Create, Some(Key::text("2")), vec![text("2"), Slot::Unknown]);
    let all = batch("person", &["no", "name"], vec![with_secret("1", "pass'word"), plain]);
    assert!(world.connect().apply(&all).await.iter().all(is_applied));
    assert_eq!(
        world.rows("SELECT no, coalesce(name, '-') FROM person ORDER BY no").await,
        [["1", "pass'word"], ["2", "-"]]
    );
    // What is refused is answered without them.
    let again = batch("person", &["no", "name"], vec![with_secret("1", "another one")]);
    let outcomes = world.connect().apply(&again).await;
    assert!(!format!("{outcomes:?}").contains("another one"), "{outcomes:?}");
    world.run("CREATE TABLE picky (no varchar(5) PRIMARY KEY, secret varchar(60) CHECK (length(secret) > 20))").await;
    let refused = batch("picky", &["no", "secret"], vec![with_secret("1", "too short")]);
    let outcome = world.connect().apply(&refused).await.remove(0);
    rejection(&outcome);
    assert!(!format!("{outcome:?}").contains("too short"), "{outcome:?}");
    // Not even where the database repeats what it refuses.
    world.run("CREATE TABLE numbered (no varchar(5) PRIMARY KEY, secret integer CHECK (secret > 0))").await;
    let refused = batch("numbered", &["no", "secret"], vec![with_secret("1", "not-a-number")]);
    let answer = format!("{:?}", world.connect().try_apply(&refused).await);
    assert!(!answer.contains("not-a-number"), "{answer}");
    let several =
        batch("numbered", &["no", "secret"], vec![with_secret("1", "not-a-number"), with_secret("2", "nor-this")]);
    let answer = format!("{:?}", world.connect().try_apply(&several).await);
    assert!(!answer.contains("not-a-number") && !answer.contains("nor-this"), "{answer}");
}

on_each![a_create_writes_them];
