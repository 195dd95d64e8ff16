//! What a person sees and decides, and what observing and protected objects leave alone.

use muster_connector::page::Removal;
use muster_expression::Condition;
use muster_model::{Key, Slot, Value};
use muster_store::{Decided, Decision, LinkState, LinkView, Origin, Retry, Store, SyncId};

use super::world::{Fault, World, numbers};
use crate::rules::{Limit, Mode};
use crate::{EngineError, Linking, PlanOptions};

fn three(world: &World) {
    world.source.person("a", "Anna", "anna@x");
    world.source.person("b", "Bo", "bo@x");
    world.source.person("c", "Cy", "cy@x");
}

async fn sync(store: &dyn Store) -> SyncId {
    store.sync_names().await.unwrap().remove(0).1
}

async fn link(world: &World, key: &str) -> LinkView {
    let store = world.store().await;
    let sync = sync(store.as_ref()).await;
    store.link_of(sync, &Key::text(key).encode()).await.unwrap().unwrap()
}

pub(super) async fn decide(world: &World, key: &str, decision: Decision) -> Decided {
    let store: std::sync::Arc<dyn Store> = world.store().await;
    let link = link(world, key).await;
    store.decide(sync(store.as_ref()).await, link.id, &decision).await.unwrap()
}

#[tokio::test]
async fn an_ignored_object_is_left_alone_until_it_is_taken_back() {
    let world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    assert_eq!(decide(&world, "a", Decision::Ignore).await, Decided::Done);
    let ignored = link(&world, "a").await;
    assert_eq!((ignored.state, ignored.target_key, ignored.written), (LinkState::Ignored, None, None));
    world.source.set("a", "name", Slot::text("Ann"));
    world.source.remove("a", Removal::Soft);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.updated, report.disabled, report.unchanged), (0, 0, 1));
    assert_eq!(world.target.people()[0], ("anna@x".to_owned(), "Anna".to_owned(), true));
    world.source.person("a", "Ann", "anna@x");
    world.full().await.unwrap();
    assert_eq!(world.target.people()[0].1, "Anna");
    assert_eq!(decide(&world, "a", Decision::Return).await, Decided::Done);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.adopted, world.target.people()[0].1.as_str()), (1, "Ann"));
}

#[tokio::test]
async fn what_was_separated_is_not_matched_again_before_it_is_linked_by_hand() {
    let world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    assert_eq!(decide(&world, "a", Decision::Release).await, Decided::Done);
    world.source.set("a", "name", Slot::text("Ann"));
    world.full().await.unwrap();
    assert_eq!(link(&world, "a").await.state, LinkState::Released);
    assert_eq!(world.target.people()[0].1, "Anna");
    let other = world.target.insert("other@x", "Other");
    let engine = world.engine().await;
    // Named by the value it is matched by, as people know it.
    let done = engine.link(&world.rules, "anna@x", &other.to_string()).await.unwrap();
    assert!(matches!(done, Linking::Done { ref target, .. } if *target == other.to_string()), "{done:?}");
    world.target.state.lock().unwrap().rows.remove(&1);
    assert_eq!(world.cycle().await.unwrap().updated, 1);
    let linked = link(&world, "a").await;
    assert_eq!((linked.state, linked.origin), (LinkState::Linked, Origin::Adopted));
    assert_eq!(world.target.state.lock().unwrap().rows[&other]["name"], Slot::text("Ann"));
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
}

#[tokio::test]
async fn a_link_by_hand_needs_an_object_that_nobody_has() {
    let mut world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    world.source.person("d", "Di", "");
    world.cycle().await.unwrap();
    let engine = world.engine().await;
    assert_eq!(engine.link(&world.rules, "d", "99").await.unwrap(), Linking::NoObject);
    assert_eq!(engine.link(&world.rules, "d", "no number").await.unwrap(), Linking::NoObject);
    let owned = Linking::Owned { sync: "staff".to_owned(), source: "b".to_owned() };
    assert_eq!(engine.link(&world.rules, "d", "2").await.unwrap(), owned);
    let root = world.target.insert("root@x", "Root");
    world.rules.protect = vec![Condition::parse("[login] EQUALS \"root@x\"").unwrap()];
    assert_eq!(engine.link(&world.rules, "d", &root.to_string()).await.unwrap(), Linking::Protected);
    let unknown = engine.link(&world.rules, "nobody", "2").await.unwrap_err();
    assert!(matches!(unknown, EngineError::NoObject { .. }), "{unknown}");
}

#[tokio::test]
async fn what_is_parked_can_be_tried_again_by_its_reason() {
    let world = World::new();
    world.fault(Fault::Poison("Evil"));
    world.source.person("a", "Evil", "a@x");
    world.source.person("b", "A name of more than twenty characters", "b@x");
    assert_eq!(world.cycle().await.unwrap().parked, 2);
    world.target.state.lock().unwrap().faults.clear();
    let store: std::sync::Arc<dyn Store> = world.store().await;
    let sync = sync(store.as_ref()).await;
    let rule = |rule: &str, attribute: Option<&str>| Retry::Rule {
        rule: rule.to_owned(),
        attribute: attribute.map(str::to_owned),
    };
    assert_eq!(store.retry(sync, &rule("forbidden", Some("login"))).await.unwrap(), 0);
    assert_eq!(store.retry(sync, &rule("forbidden", Some("name"))).await.unwrap(), 1);
    assert_eq!(world.cycle().await.unwrap().created, 1);
    assert_eq!(store.retry(sync, &Retry::All).await.unwrap(), 1);
    let parked = link(&world, "b").await.id;
    assert_eq!(store.retry(sync, &Retry::Links(vec![parked])).await.unwrap(), 1);
    assert_eq!(world.cycle().await.unwrap().parked, 1);
    assert_eq!(store.parked(sync, 9).await.unwrap()[0].attempts, 2);
}

#[tokio::test]
async fn observing_says_everything_and_writes_nothing() {
    let mut world = World::new();
    world.rules.mode = Mode::Observe;
    world.target.insert("anna@x", "Anne");
    three(&world);
    for _ in 0..2 {
        let report = world.cycle().await.unwrap();
        assert_eq!((report.created, report.adopted, report.updated, report.observed), (2, 1, 1, true));
    }
    assert!(world.target.state.lock().unwrap().applied.is_empty());
    assert_eq!(link(&world, "a").await.target_key, None);
    let store = world.store().await;
    let runs = store.runs(sync(store.as_ref()).await, 9).await.unwrap();
    assert_eq!((runs.len(), runs[0].outcome.as_deref()), (2, Some("ok")));
    world.rules.mode = Mode::Apply;
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.adopted, report.observed), (2, 1, false));
}

/// Protected by an attribute that the sync does not write, and by one that it does.
#[tokio::test]
async fn protected_objects_are_never_touched() {
    for condition in [
        "[extra] EQUALS \"not ours\"",
        "[login] EQUALS \"ANNA@x\" AND [extra] IS NOT NULL",
        "[login] EQUALS \"anna@x\"",
    ] {
        let mut world = World::new();
        world.target.insert("anna@x", "Anne");
        world.rules.protect =
            vec![Condition::parse("[level] EQUALS \"9\"").unwrap(), Condition::parse(condition).unwrap()];
        three(&world);
        let report = world.cycle().await.unwrap();
        let spared = condition != "[login] EQUALS \"ANNA@x\" AND [extra] IS NOT NULL";
        let next = world.engine().await.explain(&world.rules, "a").await.unwrap().next;
        assert_eq!(
            next.contains(&format!("is protected, so it would be parked (syncs.staff.protect[1]: {condition})")),
            spared,
            "{next}"
        );
        assert_eq!((report.adopted, report.parked), (u64::from(!spared), u64::from(spared)), "{condition}");
        assert_eq!(world.target.people()[0].1, if spared { "Anne" } else { "Anna" }, "{condition}");
    }
}

#[tokio::test]
async fn a_linked_object_that_becomes_protected_is_not_changed_disabled_or_deleted() {
    for condition in ["[extra] EQUALS \"keep\"", "[login] INCLUDES \"anna\""] {
        let mut world = World::new();
        three(&world);
        world.cycle().await.unwrap();
        world.rules.protect = vec![Condition::parse(condition).unwrap()];
        world.target.state.lock().unwrap().rows.get_mut(&1).unwrap().insert("extra".to_owned(), Slot::text("keep"));
        world.source.set("a", "name", Slot::text("Ann"));
        world.source.set("b", "name", Slot::text("Bob"));
        let expected = format!(
            "nothing: the target object is protected, so it would be parked (syncs.staff.protect[0]: {condition})"
        );
        let report = world.cycle().await.unwrap();
        assert_eq!((report.updated, report.parked), (1, 1), "{condition}");
        let explained = world.engine().await.explain(&world.rules, "a").await.unwrap();
        assert_eq!(explained.next, expected);
        let other = world.engine().await.explain(&world.rules, "b").await.unwrap();
        assert!(!other.next.contains("protected"), "{}", other.next);
        world.source.remove("a", Removal::Hard);
        assert_eq!(world.cycle().await.unwrap().disabled, 0, "{condition}");
        world.wait(40 * super::world::DAY);
        world.cycle().await.unwrap();
        assert_eq!(world.target.people()[0], ("anna@x".to_owned(), "Anna".to_owned(), true), "{condition}");
        let store = world.store().await;
        let parked = store.parked(sync(store.as_ref()).await, 9).await.unwrap();
        assert_eq!(parked[0].rule, "protected");
    }
}

#[tokio::test]
async fn protection_by_an_attribute_that_is_not_there_is_refused() {
    let mut world = World::new();
    three(&world);
    world.rules.protect = vec![Condition::parse("[logn] EQUALS \"x\"").unwrap()];
    let Err(EngineError::Rules { findings, .. }) = world.cycle().await else { panic!("ran without protection") };
    assert_eq!(findings[0].setting, "syncs.staff.protect[0]");
    assert!(findings[0].fix.contains("did you mean \"login\"?"), "{findings:?}");
}

#[tokio::test]
async fn a_plan_for_a_filled_target_is_the_takeover_report() {
    let mut world = World::new();
    for (login, name) in [("anna@x", "Anne"), ("bo@x", "One"), ("bo@x", "Two"), ("svc@x", "Backup"), ("old@x", "Old")] {
        world.target.insert(login, name);
    }
    three(&world);
    world.source.person("a2", "Anna", "anna@x");
    world.rules.guard.clear = Limit { percent: 0.0, min: 0, max: None };
    let options = PlanOptions { limit: 10, ..PlanOptions::default() };
    let plan = world.engine().await.plan(&world.rules, &options).await.unwrap();
    let takeover = plan.takeover.unwrap();
    assert_eq!((takeover.matched, takeover.ambiguous), (1, 1));
    // Both rows of the ambiguous match belong to nobody yet.
    assert_eq!((takeover.target_objects, takeover.foreign), (Some(5), Some(4)));
    assert!(takeover.first_foreign.contains(&("4".to_owned(), Some("svc@x".to_owned()))), "{takeover:?}");
    assert_eq!(plan.values, [("name".to_owned(), 1)].into());
    assert_eq!(plan.report.created, 1);
    world.cycle().await.unwrap();
    let plan = world.engine().await.plan(&world.rules, &options).await.unwrap();
    assert!(plan.takeover.is_none());
    let options = PlanOptions { takeover: true, ..options };
    let plan = world.engine().await.plan(&world.rules, &options).await.unwrap();
    assert_eq!(plan.takeover.unwrap().foreign, Some(4));
}

#[tokio::test]
async fn a_plan_marks_what_would_be_held() {
    let mut world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    let none = Limit { percent: 0.0, min: 0, max: None };
    world.rules.guard.disable = none;
    world.rules.guard.clear = none;
    world.source.remove("a", Removal::Soft);
    world.source.set("b", "name", Slot::Null);
    world.source.set("c", "name", Slot::text("Cyril"));
    let options = PlanOptions { limit: 10, ..PlanOptions::default() };
    let plan = world.engine().await.plan(&world.rules, &options).await.unwrap();
    let held: Vec<_> = plan.changes.iter().map(|change| (change.source.as_str(), change.held.as_deref())).collect();
    assert_eq!(held, [("a", Some("disable")), ("b", Some("clear name")), ("c", None)]);
    assert_eq!(plan.report.held, 2);
}

#[tokio::test]
async fn an_explanation_answers_why_a_person_looks_like_this() {
    let mut world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    world.rules.guard.disable = Limit { percent: 0.0, min: 0, max: None };
    let engine = world.engine().await;
    let explained = engine.explain(&world.rules, "a").await.unwrap();
    assert_eq!((explained.state.as_str(), explained.target.as_deref()), ("linked", Some("1")));
    assert_eq!(explained.next, "nothing: all is as it should be");
    assert!(explained.attributes.contains(&("mail".to_owned(), "anna@x".to_owned())), "{explained:?}");
    world.source.set("a", "name", Slot::text("Ann"));
    world.source.set("a", "active", Slot::One(Value::Boolean(false)));
    world.source.person("d", "A name of more than twenty characters", "d@x");
    assert_eq!(world.cycle().await.unwrap().held, 1);
    // By the value people know.
    let explained = engine.explain(&world.rules, "anna@x").await.unwrap();
    assert_eq!(explained.source, "a");
    assert!(explained.decision.contains("disabled at the source ([active] is false): disable"), "{explained:?}");
    assert_eq!(explained.next, "the target object would be disabled (enabled)");
    assert!(explained.waits[0].contains("held: disable; `muster approve staff "), "{explained:?}");
    let name = explained.mappings.iter().find(|mapping| mapping.attribute == "name").unwrap();
    assert_eq!((name.expression.as_str(), name.value.as_str(), name.written.as_str()), ("[name]", "Ann", "Ann"));
    let explained = engine.explain(&world.rules, "d@x").await.unwrap();
    assert!(explained.waits[0].contains("parked: name: too_long"), "{explained:?}");
    assert!(explained.events.iter().any(|(_, code, detail)| code == "parked" && detail == "1 too_long name"));
    assert!(matches!(engine.explain(&world.rules, "nobody").await, Err(EngineError::NoObject { .. })));
}
