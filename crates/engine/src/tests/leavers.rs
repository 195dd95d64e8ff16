//! Whoever should lose access loses it, whatever else of the object cannot be written.

use muster_model::{Slot, Value};

use super::world::{Fault, World, mapping, numbers};
use crate::rules::MappingRule;

fn with(mappings: &[MappingRule]) -> World {
    let mut world = World::new();
    world.source.person("a", "Anna", "anna@x");
    world.source.person("b", "Bo", "bo@x");
    world.rules.mappings.extend_from_slice(mappings);
    world
}

#[tokio::test]
async fn a_value_that_does_not_fit_keeps_nobody_enabled() {
    // A date that is none, and a name that is too long.
    for (computed, bad) in [(true, "x"), (false, "a name of more than twenty letters")] {
        let world = if computed { with(&[mapping("extra", "DateAdd(\"d\", 1, [name])")]) } else { with(&[]) };
        for id in ["a", "b"] {
            world.source.set(id, "name", Slot::text("2026-01-01"));
        }
        assert_eq!(world.cycle().await.unwrap().created, 2);
        world.source.set("b", "name", Slot::text(bad));
        world.source.set("b", "active", Slot::One(Value::Boolean(false)));
        let report = world.cycle().await.unwrap();
        assert_eq!((report.disabled, report.parked), (1, 0), "{computed}: {report:?}");
        assert!(!world.target.people()[1].2);
    }
}

#[tokio::test]
async fn a_value_that_the_target_refuses_keeps_nobody_enabled() {
    let world = with(&[]);
    world.cycle().await.unwrap();
    world.fault(Fault::Poison("Evil"));
    world.source.set("b", "name", Slot::text("Evil"));
    world.source.set("b", "active", Slot::One(Value::Boolean(false)));
    world.source.set("a", "name", Slot::text("Ann"));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.updated, report.disabled, report.parked), (1, 1, 1), "{report:?}");
    let left = ("bo@x".to_owned(), "Bo".to_owned(), false);
    assert_eq!(world.target.people()[1], left);
    // What was refused waits, and is tried no more than any other.
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0; 11]);
    world.source.set("b", "name", Slot::text("Bob"));
    assert_eq!(world.cycle().await.unwrap().updated, 1);
    assert_eq!(world.target.people()[1].1, "Bob");
}
