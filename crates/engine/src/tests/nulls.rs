//! What flows where the source has no value.

use muster_model::{Slot, Value};

use super::world::{World, mapping, numbers};
use crate::rules::{MappingRule, When};
use crate::{EngineError, PlanOptions};

/// Anna has no name at the source.
fn world(rule: MappingRule) -> World {
    let mut world = World::new();
    world.rules.mappings[1] = rule;
    world.source.person("a", "", "anna@x");
    world.source.set("a", "name", Slot::Null);
    world
}

fn name() -> MappingRule {
    mapping("name", "[name]")
}

fn unknown() -> Option<Value> {
    Some(Value::text("Unknown"))
}

fn held(world: &World) -> Slot {
    world.target.state.lock().unwrap().rows.values().next().unwrap().get("name").cloned().unwrap_or_default()
}

/// What the target holds after a create without a value, with one, and when it is gone again.
async fn course(rule: MappingRule) -> [Slot; 3] {
    let world = world(rule);
    let mut course = Vec::new();
    for name in [None, Some(Slot::text("Anna")), Some(Slot::Null)] {
        if let Some(name) = name {
            world.source.set("a", "name", name);
        }
        assert_eq!(world.cycle().await.unwrap().parked, 0);
        course.push(held(&world));
        assert_eq!(numbers(&world.full().await.unwrap()), [0; 11], "a second run changes nothing");
    }
    course.try_into().unwrap()
}

#[tokio::test]
async fn a_null_clears_unless_the_mapping_says_otherwise() {
    let (anna, default) = (Slot::text("Anna"), Slot::text("Unknown"));
    let none = Slot::Null;
    let cases = [
        (name(), [none.clone(), anna.clone(), none.clone()]),
        (MappingRule { keeps: true, ..name() }, [none.clone(), anna.clone(), anna.clone()]),
        (MappingRule { default: unknown(), ..name() }, [default.clone(), anna.clone(), default.clone()]),
        // As Entra does: the default on create only.
        (MappingRule { default: unknown(), keeps: true, ..name() }, [default.clone(), anna.clone(), anna.clone()]),
        (MappingRule { default: unknown(), when: When::Create, ..name() }, [default.clone(), default.clone(), default]),
        (
            MappingRule { default: unknown(), ..mapping("name", "ToUpper([name])") },
            [Slot::text("Unknown"), Slot::text("ANNA"), Slot::text("Unknown")],
        ),
    ];
    for (rule, expected) in cases {
        let shown = format!("{rule:?}");
        assert_eq!(course(rule).await, expected, "{shown}");
    }
}

#[tokio::test]
async fn an_adopted_object_keeps_what_the_source_does_not_know() {
    for (keeps, expected) in [(true, Slot::text("Anne")), (false, Slot::text("Unknown"))] {
        let world = world(MappingRule { default: unknown(), keeps, ..name() });
        world.target.insert("anna@x", "Anne");
        assert_eq!(world.cycle().await.unwrap().adopted, 1);
        assert_eq!(held(&world), expected);
    }
}

#[tokio::test]
async fn a_default_fills_what_the_target_requires_and_keeping_needs_no_value() {
    let mut world = World::new();
    world.source.person("a", "Anna", "");
    world.rules.matching = vec![crate::MatchRule::one(muster_expression::Expression::parse("[name]").unwrap(), "name")];
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.parked), (0, 1));
    let login = |rule: MappingRule| MappingRule { default: Some(Value::text("none@x")), ..rule };
    for value in ["[mail]", "IgnoreFlowIfNullOrEmpty([mail])"] {
        let mut world = World::new();
        world.source.person("a", "Anna", "");
        world.rules.matching =
            vec![crate::MatchRule::one(muster_expression::Expression::parse("[name]").unwrap(), "name")];
        world.rules.mappings[0] = login(mapping("login", value));
        assert_eq!(world.cycle().await.unwrap().created, 1);
        assert_eq!(world.target.people()[0].0, "none@x");
    }
    world.target.insert("old@x", "Anna");
    world.rules.mappings[0] = MappingRule { keeps: true, ..mapping("login", "[mail]") };
    assert_eq!(world.cycle().await.unwrap().adopted, 0, "a new object needs it all the same");
    world.rules.mappings[0] = MappingRule { keeps: true, ..login(mapping("login", "[mail]")) };
    world.wait(7_200_000);
    assert_eq!(world.cycle().await.unwrap().adopted, 1);
    assert_eq!(world.target.people()[0].0, "old@x");
}

#[tokio::test]
async fn plan_and_explain_show_the_default() {
    let world = world(MappingRule { default: unknown(), keeps: true, ..name() });
    let plan = world.engine().await.plan(&world.rules, &PlanOptions { limit: 9, ..PlanOptions::default() }).await;
    let values = &plan.unwrap().changes[0].values;
    assert!(values.contains(&("name".to_owned(), None, "Unknown".to_owned())), "{values:?}");
    let explained = world.engine().await.explain(&world.rules, "anna@x").await.unwrap();
    let shown = &explained.mappings[1];
    assert_eq!(shown.expression, "[name] (where null: what is there, \"Unknown\" on create)");
    assert_eq!(shown.value, "Unknown");
}

#[tokio::test]
async fn defaults_that_cannot_flow_are_refused() {
    let mut world = world(MappingRule { default: Some(Value::text("far more than twenty letters")), ..name() });
    world.rules.mappings.push(MappingRule { default: Some(Value::text("none")), ..mapping("level", "[name]") });
    world.rules.mappings.push(MappingRule { keeps: true, ..mapping("boss", "[manager]") });
    let Err(EngineError::Rules { findings, .. }) = world.cycle().await else { panic!("ran with wrong rules") };
    let found: Vec<String> =
        findings.iter().map(|finding| format!("{}: {}", finding.setting, finding.problem)).collect();
    assert!(
        found
            .iter()
            .any(|found| found
                .starts_with("syncs.staff.map.name.default: the default does not fit \"name\": 28 characters")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|found| found
            == "syncs.staff.map.boss: \"boss\" refers to objects, and `default` and `null` are for single values"),
        "{found:#?}"
    );
}
