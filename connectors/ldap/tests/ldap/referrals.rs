//! Entries of which one server holds a part and names another one for the rest.

use std::collections::BTreeSet;

use muster_connector::{CheckReport, Error, Outcome, Severity, UsedType};
use muster_model::{Key, Slot};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::world::{Connection, PASSWORD, World, applied, reference, refused, request};

const BRANCH: &str = "ou=branch,ou=people,dc=example,dc=org";

/// Two servers: the second holds `ou=branch`, for which the first one names it.
fn two() -> (World, World) {
    refer_to((World::slapd(), World::slapd()))
}

fn refer_to((first, second): (World, World)) -> (World, World) {
    second.server.ldif(&format!("dn: {BRANCH}\nobjectClass: organizationalUnit\nou: branch\n"));
    refer(&first, &format!("{}/{BRANCH}", second.server.url()));
    (first, second)
}

fn refer(world: &World, url: &str) {
    world
        .server
        .ldif(&format!("dn: {BRANCH}\nobjectClass: referral\nobjectClass: extensibleObject\nou: branch\nref: {url}\n"));
}

fn following(world: &World) -> Connection {
    following_with(world, &json!({}))
}

fn following_with(world: &World, more: &Json) -> Connection {
    let mut settings = json!({ "referrals": "follow" });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.connect_with(&settings)
}

fn in_branch(world: &World, login: &str) -> Vec<(&'static str, Slot)> {
    let mut person = world.person(login);
    person.push(("container", Slot::text(BRANCH)));
    person
}

async fn try_read(connection: &Connection, object_type: &str) -> Result<BTreeSet<Key>, Error> {
    let (mut keys, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = connection.0.source().unwrap().read(&request(object_type, &["cn"]), cursor.as_ref()).await?;
        keys.extend(page.objects.into_iter().map(|object| object.key));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(keys);
        }
    }
}

async fn check(connection: &Connection) -> CheckReport {
    let used = [UsedType {
        object_type: "user".to_owned(),
        attributes: vec!["uid".to_owned()],
        named: Vec::new(),
        as_source: true,
        as_target: true,
    }];
    connection.0.check(&used).await.unwrap()
}

#[tokio::test]
async fn people_of_another_slapd_are_read_and_written_where_they_are() {
    people_elsewhere_are_read_and_written(two()).await;
}

/// 389 refers searches only, and says of what is below a referral object that it is not there.
#[tokio::test]
async fn people_of_another_ds389_are_read_and_written_where_they_are() {
    people_elsewhere_are_read_and_written(refer_to((World::ds389(), World::ds389()))).await;
}

/// A whole tree whose changes are made elsewhere.
#[tokio::test]
async fn changes_go_from_one_ds389_to_another() {
    let (first, second) = (World::ds389(), World::ds389());
    let url = second.server.url();
    first.server.ldif(&format!(
        "dn: cn=\"dc=example,dc=org\",cn=mapping tree,cn=config\nchangetype: modify\nreplace: nsslapd-referral\n\
         nsslapd-referral: {url}/dc=example,dc=org\n-\nreplace: nsslapd-state\nnsslapd-state: referral on update\n"
    ));
    first.server.restart();
    let somebody = first.person("somebody");
    let outcome = first.connect().create("user", &somebody).await;
    assert_eq!(refused(&outcome).0, "referral");
    let outcome = following(&first).create("user", &somebody).await;
    // It is made there, and nobody replicates it.
    assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
    assert!(!second.server.search("(uid=somebody)", &[]).is_empty());
    assert!(first.server.search("(uid=somebody)", &[]).is_empty());
}

async fn people_elsewhere_are_read_and_written((first, second): (World, World)) {
    let directory = following(&first);
    let here = directory.created("user", &first.person("here")).await;
    let there =
        key_of(directory.create_with("user", &in_branch(&first, "there"), Some(("userPassword", PASSWORD))).await);
    let dn = format!("uid=there,{BRANCH}");
    assert_eq!(second.server.one("(uid=there)", &[]).dn, dn);
    assert!(second.server.admits(&dn, PASSWORD) && first.server.search("(uid=there)", &[]).is_empty());

    let both: BTreeSet<Key> = [here.clone(), there.clone()].into();
    assert_eq!(try_read(&directory, "user").await.unwrap(), both);
    assert_eq!(directory.find("user", "uid", "there", &["sn"]).await[0].key, there);
    assert_eq!(directory.find("user", "dn", &dn, &["sn"]).await[0].key, there);
    assert!(directory.find("user", "uid", "nobody", &[]).await.is_empty());
    applied(&directory.update("user", &there, &[("sn", Slot::text("Lund"))]).await);
    assert_eq!(directory.get("user", &there, &["sn"]).await.unwrap().row.0, [Slot::text("Lund")]);
    applied(&directory.update("user", &there, &[("uid", Slot::text("renamed"))]).await);
    assert_eq!(second.server.one("(uid=renamed)", &[]).dn, format!("uid=renamed,{BRANCH}"));
    applied(&directory.update("user", &there, &[("enabled", Slot::One(muster_model::Value::Boolean(false)))]).await);
    assert!(!second.server.admits(&format!("uid=renamed,{BRANCH}"), PASSWORD));

    // Members on either side of the border.
    let team = directory.created("group", &[("cn", Slot::text("team"))]).await;
    applied(&directory.values("group", &team, "member", vec![reference(&there), reference(&here)], Vec::new()).await);
    let page = directory.0.source().unwrap().read(&request("group", &["member"]), None).await.unwrap();
    let members: BTreeSet<Key> = page.objects[0].edges.iter().map(|edge| edge.referenced.clone()).collect();
    assert_eq!(members, both);
    let asked =
        [(team.clone(), reference(&there)), (team, reference(&Key::one(muster_model::Value::Uuid(uuid::Uuid::nil()))))];
    assert_eq!(directory.target().holds(&request("group", &[]), "member", &asked).await.unwrap(), [true, false]);

    // A new place is made where it belongs.
    let mut deep = first.person("deep");
    let place = format!("ou=deep,{BRANCH}");
    deep.push(("container", Slot::text(&place)));
    let deep = directory.created("user", &deep).await;
    assert_eq!(second.server.one("(uid=deep)", &[]).dn, format!("uid=deep,{place}"));
    applied(&directory.update("user", &deep, &[("container", Slot::text(BRANCH))]).await);
    assert_eq!(second.server.one("(uid=deep)", &[]).dn, format!("uid=deep,{BRANCH}"));
    applied(&directory.delete("user", &deep).await);
    assert!(first.server.search("(uid=deep)", &[]).is_empty());

    // Nobody is moved to another server.
    let outcome = directory.update("user", &here, &[("container", Slot::text(BRANCH))]).await;
    assert_eq!(refused(&outcome).0, "referral");
    assert_eq!(check(&directory).await.findings, []);
    applied(&directory.delete("user", &there).await);
    assert_eq!(try_read(&directory, "user").await.unwrap(), [here].into());
    assert!(matches!(directory.delete("user", &there).await, Outcome::Missing));
}

fn key_of(outcome: Outcome) -> Key {
    crate::world::key(outcome)
}

#[tokio::test]
async fn without_the_setting_nothing_is_sent_to_another_slapd() {
    let (first, second) = two();
    let directory = first.connect();
    let outcome = directory.create("user", &in_branch(&first, "there")).await;
    assert_eq!(refused(&outcome).0, "referral");
    assert!(format!("{outcome:?}").contains(&second.server.url()), "{outcome:?}");
    let error = try_read(&directory, "user").await.unwrap_err();
    assert!(
        matches!(&error, Error::Configuration { problem, fix, .. }
        if problem.contains(&second.server.url()) && fix.contains("follow")),
        "{error:?}"
    );
    let report = check(&directory).await;
    assert_eq!(report.findings[0].severity, Severity::Warning);
    assert!(report.findings[0].problem.contains(&second.server.url()), "{report:?}");
    assert!(second.server.search("(uid=there)", &[]).is_empty());
}

/// More entries than a page has, on both sides.
#[tokio::test]
async fn entries_of_both_slapds_come_in_pages() {
    let (first, second) = two();
    for (world, place) in [(&first, "ou=people,dc=example,dc=org"), (&second, BRANCH)] {
        let record = |number: usize| format!("dn: uid=m{number},{place}\nobjectClass: inetOrgPerson\ncn: x\nsn: x\n\n");
        world.server.ldif(&(0..1_200).map(record).collect::<String>());
    }
    let directory = following(&first);
    assert_eq!(try_read(&directory, "user").await.unwrap().len(), 2_400);
    // Changes are noticed on both sides, by their times.
    let asked = request("user", &["sn"]);
    let watermark = directory.0.source().unwrap().read(&asked, None).await.unwrap().watermark;
    let start = muster_connector::Position::Start(watermark);
    second.server.ldif(&format!("dn: uid=m7,{BRANCH}\nchangetype: modify\nreplace: sn\nsn: Lund\n"));
    let mut position = start;
    let mut changed = false;
    loop {
        let page = directory.0.source().unwrap().changes(&asked, &position).await.unwrap();
        changed |= format!("{:?}", page.entries).contains("Lund");
        match page.next {
            muster_connector::Next::Page(cursor) => position = muster_connector::Position::Page(cursor),
            muster_connector::Next::Done(_) => break,
        }
    }
    assert!(changed);
}

/// A replica names its provider for every change.
#[tokio::test]
async fn changes_go_from_a_replica_to_its_provider() {
    let provider = World::slapd();
    let url = provider.server.url();
    let replica = World::slapd_with(
        "",
        &format!(
            "syncrepl rid=1 provider={url} type=refreshAndPersist retry=\"1 +\" searchbase=dc=example,dc=org \
             bindmethod=simple binddn={} credentials={}\nupdateref {url}",
            provider.server.admin(),
            provider.server.password()
        ),
    );
    let plain = replica.connect();
    let outcome = plain.create("user", &replica.person("somebody")).await;
    assert_eq!(refused(&outcome).0, "referral");
    assert!(format!("{outcome:?}").contains(&url), "{outcome:?}");
    let directory = following(&replica);
    let outcome = directory.create_with("user", &replica.person("somebody"), Some(("userPassword", PASSWORD))).await;
    let key = key_of(outcome);
    assert_eq!(provider.server.search("(uid=somebody)", &[]).len(), 1);
    while directory.get("user", &key, &[]).await.is_none() {
        tokio::task::yield_now().await;
    }
    applied(&directory.update("user", &key, &[("sn", Slot::text("Lund"))]).await);
    assert_eq!(provider.server.one("(uid=somebody)", &["sn"]).get("sn"), "Lund");
    applied(&directory.delete("user", &key).await);
    assert!(provider.server.search("(uid=somebody)", &[]).is_empty());
}

/// A server names another one for whatever is outside of its own tree.
#[tokio::test]
async fn members_of_another_tree_are_looked_for_where_it_is() {
    let second = World::slapd();
    let url = second.server.url();
    let first = World::slapd_with(&format!("referral {url}"), "");
    first.server.ldif(&format!(
        "dn: cn=team,{}\nobjectClass: groupOfNames\ncn: team\nmember: uid=a,dc=elsewhere\n",
        first.groups()
    ));
    let directory = following(&first);
    let asked = request("group", &["member"]);
    let page = directory.0.source().unwrap().read(&asked, None).await.unwrap();
    assert!(page.objects.len() == 1 && page.objects[0].edges.is_empty(), "{page:?}");
    second.server.stop();
    let error = following(&first).0.source().unwrap().read(&asked, None).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { problem, .. } if problem.contains(&url)), "{error:?}");
}

/// Active Directory names its own settings and zones in every search of a domain; nobody is looked for there.
#[tokio::test]
async fn what_samba_names_of_itself_is_left_out() {
    let world = World::samba();
    world.connect().created("user", &world.person("somebody")).await;
    let types = json!({ "user": { "base": world.server.base(), "create_containers": false } });
    let directory = following_with(&world, &json!({ "types": types }));
    assert!(try_read(&directory, "user").await.unwrap().len() > 1);
    assert_eq!(check(&directory).await.findings, []);
    assert_eq!(directory.find("user", "sAMAccountName", "somebody", &[]).await.len(), 1);
}

#[tokio::test]
async fn errors_of_another_slapd_name_it() {
    let (first, second) = two();
    let url = second.server.url();
    let directory = following(&first);
    let outcome = directory.create_with("user", &in_branch(&first, "x"), Some(("userPassword", "short"))).await;
    assert_eq!(refused(&outcome), ("password_policy", Some("userPassword")));
    assert!(format!("{outcome:?}").contains(&url), "{outcome:?}");
    assert!(second.server.search("(uid=x)", &[]).is_empty());
    assert!(format!("{outcome:?}").contains(&url), "{outcome:?}");
    // There is no such place any more, and whoever was there must not count as gone.
    second.server.ldif(&format!("dn: {BRANCH}\nchangetype: delete\n"));
    let error = try_read(&directory, "user").await.unwrap_err();
    assert!(matches!(&error, Error::Configuration { problem, .. } if problem.contains(&url)), "{error:?}");
    let report = check(&directory).await;
    assert!(report.findings.iter().any(|finding| finding.problem.contains(&url)), "{report:?}");
    second.server.stop();
    let error = try_read(&following(&first), "user").await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { problem, .. } if problem.contains(&url)), "{error:?}");
    let report = check(&following(&first)).await;
    assert!(report.findings.iter().any(|finding| finding.problem.contains(&url)), "{report:?}");
    // Another password than here.
    second.server.restart();
    second.server.ldif(&format!(
        "dn: {}\nchangetype: modify\nreplace: userPassword\nuserPassword: another-of-the-admin\n",
        first.server.admin()
    ));
    let error = try_read(&following(&first), "user").await.unwrap_err();
    assert!(matches!(&error, Error::Credentials { problem, .. } if problem.contains(&url)), "{error:?}");
}

/// 389 answers a search by pages below what is not there with success and nothing.
#[tokio::test]
async fn a_place_that_ds389_no_longer_has_is_no_empty_one() {
    let moved = |dn: &str| format!("dn: {dn}\nchangetype: modrdn\nnewrdn: ou=moved\ndeleteoldrdn: 1\n");
    let (first, second) = refer_to((World::ds389(), World::ds389()));
    let directory = following(&first);
    directory.created("user", &first.person("here")).await;
    directory.created("user", &in_branch(&first, "there")).await;
    assert_eq!(try_read(&directory, "user").await.unwrap().len(), 2);
    let url = second.server.url();
    second.server.ldif(&moved(BRANCH));
    let error = try_read(&directory, "user").await.unwrap_err();
    assert!(matches!(&error, Error::Configuration { problem, .. } if problem.contains(&url)), "{error:?}");

    let alone = World::ds389();
    alone.connect().created("user", &alone.person("here")).await;
    assert_eq!(try_read(&alone.connect(), "user").await.unwrap().len(), 1);
    alone.server.ldif(&moved("ou=people,dc=example,dc=org"));
    let error = try_read(&alone.connect(), "user").await.unwrap_err();
    assert!(matches!(&error, Error::Configuration { problem, .. } if problem.contains("ou=people")), "{error:?}");
}

#[tokio::test]
async fn what_is_on_another_slapd_is_not_deleted_along() {
    let (first, second) = two();
    let user =
        json!({ "classes": ["organizationalUnit"], "rdn": "ou", "base": "dc=example,dc=org", "delete_subtree": true });
    let directory = following_with(&first, &json!({ "types": { "user": user } }));
    second.server.ldif(&format!("dn: ou=victim,{BRANCH}\nobjectClass: organizationalUnit\nou: victim\n"));
    let people = directory.find("user", "ou", "people", &[]).await[0].key.clone();
    let outcome = directory.delete("user", &people).await;
    assert_eq!(refused(&outcome).0, "referral", "{outcome:?}");
    assert!(!second.server.search("(ou=victim)", &[]).is_empty());
}

#[tokio::test]
async fn what_changes_elsewhere_is_not_followed_by_synchronisation() {
    let (first, second) = two();
    let directory = following_with(&first, &json!({ "changes": "sync" }));
    let report = check(&directory).await;
    let told = report.findings.iter().find(|finding| finding.severity == Severity::Error).unwrap();
    assert!(told.problem.contains(&second.server.url()) && told.fix.contains("modify_timestamp"), "{told:?}");
    let error = try_read(&directory, "user").await.unwrap_err();
    assert!(matches!(&error, Error::Configuration { fix, .. } if fix.contains("modify_timestamp")), "{error:?}");
    // Groups are all here.
    assert!(try_read(&directory, "group").await.is_ok());
}

/// Whoever is named by a referral gets the password over an encrypted connection or not at all, where the connection
/// itself is encrypted.
#[tokio::test]
async fn no_password_goes_to_another_server_in_the_clear() {
    let (first, second) = (World::slapd(), World::slapd());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ldap://{}", listener.local_addr().unwrap());
    refer(&first, &format!("{url}/{BRANCH}"));
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = vec![0; 4096];
        let length = stream.read(&mut all).await.unwrap();
        all.truncate(length);
        // protocolError (2): StartTLS is not known.
        stream.write_all(&[0x30, 12, 2, 1, 1, 0x78, 7, 0x0a, 1, 2, 4, 0, 4, 0]).await.unwrap();
        stream.read_to_end(&mut all).await.unwrap();
        all
    });
    let encrypted = json!({ "url": first.server.tls_url() });
    let error = try_read(&following_with(&first, &encrypted), "user").await.unwrap_err();
    assert!(matches!(&error, Error::Credentials { problem, .. } if problem.contains(&url)), "{error:?}");
    let heard = heard.await.unwrap();
    let text = String::from_utf8_lossy(&heard);
    assert!(text.contains("1.3.6.1.4.1.1466.20037") && !text.contains(first.server.password()), "{text}");
    // With encryption the same referral is followed, if the other server's certificate is trusted as well.
    second.server.ldif(&format!("dn: {BRANCH}\nobjectClass: organizationalUnit\nou: branch\n"));
    let there = format!("dn: uid=there,{BRANCH}\nobjectClass: inetOrgPerson\ncn: there\nsn: x\n");
    second.server.ldif(&there);
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("authorities.pem");
    for url in [second.server.url(), second.server.tls_url()] {
        let first = World::slapd();
        refer(&first, &format!("{url}/{BRANCH}"));
        let both = [first.server.ca_file(), second.server.ca_file()].map(|file| std::fs::read_to_string(file).unwrap());
        std::fs::write(&authorities, both.concat()).unwrap();
        let encrypted = json!({ "url": first.server.tls_url() });
        let error = try_read(&following_with(&first, &encrypted), "user").await.unwrap_err();
        assert!(matches!(&error, Error::Credentials { problem, .. } if problem.contains(&url)), "{error:?}");
        let trusting = json!({ "url": first.server.tls_url(), "ca_file": authorities });
        assert_eq!(try_read(&following_with(&first, &trusting), "user").await.unwrap().len(), 1);
    }
}
