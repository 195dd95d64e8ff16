//! Microsoft Entra ID as a source: users and groups over Microsoft Graph delta query, and who is assigned to enterprise
//! applications; and as a target: people by API-driven inbound provisioning, or users and groups by Microsoft Graph.
//!
//! This crate speaks to two hosts only, the configured authority and the configured Graph host, and sends the
//! bearer token to no other. It knows nothing of syncs, links or stores.
//!
//! Start reading at [`EntraKind`], then `source` (a page from its request to its entries), `session` (what is
//! asked again, when, and what is never sent where) and `decode`. The target side is `target`, which leads to `inbound`
//! and `writing`.

mod aadsts;
mod applications;
mod batch;
mod certificate;
mod check;
mod config;
mod connector;
mod decode;
mod edges;
mod endpoints;
mod environment;
mod error;
mod http;
mod inbound;
mod layout;
mod managed_identity;
mod members;
mod named;
mod permissions;
mod properties;
mod retry;
mod scalar;
mod schema;
mod session;
mod source;
mod target;
mod token;
mod writing;

pub use config::{
    CertificateSettings, Cloud, EntraSettings, ExtensionType, ManagedIdentityHost, ManagedIdentitySettings,
};
pub use connector::{EntraKind, connect};
#[doc(hidden)]
pub use decode::examine_page;
pub use environment::{Environment, SystemEnvironment};
pub use inbound::settings::{InboundSettings, Licence};
