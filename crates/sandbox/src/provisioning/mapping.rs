//! Which SCIM attribute becomes which property, as the gallery app maps them when nobody changed it.
//!
//! Source: <https://learn.microsoft.com/entra/identity/app-provisioning/inbound-provisioning-api-configure-app>. Of
//! mail addresses, telephone numbers and addresses only those of the type `work` are processed
//! (<https://learn.microsoft.com/entra/identity/app-provisioning/inbound-provisioning-api-issues>).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::bulk::{ENTERPRISE_USER, Record};

/// A property and what was uploaded for it; `None` where nothing was.
pub(super) type Mapped = Vec<(&'static str, Option<Value>)>;

/// The properties of one person. The manager is none of them: it is a reference.
pub(super) fn properties(record: &Record) -> Mapped {
    let data = &record.data;
    let own = |name: &str| text(data.get(name));
    let name = |part: &str| text(data.get("name").and_then(|name| name.get(part)));
    let address = |part: &str| text(work(data, "addresses").and_then(|address| address.get(part)));
    let enterprise = |name: &str| text(data.get(ENTERPRISE_USER).and_then(|extension| extension.get(name)));
    let phone = text(work(data, "phoneNumbers").and_then(|phone| phone.get("value")));
    let mail = text(work(data, "emails").and_then(|mail| mail.get("value")));
    let organisation: Map<String, Value> =
        [("costCenter", enterprise("costCenter")), ("division", enterprise("division"))]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
    let display_name = own("displayName").or_else(|| name("formatted"));
    vec![
        ("userPrincipalName", own("userName")),
        ("displayName", display_name),
        ("givenName", name("givenName")),
        ("surname", name("familyName")),
        ("accountEnabled", data.get("active").filter(|active| active.is_boolean()).cloned()),
        ("jobTitle", own("title")),
        ("employeeType", own("userType")),
        ("preferredLanguage", own("preferredLanguage")),
        ("mail", mail),
        ("businessPhones", phone.map(|phone| json!([phone]))),
        ("officeLocation", address("formatted")),
        ("streetAddress", address("streetAddress")),
        ("city", address("locality")),
        ("state", address("region")),
        ("postalCode", address("postalCode")),
        ("country", address("country")),
        ("department", enterprise("department")),
        ("companyName", enterprise("organization")),
        ("employeeOrgData", (!organisation.is_empty()).then_some(Value::Object(organisation))),
    ]
}

/// The directory extensions that an administrator mapped, from attributes named by their URN path.
pub(super) fn extensions<'a>(
    record: &'a Record,
    mapped: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a str, Option<Value>)> {
    mapped.iter().map(|(path, property)| {
        let value = path.rsplit_once(':').and_then(|(urn, name)| record.data.get(urn)?.get(name));
        let value = value.and_then(|value| match value {
            Value::Bool(_) | Value::Number(_) => Some(Value::String(value.to_string())),
            other => text(Some(other)),
        });
        (property.as_str(), value)
    })
}

/// What the manager is called: the manager's `externalId`. `None` where nothing was uploaded.
pub(super) fn manager(record: &Record) -> Option<String> {
    match record.data.get(ENTERPRISE_USER)?.get("manager")?.get("value")? {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        _ => None,
    }
}

/// A text with something in it: `null`, the empty string and absence mean the same.
fn text(value: Option<&Value>) -> Option<Value> {
    value.filter(|value| value.as_str().is_some_and(|text| !text.is_empty())).cloned()
}

fn work<'a>(data: &'a Map<String, Value>, list: &str) -> Option<&'a Value> {
    let entries = data.get(list)?.as_array()?;
    entries.iter().find(|entry| entry.get("type").and_then(Value::as_str) == Some("work"))
}
