//! A kill at every commit point, at every passing of it: the same end, no duplicate, no operation sent twice.

use futures::FutureExt as _;
use muster_connector::page::Removal;
use muster_model::Slot;

use super::world::{KILLED, World, numbers};
use crate::CommitPoint;

fn first_day(world: &World) {
    world.target.insert("p00@x", "Old name");
    world.target.insert("foreign@x", "Foreign");
    for number in 0..10 {
        world.source.person(&format!("p{number:02}"), "P", &format!("p{number:02}@x"));
    }
}

fn second_day(world: &World) {
    world.source.set("p01", "name", Slot::text("Moved"));
    world.source.remove("p02", Removal::Soft);
    world.source.remove("p03", Removal::Hard);
    world.source.person("p10", "New", "p10@x");
    world.source.set("p04", "name", Slot::text("A name of more than twenty characters"));
    world.source.state.lock().unwrap().hidden = vec!["p05".to_owned()];
}

/// Runs both days with one kill, which may take the power with it, and returns what the target holds and whether the
/// kill struck.
async fn story(kill: Option<(CommitPoint, usize)>, power_fails: bool) -> (Vec<(String, String, bool)>, bool) {
    let world = World::new();
    *world.killer.0.lock().unwrap() = kill;
    world.killer.1.lock().unwrap().fails = power_fails;
    let mut struck = false;
    for day in [first_day, second_day] {
        day(&world);
        loop {
            match std::panic::AssertUnwindSafe(world.full()).catch_unwind().await {
                Ok(result) => {
                    result.unwrap();
                    break;
                }
                Err(payload) => {
                    assert_eq!(payload.downcast_ref::<&str>(), Some(&KILLED), "the engine panicked by itself");
                    struck = true;
                }
            }
        }
    }
    *world.killer.0.lock().unwrap() = None;
    // Nothing is left to do, and every operation is in a named state.
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11], "after a kill at {kill:?}");
    (world.target.people(), struck)
}

/// A kill at every passing of every commit point.
async fn everywhere(power_fails: bool) {
    let (expected, _) = story(None, false).await;
    assert_eq!(expected.len(), 12);
    for point in CommitPoint::ALL {
        let mut passings = 0;
        loop {
            let (people, struck) = story(Some((point, passings + 1)), power_fails).await;
            assert_eq!(people, expected, "after a kill at passing {} of {point}", passings + 1);
            if !struck {
                break;
            }
            passings += 1;
        }
        // An unknown batch exists only after a kill in between, which the next test brings about.
        assert!(passings > 0 || point == CommitPoint::UnknownResolved, "{point} was never passed");
    }
}

#[tokio::test]
async fn any_kill_leads_to_the_same_end() {
    everywhere(false).await;
}

/// What was not waited for is gone with the power, and nothing depends on it.
#[tokio::test]
async fn any_power_failure_leads_to_the_same_end() {
    everywhere(true).await;
}

#[tokio::test]
async fn a_second_kill_while_the_first_is_being_resolved_changes_nothing() {
    let (expected, _) = story(None, false).await;
    for first in [CommitPoint::BatchOpened, CommitPoint::BatchFlushed, CommitPoint::BatchAnswered] {
        let world = World::new();
        first_day(&world);
        for kill in [first, CommitPoint::UnknownResolved] {
            *world.killer.0.lock().unwrap() = Some((kill, 1));
            let killed = std::panic::AssertUnwindSafe(world.full()).catch_unwind().await;
            assert!(killed.is_err(), "{kill} was not passed");
        }
        world.full().await.unwrap();
        second_day(&world);
        world.full().await.unwrap();
        assert_eq!(world.target.people(), expected);
    }
}
