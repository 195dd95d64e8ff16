//! The connector over files as programs write them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as expected")]

mod conformance;
mod reading;
mod world;
