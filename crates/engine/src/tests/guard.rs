//! The guard: what it counts, what it holds, and what an approval serves.

use futures::FutureExt as _;
use muster_connector::page::Removal;
use muster_model::{Key, Slot, Value};
use muster_store::{Approval, EventRecord, HoldRecord, OperatorStore as _, Store as _, SyncId};

use super::world::{DAY, Fault, World, mapping};
use crate::rules::Limit;
use crate::{CommitPoint, CycleOptions, GuardKind, GuardRules, HOLD_EXPIRES};

const HOUR: i64 = 3_600_000;

/// A world of linked people in which two changes of each kind may go in a day.
async fn people(count: usize) -> World {
    let mut world = World::new();
    world.rules.mappings.push(mapping("level", "[number]"));
    for number in 0..count {
        let id = format!("p{number:02}");
        world.source.person(&id, &format!("P{number}"), &format!("{id}@x"));
        world.source.set(&id, "number", Slot::One(Value::Integer(7)));
    }
    world.cycle().await.unwrap();
    let two = Limit { percent: 0.0, min: 2, max: None };
    world.rules.guard = GuardRules { delete: two, disable: two, clear: two, member_removal: two, missing: two };
    world
}

impl World {
    async fn sync_id(&self) -> SyncId {
        self.store().await.sync_names().await.unwrap().remove(0).1
    }

    async fn held(&self) -> Vec<HoldRecord> {
        let sync = self.sync_id().await;
        self.store().await.holds(sync).await.unwrap()
    }

    async fn approve(&self, hold: &HoldRecord) -> Approval {
        use crate::Clock as _;
        let now = self.clock.now();
        self.store().await.approve(hold.sync, &hold.digest, now, now + HOLD_EXPIRES).await.unwrap()
    }

    async fn sent(&self, kind: &str) -> u64 {
        let sync = self.sync_id().await;
        self.store().await.sent_since(sync, kind, 0).await.unwrap()
    }

    async fn events(&self) -> Vec<(String, String)> {
        let sync = self.sync_id().await;
        let events = self.store().await.events(sync, None, 100).await.unwrap();
        events.into_iter().map(|EventRecord { code, detail, .. }| (code, detail)).collect()
    }

    fn enabled(&self) -> usize {
        self.target.people().iter().filter(|(_, _, enabled)| *enabled).count()
    }

    fn leave(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.source.remove(&format!("p{number:02}"), Removal::Soft);
        }
    }

    fn with_name(&self) -> usize {
        let state = self.target.state.lock().unwrap();
        state.rows.values().filter(|row| row["name"] != Slot::Null).count()
    }
}

#[tokio::test]
async fn cleared_values_are_counted_for_each_attribute_and_the_harmless_part_goes() {
    let world = people(20).await;
    for number in 0..5 {
        world.source.set(&format!("p{number:02}"), "name", Slot::Null);
    }
    world.source.set("p00", "mail", Slot::text("new@x"));
    world.source.set("p01", "number", Slot::Null);
    world.source.set("p09", "number", Slot::Null);
    let report = world.cycle().await.unwrap();
    // p00 gets its address and p01 and p09 lose their level; five names stay.
    assert_eq!((report.held, report.updated), (5, 3));
    assert_eq!(world.with_name(), 20);
    {
        let state = world.target.state.lock().unwrap();
        let level = |key: i64| state.rows[&key]["level"].clone();
        assert_eq!((level(2), level(10), level(3)), (Slot::Null, Slot::Null, Slot::One(Value::Integer(7))));
        assert_eq!(state.rows[&1]["login"], Slot::text("new@x"));
    }
    assert_eq!((world.sent("clear:level").await, world.sent("clear:name").await), (2, 0));
    let holds = world.held().await;
    assert_eq!(holds.len(), 1);
    assert_eq!((holds[0].kind.as_str(), holds[0].attribute.as_deref(), holds[0].wanted), ("clear", Some("name"), 5));
    assert_eq!((holds[0].allowed, holds[0].base), (2, 20));
    // Nothing new: the same hold, and nothing is sent.
    let batches = world.target.state.lock().unwrap().batches;
    assert_eq!(world.cycle().await.unwrap().held, 5);
    assert_eq!(world.held().await, holds);
    assert_eq!(world.target.state.lock().unwrap().batches, batches);
    assert!(matches!(world.approve(&holds[0]).await, Approval::Recorded(_)));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.held, report.updated), (0, 5));
    assert_eq!(world.with_name(), 15);
    // What a person approved does not count towards the day's limit.
    assert_eq!(world.sent("clear:name").await, 0);
    assert_eq!(world.held().await, []);
    assert_eq!(world.cycle().await.unwrap().unchanged, 0);
}

#[tokio::test]
async fn a_slow_drip_over_several_cycles_is_caught() {
    let world = people(20).await;
    for number in 0..2 {
        world.leave(number..number + 1);
        assert_eq!(world.cycle().await.unwrap().disabled, 1);
        world.wait(HOUR);
    }
    for number in 2..6 {
        world.leave(number..number + 1);
        let report = world.cycle().await.unwrap();
        assert_eq!((report.disabled, report.held), (0, number as u64 - 1), "leaver {number}");
        world.wait(HOUR);
    }
    assert_eq!(world.enabled(), 18);
    // A day after the first two: four are wanted, and two may go.
    world.wait(DAY);
    assert_eq!(world.cycle().await.unwrap().held, 4);
}

#[tokio::test]
async fn an_approval_serves_the_identical_changes_only() {
    let world = people(20).await;
    world.leave(0..5);
    assert_eq!(world.cycle().await.unwrap().held, 5);
    let first = world.held().await.remove(0);
    assert!(matches!(world.approve(&first).await, Approval::Recorded(_)));
    // Before the next cycle one comes back and three more leave: they were never approved.
    world.source.person("p00", "P0", "p00@x");
    world.leave(5..8);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.disabled, report.held), (4, 3));
    let second = world.held().await.remove(0);
    assert_ne!(second.digest, first.digest);
    assert_eq!(world.sent("disable").await, 0);
    // The first list is no hold any more.
    assert_eq!(world.approve(&first).await, Approval::Unknown);
    // Whoever came back and leaves again needs an approval of its own.
    world.leave(0..1);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.disabled, report.held), (0, 4));
    assert_eq!(world.enabled(), 16);
}

#[tokio::test]
async fn an_approved_clear_serves_the_value_that_was_there() {
    let world = people(20).await;
    for number in 0..3 {
        world.source.set(&format!("p{number:02}"), "name", Slot::Null);
    }
    world.cycle().await.unwrap();
    let hold = world.held().await.remove(0);
    world.approve(&hold).await;
    // Somebody edits one of the names at the target, and reconciliation sees it.
    world.target.state.lock().unwrap().rows.get_mut(&1).unwrap().insert("name".to_owned(), Slot::text("Edited"));
    for number in 3..5 {
        world.source.set(&format!("p{number:02}"), "name", Slot::Null);
    }
    let report = world.reconcile().await.unwrap();
    assert_eq!((report.updated, report.held), (2, 3));
    let state = world.target.state.lock().unwrap();
    assert_eq!(state.rows[&1]["name"], Slot::text("Edited"));
    assert_eq!((&state.rows[&2]["name"], &state.rows[&3]["name"]), (&Slot::Null, &Slot::Null));
}

#[tokio::test]
async fn holds_and_approvals_expire() {
    let world = people(20).await;
    world.leave(0..5);
    world.cycle().await.unwrap();
    let hold = world.held().await.remove(0);
    world.wait(HOLD_EXPIRES);
    assert_eq!(world.approve(&hold).await, Approval::Expired);
    // Still wanted: the same list is held anew.
    assert_eq!(world.cycle().await.unwrap().held, 5);
    let again = world.held().await.remove(0);
    assert_eq!((again.digest, again.created_at), (hold.digest, hold.created_at + HOLD_EXPIRES));
    assert!(world.events().await.iter().any(|(code, _)| code == "expired"));
    assert!(matches!(world.approve(&again).await, Approval::Recorded(_)));
    world.wait(HOLD_EXPIRES);
    assert_eq!(world.cycle().await.unwrap().held, 5);
    assert_eq!(world.enabled(), 20);
}

#[tokio::test]
async fn a_kill_between_counting_and_recording_gets_nothing_past_the_guard() {
    for point in [CommitPoint::BatchOpened, CommitPoint::BatchFlushed, CommitPoint::BatchAnswered] {
        let world = people(20).await;
        world.leave(0..2);
        *world.killer.0.lock().unwrap() = Some((point, 1));
        let killed = std::panic::AssertUnwindSafe(world.cycle()).catch_unwind().await;
        assert!(killed.is_err(), "{point} was not passed");
        // Counted with the batch, before anything left.
        assert_eq!(world.sent("disable").await, 2, "after a kill at {point}");
        world.leave(2..4);
        for _ in 0..3 {
            world.cycle().await.unwrap();
        }
        assert!(world.enabled() >= 18, "after a kill at {point} {} are left", world.enabled());
        assert_eq!(world.sent("disable").await, 20 - world.enabled() as u64, "after a kill at {point}");
    }
}

#[tokio::test]
async fn what_had_no_effect_does_not_count() {
    let world = people(20).await;
    world.fault(Fault::Later(1));
    world.leave(0..2);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.waiting, world.sent("disable").await), (2, 0));
    world.wait(60_000);
    world.fault(Fault::Down(1));
    world.cycle().await.unwrap_err();
    assert_eq!(world.sent("disable").await, 0);
    assert_eq!(world.cycle().await.unwrap().disabled, 2);
    assert_eq!(world.sent("disable").await, 2);
}

#[tokio::test]
async fn a_source_that_returns_far_less_can_be_approved() {
    let world = people(10).await;
    world.source.state.lock().unwrap().hidden = (0..8).map(|number| format!("p{number:02}")).collect();
    world.full().await.unwrap();
    let hold = world.held().await.remove(0);
    assert_eq!((hold.kind.as_str(), hold.wanted, hold.allowed, hold.base), ("missing", 8, 2, 10));
    assert_eq!(world.cycle().await.unwrap().held, 0);
    assert!(matches!(world.approve(&hold).await, Approval::Recorded(_)));
    // Another one is missing as well before the next cycle: that was not approved.
    world.source.state.lock().unwrap().hidden.push("p08".to_owned());
    world.full().await.unwrap();
    let hold = world.held().await.remove(0);
    assert_eq!((hold.kind.as_str(), hold.wanted), ("missing", 9));
    world.source.state.lock().unwrap().hidden.pop();
    world.full().await.unwrap();
    // They count as removed now, and the guard of disabling has its own say.
    assert_eq!(world.cycle().await.unwrap().held, 8);
    let holds = world.held().await;
    assert_eq!(holds.iter().map(|hold| hold.kind.as_str()).collect::<Vec<_>>(), ["disable"]);
    // The approval is used up: the next time asks again.
    world.source.state.lock().unwrap().hidden.clear();
    world.full().await.unwrap();
    world.source.state.lock().unwrap().hidden = (0..8).map(|number| format!("p{number:02}")).collect();
    world.full().await.unwrap();
    assert_eq!(world.held().await[0].kind, "missing");
    assert_eq!(world.enabled(), 10);
}

#[tokio::test]
async fn evaluating_one_object_leaves_the_holds_as_they_are() {
    let world = people(20).await;
    world.leave(0..5);
    world.cycle().await.unwrap();
    let holds = world.held().await;
    let only = |key: &str| CycleOptions { only: Some(Key::text(key)), ..CycleOptions::default() };
    let engine = world.engine().await;
    assert_eq!(engine.cycle(&world.rules, &only("p09")).await.unwrap().held, 0);
    assert_eq!(world.held().await, holds);
    // One by one no more get through than together.
    for number in 0..5 {
        engine.cycle(&world.rules, &only(&format!("p{number:02}"))).await.unwrap();
    }
    assert_eq!(world.enabled(), 18);
}

#[tokio::test]
async fn an_adopted_object_keeps_what_would_be_cleared_above_the_limit() {
    let mut world = World::new();
    world.rules.guard.clear = Limit { percent: 0.0, min: 2, max: None };
    for number in 0..5 {
        let id = format!("p{number:02}");
        world.target.insert(&format!("{id}@x"), "Old");
        world.source.person(&id, "", &format!("{id}@x"));
        world.source.set(&id, "name", Slot::Null);
    }
    let report = world.cycle().await.unwrap();
    assert_eq!((report.adopted, report.updated, report.held), (5, 0, 5));
    assert_eq!(world.with_name(), 5);
    world.approve(&world.held().await.remove(0)).await;
    world.cycle().await.unwrap();
    assert_eq!(world.with_name(), 0);
}

#[tokio::test]
async fn deletions_are_held_and_approved_like_the_rest() {
    let world = people(20).await;
    for number in 0..3 {
        world.source.remove(&format!("p{number:02}"), Removal::Hard);
    }
    world.cycle().await.unwrap();
    world.approve(&world.held().await.remove(0)).await;
    assert_eq!(world.cycle().await.unwrap().disabled, 3);
    world.wait(31 * DAY);
    assert_eq!(world.cycle().await.unwrap().held, 3);
    let hold = world.held().await.remove(0);
    assert_eq!(hold.kind, "delete");
    world.approve(&hold).await;
    assert_eq!(world.cycle().await.unwrap().deleted, 3);
    assert_eq!((world.target.people().len(), world.sent("delete").await), (17, 0));
}

#[tokio::test]
async fn a_deletion_or_a_clear_that_never_left_is_given_back() {
    let mut world = people(20).await;
    world.rules.removal.grace = 0;
    for number in 0..2 {
        world.source.remove(&format!("p{number:02}"), Removal::Hard);
        world.source.set(&format!("p{:02}", number + 5), "name", Slot::Null);
    }
    // Creates and updates leave first, so the second batch is the one that deletes.
    *world.killer.0.lock().unwrap() = Some((CommitPoint::BatchOpened, 2));
    let killed = std::panic::AssertUnwindSafe(world.cycle()).catch_unwind().await;
    assert!(killed.is_err());
    assert_eq!((world.sent("delete").await, world.sent("clear:name").await), (2, 2));
    for _ in 0..2 {
        assert_eq!(world.cycle().await.unwrap().held, 0);
    }
    assert_eq!((world.target.people().len(), world.with_name()), (18, 16));
    assert_eq!((world.sent("delete").await, world.sent("clear:name").await), (2, 2));
}

#[test]
fn every_kind_has_a_limit_and_a_name() {
    let rules = GuardRules::default();
    let limits = [
        (GuardKind::Disable, "disable", 10.0),
        (GuardKind::Delete, "delete", 5.0),
        (GuardKind::Clear, "clear", 10.0),
        (GuardKind::MemberRemoval, "member_removal", 20.0),
        (GuardKind::Missing, "missing", 20.0),
    ];
    for (kind, name, percent) in limits {
        assert_eq!((kind.name(), rules.limit(kind)), (name, Limit { percent, min: 10, max: None }));
    }
}
