//! Simulated time, and connections to a peer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use muster_connector::{
    ChangePage, Connector, ConnectorSettings, Error, Position, ReadRequest, SecretString, Watermark,
};
use muster_connector_entra::{Environment, connect};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::peer::{Peer, Reply};

pub(crate) const TENANT: &str = "0a1b2c3d-0000-4000-8000-00000000aaaa";
pub(crate) const CLIENT: &str = "0a1b2c3d-0000-4000-8000-00000000bbbb";
/// Planted, and looked for in everything that a person may read.
pub(crate) const SECRET: &str = "s3cr3t~PLANTED";
/// When simulated time begins.
pub(crate) const BEGIN: &str = "2026-11-22T12:00:00Z";

/// A clock that moves when somebody sleeps or a test says so.
#[derive(Debug, Default)]
pub(crate) struct World {
    elapsed: Mutex<Duration>,
    ids: AtomicU64,
    pub(crate) variables: Mutex<BTreeMap<String, String>>,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn time(&self) -> Duration {
        *self.elapsed.lock().unwrap()
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self.elapsed.lock().unwrap() += by;
    }

    pub(crate) fn set(&self, name: &str, value: &str) {
        self.variables.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }
}

#[async_trait]
impl Environment for World {
    fn now(&self) -> DateTime<Utc> {
        BEGIN.parse::<DateTime<Utc>>().unwrap() + self.time()
    }

    fn elapsed(&self) -> Duration {
        self.time()
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
        tokio::task::yield_now().await;
    }

    // Counted, so that pauses have no jitter.
    fn id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::Relaxed)))
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.lock().unwrap().get(name).cloned()
    }
}

pub(crate) fn settings(values: Value, secrets: &[(&str, &str)]) -> ConnectorSettings {
    ConnectorSettings {
        connection: "entra".to_owned(),
        values,
        secrets: secrets.iter().map(|(name, secret)| ((*name).to_owned(), SecretString::from(*secret))).collect(),
        base_folder: ".".into(),
    }
}

/// Settings that use a client secret at the peer; `more` is put on top.
pub(crate) fn values(peer: &Peer, more: Value) -> Value {
    let mut values = json!({
        "tenant": TENANT,
        "client_id": CLIENT,
        "client_secret": { "env": "X" },
        "authority": peer.address,
        "graph_url": format!("{}/v1.0", peer.address),
    });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(values.as_object_mut().unwrap().remove(name)),
            value => values[name] = value.clone(),
        }
    }
    values
}

/// A connection to a fresh peer.
pub(crate) async fn start() -> (Arc<World>, Peer, Arc<dyn Connector>) {
    start_with(json!({})).await
}

/// A connection that gives up soon on a peer that stalls. That is the one thing that happens in real time.
pub(crate) async fn start_for(reply: &Reply) -> (Arc<World>, Peer, Arc<dyn Connector>) {
    match reply {
        Reply::Stall => start_with(json!({"read_timeout":"500ms"})).await,
        _ => start().await,
    }
}

async fn start_with(more: Value) -> (Arc<World>, Peer, Arc<dyn Connector>) {
    let world = World::new();
    let peer = Peer::start(&world).await;
    let settings = settings(values(&peer, more), &[("client_secret", SECRET)]);
    let connector = connect(&settings, Arc::clone(&world) as Arc<dyn Environment>).unwrap();
    (world, peer, connector)
}

pub(crate) fn request(object_type: &str, attributes: &[&str]) -> ReadRequest {
    let attributes: Vec<String> = attributes.iter().map(|name| (*name).to_owned()).collect();
    ReadRequest { object_type: object_type.into(), attributes: attributes.into(), named: Default::default() }
}

/// Asks for a page of users' display names.
pub(crate) async fn page(connector: &Arc<dyn Connector>, position: &Position) -> Result<ChangePage, Error> {
    connector.source().unwrap().changes(&request("user", &["displayName"]), position).await
}

pub(crate) async fn first(connector: &Arc<dyn Connector>) -> Result<ChangePage, Error> {
    page(connector, &Position::Start(None)).await
}

/// A page with one user that ends the round.
pub(crate) fn last_page() -> Reply {
    Reply::json(
        r#"{"value":[{"id":"u1","displayName":"A"}],"@odata.deltaLink":"{peer}/v1.0/users/delta?$deltatoken=D"}"#,
    )
    .with("Date", "Sun, 22 Nov 2026 12:00:00 GMT")
}

pub(crate) fn watermark(peer: &Peer, token: &str) -> Position {
    Position::Start(Some(Watermark(format!("{}/v1.0/users/delta?$deltatoken={token}", peer.address).into_bytes())))
}
