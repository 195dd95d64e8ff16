//! Files of comma-separated values (RFC 4180, and what programs make of it) as a source.
//!
//! `config` is what an administrator says, `pick` finds the file and sees that nobody is still writing it, `text` turns
//! its bytes into characters, `snapshot` into rows, `schema` says what they hold, `source` hands them over.

mod check;
mod config;
mod connector;
mod pick;
mod schema;
mod snapshot;
mod source;
mod text;

pub use connector::CsvKind;
