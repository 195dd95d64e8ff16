//! Reading a bulk request as the upload takes it.
//!
//! Sources: <https://learn.microsoft.com/graph/api/synchronization-synchronizationjob-post-bulkupload>, RFC 7644 §3.7,
//! RFC 7643 §4.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::limits::MOST_OPERATIONS;

pub(crate) const MEDIA_TYPE: &str = "application/scim+json";
pub(crate) const BULK_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
pub(crate) const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(crate) const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// One person as uploaded.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) external_id: String,
    pub(crate) data: Map<String, Value>,
}

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// More operations than fit.
    Oversized(usize),
    /// Anything else, in words.
    Invalid(String),
}

impl From<String> for Malformed {
    fn from(text: String) -> Self {
        Self::Invalid(text)
    }
}

/// Whether a `Content-Type` is the one that the upload wants; parameters may follow.
pub(crate) fn is_scim(content_type: Option<&str>) -> bool {
    let kind = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(MEDIA_TYPE)
}

/// The people of a bulk request.
pub(crate) fn read(body: &[u8]) -> Result<Vec<Record>, Malformed> {
    let request: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("no JSON object: {error}"))?;
    if let Some(unknown) = request.keys().find(|key| !["schemas", "Operations", "failOnErrors"].contains(&key.as_str()))
    {
        return Err(format!("unknown member '{unknown}'").into());
    }
    require_schemas(&request, &[BULK_REQUEST])?;
    if !request.get("failOnErrors").is_none_or(|count| count.is_null() || count.is_u64()) {
        return Err("failOnErrors is neither null nor a number".to_owned().into());
    }
    let operations =
        request.get("Operations").and_then(Value::as_array).ok_or("there is no array Operations".to_owned())?;
    match operations.len() {
        0 => return Err("Operations is empty".to_owned().into()),
        count if count > MOST_OPERATIONS => return Err(Malformed::Oversized(count)),
        _ => {}
    }
    let mut ids = HashSet::new();
    let mut records = Vec::with_capacity(operations.len());
    for (place, operation) in operations.iter().enumerate() {
        let at = |problem: String| Malformed::Invalid(format!("Operations[{place}]: {problem}"));
        let (bulk_id, record) = one(operation).map_err(at)?;
        if !ids.insert(bulk_id.to_owned()) {
            return Err(at(format!("bulkId '{bulk_id}' is not unique")));
        }
        records.push(record);
    }
    Ok(records)
}

fn one(operation: &Value) -> Result<(&str, Record), String> {
    let text = |name: &str| operation.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if text("method").is_none_or(|method| !method.eq_ignore_ascii_case("POST")) {
        return Err("method is not POST".to_owned());
    }
    if text("path") != Some("/Users") {
        return Err("path is not /Users".to_owned());
    }
    let bulk_id = text("bulkId").ok_or("there is no bulkId")?;
    let data = operation.get("data").and_then(Value::as_object).ok_or("there is no object data")?;
    require_schemas(data, &[CORE_USER, ENTERPRISE_USER])?;
    let external_id = data.get("externalId").and_then(Value::as_str).filter(|id| !id.is_empty());
    let external_id = external_id.ok_or("data has no externalId")?.to_owned();
    check_shapes(data)?;
    Ok((bulk_id, Record { external_id, data: data.clone() }))
}

fn require_schemas(object: &Map<String, Value>, wanted: &[&str]) -> Result<(), String> {
    let listed = object.get("schemas").and_then(Value::as_array).ok_or("there is no array schemas")?;
    match wanted.iter().find(|urn| !listed.iter().any(|schema| schema.as_str() == Some(**urn))) {
        Some(missing) => Err(format!("schemas lacks {missing}")),
        None => Ok(()),
    }
}

/// Refuses values of another JSON type than RFC 7643 §8.7.1 gives the attribute.
fn check_shapes(data: &Map<String, Value>) -> Result<(), String> {
    const TEXTS: [&str; 9] = [
        "userName",
        "displayName",
        "nickName",
        "title",
        "userType",
        "preferredLanguage",
        "locale",
        "timezone",
        "profileUrl",
    ];
    const LISTS: [&str; 3] = ["emails", "phoneNumbers", "addresses"];
    let wrong = |name: &str, wanted: &str| Err(format!("data.{name} is not {wanted}"));
    for (name, value) in data.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "active" if !value.is_boolean() => return wrong(name, "a boolean"),
            "name" | ENTERPRISE_USER if !value.is_object() => return wrong(name, "an object"),
            name if TEXTS.contains(&name) && !value.is_string() => return wrong(name, "a string"),
            name if LISTS.contains(&name)
                && !value.as_array().is_some_and(|list| list.iter().all(Value::is_object)) =>
            {
                return wrong(name, "an array of objects");
            }
            name if name.starts_with("urn:") && !lists(data, name) => {
                return Err(format!("data.schemas does not list {name}"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn lists(data: &Map<String, Value>, urn: &str) -> bool {
    data.get("schemas").and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one.as_str() == Some(urn)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request() -> Value {
        json!({
            "schemas": [BULK_REQUEST],
            "Operations": [{
                "method": "POST", "path": "/Users", "bulkId": "1",
                "data": {"schemas": [CORE_USER, ENTERPRISE_USER], "externalId": "E1", "userName": "a@b", "active": true},
            }],
            "failOnErrors": null,
        })
    }

    #[test]
    fn only_a_whole_request_is_taken() {
        assert_eq!(read(request().to_string().as_bytes()).unwrap()[0].external_id, "E1");
        let check = |pointer: &str, value: Value, expected: &str| {
            let mut request = request();
            *request.pointer_mut(pointer).unwrap() = value;
            let Err(Malformed::Invalid(text)) = read(request.to_string().as_bytes()) else { panic!("{pointer}") };
            assert!(text.contains(expected), "{pointer}: {text}");
        };
        check("/schemas", json!([CORE_USER]), "schemas lacks");
        check("/failOnErrors", json!("no"), "failOnErrors");
        check("/Operations", json!([]), "empty");
        check("/Operations", json!({}), "no array Operations");
        check("/Operations/0/method", json!("PUT"), "method");
        check("/Operations/0/path", json!("/Groups"), "path");
        check("/Operations/0/bulkId", json!(""), "bulkId");
        check("/Operations/0/data", json!([]), "no object data");
        check("/Operations/0/data/schemas", json!([CORE_USER]), "enterprise");
        check("/Operations/0/data/externalId", json!(7), "externalId");
        check("/Operations/0/data/active", json!("true"), "active");
        check("/Operations/0/data/userName", json!(1), "userName");
        let mut twice = request();
        twice["Operations"] = json!([request()["Operations"][0], request()["Operations"][0]]);
        let Err(Malformed::Invalid(text)) = read(twice.to_string().as_bytes()) else { panic!() };
        assert!(text.contains("not unique"), "{text}");
        twice["Operations"] = Value::Array(vec![Value::Null; 51]);
        assert_eq!(read(twice.to_string().as_bytes()).unwrap_err(), Malformed::Oversized(51));
        assert!(read(b"[]").is_err());
    }

    #[test]
    fn parameters_of_the_content_type_do_no_harm() {
        assert!(is_scim(Some("application/scim+json; charset=utf-8")));
        assert!(!is_scim(Some("application/json")));
        assert!(!is_scim(None));
    }
}
