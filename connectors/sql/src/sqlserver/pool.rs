//! A few connections that are used again: those whose last statement succeeded, outside any transaction.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::driver::{Address, Connection};
use crate::database::Text;
use crate::error::{Class, Failure};

/// Connections at the same time: those of two batches, and one to look.
const MOST: usize = 3;

/// How long to wait for one of them.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(300);

/// Rows of queries.
pub(super) type Answers = Vec<Vec<Vec<Text>>>;

pub(super) struct Pool {
    pub(super) address: Address,
    /// What every connection is told first.
    settings: &'static str,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

/// A connection in use. It is closed when it is dropped without being given back, whatever it was doing.
pub(super) struct Lease {
    pub(super) connection: Connection,
    home: Arc<Pool>,
    _place: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn give_back(self) {
        self.home.idle().push((self.connection, Instant::now()));
    }
}

impl Pool {
    pub(super) fn new(address: Address, settings: &'static str) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(MOST));
        Arc::new(Self { address, settings, places, idle: Mutex::new(Vec::new()) })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        idle.pop().map(|(connection, _)| connection)
    }

    /// A connection on which these statements ran, and what they answered. They may run twice, where a connection of
    /// the pool turns out to be dead.
    pub(super) async fn run(self: &Arc<Self>, sql: &str) -> Result<(Lease, Answers), Failure> {
        let waited = tokio::time::timeout(PATIENCE, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = waited else {
            return Err(Failure::new(Class::Unreachable, "all connections are busy"));
        };
        while let Some(mut connection) = self.take() {
            match connection.run(sql).await {
                Ok(answers) => return Ok((Lease { connection, home: self.clone(), _place: place }, answers)),
                Err(failure) if failure.class == Class::Unreachable => {}
                Err(failure) => return Err(failure),
            }
        }
        let mut connection = Connection::open(&self.address).await?;
        connection.run(self.settings).await?;
        let answers = connection.run(sql).await?;
        Ok((Lease { connection, home: self.clone(), _place: place }, answers))
    }
}
