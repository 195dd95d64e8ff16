//! Several match rules, one after another and in combinations.

use muster_connector::page::Removal;
use muster_expression::Expression;
use muster_model::{Slot, Value};
use muster_store::Store as _;

use super::world::{Fault, World, mapping};
use crate::rules::{MatchPart, MatchRule};
use crate::{PlanOptions, compile};

fn part(source: &str, target: &str) -> MatchPart {
    MatchPart { source: Expression::parse(source).unwrap(), target: target.to_owned() }
}

fn one(source: &str, target: &str) -> MatchRule {
    MatchRule { all: vec![part(source, target)] }
}

/// First the login, then name and extra together.
fn two() -> World {
    let mut world = World::new();
    world.rules.matching =
        vec![one("[mail]", "login"), MatchRule { all: vec![part("[name]", "name"), part("\"staff\"", "extra")] }];
    world.rules.mappings.push(mapping("extra", "\"staff\""));
    world
}

fn row(world: &World, login: &str, name: &str, extra: &str) -> i64 {
    let key = world.target.insert(login, name);
    let mut state = world.target.state.lock().unwrap();
    let extra = if extra.is_empty() { Slot::Null } else { Slot::text(extra) };
    state.rows.get_mut(&key).unwrap().insert("extra".to_owned(), extra);
    key
}

fn person(login: &str, name: &str) -> (String, String, bool) {
    (login.to_owned(), name.to_owned(), true)
}

async fn parked(world: &World) -> Vec<(String, Option<String>)> {
    let store = world.store().await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    store.parked(sync, 10).await.unwrap().into_iter().map(|parked| (parked.rule, parked.attribute)).collect()
}

#[tokio::test]
async fn rules_are_tried_in_order_and_the_first_that_finds_one_object_adopts_it() {
    let world = two();
    // Anna has both rows: the first rule decides. Bo has none by login, and one by name and extra together.
    row(&world, "anna@x", "Anne", "staff");
    row(&world, "other@x", "Anna", "staff");
    row(&world, "bo-old@x", "Bo", "staff");
    // A row that fits half a combination, and one that lacks a value of it, belong to nobody.
    row(&world, "cy-old@x", "Cy", "guest");
    row(&world, "cy-none@x", "Cy", "");
    for (id, name) in [("a", "Anna"), ("b", "Bo"), ("c", "Cy")] {
        world.source.person(id, name, &format!("{}@x", name.to_lowercase()));
    }
    let plan = world.engine().await.plan(&world.rules, &PlanOptions { limit: 9, ..PlanOptions::default() }).await;
    let takeover = plan.unwrap().takeover.unwrap();
    assert_eq!((takeover.matched, takeover.foreign), (2, Some(3)));
    assert_eq!(takeover.matched_by, [("login".to_owned(), 1), ("name and extra".to_owned(), 1)]);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.adopted, report.created, report.parked), (2, 1, 0));
    let expected = [
        person("anna@x", "Anna"),
        person("bo@x", "Bo"),
        person("cy-none@x", "Cy"),
        person("cy-old@x", "Cy"),
        person("cy@x", "Cy"),
        person("other@x", "Anna"),
    ];
    assert_eq!(world.target.people(), expected);
    assert_eq!(super::world::numbers(&world.full().await.unwrap()), [0; 11]);
}

#[tokio::test]
async fn a_rule_that_finds_several_parks_and_no_later_rule_guesses() {
    let mut world = two();
    world.rules.matching.reverse();
    row(&world, "one@x", "Anna", "staff");
    row(&world, "two@x", "Anna", "staff");
    row(&world, "anna@x", "Anne", "staff");
    world.source.person("a", "Anna", "anna@x");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.adopted, report.created, report.parked), (0, 0, 1));
    assert_eq!(parked(&world).await, [("ambiguous_match".to_owned(), Some("name and extra".to_owned()))]);
}

#[tokio::test]
async fn a_rule_without_a_value_is_skipped_and_only_nothing_at_all_parks() {
    let mut world = two();
    world.rules.mappings[0] = mapping("login", "Join(\"-\", \"x\", [mail], [name])");
    row(&world, "dora@x", "Dora", "staff");
    world.source.person("d", "Dora", "");
    // A name that does not fit matches nobody, and the login is enough.
    row(&world, "eva@x", "Eva", "staff");
    world.rules.mappings[1] = mapping("name", "Left([name], 20)");
    world.source.person("e", "Eva with a name that is too long", "eva@x");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.adopted, report.created, report.parked), (2, 0, 0), "{report:?}");
    world.source.person("f", "", "");
    world.source.set("f", "name", Slot::Null);
    assert_eq!(world.cycle().await.unwrap().parked, 1);
    assert_eq!(parked(&world).await, [("match_value_empty".to_owned(), Some("login".to_owned()))]);
}

#[tokio::test]
async fn an_object_of_another_person_is_claimed_twice_whatever_rule_finds_it() {
    let world = two();
    world.source.person("a", "Anna", "anna@x");
    assert_eq!(world.cycle().await.unwrap().created, 1);
    world.source.person("b", "Anna", "anna.b@x");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.adopted, report.created, report.parked), (0, 0, 1));
    assert_eq!(parked(&world).await, [("second_claimant".to_owned(), Some("name and extra".to_owned()))]);
    // Once the other one is gone for good, it is a return under another anchor.
    world.source.remove("a", Removal::Hard);
    world.wait(7_200_000);
    assert_eq!(world.cycle().await.unwrap().adopted, 1);
}

/// Both in one slice: the second is not created while the first is on its way, by whatever rule they are alike.
#[tokio::test]
async fn twins_by_the_second_rule_never_become_two_rows() {
    for ignored in [false, true] {
        let world = two();
        world.target.names_ignore_case.store(ignored, std::sync::atomic::Ordering::Relaxed);
        world.source.person("a", "Anna", "anna@x");
        world.source.person("b", if ignored { "ANNA" } else { "Anna" }, "anna.b@x");
        let report = world.cycle().await.unwrap();
        assert_eq!((report.created, report.parked), (1, 1), "{ignored}");
    }
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_recognised_by_the_rule_with_unique_values() {
    // Two strangers have the name, so that the combination could not tell; the login can.
    for reversed in [false, true] {
        let mut world = two();
        if reversed {
            world.rules.matching.reverse();
        }
        world.source.person("a", "Anna", "anna@x");
        world.fault(Fault::LostAnswers(1));
        world.cycle().await.unwrap_err();
        row(&world, "one@x", "Anna", "staff");
        row(&world, "two@x", "Anna", "staff");
        let report = world.cycle().await.unwrap();
        assert_eq!((report.created, report.parked), (1, 0), "{reversed}: {report:?}");
        assert_eq!(world.target.people().len(), 3);
    }
    // Nothing but a combination.
    let mut world = two();
    world.rules.matching.remove(0);
    world.source.person("a", "Anna", "anna@x");
    world.fault(Fault::LostAnswers(1));
    world.cycle().await.unwrap_err();
    assert_eq!(world.cycle().await.unwrap().created, 1);
    assert_eq!(world.target.people(), [person("anna@x", "Anna")]);
}

/// Without a look nothing is created that a later rule would have found.
#[tokio::test]
async fn creates_go_out_blindly_only_where_every_rule_would_collide() {
    let mut world = two();
    world.blind_after = 1;
    world.source.person("a", "Anna", "anna@x");
    world.cycle().await.unwrap();
    row(&world, "old@x", "Bo", "staff");
    for (id, name) in [("b1", "Ben"), ("b2", "Bea"), ("b3", "Bob"), ("b4", "Bud"), ("b5", "Bo")] {
        world.source.person(id, name, &format!("{id}@x"));
    }
    let report = world.cycle().await.unwrap();
    assert_eq!((report.created, report.adopted), (4, 1));
}

#[tokio::test]
async fn explain_says_what_each_rule_found() {
    let world = two();
    row(&world, "old@x", "Bo", "staff");
    world.source.person("b", "Bo", "bo@x");
    world.source.person("d", "Dora", "");
    let explained = |key: &'static str| {
        let world = &world;
        async move { world.engine().await.explain(&world.rules, key).await.unwrap() }
    };
    world.engine().await.plan(&world.rules, &PlanOptions::default()).await.unwrap();
    let bo = explained("b").await;
    let shown: Vec<(&str, Option<&str>, &str)> =
        bo.matching.iter().map(|rule| (rule.rule.as_str(), rule.value.as_deref(), rule.found.as_str())).collect();
    let expected = [
        ("login = [mail]", Some("bo@x"), "nothing"),
        ("name = [name] and extra = \"staff\"", Some("Bo staff"), "the target object 1"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(bo.next, "the target object 1 has name Bo and extra staff and would be adopted");
    assert_eq!(bo.name.as_deref(), Some("bo@x"));
    assert_eq!(explained("d").await.matching[0].found, "nothing: a value is empty or does not fit");
    // Known by the values of any rule.
    assert_eq!(explained("Dora staff").await.source, "d");
    world.cycle().await.unwrap();
    assert_eq!(explained("bo@x").await.matching[0].found, "not asked: it is linked");
}

#[tokio::test]
async fn check_says_when_nothing_recognises_a_new_object() {
    let warned = |matching: Vec<MatchRule>| {
        let mut world = two();
        world.rules.matching = matching;
        async move {
            use muster_connector::Connector as _;
            let (source, target) = (world.source.schema().await.unwrap(), world.target.schema().await.unwrap());
            let (_, findings) = compile(&world.rules, &source, &target).unwrap();
            findings.into_iter().map(|finding| finding.problem).collect::<Vec<_>>()
        }
    };
    let both = || MatchRule { all: vec![part("[name]", "name"), part("\"staff\"", "extra")] };
    assert_eq!(warned(vec![both(), one("[mail]", "login")]).await, [""; 0]);
    let found = warned(vec![one("[name]", "name"), both()]).await;
    assert_eq!(found, ["nothing in the target keeps the values of any rule unique: \"name\"; \"name\" and \"extra\""]);
    let found = warned(vec![MatchRule { all: vec![part("[mail]", "login"), part("[name]", "name")] }]).await;
    assert_eq!(
        found,
        [
            "key is assigned by the target, and no rule compares one attribute alone, so nothing would tell if the target \
          gave an object's key to another one later"
        ]
    );
    let found = warned(vec![one("InStr([name], \"x\")", "level")]).await;
    assert_eq!(
        found,
        ["key is assigned by the target, and no create writes what the match compares (\"level\"), so a create whose \
          answer is lost could not be recognised again"]
    );
}

/// A batch that an earlier version noted holds the one value alone.
#[tokio::test]
async fn what_an_earlier_version_noted_is_understood() {
    use crate::sought::Sought;
    use muster_connector::Connector as _;
    let world = World::new();
    let (source, target) = (world.source.schema().await.unwrap(), world.target.schema().await.unwrap());
    let (compiled, _) = compile(&world.rules, &source, &target).unwrap();
    let mut noted = vec![1];
    noted.extend(muster_model::Key::one(Value::text("anna@x")).encode());
    let expected = vec![("login".to_owned(), Value::text("anna@x"))];
    let Sought::Match(read) = Sought::decode(&compiled, &noted).unwrap() else { panic!("not a match") };
    assert_eq!(read, expected);
    let Sought::Match(again) = Sought::decode(&compiled, &Sought::Match(read).encode()).unwrap() else {
        panic!("not a match")
    };
    assert_eq!(again, expected);
}

async fn fingerprint(world: &World) -> String {
    use muster_connector::Connector as _;
    let (source, target) = (world.source.schema().await.unwrap(), world.target.schema().await.unwrap());
    let (compiled, _) = compile(&world.rules, &source, &target).unwrap();
    compiled.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An upgrade evaluates nobody anew: what a version before several rules noted is still the same.
#[tokio::test]
async fn one_rule_keeps_the_fingerprint_that_it_had() {
    let ahead = fingerprint(&two()).await;
    let mut behind = two();
    behind.rules.matching.reverse();
    assert_ne!(fingerprint(&behind).await, ahead);
    assert_eq!(fingerprint(&World::new()).await, "405a0e09f8aedc0538625229c6560e56");
}

#[tokio::test]
async fn a_sync_that_creates_nothing_links_what_others_make() {
    let mut world = World::new();
    world.rules.creates = false;
    world.target.insert("anna@x", "Anne");
    world.source.person("a", "Anna", "anna@x");
    world.source.person("b", "Bo", "bo@x");
    let report = world.cycle().await.unwrap();
    assert_eq!((report.adopted, report.created, report.unchanged, report.parked), (1, 0, 1, 0));
    assert_eq!(world.target.people(), [person("anna@x", "Anna")]);
    let told = world.engine().await.explain(&world.rules, "b").await.unwrap();
    assert!(told.next.contains("the sync makes none (create = false)"), "{}", told.next);
    assert_eq!(world.cycle().await.unwrap().unchanged, 0, "nobody looks all the time");

    // Somebody else makes it, and it is found in its time.
    world.target.insert("bo@x", "B.");
    *world.clock.0.lock().unwrap() += 3_600_000;
    let report = world.cycle().await.unwrap();
    assert_eq!((report.adopted, report.created), (1, 0));
    assert_eq!(world.target.people(), [person("anna@x", "Anna"), person("bo@x", "Bo")]);

    world.source.person("c", "Cy", "cy@x");
    assert_eq!(world.cycle().await.unwrap().created, 0);
    // Nor does it end what others make.
    world.source.remove("a", Removal::Soft);
    world.source.remove("b", Removal::Hard);
    let report = world.cycle().await.unwrap();
    assert_eq!((report.disabled, report.deleted, world.target.people().len()), (0, 0, 2));
    assert!(world.target.people().iter().all(|(_, _, enabled)| *enabled));
    world.rules.creates = true;
    assert_eq!(world.cycle().await.unwrap().created, 1, "the rule changed, and with it what is to do");

    world.rules.creates = false;
    world.rules.matching.clear();
    use muster_connector::Connector as _;
    let (source, target) = (world.source.schema().await.unwrap(), world.target.schema().await.unwrap());
    let Err(findings) = compile(&world.rules, &source, &target) else { panic!("a pointless sync is taken") };
    assert!(findings.iter().any(|finding| finding.setting.ends_with("create")), "{findings:?}");
}
