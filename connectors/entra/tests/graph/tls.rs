//! A private certificate authority, and a proxy in between.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::{get, post};
use axum_server::tls_rustls::RustlsConfig;
use muster_connector::{Connector, Error};
use muster_connector_entra::connect;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{CLIENT, TENANT, World, first, settings};

/// A name that only the proxy can reach.
const NAME: &str = "graph.muster.invalid";

/// Serves a token and a page over TLS; returns its port and its own certificate.
async fn serve() -> (u16, String) {
    muster_tls::install_provider();
    let own = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    let certificate = own.cert.pem();
    let config = RustlsConfig::from_pem(certificate.clone().into(), own.signing_key.serialize_pem().into());
    let config = config.await.unwrap();
    let page =
        format!(r#"{{"value":[{{"id":"u1"}}],"@odata.deltaLink":"https://{NAME}/v1.0/users/delta?$deltatoken=D"}}"#);
    let token = r#"{"access_token":"t","expires_in":3599}"#;
    let app = Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(move || async move { token }))
        .route("/v1.0/users/delta", get(move || async move { page }));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = axum_server::from_tcp_rustls(listener, config).unwrap();
    tokio::spawn(server.serve(app.into_make_service()));
    (port, certificate)
}

/// A proxy that tunnels everything to `port` and notes what it was told.
async fn proxy(port: u16) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).await.unwrap() > 0 {}
                noted.lock().unwrap().push(head);
                stream.write_all(b"HTTP/1.1 200 Established\r\n\r\n").await.unwrap();
                let mut target = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                drop(copy_bidirectional(&mut stream, &mut target).await);
            });
        }
    });
    (address, heads)
}

fn connector(more: &Value) -> Arc<dyn Connector> {
    let mut values = json!({
        "tenant": TENANT, "client_id": CLIENT, "client_secret": {"env":"X"},
        "authority": format!("https://{NAME}"), "graph_url": format!("https://{NAME}/v1.0"),
    });
    for (name, value) in more.as_object().unwrap() {
        values[name] = value.clone();
    }
    connect(&settings(values, &[("client_secret", "s"), ("proxy_password", "pw")]), World::new()).unwrap()
}

#[tokio::test]
async fn a_private_authority_behind_a_proxy() {
    let (port, certificate) = serve().await;
    let (proxy, heads) = proxy(port).await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, certificate).unwrap();
    let signed_in = json!({"proxy":proxy,"proxy_user":"me","proxy_password":{"env":"P"},"ca_file":ca_file});
    assert_eq!(first(&connector(&signed_in)).await.unwrap().entries.len(), 1);
    let heads = heads.lock().unwrap().join("\n");
    assert!(heads.starts_with(&format!("CONNECT {NAME}:443 ")), "{heads}");
    assert!(heads.contains("Basic bWU6cHc="), "{heads}");
    assert!(!heads.contains("Bearer"), "{heads}");
}

#[tokio::test]
async fn an_unknown_authority_is_refused_with_the_setting_that_helps() {
    let (port, _) = serve().await;
    let (proxy, _) = proxy(port).await;
    match first(&connector(&json!({"proxy":proxy}))).await {
        Err(Error::Unreachable { problem, .. }) => assert!(problem.contains("ca_file"), "{problem}"),
        other => panic!("{other:?}"),
    }
}
