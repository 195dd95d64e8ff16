//! What a cycle did, counted over the links it evaluated.

use serde::{Deserialize, Serialize};

/// What a cycle did. Each evaluated link counts once, by the most that happened to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The sync.
    pub sync: String,
    /// New target objects.
    pub created: u64,
    /// Target objects that were there before and are now linked.
    pub adopted: u64,
    /// Changed target objects.
    pub updated: u64,
    /// Target objects enabled again.
    pub enabled: u64,
    /// Target objects disabled.
    pub disabled: u64,
    /// Target objects deleted.
    pub deleted: u64,
    /// Single values added to attributes of several values, such as members of groups.
    #[serde(default)]
    pub values_added: u64,
    /// Single values removed from them.
    #[serde(default)]
    pub values_removed: u64,
    /// Evaluated, and nothing to do.
    pub unchanged: u64,
    /// Refused, and waiting for a change or a person.
    pub parked: u64,
    /// Held by the guard.
    pub held: u64,
    /// To be tried again later.
    pub waiting: u64,
    /// Sent, and their fate is not known yet.
    pub unknown: u64,
    /// Taken by the target, which will say later what became of them.
    #[serde(default)]
    pub accepted: u64,
    /// Target objects that were gone although nobody here deleted them. They are counted under what became of them
    /// as well.
    #[serde(default)]
    pub gone: u64,
    /// Source objects read.
    pub read: u64,
    /// How long the cycle took.
    pub seconds: f64,
    /// The sync only observes: this is what it would do, and nothing was written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Report {
    /// Links that the cycle evaluated.
    #[must_use]
    pub fn visited(&self) -> u64 {
        self.created
            + self.adopted
            + self.updated
            + self.enabled
            + self.disabled
            + self.deleted
            + self.unchanged
            + self.parked
            + self.held
            + self.waiting
            + self.unknown
            + self.accepted
    }

    /// Whether the target was changed.
    #[must_use]
    pub fn changed_target(&self) -> bool {
        self.created + self.updated + self.enabled + self.disabled + self.deleted > 0
    }
}
