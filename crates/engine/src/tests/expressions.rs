//! Mappings that compute.

use muster_expression::Expression;
use muster_model::{Slot, Value};

use super::world::{Fault, World, mapping, numbers};
use crate::rules::{MappingRule, MatchRule, When};
use crate::{EngineError, PlanOptions};

fn on_create(target: &str, value: &str) -> MappingRule {
    MappingRule { when: When::Create, ..mapping(target, value) }
}

fn with(mappings: &[MappingRule]) -> World {
    let mut world = World::new();
    world.source.person("a", "Åsa Öberg", "asa@x");
    world.source.person("b", "Bo", "bo@x");
    world.rules.mappings.extend_from_slice(mappings);
    world
}

/// What the target holds of an attribute, by login.
fn held(world: &World, attribute: &str) -> Vec<(String, Slot)> {
    let state = world.target.state.lock().unwrap();
    let mut held: Vec<(String, Slot)> = state
        .rows
        .values()
        .map(|row| {
            let login = row["login"].value().map(ToString::to_string).unwrap_or_default();
            (login, row.get(attribute).cloned().unwrap_or_default())
        })
        .collect();
    held.sort_by(|one, other| one.0.cmp(&other.0));
    held
}

#[tokio::test]
async fn functions_compute_what_flows_and_a_second_run_changes_nothing() {
    let mut world = with(&[
        mapping("extra", "Join(\"/\", NormalizeDiacritics(Word([name], 1, \" \")), ToUpper([mail]))"),
        mapping("level", "InStr([mail], \"@\")"),
    ]);
    world.rules.mappings[0] = mapping("login", "ToLower([mail])");
    world.rules.matching = vec![MatchRule::one(Expression::parse("ToLower([mail])").unwrap(), "login")];
    world.target.insert("bo@x", "Bo");
    world.source.set("b", "mail", Slot::text("BO@x"));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.adopted, report.parked), (1, 1, 0));
    assert_eq!(
        held(&world, "extra"),
        [("asa@x".to_owned(), Slot::text("Asa/ASA@X")), ("bo@x".to_owned(), Slot::text("Bo/BO@X"))]
    );
    assert_eq!(held(&world, "level")[0].1, Slot::One(Value::Integer(4)));
    assert_eq!(numbers(&world.full().await.unwrap())[..6], [0; 6]);
    // Whatever it reads makes it flow again.
    world.source.set("a", "name", Slot::text("Ana"));
    assert_eq!(world.cycle().await.unwrap().updated, 1);
    assert_eq!(held(&world, "extra")[0].1, Slot::text("Ana/ASA@X"));
    // The value people know is the one that was computed.
    assert_eq!(world.engine().await.explain(&world.rules, "bo@x").await.unwrap().source, "b");
}

#[tokio::test]
async fn an_expression_that_fails_parks_its_object_alone() {
    let world = with(&[mapping("extra", "FormatDateTime([name], , \"yyyy-MM-dd\", \"d\")")]);
    world.source.person("c", "2020-03-16", "c@x");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.parked), (1, 2));
    assert_eq!(held(&world, "extra"), [("c@x".to_owned(), Slot::text("03/16/2020"))]);
    let explained = world.engine().await.explain(&world.rules, "b").await.unwrap();
    assert!(explained.waits[0].contains("parked: extra: expression"), "{explained:?}");
    assert!(explained.waits[0].contains("FormatDateTime: source is \"Bo\", not of the format"), "{explained:?}");
    world.source.set("b", "name", Slot::text("2020-03-17"));
    assert_eq!(world.cycle().await.unwrap().created, 1);
}

#[tokio::test]
async fn a_value_that_does_not_flow_leaves_what_is_there() {
    let world = with(&[mapping("extra", "IgnoreFlowIfNullOrEmpty([name])")]);
    world.cycle().await.unwrap();
    world.source.set("a", "name", Slot::Null);
    world.cycle().await.unwrap();
    assert_eq!(held(&world, "extra")[0].1, Slot::text("Åsa Öberg"));
    assert_eq!(held(&world, "name")[0].1, Slot::Null);
    assert_eq!(numbers(&world.full().await.unwrap())[..6], [0; 6]);
}

#[tokio::test]
async fn generated_values_stay_through_retries_and_cycles() {
    let world = with(&[on_create("extra", "Guid()"), on_create("level", "RandomString(6, 6, 0, 0, 0)")]);
    let options = PlanOptions { limit: 10, ..PlanOptions::default() };
    let plan = world.engine().await.plan(&world.rules, &options).await.unwrap();
    let planned = |source: &str| {
        let change = plan.changes.iter().find(|change| change.source == source).unwrap();
        change.values.iter().find(|(name, ..)| name == "extra").unwrap().2.clone()
    };
    world.fault(Fault::Poison("bo@x"));
    assert_eq!(world.cycle().await.unwrap().parked, 1);
    world.target.state.lock().unwrap().faults.clear();
    world.wait(super::world::DAY);
    world.fault(Fault::LostAnswers(1));
    // The answer is lost, and the next cycle recognises what it made.
    world.full().await.unwrap_err();
    world.full().await.unwrap();
    let made = held(&world, "extra");
    assert_eq!(made, [("asa@x".to_owned(), Slot::text(&planned("a"))), ("bo@x".to_owned(), Slot::text(&planned("b")))]);
    assert_ne!(made[0].1, made[1].1);
    world.source.set("a", "name", Slot::text("Ana"));
    assert_eq!(world.cycle().await.unwrap().updated, 1);
    assert_eq!(held(&world, "extra"), made);
}

#[tokio::test]
async fn what_is_redacted_is_shown_nowhere() {
    let world = with(&[mapping("extra", "Redact(Append([name], \"!\"))")]);
    let options = PlanOptions { limit: 10, ..PlanOptions::default() };
    let plan = world.engine().await.plan(&world.rules, &options).await.unwrap();
    let extra: Vec<_> =
        plan.changes.iter().flat_map(|change| &change.values).filter(|(name, ..)| name == "extra").collect();
    assert_eq!(extra.len(), 2);
    assert!(extra.iter().all(|(_, _, value)| value == "[Redact]"), "{extra:?}");
    world.cycle().await.unwrap();
    assert_eq!(held(&world, "extra")[1].1, Slot::text("Bo!"));
    let explained = world.engine().await.explain(&world.rules, "b").await.unwrap();
    let mapping = explained.mappings.iter().find(|mapping| mapping.attribute == "extra").unwrap();
    assert_eq!((mapping.value.as_str(), mapping.written.as_str()), ("[Redact]", "[Redact]"));
    assert_eq!(mapping.inputs, [("name".to_owned(), "[Redact]".to_owned())]);
    assert!(explained.attributes.contains(&("name".to_owned(), "[Redact]".to_owned())));
}

#[tokio::test]
async fn an_explanation_shows_inputs_and_result() {
    let world =
        with(&[mapping("extra", "Join(\"-\", [mail], [name])"), on_create("level", "RandomString(4, 4, 0, 0, 0)")]);
    world.cycle().await.unwrap();
    let explained = world.engine().await.explain(&world.rules, "b").await.unwrap();
    let of = |name: &str| explained.mappings.iter().find(|mapping| mapping.attribute == name).unwrap();
    let extra = of("extra");
    assert_eq!((extra.expression.as_str(), extra.value.as_str()), ("Join(\"-\", [mail], [name])", "bo@x-Bo"));
    assert_eq!(extra.inputs, [("mail".to_owned(), "bo@x".to_owned()), ("name".to_owned(), "Bo".to_owned())]);
    assert_eq!(of("level").value, of("level").written);
}

#[tokio::test]
async fn expressions_that_cannot_work_are_refused_with_what_to_change() {
    let mut world = with(&[
        mapping("extra", "Guid()"),
        mapping("extra", "SelectUniqueValue([mail], [name])"),
        mapping("extra", "Append([mail], DefaultDomain())"),
        mapping("extra", "Join(\" \", [nmae], [IsSoftDeleted], [manager])"),
        mapping("extra", "IIF(IsNullOrEmpty([name]), \"x\", [name])"),
    ]);
    world.rules.matching = vec![MatchRule::one(Expression::parse("Append([mail], Now())").unwrap(), "login")];
    let Err(EngineError::Rules { findings, .. }) = world.cycle().await else { panic!("ran with wrong rules") };
    let found: Vec<String> =
        findings.iter().map(|finding| format!("{}: {}; {}", finding.setting, finding.problem, finding.fix)).collect();
    let expected = [
        "map.extra: Guid has another value each time, so that \"extra\" would change with every cycle; write { value = '…', when = \"create\" }",
        "map.extra: SelectUniqueValue would choose again whenever \"extra\" is looked at; write { value = '…', when = \"create\" }",
        "map.extra: DefaultDomain is not available in mappings; write the domain as a text",
        "map.extra: hr:user has no attribute \"nmae\"; did you mean \"name\"?",
        "map.extra: hr:user has no attribute \"IsSoftDeleted\"; remove the mapping: Muster enables and disables by itself",
        "map.extra: [manager] refers to other objects",
        "map.extra: IsNullOrEmpty in IIF's condition has no use",
        "match: Now has another value each time, so that nothing could be found by it; match by an attribute that stays",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(&format!("syncs.staff.{expected}")), "{found}\n{expected}");
    }
    assert!(world.target.state.lock().unwrap().rows.is_empty());
}
