//! A good connector passes the kit at every level, and each of its mutants fails the check meant for it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail")]

mod apply;
mod connector;
mod mutants;
mod read;
mod system;
