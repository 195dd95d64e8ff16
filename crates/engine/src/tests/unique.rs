//! `SelectUniqueValue` in mappings: the first value that nobody has, among those at the target and those just chosen.

use muster_model::Slot;

use super::target::Fault;
use super::world::{World, mapping};
use crate::rules::{MatchPart, MatchRule, When};
use crate::{PlanOptions, compile};

const CHOICES: &str = "SelectUniqueValue([name], Append([name], \"1\"), Append([name], \"2\"))";

/// People are matched by their number, and called by what is free.
fn world() -> World {
    let mut world = World::new();
    let source = muster_expression::Expression::parse("[mail]").unwrap();
    world.rules.matching = vec![MatchRule { all: vec![MatchPart { source, target: "extra".to_owned() }] }];
    let chosen = crate::MappingRule { when: When::Create, ..mapping("login", CHOICES) };
    world.rules.mappings = vec![mapping("extra", "[mail]"), mapping("name", "[name]"), chosen];
    world
}

fn logins(world: &World) -> Vec<String> {
    world.target.people().into_iter().map(|(login, ..)| login).collect()
}

#[tokio::test]
async fn the_first_value_that_nobody_has_is_chosen_and_stays() {
    let world = world();
    world.target.insert("ann", "Somebody else");
    for (id, mail) in [("a", "a@x"), ("b", "b@x")] {
        world.source.person(id, "ann", mail);
    }
    let plan =
        world.engine().await.plan(&world.rules, &PlanOptions { limit: 9, ..PlanOptions::default() }).await.unwrap();
    let planned: Vec<_> =
        plan.changes.iter().flat_map(|change| &change.values).filter(|(name, ..)| name == "login").collect();
    assert_eq!(planned.iter().map(|(.., login)| login.as_str()).collect::<Vec<_>>(), ["ann1", "ann2"]);
    assert_eq!(world.cycle().await.unwrap().created, 2);
    assert_eq!(logins(&world), ["ann", "ann1", "ann2"]);
    // Another name, and the login that was chosen stays, also when the first choice is free by now.
    world.target.state.lock().unwrap().rows.remove(&1);
    world.source.set("a", "name", Slot::text("bea"));
    assert_eq!(world.cycle().await.unwrap().updated, 1);
    assert_eq!(logins(&world), ["ann1", "ann2"]);
    assert!(!world.full().await.unwrap().changed_target());
}

#[tokio::test]
async fn whoever_finds_all_taken_is_parked_alone_until_one_is_free() {
    let world = world();
    for login in ["ann", "ann1", "ann2"] {
        world.target.insert(login, "Somebody else");
    }
    world.source.person("a", "ann", "a@x");
    world.source.person("b", "bo", "b@x");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.parked), (1, 1));
    let store = world.store().await;
    let (_, sync) = muster_store::Store::sync_names(store.as_ref()).await.unwrap().remove(0);
    let parked = muster_store::Store::parked(store.as_ref(), sync, 9).await.unwrap();
    assert_eq!((parked[0].rule.as_str(), parked[0].attribute.as_deref()), ("no_unique_value", Some("login")));
    world.target.state.lock().unwrap().rows.remove(&2);
    world.wait(3_600_001);
    assert_eq!(world.cycle().await.unwrap().created, 1);
    assert!(logins(&world).contains(&"ann1".to_owned()));
}

#[tokio::test]
async fn an_answer_that_is_lost_chooses_no_second_value() {
    for fault in [Fault::LostAnswers(1), Fault::Down(1), Fault::Silent(1), Fault::Later(1)] {
        let world = world();
        world.source.person("a", "ann", "a@x");
        world.fault(fault.clone());
        for _ in 0..3 {
            drop(world.cycle().await);
            world.wait(60_000);
        }
        assert_eq!(logins(&world), ["ann"], "{fault:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_chosen_is_refused() {
    use muster_connector::Connector as _;
    let mut world = world();
    let (source, target) = (world.source.schema().await.unwrap(), world.target.schema().await.unwrap());
    let refused = |world: &World| {
        let Err(findings) = compile(&world.rules, &source, &target) else { panic!("it is taken") };
        findings.iter().map(|finding| finding.problem.clone()).collect::<Vec<_>>().join("; ")
    };
    world.rules.mappings[2].when = When::Always;
    assert!(refused(&world).contains("would choose again whenever \"login\" is looked at"));
    world.rules.mappings[2].when = When::Create;
    world.rules.matching[0].all[0].target = "login".to_owned();
    assert!(refused(&world).contains("\"login\" is what objects are matched by"));
    world.rules.matching[0].all[0].source = muster_expression::Expression::parse(CHOICES).unwrap();
    assert!(refused(&world).contains("by which nothing that is there could be found"));
}
