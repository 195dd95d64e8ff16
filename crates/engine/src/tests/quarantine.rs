//! Quarantine: when it begins, what goes on, and what ends it.

use muster_connector::page::Removal;
use muster_model::Slot;
use muster_store::{OperatorStore as _, QuarantineRecord, Store as _, SyncId};

use super::world::{Fault, World};
use crate::Clock as _;

const MINUTE: i64 = 60_000;

fn people(world: &World, numbers: std::ops::Range<usize>) {
    for number in numbers {
        world.source.person(&format!("p{number:03}"), "P", &format!("p{number:03}@x"));
    }
}

async fn standing(world: &World) -> (SyncId, Option<QuarantineRecord>) {
    let store = world.store().await;
    let sync = store.sync_names().await.unwrap().remove(0).1;
    (sync, store.quarantine(sync).await.unwrap())
}

fn sent(world: &World) -> usize {
    world.target.state.lock().unwrap().applied.len()
}

#[tokio::test]
async fn a_sync_that_is_refused_alike_stops_sending_and_tries_a_few_now_and_then() {
    let world = World::new();
    people(&world, 0..200);
    world.fault(Fault::RejectEverything);
    let report = world.cycle().await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("quarantined") && note.contains("forbidden name")));
    // It takes 50 outcomes, and what was on its way then still lands.
    let first = sent(&world);
    assert!((50..80).contains(&first), "{first} were sent");
    let (_, quarantine) = standing(&world).await;
    let quarantine = quarantine.unwrap();
    assert_eq!((quarantine.rule.as_str(), quarantine.attribute.as_deref()), ("forbidden", Some("name")));
    // Import goes on, and nothing is sent.
    people(&world, 200..203);
    world.wait(MINUTE / 2);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.read, sent(&world)), (3, first));
    // Probes of ten, after 1, 2, 4 … 60 minutes.
    world.wait(MINUTE / 2);
    let mut total = first;
    for pause in [2, 4, 8, 16, 32, 60, 60] {
        world.cycle().await.unwrap();
        total += 10;
        assert_eq!(sent(&world), total, "before a pause of {pause} minutes");
        world.wait(pause * MINUTE - 1);
        world.cycle().await.unwrap();
        assert_eq!(sent(&world), total, "within a pause of {pause} minutes");
        world.wait(1);
    }
    // The first probe of which most succeed ends it, and the rest follows at once.
    world.target.state.lock().unwrap().faults.clear();
    let report = world.cycle().await.unwrap();
    assert!(report.created > 100, "{report:?}");
    assert_eq!(standing(&world).await.1, None);
    world.wait(60 * MINUTE);
    world.cycle().await.unwrap();
    assert_eq!(world.target.people().len(), 203);
}

#[tokio::test]
async fn a_person_may_end_it_at_once() {
    let world = World::new();
    people(&world, 0..100);
    world.fault(Fault::RejectEverything);
    world.cycle().await.unwrap();
    world.target.state.lock().unwrap().faults.clear();
    let (sync, quarantine) = standing(&world).await;
    assert!(quarantine.is_some());
    assert!(world.store().await.end_quarantine(sync).await.unwrap());
    world.cycle().await.unwrap();
    world.wait(60 * MINUTE);
    world.cycle().await.unwrap();
    assert_eq!(world.target.people().len(), 100);
    assert_eq!(standing(&world).await.1, None);
}

#[tokio::test]
async fn a_probe_takes_whoever_should_lose_access_first() {
    let world = World::new();
    people(&world, 0..60);
    world.cycle().await.unwrap();
    let (sync, _) = standing(&world).await;
    let now = world.clock.now();
    let quarantine = QuarantineRecord {
        sync,
        rule: "forbidden".to_owned(),
        attribute: None,
        since: now,
        probes: 0,
        next_probe_at: now + MINUTE,
    };
    world.store().await.set_quarantine(&quarantine).await.unwrap();
    for number in 0..50 {
        world.source.set(&format!("p{number:03}"), "name", Slot::text("Q"));
    }
    for number in 55..60 {
        world.source.remove(&format!("p{number:03}"), Removal::Soft);
    }
    world.fault(Fault::RejectAll);
    world.cycle().await.unwrap();
    let before = sent(&world);
    world.wait(MINUTE);
    world.cycle().await.unwrap();
    assert_eq!(sent(&world) - before, 10);
    assert_eq!(world.target.people().iter().filter(|(_, _, enabled)| !enabled).count(), 5);
    // Five of ten are no majority.
    assert_eq!(standing(&world).await.1.unwrap().probes, 1);
}

#[tokio::test]
async fn twenty_single_refusals_in_one_batch_are_no_objects_fault() {
    let world = World::new();
    world.target.max_batch.store(64, std::sync::atomic::Ordering::Relaxed);
    world.fault(Fault::Poison("Evil"));
    for number in 0..30 {
        world.source.person(&format!("p{number:03}"), "Evil", &format!("p{number:03}@x"));
    }
    let mut world = world;
    world.merged_together = 1_000;
    world.cycle().await.unwrap();
    let (sync, quarantine) = standing(&world).await;
    let quarantine = quarantine.unwrap();
    assert_eq!((quarantine.rule.as_str(), quarantine.attribute.as_deref()), ("forbidden", Some("name")));
    // Those that were left for later go as soon as it ends.
    world.target.state.lock().unwrap().faults.clear();
    world.store().await.end_quarantine(sync).await.unwrap();
    assert_eq!(world.cycle().await.unwrap().created, 10);
}

#[tokio::test]
async fn a_few_refusals_are_the_objects_own_fault() {
    let world = World::new();
    world.fault(Fault::Poison("Evil"));
    people(&world, 0..60);
    for number in 0..15 {
        world.source.set(&format!("p{number:03}"), "name", Slot::text("Evil"));
    }
    assert_eq!(world.cycle().await.unwrap().parked, 15);
    assert_eq!(standing(&world).await.1, None);
    assert_eq!(world.target.people().len(), 45);
}
