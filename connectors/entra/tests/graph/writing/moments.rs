//! Pauses that Graph asks for, the time that a batch has, and what is known when it ends early.

use std::time::Duration;

use muster_connector::{Error, Kind, Outcome, RetryScope};
use muster_model::{Key, Slot};
use serde_json::{Value as Json, json};

use super::{
    CREW, YANN, ZITA, answers, answers_after, apply, batch, members, operation, reference, refusal, text, update,
};
use crate::check::token;
use crate::peer::Reply;
use crate::world::start;

fn limited() -> Json {
    refusal("TooManyRequests", "x")
}

fn many(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("0f000000-0000-4000-8000-{number:012}")).collect()
}

fn added(people: &[String]) -> muster_connector::Batch {
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    batch("group", &["members"], vec![members(&people, &[])])
}

#[tokio::test]
async fn what_nobody_knows_stays_unknown_whatever_ends_the_batch() {
    for (status, after, body) in [
        (429, 200, limited()),
        (401, 0, refusal("InvalidAuthenticationToken", "expired")),
        (403, 0, refusal("Authorization_RequestDenied", "x")),
    ] {
        let (_, peer, connector) = start().await;
        peer.answer_tokens([token(&["Group.Read.All"])]);
        peer.answer([answers_after(&[(503, 0, refusal("X", "x")), (status, after, body)])]);
        assert_eq!(apply(&connector, &added(&many(0, 25))).await.unwrap(), [Outcome::Unknown], "{status}");
    }
}

#[tokio::test]
async fn what_was_refused_when_a_batch_ends_early_is_not_taken_for_done() {
    let (_, peer, connector) = start().await;
    peer.answer_tokens([token(&["User.Read.All"])]);
    let denied = refusal("Authorization_RequestDenied", "x");
    peer.answer([answers(&[(503, refusal("X", "x")), (403, denied), (404, refusal("Request_ResourceNotFound", "x"))])]);
    let operations = [ZITA, YANN, CREW].map(|id| update(id, vec![text("A")]));
    let outcomes = apply(&connector, &batch("user", &["department"], operations.into())).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Unknown);
    for outcome in &outcomes[1..] {
        assert!(matches!(outcome, Outcome::Retry { scope: RetryScope::Target, .. }), "{outcomes:?}");
    }
}

#[tokio::test]
async fn nobody_is_gone_only_because_there_was_no_time_to_look() {
    let (_, peer, connector) = start().await;
    let gone = refusal("Request_ResourceNotFound", "x");
    peer.answer([answers_after(&[(404, 0, gone), (429, 200, limited()), (204, 0, Json::Null)])]);
    let managed = |id: &str| update(id, vec![Slot::One(reference(CREW))]);
    let operations = vec![managed(ZITA), managed(YANN), managed(CREW)];
    let outcomes = apply(&connector, &batch("user", &["manager"], operations)).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Retry { .. }), "{outcomes:?}");
    assert!(matches!(outcomes[2], Outcome::Applied(_)), "{outcomes:?}");
    assert_eq!(peer.graph_calls().len(), 1);
}

#[tokio::test]
async fn what_was_done_before_a_batch_ends_early_is_told() {
    let (_, peer, connector) = start().await;
    let new = |name: &str| operation(Kind::Create, None, vec![text(name)]);
    peer.answer([answers_after(&[(201, 0, json!({ "id": CREW })), (429, 300, limited())])]);
    let outcomes = apply(&connector, &batch("group", &["displayName"], vec![new("A"), new("B")])).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Applied(effect) if effect.key == Some(Key::text(CREW))), "{outcomes:?}");
    assert!(matches!(&outcomes[1], Outcome::Retry { scope: RetryScope::Target, .. }), "{outcomes:?}");
}

#[tokio::test]
async fn a_new_group_that_is_not_found_is_new_and_not_gone() {
    let (world, peer, connector) = start().await;
    peer.answer([answers(&[(201, json!({ "id": CREW }))])]);
    let new = operation(Kind::Create, None, vec![text("Crew")]);
    apply(&connector, &batch("group", &["displayName"], vec![new])).await.unwrap();
    let gone = || (404, refusal("Request_ResourceNotFound", "x"));
    let unknown = || {
        (
            400,
            refusal(
                "Request_BadRequest",
                "The source resource object or one of the objects being referenced do not exist.",
            ),
        )
    };
    let renamed = || batch("group", &["displayName"], vec![update(CREW, vec![text("B")])]);
    peer.answer([
        answers(&[gone()]),
        answers(&[gone()]),
        answers(&[gone()]),
        answers(&[unknown()]),
        answers(&[gone()]),
    ]);
    for change in [renamed(), added(&many(0, 1)), added(&many(0, 1))] {
        let outcomes = apply(&connector, &change).await.unwrap();
        assert!(matches!(outcomes[0], Outcome::Retry { scope: RetryScope::Object, .. }), "{outcomes:?}");
    }
    world.advance(Duration::from_mins(11));
    peer.answer([answers(&[gone()])]);
    assert_eq!(apply(&connector, &renamed()).await.unwrap(), [Outcome::Missing]);
}

#[tokio::test]
async fn every_pause_is_kept_before_anything_else_is_asked() {
    // Whose name it is is asked for after the pause of a neighbour.
    let (_, peer, connector) = start().await;
    let details = json!([{ "code": "ObjectConflict", "target": "userPrincipalName" }]);
    let taken =
        json!({ "error": { "code": "Request_BadRequest", "message": "It already exists.", "details": details } });
    let new = |name: &str| operation(Kind::Create, None, vec![text(name)]);
    peer.answer([
        answers(&[(400, taken), (429, limited())]),
        answers(&[(200, json!({ "value": [{ "id": ZITA, "userPrincipalName": "a@x" }] }))]),
        answers(&[(201, json!({ "id": YANN }))]),
    ]);
    let outcomes =
        apply(&connector, &batch("user", &["userPrincipalName"], vec![new("a@x"), new("b@x")])).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Exists { key: Key::text(ZITA) });
    let times: Vec<u64> = peer.graph_calls().iter().map(|call| call.at.as_secs()).collect();
    assert_eq!(times, [0, 30, 30]);

    // A failure may ask for one as well, and so may whatever came beside a refusal.
    for (status, body) in [(503, refusal("X", "x")), (403, refusal("Authorization_RequestDenied", "x"))] {
        let (_, peer, connector) = start().await;
        peer.answer_tokens([token(&["User.Read.All"])]);
        peer.answer([answers_after(&[(status, 40, body)]), answers(&[(204, Json::Null)])]);
        let change = || batch("user", &["department"], vec![update(ZITA, vec![text("A")])]);
        drop(apply(&connector, &change()).await);
        apply(&connector, &change()).await.unwrap();
        let times: Vec<u64> = peer.graph_calls().iter().map(|call| call.at.as_secs()).collect();
        assert_eq!(times, [0, 40], "{status}");
    }
}

#[tokio::test]
async fn a_batch_ends_in_its_time_with_what_is_known() {
    let (_, peer, connector) = start().await;
    // Each call asks for 50 s; a batch of 300 s takes no more than half of its time.
    let reply = || answers_after(&[(204, 0, Json::Null), (429, 50, limited())]);
    peer.answer([reply(), Reply::error(429, "TooManyRequests", "x").with("Retry-After", "50"), reply()]);
    let operations = vec![update(ZITA, vec![text("A")]), update(YANN, vec![text("B")])];
    let outcomes = apply(&connector, &batch("user", &["department"], operations)).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Applied(_)), "{outcomes:?}");
    peer.answer([answers(&[(429, limited())])]);
    let later = batch("user", &["department"], vec![update(ZITA, vec![text("C")])]);
    let hurried = muster_connector::Batch { deadline: Duration::from_secs(20), ..later };
    assert!(matches!(apply(&connector, &hurried).await, Err(Error::Throttled { .. })));
}

#[tokio::test]
async fn what_is_forbidden_after_a_success_is_so_because_of_the_object() {
    let (_, peer, connector) = start().await;
    peer.answer_tokens([token(&["GroupMember.ReadWrite.All"])]);
    peer.answer([answers(&[(204, Json::Null)]), answers(&[(403, refusal("Authorization_RequestDenied", "x"))])]);
    assert!(matches!(apply(&connector, &added(&many(0, 1))).await.unwrap()[0], Outcome::Applied(_)));
    let outcomes = apply(&connector, &added(&many(1, 2))).await.unwrap();
    assert!(
        matches!(&outcomes[0], Outcome::Rejected { rule, .. } if rule == "insufficient_privileges"),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn whoever_is_no_member_in_other_words_is_not_removed_either() {
    let (_, peer, connector) = start().await;
    let message =
        "One or more removed object references do not exist for the following modified properties: 'members'.";
    peer.answer([answers(&[(400, refusal("Request_BadRequest", message))])]);
    let removed = batch("group", &["members"], vec![members(&[], &[YANN])]);
    assert!(matches!(apply(&connector, &removed).await.unwrap()[0], Outcome::AlreadySo(_)));
}

#[tokio::test]
async fn a_call_that_graph_does_not_take_is_split_by_the_host() {
    let (_, peer, connector) = start().await;
    peer.answer([Reply::error(413, "RequestEntityTooLarge", "x")]);
    let change = batch("user", &["manager"], vec![update(ZITA, vec![Slot::One(reference(YANN))])]);
    assert!(matches!(apply(&connector, &change).await, Err(Error::Refused { .. })));
}
