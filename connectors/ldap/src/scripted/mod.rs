//! What Active Directory does and Samba does not: at most 1,000 entries of a search, and 1,500 values of an attribute, at
//! a time. A small peer does the same; `referring` are peers that name each other.

mod referring;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use muster_connector::settings::SecretString;
use muster_connector::{Connector, ConnectorKind as _, ConnectorSettings, Next, Position, ReadRequest};
use muster_model::Key;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::connector::LdapKind;
use crate::protocol::ber::{
    BOOLEAN, ENUMERATED, INTEGER, OCTETS, Reader, SEQUENCE, SET, Writer, message_length, within_context,
};
use crate::protocol::control::{Control, PAGED};

const MAX_PAGE_SIZE: usize = 1_000;
const MAX_VALUE_RANGE: usize = 1_500;
const BASE: &str = "DC=corp,DC=example";

const ATTRIBUTE_TYPES: [&str; 9] = [
    "( 2.5.4.0 NAME 'objectClass' SYNTAX '1.3.6.1.4.1.1466.115.121.1.38' )",
    "( 2.5.4.3 NAME 'cn' SYNTAX '1.3.6.1.4.1.1466.115.121.1.15' SINGLE-VALUE )",
    "( 2.5.4.31 NAME 'member' SYNTAX '1.3.6.1.4.1.1466.115.121.1.12' )",
    "( 1.2.840.113556.1.4.2 NAME 'objectGUID' SYNTAX '1.3.6.1.4.1.1466.115.121.1.40' SINGLE-VALUE NO-USER-MODIFICATION )",
    "( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' SYNTAX '1.3.6.1.4.1.1466.115.121.1.15' SINGLE-VALUE )",
    "( 1.2.840.113556.1.4.8 NAME 'userAccountControl' SYNTAX '1.3.6.1.4.1.1466.115.121.1.27' SINGLE-VALUE )",
    "( 1.2.840.113556.1.2.120 NAME 'uSNChanged' SYNTAX '1.2.840.113556.1.4.906' SINGLE-VALUE NO-USER-MODIFICATION )",
    "( 2.5.18.1 NAME 'createTimestamp' SYNTAX '1.3.6.1.4.1.1466.115.121.1.24' SINGLE-VALUE NO-USER-MODIFICATION )",
    "( 2.5.18.2 NAME 'modifyTimestamp' SYNTAX '1.3.6.1.4.1.1466.115.121.1.24' SINGLE-VALUE NO-USER-MODIFICATION )",
];

const OBJECT_CLASSES: [&str; 3] = [
    "( 2.5.6.0 NAME 'top' ABSTRACT MUST (objectClass ) MAY (cn $ objectGUID $ uSNChanged ) )",
    "( 1.2.840.113556.1.5.9 NAME 'user' SUP top STRUCTURAL MAY (sAMAccountName $ userAccountControl ) )",
    "( 1.2.840.113556.1.5.8 NAME 'group' SUP top STRUCTURAL MAY (member $ sAMAccountName ) )",
];

/// People, of whom the first ones are members of the only group.
#[derive(Debug, Clone, Copy)]
struct Content {
    people: usize,
    members: usize,
}

/// What was asked, as far as it matters: the controls of searches for lists, and ranges.
#[derive(Debug, Default)]
struct Asked {
    pages: usize,
    ranges: Vec<String>,
    usn: u64,
}

type Attributes = Vec<(String, Vec<Vec<u8>>)>;

fn texts(name: &str, values: &[&str]) -> (String, Vec<Vec<u8>>) {
    (name.to_owned(), values.iter().map(|value| value.as_bytes().to_vec()).collect())
}

fn guid(number: usize) -> Uuid {
    Uuid::from_u128(0x1000_0000 + u128::try_from(number).unwrap())
}

fn person(number: usize) -> (String, Attributes) {
    let name = format!("p{number}");
    let attributes = vec![
        texts("objectClass", &["top", "user"]),
        texts("cn", &[&name]),
        texts("sAMAccountName", &[&name]),
        texts("userAccountControl", &["512"]),
        ("objectGUID".to_owned(), vec![guid(number).to_bytes_le().to_vec()]),
    ];
    (format!("CN={name},{BASE}"), attributes)
}

impl Content {
    fn all(self, is_group: bool) -> Vec<(String, Attributes)> {
        if !is_group {
            return (0..self.people).map(person).collect();
        }
        let attributes = vec![
            texts("objectClass", &["top", "group"]),
            texts("cn", &["everybody"]),
            ("objectGUID".to_owned(), vec![guid(1 << 30).to_bytes_le().to_vec()]),
            ("member".to_owned(), (0..self.members).map(|number| person(number).0.into_bytes()).collect()),
        ];
        vec![(format!("CN=everybody,{BASE}"), attributes)]
    }

    fn one(self, dn: &str, usn: u64) -> Option<(String, Attributes)> {
        let found = match dn {
            "" => vec![
                texts("defaultNamingContext", &[BASE]),
                texts("subschemaSubentry", &["CN=Aggregate"]),
                texts("supportedControl", &[PAGED]),
                texts("supportedCapabilities", &["1.2.840.113556.1.4.800"]),
                texts("dsServiceName", &["CN=NTDS Settings,CN=DC1"]),
                texts("highestCommittedUSN", &[&usn.to_string()]),
            ],
            "CN=Aggregate" => vec![
                texts("objectClass", &["subschema"]),
                texts("attributeTypes", &ATTRIBUTE_TYPES),
                texts("objectClasses", &OBJECT_CLASSES),
            ],
            BASE => vec![("objectGUID".to_owned(), vec![vec![7; 16]])],
            dn => {
                let number = dn.strip_prefix("CN=p").and_then(|rest| rest.split(',').next()?.parse().ok());
                return match number {
                    Some(number) => Some(person(number)).filter(|_| number < self.people),
                    None => self.all(true).into_iter().find(|(name, _)| name == dn),
                };
            }
        };
        Some((dn.to_owned(), found))
    }
}

/// As much of an entry as was asked for, and of an attribute no more than a range at a time.
fn shown((dn, attributes): &(String, Attributes), asked: &[String], seen: &Mutex<Asked>) -> Writer {
    let mut shown: Attributes = Vec::new();
    for (name, values) in attributes {
        let of = |one: &&String| one.split(';').next().is_some_and(|plain| plain.eq_ignore_ascii_case(name));
        let Some(wish) = asked.iter().find(of).or_else(|| asked.iter().find(|one| *one == "*")) else { continue };
        let range = wish.split_once("range=").map(|(_, range)| range.to_owned());
        let first: usize = match &range {
            Some(range) => {
                seen.lock().unwrap().ranges.push(range.clone());
                range.split('-').next().unwrap().parse().unwrap()
            }
            None => 0,
        };
        let some: Vec<Vec<u8>> = values.iter().skip(first).take(MAX_VALUE_RANGE).cloned().collect();
        let end = first + some.len();
        if range.is_none() && end == values.len() {
            shown.push((name.clone(), some));
        } else {
            if range.is_none() {
                // It is named without values as well (MS-ADTS 3.1.1.3.1.3.3).
                shown.push((name.clone(), Vec::new()));
            }
            let last = if end == values.len() { "*".to_owned() } else { (end - 1).to_string() };
            shown.push((format!("{name};range={first}-{last}"), some));
        }
    }
    let mut writer = Writer::default();
    writer.nested(0x64, |entry| {
        entry.octets(OCTETS, dn.as_bytes());
        entry.nested(SEQUENCE, |list| {
            for (name, values) in &shown {
                list.nested(SEQUENCE, |one| {
                    one.octets(OCTETS, name.as_bytes());
                    one.nested(SET, |set| values.iter().for_each(|value| set.octets(OCTETS, value)));
                });
            }
        });
    });
    writer
}

fn result(tag: u8, code: i64) -> Writer {
    let mut writer = Writer::default();
    writer.nested(tag, |result| {
        result.integer(ENUMERATED, code);
        result.octets(OCTETS, b"");
        result.octets(OCTETS, b"");
    });
    writer
}

fn message(id: i64, answer: Writer, control: Option<&Control>) -> Vec<u8> {
    let content = answer.into_bytes();
    let mut controls = Writer::default();
    if let Some(control) = control {
        controls.nested(within_context(0), |list| {
            list.nested(SEQUENCE, |one| {
                one.octets(OCTETS, control.oid.as_bytes());
                one.octets(OCTETS, control.value.as_deref().unwrap_or_default());
            });
        });
    }
    let mut number = Writer::default();
    number.integer(INTEGER, id);
    let mut whole = Writer::default();
    let parts = [number.into_bytes(), content, controls.into_bytes()].concat();
    whole.octets(SEQUENCE, &parts);
    whole.into_bytes()
}

fn search(content: Content, id: i64, operation: &[u8], controls: &[Control], seen: &Mutex<Asked>) -> Vec<u8> {
    let mut inner = Reader::new(operation);
    let base = inner.text(OCTETS).unwrap();
    let is_base = inner.integer(ENUMERATED).unwrap() == 0;
    inner.integer(ENUMERATED).unwrap();
    inner.integer(INTEGER).unwrap();
    inner.integer(INTEGER).unwrap();
    inner.expect(BOOLEAN).unwrap();
    let (_, filter) = inner.value().unwrap();
    let filter = String::from_utf8_lossy(filter).into_owned();
    let mut list = inner.within(SEQUENCE).unwrap();
    let mut asked = Vec::new();
    while !list.is_empty() {
        asked.push(list.text(OCTETS).unwrap());
    }
    let usn = seen.lock().unwrap().usn;
    let mut bytes = Vec::new();
    if is_base {
        let found = content.one(&base, usn);
        bytes.extend(found.iter().flat_map(|one| message(id, shown(one, &asked, seen), None)));
        return [bytes, message(id, result(0x65, if found.is_some() { 0 } else { 32 }), None)].concat();
    }
    let mut found = if filter.contains("isDeleted") { Vec::new() } else { content.all(filter.contains("group")) };
    if filter.contains("uSNChanged") {
        // One changes with each number.
        found.truncate(1);
    }
    let paged = controls.iter().find(|one| one.oid == PAGED).and_then(|one| one.value.as_ref());
    let Some(paged) = paged else {
        let is_too_much = found.len() > MAX_PAGE_SIZE;
        found.truncate(MAX_PAGE_SIZE);
        bytes.extend(found.iter().flat_map(|one| message(id, shown(one, &asked, seen), None)));
        return [bytes, message(id, result(0x65, if is_too_much { 4 } else { 0 }), None)].concat();
    };
    let mut paged = Reader::new(paged).within(SEQUENCE).unwrap();
    let size = usize::try_from(paged.integer(INTEGER).unwrap()).unwrap().min(MAX_PAGE_SIZE);
    let cookie = String::from_utf8(paged.expect(OCTETS).unwrap().to_vec()).unwrap();
    let first: usize = cookie.parse().unwrap_or(0);
    seen.lock().unwrap().pages += 1;
    for one in found.iter().skip(first).take(size) {
        bytes.extend(message(id, shown(one, &asked, seen), None));
    }
    let next = if first + size < found.len() { (first + size).to_string() } else { String::new() };
    let control = Control::page(0, next.as_bytes());
    [bytes, message(id, result(0x65, 0), Some(&control))].concat()
}

async fn serve(mut stream: TcpStream, content: Content, seen: Arc<Mutex<Asked>>) {
    let mut buffer = Vec::new();
    loop {
        while let Ok(Some(length)) = message_length(&buffer, 1 << 20) {
            if buffer.len() < length {
                break;
            }
            let bytes: Vec<u8> = buffer.drain(..length).collect();
            let mut request = Reader::new(&bytes).within(SEQUENCE).unwrap();
            let id = request.integer(INTEGER).unwrap();
            let (tag, operation) = request.value().unwrap();
            let mut controls = Vec::new();
            if let Some(list) = request.optional(within_context(0)).unwrap() {
                let mut list = Reader::new(list);
                while !list.is_empty() {
                    controls.push(Control::read(&mut list).unwrap());
                }
            }
            let answer = match tag {
                0x60 => message(id, result(0x61, 0), None),
                0x63 => search(content, id, operation, &controls, &seen),
                _ => Vec::new(),
            };
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

async fn peer(content: Content) -> (Arc<dyn Connector>, Arc<Mutex<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Asked { usn: 100, ..Asked::default() }));
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, content, Arc::clone(&noted)));
        }
    });
    let settings = ConnectorSettings {
        connection: "directory".to_owned(),
        values: json!({ "url": format!("ldap://127.0.0.1:{port}"), "user": "muster@corp.example" }),
        secrets: [("password".to_owned(), SecretString::from("secret".to_owned()))].into(),
        base_folder: "/".into(),
    };
    (LdapKind.connect(settings).unwrap(), seen)
}

fn request(object_type: &str, attributes: &[&str]) -> ReadRequest {
    ReadRequest {
        object_type: object_type.into(),
        attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
        named: Arc::new([]),
    }
}

#[tokio::test]
async fn entries_come_by_the_thousand() {
    let (directory, seen) = peer(Content { people: 2_500, members: 0 }).await;
    let asked = request("user", &["sAMAccountName"]);
    let source = directory.source().unwrap();
    let (mut keys, mut cursor, mut watermark) = (BTreeSet::new(), None, None);
    loop {
        let page = source.read(&asked, cursor.as_ref()).await.unwrap();
        assert!(page.objects.len() <= MAX_PAGE_SIZE);
        keys.extend(page.objects.into_iter().map(|object| object.key));
        watermark = watermark.or(page.watermark);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((keys.len(), seen.lock().unwrap().pages), (2_500, 3));
    assert!(keys.contains(&Key::one(muster_model::Value::Uuid(guid(2_499)))));
    // While the server has counted nothing, nothing is searched.
    let start = Position::Start(watermark);
    let idle = source.changes(&asked, &start).await.unwrap();
    assert!(idle.entries.is_empty());
    assert_eq!(seen.lock().unwrap().pages, 3);
    seen.lock().unwrap().usn = 101;
    let one = source.changes(&asked, &start).await.unwrap();
    assert_eq!((one.entries.len(), matches!(one.next, Next::Done(_))), (1, true));
    // A server that has counted less was restored.
    seen.lock().unwrap().usn = 99;
    assert!(matches!(source.changes(&asked, &start).await, Err(muster_connector::Error::Expired { .. })));
}

#[tokio::test]
async fn a_large_group_comes_by_ranges() {
    let (directory, seen) = peer(Content { people: 3_400, members: 3_200 }).await;
    let page = directory.source().unwrap().read(&request("group", &["cn", "member"]), None).await.unwrap();
    let [group] = page.objects.as_slice() else { panic!("{} groups", page.objects.len()) };
    let members: BTreeSet<&Key> = group.edges.iter().map(|edge| &edge.referenced).collect();
    assert_eq!((group.edges.len(), members.len()), (3_200, 3_200));
    assert!(group.edges.iter().all(|edge| &*edge.object_type == "user" && !edge.removed));
    assert_eq!(seen.lock().unwrap().ranges, ["1500-*", "3000-*"]);
}
