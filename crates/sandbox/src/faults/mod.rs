//! What goes wrong on purpose: `spec` says what can be asked for, `run` when it happens, `effect` how.

pub(crate) mod effect;
mod run;
mod spec;

pub(crate) use run::FaultRun;
pub use run::Faults;
pub use spec::{ExpiredForm, Fault, FaultKind, FaultPlan, FaultSpecError, RetryAfter};
