//! What a cycle does, one story a test.

use muster_connector::Error;
use muster_connector::page::Removal;
use muster_model::{Key, Slot, Value};
use muster_store::{LinkState, Origin, Store as _};

use super::world::{DAY, Fault, World, mapping, numbers};
use crate::rules::{Limit, RemovalRules};
use crate::{EngineError, PlanOptions, PlannedKind, Removal as RemovalRule};

fn three(world: &World) {
    world.source.person("a", "Anna", "anna@x");
    world.source.person("b", "Bo", "bo@x");
    world.source.person("c", "Cy", "cy@x");
}

fn person(login: &str, name: &str, enabled: bool) -> (String, String, bool) {
    (login.to_owned(), name.to_owned(), enabled)
}

#[tokio::test]
async fn joiners_movers_and_leavers() {
    let world = World::new();
    three(&world);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let all = [person("anna@x", "Anna", true), person("bo@x", "Bo", true), person("cy@x", "Cy", true)];
    assert_eq!(world.target.people(), all);
    // A second run changes nothing and does not even evaluate.
    let batches = world.target.state.lock().unwrap().batches;
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    assert_eq!(numbers(&world.full().await.unwrap()), [0; 11]);
    assert_eq!(world.target.state.lock().unwrap().batches, batches);
    // A delta applies exactly its changes.
    world.source.set("b", "name", Slot::text("Bob"));
    world.source.person("d", "Di", "di@x");
    world.source.remove("a", Removal::Soft);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    let all = [
        person("anna@x", "Anna", false),
        person("bo@x", "Bob", true),
        person("cy@x", "Cy", true),
        person("di@x", "Di", true),
    ];
    assert_eq!(world.target.people(), all);
    // Restored: the same row is enabled again.
    world.source.person("a", "Anna B", "anna@x");
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(world.target.people()[0], person("anna@x", "Anna B", true));
    assert_eq!(world.target.state.lock().unwrap().rows.len(), 4);
}

#[tokio::test]
async fn existing_rows_are_adopted_and_foreign_ones_left_alone() {
    let world = World::new();
    let own = world.target.insert("anna@x", "Anna");
    let stale = world.target.insert("bo@x", "Robert");
    let foreign = world.target.insert("root@x", "Root");
    three(&world);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    {
        let state = world.target.state.lock().unwrap();
        assert_eq!(state.rows[&own]["extra"], Slot::text("not ours"));
        assert_eq!(state.rows[&stale]["name"], Slot::text("Bo"));
        assert_eq!(state.rows[&foreign]["name"], Slot::text("Root"));
        // Only the row whose values differed was written, and the one that was not there.
        assert_eq!(state.applied.len(), 2);
    }
    let store = world.store().await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    let link = store.link_of(sync, &Key::text("a").encode()).await.unwrap().unwrap();
    assert_eq!((link.state, link.origin), (LinkState::Linked, Origin::Adopted));
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
}

#[tokio::test]
async fn ambiguous_and_second_claimants_wait_for_a_person() {
    let world = World::new();
    world.target.insert("anna@x", "One");
    world.target.insert("anna@x", "Two");
    world.target.insert("bo@x", "Bo");
    world.source.person("a", "Anna", "anna@x");
    world.source.person("b1", "Bo", "bo@x");
    world.source.person("b2", "Bo", "bo@x");
    world.source.person("c", "No mail", "");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.adopted, report.parked, report.created), (1, 3, 0));
    let store = world.store().await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    let mut rules: Vec<String> = store.parked(sync, 10).await.unwrap().into_iter().map(|parked| parked.rule).collect();
    rules.sort();
    assert_eq!(rules, ["ambiguous_match", "required", "second_claimant"]);
    // The next change at the source heals.
    world.source.set("b2", "mail", Slot::text("bo2@x"));
    assert_eq!(numbers(&world.cycle().await.unwrap()), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_rehire_under_a_new_anchor_gets_the_former_row() {
    let world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    world.source.remove("a", Removal::Hard);
    world.cycle().await.unwrap();
    world.source.person("a2", "Anna", "anna@x");
    // The former link is looked at once more, and has nothing left to do.
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(world.target.people()[0], person("anna@x", "Anna", true));
    // The former link's due date deletes nobody.
    world.wait(40 * DAY);
    world.cycle().await.unwrap();
    assert_eq!(world.target.people().len(), 3);
}

#[tokio::test]
async fn a_unique_value_may_move_from_one_person_to_another() {
    let world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    // "a" takes the address that "c" gives up, and comes first.
    world.source.set("a", "mail", Slot::text("cy@x"));
    world.source.set("c", "mail", Slot::text("cyril@x"));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.updated, report.parked), (2, 0));
    let logins: Vec<_> = world.target.people().into_iter().map(|(login, name, _)| (login, name)).collect();
    let expected = [("bo@x", "Bo"), ("cy@x", "Anna"), ("cyril@x", "Cy")];
    assert_eq!(logins, expected.map(|(login, name)| (login.to_owned(), name.to_owned())));
    // Whoever wants what somebody keeps is parked, with the attribute.
    world.source.set("b", "mail", Slot::text("cy@x"));
    assert_eq!(world.cycle().await.unwrap().parked, 1);
}

#[tokio::test]
async fn an_address_that_somebody_gives_up_may_go_to_a_new_person_at_once() {
    let world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    world.source.person("d", "Di", "anna@x");
    world.source.set("a", "mail", Slot::text("anna.married@x"));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.updated, report.parked), (1, 1, 0));
}

#[tokio::test]
async fn what_was_refused_is_tried_again_by_itself_and_by_a_full_read() {
    let world = World::new();
    world.fault(Fault::Poison("Evil"));
    three(&world);
    world.source.person("e", "Evil", "evil@x");
    assert_eq!(world.cycle().await.unwrap().parked, 1);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    assert_eq!(world.full().await.unwrap().parked, 1);
    // The target's rule goes, and nobody tells.
    world.target.state.lock().unwrap().faults.clear();
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    world.wait(3_600_001);
    assert_eq!(world.cycle().await.unwrap().created, 1);
}

#[tokio::test]
async fn a_run_that_cannot_begin_is_a_run_to_whoever_asks() {
    let mut world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    world.rules.mappings = vec![mapping("logn", "[mail]")];
    world.cycle().await.unwrap_err();
    let store = world.store().await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    let outcome = store.runs(sync, 1).await.unwrap().remove(0).outcome.unwrap();
    assert!(outcome.contains("cannot run"), "{outcome}");
}

#[tokio::test]
async fn reconciliation_mends_what_others_changed() {
    let world = World::new();
    three(&world);
    world.source.person("d", "Di", "di@x");
    world.cycle().await.unwrap();
    world.source.remove("d", Removal::Soft);
    world.cycle().await.unwrap();
    assert_eq!(numbers(&world.reconcile().await.unwrap()), [0; 11]);
    {
        let mut state = world.target.state.lock().unwrap();
        let row = |state: &mut super::world::TargetState, key: i64, name: &str, slot: Slot| {
            state.rows.get_mut(&key).unwrap().insert(name.to_owned(), slot);
        };
        row(&mut state, 1, "name", Slot::text("Edited"));
        row(&mut state, 2, "login", Slot::text("edited@x"));
        state.rows.remove(&3);
        // A leaver whom a backup made active again.
        row(&mut state, 4, "enabled", Slot::One(Value::Boolean(true)));
    }
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    let report = world.reconcile().await.unwrap();
    // Whether the row with another login is still Bo's, nobody can tell.
    assert_eq!((report.created, report.updated, report.disabled, report.parked), (1, 1, 1, 1));
    assert!(report.notes[0].contains("4 objects of the target"), "{:?}", report.notes);
    assert!(world.target.people().contains(&person("edited@x", "Bo", true)));
    let linked = world.engine().await.link(&world.rules, "b", "2").await.unwrap();
    assert!(matches!(linked, crate::Linking::Done { .. }), "{linked:?}");
    assert_eq!(world.cycle().await.unwrap().updated, 1);
    let all = [
        person("anna@x", "Anna", true),
        person("bo@x", "Bo", true),
        person("cy@x", "Cy", true),
        person("di@x", "Di", false),
    ];
    assert_eq!(world.target.people(), all);
    assert_eq!(numbers(&world.reconcile().await.unwrap()), [0; 11]);
}

#[tokio::test]
async fn reconciliation_follows_rows_that_were_numbered_anew() {
    let world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    {
        let mut state = world.target.state.lock().unwrap();
        let rows: Vec<_> = std::mem::take(&mut state.rows).into_values().collect();
        state.rows = [2, 3, 1].into_iter().zip(rows).collect();
    }
    world.reconcile().await.unwrap();
    world.source.set("a", "name", Slot::text("Ann"));
    world.source.remove("b", Removal::Soft);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.updated, report.disabled), (1, 1));
    let all = [person("anna@x", "Ann", true), person("bo@x", "Bo", false), person("cy@x", "Cy", true)];
    assert_eq!(world.target.people(), all);
}

#[tokio::test]
async fn two_new_people_with_one_match_value_never_become_two_rows() {
    let world = World::new();
    world.source.person("a", "Anna", "anna@x");
    world.source.person("b", "Anna Two", "anna@x");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.parked), (1, 1));
    assert_eq!(world.target.people().len(), 1);
}

#[tokio::test]
async fn one_bad_object_never_fails_its_neighbours() {
    let world = World::new();
    world.fault(Fault::Poison("Evil"));
    for number in 0..11 {
        world.source.person(&format!("p{number}"), &format!("P{number}"), &format!("p{number}@x"));
    }
    world.source.person("evil", "Evil", "evil@x");
    world.source.person("long", "A name of more than twenty characters", "long@x");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.parked), (11, 2));
    let store = world.store().await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    let parked = store.parked(sync, 10).await.unwrap();
    let reasons: Vec<_> = parked.iter().map(|parked| (parked.rule.as_str(), parked.attribute.as_deref())).collect();
    assert!(
        reasons.contains(&("forbidden", Some("name"))) && reasons.contains(&("too_long", Some("name"))),
        "{reasons:?}"
    );
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    world.source.set("evil", "name", Slot::text("Good"));
    assert_eq!(world.cycle().await.unwrap().created, 1);
    assert_eq!(store.parked(sync, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_makes_neither_a_duplicate_nor_a_loss() {
    let world = World::new();
    three(&world);
    world.fault(Fault::LostAnswers(1));
    assert!(matches!(world.cycle().await, Err(EngineError::Connection { .. })));
    assert_eq!(world.target.people().len(), 3);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.unknown), (3, 0));
    assert_eq!(world.target.people().len(), 3);
    // What the lost create left behind is ours: it was created, not adopted.
    let store = world.store().await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    assert_eq!(store.link_of(sync, &Key::text("a").encode()).await.unwrap().unwrap().origin, Origin::Created);
    world.source.set("a", "name", Slot::text("Ann"));
    world.source.remove("b", Removal::Soft);
    world.fault(Fault::LostAnswers(2));
    for _ in 0..3 {
        drop(world.cycle().await);
    }
    let all = [person("anna@x", "Ann", true), person("bo@x", "Bo", false), person("cy@x", "Cy", true)];
    assert_eq!(world.target.people(), all);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
}

#[tokio::test]
async fn an_operation_without_an_answer_is_unknown_and_looked_up() {
    let world = World::new();
    three(&world);
    world.fault(Fault::Silent(1));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.unknown), (2, 1));
    assert_eq!(numbers(&world.cycle().await.unwrap())[10], 0);
    assert_eq!(world.target.people().len(), 3);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
}

#[tokio::test]
async fn while_the_target_is_down_the_import_goes_on_and_nothing_is_lost() {
    let world = World::new();
    three(&world);
    world.fault(Fault::Down(1));
    let error = world.cycle().await.unwrap_err().to_string();
    assert!(error.contains("\"app\"") && error.contains("connection reset"), "{error}");
    let store = world.store().await;
    let connection = store.connection("hr").await.unwrap().id;
    assert!(store.source_type(connection, "user").await.unwrap().watermark.is_some());
    assert_eq!(world.cycle().await.unwrap().created, 3);
}

#[tokio::test]
async fn what_should_be_tried_later_waits_and_is_tried_later() {
    let world = World::new();
    three(&world);
    world.fault(Fault::Later(1));
    assert_eq!(world.cycle().await.unwrap().waiting, 3);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    world.wait(31_000);
    assert_eq!(world.cycle().await.unwrap().created, 3);
}

#[tokio::test]
async fn hard_removals_disable_then_delete_after_the_grace() {
    let world = World::new();
    three(&world);
    world.target.insert("old@x", "Old");
    world.source.person("o", "Old", "old@x");
    world.cycle().await.unwrap();
    world.source.remove("a", Removal::Hard);
    world.source.remove("o", Removal::Hard);
    assert_eq!(world.cycle().await.unwrap().disabled, 2);
    world.wait(29 * DAY);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    world.wait(2 * DAY);
    assert_eq!(world.cycle().await.unwrap().deleted, 1);
    // The adopted row is disabled, and never deleted.
    let logins: Vec<_> = world.target.people().into_iter().map(|(login, _, enabled)| (login, enabled)).collect();
    let expected =
        [("bo@x", true), ("cy@x", true), ("old@x", false)].map(|(login, enabled)| (login.to_owned(), enabled));
    assert_eq!(logins, expected);
}

#[tokio::test]
async fn a_soft_removal_becomes_final_after_the_recycle_bin() {
    let world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    world.source.remove("a", Removal::Soft);
    assert_eq!(world.cycle().await.unwrap().disabled, 1);
    world.wait(31 * DAY);
    world.cycle().await.unwrap();
    world.wait(31 * DAY);
    assert_eq!(world.cycle().await.unwrap().deleted, 1);
    assert_eq!(world.target.people().len(), 2);
    // The same person comes back under the same anchor: a new row.
    world.source.person("a", "Anna", "anna@x");
    assert_eq!(world.cycle().await.unwrap().created, 1);
}

#[tokio::test]
async fn whoever_is_disabled_at_the_source_is_disabled_at_the_target() {
    let world = World::new();
    three(&world);
    world.source.set("c", "active", Slot::One(Value::Boolean(false)));
    assert_eq!(world.cycle().await.unwrap().created, 3);
    assert_eq!(world.target.people()[2], person("cy@x", "Cy", false));
    world.source.set("a", "active", Slot::One(Value::Boolean(false)));
    world.source.set("c", "active", Slot::One(Value::Boolean(true)));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.disabled, report.enabled), (1, 1));
}

#[tokio::test]
async fn the_guard_holds_all_of_a_kind_and_lets_the_rest_go() {
    let mut world = World::new();
    for number in 0..20 {
        world.source.person(&format!("p{number:02}"), "P", &format!("p{number:02}@x"));
    }
    world.cycle().await.unwrap();
    world.rules.guard.disable = Limit { percent: 10.0, min: 2, max: None };
    for number in 0..5 {
        world.source.remove(&format!("p{number:02}"), Removal::Soft);
    }
    world.source.set("p19", "name", Slot::text("Q"));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.held, report.disabled, report.updated), (5, 0, 1));
    assert!(report.notes[0].contains("would disable 5 of 20"), "{:?}", report.notes);
    assert_eq!(world.target.people().iter().filter(|(_, _, enabled)| !enabled).count(), 0);
    // Still held, and still counted, in the next cycle.
    assert_eq!(world.cycle().await.unwrap().held, 5);
    world.rules.guard.disable.max = None;
    world.rules.guard.disable.percent = 30.0;
    assert_eq!(world.cycle().await.unwrap().disabled, 5);
    // A slow drip is the same as a flood: what was sent in 24 hours counts.
    world.source.remove("p05", Removal::Soft);
    world.source.remove("p06", Removal::Soft);
    assert_eq!(world.cycle().await.unwrap().held, 2);
    world.wait(DAY + 120_000);
    assert_eq!(world.cycle().await.unwrap().disabled, 2);
}

#[tokio::test]
async fn a_full_read_sweeps_what_it_misses_unless_it_misses_far_too_much() {
    let world = World::new();
    for number in 0..10 {
        world.source.person(&format!("p{number}"), "P", &format!("p{number}@x"));
    }
    world.cycle().await.unwrap();
    world.source.state.lock().unwrap().hidden = (0..8).map(|number| format!("p{number}")).collect();
    let report = world.full().await.unwrap();
    assert_eq!((report.disabled, report.held), (0, 0));
    assert!(report.notes[0].contains("returned 2 objects where 10 were known"), "{:?}", report.notes);
    world.source.state.lock().unwrap().hidden = vec!["p0".to_owned(), "p1".to_owned()];
    assert_eq!(world.full().await.unwrap().disabled, 2);
    assert_eq!(world.target.people().iter().filter(|(_, _, enabled)| *enabled).count(), 8);
    world.source.state.lock().unwrap().hidden.clear();
    assert_eq!(world.full().await.unwrap().enabled, 2);
}

#[tokio::test]
async fn a_changed_mapping_reaches_everybody_without_reading_the_source_again() {
    let mut world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    world.rules.mappings[1] = mapping("name", "\"Employee\"");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.updated, report.read), (3, 0));
    // An attribute that was never read needs a full read, which only its success makes the new standing.
    world.rules.mappings.push(mapping("level", "[number]"));
    world.source.state.lock().unwrap().refuse_attribute = Some("number".to_owned());
    assert!(world.cycle().await.is_err());
    world.source.state.lock().unwrap().refuse_attribute = None;
    world.source.set("a", "number", Slot::One(Value::Integer(7)));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.read, report.updated), (3, 3));
    assert_eq!(world.target.state.lock().unwrap().rows[&1]["level"], Slot::One(Value::Integer(7)));
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
}

#[tokio::test]
async fn a_row_deleted_at_the_target_comes_back_with_the_next_change() {
    let world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    world.target.state.lock().unwrap().rows.remove(&2);
    world.source.set("b", "name", Slot::text("Bob"));
    assert_eq!(world.cycle().await.unwrap().created, 1);
    assert_eq!(world.target.people()[1], person("bo@x", "Bob", true));
}

#[tokio::test]
async fn a_value_that_becomes_empty_is_cleared() {
    let world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    world.source.set("a", "name", Slot::Null);
    assert_eq!(world.cycle().await.unwrap().updated, 1);
    assert_eq!(world.target.state.lock().unwrap().rows[&1]["name"], Slot::Null);
}

#[tokio::test]
async fn references_are_kept_in_the_state() {
    let mut world = World::new();
    three(&world);
    world.rules.also_read = vec!["manager".to_owned()];
    world.source.refer("a", "manager", "c");
    world.cycle().await.unwrap();
    let store = world.store().await;
    let connection = store.connection("hr").await.unwrap().id;
    let source_type = store.source_type(connection, "user").await.unwrap().id;
    let edges = store.edges(source_type, &Key::text("a").encode()).await.unwrap();
    assert_eq!(edges.len(), 1);
    assert_eq!(edges[0].1, Key::text("c").encode());
}

#[tokio::test]
async fn another_system_behind_a_connection_stops_it() {
    let world = World::new();
    three(&world);
    world.cycle().await.unwrap();
    "another target".clone_into(&mut world.target.identity.lock().unwrap());
    let error = world.cycle().await.unwrap_err().to_string();
    assert!(error.contains("leads to another system than before") && error.contains("--accept-system app"), "{error}");
}

#[tokio::test]
async fn a_target_that_cannot_disable_needs_a_choice() {
    let mut world = World::with(false);
    three(&world);
    let Err(EngineError::Rules { findings, .. }) = world.cycle().await else { panic!("ran without a choice") };
    let settings: Vec<_> = findings.iter().map(|finding| finding.setting.as_str()).collect();
    assert_eq!(settings, ["syncs.staff.removal.soft", "syncs.staff.removal.disabled"]);
    world.rules.removal =
        RemovalRules { soft: Some(RemovalRule::Delete), disabled: Some(RemovalRule::Keep), ..RemovalRules::default() };
    world.cycle().await.unwrap();
    world.source.remove("a", Removal::Soft);
    world.source.remove("b", Removal::Hard);
    assert_eq!(world.cycle().await.unwrap().deleted, 2);
}

#[tokio::test]
async fn rules_that_do_not_fit_are_refused_before_anything_is_touched() {
    let mut world = World::new();
    three(&world);
    world.rules.mappings = vec![
        mapping("logn", "[mail]"),
        mapping("name", "[nmae]"),
        mapping("level", "[mail]"),
        mapping("extra", "[phones]"),
        mapping("extra", "[manager]"),
    ];
    let Err(EngineError::Rules { findings, .. }) = world.cycle().await else { panic!("ran with wrong rules") };
    let messages: Vec<_> =
        findings.iter().map(|finding| format!("{}: {}; {}", finding.setting, finding.problem, finding.fix)).collect();
    let expected = [
        "syncs.staff.map.logn: app:person has no attribute \"logn\"; did you mean \"login\"?",
        "syncs.staff.map.name: hr:user has no attribute \"nmae\"; did you mean \"name\"?",
        "syncs.staff.map.level: \"level\" is integer (integer) and cannot hold [mail], which is text; \
         change it to a type for text in the target, or map another attribute",
        "syncs.staff.map.extra: [phones] has several values, and \"extra\" holds one; \
         map one of them, such as Item([phones], 1), or all in one text: Join(\";\", [phones])",
        "syncs.staff.map.extra: [manager] refers to other objects, and app:person \"extra\" does not; \
         map it to an attribute that refers to objects of a type, such as a column with a foreign key",
        "syncs.staff.map.login: the target requires \"login\", and no mapping fills it; \
         add a mapping for it, or give it a default in the target",
    ];
    assert_eq!(messages, expected);
    assert_eq!(world.source.state.lock().unwrap().calls, 0);
    world.rules.mappings = vec![mapping("login", "[mail]")];
    world.rules.matching = Vec::new();
    let Err(EngineError::Rules { findings, .. }) = world.cycle().await else { panic!("ran without identity") };
    assert!(findings[0].problem.contains("could not be recognised again"), "{findings:?}");
}

#[tokio::test]
async fn a_plan_says_what_a_cycle_does_and_does_nothing() {
    let world = World::new();
    world.target.insert("anna@x", "Anne");
    three(&world);
    let plan = world
        .engine()
        .await
        .plan(&world.rules, &PlanOptions { limit: 10, statements: true, ..PlanOptions::default() })
        .await
        .unwrap();
    assert_eq!((plan.report.created, plan.report.adopted, plan.report.updated), (2, 1, 1));
    assert_eq!(plan.changes.len(), 4);
    assert_eq!(plan.statements.len(), 3);
    assert!(world.target.state.lock().unwrap().applied.is_empty());
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.adopted), (2, 1));
    world.source.set("a", "name", Slot::text("Ann"));
    let plan =
        world.engine().await.plan(&world.rules, &PlanOptions { limit: 10, ..PlanOptions::default() }).await.unwrap();
    let change = &plan.changes[0];
    assert_eq!((change.kind, change.source.as_str(), change.target.as_deref()), (PlannedKind::Update, "a", Some("1")));
    assert_eq!(change.values, [("name".to_owned(), Some("Anna".to_owned()), "Ann".to_owned())]);
    assert_eq!(world.cycle().await.unwrap().updated, 1);
}

#[tokio::test]
async fn a_source_that_fails_is_named() {
    let world = World::new();
    world.source.state.lock().unwrap().refuse_attribute = Some("mail".to_owned());
    three(&world);
    let Err(EngineError::Connection { connection, source: Error::Credentials { .. } }) = world.cycle().await else {
        panic!("the source's refusal was lost")
    };
    assert_eq!(connection, "hr");
}
