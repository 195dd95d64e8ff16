//! Groups and their members.

use muster_connector::Outcome;
use muster_model::{Key, Slot, Value};

use crate::world::{Kindred, World, applied, reference, request};

async fn members_come_and_go(world: World) {
    let directory = world.connect();
    let mut people: Vec<Key> = Vec::new();
    for number in 0..30 {
        people.push(directory.created("user", &world.person(&format!("p{number}"))).await);
    }
    let all: Vec<Value> = people.iter().map(reference).collect();
    let mut values = vec![("cn", Slot::text("Sales, all"))];
    if world.is_samba() {
        values.push(("sAMAccountName", Slot::text("sales-all")));
    }
    let group = directory.created("group", &values).await;
    let mut values = vec![("cn", Slot::text("outer"))];
    if world.is_samba() {
        values.push(("sAMAccountName", Slot::text("outer")));
    }
    let outer = directory.created("group", &values).await;
    let members = || world.server.one("(cn=Sales, all)", &["member"]).all("member").len();
    let alone = usize::from(world.kind == Kindred::OpenLdap);
    assert_eq!(members(), alone, "a group that must have a member has itself");
    // Some twice, and some that are none.
    applied(&directory.values("group", &group, "member", all[..20].to_vec(), Vec::new()).await);
    assert_eq!(members(), 20);
    applied(&directory.values("group", &group, "member", all[10..].to_vec(), all[..5].to_vec()).await);
    assert_eq!(members(), 25);
    let removed = directory.values("group", &group, "member", all[5..7].to_vec(), all[..6].to_vec()).await;
    assert!(matches!(removed, Outcome::Applied(_) | Outcome::AlreadySo(_) | Outcome::Rejected { .. }), "{removed:?}");
    // Groups in groups.
    applied(&directory.values("group", &outer, "member", vec![reference(&group)], Vec::new()).await);
    let nested = world.server.one("(cn=outer)", &["member"]);
    assert!(nested.get("member").to_lowercase().starts_with("cn=sales"), "{nested:?}");
    // What they hold is asked in bulk.
    let pairs: Vec<(Key, Value)> = all.iter().map(|member| (group.clone(), member.clone())).collect();
    let held = directory.target().holds(&request("group", &[]), "member", &pairs).await.unwrap();
    assert_eq!(held.iter().filter(|holds| **holds).count(), members());
    // A member that is not there is waited for.
    let nobody = match people[0].0[0] {
        Value::Uuid(_) => Key::one(Value::Uuid(uuid::Uuid::nil())),
        _ => Key::text("00000000-00000000-00000000-00000000"),
    };
    let waits = directory.values("group", &group, "member", vec![reference(&nobody)], Vec::new()).await;
    assert!(matches!(&waits, Outcome::WaitsFor { attribute } if attribute == "member"), "{waits:?}");
    // The last one goes.
    applied(&directory.values("group", &group, "member", Vec::new(), all.clone()).await);
    assert_eq!(members(), alone);
    applied(&directory.values("group", &group, "member", all[..1].to_vec(), Vec::new()).await);
    assert_eq!(members(), 1);
    // Superiors are references of one value.
    applied(&directory.update("user", &people[1], &[("manager", Slot::One(reference(&people[0])))]).await);
    let found = directory.get("user", &people[1], &["manager"]).await.unwrap();
    assert!(matches!(&found.row.0[0], Slot::One(Value::Reference(to)) if to.key == people[0]), "{found:?}");
    applied(&directory.update("user", &people[1], &[("manager", Slot::Null)]).await);
    assert_eq!(directory.get("user", &people[1], &["manager"]).await.unwrap().row.0, [Slot::Null]);
}

#[tokio::test]
async fn members_come_and_go_in_slapd() {
    members_come_and_go(World::slapd()).await;
}

#[tokio::test]
async fn members_come_and_go_in_ds389() {
    members_come_and_go(World::ds389()).await;
}

#[tokio::test]
async fn members_come_and_go_in_samba() {
    members_come_and_go(World::samba()).await;
}

#[tokio::test]
async fn posix_groups_of_slapd_name_logins() {
    let world = World::slapd();
    let directory = world.connect_with(&serde_json::json!({
        "types": { "team": { "classes": ["posixGroup"], "base": "ou=groups,dc=example,dc=org" } },
    }));
    let jane = directory.created("user", &world.person("jane")).await;
    let team =
        directory.created("team", &[("cn", Slot::text("team")), ("gidNumber", Slot::One(Value::Integer(700)))]).await;
    applied(&directory.values("team", &team, "memberUid", vec![reference(&jane)], Vec::new()).await);
    assert_eq!(world.server.one("(cn=team)", &["memberUid", "gidNumber"]).get("memberUid"), "jane");
    applied(&directory.values("team", &team, "memberUid", Vec::new(), vec![reference(&jane)]).await);
    assert_eq!(world.server.one("(cn=team)", &["memberUid"]).get("memberUid"), "");
}

/// `groupOfUniqueNames`, whose members are in an attribute of another name.
async fn unique_members_come_and_go(world: World) {
    let teams =
        serde_json::json!({ "types": { "team": { "classes": ["groupOfUniqueNames"], "base": world.groups() } } });
    let directory = world.connect_with(&teams);
    let (first, second) = (
        directory.created("user", &world.person("first")).await,
        directory.created("user", &world.person("second")).await,
    );
    let team = directory.created("team", &[("cn", Slot::text("crew"))]).await;
    let members = || world.server.one("(cn=crew)", &["uniqueMember"]).all("uniqueMember").len();
    let alone = usize::from(world.kind == Kindred::OpenLdap);
    assert_eq!(members(), alone);
    let both = vec![reference(&first), reference(&second)];
    applied(&directory.values("team", &team, "uniqueMember", both.clone(), Vec::new()).await);
    assert_eq!(members(), 2);
    applied(&directory.values("team", &team, "uniqueMember", Vec::new(), both[..1].to_vec()).await);
    let pairs = [(team.clone(), both[0].clone()), (team.clone(), both[1].clone())];
    let held = directory.target().holds(&request("team", &[]), "uniqueMember", &pairs).await.unwrap();
    assert_eq!(held, [false, true]);
    applied(&directory.values("team", &team, "uniqueMember", Vec::new(), both[1..].to_vec()).await);
    assert_eq!(members(), alone);
}

#[tokio::test]
async fn unique_members_of_slapd_come_and_go() {
    unique_members_come_and_go(World::slapd()).await;
}

#[tokio::test]
async fn unique_members_of_ds389_come_and_go() {
    unique_members_come_and_go(World::ds389()).await;
}
