//! A Microsoft Entra ID tenant on loopback: a token endpoint and Microsoft Graph, good enough that official
//! SDKs work against it unmodified, with people who come and go and with everything that can go wrong.
//!
//! It knows nothing of Muster: whoever speaks to it, speaks to Graph. Start reading at [`Sandbox::start`];
//! `http::entry` is where every request arrives, `graph` answers those to Graph, `sign_in` those for tokens,
//! `directory` holds who exists, `provisioning` brings in people who are uploaded, and `faults` is what goes wrong on
//! purpose.

mod admin;
mod certificates;
mod churning;
mod clock;
mod directory;
mod faults;
mod graph;
mod http;
mod options;
mod provisioning;
mod random;
mod refusal;
mod server;
mod sign_in;
mod state;
mod traffic;

pub use directory::Directory;
pub use faults::{ExpiredForm, Fault, FaultKind, FaultPlan, FaultSpecError, Faults, RetryAfter};
pub use options::{ALL_PERMISSIONS, Churn, InboundOptions, Oddities, SandboxOptions, TlsOptions};
pub use refusal::Refusal;
pub use server::{Sandbox, SandboxError};
pub use state::Facts;
