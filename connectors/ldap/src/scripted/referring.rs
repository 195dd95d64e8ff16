//! Peers that name other servers for whatever they are asked: circles, chains without an end, and names that lead nowhere.

use std::sync::{Arc, Mutex};

use muster_connector::settings::SecretString;
use muster_connector::{Connector, ConnectorKind as _, ConnectorSettings, Error, ReadRequest};
use muster_model::{Key, Value};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::{message, result, texts};
use crate::connector::LdapKind;
use crate::protocol::ber::{ENUMERATED, OCTETS, Reader, SEQUENCE, SET, Writer, message_length, within_context};

const BASE: &str = "dc=corp";

const ATTRIBUTE_TYPES: [&str; 5] = [
    "( 2.5.4.0 NAME 'objectClass' SYNTAX '1.3.6.1.4.1.1466.115.121.1.38' )",
    "( 2.5.4.3 NAME 'cn' SYNTAX '1.3.6.1.4.1.1466.115.121.1.15' )",
    "( 0.9.2342.19200300.100.1.1 NAME 'uid' SYNTAX '1.3.6.1.4.1.1466.115.121.1.15' )",
    "( 2.5.18.2 NAME 'modifyTimestamp' SYNTAX '1.3.6.1.4.1.1466.115.121.1.24' SINGLE-VALUE NO-USER-MODIFICATION )",
    "( 1.3.6.1.1.16.4 NAME 'entryUUID' SYNTAX '1.3.6.1.1.16.1' SINGLE-VALUE NO-USER-MODIFICATION )",
];

const OBJECT_CLASSES: [&str; 2] = [
    "( 2.5.6.0 NAME 'top' ABSTRACT MUST (objectClass ) )",
    "( 2.16.840.1.113730.3.2.2 NAME 'inetOrgPerson' SUP top STRUCTURAL MUST (cn ) MAY (uid ) )",
];

/// How a peer answers searches below [`BASE`].
#[derive(Debug, Clone, Default)]
struct Peer {
    /// The one person whom it holds.
    person: Option<(String, Uuid)>,
    /// What it names as parts that are elsewhere.
    parts: Vec<Vec<String>>,
    /// What it names in place of an answer.
    instead: Option<Vec<String>>,
    /// How many searches and changes below [`BASE`] it was asked for.
    asked: usize,
    /// How many connections it took.
    connections: usize,
}

type Shared = Arc<Mutex<Peer>>;

fn entry(dn: &str, attributes: &[(String, Vec<Vec<u8>>)]) -> Writer {
    let mut writer = Writer::default();
    writer.nested(0x64, |entry| {
        entry.octets(OCTETS, dn.as_bytes());
        entry.nested(SEQUENCE, |list| {
            for (name, values) in attributes {
                list.nested(SEQUENCE, |one| {
                    one.octets(OCTETS, name.as_bytes());
                    one.nested(SET, |set| values.iter().for_each(|value| set.octets(OCTETS, value)));
                });
            }
        });
    });
    writer
}

fn referral(tag: u8, urls: &[String]) -> Writer {
    let mut writer = Writer::default();
    writer.nested(tag, |result| {
        result.integer(ENUMERATED, 10);
        result.octets(OCTETS, b"");
        result.octets(OCTETS, b"");
        result.nested(within_context(3), |list| urls.iter().for_each(|url| list.octets(OCTETS, url.as_bytes())));
    });
    writer
}

fn continuation(urls: &[String]) -> Writer {
    let mut writer = Writer::default();
    writer.nested(0x73, |list| urls.iter().for_each(|url| list.octets(OCTETS, url.as_bytes())));
    writer
}

fn of_itself(dn: &str) -> Option<Vec<(String, Vec<Vec<u8>>)>> {
    match dn {
        "" => Some(vec![texts("namingContexts", &[BASE]), texts("subschemaSubentry", &["cn=schema"])]),
        "cn=schema" => Some(vec![
            texts("objectClass", &["subschema"]),
            texts("attributeTypes", &ATTRIBUTE_TYPES),
            texts("objectClasses", &OBJECT_CLASSES),
        ]),
        BASE => Some(vec![texts("entryUUID", &[&Uuid::nil().to_string()])]),
        _ => None,
    }
}

fn answers(tag: u8, operation: &[u8], peer: &Shared) -> Vec<Writer> {
    if tag == 0x60 {
        return vec![result(0x61, 0)];
    }
    let mut peer = peer.lock().unwrap();
    let mut inner = Reader::new(operation);
    if tag != 0x63 {
        peer.asked += 1;
        return vec![peer.instead.as_ref().map_or_else(|| result(tag + 1, 0), |urls| referral(tag + 1, urls))];
    }
    let base = inner.text(OCTETS).unwrap();
    let is_base = inner.integer(ENUMERATED).unwrap() == 0;
    if let (true, Some(attributes)) = (is_base, of_itself(&base)) {
        return vec![entry(&base, &attributes), result(0x65, 0)];
    }
    peer.asked += 1;
    if let Some(urls) = &peer.instead {
        return vec![referral(0x65, urls)];
    }
    let person = peer.person.iter().map(|(login, id)| {
        let attributes = [
            texts("objectClass", &["top", "inetOrgPerson"]),
            texts("uid", &[login]),
            texts("entryUUID", &[&id.to_string()]),
        ];
        entry(&format!("uid={login},{BASE}"), &attributes)
    });
    let parts = peer.parts.iter().map(|urls| continuation(urls));
    person.chain(parts).chain([result(0x65, 0)]).collect()
}

async fn serve(mut stream: TcpStream, peer: Shared) {
    let mut buffer = Vec::new();
    loop {
        while let Ok(Some(length)) = message_length(&buffer, 1 << 20) {
            if buffer.len() < length {
                break;
            }
            let bytes: Vec<u8> = buffer.drain(..length).collect();
            let mut request = Reader::new(&bytes).within(SEQUENCE).unwrap();
            let id = request.integer(crate::protocol::ber::INTEGER).unwrap();
            let (tag, operation) = request.value().unwrap();
            if [0x42, 0x50].contains(&tag) {
                continue;
            }
            for answer in answers(tag, operation, &peer) {
                if stream.write_all(&message(id, answer, None)).await.is_err() {
                    return;
                }
            }
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// A peer and its address.
async fn peer(peer: Peer) -> (String, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ldap://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let shared = Arc::new(Mutex::new(peer));
    let peer = Arc::clone(&shared);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            peer.lock().unwrap().connections += 1;
            tokio::spawn(serve(stream, Arc::clone(&peer)));
        }
    });
    (url, shared)
}

fn connect(url: &str) -> Arc<dyn Connector> {
    let settings = ConnectorSettings {
        connection: "directory".to_owned(),
        values: json!({
            "url": url, "user": "cn=muster", "referrals": "follow", "timeout": "5s", "changes": "none",
            "types": { "user": { "enabled": "" } },
        }),
        secrets: [("password".to_owned(), SecretString::from("secret".to_owned()))].into(),
        base_folder: "/".into(),
    };
    LdapKind.connect(settings).unwrap()
}

fn request() -> ReadRequest {
    ReadRequest { object_type: "user".into(), attributes: Arc::new(["uid".to_owned()]), named: Arc::new([]) }
}

async fn read(directory: &dyn Connector) -> Result<Vec<String>, Error> {
    let (mut logins, mut cursor) = (Vec::new(), None);
    loop {
        let page = directory.source().unwrap().read(&request(), cursor.as_ref()).await?;
        logins.extend(page.objects.iter().map(|object| match object.row.slot(0) {
            muster_model::Slot::One(value) => value.to_string(),
            other => panic!("{other:?}"),
        }));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(logins);
        }
    }
}

#[track_caller]
fn problem(error: &Error, setting: &str) -> String {
    let Error::Configuration { setting: Some(named), problem, fix } = error else { panic!("{error:?}") };
    assert_eq!(named, setting, "{error:?}");
    format!("{problem}; {fix}")
}

fn person(login: &str, number: u128) -> Option<(String, Uuid)> {
    Some((login.to_owned(), Uuid::from_u128(number)))
}

#[tokio::test]
async fn parts_that_servers_name_in_a_circle_are_read_once() {
    let (first_url, first) = peer(Peer { person: person("a", 1), ..Peer::default() }).await;
    let (second_url, second) = peer(Peer { person: person("b", 2), ..Peer::default() }).await;
    let to = |url: &str| vec![format!("{url}/{BASE}??sub")];
    first.lock().unwrap().parts = vec![to(&second_url), to(&second_url)];
    second.lock().unwrap().parts = vec![to(&first_url)];
    let directory = connect(&first_url);
    assert_eq!(read(&*directory).await.unwrap(), ["a", "b"]);
    assert_eq!((first.lock().unwrap().asked, second.lock().unwrap().asked), (1, 1));
    let found = directory.target().unwrap().find(&request(), &["uid".to_owned()], &[vec![Value::text("b")]]).await;
    assert_eq!(found.unwrap()[0].len(), 2);
}

#[tokio::test]
async fn a_circle_in_which_nobody_holds_the_entries_is_told() {
    let (first_url, first) = peer(Peer::default()).await;
    let (second_url, second) = peer(Peer::default()).await;
    first.lock().unwrap().instead = Some(vec![format!("{second_url}/{BASE}")]);
    second.lock().unwrap().instead = Some(vec![format!("{first_url}/{BASE}")]);
    let directory = connect(&first_url);
    let told = problem(&read(&*directory).await.unwrap_err(), "referrals");
    assert!(told.contains("circle") && told.contains(&first_url), "{told}");
    let told = problem(
        &directory.target().unwrap().get(&request(), &[Key::one(Value::Uuid(Uuid::nil()))]).await.unwrap_err(),
        "referrals",
    );
    assert!(told.contains("circle"), "{told}");
}

#[tokio::test]
async fn a_circle_below_a_part_is_told_as_well() {
    let (third_url, third) = peer(Peer::default()).await;
    let (second_url, second) = peer(Peer::default()).await;
    let to = |url: &str| Some(vec![format!("{url}/{BASE}")]);
    second.lock().unwrap().instead = to(&third_url);
    third.lock().unwrap().instead = to(&second_url);
    let parts = vec![vec![format!("{second_url}/{BASE}??sub")]];
    let (url, _) = peer(Peer { person: person("a", 1), parts, ..Peer::default() }).await;
    let directory = connect(&url);
    let told = problem(&read(&*directory).await.unwrap_err(), "referrals");
    assert!(told.contains("circle"), "{told}");
    let target = directory.target().unwrap();
    let missing = target.get(&request(), &[Key::one(Value::Uuid(Uuid::from_u128(9)))]).await.unwrap_err();
    assert!(problem(&missing, "referrals").contains("circle"));
}

#[tokio::test]
async fn a_chain_of_servers_has_an_end() {
    let (mut url, _) = peer(Peer { person: person("last", 1), ..Peer::default() }).await;
    let mut longest = String::new();
    for length in 1..=6 {
        let instead = Some(vec![format!("{url}/{BASE}")]);
        (url, _) = peer(Peer { instead, ..Peer::default() }).await;
        if length == 5 {
            longest.clone_from(&url);
        }
    }
    assert_eq!(read(&*connect(&longest)).await.unwrap(), ["last"]);
    let told = problem(&read(&*connect(&url)).await.unwrap_err(), "referrals");
    assert!(told.contains("more than 5 servers"), "{told}");
}

#[tokio::test]
async fn one_connection_is_kept_to_a_referred_server() {
    let (second_url, second) = peer(Peer { person: person("b", 2), ..Peer::default() }).await;
    let (url, _) = peer(Peer { parts: vec![vec![format!("{second_url}/{BASE}")]], ..Peer::default() }).await;
    let directory = connect(&url);
    let values: Vec<Vec<Value>> = (0..200).map(|number| vec![Value::text(&format!("p{number}"))]).collect();
    let found = directory.target().unwrap().find(&request(), &["uid".to_owned()], &values).await.unwrap();
    assert!(found.iter().all(|found| found.len() == 1));
    let second = second.lock().unwrap();
    assert_eq!((second.connections, second.asked), (1, 200));
}

#[tokio::test]
async fn any_of_the_servers_named_will_do() {
    let (good, _) = peer(Peer { person: person("b", 2), ..Peer::default() }).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let urls = vec!["nonsense".to_owned(), format!("ldap://127.0.0.1:{nobody}/{BASE}"), format!("{good}/{BASE}")];
    let (url, _) = peer(Peer { person: person("a", 1), parts: vec![urls], ..Peer::default() }).await;
    assert_eq!(read(&*connect(&url)).await.unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn what_cannot_be_followed_is_told_and_nothing_is_left_out() {
    let (spare, _) = peer(Peer::default()).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let cases = [
        (vec![], "no server is named"),
        (vec!["gopher://b.example/".to_owned()], "gopher"),
        (vec![format!("{spare}/{BASE}??sub?(uid=")], "(uid="),
        (vec![format!("{spare}/{BASE}????!1.2.3=x")], "1.2.3"),
        (vec![format!("{spare}/dc=elsewhere")], "other names"),
    ];
    for (urls, hint) in cases {
        let (url, _) = peer(Peer { person: person("a", 1), parts: vec![urls.clone()], ..Peer::default() }).await;
        let told = problem(&read(&*connect(&url)).await.unwrap_err(), "referrals");
        assert!(told.contains(hint), "{urls:?}: {told}");
    }
    let gone = format!("ldap://127.0.0.1:{nobody}");
    let (url, _) = peer(Peer { parts: vec![vec![format!("{gone}/{BASE}")]], ..Peer::default() }).await;
    let error = read(&*connect(&url)).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { problem, .. } if problem.contains(&gone)), "{error:?}");
}
