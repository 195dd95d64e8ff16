//! The token stays with the configured host.

use muster_connector::{Cursor, Error, Expired, Position, Watermark};
use serde_json::json;

use crate::peer::{Peer, Reply};
use crate::world::{SECRET, first, last_page, page, request, start};

/// Nothing that arrived carried the token or the secret.
fn innocent(peer: &Peer) {
    assert!(peer.seen().is_empty(), "the other host was called: {:?}", peer.seen());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let (world, peer, connector) = start().await;
        let other = Peer::start(&world).await;
        peer.answer([Reply::status(status, "").with("Location", &format!("{}/v1.0/users/delta", other.address))]);
        match first(&connector).await {
            Err(Error::Unreachable { problem, .. }) => assert!(problem.contains(&other.address), "{problem}"),
            other => panic!("{other:?}"),
        }
        innocent(&other);
    }
}

#[tokio::test]
async fn a_redirect_at_sign_in_is_not_followed() {
    let (world, peer, connector) = start().await;
    let other = Peer::start(&world).await;
    let reply = Reply::status(307, "").with("Location", &format!("{}/oauth2", other.address));
    peer.answer_tokens((0..10).map(|_| reply.clone()));
    assert!(matches!(first(&connector).await, Err(Error::Unreachable { .. })));
    innocent(&other);
}

#[tokio::test]
async fn links_to_another_host_are_refused() {
    for name in ["nextLink", "deltaLink"] {
        let (world, peer, connector) = start().await;
        let other = Peer::start(&world).await;
        let link = format!("{}/v1.0/users/delta?$skiptoken=x", other.address);
        peer.answer([Reply::json(&format!(r#"{{"value":[],"@odata.{name}":"{link}"}}"#))]);
        match first(&connector).await {
            Err(Error::Bug(problem)) => assert!(problem.contains("access token"), "{problem}"),
            other => panic!("{other:?}"),
        }
        innocent(&other);
    }
}

/// The connection's address was changed: a person decides over the watermark, and a page is never the last resort.
#[tokio::test]
async fn positions_from_the_state_are_refused_alike() {
    let (world, peer, connector) = start().await;
    let other = Peer::start(&world).await;
    let link = format!("{}/v1.0/users/delta?$deltatoken=x", other.address).into_bytes();
    match page(&connector, &Position::Start(Some(Watermark(link.clone())))).await {
        Err(Error::Configuration { setting, problem, fix }) => {
            assert_eq!(setting.as_deref(), Some("graph_url"));
            assert!(problem.contains(&other.address) && problem.contains(&peer.address), "{problem}");
            assert!(fix.contains("muster sync SYNC --full") && !problem.contains("deltatoken"), "{fix}");
        }
        other => panic!("{other:?}"),
    }
    let paged = page(&connector, &Position::Page(Cursor(link))).await;
    assert!(matches!(paged, Err(Error::Expired { expired: Expired::Cursor })), "{paged:?}");
    innocent(&other);
    innocent(&peer);
}

#[tokio::test]
async fn links_come_back_and_go_out_verbatim() {
    let (_, peer, connector) = start().await;
    let link = "{peer}/v1.0/users/delta?$skiptoken=a%2Bb_-~.%3D&x='y'";
    peer.answer([Reply::json(&format!(r#"{{"value":[],"@odata.nextLink":"{link}"}}"#)), last_page()]);
    let muster_connector::Next::Page(cursor) = first(&connector).await.unwrap().next else { panic!("no cursor") };
    assert_eq!(cursor.0, link.replace("{peer}", &peer.address).into_bytes());
    page(&connector, &Position::Page(cursor)).await.unwrap();
    // The one change that RFC 3986 parsers make is to quotes; the tokens themselves stay as they are.
    assert_eq!(peer.graph_calls()[1].target.replace("%27", "'"), link.replace("{peer}", ""));
}

#[tokio::test]
async fn references_of_one_object_stay_with_the_host() {
    let (world, peer, connector) = start().await;
    let other = Peer::start(&world).await;
    let batch = json!({"responses":[{"id":"0","status":200,"body":{"id":"g1"}}]}).to_string();
    let members = json!({"value":[],"@odata.nextLink":format!("{}/v1.0/groups/g1/members", other.address)}).to_string();
    peer.answer([Reply::json(&batch), Reply::json(&members)]);
    let keys = [muster_model::Key::text("g1")];
    let found = connector.source().unwrap().get(&request("group", &["members"]), &keys).await;
    assert!(matches!(found, Err(Error::Bug(_))), "{found:?}");
    innocent(&other);
}

#[tokio::test]
async fn the_secret_goes_to_the_authority_only() {
    let (_, peer, connector) = start().await;
    peer.answer([last_page()]);
    first(&connector).await.unwrap();
    assert_eq!(peer.token_calls()[0].form("client_secret").as_deref(), Some(SECRET));
    let call = &peer.graph_calls()[0];
    assert_eq!(call.header("authorization"), Some("Bearer token-1"));
    assert!(!format!("{call:?}").contains(SECRET));
}
