//! The contract as lines of JSON, for connectors in a process of their own.
//!
//! `docs/connectors/wire.md` is the specification. Here are the messages ([`ToConnector`], [`FromConnector`]), their
//! form in bytes ([`encode`], [`Lines`]), and nothing that reads or writes.

mod lines;
mod messages;
mod tokens;

pub use lines::{LINE_LIMIT, Line, Lines, SMALLEST_LINE_LIMIT, encode};
pub use messages::{
    Accepted, Answer, Call, Configure, Configured, FromConnector, HostHello, Progress, Reply, Request, Stop,
    ToConnector, VERSION,
};
pub use tokens::Token;
pub(crate) use tokens::{milliseconds, optional_token, token};

/// The JSON Schema (2020-12) of all messages, both ways.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let to = generator.subschema_for::<ToConnector>();
    let from = generator.subschema_for::<FromConnector>();
    let definitions = generator.take_definitions(true);
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Messages between Muster and a connector in a process of its own",
        "description": "Each message is one line. See wire.md beside this file.",
        "anyOf": [to, from],
        "$defs": definitions,
    })
}
