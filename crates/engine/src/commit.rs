//! The moments between which a cycle may be killed without harm.

use std::fmt;

/// A moment after which something is durable, here or at the target. Between any two of them the process
/// may end in any way; the next cycle comes to the same end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitPoint {
    /// A page's objects, references, links and cursor are committed.
    PageMerged,
    /// The last page of a round is committed, with its watermark.
    RoundFinished,
    /// A slice of what a complete generation did not see is removed.
    Swept,
    /// A slice of links for a new sync is made.
    CandidatesFilled,
    /// Evaluations that need no operation are recorded.
    Settled,
    /// A batch is noted.
    BatchOpened,
    /// The note is on disk, and the batch may leave when it is its turn.
    BatchFlushed,
    /// The target has answered; nothing of it is recorded yet.
    BatchAnswered,
    /// A batch's outcomes are recorded.
    BatchClosed,
    /// What became of an unknown batch is recorded.
    UnknownResolved,
    /// What waits for approval is recorded.
    HoldsRecorded,
    /// The run's report is recorded.
    RunFinished,
}

impl CommitPoint {
    /// All of them, in the order of a cycle.
    pub const ALL: [Self; 12] = [
        Self::PageMerged,
        Self::RoundFinished,
        Self::Swept,
        Self::CandidatesFilled,
        Self::Settled,
        Self::BatchOpened,
        Self::BatchFlushed,
        Self::BatchAnswered,
        Self::BatchClosed,
        Self::UnknownResolved,
        Self::HoldsRecorded,
        Self::RunFinished,
    ];

    /// The point's name in `snake_case`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PageMerged => "page_merged",
            Self::RoundFinished => "round_finished",
            Self::Swept => "swept",
            Self::CandidatesFilled => "candidates_filled",
            Self::Settled => "settled",
            Self::BatchOpened => "batch_opened",
            Self::BatchFlushed => "batch_flushed",
            Self::BatchAnswered => "batch_answered",
            Self::BatchClosed => "batch_closed",
            Self::UnknownResolved => "unknown_resolved",
            Self::HoldsRecorded => "holds_recorded",
            Self::RunFinished => "run_finished",
        }
    }
}

impl fmt::Display for CommitPoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Follows a cycle: for a progress bar, and for tests that end the process at a chosen point.
pub trait Observer: Send + Sync {
    /// A commit point was passed.
    fn passed(&self, _point: CommitPoint) {}

    /// Source objects were read.
    fn read(&self, _objects: u64) {}

    /// Links were evaluated.
    fn evaluated(&self, _links: u64) {}

    /// Operations were answered.
    fn applied(&self, _operations: u64) {}

    /// A cycle ended, well or not, and this is what it did.
    fn ended(&self, _report: &crate::report::Report) {}
}

/// Follows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
