//! The cycle of a sync: import, evaluate, match, guard, apply, record, sweep; one stage a file.
//!
//! The engine is level-triggered: whatever may change a target only marks links dirty, and evaluation computes the
//! next operation from the full current state. Start reading at [`cycle::Engine::cycle`].
//! It branches on capabilities, never on a connector's kind.

pub mod clock;
mod closing;
pub mod commit;
mod committed;
pub mod compile;
pub mod convert;
pub mod cycle;
pub mod error;
pub mod evaluate;
pub mod explain;
pub mod merge;
pub mod plan;
pub mod report;
pub mod rules;
pub mod stop;

mod accepted;
mod alone;
mod apply;
mod computed;
pub mod dates;
mod explain_match;
mod fleet;
mod gone;
mod groups;
mod guard;
mod identity;
mod import;
mod lifecycle;
mod matching;
mod nulls;
mod pass;
pub mod passwords;
mod prepare;
mod protect;
mod quarantine;
mod recognition;
mod reconcile;
mod record;
mod references;
mod renamed;
mod resolve;
pub mod scope;
mod send;
mod sought;
mod soundness;
mod survey;
mod sweep;
mod takeover;
mod ties;
mod unique;
mod values;
mod verbs;

#[cfg(test)]
mod tests;

pub use accepted::Unconfirmed;
pub use clock::{Clock, LifecycleClock, SystemClock};
pub use commit::{CommitPoint, Observer, Unobserved};
pub use compile::{Compiled, RuleFinding, compile};
pub use cycle::{CycleOptions, Engine};
pub use error::{EngineError, ErrorClass};
pub use explain::{ExplainedMapping, Explanation};
pub use explain_match::ExplainedMatch;
pub use guard::{HOLD_EXPIRES, short_digest};
pub use lifecycle::ExplainedDate;
pub use plan::{Plan, PlanOptions, PlannedChange, PlannedKind};
pub use recognition::MatchValues;
pub use references::unwritten_references;
pub use report::Report;
pub use rules::{
    EndDay, GuardKind, GuardRules, LifecycleRules, Limit, MappingRule, MatchPart, MatchRule, Mode, PasswordHash,
    PasswordReceiver, PasswordRules, Removal, RemovalRules, SyncRules, When,
};
pub use stop::Stop;
pub use takeover::Takeover;
pub use verbs::Linking;
