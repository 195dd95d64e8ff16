//! Scopes that ask for groups: who refers to whom decides who belongs to the sync. Here people are groups as well: a
//! person is `friendOf` whoever names them a friend.

use muster_connector::page::Removal;
use muster_expression::Condition;
use muster_model::Slot;

use super::world::World;
use crate::rules::Limit;
use crate::{EngineError, compile};

fn world(scope: &[&str]) -> World {
    let mut world = World::new();
    world.rules.scope = scope.iter().map(|text| Condition::parse(text).unwrap()).collect();
    world.rules.guard.disable = Limit { percent: 100.0, min: 100, max: None };
    for id in ["g", "h", "a", "b", "c"] {
        let name = if id == "g" { "Team".to_owned() } else { id.to_uppercase() };
        world.source.person(id, &name, &format!("{id}@x"));
    }
    world.source.refer("g", "friends", "a");
    world.source.refer("g", "friends", "h");
    world.source.refer("h", "friends", "b");
    world
}

fn enabled(world: &World) -> String {
    let people = world.target.people();
    people.iter().filter(|(.., enabled)| *enabled).map(|(login, ..)| login.trim_end_matches("@x")).collect()
}

#[tokio::test]
async fn members_belong_to_the_sync_as_long_as_they_are_members() {
    let world = world(&["[friendOf] EQUALS \"Team\""]);
    assert_eq!(world.cycle().await.unwrap().created, 2);
    assert_eq!(enabled(&world), "ah");
    world.source.refer("g", "friends", "c");
    world.source.refer_no_more("g", "friends", "a");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.disabled, enabled(&world)), (1, 1, "ch".to_owned()));
    world.source.refer("g", "friends", "a");
    assert_eq!(world.cycle().await.unwrap().enabled, 1);
    assert_eq!(world.cycle().await.unwrap().visited(), 0);
    let explained = world.engine().await.explain(&world.rules, "b@x").await.unwrap();
    let told = &explained.scope[0].comparisons[0];
    assert_eq!((told.value.as_str(), told.holds), ("no member", Some(false)));
    let planned = world.engine().await.plan(&world.rules, &crate::PlanOptions::default()).await.unwrap();
    assert!(!planned.report.changed_target());
}

#[tokio::test]
async fn members_of_member_groups_belong_where_the_scope_says_so() {
    let world = world(&["[transitiveFriendOf] EQUALS \"g\""]);
    world.cycle().await.unwrap();
    assert_eq!(enabled(&world), "abh");
    // Another group comes in between, with whoever is in it.
    world.source.refer("b", "friends", "c");
    world.cycle().await.unwrap();
    assert_eq!(enabled(&world), "abch");
    world.source.refer_no_more("h", "friends", "b");
    assert_eq!(world.cycle().await.unwrap().disabled, 2);
    assert_eq!(enabled(&world), "ah");
}

#[tokio::test]
async fn no_member_is_the_opposite_and_goes_together_with_other_conditions() {
    let mut world = world(&["[friendOf] NOT EQUALS \"Team\" AND [name] NOT EQUALS \"B\"", "[name] EQUALS \"H\""]);
    world.cycle().await.unwrap();
    assert_eq!(enabled(&world), "cgh");
    // Other rules: everybody is looked at again.
    world.rules.scope = vec![Condition::parse("[friendOf] EQUALS \"H\"").unwrap()];
    world.cycle().await.unwrap();
    assert_eq!(enabled(&world), "b");
}

#[tokio::test]
async fn a_group_that_is_not_there_throws_nobody_out() {
    let mut world = world(&["[friendOf] EQUALS \"Team\""]);
    world.cycle().await.unwrap();
    world.source.set("g", "name", Slot::text("Renamed"));
    let Err(error) = world.cycle().await else { panic!("it ran without its group") };
    assert!(matches!(error, EngineError::ScopeGroup { many: 0, .. }), "{error}");
    assert!(error.to_string().contains("no user is called \"Team\""), "{error}");
    assert_eq!(enabled(&world), "ah");
    // Two of a name are no group either; its id is.
    world.source.set("g", "name", Slot::text("Team"));
    world.source.set("c", "name", Slot::text("Team"));
    assert!(matches!(world.cycle().await, Err(EngineError::ScopeGroup { many: 2, .. })));
    world.rules.scope = vec![Condition::parse("[friendOf] EQUALS \"g\"").unwrap()];
    assert!(!world.cycle().await.unwrap().changed_target());
    world.source.remove("g", Removal::Soft);
    assert!(matches!(world.cycle().await, Err(EngineError::ScopeGroup { many: 0, .. })));
    assert_eq!(enabled(&world), "ah");
}

#[tokio::test]
async fn what_cannot_be_asked_of_groups_is_refused() {
    use muster_connector::Connector as _;
    let mut world = world(&[]);
    let (source, target) = (world.source.schema().await.unwrap(), world.target.schema().await.unwrap());
    let cases = [
        ("[friendOf] STARTS_WITH \"T\"", "[friendOf] can only be asked for one user", "[friendOf] EQUALS \"USER\""),
        ("[friendOff] EQUALS \"T\"", "has no attribute \"friendOff\"", "did you mean \"friendOf\"?"),
    ];
    for (condition, problem, fix) in cases {
        world.rules.scope = vec![Condition::parse(condition).unwrap()];
        let Err(findings) = compile(&world.rules, &source, &target) else { panic!("{condition} is taken") };
        assert_eq!(findings.len(), 1);
        assert!(findings[0].problem.contains(problem) && findings[0].fix.contains(fix), "{:?}", findings[0]);
        assert_eq!(findings[0].setting, "syncs.staff.scope[0]");
    }
}
