//! A request, with the liberties that OData allows taken out of it.

use axum::http::{HeaderMap, Uri};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::refusal::Refusal;

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Decoded; `users('x')` is `users`, `x`, and every spelling of the delta function is `delta`.
    pub(crate) segments: Vec<String>,
    /// Names in lower case and without the dollar sign: Graph takes them so.
    options: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Scheme, host and port under which the client sees the sandbox.
    pub(crate) origin: String,
}

impl Request {
    pub(crate) fn new(method: String, uri: &Uri, headers: HeaderMap, body: Bytes, origin: String) -> Self {
        let mut segments = Vec::new();
        uri.path().split('/').filter(|raw| !raw.is_empty()).for_each(|raw| push_segment(&mut segments, &decode(raw)));
        Self { method, segments, options: form(uri.query().unwrap_or_default(), true), headers, body, origin }
    }

    pub(crate) fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn option_names(&self) -> impl Iterator<Item = &str> {
        self.options.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn is_graph(&self) -> bool {
        self.segments.first().is_some_and(|version| version == "v1.0" || version == "beta")
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.segments.first().is_some_and(|first| first == "sandbox")
    }

    /// For finding: lower case.
    pub(crate) fn canonical_path(&self) -> String {
        self.segments.join("/").to_lowercase()
    }

    /// For counting: ids and names replaced.
    pub(crate) fn counted_path(&self) -> String {
        let shown = |segment: &String| {
            let names_something = segment.contains('@') || Uuid::try_parse(segment).is_ok();
            if names_something { "{id}".to_owned() } else { segment.clone() }
        };
        format!("/{}", self.segments.iter().map(shown).collect::<Vec<_>>().join("/"))
    }

    /// The root under which absolute links are made, such as `http://127.0.0.1:8080/v1.0`.
    pub(crate) fn root(&self) -> String {
        format!("{}/{}", self.origin, self.segments.first().map_or("v1.0", String::as_str))
    }

    pub(crate) fn json_object(&self) -> Result<Map<String, Value>, Refusal> {
        let parsed: Value = serde_json::from_slice(&self.body).map_err(|error| {
            Refusal::new(400, "BadRequest", format!("Unable to read JSON request payload: {error}"))
        })?;
        match parsed {
            Value::Object(object) => Ok(object),
            _ => Err(Refusal::bad_request("Empty Payload. JSON content expected.")),
        }
    }

    pub(crate) fn form(&self) -> Vec<(String, String)> {
        form(&String::from_utf8_lossy(&self.body), false)
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn push_segment(segments: &mut Vec<String>, segment: &str) {
    let plain = segment.strip_prefix("microsoft.graph.").filter(|rest| rest.starts_with("delta")).unwrap_or(segment);
    let plain = plain.strip_suffix("()").unwrap_or(plain);
    if let Some((name, key)) = plain.strip_suffix("')").and_then(|rest| rest.split_once("('")) {
        segments.push(name.to_owned());
        segments.push(key.replace("''", "'"));
    } else {
        segments.push(plain.to_owned());
    }
}

fn form(text: &str, option_names: bool) -> Vec<(String, String)> {
    text.split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")));
            if option_names { (name.trim_start_matches('$').to_lowercase(), value) } else { (name, value) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(target: &str) -> Request {
        Request::new(
            "GET".into(),
            &target.parse().unwrap(),
            HeaderMap::new(),
            Bytes::new(),
            "http://127.0.0.1:1".into(),
        )
    }

    #[test]
    fn every_spelling_of_a_delta_path_is_one() {
        for path in
            ["delta", "delta()", "microsoft.graph.delta", "microsoft.graph.delta()", "microsoft.graph.delta%28%29"]
        {
            assert_eq!(parsed(&format!("/v1.0/users/{path}")).segments, ["v1.0", "users", "delta"]);
        }
        assert_eq!(parsed("/beta/users('a%23b@x')").segments, ["beta", "users", "a#b@x"]);
    }

    #[test]
    fn option_names_are_taken_as_graph_takes_them() {
        let request = parsed("/v1.0/users?%24Select=id,displayName&$filter=id%20eq+'1'");
        assert_eq!(request.option("select"), Some("id,displayName"));
        assert_eq!(request.option("filter"), Some("id eq '1'"));
    }
}
