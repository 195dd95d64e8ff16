//! Proving who we are: the grants, the cache, and refusals in words.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use muster_connector::{Cursor, Error, Position};
use muster_connector_entra::connect;
use serde_json::{Value, json};

use crate::peer::{Peer, Reply};
use crate::world::{CLIENT, SECRET, TENANT, World, first, last_page, page, settings, start, start_for, values};

fn refused(code: u32, error: &str) -> Reply {
    let description = format!("AADSTS{code}: Something about {SECRET}. Trace ID: t Correlation ID: c");
    let body = json!({"error":error,"error_description":description,"error_codes":[code],"trace_id":"trace-1"});
    Reply::status(401, &body.to_string())
}

#[tokio::test]
async fn a_token_refused_in_mid_round_is_replaced_once() {
    let (_, peer, connector) = start().await;
    let expired = Reply::error(401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.");
    peer.answer([
        Reply::json(r#"{"value":[],"@odata.nextLink":"{peer}/v1.0/users/delta?$skiptoken=P"}"#),
        expired,
        last_page(),
    ]);
    first(&connector).await.unwrap();
    let cursor = Cursor(format!("{}/v1.0/users/delta?$skiptoken=P", peer.address).into_bytes());
    page(&connector, &Position::Page(cursor)).await.unwrap();
    let bearers: Vec<_> =
        peer.graph_calls().iter().map(|call| call.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(bearers, ["Bearer token-1", "Bearer token-1", "Bearer token-2"]);
}

#[tokio::test]
async fn a_fresh_token_refused_is_a_matter_for_a_person() {
    let (_, peer, connector) = start().await;
    peer.answer((0..9).map(|_| Reply::error(401, "InvalidAuthenticationToken", "wrong audience")));
    assert!(matches!(first(&connector).await, Err(Error::Credentials { .. })));
    assert_eq!((peer.graph_calls().len(), peer.token_calls().len()), (2, 2));
}

#[tokio::test]
async fn a_token_is_kept_until_shortly_before_its_end() {
    let (world, peer, connector) = start().await;
    peer.answer((0..4).map(|_| last_page()));
    for (advance, tokens) in [(0, 1), (3_200, 1), (150, 2), (10, 2)] {
        world.advance(Duration::from_secs(advance));
        first(&connector).await.unwrap();
        assert_eq!(peer.token_calls().len(), tokens, "after {:?}", world.time());
    }
}

#[tokio::test]
async fn an_old_token_serves_while_sign_in_is_down() {
    let (world, peer, connector) = start().await;
    peer.answer((0..2).map(|_| last_page()));
    first(&connector).await.unwrap();
    world.advance(Duration::from_secs(3_310));
    peer.answer_tokens((0..5).map(|_| Reply::status(503, "")));
    first(&connector).await.unwrap();
    assert_eq!(peer.graph_calls()[1].header("authorization"), Some("Bearer token-1"));
}

#[tokio::test]
async fn many_callers_make_one_request() {
    let (_, peer, connector) = start().await;
    peer.answer((0..8).map(|_| last_page()));
    let calls = (0..8).map(|_| {
        let connector = Arc::clone(&connector);
        tokio::spawn(async move { first(&connector).await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!((peer.graph_calls().len(), peer.token_calls().len()), (8, 1));
}

#[tokio::test]
async fn refusals_say_what_to_do_and_never_the_secret() {
    let cases = [
        (7_000_215, "invalid_client", "Value (not its Secret ID)"),
        (7_000_222, "invalid_client", "has expired"),
        (700_016, "unauthorized_client", "client_id"),
        (90_002, "invalid_request", "tenant"),
        (90_038, "invalid_request", "another cloud"),
        (53_003, "invalid_grant", "Conditional Access"),
        (123_456, "invalid_client", "Something about"),
    ];
    for (code, error, wanted) in cases {
        let (_, peer, connector) = start().await;
        peer.answer_tokens([refused(code, error)]);
        let error = first(&connector).await.unwrap_err();
        assert!(matches!(error, Error::Credentials { .. } | Error::Configuration { .. }), "{code}: {error:?}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(wanted) && text.contains(&format!("AADSTS{code}")) && text.contains("trace-1"), "{text}");
        assert!(!text.contains(SECRET), "{text}");
        assert_eq!(peer.token_calls().len(), 1);
    }
}

#[tokio::test]
async fn passing_trouble_at_sign_in_is_waited_out() {
    for reply in [
        refused(90_033, "temporarily_unavailable"),
        refused(90_055, "invalid_request"),
        Reply::status(503, "<html>"),
        Reply::json("<html>"),
        Reply::json(r#"{"access_token":""}"#),
        Reply::Stall,
        Reply::status(429, "{}").with("Retry-After", "25"),
    ] {
        let (world, peer, connector) = start_for(&reply).await;
        let what = format!("{reply:?}");
        let pause = if what.contains("Retry-After") { 25 } else { 1 };
        peer.answer_tokens([reply]);
        peer.answer([last_page()]);
        first(&connector).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(world.time(), Duration::from_secs(pause), "{what}");
    }
}

#[tokio::test]
async fn nothing_secret_is_shown() {
    let world = World::new();
    let peer = Peer::start(&world).await;
    let connection = settings(values(&peer, json!({})), &[("client_secret", SECRET)]);
    assert!(!format!("{connection:?}").contains(SECRET));
    let peer_hint = r#"{"access_token":"token-PLANTED","expires_in":"x"}"#;
    peer.answer_tokens((0..9).map(|_| Reply::json(peer_hint)));
    let connector = connect(&connection, world).unwrap();
    let error = first(&connector).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("PLANTED"), "{error:?}");
}

/// A key and certificate: PEM certificate, PKCS#8 and PKCS#1 PEM keys, public key PEM, thumbprint.
struct Pair {
    certificate: String,
    pkcs8: String,
    pkcs1: String,
    public: String,
    der: Vec<u8>,
}

fn pair() -> Pair {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["muster.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    // The PKCS#1 key is the octet string at the end of the PKCS#8 one (RFC 5958), whose frame of an RSA key of
    // 2048 bits takes 26 bytes.
    let inner = &key.serialize_der()[26..];
    let lines: Vec<String> =
        STANDARD.encode(inner).as_bytes().chunks(64).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    Pair {
        certificate: certificate.pem(),
        pkcs8: key.serialize_pem(),
        pkcs1: format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", lines.join("\n")),
        public: key.public_key_pem(),
        der: certificate.der().to_vec(),
    }
}

#[tokio::test]
async fn a_certificate_signs_an_assertion() {
    let pair = pair();
    let folder = tempfile::tempdir().unwrap();
    let both = format!("{}{}", pair.certificate, pair.pkcs8);
    for (file, content) in
        [("c.pem", &pair.certificate), ("8.pem", &pair.pkcs8), ("1.pem", &pair.pkcs1), ("b.pem", &both)]
    {
        std::fs::write(folder.path().join(file), content).unwrap();
    }
    let forms = [
        (json!({"certificate_file":"c.pem","private_key_file":"8.pem"}), None),
        (json!({"certificate_file":"c.pem","private_key_file":"1.pem"}), None),
        (json!({"certificate_file":"b.pem","private_key_file":"b.pem"}), None),
        (json!({"certificate_file":"c.pem","private_key":{"env":"K"}}), Some(pair.pkcs8.as_str())),
    ];
    for (certificate, secret) in forms {
        let world = World::new();
        let peer = Peer::start(&world).await;
        let mut connection = settings(values(&peer, json!({"client_secret":null,"certificate":certificate})), &[]);
        connection.base_folder = folder.path().to_owned();
        if let Some(secret) = secret {
            connection.secrets.insert("certificate.private_key".to_owned(), secret.into());
        }
        let connector = connect(&connection, world).unwrap();
        peer.answer([last_page()]);
        first(&connector).await.unwrap();
        let call = &peer.token_calls()[0];
        assert_eq!(call.target, format!("/{TENANT}/oauth2/v2.0/token"));
        assert_eq!(call.form("grant_type").as_deref(), Some("client_credentials"));
        assert_eq!(call.form("scope").as_deref(), Some("https://graph.microsoft.com/.default"));
        assert_eq!(call.form("client_secret"), None);
        verify(&call.form("client_assertion").unwrap(), &pair, &format!("{}{}", peer.address, call.target));
    }
}

fn verify(assertion: &str, pair: &Pair, audience: &str) {
    let mut validation = Validation::new(Algorithm::PS256);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[CLIENT]);
    validation.validate_nbf = false;
    // The assertion is of the simulated time.
    validation.validate_exp = false;
    let key = DecodingKey::from_rsa_pem(pair.public.as_bytes()).unwrap();
    let token = jsonwebtoken::decode::<Value>(assertion, &key, &validation).unwrap();
    let (nbf, exp) = (token.claims["nbf"].as_i64().unwrap(), token.claims["exp"].as_i64().unwrap());
    assert_eq!(nbf, crate::world::BEGIN.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp());
    assert_eq!(exp - nbf, 600);
    assert_eq!(token.claims["sub"], CLIENT);
    assert!(token.claims["jti"].is_string());
    let thumbprint = muster_tls::certificate::thumbprint_of_pair(pair.certificate.as_bytes(), pair.pkcs8.as_bytes());
    assert!(!pair.der.is_empty());
    assert_eq!(token.header.x5t_s256, Some(URL_SAFE_NO_PAD.encode(thumbprint.unwrap())));
}

#[tokio::test]
async fn unusable_certificates_are_refused_with_their_setting() {
    let (one, two) = (pair(), pair());
    let folder = tempfile::tempdir().unwrap();
    let elliptic = rcgen::KeyPair::generate().unwrap();
    let elliptic_certificate =
        rcgen::CertificateParams::new(vec!["muster.test".to_owned()]).unwrap().self_signed(&elliptic).unwrap().pem();
    let encrypted = one.pkcs8.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (file, content) in [
        ("c.pem", &one.certificate),
        ("other.pem", &two.pkcs8),
        ("enc.pem", &encrypted),
        ("ec.pem", &elliptic.serialize_pem()),
        ("ecc.pem", &elliptic_certificate),
        ("empty.pem", &String::new()),
    ] {
        std::fs::write(folder.path().join(file), content).unwrap();
    }
    let cases = [
        ("c.pem", "other.pem", "private_key_file", "does not belong"),
        ("c.pem", "enc.pem", "private_key_file", "passphrase"),
        ("c.pem", "empty.pem", "private_key_file", "no usable PEM"),
        ("c.pem", "missing.pem", "private_key_file", "cannot read"),
        ("empty.pem", "other.pem", "certificate_file", "no PEM certificate"),
        ("ecc.pem", "ec.pem", "private_key_file", "not an RSA key"),
    ];
    for (certificate, key, blamed, wanted) in cases {
        let values = json!({
            "tenant": TENANT, "client_id": CLIENT,
            "certificate": {"certificate_file": certificate, "private_key_file": key},
        });
        let mut connection = settings(values, &[]);
        connection.base_folder = folder.path().to_owned();
        match connect(&connection, World::new()).map(drop) {
            Err(Error::Configuration { setting: Some(setting), problem, .. }) => {
                assert_eq!(setting, format!("certificate.{blamed}"), "{problem}");
                assert!(problem.contains(wanted), "{problem}");
            }
            other => panic!("{certificate} {key}: {other:?}"),
        }
    }
}
