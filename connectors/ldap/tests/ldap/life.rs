//! People who join, move, change their names, leave and come back.

use muster_model::{Slot, Value};

use crate::world::{Kindred, PASSWORD, World, applied, key, refused};
use muster_connector::Outcome;

async fn a_life(world: World) {
    let directory = world.connect();
    let people = world.people();
    // The joiner: with a name that must be escaped, and a first password.
    // 389 wants logins of seven bits.
    let name = if world.kind == Kindred::Ds389 { "Asa, Berg #1" } else { "Åsa, Berg #1" };
    let new_name = if world.kind == Kindred::Ds389 { "Asa Oberg" } else { "Åsa Öberg" };
    let mut values = world.person(name);
    values.retain(|(attribute, _)| *attribute != "sAMAccountName");
    values.extend([("mail", Slot::text("asa@example.org")), ("enabled", Slot::One(Value::Boolean(true)))]);
    if world.is_samba() {
        values.push(("sAMAccountName", Slot::text("asa")));
    }
    let asa = key(directory.create_with("user", &values, Some((world.password_attribute(), PASSWORD))).await);
    let entry = world.server.one("(sn=Berg)", &["cn", "mail"]);
    assert_eq!((entry.get("cn"), entry.get("mail")), (name, "asa@example.org"));
    assert!(world.server.admits(&entry.dn, PASSWORD));
    let found = directory.get("user", &asa, &["cn", "mail", "enabled", "container", "dn"]).await.unwrap();
    assert_eq!(found.row.0[..2], [Slot::text(name), Slot::text("asa@example.org")]);
    assert_eq!(found.row.0[2], Slot::One(Value::Boolean(true)));
    assert_eq!(found.row.0[3], Slot::text(&people));
    assert!(matches!(&found.row.0[4], Slot::One(Value::Text(dn)) if dn.contains("sa\\, Berg #1")));
    assert_eq!(directory.find("user", "mail", "ASA@example.org", &[]).await[0].key, asa);
    // The same again is there already, and the answer says who.
    assert!(matches!(directory.create("user", &values).await, Outcome::Exists { key } if key == asa));

    // The mover: values change, one goes, and the entry moves to a unit that is made.
    let sales = format!("ou=Sales\\, EMEA,{people}");
    let moved = [
        ("container", Slot::text(&sales)),
        ("mail", Slot::Null),
        ("title", Slot::text("Head of  \"everything\"; <all>")),
    ];
    applied(&directory.update("user", &asa, &moved).await);
    let entry = world.server.one("(sn=Berg)", &["mail", "title"]);
    assert!(
        entry.dn.to_lowercase().contains("ou=sales\\2c emea,") || entry.dn.to_lowercase().contains("ou=sales\\, emea,"),
        "{}",
        entry.dn
    );
    assert_eq!((entry.get("mail"), entry.get("title")), ("", "Head of  \"everything\"; <all>"));
    assert!(matches!(directory.update("user", &asa, &moved).await, Outcome::AlreadySo(_)));

    // A new name, whose entry is the same.
    applied(&directory.update("user", &asa, &[(world.rdn(), Slot::text(new_name)), ("sn", Slot::text("Öberg"))]).await);
    let entry = world.server.one("(sn=Öberg)", &[world.rdn()]);
    assert_eq!(entry.get(world.rdn()), new_name);
    assert_eq!(directory.get("user", &asa, &[world.rdn()]).await.unwrap().row.0, [Slot::text(new_name)]);

    // Somebody else renames her, and she is found all the same.
    let (dn, rdn) = (&entry.dn, world.rdn());
    world.server.ldif(&format!("dn: {dn}\nchangetype: modrdn\nnewrdn: {rdn}=renamed\ndeleteoldrdn: 1\n"));
    applied(&directory.update("user", &asa, &[("sn", Slot::text("Other"))]).await);

    // The leaver, and the rehire.
    let switched = |enabled| [("enabled", Slot::One(Value::Boolean(enabled)))];
    let dn = match &directory.get("user", &asa, &["dn"]).await.unwrap().row.0[0] {
        Slot::One(dn) => dn.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(world.server.admits(&dn, PASSWORD));
    applied(&directory.update("user", &asa, &switched(false)).await);
    assert!(!world.server.admits(&dn, PASSWORD));
    assert_eq!(directory.get("user", &asa, &["enabled"]).await.unwrap().row.0, [Slot::One(Value::Boolean(false))]);
    applied(&directory.update("user", &asa, &switched(true)).await);
    assert!(world.server.admits(&dn, PASSWORD));
    assert!(matches!(directory.update("user", &asa, &switched(true)).await, Outcome::AlreadySo(_)));

    // A new entry that is disabled from the start.
    let mut values = world.person("late");
    values.push(("enabled", Slot::One(Value::Boolean(false))));
    let late = key(directory.create_with("user", &values, Some((world.password_attribute(), PASSWORD))).await);
    assert_eq!(directory.get("user", &late, &["enabled"]).await.unwrap().row.0, [Slot::One(Value::Boolean(false))]);

    // The end.
    applied(&directory.delete("user", &asa).await);
    assert!(matches!(directory.delete("user", &asa).await, Outcome::Missing));
    assert!(matches!(directory.update("user", &asa, &switched(true)).await, Outcome::Missing));
    assert_eq!(directory.get("user", &asa, &[]).await, None);
}

async fn entries_below_need_a_policy(world: World) {
    let careful = world.connect();
    let parent = careful.created("user", &world.person("parent")).await;
    let Slot::One(dn) = careful.get("user", &parent, &["dn"]).await.unwrap().row.0.remove(0) else { panic!() };
    let class = if world.is_samba() { "classStore" } else { "device" };
    world.server.ldif(&format!("dn: cn=phone,{dn}\nobjectClass: {class}\ncn: phone\n"));
    assert_eq!(refused(&careful.delete("user", &parent).await).0, "has_children");
    let thorough = world.connect_with(&serde_json::json!({ "types": { "user": { "delete_subtree": true } } }));
    applied(&thorough.delete("user", &parent).await);
    assert!(world.server.search("(cn=phone)", &[]).is_empty());
}

#[tokio::test]
async fn a_life_in_slapd() {
    a_life(World::slapd()).await;
}

#[tokio::test]
async fn a_life_in_ds389() {
    a_life(World::ds389()).await;
}

#[tokio::test]
async fn a_life_in_samba() {
    a_life(World::samba()).await;
}

#[tokio::test]
async fn entries_below_need_a_policy_in_slapd() {
    entries_below_need_a_policy(World::slapd()).await;
}

#[tokio::test]
async fn entries_below_need_a_policy_in_samba() {
    entries_below_need_a_policy(World::samba()).await;
}

/// What the directory says of itself is what types are made of.
#[tokio::test]
async fn types_follow_the_schema_of_slapd() {
    let world = World::slapd();
    assert_eq!(world.kind, Kindred::OpenLdap);
    let schema = world.connect().0.schema().await.unwrap();
    let user = schema.object_type("user").unwrap();
    let required: Vec<&str> = user.attributes.iter().filter(|one| one.required).map(|one| one.name.as_str()).collect();
    assert_eq!(required, ["cn", "sn", "uid"]);
    assert_eq!(user.anchor.attributes, ["entryUUID"]);
    assert!(!user.attribute("userPassword").unwrap().readable);
    assert_eq!(user.attribute("manager").unwrap().references, ["user"]);
    let group = schema.object_type("group").unwrap();
    assert_eq!(group.attribute("member").unwrap().references, ["group", "user"]);
    assert!(!group.attribute("member").unwrap().required);
    assert!(schema.identity.starts_with("dc=example,dc=org "), "{}", schema.identity);
}
