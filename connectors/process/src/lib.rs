//! The host's side of connectors in processes of their own.
//!
//! `config` is what an administrator says, `start` runs the program and shakes hands, `session` is one running process
//! and what it owes, `connector` restarts it and is a connector like any other, `honest` refuses what no honest
//! connector would answer, `trial` is for the kit that proves a connector.

mod config;
mod connector;
mod honest;
mod logged;
mod session;
mod start;
mod trial;

pub use connector::ProcessKind;
pub use trial::Trial;
