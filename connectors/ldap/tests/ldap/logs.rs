//! Changes by the logs that servers keep: what their logs leave out, or have forgotten.

use std::cell::Cell;
use std::collections::BTreeSet;

use muster_connector::{Change, Error, Expired, Kind, Next, Position, Removal, Severity, UsedType, Watermark};
use muster_model::{Key, Row, Slot};
use serde_json::{Value as Json, json};

use crate::deltas::{GROUP, USER, changes, connect, read_all, try_changes};
use crate::world::{Connection, Kindred, World, applied, batch, operation, reference, request};

fn both() -> [(World, &'static str); 2] {
    [(World::slapd_logging(), "accesslog"), (World::ds389(), "changelog")]
}

#[track_caller]
fn expired(told: &Result<(Vec<muster_connector::Entry>, Watermark), Error>) {
    assert!(matches!(told, Err(Error::Expired { expired: Expired::Watermark })), "{told:?}");
}

/// Deletes records of a log, the oldest first, as its server does when they are of age.
fn trim(world: &World, count: usize) {
    let (log, number) = match world.kind {
        Kindred::OpenLdap => ("cn=accesslog", "reqStart"),
        _ => ("cn=changelog", "changeNumber"),
    };
    let mut records = world.server.try_search(log, &format!("({number}=*)"), &[number]).unwrap();
    records.sort_by_key(|record| {
        let text = record.attributes.values().next().unwrap()[0].clone();
        (text.len(), text)
    });
    let deletes = records.iter().take(count).map(|record| format!("dn: {}\nchangetype: delete\n\n", record.dn));
    world.server.ldif(&deletes.collect::<String>());
}

/// Whoever is moved out of a type's place, or is no longer what its filter asks for, is gone from it at once.
#[tokio::test]
async fn whoever_leaves_the_sight_of_a_type_is_told() {
    for (world, by) in both() {
        let types = json!({ "user": { "filter": "(!(title=Leaver))" } });
        let directory = world.connect_with(&json!({ "changes": by, "types": types }));
        let mut people = Vec::new();
        for login in ["stays", "leaves", "moves", "joins"] {
            people.push(directory.created("user", &world.person(login)).await);
        }
        applied(&directory.update("user", &people[3], &[("title", Slot::text("Leaver"))]).await);
        let (all, watermark) = read_all(&directory, "user", &USER).await;
        assert_eq!(all, people[..3].iter().cloned().collect());
        applied(&directory.update("user", &people[1], &[("title", Slot::text("Leaver"))]).await);
        applied(&directory.update("user", &people[3], &[("title", Slot::Null)]).await);
        world.server.ldif(&format!(
            "dn: uid=moves,{}\nchangetype: modrdn\nnewrdn: uid=moves\ndeleteoldrdn: 1\nnewsuperior: {}\n",
            world.people(),
            world.groups()
        ));
        let (told, _) = changes(&directory, "user", &USER, &watermark).await;
        assert_eq!(told.keys().collect::<BTreeSet<_>>(), people[1..].iter().collect(), "{by}");
        for (key, entry) in &told {
            let is_gone = matches!(entry.change, Change::Removed(Removal::Hard));
            assert_eq!(is_gone, *key != people[3], "{by}: {entry:?}");
        }
    }
}

/// A type may be elsewhere than the connection's `base`.
#[tokio::test]
async fn a_type_that_is_not_below_the_base_is_told_of() {
    for (world, by) in both() {
        let directory = world.connect_with(&json!({ "changes": by, "base": world.groups() }));
        let person = directory.created("user", &world.person("changes")).await;
        let leaver = directory.created("user", &world.person("leaves")).await;
        assert_eq!(findings(&directory).await, [], "{by}");
        let (_, watermark) = read_all(&directory, "user", &USER).await;
        world.server.ldif(&format!(
            "dn: uid=changes,{0}\nchangetype: modify\nreplace: sn\nsn: Lund\n\ndn: uid=leaves,{0}\nchangetype: delete\n",
            world.people()
        ));
        let (told, _) = changes(&directory, "user", &USER, &watermark).await;
        assert_eq!(told.keys().collect::<BTreeSet<_>>(), BTreeSet::from([&person, &leaver]), "{by}");
    }
}

/// What a clock that was ahead has named does not hide what comes after it was set right.
#[tokio::test]
async fn a_clock_that_was_set_back_loses_nothing() {
    let world = World::slapd_logging();
    let directory = connect(&world, "accesslog");
    let mut people = Vec::new();
    for login in ["leaves", "leaves_too"] {
        people.push(directory.created("user", &world.person(login)).await);
    }
    let ahead = |number: usize| {
        format!(
            "dn: reqStart=2099010100000{number}.000000Z,cn=accesslog\nobjectClass: auditModify\nreqType: modify\n\
             reqStart: 2099010100000{number}.000000Z\nreqSession: 1\nreqResult: 0\nreqDN: uid=x,{}\n\
             reqAuthzID: {}\nreqMod: sn:= x\n\n",
            world.people(),
            world.people()
        )
    };
    world.server.ldif(&ahead(0));
    let (_, watermark) = read_all(&directory, "user", &USER).await;
    applied(&directory.delete("user", &people[0]).await);
    let (told, watermark) = changes(&directory, "user", &USER, &watermark).await;
    assert_eq!(told.keys().collect::<Vec<_>>(), [&people[0]]);
    world.server.ldif(&ahead(1));
    applied(&directory.delete("user", &people[1]).await);
    let (told, watermark) = changes(&directory, "user", &USER, &watermark).await;
    assert_eq!(told.keys().collect::<Vec<_>>(), [&people[1]]);
    assert!(changes(&directory, "user", &USER, &watermark).await.0.is_empty());
}

/// What is written while a log is full or off, or is imported, is in no record.
#[tokio::test]
async fn what_gets_no_record_is_told() {
    for (world, by) in both() {
        let directory = connect(&world, by);
        let mut people = Vec::new();
        for login in ["changes", "leaves", "stays"] {
            people.push(directory.created("user", &world.person(login)).await);
        }
        let (log, number) = match world.kind {
            Kindred::OpenLdap => ("cn=accesslog", "reqStart"),
            _ => ("cn=changelog", "changeNumber"),
        };
        let records = || world.server.try_search(log, &format!("({number}=*)"), &["1.1"]).unwrap();
        let (_, watermark) = read_all(&directory, "user", &USER).await;
        let before: BTreeSet<String> = records().into_iter().map(|record| record.dn).collect();
        // Times of entries are whole seconds in 389.
        let modified = |login: &str| {
            let found = world.server.try_search(&world.people(), &format!("(uid={login})"), &["modifyTimestamp"]);
            found.unwrap()[0].get("modifyTimestamp").to_owned()
        };
        let last = modified("stays");
        loop {
            applied(&directory.update("user", &people[0], &[("sn", Slot::text("Lund"))]).await);
            applied(&directory.update("user", &people[0], &[("sn", Slot::text("Moor"))]).await);
            if modified("changes") > last {
                break;
            }
        }
        let joiner = directory.created("user", &world.person("joins")).await;
        let deletes = records().into_iter().filter(|record| !before.contains(&record.dn));
        let deletes = deletes.map(|record| format!("dn: {}\nchangetype: delete\n\n", record.dn));
        world.server.ldif(&deletes.collect::<String>());
        let (told, watermark) = changes(&directory, "user", &USER, &watermark).await;
        assert_eq!(told.keys().collect::<BTreeSet<_>>(), BTreeSet::from([&people[0], &joiner]), "{by}");
        let (idle, _) = changes(&directory, "user", &USER, &watermark).await;
        assert!(idle.is_empty(), "{by}: {idle:?}");
    }
}

/// Where a type's place is renamed or hidden, nobody there counts as gone: changes fail as a full read does.
#[tokio::test]
async fn a_place_that_is_not_seen_any_more_takes_nobody_away() {
    for (world, by) in both() {
        let directory = world.connect_with(&json!({
            "changes": by, "types": { "user": { "base": format!("ou=staff,{}", world.people()) } },
        }));
        let staff = |name: &str| format!("dn: ou={name},{}", world.people());
        world.server.ldif(&format!("{}\nobjectClass: organizationalUnit\nou: staff\n", staff("staff")));
        let person = directory.created("user", &world.person("somebody")).await;
        let (_, watermark) = read_all(&directory, "user", &USER).await;
        applied(&directory.update("user", &person, &[("sn", Slot::text("Lund"))]).await);
        world.server.ldif(&format!("{}\nchangetype: modrdn\nnewrdn: ou=former\ndeleteoldrdn: 1\n", staff("staff")));
        let error = try_changes(&directory, "user", &USER, &watermark).await.unwrap_err();
        assert!(matches!(error, Error::Configuration { .. }), "{by}: {error:?}");
        let as_a_whole = directory.0.source().unwrap().read(&request("user", &USER), None).await.unwrap_err();
        assert_eq!(format!("{error:?}"), format!("{as_a_whole:?}"), "{by}");
        world.server.ldif(&format!("{}\nchangetype: modrdn\nnewrdn: ou=staff\ndeleteoldrdn: 1\n", staff("former")));
        let (told, _) = changes(&directory, "user", &USER, &watermark).await;
        assert!(matches!(told[&person].change, Change::Whole(_)), "{by}: {told:?}");
    }
}

/// One log does not tell of another database's entries.
#[tokio::test]
async fn a_type_in_a_database_of_another_log_is_refused() {
    let other = "\ndatabase mdb\nsuffix dc=other\nrootdn cn=muster,dc=example,dc=org\ndirectory {folder}";
    let world = World::slapd_logging_with(other);
    world.server.ldif("dn: dc=other\nobjectClass: dcObject\nobjectClass: organization\ndc: other\no: x\n");
    let types = json!({ "user": { "base": "dc=other" } });
    let directory = world.connect_with(&json!({ "changes": "accesslog", "types": types }));
    let told = findings(&directory).await;
    assert_eq!(told[0].severity, Severity::Error, "{told:?}");
    assert!(told[0].problem.contains("dc=other"), "{told:?}");
    let error = directory.0.source().unwrap().read(&request("user", &USER), None).await.unwrap_err();
    assert!(matches!(error, Error::Configuration { .. }), "{error:?}");
    assert!(!read_all(&directory, "group", &GROUP).await.1.0.is_empty());
}

/// Somebody who leaves is a member no more, though no log tells of the group.
#[tokio::test]
async fn a_member_who_is_deleted_is_told() {
    for (world, by) in both() {
        let directory = connect(&world, by);
        let person = directory.created("user", &world.person("leaver")).await;
        let team = directory.created("group", &[("cn", Slot::text("team"))]).await;
        applied(&directory.values("group", &team, "member", vec![reference(&person)], Vec::new()).await);
        let (_, of_people) = read_all(&directory, "user", &USER).await;
        let (_, of_groups) = read_all(&directory, "group", &GROUP).await;
        applied(&directory.delete("user", &person).await);
        let (told, _) = changes(&directory, "user", &USER, &of_people).await;
        assert_eq!(told[&person].change, Change::Removed(Removal::Hard), "{by}");
        applied(&directory.update("group", &team, &[("description", Slot::text("x"))]).await);
        let (told, _) = changes(&directory, "group", &GROUP, &of_groups).await;
        assert!(told[&team].edges.is_empty(), "{by}: {told:?}");
    }
}

/// What was trimmed from a log past a watermark was never seen.
#[tokio::test]
async fn a_log_that_was_trimmed_past_the_watermark_is_not_believed() {
    for (world, by) in both() {
        let directory = connect(&world, by);
        let person = directory.created("user", &world.person("somebody")).await;
        let (_, watermark) = read_all(&directory, "user", &USER).await;
        for number in 0..12 {
            let surname = Slot::text(&format!("Lund {number}"));
            applied(&directory.update("user", &person, &[("sn", surname)]).await);
        }
        // What is older may go.
        let records = world.server.try_search(&format!("cn={by}"), "(objectClass=*)", &["1.1"]).unwrap().len() - 1;
        trim(&world, records - 13);
        let (told, _) = changes(&directory, "user", &USER, &watermark).await;
        assert_eq!(told.keys().collect::<Vec<_>>(), [&person], "{by}");
        trim(&world, 3);
        expired(&try_changes(&directory, "user", &USER, &watermark).await);
        // From now on everything is known again.
        let (_, watermark) = read_all(&directory, "user", &USER).await;
        applied(&directory.update("user", &person, &[("sn", Slot::text("Moor"))]).await);
        let (told, watermark) = changes(&directory, "user", &USER, &watermark).await;
        assert_eq!(told.len(), 1);
        // A log without a record, whose server numbers as if there were none.
        trim(&world, usize::MAX);
        world.server.restart();
        let directory = connect(&world, by);
        applied(&directory.delete("user", &person).await);
        expired(&try_changes(&directory, "user", &USER, &watermark).await);
        let (_, watermark) = read_all(&directory, "user", &USER).await;
        let (told, _) = changes(&directory, "user", &USER, &watermark).await;
        assert!(told.is_empty(), "{by}: {told:?}");
    }
}

/// A server that purges its log of what is old goes on to be believed while nothing else happens.
#[tokio::test]
async fn a_log_that_was_purged_of_what_is_known_goes_on() {
    let world = World::slapd_logging_with("logpurge 00+00:00:04 00+00:00:01");
    let is_empty = || world.server.try_search("cn=accesslog", "(reqStart=*)", &["1.1"]).unwrap().is_empty();
    let directory = connect(&world, "accesslog");
    let person = directory.created("user", &world.person("somebody")).await;
    let (_, before) = read_all(&directory, "user", &USER).await;
    while !is_empty() {
        tokio::task::yield_now().await;
    }
    let (idle, after) = changes(&directory, "user", &USER, &before).await;
    assert!(idle.is_empty());
    applied(&directory.update("user", &person, &[("sn", Slot::text("Lund"))]).await);
    let (told, _) = changes(&directory, "user", &USER, &after).await;
    assert_eq!(told.keys().collect::<Vec<_>>(), [&person]);
    while !is_empty() {
        tokio::task::yield_now().await;
    }
    for watermark in [before, after] {
        expired(&try_changes(&directory, "user", &USER, &watermark).await);
    }
}

/// Changes that end in another order than they began in.
#[tokio::test]
async fn nothing_is_missed_while_many_write_at_once() {
    for (world, by) in both() {
        let directory = connect(&world, by);
        let (_, mut watermark) = read_all(&directory, "user", &USER).await;
        let creates = (0..600).map(|number| {
            let mut create = operation(Kind::Create, None);
            let name = Slot::text(&format!("p{number}"));
            create.row = Row(vec![name.clone(), name, Slot::text("Berg")]);
            create
        });
        let creates = batch("user", &["uid", "cn", "sn"], creates.collect());
        let is_done = Cell::new(false);
        let writing = async {
            let outcomes = directory.apply(&creates).await;
            is_done.set(true);
            outcomes.into_iter().map(crate::world::key).collect::<BTreeSet<Key>>()
        };
        let following = async {
            let mut all = BTreeSet::new();
            loop {
                let was_done = is_done.get();
                let (told, next) = changes(&directory, "user", &USER, &watermark).await;
                all.extend(told.into_keys());
                watermark = next;
                if was_done {
                    return all;
                }
            }
        };
        let (written, told) = tokio::join!(writing, following);
        assert_eq!((written.len(), written == told), (600, true), "{by}");
    }
}

/// A log in which nothing stands yet.
#[tokio::test]
async fn the_first_change_of_all_is_told() {
    let world = World::slapd_logging();
    let directory = connect(&world, "accesslog");
    let (_, watermark) = read_all(&directory, "user", &USER).await;
    let (idle, watermark) = changes(&directory, "user", &USER, &watermark).await;
    assert!(idle.is_empty());
    let person = directory.created("user", &world.person("first")).await;
    let (told, _) = changes(&directory, "user", &USER, &watermark).await;
    assert_eq!(told.keys().collect::<Vec<_>>(), [&person]);
}

#[tokio::test]
async fn watermarks_of_another_server_or_way_are_not_believed() {
    for ((world, by), (other, _)) in both().into_iter().zip(both()) {
        let (directory, elsewhere) = (connect(&world, by), connect(&other, by));
        for (world, directory) in [(&world, &directory), (&other, &elsewhere)] {
            directory.created("user", &world.person("somebody")).await;
        }
        let (_, foreign) = read_all(&elsewhere, "user", &USER).await;
        expired(&try_changes(&directory, "user", &USER, &foreign).await);
        let (_, own) = read_all(&directory, "user", &USER).await;
        let by_time = connect(&world, "modify_timestamp");
        let (_, of_time) = read_all(&by_time, "user", &USER).await;
        expired(&try_changes(&directory, "user", &USER, &of_time).await);
        expired(&try_changes(&by_time, "user", &USER, &own).await);
        // A server that was restored has given numbers again.
        let mut mark: Json = serde_json::from_slice(&own.0).unwrap();
        match by {
            "changelog" => mark[by]["number"] = json!(u64::MAX),
            _ => mark[by]["newest"][1] = json!("of another record"),
        }
        expired(&try_changes(&directory, "user", &USER, &Watermark(mark.to_string().into_bytes())).await);
        for nonsense in [json!({ by: {} }), json!({ by: [] }), json!(by)] {
            expired(&try_changes(&directory, "user", &USER, &Watermark(nonsense.to_string().into_bytes())).await);
        }
        assert!(changes(&directory, "user", &USER, &own).await.0.is_empty());
    }
}

#[tokio::test]
async fn many_changes_of_a_log_come_in_pages() {
    for (world, by) in both() {
        let directory = connect(&world, by);
        let (before, watermark) = read_all(&directory, "user", &USER).await;
        assert!(before.is_empty());
        let people = world.people();
        let record =
            |number: usize| format!("dn: uid=m{number},{people}\nobjectClass: inetOrgPerson\ncn: x\nsn: x\n\n");
        world.server.ldif(&(0..1_300).map(record).collect::<String>());
        let (told, after) = changes(&directory, "user", &USER, &watermark).await;
        assert_eq!(told.len(), 1_300, "{by}");
        // All of them within the overlap, and none is told again.
        let (idle, _) = changes(&directory, "user", &USER, &after).await;
        assert!(idle.is_empty(), "{by}: {}", idle.len());
        // A round that lost its connection begins again from its watermark.
        let asked = request("user", &USER);
        let source = directory.0.source().unwrap();
        let page = source.changes(&asked, &Position::Start(Some(watermark.clone()))).await.unwrap();
        let Next::Page(cursor) = page.next else { panic!("one page") };
        assert_eq!(page.entries.len(), 1_000);
        world.server.restart();
        let error = source.changes(&asked, &Position::Page(cursor.clone())).await.unwrap_err();
        assert!(matches!(error, Error::Expired { expired: Expired::Cursor }), "{error:?}");
        let again = connect(&world, by);
        let error = again.0.source().unwrap().changes(&asked, &Position::Page(cursor)).await.unwrap_err();
        assert!(matches!(error, Error::Expired { expired: Expired::Cursor }), "{error:?}");
        assert_eq!(changes(&again, "user", &USER, &watermark).await.0.len(), 1_300);
    }
}

async fn findings(directory: &Connection) -> Vec<muster_connector::Finding> {
    let used = [UsedType {
        object_type: "user".to_owned(),
        attributes: vec!["uid".to_owned()],
        named: Vec::new(),
        as_source: true,
        as_target: false,
    }];
    directory.0.check(&used).await.unwrap().findings
}

#[tokio::test]
async fn check_says_which_log_is_missing_or_closed() {
    let without = [(World::slapd(), "accesslog", "overlay"), (World::slapd(), "changelog", "Retro Changelog")];
    for (world, by, hint) in without {
        let told = findings(&connect(&world, by)).await;
        assert_eq!((told[0].severity, told[0].setting.as_deref()), (Severity::Error, Some("changes")), "{told:?}");
        assert!(told[0].fix.contains(hint), "{told:?}");
    }
    for (world, by) in both() {
        assert_eq!(findings(&connect(&world, by)).await, [], "{by}");
        let reader = match world.kind {
            Kindred::OpenLdap => ("cn=reader,dc=example,dc=org".to_owned(), "secret"),
            _ => {
                let (base, people) = (world.server.base(), world.people());
                let dn = format!("uid=reader,{people}");
                world.server.ldif(&format!(
                    "dn: {dn}\nobjectClass: inetOrgPerson\nuid: reader\ncn: r\nsn: r\nuserPassword: secret-of-the-reader\n\n\
                     dn: {base}\nchangetype: modify\nadd: aci\naci: (target=\"ldap:///{base}\")(targetattr=\"*\")\
                     (version 3.0; acl \"reader\"; allow (read, search, compare) userdn=\"ldap:///{dn}\";)\n"
                ));
                (dn, "secret-of-the-reader")
            }
        };
        let mut settings = world.settings();
        settings["user"] = json!(reader.0);
        settings["changes"] = json!(by);
        let connect = || Connection(world.try_connect(settings.clone(), reader.1).unwrap());
        let told = findings(&connect()).await;
        assert_eq!(told[0].setting.as_deref(), Some("changes"), "{told:?}");
        assert!(told[0].problem.contains(&format!("cn={by}")) && told[0].fix.contains("read"), "{told:?}");
        if world.kind == Kindred::Ds389 {
            world.server.ldif(&format!(
                "dn: cn=changelog\nchangetype: modify\nadd: aci\naci: (targetattr=\"*\")(version 3.0; acl \"muster\"; \
                 allow (read, search, compare) userdn=\"ldap:///{}\";)\n",
                reader.0
            ));
            let rights = |attributes: &str, filter: &str| {
                let rights = "allow (read, search, compare)";
                world.server.ldif(&format!(
                    "dn: cn=changelog\nchangetype: modify\nreplace: aci\naci: (targetattr=\"{attributes}\"){filter}\
                     (version 3.0; acl \"muster\"; {rights} userdn=\"ldap:///{}\";)\n",
                    reader.0
                ));
            };
            let directory = connect();
            assert_eq!(findings(&directory).await, []);
            let (_, watermark) = read_all(&directory, "user", &USER).await;
            world.connect().created("user", &world.person("hidden")).await;
            // Records that do not say whom they are about, and none at all.
            for (attributes, filter, missing) in [
                ("objectClass || changeNumber || nsUniqueId", "", "targetDn"),
                ("*", "(targetfilter=\"(!(changeNumber=*))\")", "cn=changelog"),
            ] {
                rights(attributes, filter);
                let told = findings(&directory).await;
                assert_eq!(told[0].severity, Severity::Error, "{told:?}");
                assert!(told[0].problem.contains(missing), "{told:?}");
                let error = directory.0.source().unwrap().read(&request("user", &USER), None).await.unwrap_err();
                assert!(
                    matches!(&error, Error::Configuration { problem, .. } if problem.contains(missing)),
                    "{error:?}"
                );
                let told = try_changes(&directory, "user", &USER, &watermark).await;
                assert!(told.is_err(), "{told:?}");
            }
            rights("*", "");
            let (_, watermark) = read_all(&directory, "user", &USER).await;
            world.connect().created("user", &world.person("joiner")).await;
            assert_eq!(changes(&directory, "user", &USER, &watermark).await.0.len(), 1);
        }
    }
}

/// Whoever sees a log and none of its records must not believe that nothing changes.
#[tokio::test]
async fn records_that_nobody_shows_are_missed() {
    let world = World::slapd_logging();
    world.server.ldif(
        "dn: cn=outside,dc=example,dc=org\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n\
         cn: outside\nuserPassword: secret-of-the-outsider\n",
    );
    let mut settings = world.settings();
    settings["user"] = json!("cn=outside,dc=example,dc=org");
    settings["changes"] = json!("accesslog");
    let outside = Connection(world.try_connect(settings, "secret-of-the-outsider").unwrap());
    let told = findings(&outside).await;
    assert!(told[0].severity == Severity::Error && told[0].problem.contains("cn=accesslog"), "{told:?}");
    let error = outside.0.source().unwrap().read(&request("user", &USER), None).await.unwrap_err();
    let Error::Configuration { setting, fix, .. } = &error else { panic!("{error:?}") };
    assert!(setting.as_deref() == Some("changes") && fix.contains("read"), "{error:?}");
}

/// Without its setting 389's log says only what entries are called: those that are there are found by that, and the rest
/// with the keys.
#[tokio::test]
async fn a_log_that_tells_names_only_leaves_the_deleted_to_the_keys() {
    let world = World::ds389();
    world
        .server
        .ldif("dn: cn=Retro Changelog Plugin,cn=plugins,cn=config\nchangetype: modify\ndelete: nsslapd-attribute\n");
    world.server.restart();
    let directory = connect(&world, "changelog");
    let mut people: Vec<Key> = Vec::new();
    for login in ["stays", "leaves", "renamed", "moves"] {
        people.push(directory.created("user", &world.person(login)).await);
    }
    let told = findings(&directory).await;
    assert!(told[0].fix.contains("targetUniqueId") && told[0].severity == Severity::Warning, "{told:?}");
    let (_, watermark) = read_all(&directory, "user", &USER).await;
    applied(&directory.delete("user", &people[1]).await);
    applied(&directory.update("user", &people[2], &[("uid", Slot::text("other"))]).await);
    world.server.ldif(&format!(
        "dn: uid=moves,{}\nchangetype: modrdn\nnewrdn: uid=moves\ndeleteoldrdn: 1\nnewsuperior: {}\n",
        world.people(),
        world.groups()
    ));
    let (told, _) = changes(&directory, "user", &USER, &watermark).await;
    assert_eq!(told.keys().collect::<BTreeSet<_>>(), people[2..].iter().collect(), "{told:?}");
    assert!(matches!(told[&people[2]].change, Change::Whole(_)));
    assert!(matches!(told[&people[3]].change, Change::Removed(Removal::Hard)));
    let (all, _) = read_all(&directory, "user", &USER).await;
    assert!(!all.contains(&people[1]));
    // Whoever changed is looked for under the name that his unit has by now.
    let unit = format!("ou=north,{}", world.people());
    world.server.ldif(&format!("dn: {unit}\nobjectClass: organizationalUnit\nou: north\n"));
    applied(&directory.update("user", &people[0], &[("container", Slot::text(&unit))]).await);
    let (_, watermark) = read_all(&directory, "user", &USER).await;
    applied(&directory.update("user", &people[0], &[("sn", Slot::text("Lund"))]).await);
    world.server.ldif(&format!("dn: {unit}\nchangetype: modrdn\nnewrdn: ou=south\ndeleteoldrdn: 1\n"));
    let (told, watermark) = changes(&directory, "user", &USER, &watermark).await;
    assert!(matches!(told[&people[0]].change, Change::Whole(_)), "{told:?}");
    let is_gone = |key: &Key| matches!(told.get(key).map(|entry| &entry.change), Some(Change::Removed(_)));
    assert!(!people.iter().any(is_gone), "{told:?}");
    // A name that nobody has, of whose end no record tells.
    applied(&directory.update("user", &people[2], &[("sn", Slot::text("Lund"))]).await);
    applied(&directory.delete("user", &people[2]).await);
    let mut records = world.server.try_search("cn=changelog", "(changeType=delete)", &["changeNumber"]).unwrap();
    records.sort_by_key(|record| record.get("changeNumber").parse::<u64>().unwrap());
    world.server.ldif(&format!("dn: {}\nchangetype: delete\n", records.last().unwrap().dn));
    expired(&try_changes(&directory, "user", &USER, &watermark).await);
}
