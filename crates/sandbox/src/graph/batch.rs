//! `POST /$batch`: up to twenty requests in one (Microsoft Graph: JSON batching).

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{DeltaMood, dispatch};
use crate::faults::effect::{self, Strike};
use crate::http::reply::{Ids, Reply};
use crate::http::request::Request;
use crate::refusal::Refusal;
use crate::state::Shared;

const MOST: usize = 20;

#[derive(Deserialize)]
struct Batch {
    requests: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    id: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: HashMap<String, String>,
    body: Option<Value>,
    #[serde(default)]
    depends_on: Vec<String>,
}

pub(crate) fn answer(shared: &Arc<Shared>, request: &Request) -> Result<Reply, Refusal> {
    let batch: Batch = serde_json::from_slice(&request.body)
        .map_err(|error| Refusal::new(400, "BadRequest", format!("Invalid batch payload format: {error}")))?;
    if batch.requests.is_empty() || batch.requests.len() > MOST {
        return Err(Refusal::new(400, "BadRequest", format!("Number of batch request steps must be 1 to {MOST}.")));
    }
    let mut statuses: HashMap<String, u16> = HashMap::new();
    let mut responses = Vec::new();
    for step in &batch.requests {
        let reply = carry_out(shared, request, step, &statuses)?;
        if statuses.insert(step.id.to_lowercase(), reply.status).is_some() {
            return Err(Refusal::new(400, "BadRequest", "Request ids in a batch must be unique."));
        }
        responses.push(response(&step.id, &reply));
    }
    // Any order is legal; the reverse shows who relied on one.
    responses.reverse();
    Ok(Reply::graph(200, json!({"responses": responses}).to_string().into_bytes()))
}

fn carry_out(
    shared: &Arc<Shared>,
    outer: &Request,
    step: &Step,
    statuses: &HashMap<String, u16>,
) -> Result<Reply, Refusal> {
    let inner = inner(outer, step)?;
    let ids = Ids::of(&inner);
    let failed = |id: &String| statuses.get(&id.to_lowercase()).is_none_or(|status| *status >= 400);
    if step.depends_on.iter().any(failed) {
        let refusal = Refusal::new(424, "FailedDependency", "A request this one depends on failed.");
        return Ok(Reply::error(&refusal, &ids, &shared.clock));
    }
    let nested = inner.segments.get(1).is_some_and(|segment| segment == "$batch");
    let answered = if nested {
        Err(Refusal::new(400, "BadRequest", "A batch cannot hold a batch."))
    } else {
        shared.traffic().record(&inner.method, &inner.counted_path(), shared.clock.now_millis());
        let fault = shared.faults().strike(&inner);
        match effect::of(shared, &inner, fault) {
            Strike::Instead(reply) => reply,
            // What spoils bytes on the wire has no meaning inside a batch.
            Strike::Around(..) => dispatch(shared, &inner, DeltaMood::Normal),
        }
    };
    Ok(answered.unwrap_or_else(|refusal| Reply::error(&refusal, &ids, &shared.clock)).with_ids(&ids))
}

/// The step as a request of its own; its URL is relative to the version.
fn inner(outer: &Request, step: &Step) -> Result<Request, Refusal> {
    let version = outer.segments.first().map_or("v1.0", String::as_str);
    let target = format!("/{version}/{}", step.url.trim_start_matches('/').replace(' ', "%20"));
    let uri: Uri = target.parse().map_err(|_| {
        Refusal::new(400, "BadRequest", format!("The url of batch request '{}' is malformed.", step.id))
    })?;
    let mut headers = HeaderMap::new();
    for (name, value) in &step.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    if step.body.is_some() && !headers.contains_key("content-type") {
        let message = format!("Write request id : {} does not contain Content-Type header or body.", step.id);
        return Err(Refusal::new(400, "BadRequest", message));
    }
    let body = step.body.as_ref().map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    Ok(Request::new(step.method.to_uppercase(), &uri, headers, body, outer.origin.clone()))
}

/// Inside JSON the case of header names counts: clients look for `Content-Type` and `Retry-After`.
fn in_title_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    });
    words.collect::<Vec<_>>().join("-")
}

fn response(id: &str, reply: &Reply) -> Value {
    let headers: Map<String, Value> =
        reply.headers.iter().map(|(name, value)| (in_title_case(name), Value::from(value.as_str()))).collect();
    let mut response = json!({"id": id, "status": reply.status, "headers": headers});
    if !reply.body.is_empty() {
        // What is no JSON travels as base64.
        response["body"] =
            serde_json::from_slice(&reply.body).unwrap_or_else(|_| Value::from(STANDARD.encode(&reply.body)));
    }
    response
}
