//! Changes of a directory, by every way in which they are noticed.

use std::collections::{BTreeMap, BTreeSet};

use muster_connector::{Change, Entry, Error, Expired, Next, Position, Removal, Watermark};
use muster_model::{Key, Slot};
use serde_json::{Value as Json, json};

use crate::world::{Connection, World, applied, reference, request};

pub(crate) const USER: [&str; 2] = ["sn", "manager"];
pub(crate) const GROUP: [&str; 2] = ["cn", "member"];

/// Reads everything of a type; the watermark is the first page's.
pub(crate) async fn read_all(
    connection: &Connection,
    object_type: &str,
    attributes: &[&str],
) -> (BTreeSet<Key>, Watermark) {
    let request = request(object_type, attributes);
    let (mut keys, mut watermark, mut cursor) = (BTreeSet::new(), None, None);
    loop {
        let page = connection.0.source().unwrap().read(&request, cursor.as_ref()).await.unwrap();
        keys.extend(page.objects.into_iter().map(|object| object.key));
        watermark = watermark.or(page.watermark);
        cursor = page.next;
        if cursor.is_none() {
            return (keys, watermark.unwrap());
        }
    }
}

pub(crate) async fn try_changes(
    connection: &Connection,
    object_type: &str,
    attributes: &[&str],
    watermark: &Watermark,
) -> Result<(Vec<Entry>, Watermark), Error> {
    let request = request(object_type, attributes);
    let (mut entries, mut position) = (Vec::new(), Position::Start(Some(watermark.clone())));
    loop {
        let page = connection.0.source().unwrap().changes(&request, &position).await?;
        entries.extend(page.entries);
        match page.next {
            Next::Page(cursor) => position = Position::Page(cursor),
            Next::Done(watermark) => return Ok((entries, watermark)),
        }
    }
}

pub(crate) async fn changes(
    connection: &Connection,
    object_type: &str,
    attributes: &[&str],
    watermark: &Watermark,
) -> (BTreeMap<Key, Entry>, Watermark) {
    let (entries, watermark) = try_changes(connection, object_type, attributes, watermark).await.unwrap();
    (entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect(), watermark)
}

pub(crate) fn surname(entry: &Entry) -> &Slot {
    let Change::Whole(row) = &entry.change else { panic!("{entry:?}") };
    row.slot(0)
}

pub(crate) fn connect(world: &World, by: &str) -> Connection {
    world.connect_with(&json!({ "changes": by, "overlap": "1h" }))
}

/// Whether a way tells exactly what changed, and not what was changed a while ago as well.
fn is_exact(by: &str) -> bool {
    by != "modify_timestamp"
}

async fn whatever_changes_is_told(world: World, by: &str) {
    let directory = connect(&world, by);
    let mut people = Vec::new();
    for number in 0..5 {
        people.push(directory.created("user", &world.person(&format!("p{number}"))).await);
    }
    let mut values = vec![("cn", Slot::text("team"))];
    values.extend(world.is_samba().then(|| ("sAMAccountName", Slot::text("team"))));
    let team = directory.created("group", &values).await;
    applied(&directory.values("group", &team, "member", vec![reference(&people[0])], Vec::new()).await);
    let (all, of_people) = read_all(&directory, "user", &USER).await;
    assert_eq!(all, people.iter().cloned().collect());
    let (_, of_groups) = read_all(&directory, "group", &GROUP).await;
    let (idle, of_people) = changes(&directory, "user", &USER, &of_people).await;
    assert!(idle.is_empty() || !is_exact(by), "{idle:?}");

    let changed = [("sn", Slot::text("Lund")), ("manager", Slot::One(reference(&people[4])))];
    applied(&directory.update("user", &people[1], &changed).await);
    applied(&directory.delete("user", &people[2]).await);
    let moved = [("container", Slot::text(&format!("ou=north,{}", world.people())))];
    applied(&directory.update("user", &people[3], &moved).await);
    let joiner = directory.created("user", &world.person("joiner")).await;
    let (told, of_people) = changes(&directory, "user", &USER, &of_people).await;
    assert_eq!(surname(&told[&people[1]]), &Slot::text("Lund"));
    let [edge] = told[&people[1]].edges.as_slice() else { panic!("{told:?}") };
    assert_eq!((edge.attribute, &edge.referenced, edge.removed), (1, &people[4], false));
    assert_eq!(surname(&told[&joiner]), &Slot::text("Berg"));
    assert!(told.contains_key(&people[3]));
    let gone = told.get(&people[2]).map(|entry| &entry.change);
    assert_eq!(gone, is_exact(by).then_some(&Change::Removed(Removal::Hard)));
    if is_exact(by) {
        assert!(!told.contains_key(&people[0]), "{told:?}");
        assert!(changes(&directory, "user", &USER, &of_people).await.0.is_empty());
    }

    let (add, remove) = (vec![reference(&people[3])], vec![reference(&people[0])]);
    applied(&directory.values("group", &team, "member", add, remove).await);
    let (told, of_groups) = changes(&directory, "group", &GROUP, &of_groups).await;
    let members: Vec<&Key> = told[&team].edges.iter().map(|edge| &edge.referenced).collect();
    assert_eq!(members, [&people[3]]);
    let (idle, _) = changes(&directory, "group", &GROUP, &of_groups).await;
    assert!(idle.is_empty() || !is_exact(by), "{idle:?}");
    // What was known before the directory was stopped holds afterwards.
    world.server.restart();
    let directory = connect(&world, by);
    applied(&directory.update("user", &people[0], &[("sn", Slot::text("Moor"))]).await);
    let (told, _) = changes(&directory, "user", &USER, &of_people).await;
    assert_eq!(surname(&told[&people[0]]), &Slot::text("Moor"));
    for nonsense in [&b"{}"[..], b"\xff", br#"{"modified":{"seen":7}}"#] {
        let error = try_changes(&directory, "user", &USER, &Watermark(nonsense.to_vec())).await.unwrap_err();
        assert!(matches!(error, Error::Expired { expired: Expired::Watermark }), "{error:?}");
    }
}

/// A cookie that the server does not understand, or has forgotten, leads to a full read.
#[tokio::test]
async fn cookies_that_mean_nothing_are_expired() {
    let ahead = b"rid=000,csn=20990101000000.000000Z#000000#000#000000".to_vec();
    let nonsense = b"\x01 no cookie \xff".to_vec();
    for (world, by) in [(World::slapd(), "sync"), (World::ds389(), "sync"), (World::samba(), "dirsync")] {
        let directory = connect(&world, by);
        directory.created("user", &world.person("somebody")).await;
        for cookie in [&nonsense, &ahead] {
            let watermark = Watermark(serde_json::to_vec(&json!({ by: { "cookie": cookie } })).unwrap());
            let told = try_changes(&directory, "user", &USER, &watermark).await;
            assert!(
                matches!(told, Err(Error::Expired { expired: Expired::Watermark })),
                "{by} {:?}: {told:?}",
                world.kind
            );
        }
    }
}

#[tokio::test]
async fn whatever_changes_in_slapd_is_told_by_its_time() {
    whatever_changes_is_told(World::slapd(), "modify_timestamp").await;
}

#[tokio::test]
async fn whatever_changes_in_slapd_is_told_by_synchronisation() {
    whatever_changes_is_told(World::slapd(), "sync").await;
}

#[tokio::test]
async fn whatever_changes_in_slapd_is_told_by_its_log() {
    whatever_changes_is_told(World::slapd_logging(), "accesslog").await;
}

#[tokio::test]
async fn whatever_changes_in_ds389_is_told_by_its_log() {
    whatever_changes_is_told(World::ds389(), "changelog").await;
}

#[tokio::test]
async fn whatever_changes_in_ds389_is_told_by_its_time() {
    whatever_changes_is_told(World::ds389(), "modify_timestamp").await;
}

#[tokio::test]
async fn whatever_changes_in_ds389_is_told_by_synchronisation() {
    whatever_changes_is_told(World::ds389(), "sync").await;
}

#[tokio::test]
async fn whatever_changes_in_samba_is_told_by_its_number() {
    whatever_changes_is_told(World::samba(), "usn").await;
}

#[tokio::test]
async fn whatever_changes_in_samba_is_told_by_dirsync() {
    whatever_changes_is_told(World::samba(), "dirsync").await;
}

/// Whoever is moved out of a type's place, or is no longer what its filter asks for, is gone from it at once.
#[tokio::test]
async fn whoever_leaves_the_sight_of_a_type_in_samba_is_told_by_dirsync() {
    let world = World::samba();
    let types = json!({ "user": { "filter": "(!(title=Leaver))" } });
    let directory = world.connect_with(&json!({ "changes": "dirsync", "types": types }));
    let mut people = Vec::new();
    for login in ["stays", "leaves", "moves"] {
        people.push(directory.created("user", &world.person(login)).await);
    }
    let (_, watermark) = read_all(&directory, "user", &USER).await;
    applied(&directory.update("user", &people[1], &[("title", Slot::text("Leaver"))]).await);
    let (base, place) = (world.server.base(), world.people());
    world.server.ldif(&format!(
        "dn: CN=moves,{place}\nchangetype: modrdn\nnewrdn: CN=moves\ndeleteoldrdn: 1\nnewsuperior: CN=Users,{base}\n"
    ));
    let (told, _) = changes(&directory, "user", &USER, &watermark).await;
    let gone: BTreeSet<&Key> = told.keys().collect();
    assert_eq!(gone, people[1..].iter().collect());
    assert!(told.values().all(|entry| matches!(entry.change, Change::Removed(_))), "{told:?}");
}

/// The numbers of another server, or of one that was restored, mean nothing.
#[tokio::test]
async fn numbers_of_another_samba_are_not_believed() {
    let world = World::samba();
    let directory = connect(&world, "auto");
    let (_, watermark) = read_all(&directory, "user", &USER).await;
    let mut mark: Json = serde_json::from_slice(&watermark.0).unwrap();
    let of_this = mark.clone();
    for (name, value) in [("server", json!("cn=another")), ("usn", json!(u64::MAX))] {
        mark.clone_from(&of_this);
        mark["usn"][name] = value;
        let other = Watermark(serde_json::to_vec(&mark).unwrap());
        let error = try_changes(&directory, "user", &USER, &other).await.unwrap_err();
        assert!(matches!(error, Error::Expired { expired: Expired::Watermark }), "{name}: {error:?}");
    }
    // Nor does a watermark that was taken in another way.
    let other = Watermark(br#"{"sync":{"cookie":[1]}}"#.to_vec());
    assert!(matches!(try_changes(&directory, "user", &USER, &other).await, Err(Error::Expired { .. })));
}

#[tokio::test]
async fn many_changes_in_slapd_come_in_pages() {
    let world = World::slapd();
    let record = |number: usize| {
        format!("dn: uid=m{number},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\ncn: x\nsn: x\n\n")
    };
    for by in ["sync", "modify_timestamp"] {
        let directory = connect(&world, by);
        let (before, watermark) = read_all(&directory, "user", &USER).await;
        let first = before.len();
        world.server.ldif(&(first..first + 1_300).map(record).collect::<String>());
        let (told, _) = changes(&directory, "user", &USER, &watermark).await;
        let new = told.keys().filter(|key| !before.contains(key)).count();
        assert_eq!(new, 1_300, "{by}");
        assert!(told.len() == 1_300 || !is_exact(by));
    }
    // A round that lost its connection begins again from its watermark.
    let directory = connect(&world, "sync");
    let (all, watermark) = read_all(&directory, "user", &USER).await;
    world.server.ldif(&(all.len()..all.len() + 1_300).map(record).collect::<String>());
    let asked = request("user", &USER);
    let source = directory.0.source().unwrap();
    let page = source.changes(&asked, &Position::Start(Some(watermark.clone()))).await.unwrap();
    let Next::Page(cursor) = page.next else { panic!("one page") };
    assert_eq!(page.entries.len(), 1_000);
    world.server.restart();
    let again = connect(&world, "sync");
    let error = again.0.source().unwrap().changes(&asked, &Position::Page(cursor)).await.unwrap_err();
    assert!(matches!(error, Error::Expired { expired: Expired::Cursor }), "{error:?}");
    let (told, _) = changes(&again, "user", &USER, &watermark).await;
    assert_eq!(told.len(), 1_300);
}

#[tokio::test]
async fn a_way_that_a_directory_has_not_is_refused_with_what_to_do() {
    for (world, by, hint) in [(World::ds389(), "usn", "Active Directory"), (World::samba(), "sync", "syncprov")] {
        let error = connect(&world, by).0.schema().await.unwrap_err();
        let Error::Configuration { setting, fix, .. } = &error else { panic!("{error:?}") };
        assert_eq!(setting.as_deref(), Some("changes"));
        assert!(fix.contains(hint), "{fix}");
    }
    let world = World::slapd();
    let whole = connect(&world, "none");
    let schema = whole.0.schema().await.unwrap();
    assert!(schema.types.iter().all(|of| of.source.as_ref().unwrap().changes.is_none()));
    let schema = connect(&world, "auto").0.schema().await.unwrap();
    assert!(schema.types.iter().all(|of| of.source.as_ref().unwrap().changes.is_some()));
}
