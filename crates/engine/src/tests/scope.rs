//! Which source objects belong to a sync, and what becomes of those that no longer do.

use muster_connector::Connector as _;
use muster_expression::Condition;
use muster_model::{Slot, Value};

use super::world::{World, mapping, numbers};
use crate::rules::Removal;

fn person(login: &str, name: &str, enabled: bool) -> (String, String, bool) {
    (login.to_owned(), name.to_owned(), enabled)
}

fn scoped(conditions: &[&str]) -> World {
    let mut world = World::new();
    world.rules.scope = conditions.iter().map(|text| Condition::parse(text).unwrap()).collect();
    for (id, name, number) in [("a", "Anna", 10), ("b", "Bo", 20), ("c", "Cy", 30)] {
        world.source.person(id, name, &format!("{id}@x"));
        world.source.set(id, "number", Slot::One(Value::Integer(number)));
    }
    world
}

fn number(world: &World, id: &str, number: i64) {
    world.source.set(id, "number", Slot::One(Value::Integer(number)));
}

#[tokio::test]
async fn who_is_out_of_scope_is_neither_created_nor_adopted_nor_kept() {
    let world = scoped(&["[number] GREATER_THAN 15 AND [name] NOT EQUALS \"Cy\"", "[number] EQUALS \"99\""]);
    world.target.insert("a@x", "Anna by hand");
    assert_eq!(world.cycle().await.unwrap().created, 1);
    let there = [person("a@x", "Anna by hand", true), person("b@x", "Bo", true)];
    assert_eq!(world.target.people(), there);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);

    // Into scope, and out of it; what else changes out of scope does not flow.
    number(&world, "a", 99);
    number(&world, "b", 1);
    world.source.set("b", "name", Slot::text("Bob"));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.adopted, report.disabled), (1, 1));
    assert_eq!(world.target.people(), [person("a@x", "Anna", true), person("b@x", "Bo", false)]);
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);

    number(&world, "b", 16);
    assert_eq!(world.cycle().await.unwrap().enabled, 1);
    assert_eq!(world.target.people()[1], person("b@x", "Bob", true));
}

#[tokio::test]
async fn a_value_that_is_not_there_is_in_no_scope() {
    let mut world = scoped(&["[name] NOT EQUALS \"Cy\""]);
    world.source.person("d", "Di", "d@x");
    world.source.set("d", "name", Slot::Null);
    assert_eq!(world.cycle().await.unwrap().created, 2);
    world.rules.scope = vec![Condition::parse("[name] IS NULL").unwrap()];
    // A changed scope reaches everybody without another full read.
    let calls = world.source.state.lock().unwrap().calls;
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.disabled), (1, 2));
    assert_eq!(world.source.state.lock().unwrap().calls, calls + 1);
}

#[tokio::test]
async fn what_happens_to_those_who_fall_out_can_be_chosen() {
    for (choice, expected) in [(Removal::Keep, Some(true)), (Removal::Disable, Some(false)), (Removal::Delete, None)] {
        let mut world = scoped(&["[number] GREATER_THAN 15"]);
        world.rules.removal.out_of_scope = Some(choice);
        world.cycle().await.unwrap();
        number(&world, "b", 1);
        world.cycle().await.unwrap();
        let bo = world.target.people().into_iter().find(|(login, ..)| login == "b@x").map(|(.., enabled)| enabled);
        assert_eq!(bo, expected, "{choice:?}");
        // Whoever comes back is there again, once.
        number(&world, "b", 100);
        world.cycle().await.unwrap();
        assert_eq!(world.target.people(), [person("b@x", "Bo", true), person("c@x", "Cy", true)], "{choice:?}");
    }
}

#[tokio::test]
async fn a_mistaken_scope_is_held_like_any_mass_disable() {
    let mut world = scoped(&[]);
    for id in 0..6 {
        world.source.person(&format!("p{id}"), "More", &format!("p{id}@x"));
    }
    world.cycle().await.unwrap();
    world.rules.scope = vec![Condition::parse("[name] EQUALS \"Nobody\"").unwrap()];
    let report = world.cycle().await.unwrap();
    assert_eq!((report.disabled, report.held), (0, 9));
    assert!(world.target.people().iter().all(|(.., enabled)| *enabled));
}

#[tokio::test]
async fn an_attribute_that_was_not_read_yet_puts_nobody_out_of_scope() {
    let mut world = scoped(&[]);
    world.cycle().await.unwrap();
    world.rules.scope = vec![Condition::parse("[active] IS TRUE").unwrap()];
    world.source.set("a", "name", Slot::text("Ann"));
    world.cycle().await.unwrap();
    assert!(world.target.people().iter().all(|(.., enabled)| *enabled));
}

#[tokio::test]
async fn explain_shows_each_comparison_with_its_truth() {
    let world = scoped(&["[number] GREATER_THAN 15 AND [name] EQUALS \"Anna\"", "[mail] ENDS_WITH \"@x\""]);
    world.cycle().await.unwrap();
    let explained = world.engine().await.explain(&world.rules, "a").await.unwrap();
    let truths: Vec<_> = explained.scope.iter().map(|condition| condition.holds).collect();
    assert_eq!(truths, [Some(false), Some(true)]);
    let first: Vec<_> = explained.scope[0]
        .comparisons
        .iter()
        .map(|one| (one.comparison.as_str(), one.value.as_str(), one.holds))
        .collect();
    assert_eq!(
        first,
        [("[number] GREATER_THAN 15", "10", Some(false)), ("[name] EQUALS \"Anna\"", "Anna", Some(true))]
    );
}

#[tokio::test]
async fn a_scope_that_cannot_hold_is_refused() {
    let mut world = scoped(&[
        "[nmae] EQUALS \"x\"",
        "[manager] IS NULL",
        "[active] GREATER_THAN 5",
        "[number] LESS_THAN \"2026-01-01\"",
        "[number] IS TRUE",
        "[name] EQUALS \"\"",
    ]);
    world.rules.mappings.push(mapping("level", "[number]"));
    let (source, target) = (world.source.schema().await.unwrap(), world.target.schema().await.unwrap());
    let findings = crate::compile(&world.rules, &source, &target).unwrap_err();
    let said: Vec<_> =
        findings.iter().map(|finding| format!("{}: {}; {}", finding.setting, finding.problem, finding.fix)).collect();
    assert_eq!(
        said,
        [
            "syncs.staff.scope[0]: hr:user has no attribute \"nmae\"; did you mean \"name\"?",
            "syncs.staff.scope[1]: [manager] refers to other objects, and a scope cannot ask for those yet; name another attribute",
            "syncs.staff.scope[2]: [active] GREATER_THAN 5 tells nobody from others: [active] is boolean; order only numbers, days and points in time",
            "syncs.staff.scope[3]: [number] LESS_THAN \"2026-01-01\" tells nobody from others: [number] is integer; compare it with a whole number",
            "syncs.staff.scope[4]: [number] IS TRUE tells nobody from others: [number] is integer; ask for truth where an attribute is true or false",
            "syncs.staff.scope[5]: [name] EQUALS \"\" tells nobody from others: [name] is text; write IS NULL for an attribute without a value",
        ]
    );
    // A target that cannot disable must be told what to do instead.
    let world = World { rules: scoped(&["[number] EQUALS \"1\""]).rules, ..World::with(false) };
    let target = world.target.schema().await.unwrap();
    let findings = crate::compile(&world.rules, &source, &target).unwrap_err();
    assert!(findings.iter().any(|finding| finding.setting == "syncs.staff.removal.out_of_scope"), "{findings:?}");
}

#[tokio::test]
async fn whoever_is_kept_out_of_scope_and_disabled_at_the_source_is_disabled() {
    let mut world = scoped(&["[number] GREATER_THAN 15"]);
    world.rules.removal.out_of_scope = Some(Removal::Keep);
    world.cycle().await.unwrap();
    number(&world, "b", 1);
    world.source.set("b", "active", Slot::One(Value::Boolean(false)));
    assert_eq!(world.cycle().await.unwrap().disabled, 1);
    assert_eq!(world.target.people()[0], person("b@x", "Bo", false));
}
