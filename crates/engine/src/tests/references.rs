//! References and values of several: in any order of arrival, through removals, refusals, kills and lost answers.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use muster_connector::page::Removal;
use muster_model::{Slot, Value};
use muster_store::OperatorStore as _;

use super::world::{DAY, Fault, KILLED, World, mapping};
use crate::rules::Limit;
use crate::{CommitPoint, CycleOptions, EngineError};

pub(super) fn world() -> World {
    let mut world = World::new();
    world.rules.mappings.extend([
        mapping("boss", "[manager]"),
        mapping("friends", "[friends]"),
        mapping("roles", "[phones]"),
    ]);
    world.rules.guard.member_removal = Limit { percent: 100.0, min: 1_000, max: None };
    world.rules.guard.clear = Limit { percent: 100.0, min: 1_000, max: None };
    world
}

fn person(world: &World, id: &str) {
    world.source.person(id, "P", &format!("{id}@x"));
}

/// (boss, friends, roles) by login, as the target has them.
type Ties = BTreeMap<String, (Option<String>, BTreeSet<String>, BTreeSet<String>)>;

fn at_target(world: &World) -> Ties {
    let state = world.target.state.lock().unwrap();
    let login = |id: &Value| {
        let Value::Integer(id) = id else { panic!("{id} is no key") };
        state.rows.get(id).map_or_else(|| format!("nobody {id}"), |row| row["login"].value().unwrap().to_string())
    };
    let many = |slot: Option<&Slot>| match slot {
        Some(Slot::Many(values)) => values.clone(),
        Some(Slot::One(value)) => vec![value.clone()],
        _ => Vec::new(),
    };
    let ties = state.rows.values().map(|row| {
        let boss = row.get("boss").and_then(Slot::value).map(login);
        let friends = many(row.get("friends")).iter().map(login).collect();
        let roles = many(row.get("roles")).iter().map(ToString::to_string).collect();
        (row["login"].value().unwrap().to_string(), (boss, friends, roles))
    });
    ties.collect()
}

/// The same for everybody at the source: what the target should have.
fn at_source(world: &World) -> Ties {
    let state = world.source.state.lock().unwrap();
    let login = |id: &String| state.people.get(id).and_then(|values| values["mail"].value()).map(ToString::to_string);
    let named = |id: &String, attribute: &str| {
        let own = state.references.iter().filter(|(from, name, _)| from == id && *name == attribute);
        own.filter_map(|(_, _, to)| login(to)).collect::<BTreeSet<_>>()
    };
    let ties = state.people.iter().filter_map(|(id, values)| {
        let roles = match values.get("phones") {
            Some(Slot::Many(values)) => values.iter().map(ToString::to_string).collect(),
            Some(Slot::One(value)) => [value.to_string()].into(),
            _ => BTreeSet::new(),
        };
        Some((login(id)?, (named(id, "manager").into_iter().next(), named(id, "friends"), roles)))
    });
    ties.collect()
}

/// Every live person's ties are as the source has them.
pub(super) fn assert_alike(world: &World) {
    let target = at_target(world);
    for (login, ties) in at_source(world) {
        assert_eq!(target.get(&login), Some(&ties), "{login}");
    }
}

async fn settle(world: &World) {
    for _ in 0..10 {
        let report = world.cycle().await.unwrap();
        if !report.changed_target() && report.waiting + report.unknown == 0 {
            return;
        }
    }
    panic!("it finds no peace");
}

fn roles(values: &[&str]) -> Slot {
    Slot::many(values.iter().map(|value| Value::text(value)).collect())
}

#[tokio::test]
async fn references_converge_whatever_comes_first_and_go_round_in_circles() {
    let world = world();
    for id in ["a", "b", "c", "d"] {
        person(&world, id);
    }
    // A circle of bosses, one who is their own, friends of friends, and somebody who is not there yet.
    for (from, to) in [("a", "c"), ("b", "a"), ("c", "b"), ("d", "d")] {
        world.source.refer(from, "manager", to);
    }
    for (from, to) in [("a", "b"), ("a", "c"), ("b", "a"), ("a", "a"), ("c", "z")] {
        world.source.refer(from, "friends", to);
    }
    world.source.set("b", "phones", roles(&["x", "y"]));
    world.cycle().await.unwrap();
    assert_alike(&world);
    // The last one comes, and everything that waited for it is done by itself.
    person(&world, "z");
    world.source.refer("z", "manager", "a");
    world.source.refer("d", "manager", "z");
    let report = world.cycle().await.unwrap();
    assert_alike(&world);
    assert_eq!((report.created, report.values_added, report.values_removed), (1, 1, 0));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.visited(), report.changed_target()), (0, false));
}

#[tokio::test]
async fn what_is_left_of_a_difference_is_removed_and_added_and_nothing_else() {
    let world = world();
    for id in ["a", "b", "c", "d"] {
        person(&world, id);
        world.source.refer("a", "friends", id);
    }
    world.source.set("a", "phones", roles(&["old", "both"]));
    world.cycle().await.unwrap();
    // Somebody else at the target: not ours, so it stays.
    world
        .target
        .state
        .lock()
        .unwrap()
        .rows
        .get_mut(&1)
        .unwrap()
        .insert("roles".to_owned(), roles(&["old", "both", "theirs"]));
    world.source.refer_no_more("a", "friends", "b");
    world.source.refer_no_more("a", "friends", "c");
    world.source.set("a", "phones", roles(&["both", "new"]));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.values_added, report.values_removed), (1, 3));
    let ties = &at_target(&world)["a@x"];
    assert_eq!(ties.1, ["a@x".to_owned(), "d@x".to_owned()].into());
    assert_eq!(ties.2, ["both", "new", "theirs"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_mover_loses_the_old_entitlements_and_gets_the_new() {
    let mut world = World::new();
    let roles_of =
        "Split(Switch([name], \"reader\", \"Sales\", \"reader,crm\", \"Legal\", \"reader,contracts\"), \",\")";
    world.rules.mappings.push(mapping("roles", roles_of));
    world.rules.guard.member_removal = Limit { percent: 20.0, min: 10, max: None };
    world.source.person("a", "Sales", "a@x");
    world.cycle().await.unwrap();
    assert_eq!(at_target(&world)["a@x"].2, ["crm", "reader"].map(str::to_owned).into());
    world
        .target
        .state
        .lock()
        .unwrap()
        .rows
        .get_mut(&1)
        .unwrap()
        .insert("roles".to_owned(), roles(&["crm", "reader", "by hand"]));
    world.source.set("a", "name", Slot::text("Legal"));
    let options = crate::PlanOptions { limit: 5, ..crate::PlanOptions::default() };
    let plan = world.engine().await.plan(&world.rules, &options).await.unwrap();
    assert_eq!(plan.changes[0].values[1], ("roles".to_owned(), None, "+1 (contracts), −1 (crm)".to_owned()));
    let explained = world.engine().await.explain(&world.rules, "a@x").await.unwrap();
    let told = explained.mappings.iter().find(|mapping| mapping.attribute == "roles").unwrap();
    assert_eq!(
        (told.value.as_str(), told.written.as_str(), told.differs),
        ("+1 (contracts), −1 (crm)", "2 values", true)
    );
    let report = world.cycle().await.unwrap();
    assert_eq!((report.updated, report.values_added, report.values_removed), (1, 1, 1));
    assert_eq!(at_target(&world)["a@x"].2, ["by hand", "contracts", "reader"].map(str::to_owned).into());
}

#[tokio::test]
async fn whoever_goes_to_the_recycle_bin_leaves_and_comes_back_with_references() {
    for full_between in [false, true] {
        let world = world();
        for id in ["a", "b", "c"] {
            person(&world, id);
        }
        world.source.refer("a", "friends", "b");
        world.source.refer("c", "manager", "b");
        settle(&world).await;
        world.source.remove("b", Removal::Soft);
        settle(&world).await;
        assert_alike(&world);
        assert_eq!(at_target(&world)["c@x"].0, None);
        if full_between {
            world.full().await.unwrap();
        }
        // Restored: nothing is said of the references, which stood all the time.
        person(&world, "b");
        settle(&world).await;
        assert_alike(&world);
        assert_eq!(at_target(&world)["c@x"].0, Some("b@x".to_owned()));
        // Gone for good, while the group's own delta says nothing.
        world.source.remove("b", Removal::Hard);
        settle(&world).await;
        assert_alike(&world);
        assert!(at_target(&world)["a@x"].1.is_empty());
    }
}

#[tokio::test]
async fn many_values_change_by_their_difference_in_pieces() {
    let mut world = world();
    world.merged_together = 1_000;
    person(&world, "group");
    world.target.max_batch.store(1_000, std::sync::atomic::Ordering::Relaxed);
    for number in 0..2_100 {
        let id = format!("m{number:04}");
        person(&world, &id);
        world.source.refer("group", "friends", &id);
    }
    let report = world.cycle().await.unwrap();
    assert_alike(&world);
    assert_eq!((report.created, report.values_added, report.updated), (2_101, 2_100, 1));
    let before = world.target.state.lock().unwrap().applied.len();
    for number in 0..45 {
        world.source.refer_no_more("group", "friends", &format!("m{:04}", number * 40));
        person(&world, &format!("n{number:04}"));
        world.source.refer("group", "friends", &format!("n{number:04}"));
    }
    let report = world.cycle().await.unwrap();
    assert_alike(&world);
    assert_eq!((report.values_added, report.values_removed), (45, 45));
    // 45 creates, one addition, one removal.
    assert_eq!(world.target.state.lock().unwrap().applied.len() - before, 47);
    world.source.remove("group", Removal::Hard);
    for number in 0..10 {
        world.source.remove(&format!("m{number:04}"), Removal::Hard);
    }
    world.rules.removal.hard = Some(crate::Removal::Delete);
    world.rules.removal.grace = 0;
    world.rules.guard.delete = Limit { percent: 100.0, min: 1_000, max: None };
    settle(&world).await;
    assert_alike(&world);
}

#[tokio::test]
async fn one_bad_reference_keeps_no_other_out() {
    let world = world();
    person(&world, "group");
    for number in 0..40 {
        let id = format!("m{number:02}");
        person(&world, &id);
        world.source.refer("group", "friends", &id);
    }
    // The target refuses whoever names these, since somebody deleted them there.
    let gone = |id: i64| world.target.state.lock().unwrap().rows.remove(&id).unwrap();
    world.target.state.lock().unwrap().next = 100;
    world.source.set("group", "name", Slot::text("first"));
    for number in 0..40 {
        world.source.refer_no_more("group", "friends", &format!("m{number:02}"));
    }
    world.cycle().await.unwrap();
    let rows: Vec<i64> = world
        .target
        .state
        .lock()
        .unwrap()
        .rows
        .iter()
        .filter(|(_, row)| row["login"] == Slot::text("m07@x") || row["login"] == Slot::text("m33@x"))
        .map(|(id, _)| *id)
        .collect();
    let kept: Vec<_> = rows.iter().map(|id| (*id, gone(*id))).collect();
    for number in 0..40 {
        world.source.refer("group", "friends", &format!("m{number:02}"));
    }
    world.source.set("group", "name", Slot::text("renamed"));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.parked, report.values_added), (1, 38));
    let store = world.store().await;
    let (_, sync) = muster_store::Store::sync_names(store.as_ref()).await.unwrap().remove(0);
    let parked = muster_store::Store::parked(store.as_ref(), sync, 10).await.unwrap();
    assert_eq!((parked[0].rule.as_str(), parked[0].attribute.as_deref()), ("foreign_key", Some("friends")));
    assert!(world.target.people().iter().any(|(_, name, _)| name == "renamed"), "its other values are written");
    // They are back, and the next look heals it.
    world.target.state.lock().unwrap().rows.extend(kept);
    world.wait(3_600_001);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.parked, report.values_added), (0, 2));
    assert_alike(&world);
    assert!(muster_store::Store::parked(store.as_ref(), sync, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn removals_of_members_are_guarded_and_approved_one_by_one() {
    let mut world = world();
    world.rules.guard.member_removal = Limit { percent: 20.0, min: 2, max: None };
    person(&world, "group");
    for number in 0..20 {
        let id = format!("m{number:02}");
        person(&world, &id);
        world.source.refer("group", "friends", &id);
    }
    world.cycle().await.unwrap();
    // Four of twenty may go within a day, the fifth holds all of them; what is added goes on.
    for number in 0..5 {
        world.source.refer_no_more("group", "friends", &format!("m{number:02}"));
    }
    world.source.refer("group", "friends", "group");
    world.source.set("group", "name", Slot::text("renamed"));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.held, report.values_added, report.values_removed), (5, 1, 0));
    assert!(world.target.people().iter().any(|(_, name, _)| name == "renamed"));
    assert_eq!(at_target(&world)["group@x"].1.len(), 21);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.held, report.values_removed), (5, 0), "a held list stays held");
    let store = world.store().await;
    let (_, sync) = muster_store::Store::sync_names(store.as_ref()).await.unwrap().remove(0);
    let hold = muster_store::Store::holds(store.as_ref(), sync).await.unwrap().remove(0);
    assert_eq!((hold.kind.as_str(), hold.wanted, hold.allowed, hold.base), ("member_removal", 5, 4, 21));
    let now = *world.clock.0.lock().unwrap();
    store.approve(sync, &hold.digest, now, now + DAY).await.unwrap();
    // A sixth one was not approved, and goes within the limit.
    world.source.refer_no_more("group", "friends", "m05");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.held, report.values_removed), (0, 6));
    assert_alike(&world);
    // What was approved does not count, what was not does: three more fit into this day, four do not.
    for number in 6..10 {
        world.source.refer_no_more("group", "friends", &format!("m{number:02}"));
    }
    let report = world.cycle().await.unwrap();
    assert_eq!((report.held, report.values_removed), (4, 0));
    world.wait(DAY + 60_000);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.held, report.values_removed), (4, 0), "three of fifteen a day");
}

#[tokio::test]
async fn a_required_reference_keeps_its_create_waiting() {
    let world = world();
    world.target.boss_is_required.store(true, std::sync::atomic::Ordering::Relaxed);
    for id in ["a", "boss"] {
        person(&world, id);
    }
    world.source.refer("a", "manager", "boss");
    world.source.refer("boss", "manager", "boss");
    world.target.insert("boss@x", "P");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.adopted, report.parked), (1, 1, 0), "{report:?}");
    assert_eq!(at_target(&world)["a@x"].0, Some("boss@x".to_owned()));
    // Whoever refers to somebody who is not there waits, and says for what.
    person(&world, "c");
    world.source.refer("c", "manager", "later");
    assert_eq!(world.cycle().await.unwrap().parked, 1);
    person(&world, "later");
    world.source.refer("later", "manager", "boss");
    assert_eq!(world.cycle().await.unwrap().created, 2);
    assert_alike(&world);
}

#[tokio::test]
async fn no_answer_that_is_lost_loses_a_reference() {
    let world = world();
    for id in ["a", "b", "c"] {
        person(&world, id);
    }
    world.cycle().await.unwrap();
    world.source.refer("a", "friends", "b");
    world.source.refer("a", "friends", "c");
    world.fault(Fault::LostAnswers(1));
    assert!(matches!(world.cycle().await, Err(EngineError::Connection { .. }) | Ok(_)));
    assert_eq!(at_target(&world)["a@x"].1.len(), 2);
    // They took effect though nobody knows; one of them is to go by now.
    world.source.refer_no_more("a", "friends", "b");
    settle(&world).await;
    assert_alike(&world);
}

#[tokio::test]
async fn what_others_took_away_is_found_when_the_target_is_read_again() {
    let world = world();
    for id in ["a", "b", "c"] {
        person(&world, id);
        world.source.refer("a", "friends", id);
    }
    world.source.refer("b", "manager", "c");
    world.source.set("a", "phones", roles(&["x", "y"]));
    world.cycle().await.unwrap();
    for row in world.target.state.lock().unwrap().rows.values_mut() {
        row.remove("friends");
        row.insert("roles".to_owned(), roles(&["y", "theirs"]));
        row.insert("boss".to_owned(), Slot::Null);
    }
    let report = world.reconcile().await.unwrap();
    assert_eq!((report.values_added, report.values_removed), (4, 0));
    let ties = at_target(&world);
    assert_eq!((ties["a@x"].1.len(), ties["b@x"].0.as_deref()), (3, Some("c@x")));
    assert_eq!(ties["a@x"].2, ["theirs", "x", "y"].map(str::to_owned).into());
}

#[tokio::test]
async fn what_changed_while_nothing_mapped_it_is_there_when_it_is_mapped_again() {
    let mut world = world();
    for id in ["a", "b", "c"] {
        person(&world, id);
    }
    world.source.refer("a", "friends", "b");
    world.source.refer("c", "manager", "a");
    world.cycle().await.unwrap();
    let mapped = world.rules.mappings.clone();
    world.rules.mappings.truncate(2);
    world.cycle().await.unwrap();
    world.source.refer_no_more("a", "friends", "b");
    world.source.refer("a", "friends", "c");
    world.source.refer("c", "manager", "b");
    world.cycle().await.unwrap();
    world.rules.mappings = mapped;
    settle(&world).await;
    assert_alike(&world);
}

#[tokio::test]
async fn a_reference_that_nobody_writes_is_told() {
    let mut world = world();
    let report = world.cycle().await.unwrap();
    assert!(report.notes.is_empty(), "{:?}", report.notes);
    world.rules.source_type = "user".to_owned();
    let (compiled, _) = {
        use muster_connector::Connector as _;
        let (source, target) = (world.source.schema().await.unwrap(), world.target.schema().await.unwrap());
        crate::compile(&world.rules, &source, &target).unwrap()
    };
    let findings = crate::unwritten_references(&compiled, &[]);
    assert_eq!(findings.len(), 2);
    assert_eq!(findings[0].setting, "syncs.staff.map.boss");
    assert!(findings[0].problem.starts_with("no sync writes hr:user to app:person"), "{}", findings[0].problem);
}

fn story(world: &World, day: u32) {
    match day {
        0 => {
            for id in ["a", "b", "c", "d"] {
                person(world, id);
            }
            for (from, name, to) in
                [("a", "friends", "b"), ("a", "friends", "c"), ("b", "manager", "c"), ("c", "manager", "b")]
            {
                world.source.refer(from, name, to);
            }
            world.source.set("a", "phones", roles(&["x", "y"]));
        }
        _ => {
            world.source.refer_no_more("a", "friends", "b");
            world.source.refer("a", "friends", "d");
            world.source.refer("b", "manager", "d");
            world.source.remove("c", Removal::Hard);
            world.source.set("a", "phones", roles(&["y", "z"]));
        }
    }
}

#[tokio::test]
async fn any_kill_leads_to_the_same_references() {
    for point in CommitPoint::ALL {
        let mut passing = 1;
        loop {
            let world = world();
            *world.killer.0.lock().unwrap() = Some((point, passing));
            for day in 0..2 {
                story(&world, day);
                for _ in 0..2 {
                    match std::panic::AssertUnwindSafe(world.full()).catch_unwind().await {
                        Ok(report) => drop(report.unwrap()),
                        Err(payload) => {
                            assert_eq!(payload.downcast_ref::<&str>(), Some(&KILLED), "it panicked by itself");
                        }
                    }
                }
            }
            let struck = world.killer.0.lock().unwrap().take().is_none();
            assert_alike(&world);
            let report = world.engine().await.cycle(&world.rules, &CycleOptions::default()).await.unwrap();
            assert!(!report.changed_target(), "after a kill at {point:?} {passing}: {report:?}");
            if !struck {
                break;
            }
            passing += 1;
        }
    }
}
