//! What leaves for Entra, byte by byte.

use muster_connector::{Kind, Outcome, UsedType};
use muster_model::{AssignedBy, Key, Once, Reference, Slot, Value};
use serde_json::json;

use super::{batch, connected, people, put, strict};
use crate::peer::{Peer, Reply};
use crate::world::World;

const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:1.0:User";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn extensions() -> serde_json::Value {
    json!({format!("{ACME}:HireDate"): "instant", format!("{ACME}:Floor"): "integer"})
}

#[tokio::test]
async fn every_attribute_has_its_place() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    let connector = connected(&world, &peer, folder.path(), json!({"extensions": extensions()}));
    let schema = connector.schema().await.unwrap();
    let object_type = schema.object_type("inbound_user").unwrap();
    let capabilities = object_type.target.clone().unwrap();
    assert_eq!((capabilities.once, capabilities.max_batch, capabilities.readable), (Once::Natural, 50, false));
    assert!(!capabilities.ordered && !capabilities.can_delete && object_type.source.is_none());
    assert_eq!(object_type.anchor.assigned_by, AssignedBy::Creator);
    assert_eq!(object_type.enabling.as_ref().unwrap().attribute, "active");

    // A value in every attribute of the schema.
    let names: Vec<&str> = object_type.attributes.iter().map(|attribute| attribute.name.as_str()).collect();
    let instant = "2026-02-01T05:00:00Z".parse().unwrap();
    let slot = |name: &&str| match *name {
        "externalId" => Slot::text("E1"),
        "active" => Slot::One(Value::Boolean(false)),
        name if name.ends_with(":HireDate") => Slot::One(Value::Instant(instant)),
        name if name.ends_with(":Floor") => Slot::One(Value::Integer(7)),
        name => Slot::text(&format!("<{name}>")),
    };
    let batch = batch(&names, &[("E1", names.iter().map(slot).collect())]);
    peer.answer([Reply::status(202, "")]);
    connector.target().unwrap().apply(&batch).await.unwrap();

    let call = peer.graph_calls().pop().unwrap();
    assert_eq!(call.method, "POST");
    let path = format!("/v1.0/servicePrincipals/{}/synchronization/jobs/{}/bulkUpload", super::PRINCIPAL, super::JOB);
    assert_eq!(call.target, path);
    assert_eq!(call.header("content-type"), Some("application/scim+json"));
    assert!(call.header("authorization").unwrap().starts_with("Bearer "));
    let person = strict::people(&call.body).remove(0);
    let text = |name: &str| json!(format!("<{name}>"));
    assert_eq!(
        person,
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE, ACME],
            "externalId": "E1", "userName": text("userName"), "active": false, "displayName": text("displayName"),
            "nickName": text("nickName"), "title": text("title"), "userType": text("userType"),
            "preferredLanguage": text("preferredLanguage"), "locale": text("locale"), "timezone": text("timezone"),
            "profileUrl": text("profileUrl"),
            "name": {
                "givenName": text("givenName"), "familyName": text("familyName"), "middleName": text("middleName"),
                "honorificPrefix": text("honorificPrefix"), "honorificSuffix": text("honorificSuffix"),
                "formatted": text("formattedName"),
            },
            "emails": [{"type": "work", "value": text("workEmail")}],
            "phoneNumbers": [
                {"type": "fax", "value": text("faxNumber")},
                {"type": "mobile", "value": text("mobilePhone")},
                {"type": "work", "value": text("workPhone")},
            ],
            "addresses": [{
                "type": "work", "formatted": text("formattedAddress"), "streetAddress": text("streetAddress"),
                "locality": text("locality"), "region": text("region"), "postalCode": text("postalCode"),
                "country": text("country"),
            }],
            ENTERPRISE: {
                "employeeNumber": text("employeeNumber"), "department": text("department"),
                "division": text("division"), "costCenter": text("costCenter"), "organization": text("organization"),
                "manager": {"value": text("manager")},
            },
            ACME: {"HireDate": "2026-02-01T05:00:00Z", "Floor": 7},
        })
    );
    let sent: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(sent["Operations"][0]["bulkId"], batch.operations[0].id.to_string());
}

#[tokio::test]
async fn what_is_gone_is_left_out_or_sent_as_null() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    let names = ["title", "department", "manager", "workEmail", "workPhone", "givenName", "nickName"];
    let slots = vec![Slot::Null, Slot::Null, Slot::Null, Slot::Null, Slot::text("+1"), Slot::Null, Slot::Unknown];
    for (clear, expected) in [
        (false, json!({"phoneNumbers": [{"type": "work", "value": "+1"}]})),
        (
            true,
            json!({
                "title": null, "name": {"givenName": null}, "phoneNumbers": [{"type": "work", "value": "+1"}],
                ENTERPRISE: {"department": null, "manager": null},
            }),
        ),
    ] {
        let connector = connected(&world, &peer, folder.path(), json!({"clear_with_null": clear}));
        peer.answer([Reply::status(202, "")]);
        connector.target().unwrap().apply(&batch(&names, &[("E1", slots.clone())])).await.unwrap();
        let mut person = strict::people(&peer.graph_calls().pop().unwrap().body).remove(0);
        for name in ["schemas", "externalId"] {
            person.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(person, expected, "clear_with_null = {clear}");
    }
}

#[tokio::test]
async fn a_preview_shows_the_request_and_sends_nothing() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    let connector = connected(&world, &peer, folder.path(), json!({}));
    let manager = Value::Reference(Box::new(Reference { object_type: None, key: Key::text("B1") }));
    let mut batch = batch(&["manager"], &[("E1", vec![Slot::One(manager)]), ("E2", vec![Slot::Unknown])]);
    batch.operations[1].kind = Kind::Delete;
    let shown = connector.target().unwrap().preview(&batch).await.unwrap();
    let person = strict::people(shown[0].as_bytes()).remove(0);
    assert_eq!(person[ENTERPRISE]["manager"], json!({"value": "B1"}));
    assert!(shown[1].starts_with("not sent: deleting"), "{}", shown[1]);
    assert_eq!(peer.seen().len(), 0);
}

#[tokio::test]
async fn what_an_upload_cannot_say_is_not_sent() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    let connector = connected(&world, &peer, folder.path(), json!({}));
    let target = connector.target().unwrap();
    let mut batch = batch(&["title", "active"], &[]);
    let good = || vec![Slot::text("Clerk"), Slot::One(Value::Boolean(true))];
    for kind in [Kind::Create, Kind::Update, Kind::Delete, Kind::Rename { to: Key::text("E2") }] {
        let mut operation = put("E1", good());
        operation.kind = kind;
        batch.operations.push(operation);
    }
    let mut nameless = put("E1", good());
    nameless.key = None;
    batch.operations.push(nameless);
    batch.operations.push(put("E1", vec![Slot::Many(vec![Value::text("a"), Value::text("b")])]));
    batch.operations.push(put("E1", vec![Slot::Unknown, Slot::text("yes")]));
    let outcomes = target.apply(&batch).await.unwrap();
    for (place, (id, outcome)) in outcomes.iter().enumerate() {
        assert_eq!(*id, batch.operations[place].id);
        match outcome {
            Outcome::Unsupported { .. } => assert!(place < 4, "{place}"),
            Outcome::Rejected { attribute, rule, .. } => {
                let expected = [("externalId", "required"), ("title", "wrong_type"), ("active", "wrong_type")];
                assert_eq!((attribute.as_deref().unwrap(), rule.as_str()), expected[place - 4]);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((outcomes.len(), peer.seen().len()), (7, 0));

    // Too many, and too much, are split by the host.
    let many: Vec<String> = (0..51).map(|number| format!("E{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = target.apply(&people(&many)).await.unwrap_err();
    assert!(refused.to_string().contains("51 people"), "{refused}");
    let long = || vec![Slot::text(&"x".repeat(3_000_000))];
    let two = super::batch(&["title"], &[("E1", long()), ("E2", long())]);
    assert!(target.apply(&two).await.unwrap_err().to_string().contains("4 MB"));
    let one = super::batch(&["title"], &[("E1", vec![Slot::text(&"x".repeat(4_000_000))])]);
    let outcomes = target.apply(&one).await.unwrap();
    assert!(matches!(&outcomes[0].1, Outcome::Rejected { rule, .. } if rule == "too_long"), "{outcomes:?}");
    assert_eq!(peer.graph_calls().len(), 0);
}

#[tokio::test]
async fn names_that_are_no_attributes_are_found_by_check() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    let connector = connected(&world, &peer, folder.path(), json!({}));
    peer.answer_tokens([Reply::error(400, "x", "x")]);
    let names = ["tittle", "name.givenName", "mobilePhone", "urn:x:User:A"].map(str::to_owned).to_vec();
    let used = |as_source| UsedType {
        object_type: "inbound_user".to_owned(),
        attributes: names.clone(),
        named: Vec::new(),
        as_source,
        as_target: !as_source,
    };
    let found = connector.check(&[used(false), used(true)]).await.unwrap().findings;
    let text = format!("{found:?}");
    for expected in
        ["did you mean title?", "write givenName", "does not process it", "inbound.extensions", "written only"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// The guide has a row for every attribute.
#[tokio::test]
async fn the_guide_names_every_attribute() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    let schema = connected(&world, &peer, folder.path(), json!({})).schema().await.unwrap();
    let guide = include_str!("../../../../../docs/hr-to-entra.md");
    let table = guide.split("## What can be written").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    for attribute in schema.object_type("inbound_user").unwrap().attribute_names() {
        assert!(rows.iter().any(|row| row.contains(&format!("`{attribute}`"))), "{attribute} is not in the guide");
    }
}
