//! A key that the target gives again never makes somebody else's object a linked one.

use muster_connector::page::Removal;
use muster_model::{Slot, Value};
use muster_store::{Decided, Decision, Store as _};

use super::operator::decide;
use super::world::{Fault, World, mapping};
use crate::Linking;

fn person(login: &str, name: &str, enabled: bool) -> (String, String, bool) {
    (login.to_owned(), name.to_owned(), enabled)
}

async fn three() -> World {
    let world = World::new();
    world.source.person("a", "Anna", "anna@x");
    world.source.person("b", "Bo", "bo@x");
    world.source.person("c", "Cy", "cy@x");
    world.cycle().await.unwrap();
    world
}

/// Bo's row is deleted by hand, and a stranger gets its key.
fn stranger(world: &World) {
    let mut state = world.target.state.lock().unwrap();
    state.rows.remove(&2);
    state.next = 2;
    drop(state);
    assert_eq!(world.target.insert("stranger@x", "Stranger"), 2);
    world.target.state.lock().unwrap().next = 4;
}

async fn why(world: &World) -> (String, Option<String>, String) {
    let store = world.store().await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    let parked = store.parked(sync, 10).await.unwrap();
    let reason = &parked[0];
    (reason.rule.clone(), reason.attribute.clone(), reason.message.clone().unwrap_or_default())
}

#[tokio::test]
async fn a_key_given_again_makes_nobody_elses_row_a_linked_one() {
    for removed in [None, Some(Removal::Soft), Some(Removal::Hard)] {
        let world = three().await;
        stranger(&world);
        match removed {
            None => world.source.set("b", "name", Slot::text("Bob")),
            Some(removal) => world.source.remove("b", removal),
        }
        let report = world.cycle().await.unwrap();
        assert_eq!((report.parked, report.updated, report.disabled, report.deleted), (1, 0, 0, 0), "{removed:?}");
        assert_eq!(world.target.people()[2], person("stranger@x", "Stranger", true));
        let (rule, attribute, message) = why(&world).await;
        assert_eq!((rule.as_str(), attribute.as_deref()), ("other_object", Some("login")));
        assert!(message.contains("no longer has login bo@x") && message.contains("muster unlink"), "{message}");
        world.reconcile().await.unwrap();
        // It waits for a person, however often it is looked at.
        world.full().await.unwrap();
        assert_eq!(why(&world).await.0, "other_object");
        world.wait(2 * super::world::DAY);
        world.cycle().await.unwrap();
        assert_eq!(why(&world).await.0, "other_object");
        assert_eq!(world.target.people()[2], person("stranger@x", "Stranger", true));
    }
}

#[tokio::test]
async fn a_person_says_whose_object_it_is() {
    let world = three().await;
    stranger(&world);
    world.source.set("b", "name", Slot::text("Bob"));
    world.cycle().await.unwrap();
    let engine = world.engine().await;
    let linked = engine.link(&world.rules, "b", "2").await.unwrap();
    assert!(matches!(linked, Linking::Done { .. }), "{linked:?}");
    assert_eq!(world.cycle().await.unwrap().updated, 1);
    assert!(world.target.people().contains(&person("bo@x", "Bob", true)));

    let world = three().await;
    stranger(&world);
    world.source.set("b", "name", Slot::text("Bob"));
    world.cycle().await.unwrap();
    assert_eq!(decide(&world, "b", Decision::Release).await, Decided::Done);
    assert_eq!(decide(&world, "b", Decision::Return).await, Decided::Done);
    assert_eq!(world.cycle().await.unwrap().created, 1);
    let people = world.target.people();
    assert!(people.contains(&person("stranger@x", "Stranger", true)), "{people:?}");
    assert!(people.contains(&person("bo@x", "Bob", true)), "{people:?}");
}

#[tokio::test]
async fn rows_numbered_anew_are_followed_when_they_change() {
    let world = three().await;
    {
        let mut state = world.target.state.lock().unwrap();
        let rows: Vec<_> = std::mem::take(&mut state.rows).into_values().collect();
        state.rows = [2, 3, 1].into_iter().zip(rows).collect();
    }
    for id in ["a", "b", "c"] {
        world.source.set(id, "name", Slot::text(&format!("New {id}")));
    }
    world.cycle().await.unwrap();
    world.cycle().await.unwrap();
    let all = [person("anna@x", "New a", true), person("bo@x", "New b", true), person("cy@x", "New c", true)];
    assert_eq!(world.target.people(), all);
}

#[tokio::test]
async fn a_target_that_spells_a_value_its_own_way_is_understood() {
    let world = three().await;
    world.target.state.lock().unwrap().rows.get_mut(&2).unwrap().insert("login".to_owned(), Slot::text("BO@X "));
    world.source.set("b", "name", Slot::text("Bob"));
    let report = world.cycle().await.unwrap();
    assert_eq!((report.parked, world.target.people()[1].1.as_str()), (0, "Bob"));
}

#[tokio::test]
async fn another_unique_value_says_that_it_is_the_same() {
    let mut world = World::new();
    world.rules.mappings.push(mapping("level", "[number]"));
    world.source.person("b", "Bo", "bo@x");
    world.source.set("b", "number", Slot::One(Value::Integer(7)));
    world.cycle().await.unwrap();
    world.target.state.lock().unwrap().rows.get_mut(&1).unwrap().insert("login".to_owned(), Slot::text("typo"));
    world.source.set("b", "name", Slot::text("Bob"));
    world.cycle().await.unwrap();
    assert_eq!(world.target.people(), [person("bo@x", "Bob", true)]);
}

#[tokio::test]
async fn a_new_value_whose_answer_was_lost_is_nobody_elses() {
    for again in [false, true] {
        let world = three().await;
        world.source.set("b", "mail", Slot::text("bob@x"));
        world.fault(Fault::LostAnswers(1));
        world.cycle().await.unwrap_err();
        if again {
            world.source.set("b", "mail", Slot::text("robert@x"));
        }
        let report = world.cycle().await.unwrap();
        assert_eq!(report.parked, 0);
        let login = if again { "robert@x" } else { "bob@x" };
        assert_eq!(world.target.people()[if again { 2 } else { 1 }], person(login, "Bo", true));
    }
}
