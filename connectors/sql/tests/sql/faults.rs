//! Connections that break, servers that crash, and locks of others.

use std::time::Duration;

use muster_connector::Error;
use muster_model::{Key, Slot};
use muster_testkit::{Fault, Proxy};
use serde_json::json;

use crate::world::{Connection, Server, World, batch, create, is_applied, text, try_connect, update};

fn through(world: &World, proxy: &Proxy) -> Connection {
    let url = world.url().replace(&world.pg().port().to_string(), &proxy.port().to_string());
    try_connect(&url, json!({})).unwrap()
}

fn people(first: usize) -> Vec<muster_connector::Operation> {
    (first..first + 50).map(|number| create(vec![text(&number.to_string()), text("n")])).collect()
}

#[tokio::test]
async fn whether_a_cut_batch_took_effect_is_told_truly() {
    let world = World::postgres().await;
    let proxy = Proxy::start(world.pg().port());
    let connection = through(&world, &proxy);
    connection.0.schema().await.unwrap();
    let attributes = ["no", "name"];

    for cut in ["INSERT INTO", "COPY", "COMMIT\0"] {
        proxy.set(Fault::CutBefore(cut.into()));
        let failed = connection.try_apply(&batch("person", &attributes, people(0))).await;
        // Once COMMIT was to be sent, nobody here can know that it did not arrive.
        let expected = cut != "COMMIT\0";
        assert!(
            matches!(failed, Err(Error::Unreachable { nothing_sent, .. }) if nothing_sent == expected),
            "{failed:?}"
        );
        assert_eq!(world.rows("SELECT count(*) FROM person").await, [["0"]], "{cut}");
    }

    proxy.set(Fault::CutAfter(b"COMMIT\0".to_vec()));
    let failed = connection.try_apply(&batch("person", &attributes, people(100))).await;
    assert!(matches!(failed, Err(Error::Unreachable { nothing_sent: false, .. })), "{failed:?}");
    for _ in 0..100 {
        if world.rows("SELECT count(*) FROM person").await == [["50"]] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.rows("SELECT count(*) FROM person").await, [["50"]]);
    assert_eq!(proxy.cuts(), 4);

    let keys: Vec<Key> = (99..151).map(|number| Key::text(&number.to_string())).collect();
    let found = connection.get("person", &["name"], &keys).await;
    assert_eq!(found.iter().filter(|row| row.is_some()).count(), 50);
    proxy.heal();
    assert!(connection.send("person", &attributes, people(200)).await.iter().all(is_applied));
}

#[tokio::test]
async fn a_crash_of_the_server_is_survived() {
    let mut world = World::postgres().await;
    let connection = world.connect();
    assert!(connection.send("person", &["no", "name"], people(0)).await.iter().all(is_applied));
    let Server::Postgres(server) = &mut world.server else { panic!() };
    server.kill();
    server.restart();
    assert!(connection.send("person", &["no", "name"], people(100)).await.iter().all(is_applied));
    assert_eq!(world.rows("SELECT count(*) FROM person").await, [["100"]]);
}

#[tokio::test]
async fn a_lock_of_another_program_is_waited_for() {
    let world = World::sqlite().await;
    let Server::Sqlite { path, .. } = &world.server else { panic!() };
    let connection = world.connect();
    connection.0.schema().await.unwrap();
    let mut other = {
        use sqlx::ConnectOptions as _;
        sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap()
    };
    sqlx::raw_sql("BEGIN IMMEDIATE; INSERT INTO person (no) VALUES ('other')").execute(&mut other).await.unwrap();
    let (outcomes, ()) = tokio::join!(connection.send("person", &["no", "name"], people(0)), async {
        // Reading goes on meanwhile.
        assert_eq!(connection.get("person", &["name"], &[Key::text("other")]).await, [None]);
        tokio::time::sleep(Duration::from_millis(300)).await;
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    });
    assert!(outcomes.iter().all(is_applied));
    assert_eq!(world.rows("SELECT count(*) FROM person").await, [["51"]]);
    assert_eq!(world.rows("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'muster%'").await, [["0"]]);
}

#[tokio::test]
async fn a_deadlock_is_resolved_by_trying_again() {
    let world = World::postgres().await;
    world.run("INSERT INTO person (no, state) VALUES ('1', 0), ('2', 0)").await;
    let connection = world.connect();
    connection.0.schema().await.unwrap();
    let url = world.url();
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    // The other transaction has the second row and will want the first, after the batch has taken it.
    sqlx::raw_sql("SET deadlock_timeout = '60s'; BEGIN; UPDATE person SET state = 5 WHERE no = '2'")
        .execute(&mut other)
        .await
        .unwrap();
    let name = |key: &str, name: &str| update(Key::text(key), vec![text(name), Slot::Unknown]);
    let state = |key: &str| update(Key::text(key), vec![Slot::Unknown, crate::world::number(1)]);
    let (outcomes, ()) = tokio::join!(
        connection.send("person", &["name", "state"], vec![name("1", "a"), state("2")]),
        async {
            for _ in 0..200 {
                let waiting = world.rows("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'muster' AND wait_event_type = 'Lock'").await;
                if waiting == [["1"]] {
                    break;
                }
            }
            sqlx::raw_sql("UPDATE person SET state = 5 WHERE no = '1'; COMMIT").execute(&mut other).await.unwrap();
        }
    );
    assert!(outcomes.iter().all(is_applied), "{outcomes:?}");
    assert_eq!(world.rows("SELECT name, state FROM person ORDER BY no").await, [["a", "5"], ["<null>", "1"]]);
}
