//! The canonical text of an expression.

use std::fmt::{self, Write};

use muster_model::Value;

use crate::node::{Kind, Node};

pub(crate) fn node(node: &Node, out: &mut impl Write) -> fmt::Result {
    match &node.kind {
        Kind::Empty => Ok(()),
        Kind::Attribute(name) => write!(out, "[{name}]"),
        Kind::Constant(value) => constant(value, out),
        Kind::Word(word) => out.write_str(word),
        Kind::Call(function, arguments) => {
            write!(out, "{}(", function.name)?;
            for (position, argument) in arguments.iter().enumerate() {
                if position > 0 {
                    out.write_str(", ")?;
                }
                self::node(argument, out)?;
            }
            out.write_str(")")
        }
        Kind::Compare(comparator, sides) => {
            self::node(&sides.0, out)?;
            write!(out, " {} ", comparator.sign())?;
            self::node(&sides.1, out)
        }
    }
}

fn constant(value: &Value, out: &mut impl Write) -> fmt::Result {
    match value {
        Value::Text(text) => out.write_str(&quoted(text)),
        Value::Boolean(true) => out.write_str("True"),
        Value::Boolean(false) => out.write_str("False"),
        other => write!(out, "{other}"),
    }
}

/// The text of a part.
pub(crate) fn to_text(part: &Node) -> String {
    let mut text = String::new();
    // Writing into a text does not fail.
    node(part, &mut text).ok();
    text
}

/// A text in double quotes, which reads as the same text.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
