//! Time, chance and the process environment, handed in so that tests decide them.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What the connector needs of the world besides the network.
#[async_trait]
pub trait Environment: fmt::Debug + Send + Sync {
    /// The time of day, for assertions and for dates in headers.
    fn now(&self) -> DateTime<Utc>;

    /// Time that only moves forward, from any origin, for pauses and lifetimes.
    fn elapsed(&self) -> Duration;

    /// Returns when [`Self::elapsed`] has grown by `duration`.
    async fn sleep(&self, duration: Duration);

    /// A fresh random id.
    fn id(&self) -> Uuid;

    /// An environment variable. Platforms announce managed identities there.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The machine's own clock, randomness and environment.
#[derive(Debug)]
pub struct SystemEnvironment {
    start: tokio::time::Instant,
}

impl Default for SystemEnvironment {
    fn default() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

#[async_trait]
impl Environment for SystemEnvironment {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from(std::time::SystemTime::now())
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn id(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}
