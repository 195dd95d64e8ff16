//! Single objects by `$batch`.

use std::time::Duration;

use muster_connector::Error;
use muster_model::{Key, Slot, Value};
use serde_json::json;

use crate::peer::{Reply, Seen};
use crate::world::{request, start};

fn asked(call: &Seen) -> Vec<String> {
    let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
    let requests = body["requests"].as_array().unwrap();
    requests.iter().map(|request| request["url"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn objects_come_back_in_order_and_missing_ones_are_none() {
    let (world, peer, connector) = start().await;
    let manager = json!({"@odata.type":"#microsoft.graph.user","id":"m"});
    peer.answer([
        Reply::json(
            &json!({"responses":[
                {"id":"2","status":429,"headers":{"Retry-After":"12"},"body":{"error":{"code":"TooManyRequests"}}},
                {"id":"1","status":404,"body":{"error":{"code":"Request_ResourceNotFound"}}},
                {"id":"0","status":200,"headers":{},"body":{"id":"u0","mail":null,"manager":manager}},
            ]})
            .to_string(),
        ),
        Reply::json(&json!({"responses":[{"id":"2","status":200,"body":{"id":"u2","mail":"a@b"}}]}).to_string()),
    ]);
    let request = request("user", &["mail", "manager"]);
    let keys = ["u0", "u1", "u2", "no/such"].map(Key::text);
    let found = connector.source().unwrap().get(&request, &keys).await.unwrap();
    let ids: Vec<_> = found.iter().map(|object| object.as_ref().map(|object| object.key.to_string())).collect();
    assert_eq!(ids, [Some("u0".to_owned()), None, Some("u2".to_owned()), None]);
    assert_eq!(found[0].as_ref().unwrap().row.slot(0), &Slot::Null);
    assert_eq!(found[0].as_ref().unwrap().edges[0].referenced, Key::text("m"));
    assert_eq!(found[2].as_ref().unwrap().row.slot(0), &Slot::One(Value::text("a@b")));
    let calls = peer.graph_calls();
    let url = |id: &str| format!("/users/{id}?$select=id,mail&$expand=manager($select=id)");
    assert_eq!(asked(&calls[0]), ["u0", "u1", "u2"].map(url));
    assert_eq!(asked(&calls[1]), [url("u2")]);
    assert_eq!(world.time(), Duration::from_secs(12));
}

#[tokio::test]
async fn twenty_to_a_call() {
    let (_, peer, connector) = start().await;
    let keys: Vec<Key> = (0..45).map(|number| Key::text(&format!("u{number}"))).collect();
    for count in [20, 20, 5] {
        let responses: Vec<_> = (0..count).map(|id| json!({"id":id.to_string(),"status":404})).collect();
        peer.answer([Reply::json(&json!({"responses":responses}).to_string())]);
    }
    let found = connector.source().unwrap().get(&request("user", &["mail"]), &keys).await.unwrap();
    assert_eq!(found, vec![None; 45]);
    let sizes: Vec<usize> = peer.graph_calls().iter().map(|call| asked(call).len()).collect();
    assert_eq!(sizes, [20, 20, 5]);
}

#[tokio::test]
async fn a_batch_that_leaves_somebody_out_is_asked_again() {
    let (_, peer, connector) = start().await;
    let answer = |id: &str| json!({"id":id,"status":200,"body":{"id":format!("u{id}")}});
    peer.answer([
        Reply::json(&json!({"responses":[answer("0")]}).to_string()),
        Reply::json(&json!({"responses":[answer("1"),answer("0")]}).to_string()),
    ]);
    let keys = ["u0", "u1"].map(Key::text);
    let found = connector.source().unwrap().get(&request("user", &["mail"]), &keys).await.unwrap();
    assert!(found.iter().all(Option::is_some));
}

#[tokio::test]
async fn a_groups_members_are_read_to_the_end() {
    let (_, peer, connector) = start().await;
    let user = |id: &str| json!({"@odata.type":"#microsoft.graph.user","id":id});
    peer.answer([
        Reply::json(&json!({"responses":[{"id":"0","status":200,"body":{"id":"g","displayName":"G"}}]}).to_string()),
        Reply::json(
            &json!({"value":[user("a")],"@odata.nextLink":"{peer}/v1.0/groups/g/members?$skiptoken=2"}).to_string(),
        ),
        Reply::json(&json!({"value":[user("b"),{"@odata.type":"#microsoft.graph.device","id":"d"}]}).to_string()),
    ]);
    let keys = [Key::text("g")];
    let found = connector.source().unwrap().get(&request("group", &["displayName", "members"]), &keys).await.unwrap();
    let edges = &found[0].as_ref().unwrap().edges;
    let members: Vec<String> = edges.iter().map(|edge| edge.referenced.to_string()).collect();
    assert_eq!(members, ["a", "b"]);
    assert_eq!(peer.graph_calls()[1].target, "/v1.0/groups/g/members?$select=id&$top=999");
}

#[tokio::test]
async fn a_refusal_inside_a_batch_is_loud() {
    let (_, peer, connector) = start().await;
    let body = json!({"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges"}});
    peer.answer([Reply::json(&json!({"responses":[{"id":"0","status":403,"body":body}]}).to_string())]);
    let found = connector.source().unwrap().get(&request("user", &["mail"]), &[Key::text("u")]).await;
    assert!(matches!(found, Err(Error::Credentials { .. })), "{found:?}");
}
