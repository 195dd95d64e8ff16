//! Enterprise applications, read in full: which are asked for, and what is taken for an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_connector::{Connector, ConnectorKind as _, Cursor, Error, Expired, Position, ReadRequest};
use muster_connector_entra::EntraKind;
use muster_sandbox::{Sandbox, SandboxOptions};
use serde_json::json;

use crate::peer::Reply;
use crate::world::{request, settings, start};

fn asked(named: &[&str]) -> ReadRequest {
    let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
    ReadRequest { named: named.into(), ..request("application", &["displayName", "assigned"]) }
}

/// Whom a full read found assigned, by the object's name, as `type:id`.
type Found = BTreeMap<String, BTreeSet<String>>;

async fn read(connector: &Arc<dyn Connector>, request: &ReadRequest) -> Result<Found, Error> {
    let mut found = Found::new();
    let mut cursor: Option<Cursor> = None;
    loop {
        let page = connector.source().unwrap().read(request, cursor.as_ref()).await?;
        for object in page.objects {
            let name = object.row.slot(0).value().unwrap().to_string();
            let edges = object.edges.into_iter().map(|edge| {
                assert!(edge.attribute == 1 && !edge.removed);
                format!("{}:{}", edge.object_type, edge.referenced)
            });
            found.entry(name).or_default().extend(edges);
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(found),
        }
    }
}

fn set(all: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    all.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_assigned_to_what_in_a_whole_tenant() {
    let options = SandboxOptions { users: 1_300, groups: 4, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await.unwrap();
    let (facts, directory) = (sandbox.facts(), sandbox.directory());
    let values = json!({
        "tenant": facts.tenant, "client_id": facts.client_id, "client_secret": {"env":"X"},
        "authority": facts.authority, "graph_url": facts.graph_url,
    });
    let connector = EntraKind.connect(settings(values, &[("client_secret", &facts.client_secret)])).unwrap();
    let odd = directory.add_application("O'Neil's / R&D + 100%", &["Ops/Admin", "Ops"]);
    let people = directory.user_ids();
    let group = directory.groups()[0]["id"].as_str().unwrap().to_owned();
    // More than a page of them.
    for person in people.iter().take(1_100) {
        directory.assign(&odd, None, person).unwrap();
    }
    directory.assign(&odd, Some("Ops/Admin"), &people[1_200]).unwrap();
    directory.assign(&odd, Some("Ops"), &group).unwrap();
    // In the recycle bin nobody is assigned.
    directory.assign(&odd, Some("Ops"), &people[1_201]).unwrap();
    directory.delete_user(&people[1_201]).unwrap();

    let name = |role: &str| format!("O'Neil's / R&D + 100%{role}");
    let found = read(&connector, &asked(&[&name("/Ops/Admin")])).await.unwrap();
    let everybody = people.iter().take(1_100).chain([&people[1_200]]).map(|id| format!("user:{id}"));
    assert_eq!(found[&name("")], set(everybody.chain([format!("group:{group}")])));
    assert_eq!(found[&name("/Ops")], set([format!("group:{group}")]));
    assert_eq!(found.get(&name("/Ops/Admin")), Some(&set([format!("user:{}", people[1_200])])));
    // By its id, and together with others that are there or not.
    let by_id = read(&connector, &asked(&[&odd, "Payroll/Clerk", "Payroll", "Nothing", &group])).await.unwrap();
    assert_eq!(by_id[&name("")], found[&name("")]);
    let names: Vec<&str> = by_id.keys().map(String::as_str).collect();
    assert_eq!(names[3..], ["Payroll", "Payroll/Approver", "Payroll/Clerk"]);
    assert_eq!(by_id["Payroll/Approver"].len(), 3);
    // All of them, where nobody says which; the sandbox's own for uploads is one.
    assert_eq!(read(&connector, &asked(&[])).await.unwrap().len(), 8);
    assert!(directory.violations().is_empty());
}

const PAYROLL: &str = r#"{"value":[{"id":"a0000000-0000-4000-8000-000000000001","displayName":"Payroll","appId":null,
    "appRoles":[{"id":"R","value":null,"displayName":"Clerk","isEnabled":true},{"id":"X","value":"Old","isEnabled":false}]}]}"#;

fn assigned(people: &[(&str, &str, &str)], next: Option<&str>) -> Reply {
    let value: Vec<_> = people
        .iter()
        .map(|(role, kind, id)| json!({"appRoleId": role, "principalType": kind, "principalId": id}))
        .collect();
    let mut body = json!({ "value": value });
    if let Some(next) = next {
        body["@odata.nextLink"] = json!(next);
    }
    Reply::json(&body.to_string())
}

#[tokio::test]
async fn pages_go_on_after_a_restart_and_other_principals_are_nobodys() {
    let (_, peer, connector) = start().await;
    let next = "{peer}/v1.0/servicePrincipals/x/appRoleAssignedTo?$skiptoken=2";
    let one = PAYROLL.trim_start_matches("{\"value\":[").trim_end_matches("]}").to_owned() + "]}";
    peer.answer([
        Reply::json(&one),
        assigned(&[("r", "User", "u1"), ("r", "ServicePrincipal", "s1")], Some(next)),
        Reply::status(503, ""),
        assigned(&[("0", "Group", "g1")], None),
    ]);
    let id = "a0000000-0000-4000-8000-000000000001";
    let request = asked(&[&format!("{id}/a0000000-0000-4000-8000-000000000002")]);
    let (mut cursor, mut names) = (None, Vec::new());
    loop {
        // Each page by what the cursor alone says.
        let page = connector.source().unwrap().read(&request, cursor.as_ref()).await.unwrap();
        names.extend(page.objects.iter().map(|object| (object.key.to_string(), object.edges.len())));
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert!(peer.graph_calls()[0].target.contains(&format!("/servicePrincipals/{id}?$select=")));
    assert_eq!(names, [(id.to_owned(), 1), (format!("{id}/R"), 1), (id.to_owned(), 1), (format!("{id}/R"), 0)]);
}

#[tokio::test]
async fn what_goes_wrong_in_the_middle_is_nobodys_absence() {
    // A page that is none, a link that leads elsewhere, a permission that is missing, a place kept by others.
    let cases = [
        (Reply::json("{}"), "no list of applications or assignments"),
        (assigned(&[], Some("https://evil.example/v1.0/x")), "leads to https://evil.example"),
        (Reply::error(403, "Authorization_RequestDenied", "no"), "Application.Read.All"),
        (Reply::error(400, "BadRequest", "no"), "400 BadRequest"),
    ];
    for (reply, told) in cases {
        let (_, peer, connector) = start().await;
        peer.answer([Reply::json(PAYROLL)]);
        peer.answer(std::iter::repeat_n(reply, 40));
        let Err(error) = read(&connector, &asked(&["Payroll"])).await else { panic!("taken: {told}") };
        assert!(error.to_string().contains(told) || format!("{error:?}").contains(told), "{told}: {error:?}");
    }
    let (_, peer, connector) = start().await;
    for place in ["", "{}", r#"{"version":9,"ask":[],"found":[],"link":null,"seen":[]}"#] {
        let read = connector.source().unwrap().read(&asked(&["P"]), Some(&Cursor(place.into()))).await;
        assert!(matches!(read, Err(Error::Expired { expired: Expired::Cursor })), "{place}: {read:?}");
    }
    assert!(peer.graph_calls().is_empty());
    let changes = connector.source().unwrap().changes(&asked(&["P"]), &Position::Start(None)).await;
    assert!(matches!(changes, Err(Error::Unsupported(_))));
    // An application that goes between two requests is not there; one that never was, neither.
    peer.answer([Reply::json(PAYROLL), Reply::error(404, "Request_ResourceNotFound", "gone")]);
    assert_eq!(read(&connector, &asked(&["Payroll"])).await.unwrap(), Found::new());
    peer.answer([Reply::error(404, "Request_ResourceNotFound", "gone")]);
    let id = "a0000000-0000-4000-8000-000000000009";
    assert_eq!(read(&connector, &asked(&[id])).await.unwrap(), Found::new());
}
