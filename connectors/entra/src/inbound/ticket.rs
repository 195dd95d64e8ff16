//! What an accepted upload leaves behind for the day on which it is asked about.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One person's upload, as the host keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    /// Who it was about.
    #[serde(rename = "externalId")]
    pub(super) external_id: String,
    /// When Entra took it, by Entra's clock.
    pub(super) at: DateTime<Utc>,
    /// By which job.
    pub(super) job: String,
    /// Shortly before, the answer to an upload was lost. It may have been about the same person, so that the first entry
    /// of the log need not be this upload's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) doubt: bool,
}

impl Ticket {
    pub(super) fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `None` for what this connector did not write.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_survive_the_state() {
        for doubt in [false, true] {
            let at = DateTime::parse_from_rfc3339("2026-11-22T12:00:00Z").unwrap().to_utc();
            let ticket = Ticket { external_id: "Å \"1\"".to_owned(), at, job: "API2AAD.x".to_owned(), doubt };
            assert_eq!(Ticket::read(&ticket.write()), Some(ticket));
        }
        assert_eq!(Ticket::read("o1"), None);
    }
}
