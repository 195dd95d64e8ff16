//! Mapping expressions in Entra's own notation: parse, check, resolve against a schema, evaluate, explain.
//! Pure: no I/O, no clock, no randomness of its own, no panic on any input.
//!
//! An [`Expression`] is what was written; [`Expression::resolve`] makes a [`Program`] of it that reads a row by
//! position. All functions stand in one table, [`functions::all`], which evaluates them and which their reference is
//! made from. Where Microsoft's documentation is silent or contradicts itself, the function's notes say what was chosen.

pub mod condition;
mod diacritics;
mod dotnet;
mod evaluate;
mod expression;
pub mod functions;
mod generator;
mod lexer;
mod node;
pub mod operator;
mod parser;
mod print;
pub mod reference;
mod resolve;
#[cfg(test)]
mod tests;
mod trace;
mod value;

pub use condition::{Comparison, Condition};
pub use dotnet::dates::{parse_day, parse_instant};
pub use evaluate::{Context, Failure, Flow};
pub use expression::{Expression, ExpressionError};
pub(crate) use lexer::unquote;
pub use node::Span;
pub use operator::{Bound, Comparing, Nulls, Operator};
pub use resolve::Program;
pub use trace::Traced;
pub use value::{as_text, slot_as_text};

/// The longest expression, in characters (Entra's own limit).
pub const MAX_LENGTH: usize = 10_000;

/// How deeply calls may be nested.
pub const MAX_DEPTH: usize = 64;

/// The most values that an expression works with at a time.
pub const MAX_VALUES: usize = 10_000;

/// The longest text that an evaluation makes, and all the texts that it makes on its way there, in bytes.
pub const MAX_OUTPUT: usize = 4 * 1024 * 1024;
