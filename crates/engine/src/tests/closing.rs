//! Outcomes that are known and not yet recorded: nothing that goes wrong beside them drops them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use muster_store::Store as _;

use super::world::World;
use crate::rules::{PasswordHash, PasswordRules};
use crate::stop::Stop;
use crate::{CommitPoint, CycleOptions, EngineError, Observer};

/// How long a slow machine may take.
const AT_MOST: Duration = Duration::from_secs(60);

/// More people than are sent in two batches.
fn people() -> World {
    let mut world = World::new();
    world.merged_together = 4_000;
    world.target.max_batch.store(1_000, Ordering::Relaxed);
    for number in 0..2_500 {
        world.source.person(&format!("p{number}"), "P", &format!("p{number}@x"));
    }
    world
}

/// How many links are recorded as linked, and how many batches as on their way.
async fn recorded(world: &World) -> (u64, usize) {
    let store = world.store().await;
    let Some((_, sync)) = store.sync_names().await.unwrap().pop() else { return (0, 0) };
    (store.counts(sync, 0).await.unwrap().linked, store.open_batches(sync).await.unwrap().len())
}

#[tokio::test]
async fn a_batch_that_hangs_keeps_no_other_from_being_recorded() {
    let world = people();
    world.target.state.lock().unwrap().hangs_from = Some(2);
    let engine = world.engine().await;
    let options = CycleOptions::default();
    let cycle = engine.cycle(&world.rules, &options);
    let watched = async {
        while recorded(&world).await.0 < 1_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        ended = cycle => panic!("a cycle does not end before its batches: {:?}", ended.map(|report| report.created)),
        seen = tokio::time::timeout(AT_MOST, watched) => seen.expect("what is known is recorded"),
    }
}

/// Asks to stop as soon as a batch is answered, so that the next one ends before it leaves.
struct StopsWithABatch(Stop);

impl Observer for StopsWithABatch {
    fn passed(&self, point: CommitPoint) {
        if point == CommitPoint::BatchAnswered {
            self.0.ask();
        }
    }
}

#[tokio::test]
async fn a_stop_between_two_batches_drops_no_outcome() {
    let mut world = people();
    // Whoever makes passwords asks before each whether to stop.
    world.rules.password = Some(PasswordRules {
        attribute: "password".to_owned(),
        length: 16,
        symbols: true,
        hash: PasswordHash::None,
        receiver: None,
    });
    let mut engine = world.engine().await;
    engine.observer = Arc::new(StopsWithABatch(engine.stop.clone()));
    let ended = engine.cycle(&world.rules, &CycleOptions::default()).await;
    assert!(matches!(ended, Err(EngineError::Stopped)), "{:?}", ended.map(|report| report.created));
    let there = world.target.people().len() as u64;
    assert!(there >= 1_000);
    assert_eq!(recorded(&world).await, (there, 0));
}

/// Takes the state's log away as soon as a batch is noted, so that the note never reaches the disk.
struct TakesTheLog(std::path::PathBuf);

impl Observer for TakesTheLog {
    fn passed(&self, point: CommitPoint) {
        if point == CommitPoint::BatchOpened {
            std::fs::remove_file(&self.0).ok();
        }
    }
}

#[tokio::test]
async fn a_batch_whose_note_does_not_reach_the_disk_does_not_leave() {
    let world = World::new();
    world.source.person("a", "Anna", "a@x");
    let mut engine = world.engine().await;
    engine.observer = Arc::new(TakesTheLog(world.folder.path().join("state.db-wal")));
    let ended = engine.cycle(&world.rules, &CycleOptions::default()).await;
    let Err(EngineError::Store(error)) = ended else { panic!("{:?}", ended.map(|report| report.created)) };
    assert!(error.to_string().contains("cannot be written to disk"), "{error}");
    assert_eq!(world.target.people(), []);
}
