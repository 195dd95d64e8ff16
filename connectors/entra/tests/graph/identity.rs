//! Managed identities, and the identity of the tenant.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_connector::{Connector, Error};
use muster_connector_entra::{Environment, connect};
use serde_json::{Value, json};

use crate::peer::{Peer, Reply, Seen};
use crate::world::{TENANT, World, first, last_page, settings, start, values};

const ID: &str = "77777777-0000-4000-8000-00000000cccc";

fn managed(world: &Arc<World>, peer: &Peer, identity: Value) -> Arc<dyn Connector> {
    let more = json!({"client_secret":null,"client_id":null,"tenant":null,"managed_identity":identity});
    connect(&settings(values(peer, more), &[]), Arc::clone(world) as Arc<dyn Environment>).unwrap()
}

fn token() -> Reply {
    // Numbers are texts here.
    Reply::json(r#"{"access_token":"m","expires_in":"3599","expires_on":"1","resource":"x","token_type":"Bearer"}"#)
}

fn pairs(seen: &Seen) -> Vec<(String, String)> {
    let url = url::Url::parse(&format!("http://x{}", seen.target)).unwrap();
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn a_virtual_machine_asks_its_metadata_service() {
    let world = World::new();
    let peer = Peer::start(&world).await;
    let endpoint = format!("{}/metadata/identity/oauth2/token", peer.address);
    let connector = managed(&world, &peer, json!({"endpoint":endpoint,"client_id":ID}));
    // The service answers 404, 410 and 429 while it is being updated.
    peer.answer_tokens([404, 410, 429].map(|status| Reply::status(status, "{}")));
    peer.answer_tokens([token()]);
    peer.answer([last_page()]);
    first(&connector).await.unwrap();
    let call = peer.token_calls().pop().unwrap();
    assert_eq!((call.method.as_str(), call.header("metadata")), ("GET", Some("true")));
    let wanted =
        [pair("api-version", "2018-02-01"), pair("resource", "https://graph.microsoft.com"), pair("client_id", ID)];
    assert_eq!(pairs(&call), wanted);
    assert_eq!(peer.graph_calls()[0].header("authorization"), Some("Bearer m"));
    assert_eq!(world.time(), Duration::from_secs(7));
}

#[tokio::test]
async fn an_arc_server_proves_itself_by_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    for (place, size) in [
        (folder.path().join("a.key"), 12),
        (folder.path().join("large.key"), 5_000),
        (outside.path().join("b.key"), 12),
    ] {
        std::fs::write(place, "k".repeat(size)).unwrap();
    }
    std::fs::write(folder.path().join("a.txt"), "k").unwrap();
    let challenge = |path: String| Reply::status(401, "").with("WWW-Authenticate", &format!("Basic realm={path}"));
    let inside = |name: &str| folder.path().join(name).display().to_string();
    let escape = format!("{}/../{}/b.key", folder.path().display(), outside.path().file_name().unwrap().display());
    let cases = [
        (challenge(inside("a.key")), true),
        (challenge(inside("large.key")), false),
        (challenge(inside("a.txt")), false),
        (challenge(inside("missing.key")), false),
        (challenge(outside.path().join("b.key").display().to_string()), false),
        (challenge(escape), false),
        (challenge("/etc/passwd".to_owned()), false),
        (Reply::status(401, ""), false),
    ];
    for (reply, accepted) in cases {
        let world = World::new();
        let peer = Peer::start(&world).await;
        world.set("IDENTITY_ENDPOINT", &format!("{}/metadata/identity/oauth2/token", peer.address));
        world.set("IMDS_ENDPOINT", "http://localhost:1");
        let connector = managed(&world, &peer, json!({"arc_key_folder":folder.path()}));
        let what = format!("{reply:?}");
        peer.answer_tokens([reply, token()]);
        peer.answer([last_page()]);
        let result = first(&connector).await;
        assert_eq!(result.is_ok(), accepted, "{what}: {result:?}");
        let calls = peer.token_calls();
        if accepted {
            assert!(calls[0].target.contains("api-version=2019-11-01"));
            assert_eq!(calls[1].header("authorization"), Some("Basic kkkkkkkkkkkk"));
        } else {
            assert!(matches!(result, Err(Error::Credentials { .. })), "{what}");
            assert!(calls.iter().all(|call| call.header("authorization").is_none()), "{what}");
        }
    }
}

#[tokio::test]
async fn an_app_service_sends_its_header() {
    let world = World::new();
    let peer = Peer::start(&world).await;
    world.set("IDENTITY_ENDPOINT", &format!("{}/msi/oauth2", peer.address));
    world.set("IDENTITY_HEADER", "h-PLANTED");
    let connector = managed(&world, &peer, json!({}));
    peer.answer_tokens([token()]);
    peer.answer([last_page()]);
    first(&connector).await.unwrap();
    let call = &peer.token_calls()[0];
    assert_eq!(call.header("x-identity-header"), Some("h-PLANTED"));
    assert!(call.target.contains("api-version=2019-08-01"));
    assert!(!format!("{:?}", peer.graph_calls()).contains("PLANTED"));
}

#[tokio::test]
async fn a_platform_that_refuses_says_where_to_look() {
    let world = World::new();
    let peer = Peer::start(&world).await;
    let endpoint = format!("{}/metadata/identity/oauth2/token", peer.address);
    let connector = managed(&world, &peer, json!({"endpoint":endpoint,"host":"vm"}));
    peer.answer_tokens([Reply::status(400, r#"{"error":"invalid_request","error_description":"Identity not found"}"#)]);
    match first(&connector).await {
        Err(Error::Credentials { fix, .. }) => assert!(fix.contains("Identity page"), "{fix}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_tenant_is_named_by_its_id() {
    let domain = |tenant: Value| json!({"tenant":tenant});
    let jwt = format!("x.{}.y", URL_SAFE_NO_PAD.encode(json!({"tid":ID,"roles":["User.Read.All"]}).to_string()));
    let token = Reply::json(&json!({"access_token":jwt,"expires_in":3599}).to_string());
    let opaque = Reply::json(r#"{"access_token":"opaque","expires_in":3599}"#);
    let organization = Reply::json(&json!({"value":[{"id":ID}]}).to_string());
    let denied = Reply::error(403, "Authorization_RequestDenied", "");
    let cases = [
        (domain(json!(TENANT)), token.clone(), None, TENANT),
        (domain(json!("Contoso.onmicrosoft.com")), opaque.clone(), Some(organization), ID),
        (domain(json!("contoso.onmicrosoft.com")), token, Some(denied.clone()), ID),
        (domain(json!("Contoso.onmicrosoft.com")), opaque, Some(denied), "contoso.onmicrosoft.com"),
    ];
    for (more, token, organization, wanted) in cases {
        let world = World::new();
        let peer = Peer::start(&world).await;
        let connection = settings(values(&peer, more), &[("client_secret", "s")]);
        let connector = connect(&connection, world).unwrap();
        peer.answer_tokens([token.clone(), token]);
        peer.answer(organization.clone());
        assert_eq!(connector.schema().await.unwrap().identity, wanted);
        assert_eq!(connector.schema().await.unwrap().identity, wanted);
        assert_eq!(peer.graph_calls().len(), usize::from(organization.is_some()), "asked once");
    }
}

#[tokio::test]
async fn an_unknown_tenant_is_no_other_tenant() {
    let (_, peer, _) = start().await;
    let world = World::new();
    let connection = settings(values(&peer, json!({"tenant":"contoso.com"})), &[("client_secret", "s")]);
    let connector = connect(&connection, world).unwrap();
    peer.answer((0..9).map(|_| Reply::status(503, "")));
    assert!(matches!(connector.schema().await, Err(Error::Unreachable { .. })));
}
