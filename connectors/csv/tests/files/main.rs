//! The connector over files as programs write them.

#![expect(
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    reason = "a test ends where something is not as expected, and its helpers take literals"
)]

mod conformance;
mod reading;
mod world;
