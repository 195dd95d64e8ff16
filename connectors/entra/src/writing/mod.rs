//! Entra ID as a target by Microsoft Graph itself: users, groups, managers and members, written through `$batch`.
//!
//! `lookup` finds what an operation is about and `search` whom values belong to, `body` says its values as JSON, `draft`
//! which requests carry it out, and `apply` sends them: `call` each `$batch` once, since nobody knows what a request did
//! whose answer is lost, `verdict` what each answer means, and `doubt` what has to be looked up for that. `memory` is for
//! what not all of Graph's servers know yet.
//!
//! Sources: <https://learn.microsoft.com/graph/api/user-post-users>, <https://learn.microsoft.com/graph/api/user-update>,
//! <https://learn.microsoft.com/graph/api/user-post-manager>, <https://learn.microsoft.com/graph/api/group-post-groups>,
//! <https://learn.microsoft.com/graph/api/group-upsert>, <https://learn.microsoft.com/graph/api/group-post-members>,
//! <https://learn.microsoft.com/graph/json-batching>.

mod apply;
mod body;
mod call;
mod doubt;
mod draft;
pub(crate) mod examine;
mod lookup;
pub(crate) mod memory;
mod preview;
mod search;
mod verdict;

/// As many users as one `$batch` takes requests, so that most batches of operations are one call.
pub(crate) const MAX_USERS: u32 = 20;

/// Groups bring thousands of members, each of whom may take a request.
pub(crate) const MAX_GROUPS: u32 = 4;

/// The rule of a value that another object has.
const UNIQUE: &str = "unique";
