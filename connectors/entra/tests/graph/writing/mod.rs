//! Users and groups written through `$batch`: what is sent, and what each answer comes to.

mod answers;
mod moments;
mod requests;
mod searches;

use std::sync::Arc;
use std::time::Duration;

use muster_connector::{
    Batch, Connector, Epoch, Error, Kind, Operation, OperationId, Outcome, SecretValue, ValueDelta,
};
use muster_model::{Key, Reference, Row, Slot, Value};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::peer::{Peer, Reply, Seen};

pub(crate) const ZITA: &str = "0f000000-0000-4000-8000-000000000001";
pub(crate) const YANN: &str = "0f000000-0000-4000-8000-000000000002";
pub(crate) const CREW: &str = "0f000000-0000-4000-8000-0000000000c0";

/// An operation with these values; the batch's attributes are those of the first operation.
pub(crate) fn operation(kind: Kind, key: Option<&str>, slots: Vec<Slot>) -> Operation {
    Operation {
        id: OperationId(Uuid::now_v7()),
        kind,
        key: key.map(Key::text),
        row: Row(slots),
        deltas: Vec::new(),
        enabling: None,
        expected_version: None,
        expected: None,
        depends_on: Vec::new(),
        secrets: Vec::new(),
    }
}

pub(crate) fn update(key: &str, slots: Vec<Slot>) -> Operation {
    operation(Kind::Update, Some(key), slots)
}

/// Members added and removed, in the first attribute.
pub(crate) fn members(add: &[&str], remove: &[&str]) -> Operation {
    let references = |ids: &[&str]| ids.iter().map(|id| reference(id)).collect();
    let deltas = vec![ValueDelta { attribute: 0, add: references(add), remove: references(remove) }];
    Operation { deltas, ..update(CREW, vec![Slot::Unknown]) }
}

pub(crate) fn with_password(operation: Operation, position: usize, password: &str) -> Operation {
    Operation { secrets: vec![(position, SecretValue(password.to_owned().into()))], ..operation }
}

pub(crate) fn reference(id: &str) -> Value {
    Value::Reference(Box::new(Reference { object_type: Some("user".into()), key: Key::text(id) }))
}

pub(crate) fn text(text: &str) -> Slot {
    Slot::text(text)
}

pub(crate) fn batch(object_type: &str, attributes: &[&str], operations: Vec<Operation>) -> Batch {
    Batch {
        object_type: object_type.into(),
        attributes: attributes.iter().map(|&name| name.to_owned()).collect::<Vec<_>>().into(),
        operations,
        epoch: Epoch::default(),
        deadline: Duration::from_mins(5),
    }
}

/// Applies and answers the outcomes in the order of the operations.
pub(crate) async fn apply(connector: &Arc<dyn Connector>, batch: &Batch) -> Result<Vec<Outcome>, Error> {
    let answered = connector.target().unwrap().apply(batch).await?;
    let outcome = |id| answered.iter().find(|(other, _)| *other == id).map(|(_, outcome)| outcome.clone());
    Ok(batch.operations.iter().map(|operation| outcome(operation.id).unwrap()).collect())
}

/// An answer to a `$batch`: a status and a body for each request, in order.
pub(crate) fn answers(parts: &[(u16, Json)]) -> Reply {
    let pause = |status: u16| if status == 429 { 30 } else { 0 };
    let parts: Vec<(u16, u64, Json)> =
        parts.iter().map(|(status, body)| (*status, pause(*status), body.clone())).collect();
    answers_after(&parts)
}

/// The same with the seconds after which each asks to be sent again; none where they are zero.
pub(crate) fn answers_after(parts: &[(u16, u64, Json)]) -> Reply {
    let part = |(position, (status, after, body)): (usize, &(u16, u64, Json))| {
        let headers = match after {
            0 => json!({ "request-id": "r" }),
            _ => json!({ "Retry-After": after.to_string() }),
        };
        json!({ "id": position.to_string(), "status": status, "headers": headers, "body": body })
    };
    // In any order.
    let parts: Vec<Json> = parts.iter().enumerate().rev().map(part).collect();
    Reply::json(&json!({ "responses": parts }).to_string())
}

pub(crate) fn refusal(code: &str, message: &str) -> Json {
    json!({ "error": { "code": code, "message": message } })
}

/// Method, address and body of each part of a call.
pub(crate) fn parts(call: &Seen) -> Vec<(String, String, Json)> {
    let body: Json = serde_json::from_slice(&call.body).unwrap();
    let part = |part: &Json| {
        let text = |name: &str| part[name].as_str().unwrap().to_owned();
        (text("method"), text("url"), part["body"].clone())
    };
    body["requests"].as_array().unwrap().iter().map(part).collect()
}

pub(crate) fn object(peer: &Peer, id: &str) -> String {
    format!("{}/v1.0/directoryObjects/{id}", peer.address)
}
