//! What a service relies on: reading goes on whatever the target does, ends are orderly, time is doubted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use futures::FutureExt as _;
use muster_connector::page::Removal;
use muster_connector::{
    Batch, CheckReport, Connector, Error, FoundObject, OperationId, Outcome, ReadRequest, Target, UsedType,
};
use muster_model::{Key, Schema, Slot, Value};
use muster_store::{SqliteStore, StateLock, Store as _};

use super::world::{DAY, Fault, MemoryTarget, World, numbers};
use crate::{Clock, CycleOptions, Engine, EngineError, ErrorClass, LifecycleClock, Observer, Stop};

/// A target that can be switched off.
struct Switched {
    inner: Arc<MemoryTarget>,
    off: AtomicBool,
}

impl Switched {
    fn ask(&self) -> Result<&dyn Target, Error> {
        if self.off.load(Ordering::Relaxed) {
            return Err(Error::Unreachable { problem: "connection refused".to_owned(), nothing_sent: true });
        }
        Ok(self.inner.as_ref())
    }
}

#[async_trait]
impl Connector for Switched {
    async fn check(&self, used: &[UsedType]) -> Result<CheckReport, Error> {
        self.inner.check(used).await
    }

    async fn schema(&self) -> Result<Schema, Error> {
        self.ask()?;
        self.inner.schema().await
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }
}

#[async_trait]
impl Target for Switched {
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error> {
        self.ask()?.get(request, keys).await
    }

    async fn find(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        self.ask()?.find(request, by, values).await
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        self.ask()?.preview(batch).await
    }

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        self.ask()?.apply(batch).await
    }
}

async fn switched(world: &World) -> (Engine, Arc<Switched>) {
    let mut engine = world.engine().await;
    let target = Arc::new(Switched { inner: Arc::clone(&world.target), off: AtomicBool::new(false) });
    let mut connections: HashMap<String, Arc<dyn Connector>> = engine.connections.clone();
    connections.insert("app".to_owned(), target.clone());
    engine.connections = connections;
    (engine, target)
}

async fn cycle(engine: &Engine, world: &World) -> Result<crate::Report, EngineError> {
    engine.cycle(&world.rules, &CycleOptions::default()).await
}

/// What the state knows of a person.
async fn known(engine: &Engine, world: &World, key: &str) -> bool {
    let connection = engine.store.connection("hr").await.unwrap().id;
    let source = engine.store.source_type(connection, &world.rules.source_type).await.unwrap();
    assert!(source.watermark.is_some() && source.cursor.is_none(), "the round is complete");
    !engine.store.objects(source.id, &[Key::text(key).encode()]).await.unwrap().is_empty()
}

#[tokio::test]
async fn a_target_that_cannot_be_asked_keeps_nobody_from_reading() {
    let world = World::new();
    world.source.person("a", "Anna", "anna@x");
    let (engine, target) = switched(&world).await;
    cycle(&engine, &world).await.unwrap();
    target.off.store(true, Ordering::Relaxed);
    world.source.person("b", "Bo", "bo@x");
    let error = cycle(&engine, &world).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unreachable);
    assert!(known(&engine, &world, "b").await);
    // Another process, which has never seen the target, reads just as well.
    let (engine, target) = switched(&world).await;
    target.off.store(true, Ordering::Relaxed);
    world.source.person("c", "Cy", "cy@x");
    cycle(&engine, &world).await.unwrap_err();
    assert!(known(&engine, &world, "c").await);
    target.off.store(false, Ordering::Relaxed);
    assert_eq!(numbers(&cycle(&engine, &world).await.unwrap())[0], 2);
}

#[tokio::test]
async fn an_operation_in_doubt_keeps_nobody_from_reading() {
    let world = World::new();
    world.source.person("a", "Anna", "anna@x");
    world.fault(Fault::LostAnswers(1));
    cycle(&world.engine().await, &world).await.ok();
    // The target answers about its schema, and fails when it is asked what became of the operation.
    struct Half(Switched);
    #[async_trait]
    impl Connector for Half {
        async fn check(&self, used: &[UsedType]) -> Result<CheckReport, Error> {
            self.0.inner.check(used).await
        }
        async fn schema(&self) -> Result<Schema, Error> {
            self.0.inner.schema().await
        }
        fn target(&self) -> Option<&dyn Target> {
            Some(&self.0)
        }
    }
    let mut engine = world.engine().await;
    let half = Half(Switched { inner: Arc::clone(&world.target), off: AtomicBool::new(true) });
    engine.connections.insert("app".to_owned(), Arc::new(half));
    world.source.person("b", "Bo", "bo@x");
    assert_eq!(cycle(&engine, &world).await.unwrap_err().class(), ErrorClass::Unreachable);
    assert!(known(&engine, &world, "b").await);
    assert_eq!(numbers(&cycle(&world.engine().await, &world).await.unwrap())[0], 2);
    assert_eq!(world.target.people().len(), 2);
}

#[tokio::test]
async fn a_paused_sync_reads_and_sends_nothing() {
    let world = World::new();
    world.source.person("a", "Anna", "anna@x");
    let (engine, _) = switched(&world).await;
    cycle(&engine, &world).await.unwrap();
    let (_, sync) = engine.store.sync_names().await.unwrap().remove(0);
    engine.store.set_paused(sync, Some("holidays")).await.unwrap();
    world.source.person("b", "Bo", "bo@x");
    let error = cycle(&engine, &world).await.unwrap_err();
    assert_eq!((error.class(), error.summary().contains("holidays")), (ErrorClass::Paused, true));
    assert!(known(&engine, &world, "b").await);
    assert_eq!(world.target.people().len(), 1);
    engine.store.set_paused(sync, None).await.unwrap();
    assert_eq!(numbers(&cycle(&engine, &world).await.unwrap())[0], 1);
}

#[tokio::test]
async fn after_a_restore_the_target_is_looked_at_before_anything_is_sent() {
    let world = World::new();
    for (id, name, mail) in [("a", "Anna", "anna@x"), ("b", "Bo", "bo@x"), ("c", "Cy", "cy@x")] {
        world.source.person(id, name, mail);
    }
    world.cycle().await.unwrap();
    let path = world.folder.path().join("state.db");
    let backup = world.folder.path().join("backup.db");
    world.store().await.backup(&backup).await.unwrap();
    // After the backup: one is renamed, one is gone for good and deleted, one joins.
    world.source.set("b", "name", Slot::text("Bob"));
    world.source.remove("c", Removal::Hard);
    world.source.person("d", "Di", "di@x");
    world.cycle().await.unwrap();
    world.wait(31 * DAY);
    world.cycle().await.unwrap();
    let people = world.target.people();
    assert_eq!(people.iter().map(|person| person.1.as_str()).collect::<Vec<_>>(), ["Anna", "Bob", "Di"]);
    world.target.state.lock().unwrap().applied.clear();

    let lock = StateLock::take(&path, "restore").unwrap();
    SqliteStore::restore(&path, &backup, world.clock.now(), &lock).await.unwrap();
    let report = world.cycle().await.unwrap();
    assert_eq!(world.target.people(), people);
    // What the target holds already is seen and not written once more, and nobody who is gone is made anew.
    assert_eq!(world.target.state.lock().unwrap().applied.len(), 0, "{report:?}");
    let store = world.store().await;
    assert!(store.standings().await.unwrap().iter().all(|standing| !standing.reconcile));
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
}

/// Asks for the end when the first page has come.
struct Ending(Stop);

impl Observer for Ending {
    fn read(&self, _objects: u64) {
        self.0.ask();
    }
}

#[tokio::test]
async fn a_cycle_asked_to_end_ends_between_two_pages_and_goes_on_later() {
    let world = World::new();
    for number in 0..20 {
        world.source.person(&format!("p{number:02}"), "Somebody", &format!("p{number}@x"));
    }
    let mut engine = world.engine().await;
    engine.observer = Arc::new(Ending(engine.stop.clone()));
    let error = cycle(&engine, &world).await.unwrap_err();
    assert!(matches!(error, EngineError::Stopped), "{error}");
    let people = world.target.people().len();
    assert!(people < 20, "{people}");
    let store = world.store().await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    assert_eq!(store.open_batches(sync).await.unwrap(), []);
    cycle(&world.engine().await, &world).await.unwrap();
    assert_eq!(world.target.people().len(), 20);
}

struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn nobody_is_deleted_because_a_clock_leapt() {
    let world = World::new();
    world.source.person("a", "Anna", "anna@x");
    world.source.person("b", "Bo", "bo@x");
    let start = world.clock.now();
    let wall = Arc::new(Hand(AtomicI64::new(start)));
    let at = |mark| {
        let clock = Arc::new(LifecycleClock::with_elapsed(wall.clone(), mark, Box::new(|| 0)));
        async {
            let mut engine = world.engine().await;
            engine.clock = clock.clone();
            (engine, clock)
        }
    };
    let (engine, _) = at(start).await;
    cycle(&engine, &world).await.unwrap();
    world.source.remove("a", Removal::Hard);
    cycle(&engine, &world).await.unwrap();
    assert_eq!(world.target.people().len(), 2);
    // A year ahead after a restart: the grace period is not over for that.
    wall.0.store(start + 365 * DAY, Ordering::Relaxed);
    let (engine, clock) = at(start).await;
    let report = cycle(&engine, &world).await.unwrap();
    assert_eq!(world.target.people().len(), 2);
    assert!(report.notes.iter().any(|note| note.contains("clock")), "{report:?}");
    // A person says that the clock is right.
    clock.accept(start + 365 * DAY);
    let report = cycle(&engine, &world).await.unwrap();
    assert_eq!((report.deleted, world.target.people().len()), (1, 1), "{report:?}");
    // A clock that was set back does not make that undone, and its mark stands in the state.
    assert_eq!(engine.store.facts().await.unwrap().clock_high_water, start + 365 * DAY);
}

#[tokio::test]
async fn pages_that_lead_on_and_on_without_an_entry_are_not_followed_for_ever() {
    let world = World::new();
    world.source.person("a", "Anna", "anna@x");
    world.cycle().await.unwrap();
    let most = usize::try_from(crate::import::MAX_EMPTY_PAGES).unwrap();
    world.source.person("b", "Bo", "bo@x");
    world.source.state.lock().unwrap().empty_pages = most - 1;
    assert_eq!(world.cycle().await.unwrap().created, 1);
    world.source.person("c", "Cy", "cy@x");
    world.source.state.lock().unwrap().empty_pages = usize::MAX;
    let before = world.source.state.lock().unwrap().calls;
    let error = world.cycle().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unexpected);
    assert!(error.to_string().contains("the source misbehaves"), "{error}");
    // One or two more were on their way already.
    assert!(world.source.state.lock().unwrap().calls - before <= most + 2);
    // Once it is well again, nothing is missing.
    world.source.state.lock().unwrap().empty_pages = 0;
    assert_eq!(world.cycle().await.unwrap().created, 1);
}

/// Whatever keeps a round from going on must not keep a person from starting anew.
#[tokio::test]
async fn a_full_read_takes_the_place_of_changes_that_were_being_read() {
    let world = World::new();
    world.source.person("a", "Anna", "anna@x");
    let (engine, _) = switched(&world).await;
    cycle(&engine, &world).await.unwrap();
    for id in ["b", "c", "d", "e", "f"] {
        world.source.person(id, id, &format!("{id}@x"));
    }
    *world.killer.0.lock().unwrap() = Some((crate::CommitPoint::PageMerged, 1));
    assert!(std::panic::AssertUnwindSafe(cycle(&engine, &world)).catch_unwind().await.is_err());
    let generation = async || {
        let connection = engine.store.connection("hr").await.unwrap().id;
        let source = engine.store.source_type(connection, "user").await.unwrap();
        (source.generation, source.cursor.is_some())
    };
    assert_eq!(generation().await, (1, true));
    world.full().await.unwrap();
    assert_eq!((generation().await, world.target.people().len()), ((2, false), 6));
}
