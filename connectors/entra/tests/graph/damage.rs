//! Answers that are no pages: asked again, never taken for an empty page.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use muster_connector::Error;

use crate::peer::Reply;
use crate::world::{first, last_page, start, start_for};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn packed(body: Vec<u8>) -> Reply {
    Reply::Answer { status: 200, headers: vec![("Content-Encoding".into(), "gzip".into())], body }
}

fn damaged() -> Vec<(&'static str, Reply)> {
    let page = br#"{"value":[],"@odata.deltaLink":"{peer}/v1.0/users/delta?$deltatoken=D"}"#;
    let mut broken = gzip(page);
    let middle = broken.len() / 2;
    broken[middle] ^= 0xff;
    let mut short = gzip(page);
    short.truncate(short.len() - 10);
    vec![
        ("HTML", Reply::json("<html><body>Please sign in</body></html>")),
        ("nothing", Reply::json("")),
        ("an error with 200", Reply::json(r#"{"error":{"code":"x"}}"#)),
        ("half a page", Reply::json(r#"{"value":[{"id":"u1","displ"#)),
        ("a cut body", Reply::Cut(page.to_vec())),
        ("a stalled body", Reply::Stall),
        ("broken gzip", packed(broken)),
        ("short gzip", packed(short)),
        ("no gzip at all", packed(page.to_vec())),
        ("another packing", Reply::json("x").with("Content-Encoding", "br")),
        ("no link", Reply::json(r#"{"value":[{"id":"u1"}]}"#)),
        ("204", Reply::status(204, "")),
    ]
}

#[tokio::test]
async fn a_damaged_page_is_asked_for_again() {
    for (what, reply) in damaged() {
        let (_, peer, connector) = start_for(&reply).await;
        peer.answer([reply.clone(), reply, last_page()]);
        let page = first(&connector).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(page.entries.len(), 1, "{what}");
        assert_eq!(peer.graph_calls().len(), 3, "{what}");
    }
}

#[tokio::test]
async fn damage_that_stays_is_no_empty_page() {
    for (what, reply) in damaged() {
        let (_, peer, connector) = start_for(&reply).await;
        peer.answer((0..20).map(|_| reply.clone()));
        let result = first(&connector).await;
        assert!(matches!(result, Err(Error::Unreachable { .. })), "{what}: {result:?}");
        assert_eq!(peer.graph_calls().len(), 5, "{what}");
    }
}

#[tokio::test]
async fn gzip_is_read() {
    let (_, peer, connector) = start().await;
    let body =
        format!(r#"{{"value":[{{"id":"u1"}}],"@odata.deltaLink":"{}/v1.0/users/delta?$deltatoken=D"}}"#, peer.address);
    peer.answer([packed(gzip(body.as_bytes()))]);
    assert_eq!(first(&connector).await.unwrap().entries.len(), 1);
    assert_eq!(peer.graph_calls()[0].header("accept-encoding"), Some("gzip"));
}

#[tokio::test]
async fn a_gzip_bomb_is_not_unpacked() {
    let (_, peer, connector) = start().await;
    let bomb = gzip(&vec![b' '; 80 << 20]);
    assert!(bomb.len() < 1 << 20);
    peer.answer([packed(bomb)]);
    match first(&connector).await {
        Err(Error::Bug(problem)) => assert!(problem.contains("67108864"), "{problem}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_huge_error_page_is_an_error_like_any_other() {
    let (_, peer, connector) = start().await;
    peer.answer([Reply::status(502, &"x".repeat(3 << 20)), last_page()]);
    first(&connector).await.unwrap();
}
