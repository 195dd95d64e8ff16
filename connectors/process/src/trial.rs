//! A connector's process on trial: a conformance kit starts it again and again, kills it and loses its answers.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use muster_connector::{Connector, ConnectorSettings, Description, Error, SecretString};

use crate::config::Command;
use crate::connector::ProcessConnector;
use crate::logged::Heard;

/// A program that is tried: unlike in a sync, nothing that it says is cleaned of secrets, and it is started at once
/// whatever became of it before.
#[derive(Debug)]
pub struct Trial {
    command: Arc<Command>,
    heard: Heard,
    latest: Mutex<Option<Arc<ProcessConnector>>>,
}

impl Trial {
    /// Reads the settings of a connection of kind `process`. Nothing is started yet.
    ///
    /// # Errors
    /// [`Error::Configuration`]: the program is not there, or a setting is wrong.
    pub fn new(given: ConnectorSettings) -> Result<Self, Error> {
        let heard = Heard::default();
        let mut command = Command::new(given)?;
        command.hidden.clear();
        command.heard = Some(heard.clone());
        Ok(Self { command: Arc::new(command), heard, latest: Mutex::default() })
    }

    /// Starts the program.
    ///
    /// # Errors
    /// It cannot be started, or is not ready in time.
    pub async fn start(&self) -> Result<Arc<dyn Connector>, Error> {
        let connector = Arc::new(ProcessConnector::new(self.command.clone()));
        connector.session().await?;
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(connector.clone());
        Ok(connector)
    }

    /// Kills the process started last without warning, and waits for its end.
    pub async fn kill(&self) {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(session) = latest.and_then(|connector| connector.running_session()) {
            session.kill().await;
        }
    }

    /// The next answer to `apply` is thrown away as it arrives, and the process is killed then.
    pub fn lose_next_answer(&self) {
        self.command.lose_next_answer.store(true, Ordering::Relaxed);
    }

    /// The number of the running process.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.running()?.process()
    }

    /// What the program said of itself when it was started last.
    #[must_use]
    pub fn description(&self) -> Option<Description> {
        self.running()?.description()
    }

    /// The secrets that it is given, by the names of its own settings.
    #[must_use]
    pub fn secrets(&self) -> Vec<(String, SecretString)> {
        self.command.secrets.iter().map(|(path, secret)| (path.clone(), secret.clone())).collect()
    }

    /// All that it has written to standard error so far, as it is; at most the first 16 MiB.
    #[must_use]
    pub fn log(&self) -> String {
        self.heard.text()
    }

    fn running(&self) -> Option<Arc<crate::session::Session>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.running_session()
    }
}
