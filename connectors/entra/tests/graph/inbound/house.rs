//! A sandbox and a connection to it that share their time.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use muster_connector::{Batch, Connector, OperationId, Outcome, Resolution};
use muster_connector_entra::{Environment, connect};
use muster_sandbox::{Oddities, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::world::settings;

/// Time that passes when the connector sleeps or a test says so, here and in the sandbox.
pub(super) struct House {
    pub(super) sandbox: Sandbox,
    pub(super) folder: TempDir,
    start: Instant,
    ahead: Mutex<Duration>,
    /// How wrong this machine's clock is.
    wrong: Mutex<TimeDelta>,
    ids: AtomicU64,
}

impl std::fmt::Debug for House {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("House")
    }
}

#[async_trait]
impl Environment for House {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + *self.ahead.lock().unwrap() + *self.wrong.lock().unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed() + *self.ahead.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        self.pass(duration);
        tokio::task::yield_now().await;
    }

    fn id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::Relaxed)))
    }

    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// A small tenant without people.
pub(super) fn options() -> SandboxOptions {
    SandboxOptions { users: 0, groups: 0, oddities: Oddities::none(), ..SandboxOptions::default() }
}

pub(super) async fn open(options: SandboxOptions) -> Arc<House> {
    Arc::new(House {
        sandbox: Sandbox::start(options).await.unwrap(),
        folder: tempfile::tempdir().unwrap(),
        start: Instant::now(),
        ahead: Mutex::default(),
        wrong: Mutex::default(),
        ids: AtomicU64::default(),
    })
}

impl House {
    /// Whole seconds, so that both clocks move alike.
    pub(super) fn pass(&self, duration: Duration) {
        let seconds = Duration::from_secs(duration.as_millis().div_ceil(1_000).try_into().unwrap());
        *self.ahead.lock().unwrap() += seconds;
        self.sandbox.advance_clock(seconds);
    }

    pub(super) fn set_wrong(&self, by: TimeDelta) {
        *self.wrong.lock().unwrap() = by;
    }

    pub(super) fn connect(self: &Arc<Self>) -> Arc<dyn Connector> {
        self.connect_with(json!({}))
    }

    /// A connection as a fresh process makes it; `more` goes on top of its section `inbound`.
    pub(super) fn connect_with(self: &Arc<Self>, more: Value) -> Arc<dyn Connector> {
        let facts = self.sandbox.facts();
        let mut inbound = section(&facts.service_principal, &facts.job, self.folder.path());
        inbound.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let values = json!({
            "tenant": facts.tenant, "client_id": facts.client_id, "client_secret": {"env": "S"},
            "authority": facts.authority, "graph_url": facts.graph_url, "inbound": inbound, "read_timeout": "20s",
        });
        let settings = settings(values, &[("client_secret", &facts.client_secret)]);
        connect(&settings, Arc::clone(self) as Arc<dyn Environment>).unwrap()
    }

    /// What a careful client never does, as the sandbox counted it.
    pub(super) fn violations(&self) -> Value {
        self.sandbox.directory().inbound()["violations"].clone()
    }

    pub(super) fn faults(&self, specs: &[&str]) {
        let faults: Vec<_> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
        self.sandbox.faults().set(faults.into());
    }
}

fn section(principal: &str, job: &str, folder: &Path) -> Value {
    let file = folder.join("calls.json").display().to_string();
    json!({"service_principal": principal, "job": job, "calls_file": file, "look_again": "1s"})
}

pub(super) fn no_violations() -> Value {
    json!({"rate": 0, "quota": 0, "oversized": 0, "log": 0, "retryAfter": 0})
}

/// Uploads, and returns the tickets.
pub(super) async fn upload(connector: &Arc<dyn Connector>, batch: &Batch) -> Vec<(OperationId, String)> {
    let outcomes = connector.target().unwrap().apply(batch).await.unwrap();
    let ticket = |(id, outcome)| match outcome {
        Outcome::Accepted { ticket, .. } => (id, ticket),
        other => panic!("{other:?}"),
    };
    outcomes.into_iter().map(ticket).collect()
}

pub(super) async fn confirm(connector: &Arc<dyn Connector>, tickets: &[(OperationId, String)]) -> Vec<Resolution> {
    let answers = connector.target().unwrap().confirm("inbound_user", tickets).await.unwrap();
    assert_eq!(
        answers.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        tickets.iter().map(|(id, _)| *id).collect::<Vec<_>>()
    );
    answers.into_iter().map(|(_, resolution)| resolution).collect()
}
