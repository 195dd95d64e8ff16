//! Batches that were noted while others were at the target.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::world::{Fault, World};
use crate::{CommitPoint, CycleOptions, Observer};

/// A target that takes one batch at a time, of so many.
fn people(max_batch: u32) -> World {
    let mut world = World::new();
    world.merged_together = 1_000;
    world.target.max_in_flight.store(1, Ordering::Relaxed);
    world.target.max_batch.store(max_batch, Ordering::Relaxed);
    for number in 0..120 {
        world.source.person(&format!("p{number:03}"), "P", &format!("p{number:03}@x"));
    }
    world
}

#[tokio::test]
async fn a_target_that_is_down_or_busy_gets_none_of_those_that_were_noted_meanwhile() {
    for fault in [Fault::Down(1), Fault::Busy(1)] {
        let world = people(20);
        world.fault(fault.clone());
        let ended = world.cycle().await;
        let batches = world.target.state.lock().unwrap().batches;
        assert_eq!(
            (batches, world.target.people().len()),
            (1, 0),
            "{fault:?}: {:?}",
            ended.map(|report| report.created)
        );
        world.wait(60_000);
        world.cycle().await.unwrap();
        assert_eq!(world.target.people().len(), 120, "{fault:?}");
    }
}

#[tokio::test]
async fn nothing_leaves_after_the_batch_that_led_to_a_quarantine() {
    let world = people(60);
    world.fault(Fault::RejectEverything);
    world.cycle().await.unwrap();
    assert_eq!(world.target.state.lock().unwrap().applied.len(), 60);
}

/// Holds the first batch up once its note is on disk, long enough for another one to overtake it.
#[derive(Default)]
struct HoldsTheFirst(AtomicBool);

impl Observer for HoldsTheFirst {
    fn passed(&self, point: CommitPoint) {
        if point == CommitPoint::BatchFlushed && !self.0.swap(true, Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn they_leave_in_the_order_in_which_they_were_noted() {
    let world = people(7);
    let mut engine = world.engine().await;
    engine.observer = Arc::new(HoldsTheFirst::default());
    engine.cycle(&world.rules, &CycleOptions::default()).await.unwrap();
    let people = world.target.state.lock().unwrap();
    let order: Vec<String> = people.rows.values().map(|row| format!("{:?}", row["login"])).collect();
    let numbers = (0..120).map(|number| format!("{:?}", muster_model::Slot::text(&format!("p{number:03}@x"))));
    assert_eq!(order, numbers.collect::<Vec<_>>());
}
