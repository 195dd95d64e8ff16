//! Answers with the headers and error bodies that Graph gives (Microsoft Graph: error responses, best practices).

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::request::Request;
use crate::clock::Clock;
use crate::refusal::Refusal;

pub(crate) const GRAPH_JSON: &str =
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn graph(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: vec![("content-type", GRAPH_JSON.to_owned())], body }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }

    pub(crate) fn html(status: u16, body: &str) -> Self {
        let headers = vec![("content-type", "text/html; charset=utf-8".to_owned())];
        Self { status, headers, body: body.as_bytes().to_vec() }
    }

    pub(crate) fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }

    /// An OData error; the ids in it are those of the headers.
    pub(crate) fn error(refusal: &Refusal, ids: &Ids, clock: &Clock) -> Self {
        let mut body = json!({"error": {
            "code": refusal.code,
            "message": refusal.message,
            "innerError": {
                "date": clock.timestamp().trim_end_matches('Z'),
                "request-id": ids.request,
                "client-request-id": ids.client,
            },
        }});
        if let Some(property) = refusal.conflict {
            body["error"]["details"] =
                json!([{ "code": "ObjectConflict", "message": refusal.message, "target": property }]);
        }
        let reply = Self::graph(refusal.status, body.to_string().into_bytes());
        match refusal.status {
            401 => reply.with(
                "www-authenticate",
                "Bearer realm=\"\", authorization_uri=\"https://localhost/common/oauth2/authorize\"",
            ),
            _ => reply,
        }
    }

    /// Adds what every answer of Graph carries.
    pub(crate) fn with_ids(self, ids: &Ids) -> Self {
        self.with("request-id", ids.request.clone())
            .with("client-request-id", ids.client.clone())
            .with("odata-version", "4.0")
            .with("cache-control", "no-cache")
            .with("x-ms-resource-unit", "1")
    }

    pub(crate) fn into_response(self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// The two ids of a request: Graph's own, and the client's, which is echoed.
#[derive(Debug)]
pub(crate) struct Ids {
    request: String,
    client: String,
}

impl Ids {
    pub(crate) fn of(request: &Request) -> Self {
        let own = Uuid::new_v4().to_string();
        let client = request.header("client-request-id").map_or_else(|| own.clone(), str::to_owned);
        Self { request: own, client }
    }
}
