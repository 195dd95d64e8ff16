//! Start and end dates: what is due happens at its moment, once, and for the sake of time alone only while the clock is
//! believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SecondsFormat};
use chrono_tz::Tz;
use muster_connector::page::Removal as Gone;
use muster_expression::Expression;
use muster_model::{Slot, Value};
use muster_store::Store as _;

use super::world::{DAY, Fault, World, mapping, numbers};
use crate::rules::{EndDay, LifecycleRules, Limit, Removal};
use crate::{Clock, CycleOptions, Engine, EngineError, LifecycleClock, PlanOptions, PlannedKind};

const MINUTE: i64 = 60_000;

fn rules() -> LifecycleRules {
    LifecycleRules {
        starts: Some(Expression::parse("[hired]").unwrap()),
        ends: Some(Expression::parse("[leaves]").unwrap()),
        create_before: None,
        delete_after: None,
        time_zone: Tz::UTC,
        end_day: EndDay::Included,
    }
}

/// Two people without dates.
fn world(rules: LifecycleRules) -> World {
    let mut world = World::new();
    world.rules.lifecycle = Some(rules);
    world.source.person("a", "Anna", "anna@x");
    world.source.person("b", "Bo", "bo@x");
    world
}

fn date(world: &World, id: &str, attribute: &'static str, after: i64) {
    let time = DateTime::from_timestamp_millis(world.clock.now() + after).unwrap();
    world.source.set(id, attribute, Slot::text(&time.to_rfc3339_opts(SecondsFormat::Millis, true)));
}

/// Who has an object, and whether it is enabled.
fn enabled(world: &World) -> Vec<(String, bool)> {
    world.target.people().into_iter().map(|(login, _, enabled)| (login, enabled)).collect()
}

fn of(states: &[(&str, bool)]) -> Vec<(String, bool)> {
    states.iter().map(|(login, enabled)| ((*login).to_owned(), *enabled)).collect()
}

/// What keeps the sync from running, in one text.
async fn findings(world: &World) -> String {
    let Err(EngineError::Rules { findings, .. }) = world.cycle().await else { panic!("ran with wrong dates") };
    findings.iter().map(|finding| format!("{}: {}; {}\n", finding.setting, finding.problem, finding.fix)).collect()
}

async fn next_due(world: &World) -> Option<i64> {
    let store = world.store().await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    store.next_due(sync, 0).await.unwrap()
}

async fn disabled_once(world: &World) {
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
}

#[tokio::test]
async fn a_leave_date_that_passes_disables_at_its_moment_and_once() {
    let world = world(rules());
    date(&world, "a", "leaves", 3 * DAY);
    assert_eq!(world.cycle().await.unwrap().created, 2);
    assert_eq!(next_due(&world).await, Some(world.clock.now() + 3 * DAY));
    world.wait(3 * DAY - 1);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    world.wait(1);
    disabled_once(&world).await;
    assert_eq!(enabled(&world), of(&[("anna@x", false), ("bo@x", true)]));
    assert_eq!(next_due(&world).await, None);
    // Whoever stays after all is enabled again.
    world.source.set("a", "leaves", Slot::Null);
    assert_eq!(world.cycle().await.unwrap().enabled, 1);
    date(&world, "a", "leaves", 0);
    disabled_once(&world).await;
    date(&world, "a", "leaves", DAY);
    assert_eq!(world.cycle().await.unwrap().enabled, 1);
}

#[tokio::test]
async fn a_last_day_is_over_where_the_person_works() {
    let world = world(LifecycleRules { time_zone: Tz::America__New_York, ..rules() });
    world.source.set("a", "leaves", Slot::text("2027-01-20"));
    world.cycle().await.unwrap();
    let end = "2027-01-21T05:00:00Z".parse::<DateTime<chrono::Utc>>().unwrap().timestamp_millis();
    assert_eq!(next_due(&world).await, Some(end));
}

#[tokio::test]
async fn a_newcomer_is_there_in_time_and_enabled_at_the_start() {
    let world = world(LifecycleRules { create_before: Some(14 * DAY), ..rules() });
    date(&world, "a", "hired", 20 * DAY);
    assert_eq!(world.cycle().await.unwrap().created, 1);
    assert_eq!(enabled(&world), of(&[("bo@x", true)]));
    assert_eq!(next_due(&world).await, Some(world.clock.now() + 6 * DAY));
    world.wait(6 * DAY);
    assert_eq!(world.cycle().await.unwrap().created, 1);
    assert_eq!(enabled(&world), of(&[("anna@x", false), ("bo@x", true)]));
    assert_eq!(next_due(&world).await, Some(world.clock.now() + 14 * DAY));
    world.wait(14 * DAY - 1);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    world.wait(1);
    assert_eq!(world.cycle().await.unwrap().enabled, 1);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    assert_eq!(enabled(&world), of(&[("anna@x", true), ("bo@x", true)]));
    // A start that is put off takes access away again.
    date(&world, "a", "hired", DAY);
    disabled_once(&world).await;
}

#[tokio::test]
async fn without_create_before_a_newcomer_is_created_at_once_and_disabled() {
    let world = world(rules());
    date(&world, "a", "hired", 400 * DAY);
    assert_eq!(world.cycle().await.unwrap().created, 2);
    assert_eq!(enabled(&world), of(&[("anna@x", false), ("bo@x", true)]));
}

#[tokio::test]
async fn nobody_is_created_after_the_end_and_who_is_there_already_is_disabled() {
    let world = world(rules());
    world.target.insert("anna@x", "Anna");
    for id in ["a", "b"] {
        date(&world, id, "leaves", -DAY);
    }
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.adopted), (0, 1), "{report:?}");
    assert_eq!(enabled(&world), of(&[("anna@x", false)]));
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
}

#[tokio::test]
async fn whoever_left_is_deleted_so_long_after_unless_back_before() {
    let world = world(LifecycleRules { delete_after: Some(90 * DAY), ..rules() });
    for id in ["a", "b"] {
        date(&world, id, "leaves", DAY);
    }
    world.cycle().await.unwrap();
    world.wait(DAY);
    assert_eq!(world.cycle().await.unwrap().disabled, 2);
    world.wait(80 * DAY);
    date(&world, "a", "leaves", 100 * DAY);
    assert_eq!(world.cycle().await.unwrap().enabled, 1);
    world.wait(10 * DAY - 1);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    world.wait(1);
    assert_eq!(world.cycle().await.unwrap().deleted, 1);
    assert_eq!(enabled(&world), of(&[("anna@x", true)]));
    // Nobody makes it anew, until the person is hired again.
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    world.source.set("b", "leaves", Slot::Null);
    assert_eq!(world.cycle().await.unwrap().created, 1);
}

#[tokio::test]
async fn an_adopted_object_is_deleted_by_date_only_where_a_setting_says_so() {
    for delete_adopted in [false, true] {
        let mut world = world(LifecycleRules { delete_after: Some(90 * DAY), ..rules() });
        world.rules.removal.delete_adopted = delete_adopted;
        world.target.insert("anna@x", "Anna");
        date(&world, "a", "leaves", 0);
        assert_eq!(world.cycle().await.unwrap().adopted, 1);
        world.wait(90 * DAY);
        assert_eq!(world.cycle().await.unwrap().deleted, u64::from(delete_adopted));
    }
}

#[tokio::test]
async fn dates_that_contradict_each_other_give_no_access_and_delete_nothing() {
    let world = world(LifecycleRules { delete_after: Some(0), ..rules() });
    world.cycle().await.unwrap();
    date(&world, "a", "leaves", -DAY);
    date(&world, "a", "hired", DAY);
    disabled_once(&world).await;
    // The end that was left over goes, and the new start counts.
    world.source.set("a", "leaves", Slot::Null);
    assert_eq!(numbers(&world.cycle().await.unwrap())[..6], [0; 6]);
    world.wait(DAY);
    assert_eq!(world.cycle().await.unwrap().enabled, 1);
}

#[tokio::test]
async fn a_text_that_is_no_date_parks_its_person_alone() {
    let world = world(rules());
    world.source.set("a", "hired", Slot::text("soon"));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.parked), (1, 1), "{report:?}");
    let store = world.store().await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    let parked = store.parked(sync, 10).await.unwrap().remove(0);
    assert_eq!(parked.rule, "date");
    assert!(parked.message.unwrap().starts_with("lifecycle.starts: \"soon\" is no date"));
    // Somebody who is enabled stays so, and somebody who is not is not enabled for it.
    world.source.set("b", "leaves", Slot::text("31.12.2026"));
    world.source.set("a", "hired", Slot::Null);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.parked, report.disabled), (1, 1, 0), "{report:?}");
    date(&world, "a", "leaves", 0);
    disabled_once(&world).await;
    world.source.set("a", "leaves", Slot::text("never"));
    assert_eq!(world.cycle().await.unwrap().parked, 1);
    assert_eq!(enabled(&world), of(&[("anna@x", false), ("bo@x", true)]));
    // What the other date, or the source, takes away goes all the same.
    date(&world, "b", "hired", DAY);
    disabled_once(&world).await;
}

#[tokio::test]
async fn a_leaver_by_date_loses_access_whatever_else_does_not_fit() {
    let mut world = world(rules());
    world.rules.mappings.push(mapping("extra", "DateAdd(\"d\", 1, [name])"));
    world.source.set("a", "name", Slot::text("2026-01-01"));
    world.source.set("b", "name", Slot::text("2026-01-02"));
    date(&world, "a", "leaves", 10 * MINUTE);
    date(&world, "b", "leaves", 10 * MINUTE);
    assert_eq!(world.cycle().await.unwrap().created, 2);
    // One value cannot be computed, the other is refused by the target; both wait parked, for an hour at most.
    world.source.set("a", "name", Slot::text("x"));
    world.fault(Fault::Poison("2026-01-09"));
    world.source.set("b", "name", Slot::text("2026-01-09"));
    assert_eq!(world.cycle().await.unwrap().parked, 2);
    assert_eq!(next_due(&world).await, Some(world.clock.now() + 10 * MINUTE));
    world.wait(10 * MINUTE);
    assert_eq!(world.cycle().await.unwrap().disabled, 2);
    assert_eq!(enabled(&world), of(&[("anna@x", false), ("bo@x", false)]));
}

#[tokio::test]
async fn many_ends_at_once_wait_for_a_person() {
    let mut world = world(rules());
    world.rules.guard.disable = Limit { percent: 0.0, min: 1, max: None };
    for id in ["a", "b"] {
        date(&world, id, "leaves", DAY);
    }
    world.cycle().await.unwrap();
    world.wait(DAY);
    let engine = world.engine().await;
    let plan = engine.plan(&world.rules, &PlanOptions { limit: 10, ..PlanOptions::default() }).await.unwrap();
    let due: Vec<PlannedKind> = plan.changes.iter().map(|change| change.kind).collect();
    assert_eq!((due, plan.report.held), (vec![PlannedKind::Disable; 2], 2));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.disabled, report.held), (0, 2), "{report:?}");
}

#[tokio::test]
async fn a_leaver_loses_access_in_and_out_of_scope() {
    let mut world = world(rules());
    world.rules.removal.out_of_scope = Some(Removal::Keep);
    world.rules.removal.soft = Some(Removal::Keep);
    world.rules.scope = vec![muster_expression::Condition::parse("[name] IS NOT NULL").unwrap()];
    for id in ["a", "b"] {
        date(&world, id, "leaves", 5 * DAY);
    }
    world.cycle().await.unwrap();
    world.source.set("a", "name", Slot::Null);
    world.source.remove("b", Gone::Soft);
    assert_eq!(numbers(&world.cycle().await.unwrap())[..6], [0; 6]);
    world.wait(5 * DAY);
    assert_eq!(world.cycle().await.unwrap().disabled, 2);
}

#[tokio::test]
async fn where_nothing_can_be_disabled_people_come_at_the_start_and_go_by_deletion() {
    let mut world = World::with(false);
    world.rules.removal.soft = Some(Removal::Keep);
    world.rules.removal.disabled = Some(Removal::Keep);
    world.rules.lifecycle = Some(rules());
    let error = findings(&world).await;
    assert!(error.contains("create_before = \"0s\"") && error.contains("set delete_after"), "{error}");
    world.rules.lifecycle = Some(LifecycleRules { create_before: Some(0), delete_after: Some(DAY), ..rules() });
    world.source.person("a", "Anna", "anna@x");
    date(&world, "a", "hired", DAY);
    date(&world, "a", "leaves", 2 * DAY);
    assert_eq!(world.cycle().await.unwrap().created, 0);
    world.wait(DAY);
    assert_eq!(world.cycle().await.unwrap().created, 1);
    world.wait(DAY);
    assert_eq!(numbers(&world.cycle().await.unwrap())[..6], [0; 6]);
    world.wait(DAY);
    assert_eq!(world.cycle().await.unwrap().deleted, 1);
}

#[tokio::test]
async fn what_a_date_can_be_is_checked() {
    for (starts, expected) in [
        ("[nobody]", "has no attribute \"nobody\""),
        ("[active]", "[active] is boolean and holds no date"),
        ("[phones]", "has several values, and one date is expected"),
        ("Now()", "has another value each time"),
        ("\"soon\"", "is no date"),
    ] {
        let world = world(LifecycleRules { starts: Some(Expression::parse(starts).unwrap()), ..rules() });
        let error = findings(&world).await;
        assert!(error.contains(expected) && error.contains("lifecycle.starts"), "{starts}: {error}");
    }
    let computed = "FormatDateTime([hired], , \"yyyyMMdd\", \"yyyy-MM-dd\")";
    let world = world(LifecycleRules { starts: Some(Expression::parse(computed).unwrap()), ..rules() });
    world.source.set("a", "hired", Slot::text("20400101"));
    assert_eq!(world.cycle().await.unwrap().created, 2);
    assert_eq!(enabled(&world), of(&[("anna@x", false), ("bo@x", true)]));
}

#[tokio::test]
async fn explain_says_what_the_dates_make_of_a_person() {
    let world = world(LifecycleRules { delete_after: Some(DAY), ..rules() });
    date(&world, "a", "leaves", DAY);
    world.cycle().await.unwrap();
    let engine = world.engine().await;
    let explained = engine.explain(&world.rules, "a").await.unwrap();
    let end = world.clock.now() + DAY;
    assert_eq!(explained.dates.iter().map(|date| date.at).collect::<Vec<_>>(), [None, Some(end)]);
    assert_eq!(explained.due_at, Some(end));
    assert!(explained.decision.contains("should be there and enabled"), "{}", explained.decision);
    world.wait(DAY);
    let explained = engine.explain(&world.rules, "a").await.unwrap();
    assert_eq!(explained.decision, "the end has passed: no access (syncs.staff.lifecycle.ends)");
    assert!(explained.next.starts_with("the target object would be disabled"), "{}", explained.next);
    world.cycle().await.unwrap();
    let explained = engine.explain(&world.rules, "a").await.unwrap();
    assert_eq!(explained.due_at, Some(end + DAY));
}

/// The machine's clock in a test's hand.
struct Hand(Arc<AtomicI64>);

impl Clock for Hand {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// As a process does that starts now.
async fn started(world: &World, wall: &Arc<AtomicI64>) -> (Engine, Arc<LifecycleClock>) {
    let mut engine = world.engine().await;
    let facts = engine.store.facts().await.unwrap();
    let wall = Arc::new(Hand(Arc::clone(wall)));
    let clock = Arc::new(LifecycleClock::with_elapsed(wall, facts.clock_high_water, Box::new(|| 0)));
    clock.reached(facts.clock_reached);
    engine.clock = clock.clone();
    (engine, clock)
}

#[tokio::test]
async fn a_clock_that_steps_back_undoes_no_date() {
    let world = world(rules());
    let start = world.clock.now();
    date(&world, "a", "leaves", 20 * 60 * MINUTE);
    let wall = Arc::new(AtomicI64::new(start));
    let cycle = async |engine: &Engine| engine.cycle(&world.rules, &CycleOptions::default()).await.unwrap();
    let (engine, _) = started(&world, &wall).await;
    cycle(&engine).await;
    // Within a day the machine's clock is followed, though nothing confirms it.
    wall.store(start + 20 * 60 * MINUTE, Ordering::Relaxed);
    assert_eq!(cycle(&engine).await.disabled, 1);
    wall.store(start, Ordering::Relaxed);
    world.source.set("a", "name", Slot::text("Ann"));
    assert_eq!(numbers(&cycle(&engine).await)[..6], [0, 0, 1, 0, 0, 0]);
    // Neither does a process that starts with the clock set back.
    drop(engine);
    let (engine, clock) = started(&world, &wall).await;
    assert_eq!(clock.lifecycle(), start + 20 * 60 * MINUTE);
    world.source.set("a", "name", Slot::text("Anne"));
    assert_eq!(numbers(&cycle(&engine).await)[..6], [0, 0, 1, 0, 0, 0]);
    assert_eq!(enabled(&world), of(&[("anna@x", false), ("bo@x", true)]));
}

#[tokio::test]
async fn a_great_leap_of_the_clock_brings_no_date_about() {
    let world = world(rules());
    let start = world.clock.now();
    date(&world, "a", "leaves", 25 * 60 * MINUTE);
    date(&world, "b", "hired", 25 * 60 * MINUTE);
    let wall = Arc::new(AtomicI64::new(start));
    let cycle = async |engine: &Engine| engine.cycle(&world.rules, &CycleOptions::default()).await.unwrap();
    let (engine, clock) = started(&world, &wall).await;
    cycle(&engine).await;
    wall.store(start + 26 * 60 * MINUTE, Ordering::Relaxed);
    let report = cycle(&engine).await;
    assert_eq!(numbers(&report), [0; 11]);
    assert!(report.notes.iter().any(|note| note.contains("start and end dates")), "{report:?}");
    assert_eq!(enabled(&world), of(&[("anna@x", true), ("bo@x", false)]));
    clock.heard(start + 26 * 60 * MINUTE);
    let report = cycle(&engine).await;
    assert_eq!((report.enabled, report.disabled), (1, 1), "{report:?}");
}

#[tokio::test]
async fn whoever_is_hired_again_under_another_key_gets_the_former_object() {
    let world = world(rules());
    date(&world, "a", "leaves", DAY);
    world.cycle().await.unwrap();
    // Twice the same person, while the former record still counts.
    world.source.person("c", "Anna", "anna@x");
    assert_eq!(world.cycle().await.unwrap().parked, 1);
    world.wait(DAY);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.adopted, report.disabled, report.parked), (0, 1, 0, 0), "{report:?}");
    assert_eq!(enabled(&world), of(&[("anna@x", true), ("bo@x", true)]));
    // The former record wants nothing of it any more.
    for name in ["Former", "Formerly"] {
        world.source.set("a", "name", Slot::text(name));
        assert_eq!(numbers(&world.cycle().await.unwrap()), [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    }
    assert_eq!(enabled(&world), of(&[("anna@x", true), ("bo@x", true)]));
}

#[tokio::test]
async fn a_person_who_is_disabled_at_the_source_is_not_enabled_by_a_date() {
    let world = world(rules());
    date(&world, "a", "hired", DAY);
    world.source.set("a", "active", Slot::One(Value::Boolean(false)));
    world.cycle().await.unwrap();
    world.wait(DAY);
    assert_eq!(numbers(&world.cycle().await.unwrap())[..6], [0; 6]);
    assert_eq!(enabled(&world), of(&[("anna@x", false), ("bo@x", true)]));
}
