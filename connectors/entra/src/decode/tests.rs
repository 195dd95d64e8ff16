use std::collections::BTreeMap;

use muster_connector::{EdgeChange, ReadRequest, Removal};
use muster_model::Value;

use super::*;
use crate::config::ExtensionType;

fn layout(object_type: &str, attributes: &[&str]) -> Layout {
    let extensions =
        BTreeMap::from([("extension_0123456789abcdef0123456789abcdef_badge".to_owned(), ExtensionType::Integer)]);
    let attributes: Vec<String> = attributes.iter().map(|name| (*name).to_owned()).collect();
    let request =
        ReadRequest { object_type: object_type.into(), attributes: attributes.into(), named: Default::default() };
    Layout::new(&request, &extensions).unwrap()
}

fn rows(object_type: &str, attributes: &[&str], json: &str) -> Vec<Vec<Slot>> {
    let body = format!(r#"{{"@odata.context":"x","value":[{json}],"@odata.deltaLink":"d"}}"#);
    let page = page(body.as_bytes(), &layout(object_type, attributes)).unwrap();
    page.entries
        .into_iter()
        .map(|entry| match entry.change {
            Change::Partial(row) => row.0,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn slots(attributes: &[&str], json: &str) -> Vec<Slot> {
    rows("user", attributes, json).remove(0)
}

#[test]
fn unknown_null_and_value_are_three_things() {
    let found = slots(
        &["displayName", "mail", "surname", "id"],
        r#"{"surname":null,"extra":{"deep":[1,{"a":2}]},"displayName":"Åsa","id":"u1"}"#,
    );
    assert_eq!(found, [Slot::text("Åsa"), Slot::Unknown, Slot::Null, Slot::text("u1")]);
}

#[test]
fn every_type_has_its_value() {
    let instant = |text: &str| Slot::One(Value::Instant(text.parse().unwrap()));
    let texts = |values: &[&str]| Slot::Many(values.iter().map(|value| Value::text(value)).collect());
    let cases = [
        ("accountEnabled", r#""accountEnabled":true"#, Slot::One(Value::Boolean(true))),
        ("accountEnabled", r#""accountEnabled":"False""#, Slot::One(Value::Boolean(false))),
        ("accountEnabled", r#""accountEnabled":7"#, Slot::Unknown),
        ("employeeId", r#""employeeId":"007""#, Slot::text("007")),
        ("employeeId", r#""employeeId":7"#, Slot::text("7")),
        ("employeeId", r#""employeeId":["7"]"#, Slot::Unknown),
        ("employeeId", r#""employeeId":{"a":1}"#, Slot::Unknown),
        ("employeeHireDate", r#""employeeHireDate":"2026-02-01T00:00:00Z""#, instant("2026-02-01T00:00:00Z")),
        (
            "employeeHireDate",
            r#""employeeHireDate":"2026-02-01T01:00:00.1234567+01:00""#,
            instant("2026-02-01T00:00:00.123456Z"),
        ),
        ("employeeHireDate", r#""employeeHireDate":"soon""#, Slot::Unknown),
        ("deviceEnrollmentLimit", r#""deviceEnrollmentLimit":5"#, Slot::One(Value::Integer(5))),
        ("businessPhones", r#""businessPhones":["1","2","1"]"#, texts(&["1", "2"])),
        ("businessPhones", r#""businessPhones":[]"#, Slot::Null),
        ("businessPhones", r#""businessPhones":null"#, Slot::Null),
        ("employeeOrgData.costCenter", r#""employeeOrgData":{"division":"N","costCenter":"42"}"#, Slot::text("42")),
        ("employeeOrgData.costCenter", r#""employeeOrgData":null"#, Slot::Null),
        ("employeeOrgData.costCenter", r#""employeeOrgData":{"costCenter":null}"#, Slot::Null),
        (
            "extensionAttribute15",
            r#""onPremisesExtensionAttributes":{"extensionAttribute1":"a","extensionAttribute15":"o"}"#,
            Slot::text("o"),
        ),
        (
            "assignedLicenses.skuId",
            r#""assignedLicenses":[{"disabledPlans":["x"],"skuId":"s1"},{"skuId":"s2"}]"#,
            texts(&["s1", "s2"]),
        ),
        ("assignedLicenses.skuId", r#""assignedLicenses":[]"#, Slot::Null),
        (
            "authorizationInfo.certificateUserIds",
            r#""authorizationInfo":{"certificateUserIds":["a","b"]}"#,
            texts(&["a", "b"]),
        ),
        (
            "extension_0123456789abcdef0123456789abcdef_badge",
            r#""extension_0123456789abcdef0123456789abcdef_badge":12"#,
            Slot::One(Value::Integer(12)),
        ),
    ];
    for (attribute, json, expected) in cases {
        let json = format!(r#"{{{json},"id":"u1"}}"#);
        assert_eq!(slots(&[attribute], &json), [expected], "{json}");
    }
}

#[test]
fn identities_are_structures() {
    let json = r#"{"id":"u1","identities":[{"signInType":"federated","issuer":"x","issuerAssignedId":null}]}"#;
    let members = [("issuer", "x"), ("signInType", "federated")];
    let members = members.into_iter().map(|(name, value)| (name.into(), Value::text(value))).collect();
    assert_eq!(slots(&["identities"], json), [Slot::Many(vec![Value::Structure(members)])]);
}

#[test]
fn one_select_names_each_property_once() {
    let layout = layout("user", &["extensionAttribute1", "mail", "extensionAttribute2", "manager", "id"]);
    assert_eq!(layout.select, "id,onPremisesExtensionAttributes,mail,manager");
    assert_eq!(layout.plain_select, "id,onPremisesExtensionAttributes,mail");
}

#[test]
fn removals_are_soft_or_hard() {
    for (json, removal) in [
        (r#"{"id":"a","@removed":{"reason":"changed"}}"#, Removal::Soft),
        (r#"{"@removed":{"reason":"deleted"},"id":"a","displayName":"x"}"#, Removal::Hard),
        (r#"{"id":"a","@removed":{"reason":"new","more":[]}}"#, Removal::Soft),
        (r#"{"id":"a","@removed":{}}"#, Removal::Soft),
    ] {
        let entry = object(json.as_bytes(), &layout("user", &["displayName"])).unwrap();
        assert_eq!(entry.change, Change::Removed(removal), "{json}");
        assert_eq!(entry.key, Key::text("a"));
    }
}

#[test]
fn references_are_edges() {
    let json = r##"{"id":"g1","members@delta":[
        {"@odata.type":"#microsoft.graph.user","id":"u1"},
        {"@odata.type":"#microsoft.graph.group","id":"g2","@removed":{"reason":"deleted"}},
        {"@odata.type":"#microsoft.graph.device","id":"d1"},
        {"@odata.type":"#microsoft.graph.servicePrincipal","id":"s1"},
        {"id":"u2"}],
        "owners@delta":[{"@odata.type":"#microsoft.graph.user","id":"u3"}]}"##;
    let entry = object(json.as_bytes(), &layout("group", &["displayName", "members", "owners"])).unwrap();
    let edge = |attribute, object_type: &str, id: &str, removed| EdgeChange {
        attribute,
        object_type: object_type.into(),
        referenced: Key::text(id),
        removed,
    };
    assert_eq!(
        entry.edges,
        [
            edge(1, "group", "g2", true),
            edge(1, "user", "u1", false),
            edge(1, "user", "u2", false),
            edge(2, "user", "u3", false)
        ]
    );
}

#[test]
fn a_manager_comes_in_three_forms() {
    for (json, expected) in [
        (r##"{"id":"u","manager@delta":[{"@odata.type":"#microsoft.graph.user","id":"m"}]}"##, Some(("m", false))),
        (r#"{"id":"u","manager@delta":[{"id":"m","@removed":{"reason":"deleted"}}]}"#, Some(("m", true))),
        (r##"{"id":"u","manager":{"@odata.type":"#microsoft.graph.user","id":"m"}}"##, Some(("m", false))),
        (r#"{"id":"u","manager":null}"#, None),
        (r##"{"id":"u","manager@delta":[{"@odata.type":"#microsoft.graph.orgContact","id":"m"}]}"##, None),
    ] {
        let entry = object(json.as_bytes(), &layout("user", &["manager"])).unwrap();
        let found: Vec<_> = entry.edges.iter().map(|edge| (edge.referenced.to_string(), edge.removed)).collect();
        let expected: Vec<_> = expected.iter().map(|(id, removed)| ((*id).to_owned(), *removed)).collect();
        assert_eq!(found, expected, "{json}");
    }
}

#[test]
fn what_is_no_page_is_refused() {
    let layout = layout("user", &["displayName"]);
    for body in [
        "",
        "<html>sign in</html>",
        "[]",
        "null",
        "{}",
        r#"{"error":{"code":"x"}}"#,
        r#"{"value":null}"#,
        r#"{"value":{}}"#,
        r#"{"value":[{"displayName":"nobody"}]}"#,
        r#"{"value":[{"id":""}]}"#,
        r#"{"value":[{"id":"a"}]"#,
        r#"{"value":[]} trailing"#,
        "{\"value\":[{\"id\":\"a\",\"displayName\":\"\u{0}\"}]}",
    ] {
        assert!(page(body.as_bytes(), &layout).is_err(), "{body:?}");
    }
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    // What nobody asked for is skipped at any depth; what is read has a limit.
    assert!(page(format!(r#"{{"value":[],"x":{open}{close}}}"#).as_bytes(), &layout).is_ok());
    assert!(page(format!(r#"{{"value":[{{"id":"a","displayName":{open}{close}}}]}}"#).as_bytes(), &layout).is_err());
}
