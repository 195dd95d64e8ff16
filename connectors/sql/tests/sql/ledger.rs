//! The ledger: what took effect is known from the database itself, generated keys included.

use std::time::Duration;

use muster_connector::{Batch, Epoch, Error, Operation, OperationId, Outcome, Resolution, UsedType};
use muster_model::{Key, Once};
use serde_json::json;
use uuid::Uuid;

use crate::on_each;
use crate::world::{Connection, World, batch, create, delete, id, is_applied, key_of, text, try_connect, update};

async fn kept(world: &World) -> Connection {
    let connection = world.connect_with(json!({ "ledger": true }));
    for statement in connection.0.schema().await.unwrap().setup {
        world.run(&statement).await;
    }
    connection
}

fn visits(operations: Vec<Operation>, counter: i64) -> Batch {
    Batch { epoch: Epoch { incarnation: 5, counter }, ..batch("visit", &["who"], operations) }
}

async fn recorded(connection: &Connection, operations: &[Operation]) -> Vec<Resolution> {
    let ids: Vec<OperationId> = operations.iter().map(|operation| operation.id).collect();
    let found = connection.0.target().unwrap().outcomes(&ids).await.unwrap();
    assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    found.into_iter().map(|(_, resolution)| resolution).collect()
}

fn used() -> UsedType {
    UsedType {
        object_type: "visit".to_owned(),
        attributes: vec!["who".to_owned()],
        named: Vec::new(),
        as_source: false,
        as_target: true,
    }
}

async fn is_set_up_from_what_is_shown(world: World) {
    let without = world.connect().0.schema().await.unwrap();
    assert!(without.setup.is_empty());
    let connection = world.connect_with(json!({ "ledger": true }));
    let findings = connection.0.check(&[used()]).await.unwrap().findings;
    let finding = findings.iter().find(|finding| finding.setting.as_deref() == Some("ledger")).unwrap();
    let failed = connection.try_apply(&visits(vec![create(vec![text("a")])], 1)).await;
    assert!(failed.is_err(), "{failed:?}");
    if world.numbers_errors("a ledger that is not there is told from one that refuses").await {
        assert!(finding.fix.contains("CREATE TABLE muster_ledger"), "{finding:?}");
        assert!(matches!(failed, Err(Error::Configuration { .. })), "{failed:?}");
    }
    let connection = kept(&world).await;
    let findings = connection.0.check(&[used()]).await.unwrap().findings;
    assert!(findings.iter().all(|finding| finding.setting.as_deref() != Some("ledger")), "{findings:?}");
    let schema = connection.0.schema().await.unwrap();
    assert!(schema.types.iter().all(|found| !found.name.contains("muster")));
    assert_eq!(schema.object_type("visit").unwrap().target.as_ref().unwrap().once, Once::Ledger);
    assert_eq!(without.object_type("visit").unwrap().target.as_ref().unwrap().once, Once::Natural);
}

async fn what_took_effect_is_known(world: World) {
    let connection = kept(&world).await;
    let twins = vec![create(vec![text("same")]), create(vec![text("same")])];
    let outcomes = connection.apply(&visits(twins.clone(), 1)).await;
    let keys: Vec<Key> = outcomes.iter().map(key_of).collect();
    let known = recorded(&connection, &twins).await;
    for (resolution, key) in known.iter().zip(&keys) {
        let Resolution::Known(Outcome::Applied(effect)) = resolution else { panic!("{resolution:?}") };
        assert_eq!(effect.key.as_ref(), Some(key));
    }
    let later = vec![
        update(keys[0].clone(), vec![text("b")]),
        delete(keys[1].clone()),
        update(id(99), vec![text("c")]),
        create(vec![text("never sent")]),
    ];
    let outcomes = connection.apply(&visits(later[..3].to_vec(), 1)).await;
    assert_eq!(outcomes[2], Outcome::Missing);
    let known = recorded(&connection, &later).await;
    assert!(known[..2].iter().all(|known| matches!(known, Resolution::Known(Outcome::Applied(_)))), "{known:?}");
    assert_eq!(known[2..], [Resolution::NeverApplied, Resolution::NeverApplied]);
    // What is undone was never there.
    let refused = Batch {
        epoch: Epoch { incarnation: 5, counter: 1 },
        ..batch(
            "app_user",
            &["employee_no", "full_name"],
            vec![create(vec![text("1"), text("n")]), create(vec![text("2"), text("")])],
        )
    };
    assert!(matches!(connection.try_apply(&refused).await, Err(Error::Refused { .. })));
    assert_eq!(recorded(&connection, &refused.operations).await, vec![Resolution::NeverApplied; 2]);
    // Without the setting nothing is known, and nothing is written.
    let plain = world.connect();
    let more = vec![create(vec![text("plain")])];
    assert!(is_applied(&plain.apply(&visits(more.clone(), 1)).await[0]));
    assert_eq!(recorded(&plain, &more).await, [Resolution::NotRecorded]);
    assert_eq!(recorded(&connection, &more).await, [Resolution::NeverApplied]);
}

async fn an_older_lease_writes_nothing(world: World) {
    let old = kept(&world).await;
    let new = world.connect_with(json!({ "ledger": true }));
    let one = |counter| visits(vec![create(vec![text("x")])], counter);
    assert!(is_applied(&old.apply(&one(1)).await[0]));
    assert!(is_applied(&new.apply(&one(2)).await[0]));
    // One that knows its lease from before, and one that has to take it.
    for connection in [&old, &world.connect_with(json!({ "ledger": true }))] {
        let failed = connection.try_apply(&one(1)).await;
        let Err(Error::Configuration { setting, fix, .. }) = &failed else { panic!("{failed:?}") };
        assert!(setting.as_deref() == Some("ledger") && fix.contains("state restore"), "{fix}");
    }
    assert_eq!(world.rows("SELECT count(*) FROM visit").await, [["2"]]);
    // A restored state is newer, whatever it counts; other types have leases of their own.
    let restored = Batch { epoch: Epoch { incarnation: 6, counter: 0 }, ..one(0) };
    assert!(is_applied(&old.apply(&restored).await[0]));
    let other = Batch {
        epoch: Epoch { incarnation: 1, counter: 1 },
        ..batch("person", &["no"], vec![create(vec![text("1")])])
    };
    assert!(is_applied(&old.apply(&other).await[0]));
    // A table that somebody emptied is filled again.
    world.run("DELETE FROM muster_ledger_lease").await;
    assert!(is_applied(&old.apply(&restored_again()).await[0]));
    assert_eq!(world.rows("SELECT count(*) FROM visit").await, [["4"]]);
}

fn restored_again() -> Batch {
    Batch { epoch: Epoch { incarnation: 6, counter: 0 }, ..visits(vec![create(vec![text("y")])], 0) }
}

async fn operations_are_forgotten_after_a_day(world: World) {
    let connection = kept(&world).await;
    let aged = |seconds: u64, who: &str| {
        let moment = uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0);
        Operation { id: OperationId(Uuid::new_v7(moment)), ..create(vec![text(who)]) }
    };
    let begin = 1_700_000_000;
    let some = vec![aged(begin, "a"), aged(begin + 3_600, "b"), aged(begin + 25 * 3_600, "c")];
    assert!(connection.apply(&visits(some.clone(), 1)).await.iter().all(is_applied));
    let target = connection.0.target().unwrap();
    target.acknowledge(&[some[1].id]).await.unwrap();
    assert!(recorded(&connection, &some).await.iter().all(|known| matches!(known, Resolution::Known(_))));
    target.acknowledge(&[some[2].id]).await.unwrap();
    let unsent = vec![aged(begin + 10, "d"), aged(begin + 7_200, "e")];
    let known = recorded(&connection, &[some, unsent].concat()).await;
    // Of what may be forgotten, nobody can say that it never was.
    assert_eq!(known[0], Resolution::NotRecorded);
    assert!(matches!(known[1..3], [Resolution::Known(_), Resolution::Known(_)]), "{known:?}");
    assert_eq!(known[3..], [Resolution::NotRecorded, Resolution::NeverApplied]);
    assert_eq!(world.rows("SELECT count(*) FROM muster_ledger").await, [["2"]]);
}

/// Somebody who still writes may yet commit: the answer waits for them.
#[tokio::test]
async fn an_answer_waits_for_whoever_still_writes() {
    use sqlx::Connection as _;
    let world = World::postgres().await;
    let connection = kept(&world).await;
    assert!(is_applied(&connection.apply(&visits(vec![create(vec![text("a")])], 1)).await[0]));
    let late = create(vec![text("late")]);
    let mut writer = sqlx::PgConnection::connect(&world.url()).await.unwrap();
    for statement in [
        "BEGIN".to_owned(),
        "SELECT counter FROM muster_ledger_lease WHERE object_type = 'visit' FOR SHARE".to_owned(),
        format!("INSERT INTO muster_ledger (operation_id) VALUES ('{}')", late.id.0),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut writer).await.unwrap();
    }
    let ids = [late.id];
    let other = try_connect(&world.url(), json!({ "ledger": true })).unwrap();
    let asking = tokio::spawn(async move { other.0.target().unwrap().outcomes(&ids).await });
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%muster_ledger_lease%'";
    for _ in 0..500 {
        if world.rows(waiting).await == [["1"]] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!asking.is_finished());
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    let known = asking.await.unwrap().unwrap();
    assert!(matches!(known[0].1, Resolution::Known(_)), "{known:?}");
}

on_each!(
    is_set_up_from_what_is_shown,
    what_took_effect_is_known,
    an_older_lease_writes_nothing,
    operations_are_forgotten_after_a_day,
);
