//! What is sent.

use chrono::{DateTime, Utc};
use muster_connector::{Kind, Operation, Outcome, ValueDelta};
use muster_model::{Key, Slot, Value};
use serde_json::{Value as Json, json};

use super::{
    CREW, YANN, ZITA, answers, apply, batch, members, object, operation, parts, reference, text, update, with_password,
};
use crate::world::start;

const PASSWORD: &str = "Fist-of-all.7";

#[tokio::test]
async fn a_new_user_has_all_that_graph_wants() {
    let (_, peer, connector) = start().await;
    let attributes = [
        "userPrincipalName",
        "displayName",
        "employeeHireDate",
        "employeeOrgData.costCenter",
        "businessPhones",
        "department",
        "passwordProfile.password",
        "manager",
    ];
    let hired = "2026-12-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
    let slots = vec![
        text("zita@contoso.example"),
        text("Zita"),
        Slot::One(Value::Instant(hired)),
        text("4711"),
        Slot::Many(vec![Value::text("+31 1")]),
        text(""),
        Slot::Unknown,
        Slot::One(reference(YANN)),
    ];
    let named = with_password(operation(Kind::Create, None, slots.clone()), 6, PASSWORD);
    let mut disabled = operation(Kind::Create, None, slots);
    disabled.enabling = Some(false);
    peer.answer([
        answers(&[(201, json!({ "id": ZITA })), (201, json!({ "id": CREW }))]),
        answers(&[(204, Json::Null), (204, Json::Null)]),
    ]);
    let batch = batch("user", &attributes, vec![named, disabled]);
    let outcomes = apply(&connector, &batch).await.unwrap();
    let key = |outcome: &Outcome| match outcome {
        Outcome::Applied(effect) => effect.key.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(outcomes.iter().map(key).collect::<Vec<_>>(), [Some(Key::text(ZITA)), Some(Key::text(CREW))]);
    let calls = peer.graph_calls();
    let made = parts(&calls[0]);
    assert_eq!((made[0].0.as_str(), made[0].1.as_str()), ("POST", "/users"));
    let wanted = json!({
        "userPrincipalName": "zita@contoso.example", "displayName": "Zita", "accountEnabled": true,
        "employeeHireDate": "2026-12-01T00:00:00Z", "employeeOrgData": { "costCenter": "4711" },
        "businessPhones": ["+31 1"],
        "passwordProfile": { "password": PASSWORD, "forceChangePasswordNextSignIn": true },
    });
    assert_eq!(made[0].2, wanted);
    assert_eq!(made[1].2["accountEnabled"], false);
    let nobodys = made[1].2["passwordProfile"]["password"].as_str().unwrap();
    assert!(nobodys.len() > 60 && nobodys != PASSWORD, "a password that nobody can guess");
    let managed = parts(&calls[1]);
    assert_eq!(
        managed[0],
        ("PUT".to_owned(), format!("/users/{ZITA}/manager/$ref"), json!({ "@odata.id": object(&peer, YANN) }))
    );
    assert_eq!(managed[1].1, format!("/users/{CREW}/manager/$ref"));

    let shown = connector.target().unwrap().preview(&batch).await.unwrap();
    assert!(shown[0].starts_with("POST /users\n{"), "{}", shown[0]);
    assert!(shown.iter().all(|text| !text.contains(PASSWORD) && text.contains("\"password\": \"…\"")), "{shown:?}");
    assert!(shown[0].contains("PUT /users/{id}/manager/$ref") && shown[1].contains("nobody learns"), "{shown:?}");
    assert_eq!(peer.graph_calls().len(), 2, "a look sends nothing");
}

#[tokio::test]
async fn changes_name_what_changes_and_nothing_else() {
    let (_, peer, connector) = start().await;
    let attributes = ["department", "extensionAttribute7", "accountEnabled", "manager", "otherMails"];
    let unknown = || vec![Slot::Unknown; 5];
    let with = |position: usize, slot: Slot| {
        let mut slots = unknown();
        slots[position] = slot;
        slots
    };
    let operations = vec![
        update(ZITA, with(0, text("Legal"))),
        update(YANN, with(1, Slot::Null)),
        update(CREW, with(2, Slot::One(Value::Boolean(false)))),
        update("0f000000-0000-4000-8000-000000000003", with(3, Slot::Null)),
        operation(Kind::Delete, Some("0f000000-0000-4000-8000-000000000004"), unknown()),
        update("no/such/id", with(0, text("x"))),
    ];
    peer.answer([answers(&[
        (204, Json::Null),
        (204, Json::Null),
        (204, Json::Null),
        (204, Json::Null),
        (204, Json::Null),
    ])]);
    let outcomes = apply(&connector, &batch("user", &attributes, operations)).await.unwrap();
    assert!(outcomes[..5].iter().all(|outcome| matches!(outcome, Outcome::Applied(_))), "{outcomes:?}");
    assert_eq!(outcomes[5], Outcome::Missing);
    let sent = parts(&peer.graph_calls()[0]);
    let wanted = [
        ("PATCH", format!("/users/{ZITA}"), json!({ "department": "Legal" })),
        (
            "PATCH",
            format!("/users/{YANN}"),
            json!({ "onPremisesExtensionAttributes": { "extensionAttribute7": null } }),
        ),
        ("PATCH", format!("/users/{CREW}"), json!({ "accountEnabled": false })),
        ("DELETE", "/users/0f000000-0000-4000-8000-000000000003/manager/$ref".to_owned(), Json::Null),
        ("DELETE", "/users/0f000000-0000-4000-8000-000000000004".to_owned(), Json::Null),
    ];
    let mut wanted: Vec<_> = wanted.map(|(method, url, body)| (method.to_owned(), url, body)).into();
    let mut sent = sent;
    sent.sort_by(|one, other| one.1.cmp(&other.1));
    wanted.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(sent, wanted);
}

#[tokio::test]
async fn single_values_are_added_to_what_is_there() {
    let (_, peer, connector) = start().await;
    let delta = ValueDelta { attribute: 0, add: vec![Value::text("c@x")], remove: vec![Value::text("a@x")] };
    let change = Operation { deltas: vec![delta], ..update(ZITA, vec![Slot::Unknown]) };
    peer.answer([
        answers(&[(200, json!({ "id": ZITA, "otherMails": ["a@x", "b@x"] }))]),
        answers(&[(204, Json::Null)]),
    ]);
    apply(&connector, &batch("user", &["otherMails"], vec![change])).await.unwrap();
    assert_eq!(parts(&peer.graph_calls()[1])[0].2, json!({ "otherMails": ["b@x", "c@x"] }));
}

#[tokio::test]
async fn a_group_gets_its_name_once_and_twenty_members_a_request() {
    let (_, peer, connector) = start().await;
    let new = operation(Kind::Create, None, vec![text("Crew"), text("crew"), text("O'Neil's")]);
    let attributes = ["displayName", "mailNickname", "uniqueName"];
    peer.answer([answers(&[(200, json!({ "value": [] }))]), answers(&[(201, json!({ "id": CREW }))])]);
    let outcomes = apply(&connector, &batch("group", &attributes, vec![new.clone()])).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Applied(effect) if effect.key == Some(Key::text(CREW))), "{outcomes:?}");
    let calls = peer.graph_calls();
    assert!(parts(&calls[0])[0].1.contains("uniqueName%20eq%20'O%27%27Neil%27%27s'"), "{:?}", parts(&calls[0]));
    let body = json!({ "displayName": "Crew", "mailNickname": "crew", "mailEnabled": false, "securityEnabled": true });
    assert_eq!(parts(&calls[1]), [("PATCH".to_owned(), "/groups(uniqueName='O%27%27Neil%27%27s')".to_owned(), body)]);
    let sent: Json = serde_json::from_slice(&calls[1].body).unwrap();
    assert_eq!(sent["requests"][0]["headers"]["Prefer"], "create-if-missing");
    // Whoever has the name is not changed.
    peer.answer([answers(&[(200, json!({ "value": [{ "id": CREW, "uniqueName": "O'Neil's" }] }))])]);
    let again = apply(&connector, &batch("group", &attributes, vec![new])).await.unwrap();
    assert_eq!(again, [Outcome::Exists { key: Key::text(CREW) }]);

    let people: Vec<String> = (0..45).map(|number| format!("0f000000-0000-4000-8000-{number:012}")).collect();
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    peer.answer([answers(&[(204, Json::Null), (204, Json::Null), (204, Json::Null), (204, Json::Null)])]);
    apply(&connector, &batch("group", &["members"], vec![members(&people, &[YANN])])).await.unwrap();
    let sent = parts(peer.graph_calls().last().unwrap());
    let bound: Vec<usize> =
        sent[..3].iter().map(|(_, _, body)| body["members@odata.bind"].as_array().unwrap().len()).collect();
    assert_eq!(bound, [20, 20, 5]);
    assert_eq!(sent[0].2["members@odata.bind"][0], object(&peer, people[0]));
    assert_eq!(sent[3], ("DELETE".to_owned(), format!("/groups/{CREW}/members/{YANN}/$ref"), Json::Null));
}

#[tokio::test]
async fn the_kind_of_a_group_follows_from_what_is_mapped() {
    let yes = || Slot::One(Value::Boolean(true));
    let cases = [
        (Slot::Unknown, Slot::Unknown, Json::Null),
        (yes(), Slot::Unknown, json!(["Unified"])),
        (Slot::Null, text("user.department -eq \"IT\""), json!(["DynamicMembership"])),
        (yes(), text("user.department -eq \"IT\""), json!(["Unified", "DynamicMembership"])),
    ];
    for (mail_enabled, rule, types) in cases {
        let (_, peer, connector) = start().await;
        peer.answer([answers(&[(201, json!({ "id": CREW }))])]);
        let new = operation(Kind::Create, None, vec![text("G"), mail_enabled, rule]);
        apply(&connector, &batch("group", &["displayName", "mailEnabled", "membershipRule"], vec![new])).await.unwrap();
        let sent = &parts(&peer.graph_calls()[0])[0].2;
        assert_eq!(sent["groupTypes"], types, "{sent}");
        assert!(sent["mailEnabled"].is_boolean(), "{sent}");
        assert_eq!(sent["membershipRuleProcessingState"] == "On", sent["membershipRule"].is_string(), "{sent}");
    }
}

#[tokio::test]
async fn a_name_is_given_up_before_another_takes_it() {
    let (_, peer, connector) = start().await;
    let attributes = ["userPrincipalName", "displayName"];
    let operations = vec![
        update(ZITA, vec![text("old@contoso.example"), Slot::Unknown]),
        update(YANN, vec![Slot::Unknown, text("Yann")]),
        operation(Kind::Create, None, vec![text("zita@contoso.example"), text("New")]),
    ];
    peer.answer([answers(&[(204, Json::Null), (204, Json::Null)]), answers(&[(201, json!({ "id": CREW }))])]);
    apply(&connector, &batch("user", &attributes, operations)).await.unwrap();
    let calls = peer.graph_calls();
    assert_eq!(calls.iter().map(|call| parts(call).len()).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn what_is_empty_is_left_out_where_graph_refuses_it() {
    let (_, peer, connector) = start().await;
    let attributes = ["displayName", "department", "otherMails", "manager", "passwordProfile.password"];
    let mails = || Slot::Many(vec![Value::text(""), Value::text("a@x")]);
    let new = operation(Kind::Create, None, vec![text("Zita"), Slot::Null, mails(), Slot::Null, Slot::Unknown]);
    let changed = update(YANN, vec![Slot::Unknown, Slot::Null, mails(), Slot::Unknown, Slot::Unknown]);
    let mapped = update(CREW, vec![Slot::Unknown, Slot::Unknown, Slot::Unknown, Slot::Unknown, text("Secret-1")]);
    peer.answer([answers(&[(201, json!({ "id": ZITA })), (204, Json::Null)])]);
    let outcomes = apply(&connector, &batch("user", &attributes, vec![new, changed, mapped])).await.unwrap();
    let calls = peer.graph_calls();
    assert_eq!(calls.len(), 1, "nobody new has a manager to lose");
    let sent = parts(&calls[0]);
    let names: Vec<&String> = sent[0].2.as_object().unwrap().keys().collect();
    assert_eq!(names, ["accountEnabled", "displayName", "otherMails", "passwordProfile"]);
    assert_eq!(sent[1].2, json!({ "department": null, "otherMails": ["a@x"] }));
    assert!(matches!(&outcomes[2], Outcome::Rejected { rule, .. } if rule == "not_mapped"), "{outcomes:?}");
}

#[tokio::test]
async fn of_two_groups_with_one_name_one_is_made() {
    let (_, peer, connector) = start().await;
    let new = |name: &str| operation(Kind::Create, None, vec![text("G"), text(name)]);
    // Graph finds names in any case.
    peer.answer([
        answers(&[(200, json!({ "value": [] })), (200, json!({ "value": [{ "id": YANN, "uniqueName": "ops" }] }))]),
        answers(&[(201, json!({ "id": CREW }))]),
    ]);
    let operations = vec![new("Crew"), new("OPS")];
    let outcomes = apply(&connector, &batch("group", &["displayName", "uniqueName"], operations)).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Applied(_)), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Exists { key: Key::text(YANN) });
    peer.answer([
        answers(&[(200, json!({ "value": [] })), (200, json!({ "value": [] }))]),
        answers(&[(201, json!({ "id": CREW }))]),
    ]);
    let operations = vec![new("new"), new("NEW")];
    let outcomes = apply(&connector, &batch("group", &["displayName", "uniqueName"], operations)).await.unwrap();
    assert!(matches!(&outcomes[1], Outcome::Retry { .. }), "{outcomes:?}");
}
