//! The connector against a scripted peer, on simulated time.
//!
//! `peer` is the other side, `world` the clock and the settings; every other module is one subject.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests may fail, and take literals"
)]

mod applications;
mod check;
mod conformance;
mod damage;
mod identity;
mod inbound;
mod links;
mod objects;
mod peer;
mod positions;
mod sandbox;
mod settings;
mod throttling;
mod tls;
mod tokens;
mod world;
mod writing;
