//! The request to end: no new work is begun, and what is at the target still lands and is recorded.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::EngineError;

/// A request to end that many tasks can see.
#[derive(Debug, Clone)]
pub struct Stop {
    sender: Arc<watch::Sender<bool>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { sender: Arc::new(watch::Sender::new(false)) }
    }
}

impl Stop {
    /// Asks everybody to end.
    pub fn ask(&self) {
        self.sender.send_replace(true);
    }

    /// Whether it was asked for.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.sender.borrow()
    }

    /// Ends when it is asked for.
    pub async fn asked(&self) {
        // The sender lives as long as `self`, so there is always an answer.
        self.sender.subscribe().wait_for(|asked| *asked).await.ok();
    }

    /// Ends a cycle between two steps.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        if self.is_asked() { Err(EngineError::Stopped) } else { Ok(()) }
    }
}
