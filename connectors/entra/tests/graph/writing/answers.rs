//! What each answer comes to.

use std::time::Duration;

use muster_connector::{Error, Kind, Outcome, RetryScope};
use muster_model::{Key, Slot};
use serde_json::{Value as Json, json};

use super::{CREW, YANN, ZITA, answers, apply, batch, members, operation, parts, reference, refusal, text, update};
use crate::check::{denied, token};
use crate::peer::Reply;
use crate::world::{start, start_for};

fn two() -> muster_connector::Batch {
    let operations = vec![update(ZITA, vec![text("A")]), update(YANN, vec![text("B")])];
    batch("user", &["department"], operations)
}

fn is_applied(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Applied(_))
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_everything_unknown_and_is_not_asked_for_again() {
    let damaged = Reply::json("<html>sign in</html>");
    let cut = Reply::Cut(br#"{"responses":[]}"#.to_vec());
    for reply in [damaged, cut, Reply::Stall, Reply::status(503, ""), Reply::status(500, "{}"), Reply::status(504, "")]
    {
        let (_, peer, connector) = start_for(&reply).await;
        peer.answer([reply.clone()]);
        let outcome = apply(&connector, &two()).await;
        assert!(matches!(outcome, Err(Error::Unreachable { nothing_sent: false, .. })), "{reply:?}: {outcome:?}");
        assert_eq!(peer.graph_calls().len(), 1, "{reply:?}");
    }
}

#[tokio::test]
async fn one_that_fails_spoils_no_other() {
    let (_, peer, connector) = start().await;
    for (status, wanted) in [(500, Outcome::Unknown), (503, Outcome::Unknown), (404, Outcome::Missing)] {
        peer.answer([answers(&[(204, Json::Null), (status, refusal("X", "x"))])]);
        let outcomes = apply(&connector, &two()).await.unwrap();
        assert!(is_applied(&outcomes[0]), "{outcomes:?}");
        assert_eq!(outcomes[1], wanted);
    }
    // A part without an answer may have been done.
    peer.answer([answers(&[(204, Json::Null)])]);
    assert_eq!(apply(&connector, &two()).await.unwrap()[1], Outcome::Unknown);
}

#[tokio::test]
async fn nothing_is_sent_before_the_time_that_graph_asked_for() {
    let (world, peer, connector) = start().await;
    peer.answer([
        Reply::error(429, "TooManyRequests", "x").with("Retry-After", "17"),
        answers(&[(429, refusal("TooManyRequests", "x")), (204, Json::Null)]),
        answers(&[(204, Json::Null)]),
    ]);
    let outcomes = apply(&connector, &two()).await.unwrap();
    assert!(outcomes.iter().all(is_applied), "{outcomes:?}");
    let calls = peer.graph_calls();
    let times: Vec<u64> = calls.iter().map(|call| call.at.as_secs()).collect();
    assert_eq!(times, [0, 17, 47]);
    assert_eq!(parts(&calls[2]).len(), 1, "what was done is not sent again");
    assert_eq!(parts(&calls[2])[0].1, format!("/users/{ZITA}"));

    // A pause longer than the batch has is the host's to make.
    peer.answer([Reply::error(429, "TooManyRequests", "x").with("Retry-After", "600")]);
    let outcome = apply(&connector, &two()).await;
    assert!(matches!(outcome, Err(Error::Throttled { after, .. }) if after == Duration::from_mins(10)), "{outcome:?}");
    assert!(matches!(apply(&connector, &two()).await, Err(Error::Throttled { .. })), "nor is the next batch sent");
    assert_eq!(peer.graph_calls().len(), 4);
    assert_eq!(world.time(), Duration::from_secs(47));
}

#[tokio::test]
async fn a_token_that_ran_out_is_renewed_once() {
    let (_, peer, connector) = start().await;
    let expired = || Reply::error(401, "InvalidAuthenticationToken", "expired");
    peer.answer([expired(), answers(&[(204, Json::Null), (204, Json::Null)])]);
    assert!(apply(&connector, &two()).await.unwrap().iter().all(is_applied));
    peer.answer([expired(), expired()]);
    assert!(matches!(apply(&connector, &two()).await, Err(Error::Credentials { .. })));
    assert_eq!(peer.graph_calls().len(), 4);
}

#[tokio::test]
async fn nobody_is_there() {
    let (world, _, _) = start().await;
    let peer = crate::peer::Peer::start(&world).await;
    let values = crate::world::values(&peer, json!({ "graph_url": "http://127.0.0.1:9/v1.0" }));
    let settings = crate::world::settings(values, &[("client_secret", crate::world::SECRET)]);
    let connector = muster_connector_entra::connect(&settings, world).unwrap();
    let outcome = apply(&connector, &two()).await;
    assert!(matches!(outcome, Err(Error::Unreachable { nothing_sent: true, .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_missing_permission_stops_all_and_a_protected_object_itself() {
    let forbidden = || refusal("Authorization_RequestDenied", "Insufficient privileges to complete the operation.");
    let both = || answers(&[(403, forbidden()), (403, forbidden())]);
    let (_, peer, connector) = start().await;
    peer.answer_tokens([token(&["User.Read.All"])]);
    peer.answer([both()]);
    let Err(Error::Credentials { problem, fix }) = apply(&connector, &two()).await else { panic!("no error") };
    assert!(problem.contains("User.ReadWrite.All") && fix.contains("API permissions"), "{problem}; {fix}");

    let (_, peer, connector) = start().await;
    peer.answer_tokens([token(&["User.ReadWrite.All"])]);
    peer.answer([answers(&[(204, Json::Null), (403, forbidden())])]);
    let outcomes = apply(&connector, &two()).await.unwrap();
    assert!(is_applied(&outcomes[0]), "{outcomes:?}");
    assert!(
        matches!(&outcomes[1], Outcome::Rejected { rule, .. } if rule == "insufficient_privileges"),
        "{outcomes:?}"
    );

    // The token tells nothing: when all are refused it is the permission.
    let (_, peer, connector) = start().await;
    peer.answer([both()]);
    assert!(matches!(apply(&connector, &two()).await, Err(Error::Credentials { .. })));
    peer.answer([denied()]);
    assert!(apply(&connector, &two()).await.is_err());
}

#[tokio::test]
async fn refusals_name_the_attribute() {
    let (_, peer, connector) = start().await;
    let attributes = ["userPrincipalName", "displayName", "employeeId", "employeeOrgData.division", "usageLocation"];
    let taken = |target: &str| {
        let message = format!("Another object with the same value for property {target} already exists.");
        let details = json!([{ "code": "ObjectConflict", "message": message, "target": target }]);
        json!({ "error": { "code": "Request_BadRequest", "message": message, "details": details } })
    };
    let bad = |message: &str| refusal("Request_BadRequest", message);
    let cases = [
        (
            bad("Invalid value specified for property 'usageLocation' of resource 'User'."),
            Some("usageLocation"),
            "invalid_value",
        ),
        (bad("A value is required for property 'displayName' of resource 'User'."), Some("displayName"), "required"),
        (
            bad("Invalid value specified for property 'employeeOrgData' of resource 'User'."),
            Some("employeeOrgData.division"),
            "invalid_value",
        ),
        (taken("userPrincipalName"), Some("userPrincipalName"), "unique"),
        (taken("proxyAddresses"), Some("proxyAddresses"), "unique"),
        (bad("Something else."), None, "Request_BadRequest"),
    ];
    for (body, attribute, rule) in cases {
        peer.answer([answers(&[(400, body.clone())])]);
        let change = update(ZITA, vec![text("z@x"), text("Z"), text("1"), text("D"), text("NL")]);
        let outcomes = apply(&connector, &batch("user", &attributes, vec![change])).await.unwrap();
        let Outcome::Rejected { attribute: blamed, rule: broken, message } = &outcomes[0] else {
            panic!("{body}: {outcomes:?}")
        };
        assert_eq!((blamed.as_deref(), broken.as_str()), (attribute, rule), "{message}");
    }
    // What somebody else changes at the moment is tried again.
    peer.answer([answers(&[(409, refusal("Conflict", "x")), (204, Json::Null)])]);
    let outcomes = apply(&connector, &two()).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Retry { scope: RetryScope::Object, .. }), "{outcomes:?}");
}

#[tokio::test]
async fn a_taken_name_of_a_new_user_says_whose_it_is() {
    let (_, peer, connector) = start().await;
    let message = "Another object with the same value for property userPrincipalName already exists.";
    let details = json!([{ "code": "ObjectConflict", "target": "userPrincipalName" }]);
    let taken = json!({ "error": { "code": "Request_BadRequest", "message": message, "details": details } });
    let new = operation(Kind::Create, None, vec![text("zita@contoso.example")]);
    peer.answer([
        answers(&[(400, taken)]),
        answers(&[(200, json!({ "value": [{ "id": ZITA, "userPrincipalName": "Zita@contoso.example" }] }))]),
    ]);
    let outcomes = apply(&connector, &batch("user", &["userPrincipalName"], vec![new])).await.unwrap();
    assert_eq!(outcomes, [Outcome::Exists { key: Key::text(ZITA) }]);
}

#[tokio::test]
async fn references_to_nobody_wait_and_members_are_told_apart() {
    let gone = || refusal("Request_ResourceNotFound", "Resource does not exist.");
    let there = |id: &str| answers(&[(200, json!({ "id": id }))]);
    // The manager is not there, the user is.
    let (_, peer, connector) = start().await;
    let managed = || batch("user", &["manager"], vec![update(ZITA, vec![Slot::One(reference(YANN))])]);
    peer.answer([answers(&[(404, gone())]), there(ZITA)]);
    let waits = |name: &str| Outcome::WaitsFor { attribute: name.to_owned() };
    assert_eq!(apply(&connector, &managed()).await.unwrap(), [waits("manager")]);
    peer.answer([answers(&[(404, gone())]), answers(&[(404, gone())])]);
    assert_eq!(apply(&connector, &managed()).await.unwrap(), [Outcome::Missing]);
    // There was no manager to take away.
    peer.answer([answers(&[(404, gone())]), there(ZITA)]);
    let cleared = batch("user", &["manager"], vec![update(ZITA, vec![Slot::Null])]);
    assert!(matches!(apply(&connector, &cleared).await.unwrap()[0], Outcome::AlreadySo(_)));

    // One of two is a member already: each for itself.
    let added = || batch("group", &["members"], vec![members(&[ZITA, YANN], &[])]);
    let exist = "One or more added object references already exist for the following modified properties: 'members'.";
    let already = || refusal("Request_BadRequest", exist);
    peer.answer([answers(&[(400, already())]), answers(&[(400, already()), (204, Json::Null)])]);
    assert!(is_applied(&apply(&connector, &added()).await.unwrap()[0]));
    // One is there, the other not: somebody has to look.
    peer.answer([answers(&[(404, gone())]), answers(&[(204, Json::Null), (404, gone())]), there(CREW)]);
    assert_eq!(apply(&connector, &added()).await.unwrap(), [Outcome::Unknown]);
    // Only what is not there is left.
    let one = || batch("group", &["members"], vec![members(&[YANN], &[])]);
    peer.answer([answers(&[(404, gone())]), there(CREW)]);
    assert_eq!(apply(&connector, &one()).await.unwrap(), [waits("members")]);
    // Who is no member is not removed, which is as wanted.
    peer.answer([answers(&[(404, gone())]), there(CREW)]);
    let removed = batch("group", &["members"], vec![members(&[], &[YANN])]);
    assert!(matches!(apply(&connector, &removed).await.unwrap()[0], Outcome::AlreadySo(_)));
}

#[tokio::test]
async fn a_new_user_may_take_a_while_to_be_known_everywhere() {
    let (world, peer, connector) = start().await;
    let gone = refusal("Request_ResourceNotFound", "Resource does not exist.");
    let new = operation(Kind::Create, None, vec![text("z@x"), Slot::One(reference(YANN))]);
    peer.answer([
        answers(&[(201, json!({ "id": ZITA }))]),
        answers(&[(404, gone.clone())]),
        answers(&[(404, gone)]),
        answers(&[(204, Json::Null)]),
    ]);
    let outcomes = apply(&connector, &batch("user", &["userPrincipalName", "manager"], vec![new])).await.unwrap();
    assert!(is_applied(&outcomes[0]), "{outcomes:?}");
    assert_eq!(world.time(), Duration::from_secs(3));
}
