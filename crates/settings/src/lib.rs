//! The configuration: read in layers, checked as a whole, every problem with its file and line.
//!
//! The layers are read with `toml_edit` and merged here, not with figment, which keeps a value's file but not its line.
//!
//! This crate knows no connector, no engine and no store. What a connection's section may hold comes as a JSON Schema
//! from the caller; what a sync's rules mean for two systems is found out by the engine. It opens only the files of
//! the configuration, and those of secrets when asked to; it never prints a value that could be a secret.
//!
//! Start reading at [`load`]; then `layers` (files and variables become one tree), `check` (the tree against the
//! schema), `syncs` (the tree becomes rules) and `secrets`. `form` is the file's form, and its comments are the
//! user's reference.

mod check;
mod document;
mod environment;
mod form;
mod layers;
mod lifecycle;
mod load;
mod matching;
mod passwords;
mod place;
mod schedule;
mod schema;
mod secrets;
mod settings;
mod span;
mod syncs;
mod tree;
mod view;
mod words;

#[cfg(test)]
mod tests;

pub use environment::{Environment, RESERVED_VARIABLES};
pub use form::{
    GuardSettings, LimitSettings, LogFormat, LogLevel, LogSettings, Mode, Removal, RemovalSettings, When, WhenNull,
};
pub use lifecycle::{EndDay, LifecycleSettings};
pub use load::load;
pub use passwords::{PasswordHash, PasswordReceiver, PasswordSettings};
pub use place::{Place, Problem, Problems};
pub use schedule::Schedule;
pub use schema::{ConnectorSchema, schema};
pub use secrets::{SecretReference, SecretSource};
pub use settings::{
    ConnectionSettings, Endpoint, MappingSettings, MatchPartSettings, MatchSettings, ServiceSettings, Settings,
    SyncSettings,
};
pub use span::TimeSpan;
