//! A target that takes whole records and says later what became of each, and of which nothing can be read.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use muster_connector::page::Removal;
use muster_connector::{
    Batch, CheckReport, Connector, Effect, Error as ConnectorError, FoundObject, Kind, OperationId, Outcome,
    ReadRequest, Resolution, Source, Target, UsedType,
};
use muster_model::{
    Anchor, AssignedBy, Attribute, Enabling, Key, ObjectType, Once, Schema, Slot, TargetCapabilities, Value, ValueType,
};
use muster_store::Store as _;

use super::world::{KILLED, World, mapping};
use crate::{CommitPoint, CycleOptions, EngineError, PlanOptions, Report, Unconfirmed, compile};

/// When the target is asked first.
const LATER: i64 = 300_000;

#[derive(Default)]
struct State {
    /// What was taken and is still to be processed: ticket, login, name, active.
    taken: Vec<(String, String, String, bool)>,
    /// Who is there: name and whether active.
    people: BTreeMap<String, (String, bool)>,
    resolved: HashMap<String, Resolution>,
    /// Every ticket ever given, with the operation's id.
    tickets: HashMap<String, OperationId>,
    calls: Vec<usize>,
    /// The next answers to `apply` are lost, though everything is taken.
    lost: usize,
    /// `confirm` fails.
    silent: bool,
}

/// Takes records, and recognises people by their login.
#[derive(Default)]
struct Inbound(Mutex<State>);

impl Inbound {
    /// Processes what was taken: `verdict` refuses some by login and name.
    fn process(&self, verdict: impl Fn(&str, &str) -> Option<Resolution>) {
        let mut state = self.0.lock().unwrap();
        for (ticket, login, name, active) in std::mem::take(&mut state.taken) {
            let resolution = verdict(&login, &name).unwrap_or_else(|| {
                let same = state.people.get(&login) == Some(&(name.clone(), active));
                state.people.insert(login, (name, active));
                let effect = Effect::default();
                Resolution::Known(if same { Outcome::AlreadySo(effect) } else { Outcome::Applied(effect) })
            });
            state.resolved.insert(ticket, resolution);
        }
    }

    fn all(&self) {
        self.process(|_, _| None);
    }

    fn people(&self) -> Vec<(String, String, bool)> {
        let state = self.0.lock().unwrap();
        state.people.iter().map(|(login, (name, active))| (login.clone(), name.clone(), *active)).collect()
    }

    fn calls(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }
}

fn schema() -> Schema {
    let text = |name: &str| Attribute { required: true, ..Attribute::new(name, ValueType::Text) };
    Schema {
        identity: "a tenant".to_owned(),
        types: vec![ObjectType {
            name: "person".to_owned(),
            anchor: Anchor { attributes: vec!["login".to_owned()], assigned_by: AssignedBy::Creator },
            alternate_keys: Vec::new(),
            attributes: vec![text("login"), text("name"), Attribute::new("active", ValueType::Boolean)],
            enabling: Some(Enabling { attribute: "active".to_owned() }),
            source: None,
            target: Some(TargetCapabilities {
                once: Once::Natural,
                readable: false,
                can_delete: false,
                can_rename: false,
                writes_secrets: false,
                ordered: false,
                max_batch: 50,
                max_in_flight: 1,
            }),
        }],
        setup: Vec::new(),
    }
}

#[async_trait]
impl Connector for Inbound {
    async fn check(&self, _: &[UsedType]) -> Result<CheckReport, ConnectorError> {
        Ok(CheckReport::default())
    }

    async fn schema(&self) -> Result<Schema, ConnectorError> {
        Ok(schema())
    }

    fn source(&self) -> Option<&dyn Source> {
        None
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }
}

#[async_trait]
impl Target for Inbound {
    async fn get(&self, _: &ReadRequest, _: &[Key]) -> Result<Vec<Option<FoundObject>>, ConnectorError> {
        panic!("nothing can be read")
    }

    async fn find(
        &self,
        _: &ReadRequest,
        _: &[String],
        _: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, ConnectorError> {
        panic!("nothing can be read")
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, ConnectorError> {
        Ok(batch.operations.iter().map(|operation| format!("{:?} {:?}", operation.kind, operation.row.0)).collect())
    }

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, ConnectorError> {
        let mut state = self.0.lock().unwrap();
        state.calls.push(batch.operations.len());
        assert!(batch.operations.len() <= 50);
        let mut outcomes = Vec::new();
        for operation in &batch.operations {
            assert_eq!(operation.kind, Kind::Put);
            let slot = |name: &str| {
                let position = batch.attributes.iter().position(|known| known == name).unwrap();
                operation.row.slot(position).clone()
            };
            let text = |name: &str| slot(name).value().unwrap_or_else(|| panic!("{name} is missing")).to_string();
            assert_eq!(operation.key.as_ref().unwrap().to_string(), text("login"));
            let ticket = format!("ticket {}", state.tickets.len());
            assert!(!state.tickets.values().any(|id| *id == operation.id), "an operation is never sent again");
            state.tickets.insert(ticket.clone(), operation.id);
            let active = slot("active") != Slot::One(Value::Boolean(false));
            state.taken.push((ticket.clone(), text("login"), text("name"), active));
            let look_again_after = Duration::from_millis(LATER.unsigned_abs());
            outcomes.push((operation.id, Outcome::Accepted { ticket, look_again_after }));
        }
        if state.lost > 0 {
            state.lost -= 1;
            return Err(ConnectorError::Unreachable { problem: "cut off".to_owned(), nothing_sent: false });
        }
        Ok(outcomes)
    }

    async fn outcomes(&self, _: &[OperationId]) -> Result<Vec<(OperationId, Resolution)>, ConnectorError> {
        panic!("it keeps no ledger")
    }

    async fn confirm(
        &self,
        object_type: &str,
        accepted: &[(OperationId, String)],
    ) -> Result<Vec<(OperationId, Resolution)>, ConnectorError> {
        assert_eq!(object_type, "person");
        let state = self.0.lock().unwrap();
        if state.silent {
            return Err(ConnectorError::Throttled { problem: "too often".to_owned(), after: Duration::from_secs(10) });
        }
        let known = |(id, ticket): &(OperationId, String)| {
            assert_eq!(state.tickets[ticket], *id);
            Some((*id, state.resolved.get(ticket)?.clone()))
        };
        Ok(accepted.iter().filter_map(known).collect())
    }

    async fn effort(&self, _: &str, operations: u64) -> Result<Option<String>, ConnectorError> {
        Ok(Some(format!("{operations} people take {} calls", operations.div_ceil(50))))
    }
}

/// A source, and a target that answers later.
struct Hub {
    world: World,
    inbound: Arc<Inbound>,
}

impl Hub {
    fn new() -> Self {
        let mut world = World::new();
        world.rules.matching.clear();
        world.rules.mappings = vec![mapping("login", "[mail]"), mapping("name", "[name]")];
        Self { world, inbound: Arc::default() }
    }

    async fn engine(&self) -> crate::Engine {
        let mut engine = self.world.engine().await;
        engine.connections.insert("app".to_owned(), self.inbound.clone());
        engine
    }

    async fn cycle(&self) -> Result<Report, EngineError> {
        self.engine().await.cycle(&self.world.rules, &CycleOptions::default()).await
    }

    async fn run(&self) -> Report {
        self.cycle().await.unwrap()
    }

    /// Processes everything, and asks when it is time.
    async fn confirmed(&self) -> Report {
        self.inbound.all();
        self.world.wait(LATER);
        self.run().await
    }

    async fn unconfirmed(&self) -> u64 {
        let store = self.world.store().await;
        let (_, sync) = store.sync_names().await.unwrap().remove(0);
        Unconfirmed::of(&store.open_batches(sync).await.unwrap()).operations
    }
}

fn person(login: &str, name: &str, active: bool) -> (String, String, bool) {
    (login.to_owned(), name.to_owned(), active)
}

/// Created, updated, disabled, parked, accepted, unknown.
fn told(report: &Report) -> [u64; 6] {
    [report.created, report.updated, report.disabled, report.parked, report.accepted, report.unknown]
}

#[tokio::test]
async fn joiners_movers_and_leavers_are_confirmed_one_by_one() {
    let hub = Hub::new();
    for number in 0..120 {
        hub.world.source.person(&format!("p{number:03}"), "P", &format!("p{number:03}@x"));
    }
    assert_eq!(told(&hub.run().await), [0, 0, 0, 0, 120, 0]);
    assert_eq!(hub.inbound.calls(), [50, 50, 20]);
    // Nobody is asked before it is time, and nothing is sent twice.
    assert_eq!(told(&hub.run().await), [0, 0, 0, 0, 120, 0]);
    assert_eq!((hub.inbound.calls(), hub.unconfirmed().await), (vec![], 120));
    hub.world.wait(LATER);
    assert_eq!(told(&hub.run().await), [0, 0, 0, 0, 120, 0], "nothing is processed yet");
    assert_eq!(told(&hub.confirmed().await), [120, 0, 0, 0, 0, 0]);
    assert_eq!((told(&hub.run().await), hub.unconfirmed().await), ([0; 6], 0));
    assert_eq!(hub.inbound.calls(), Vec::<usize>::new());

    hub.world.source.set("p001", "name", Slot::text("Moved"));
    hub.world.source.remove("p002", Removal::Soft);
    assert_eq!(told(&hub.run().await), [0, 0, 0, 0, 2, 0]);
    assert_eq!(told(&hub.confirmed().await), [0, 1, 1, 0, 0, 0]);
    let people = hub.inbound.people();
    assert_eq!(people[1..3], [person("p001@x", "Moved", true), person("p002@x", "P", false)]);
    hub.world.source.person("p002", "P", "p002@x");
    hub.run().await;
    assert_eq!(hub.confirmed().await.enabled, 1);
    assert_eq!(hub.inbound.people()[2], person("p002@x", "P", true));
    assert_eq!(told(&hub.run().await), [0; 6]);
}

#[tokio::test]
async fn what_changes_before_the_confirmation_is_sent_after_it() {
    let hub = Hub::new();
    hub.world.source.person("a", "Anna", "anna@x");
    hub.world.source.person("b", "Bo", "bo@x");
    hub.run().await;
    hub.world.source.set("a", "name", Slot::text("Anne"));
    hub.world.source.remove("b", Removal::Soft);
    assert_eq!(told(&hub.run().await), [0, 0, 0, 0, 2, 0]);
    assert_eq!(hub.inbound.calls(), [2], "one change of a person at a time");
    // Confirmed as it was sent; what came since goes out at once.
    assert_eq!(told(&hub.confirmed().await), [2, 0, 0, 0, 2, 0]);
    assert_eq!(hub.inbound.people(), [person("anna@x", "Anna", true), person("bo@x", "Bo", true)]);
    assert_eq!(told(&hub.confirmed().await), [0, 1, 1, 0, 0, 0]);
    assert_eq!(hub.inbound.people(), [person("anna@x", "Anne", true), person("bo@x", "Bo", false)]);
    assert_eq!(told(&hub.run().await), [0; 6]);
}

#[tokio::test]
async fn what_is_refused_waits_for_the_source_and_is_explained() {
    let hub = Hub::new();
    hub.world.source.person("a", "Anna", "anna@x");
    hub.world.source.person("b", "Bo", "bo@nowhere");
    hub.run().await;
    let explained = hub.engine().await.explain(&hub.world.rules, "b").await.unwrap();
    assert!(explained.waits.iter().any(|wait| wait.contains("the target took a change at 2027")), "{explained:?}");
    let refuse = |login: &str, _: &str| {
        let outcome = Outcome::Rejected {
            attribute: Some("login".to_owned()),
            rule: "InvalidDomain".to_owned(),
            message: "the domain does not exist".to_owned(),
        };
        login.ends_with("nowhere").then_some(Resolution::Known(outcome))
    };
    hub.inbound.process(refuse);
    hub.world.wait(LATER);
    assert_eq!(told(&hub.run().await), [1, 0, 0, 1, 0, 0]);
    let explained = hub.engine().await.explain(&hub.world.rules, "b").await.unwrap();
    assert!(explained.waits.iter().any(|wait| wait.contains("the domain does not exist")), "{explained:?}");
    hub.inbound.calls();
    hub.world.wait(7_200_000);
    assert_eq!(told(&hub.run().await), [0; 6], "calls are counted, so it is not tried again by itself soon");
    hub.world.source.set("b", "mail", Slot::text("bo@x"));
    assert_eq!(told(&hub.run().await), [0, 0, 0, 0, 1, 0]);
    assert_eq!(told(&hub.confirmed().await), [1, 0, 0, 0, 0, 0]);
    assert_eq!(hub.inbound.people(), [person("anna@x", "Anna", true), person("bo@x", "Bo", true)]);
}

#[tokio::test]
async fn what_is_refused_alike_by_confirmations_stops_the_sync_until_a_probe_is_confirmed() {
    let hub = Hub::new();
    let people = |from: usize, to: usize| {
        for number in from..to {
            hub.world.source.person(&format!("p{number:03}"), "P", &format!("p{number:03}@nowhere"));
        }
    };
    let refuse = |login: &str, _: &str| {
        let rule = "InvalidDomain".to_owned();
        let outcome = Outcome::Rejected { attribute: Some("login".to_owned()), rule, message: "no domain".to_owned() };
        login.ends_with("nowhere").then_some(Resolution::Known(outcome))
    };
    people(0, 60);
    assert_eq!(told(&hub.run().await), [0, 0, 0, 0, 60, 0]);
    hub.inbound.process(refuse);
    people(60, 100);
    hub.world.wait(LATER);
    let report = hub.run().await;
    assert_eq!(told(&report), [0, 0, 0, 60, 0, 0], "nobody else is sent");
    assert_eq!(report.notes.iter().filter(|note| note.contains("InvalidDomain login")).count(), 1, "{report:?}");
    assert_eq!(report.read, 40, "the source is read meanwhile");
    hub.inbound.calls();

    // A few are tried, and refused again: it goes on.
    hub.world.wait(120_000);
    assert_eq!(hub.run().await.accepted, 10);
    assert_eq!(hub.inbound.calls(), [10]);
    hub.inbound.process(refuse);
    hub.world.wait(LATER);
    let report = hub.run().await;
    assert!(report.notes.iter().any(|note| note.contains("quarantined")), "{report:?}");
    // The domain is there now: whoever was tried is confirmed, and the others follow; who was refused before, a day later.
    hub.inbound.all();
    hub.world.wait(LATER);
    let report = hub.run().await;
    assert_eq!((report.created, report.accepted), (10, 20), "{report:?}");
    assert!(!report.notes.iter().any(|note| note.contains("quarantined")), "{report:?}");
    assert_eq!(hub.confirmed().await.created, 20);
    hub.world.wait(86_400_000);
    assert_eq!(hub.run().await.accepted, 70);
    assert_eq!(hub.confirmed().await.created, 70);
    assert_eq!(hub.inbound.people().len(), 100);
}

#[tokio::test]
async fn lost_answers_forgotten_tickets_and_silence_lose_nobody() {
    let hub = Hub::new();
    hub.world.source.person("a", "Anna", "anna@x");
    hub.inbound.0.lock().unwrap().lost = 1;
    hub.cycle().await.unwrap_err();
    assert_eq!(told(&hub.run().await), [0, 0, 0, 0, 1, 0], "under a new name");
    // Both arrived, and the second changed nothing.
    assert_eq!(hub.confirmed().await.unchanged, 1);
    assert_eq!(hub.inbound.people(), [person("anna@x", "Anna", true)]);
    assert_eq!((hub.inbound.calls(), hub.unconfirmed().await), (vec![1, 1], 0));

    hub.world.source.set("a", "name", Slot::text("Anne"));
    hub.run().await;
    hub.inbound.process(|_, _| Some(Resolution::NotRecorded));
    hub.world.wait(LATER);
    assert_eq!(told(&hub.run().await), [0, 0, 0, 0, 1, 0]);
    hub.inbound.all();
    hub.inbound.0.lock().unwrap().silent = true;
    hub.world.wait(LATER);
    hub.world.source.person("b", "Bo", "bo@x");
    let report = hub.run().await;
    assert_eq!(told(&report), [0, 0, 0, 0, 2, 0], "others go on");
    assert!(report.notes[0].contains("1 accepted changes could not be asked"), "{:?}", report.notes);
    hub.inbound.0.lock().unwrap().silent = false;
    assert_eq!(told(&hub.confirmed().await), [1, 1, 0, 0, 0, 0]);
    assert_eq!(hub.inbound.people(), [person("anna@x", "Anne", true), person("bo@x", "Bo", true)]);
    assert_eq!(told(&hub.run().await), [0; 6]);
}

#[tokio::test]
async fn plans_say_what_it_takes_and_rules_that_must_read_are_refused() {
    let hub = Hub::new();
    for number in 0..60 {
        hub.world.source.person(&format!("p{number:03}"), "P", &format!("p{number:03}@x"));
    }
    let options = PlanOptions { statements: true, limit: 1, ..PlanOptions::default() };
    let plan = hub.engine().await.plan(&hub.world.rules, &options).await.unwrap();
    assert!(plan.report.notes.contains(&"60 people take 2 calls".to_owned()), "{:?}", plan.report.notes);
    assert!(plan.statements[0].starts_with("Put "), "{:?}", plan.statements);
    hub.run().await;
    let plan = hub.engine().await.plan(&hub.world.rules, &PlanOptions::default()).await.unwrap();
    assert_eq!((plan.report.created, plan.report.accepted), (0, 60));
    let options = CycleOptions { reconcile: true, ..CycleOptions::default() };
    let report = hub.engine().await.cycle(&hub.world.rules, &options).await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("all 0 objects are sent again")), "{:?}", report.notes);

    let source = hub.world.source.schema().await.unwrap();
    let mut rules = hub.world.rules.clone();
    rules.matching = World::new().rules.matching;
    let Err(findings) = compile(&rules, &source, &schema()) else { panic!("a match rule is taken") };
    assert!(findings.iter().any(|finding| finding.setting.ends_with("match")), "{findings:?}");
}

#[tokio::test]
async fn whoever_is_to_be_reconciled_is_sent_again_whole() {
    let hub = Hub::new();
    hub.world.source.person("a", "Anna", "anna@x");
    hub.world.source.person("b", "Bo", "bo@x");
    hub.world.source.person("c", "Cy", "cy@x");
    hub.run().await;
    hub.confirmed().await;
    hub.world.source.remove("b", Removal::Soft);
    hub.run().await;
    hub.confirmed().await;
    // Somebody else changed them there.
    hub.inbound.0.lock().unwrap().people.get_mut("anna@x").unwrap().0 = "Someone".to_owned();
    assert_eq!(told(&hub.run().await), [0; 6]);
    let options = CycleOptions { reconcile: true, ..CycleOptions::default() };
    let report = hub.engine().await.cycle(&hub.world.rules, &options).await.unwrap();
    assert_eq!(told(&report), [0, 0, 0, 0, 2, 0], "whoever is gone stays disabled");
    assert!(report.notes.iter().any(|note| note.contains("all 2 objects are sent again")), "{:?}", report.notes);
    let report = hub.confirmed().await;
    assert_eq!((report.updated, report.unchanged), (1, 1));
    let wanted = [person("anna@x", "Anna", true), person("bo@x", "Bo", false), person("cy@x", "Cy", true)];
    assert_eq!(hub.inbound.people(), wanted);
    assert_eq!(told(&hub.run().await), [0; 6]);
}

#[tokio::test]
async fn a_guarded_change_waits_and_counts_once() {
    let hub = Hub::new();
    for number in 0..10 {
        hub.world.source.person(&format!("p{number}"), "P", &format!("p{number}@x"));
    }
    hub.run().await;
    hub.confirmed().await;
    // Half may go in a day; the answer to the first five is lost, and they go out again.
    for number in 0..5 {
        hub.world.source.remove(&format!("p{number}"), Removal::Soft);
    }
    hub.inbound.0.lock().unwrap().lost = 1;
    hub.cycle().await.unwrap_err();
    let report = hub.run().await;
    assert_eq!((report.accepted, report.held), (5, 0));
    hub.world.source.remove("p5", Removal::Soft);
    assert_eq!(hub.run().await.held, 1);
    hub.confirmed().await;
    assert_eq!(hub.inbound.people().iter().filter(|(_, _, active)| !active).count(), 5);
}

/// Two days with one kill, everything processed after each run; what the target holds, and whether the kill struck.
async fn story(kill: Option<(CommitPoint, usize)>) -> (Vec<(String, String, bool)>, bool) {
    let hub = Hub::new();
    *hub.world.killer.0.lock().unwrap() = kill;
    let mut struck = false;
    for day in 0..2 {
        if day == 0 {
            for number in 0..7 {
                hub.world.source.person(&format!("p{number}"), "P", &format!("p{number}@x"));
            }
        } else {
            hub.world.source.set("p1", "name", Slot::text("Moved"));
            hub.world.source.remove("p2", Removal::Soft);
            hub.world.source.person("p7", "New", "p7@x");
        }
        for _ in 0..4 {
            match std::panic::AssertUnwindSafe(hub.cycle()).catch_unwind().await {
                Ok(result) => drop(result.unwrap()),
                Err(payload) => {
                    assert_eq!(payload.downcast_ref::<&str>(), Some(&KILLED), "the engine panicked by itself");
                    struck = true;
                }
            }
            hub.inbound.all();
            hub.world.wait(LATER);
        }
    }
    *hub.world.killer.0.lock().unwrap() = None;
    assert_eq!(told(&hub.run().await), [0; 6], "after a kill at {kill:?}");
    assert_eq!(hub.unconfirmed().await, 0);
    (hub.inbound.people(), struck)
}

#[tokio::test]
async fn any_kill_leads_to_the_same_end() {
    let (expected, _) = story(None).await;
    assert_eq!((expected.len(), &expected[1]), (8, &person("p1@x", "Moved", true)));
    for point in CommitPoint::ALL {
        let mut passings = 0;
        loop {
            let (people, struck) = story(Some((point, passings + 1))).await;
            assert_eq!(people, expected, "after a kill at passing {} of {point:?}", passings + 1);
            if !struck {
                break;
            }
            passings += 1;
        }
    }
}
