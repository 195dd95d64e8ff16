//! Mapping expressions in Entra's own notation. Pure: no I/O, no clock, no panic on any input.
//!
//! What is understood today are direct mappings, `[attribute]`, and constants, `"text"`, a number, `True` or `False`.

pub mod condition;
pub mod operator;

use std::fmt;

use muster_model::{Decimal, Value};

pub use condition::{Comparison, Condition};
pub use operator::{Bound, Comparing, Nulls, Operator};

/// The longest expression, in characters (Entra's own limit).
pub const MAX_LENGTH: usize = 10_000;

/// A parsed mapping expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// `[name]`: the value of a source attribute.
    Attribute(String),
    /// A constant.
    Constant(Value),
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at character {}", at + 1)]
pub struct ExpressionError {
    /// The character to blame, from 0.
    pub at: usize,
    /// What is wrong and what was expected.
    pub problem: String,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// The text is none, or uses what is not understood.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let fail = |at: usize, problem: &str| Err(ExpressionError { at, problem: problem.to_owned() });
        if text.chars().count() > MAX_LENGTH {
            return fail(MAX_LENGTH, "the expression is longer than 10000 characters");
        }
        let lead = text.chars().take_while(|letter| letter.is_whitespace()).count();
        let trimmed = text.trim();
        if let Some(rest) = trimmed.strip_prefix('[') {
            return parse_attribute(rest, lead);
        }
        if let Some(rest) = trimmed.strip_prefix('"') {
            return parse_text(rest, lead);
        }
        match trimmed {
            "" => return fail(0, "the expression is empty; expected [attribute] or a constant in double quotes"),
            "True" | "true" => return Ok(Self::Constant(Value::Boolean(true))),
            "False" | "false" => return Ok(Self::Constant(Value::Boolean(false))),
            _ => {}
        }
        if let Some(number) = Decimal::parse(trimmed) {
            let value = number.to_integer().map_or(Value::Decimal(number), Value::Integer);
            return Ok(Self::Constant(value));
        }
        if let Some((name, _)) = trimmed.split_once('(') {
            let name = name.trim();
            if !name.is_empty() && name.chars().all(char::is_alphanumeric) {
                let problem =
                    format!("the function {name} is not available in this version; expected [attribute] or a constant");
                return Err(ExpressionError { at: lead, problem });
            }
        }
        let problem = format!(
            "expected [attribute] or a constant in double quotes; write [{trimmed}] for the attribute or \"{trimmed}\" for the text"
        );
        Err(ExpressionError { at: lead, problem })
    }

    /// The source attribute it reads, if any.
    #[must_use]
    pub fn attribute(&self) -> Option<&str> {
        match self {
            Self::Attribute(name) => Some(name),
            Self::Constant(_) => None,
        }
    }
}

/// The expression's canonical text, which parses to the same expression.
impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name) => write!(formatter, "[{name}]"),
            Self::Constant(Value::Text(text)) => {
                write!(formatter, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
            Self::Constant(Value::Boolean(true)) => formatter.write_str("True"),
            Self::Constant(Value::Boolean(false)) => formatter.write_str("False"),
            Self::Constant(value) => write!(formatter, "{value}"),
        }
    }
}

fn parse_attribute(rest: &str, lead: usize) -> Result<Expression, ExpressionError> {
    let Some((name, after)) = rest.split_once(']') else {
        return Err(ExpressionError { at: lead, problem: "the attribute's closing ] is missing".to_owned() });
    };
    if name.trim().is_empty() {
        return Err(ExpressionError { at: lead + 1, problem: "the attribute's name is missing".to_owned() });
    }
    refuse_rest(after, lead + 2 + name.chars().count())?;
    Ok(Expression::Attribute(name.trim().to_owned()))
}

fn parse_text(rest: &str, lead: usize) -> Result<Expression, ExpressionError> {
    let Some((text, used)) = unquote(rest) else {
        return Err(ExpressionError { at: lead, problem: "the text's closing double quote is missing".to_owned() });
    };
    let (quoted, after) = rest.split_at(used);
    refuse_rest(after, lead + quoted.chars().count() + 1)?;
    Ok(Expression::Constant(Value::Text(text.into())))
}

/// Reads what follows an opening double quote: the text, and how many bytes it takes with its closing quote. `None`
/// when that is missing.
pub(crate) fn unquote(inside: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut letters = inside.char_indices();
    while let Some((position, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some((_, escaped @ ('\\' | '"'))) => text.push(escaped),
                // As in Entra, a lone backslash stands for itself.
                Some((_, other)) => text.extend(['\\', other]),
                None => text.push('\\'),
            },
            '"' => return Some((text, position + 1)),
            other => text.push(other),
        }
    }
    None
}

fn refuse_rest(rest: &str, at: usize) -> Result<(), ExpressionError> {
    if rest.trim().is_empty() {
        return Ok(());
    }
    Err(ExpressionError { at, problem: format!("nothing was expected after the end, but found {:?}", rest.trim()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match Expression::parse(text) {
            Ok(expression) => {
                let printed = expression.to_string();
                assert_eq!(Expression::parse(&printed).as_ref(), Ok(&expression), "{text}");
                printed
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn reads_direct_mappings_and_constants() {
        let cases = [
            ("[mail]", "[mail]"),
            (" [ employeeOrgData.division ] ", "[employeeOrgData.division]"),
            (
                "[urn:ietf:params:scim:schemas:extension:x:1.0:User:Job]",
                "[urn:ietf:params:scim:schemas:extension:x:1.0:User:Job]",
            ),
            (r#""a \"b\" \\ \c""#, r#""a \"b\" \\ \\c""#),
            ("-7", "-7"),
            ("1.50", "1.5"),
            ("True", "True"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let cases = [
            ("", "the expression is empty; expected [attribute] or a constant in double quotes at character 1"),
            (
                "mail",
                "expected [attribute] or a constant in double quotes; write [mail] for the attribute or \"mail\" for the text at character 1",
            ),
            ("[mail", "the attribute's closing ] is missing at character 1"),
            ("[]", "the attribute's name is missing at character 2"),
            ("[a] b", "nothing was expected after the end, but found \"b\" at character 4"),
            ("\"å\" b", "nothing was expected after the end, but found \"b\" at character 4"),
            ("\"a", "the text's closing double quote is missing at character 1"),
            (
                "Join(\" \", [a])",
                "the function Join is not available in this version; expected [attribute] or a constant at character 1",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
        }
        assert!(shown(&"x".repeat(10_001)).contains("longer than 10000"));
    }
}
