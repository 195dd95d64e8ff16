//! Every answer to an upload, and what the host is told.

use std::time::Duration;

use muster_connector::{Error, OperationId, Outcome};
use serde_json::json;

use super::{connected, people};
use crate::peer::{Peer, Reply};
use crate::world::{SECRET, World};

/// Uploads people to a peer that answers so; the connector, the peer and what came of it.
async fn upload(ids: &[&str], replies: Vec<Reply>) -> (Peer, Result<Vec<(OperationId, Outcome)>, Error>) {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    let connector = connected(&world, &peer, folder.path(), json!({}));
    peer.answer(replies);
    let outcome = connector.target().unwrap().apply(&people(ids)).await;
    (peer, outcome)
}

#[tokio::test]
async fn what_is_taken_is_accepted_with_the_time_of_entra() {
    let reply = Reply::status(202, "").with("Date", "Sun, 22 Nov 2026 15:30:00 GMT");
    let (peer, outcomes) = upload(&["E1", "E2"], vec![reply]).await;
    let outcomes = outcomes.unwrap();
    assert_eq!((outcomes.len(), peer.graph_calls().len()), (2, 1));
    for ((_, outcome), id) in outcomes.iter().zip(["E1", "E2"]) {
        let Outcome::Accepted { ticket, look_again_after } = outcome else { panic!("{outcome:?}") };
        assert_eq!(*look_again_after, Duration::from_secs(300));
        let ticket: serde_json::Value = serde_json::from_str(ticket).unwrap();
        // This machine's clock says noon.
        assert_eq!(ticket, json!({"externalId": id, "at": "2026-11-22T15:30:00Z", "job": super::JOB}));
    }
}

#[tokio::test]
async fn a_malformed_upload_is_split_until_the_record_stands_alone() {
    let bad = || vec![Reply::error(400, "BadRequest", "Invalid Data Format")];
    let (_, refused) = upload(&["E1", "E2"], bad()).await;
    let Err(Error::Refused { problem }) = refused else { panic!("{refused:?}") };
    assert!(problem.contains("Invalid Data Format") && problem.contains("application/scim+json"), "{problem}");
    let (_, outcomes) = upload(&["E1"], bad()).await;
    assert!(matches!(&outcomes.unwrap()[0].1, Outcome::Rejected { rule, .. } if rule == "invalid_data"));
}

#[tokio::test]
async fn a_token_is_renewed_once() {
    let expired = || Reply::error(401, "InvalidAuthenticationToken", "Access token has expired");
    let (peer, outcomes) = upload(&["E1"], vec![expired(), Reply::status(202, "")]).await;
    assert!(matches!(outcomes.unwrap()[0].1, Outcome::Accepted { .. }));
    assert_eq!((peer.graph_calls().len(), peer.token_calls().len()), (2, 2));
    let (peer, refused) = upload(&["E1"], vec![expired(), expired()]).await;
    assert!(matches!(refused, Err(Error::Credentials { .. })), "{refused:?}");
    assert_eq!(peer.graph_calls().len(), 2);
}

#[tokio::test]
async fn refusals_of_the_app_name_what_to_change() {
    let (_, denied) = upload(&["E1"], vec![Reply::error(403, "Authorization_RequestDenied", "Insufficient")]).await;
    let Err(Error::Credentials { problem, fix }) = denied else { panic!("{denied:?}") };
    assert!(problem.contains("SynchronizationData-User.Upload"), "{problem}");
    assert!(fix.contains("API permissions") && fix.contains("Grant admin consent"), "{fix}");

    let (_, missing) = upload(&["E1"], vec![Reply::error(404, "ResourceNotFound", "no")]).await;
    let Err(Error::Configuration { setting, problem, fix }) = missing else { panic!("{missing:?}") };
    assert_eq!(setting.as_deref(), Some("inbound.job"));
    assert!(problem.contains(super::JOB) && fix.contains("Provisioning API Endpoint"), "{problem}; {fix}");

    let (_, redirected) = upload(&["E1"], vec![Reply::status(302, "").with("Location", "https://x.example/")]).await;
    assert!(matches!(redirected, Err(Error::Unreachable { nothing_sent: true, .. })), "{redirected:?}");
}

#[tokio::test]
async fn a_pause_is_kept_and_nothing_sent_before_it_ends() {
    let full = "The bucket that stores the ingested data is full, please wait";
    for (reply, seconds) in [
        (Reply::error(429, "TooManyRequests", "slow down").with("Retry-After", "40000"), 40_000),
        (Reply::error(429, "TooManyRequests", "slow down"), 60),
        (Reply::error(500, "InternalServerError", full), 600),
    ] {
        let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
        let peer = Peer::start(&world).await;
        peer.answer([reply, Reply::status(202, "")]);
        let connector = connected(&world, &peer, folder.path(), json!({}));
        let limited = connector.target().unwrap().apply(&people(&["E1"])).await;
        let Err(Error::Throttled { after, .. }) = limited else { panic!("{limited:?}") };
        assert_eq!(after, Duration::from_secs(seconds));
        world.advance(after - Duration::from_secs(1));
        // Another process knows it too.
        let connector = connected(&world, &peer, folder.path(), json!({}));
        let again = connector.target().unwrap().apply(&people(&["E1"])).await;
        assert!(matches!(again, Err(Error::Throttled { after, .. }) if after == Duration::from_secs(1)), "{again:?}");
        assert_eq!(peer.graph_calls().len(), 1);
        world.advance(Duration::from_secs(1));
        assert!(connector.target().unwrap().apply(&people(&["E1"])).await.is_ok());
    }
}

#[tokio::test]
async fn without_a_clear_answer_nobody_knows() {
    for reply in [
        Reply::error(500, "InternalServerError", "oops"),
        Reply::error(503, "serviceNotAvailable", "later").with("Retry-After", "30"),
        Reply::error(504, "GatewayTimeout", "late"),
        Reply::status(200, "<html>sign in</html>"),
        Reply::Cut(b"0123456789".to_vec()),
        Reply::Stall,
    ] {
        let (peer, outcome) = upload(&["E1"], vec![reply.clone()]).await;
        let Err(Error::Unreachable { nothing_sent, .. }) = outcome else { panic!("{reply:?}: {outcome:?}") };
        assert!(!nothing_sent, "{reply:?}");
        assert_eq!(peer.graph_calls().len(), 1, "never sent twice: {reply:?}");
    }
}

#[tokio::test]
async fn what_never_left_is_known_not_to_have() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    let connector = connected(&world, &peer, folder.path(), json!({"job": "x"}));
    // Signed in, and then nobody listens.
    let nowhere = json!({
        "tenant": crate::world::TENANT, "client_id": crate::world::CLIENT, "client_secret": {"env": "X"},
        "authority": peer.address, "graph_url": "http://127.0.0.1:9/v1.0",
        "inbound": super::section(folder.path(), json!({})),
    });
    let settings = crate::world::settings(nowhere, &[("client_secret", SECRET)]);
    let unreachable = muster_connector_entra::connect(&settings, world.clone()).unwrap();
    let outcome = unreachable.target().unwrap().apply(&people(&["E1"])).await;
    assert!(matches!(outcome, Err(Error::Unreachable { nothing_sent: true, .. })), "{outcome:?}");

    peer.answer_tokens([Reply::status(401, r#"{"error":"invalid_client","error_codes":[7000215]}"#)]);
    let outcome = connector.target().unwrap().apply(&people(&["E1"])).await;
    assert!(matches!(outcome, Err(Error::Credentials { .. })), "{outcome:?}");
    assert_eq!(peer.graph_calls().len(), 0);
}

#[tokio::test]
async fn a_connection_without_the_section_writes_nothing() {
    let (_, peer, without) = crate::world::start().await;
    assert!(matches!(without.target().unwrap().apply(&people(&["E1"])).await, Err(Error::Unsupported(_))));
    assert!(peer.graph_calls().is_empty());
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    let connector = connected(&world, &peer, folder.path(), json!({}));
    let mut batch = people(&["E1"]);
    batch.object_type = "application".into();
    assert!(matches!(connector.target().unwrap().apply(&batch).await, Err(Error::Unsupported(_))));
    let request = crate::world::request("inbound_user", &["userName"]);
    assert!(matches!(connector.target().unwrap().get(&request, &[]).await, Err(Error::Unsupported(_))));
}
