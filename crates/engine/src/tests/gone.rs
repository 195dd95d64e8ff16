//! Target objects that somebody else removed: said, made again, and looked for where they are many.

use muster_model::Slot;

use super::world::World;

/// So many people, linked.
async fn linked(people: usize) -> World {
    let mut world = World::new();
    world.merged_together = 1_000;
    for number in 0..people {
        world.source.person(&format!("p{number:03}"), "P", &format!("p{number:03}@x"));
    }
    assert_eq!(world.cycle().await.unwrap().created, people as u64);
    world
}

fn rename(world: &World, people: std::ops::Range<usize>) {
    for number in people {
        world.source.set(&format!("p{number:03}"), "name", Slot::text("Q"));
    }
}

fn lose(world: &World, rows: i64) {
    world.target.state.lock().unwrap().rows.retain(|key, _| *key > rows);
}

#[tokio::test]
async fn a_few_that_are_gone_are_made_again_and_counted() {
    let world = linked(40).await;
    lose(&world, 10);
    rename(&world, 0..20);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.gone, report.created, report.updated), (10, 10, 10));
    let note = "10 objects of the target were gone, and whoever should have one gets it again; \
                `muster sync staff --reconcile` looks for the others";
    assert_eq!(report.notes, [note]);
    assert_eq!(world.target.people().len(), 40);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.gone, report.visited(), report.notes.len()), (0, 0, 0));
}

#[tokio::test]
async fn after_many_the_next_cycle_looks_for_the_others() {
    let world = linked(60).await;
    lose(&world, 40);
    rename(&world, 0..20);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.gone, report.created), (20, 20));
    assert!(report.notes[0].ends_with("; the next cycle looks for the others by itself"), "{:?}", report.notes);
    assert_eq!(world.target.people().len(), 40);
    // Nothing is new at the source, and the rest is there again all the same.
    let report = world.cycle().await.unwrap();
    assert_eq!((report.gone, report.created), (20, 20));
    assert_eq!(world.target.people().len(), 60);
    assert_eq!(world.cycle().await.unwrap().gone, 0);
}

#[tokio::test]
async fn a_reconciliation_says_what_was_gone() {
    let world = linked(30).await;
    lose(&world, 12);
    let report = world.reconcile().await.unwrap();
    assert_eq!((report.gone, report.created), (12, 12));
    assert!(
        report.notes.iter().any(|note| note.ends_with("whoever should have one gets it again")),
        "{:?}",
        report.notes
    );
    assert_eq!(world.cycle().await.unwrap().gone, 0);
}
