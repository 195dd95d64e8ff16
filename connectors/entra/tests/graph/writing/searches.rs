//! What is looked for, and how.

use std::time::Duration;

use muster_connector::Error;
use muster_model::{Key, Slot, Value};
use serde_json::{Value as Json, json};

use super::{YANN, ZITA, answers, parts, reference, refusal};
use crate::peer::Reply;
use crate::world::{request, start};

#[tokio::test]
async fn searches_ask_for_the_same_case_and_twenty_at_a_time() {
    let (world, peer, connector) = start().await;
    let found = |id: &str, number: &str| json!({ "id": id, "employeeId": number });
    peer.answer([answers(&[
        (200, json!({ "value": [found(ZITA, "A1"), found(YANN, "a1")] })),
        (200, json!({ "value": [] })),
    ])]);
    let request = request("user", &["displayName"]);
    let values = [vec![Value::text("A1")], vec![Value::text("it's")]];
    let objects = connector.target().unwrap().find(&request, &["employeeId".to_owned()], &values).await.unwrap();
    let keys: Vec<Vec<String>> =
        objects.iter().map(|found| found.iter().map(|object| object.key.to_string()).collect()).collect();
    assert_eq!(keys, [vec![ZITA.to_owned()], vec![]]);
    let urls: Vec<String> = parts(&peer.graph_calls()[0]).into_iter().map(|(_, url, _)| url).collect();
    assert_eq!(urls[1], "/users?$filter=employeeId%20eq%20'it%27%27s'&$select=id,displayName,employeeId");
    // What only the slower index knows is asked for as an advanced query.
    peer.answer([answers(&[(200, json!({ "value": [] }))])]);
    let by = ["extensionAttribute3".to_owned()];
    connector.target().unwrap().find(&request, &by, &[vec![Value::text("x")]]).await.unwrap();
    let call: Json = serde_json::from_slice(&peer.graph_calls()[1].body).unwrap();
    assert_eq!(call["requests"][0]["headers"]["ConsistencyLevel"], "eventual");
    assert!(
        call["requests"][0]["url"].as_str().unwrap().contains("onPremisesExtensionAttributes/extensionAttribute3%20eq")
    );
    assert_eq!(world.time(), Duration::ZERO);
}

#[tokio::test]
async fn advanced_searches_expand_nothing_and_whoever_is_found_is_read() {
    let (_, peer, connector) = start().await;
    let request = request("user", &["displayName", "manager"]);
    let found = json!({ "id": ZITA, "onPremisesExtensionAttributes": { "extensionAttribute3": "x" } });
    peer.answer([
        answers(&[(200, json!({ "value": [found] })), (200, json!({ "value": [] }))]),
        answers(&[(200, json!({ "id": ZITA, "displayName": "Zita", "manager": { "id": YANN } }))]),
    ]);
    let by = ["extensionAttribute3".to_owned()];
    let values = [vec![Value::text("x")], vec![Value::text("y")]];
    let objects = connector.target().unwrap().find(&request, &by, &values).await.unwrap();
    assert_eq!(objects[0][0].row.0, [Slot::text("Zita"), Slot::One(reference(YANN))]);
    assert!(objects[1].is_empty());
    let calls = peer.graph_calls();
    assert!(!parts(&calls[0])[0].1.contains("expand"), "{:?}", parts(&calls[0]));
    assert!(parts(&calls[1])[0].1.contains("$expand=manager($select=id)"), "{:?}", parts(&calls[1]));
}

#[tokio::test]
async fn a_search_goes_on_to_its_last_page() {
    let (_, peer, connector) = start().await;
    let next = |number: u32| format!("{}/v1.0/users?$skiptoken={number}", peer.address);
    peer.answer([
        answers(&[(200, json!({ "value": [], "@odata.nextLink": next(1) }))]),
        Reply::json(&json!({ "value": [], "@odata.nextLink": next(2) }).to_string()),
        Reply::json(&json!({ "value": [{ "id": ZITA, "employeeId": "1" }] }).to_string()),
    ]);
    let request = request("user", &["displayName"]);
    let by = ["employeeId".to_owned()];
    let objects = connector.target().unwrap().find(&request, &by, &[vec![Value::text("1")]]).await.unwrap();
    assert_eq!(objects[0][0].key, Key::text(ZITA));
}

#[tokio::test]
async fn a_value_that_cannot_be_searched_for_is_nobodys_and_an_attribute_is_an_error() {
    let (_, peer, connector) = start().await;
    let request = request("user", &["displayName"]);
    let target = connector.target().unwrap();
    let bad = || (400, refusal("Request_UnsupportedQuery", "Unsupported or invalid query filter clause."));
    let there = || (200, json!({ "value": [{ "id": ZITA, "employeeId": "1" }] }));
    let by = ["employeeId".to_owned()];
    let values = ["1", "odd", ""].map(|value| vec![Value::text(value)]);
    peer.answer([answers(&[there(), bad()]), answers(&[there()]), answers(&[bad()])]);
    let objects = target.find(&request, &by, &values).await.unwrap();
    assert_eq!(objects.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0]);
    peer.answer([answers(&[bad(), bad()]), answers(&[bad()]), answers(&[bad()])]);
    let refused = target.find(&request, &by, &values).await;
    assert!(matches!(refused, Err(Error::Configuration { .. })), "{refused:?}");
    // An id that is none is nobody's, and nobody is asked.
    let calls = peer.graph_calls().len();
    assert_eq!(target.get(&request, &[Key::text("abc"), Key::text("")]).await.unwrap(), [None, None]);
    assert_eq!(peer.graph_calls().len(), calls);
}
