//! Directories as sources.

use std::collections::{BTreeMap, BTreeSet};

use muster_connector::{Error, SourceObject};
use muster_model::{Key, Slot, Value};

use crate::world::{Connection, World, applied, reference, request};

async fn read_all(connection: &Connection, object_type: &str, attributes: &[&str]) -> Vec<SourceObject> {
    let request = request(object_type, attributes);
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = connection.0.source().unwrap().read(&request, cursor.as_ref()).await.unwrap();
        assert!(page.objects.len() <= 1_000);
        all.extend(page.objects);
        cursor = page.next;
        if cursor.is_none() {
            return all;
        }
    }
}

async fn everybody_is_read_with_whom_they_name(world: World, many: usize) {
    let directory = world.connect_with(&serde_json::json!({ "types": { "user": { "multi": ["telephoneNumber"] } } }));
    let mut people: Vec<Key> = Vec::new();
    for number in 0..5 {
        people.push(directory.created("user", &world.person(&format!("p{number}"))).await);
    }
    applied(&directory.update("user", &people[1], &[("manager", Slot::One(reference(&people[0])))]).await);
    let login = if world.is_samba() { "sAMAccountName" } else { "uid" };
    let mut record = String::new();
    for number in 0..many {
        let (rdn, people) = (world.rdn(), world.people());
        let class = if world.is_samba() { "user" } else { "inetOrgPerson" };
        record += &format!(
            "dn: {rdn}=m{number},{people}\nobjectClass: {class}\ncn: m{number}\nsn: Many\n{login}: m{number}\n\n"
        );
    }
    // The naming attribute stands in the name already.
    world.server.ldif(&if world.is_samba() { record } else { record.replace("\ncn: ", "\ncn: c") });
    let mut values = vec![("cn", Slot::text("team"))];
    if world.is_samba() {
        values.push(("sAMAccountName", Slot::text("team")));
    }
    let team = directory.created("group", &values).await;
    let all: Vec<Value> = people.iter().map(reference).collect();
    applied(&directory.values("group", &team, "member", all, Vec::new()).await);

    let found = read_all(&directory, "user", &[login, "manager", "telephoneNumber", "enabled"]).await;
    let keys: BTreeSet<&Key> = found.iter().map(|object| &object.key).collect();
    assert_eq!((found.len(), keys.len()), (many + 5, many + 5));
    let by_key: BTreeMap<&Key, &SourceObject> = found.iter().map(|object| (&object.key, object)).collect();
    let second = by_key[&people[1]];
    assert_eq!(second.row.0[0], Slot::text("p1"));
    assert_eq!((&second.row.0[1], &second.row.0[2]), (&Slot::Unknown, &Slot::Null));
    let [edge] = second.edges.as_slice() else { panic!("{second:?}") };
    assert_eq!((edge.attribute, &*edge.object_type, &edge.referenced), (1, "user", &people[0]));
    let groups = read_all(&directory, "group", &["cn", "member"]).await;
    let found: BTreeSet<&Key> = groups[0].edges.iter().map(|edge| &edge.referenced).collect();
    assert_eq!(found, people.iter().collect());
    let asked = [people[2].clone(), Key::text("nobody"), people[0].clone()];
    let got = directory.0.source().unwrap().get(&request("user", &[login]), &asked).await.unwrap();
    assert_eq!(
        got.iter().map(|one| one.as_ref().map(|one| &one.key)).collect::<Vec<_>>(),
        [Some(&people[2]), None, Some(&people[0])]
    );
}

#[tokio::test]
async fn everybody_is_read_in_slapd() {
    everybody_is_read_with_whom_they_name(World::slapd(), 2_300).await;
}

#[tokio::test]
async fn everybody_is_read_in_ds389() {
    everybody_is_read_with_whom_they_name(World::ds389(), 100).await;
}

#[tokio::test]
async fn everybody_is_read_in_samba() {
    everybody_is_read_with_whom_they_name(World::samba(), 100).await;
}

/// A list lives on its connection: where that is gone the round begins again.
#[tokio::test]
async fn a_list_of_slapd_that_is_cut_begins_again() {
    let world = World::slapd();
    let record =
        |number| format!("dn: uid=m{number},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\ncn: x\nsn: x\n\n");
    world.server.ldif(&(0..1_200).map(record).collect::<String>());
    let directory = world.connect();
    let asked = request("user", &["uid"]);
    let page = directory.0.source().unwrap().read(&asked, None).await.unwrap();
    assert_eq!(page.objects.len(), 1_000);
    world.server.restart();
    let error = directory.0.source().unwrap().read(&asked, page.next.as_ref()).await.unwrap_err();
    assert!(matches!(error, Error::Expired { .. }), "{error:?}");
    assert_eq!(read_all(&world.connect(), "user", &["uid"]).await.len(), 1_200);
}
