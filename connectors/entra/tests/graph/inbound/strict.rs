//! The upload's schema, written from Microsoft's documentation and RFC 7643, not from the connector.

use serde_json::Value;

const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

const TEXTS: &[&str] = &[
    "externalId",
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
const NAMES: &[&str] = &["formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"];
const ADDRESS: &[&str] =
    &["type", "streetAddress", "locality", "region", "postalCode", "country", "formatted", "primary"];
const ENTERPRISE_TEXTS: &[&str] = &["employeeNumber", "costCenter", "organization", "division", "department"];

/// Fails unless the body is a bulk request to the letter, and returns its people.
pub(super) fn people(body: &[u8]) -> Vec<Value> {
    let request: Value = serde_json::from_slice(body).unwrap();
    only(&request, &["schemas", "Operations", "failOnErrors"]);
    assert_eq!(request["schemas"], serde_json::json!(["urn:ietf:params:scim:api:messages:2.0:BulkRequest"]));
    assert!(request["failOnErrors"].is_null() && request.get("failOnErrors").is_some());
    let operations = request["Operations"].as_array().unwrap();
    assert!((1..=50).contains(&operations.len()));
    let mut ids: Vec<&str> = operations.iter().map(|operation| operation["bulkId"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), operations.len(), "bulkId is unique");
    operations.iter().map(person).collect()
}

fn person(operation: &Value) -> Value {
    only(operation, &["method", "path", "bulkId", "data"]);
    assert_eq!((&operation["method"], &operation["path"]), (&"POST".into(), &"/Users".into()));
    let data = &operation["data"];
    let schemas: Vec<&str> = data["schemas"].as_array().unwrap().iter().map(|urn| urn.as_str().unwrap()).collect();
    assert_eq!(schemas[..2], [CORE, ENTERPRISE]);
    assert!(!data["externalId"].as_str().unwrap().is_empty());
    for (name, value) in data.as_object().unwrap() {
        match name.as_str() {
            "schemas" => {}
            "active" => assert!(value.is_boolean() || value.is_null(), "{name}"),
            "name" => texts(value, NAMES),
            "emails" => entries(value, &["type", "value", "primary", "display"], &["work"]),
            "phoneNumbers" => entries(value, &["type", "value"], &["work", "mobile", "fax"]),
            "addresses" => entries(value, ADDRESS, &["work"]),
            ENTERPRISE => {
                for (name, value) in value.as_object().unwrap() {
                    if name == "manager" {
                        assert!(value.is_null() || value["value"].is_string(), "{value}");
                    } else {
                        assert!(ENTERPRISE_TEXTS.contains(&name.as_str()), "{name}");
                        assert!(value.is_string() || value.is_null(), "{name}");
                    }
                }
            }
            urn if urn.starts_with("urn:") => assert!(schemas.contains(&urn) && value.is_object(), "{urn}"),
            name => {
                assert!(TEXTS.contains(&name), "no attribute of a SCIM user: {name}");
                assert!(value.is_string() || value.is_null(), "{name}");
            }
        }
    }
    data.clone()
}

fn only(object: &Value, members: &[&str]) {
    for name in object.as_object().unwrap().keys() {
        assert!(members.contains(&name.as_str()), "unknown member {name}");
    }
}

fn texts(object: &Value, members: &[&str]) {
    only(object, members);
    assert!(object.as_object().unwrap().values().all(|value| value.is_string() || value.is_null()));
}

fn entries(list: &Value, members: &[&str], types: &[&str]) {
    let list = list.as_array().unwrap();
    let mut seen = Vec::new();
    for entry in list {
        texts(entry, members);
        let kind = entry["type"].as_str().unwrap();
        assert!(types.contains(&kind) && !seen.contains(&kind), "one entry of each type: {kind}");
        seen.push(kind);
    }
}
