//! Conditions on an object's attributes, as Entra's scoping filters have them: comparisons joined by `AND`.
//! Pure: no I/O, no clock, no panic on any input.

use std::fmt;

use muster_model::{Slot, Value};

use crate::{ExpressionError, MAX_LENGTH};

/// Comparisons that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The comparisons, in the order written; at least one.
    pub comparisons: Vec<Comparison>,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The attribute.
    pub attribute: String,
    /// What must be so.
    pub operator: Operator,
}

/// What must be so of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// `EQUALS "x"`
    Equals(String),
    /// `NOT EQUALS "x"`: also where there is no value.
    NotEquals(String),
    /// `INCLUDES "x"`: the text contains it.
    Includes(String),
    /// `IS NULL`: no value, or an empty text.
    IsNull,
    /// `IS NOT NULL`
    IsNotNull,
    /// `IS TRUE`
    IsTrue,
    /// `IS FALSE`
    IsFalse,
}

const OPERATORS: &str =
    "expected EQUALS \"…\", NOT EQUALS \"…\", INCLUDES \"…\", IS NULL, IS NOT NULL, IS TRUE or IS FALSE";

impl Condition {
    /// Reads a condition such as `[department] EQUALS "Sales" AND [mail] IS NOT NULL`.
    ///
    /// # Errors
    /// The text is none.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.chars().count() > MAX_LENGTH {
            let problem = format!("the condition is longer than {MAX_LENGTH} characters");
            return Err(ExpressionError { at: MAX_LENGTH, problem });
        }
        let mut reader = Reader { text, rest: text };
        let mut comparisons = Vec::new();
        loop {
            comparisons.push(reader.comparison()?);
            reader.skip();
            if reader.rest.is_empty() {
                return Ok(Self { comparisons });
            }
            if !reader.word("AND") {
                return Err(reader.fail("expected AND, or the end"));
            }
        }
    }

    /// Whether it holds for the attributes that `slot` answers with; `ignores_case` says whose texts compare without
    /// regard to case. `None`: an attribute that matters is unknown.
    pub fn holds<'a>(
        &self,
        mut slot: impl FnMut(&str) -> &'a Slot,
        mut ignores_case: impl FnMut(&str) -> bool,
    ) -> Option<bool> {
        let mut known = true;
        for comparison in &self.comparisons {
            let name = comparison.attribute.as_str();
            match comparison.operator.holds(slot(name), ignores_case(name)) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => known = false,
            }
        }
        known.then_some(true)
    }

    /// The attributes it is about.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.comparisons.iter().map(|comparison| comparison.attribute.as_str())
    }
}

impl Operator {
    /// Whether it holds for a value; `None` where the value is unknown.
    #[must_use]
    pub fn holds(&self, slot: &Slot, ignores_case: bool) -> Option<bool> {
        let values: &[Value] = match slot {
            Slot::Unknown => return None,
            Slot::Null => &[],
            Slot::One(value) => std::slice::from_ref(value),
            Slot::Many(values) => values,
        };
        let fold = |text: &str| if ignores_case { text.to_lowercase() } else { text.to_owned() };
        let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|value| test(&fold(&value.to_string())));
        let truth = |wanted: bool| {
            values.iter().any(|value| match value {
                Value::Boolean(truth) => *truth == wanted,
                other => other.to_string().eq_ignore_ascii_case(if wanted { "true" } else { "false" }),
            })
        };
        let is_null = values.iter().all(|value| value.to_string().is_empty());
        Some(match self {
            Self::Equals(text) => any(&|value| value == fold(text)),
            Self::NotEquals(text) => !any(&|value| value == fold(text)),
            Self::Includes(text) => any(&|value| value.contains(&fold(text))),
            Self::IsNull => is_null,
            Self::IsNotNull => !is_null,
            Self::IsTrue => truth(true),
            Self::IsFalse => truth(false),
        })
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The condition's canonical text, which parses to the same condition.
impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, Comparison { attribute, operator }) in self.comparisons.iter().enumerate() {
            if position > 0 {
                formatter.write_str(" AND ")?;
            }
            match operator {
                Operator::Equals(text) => write!(formatter, "[{attribute}] EQUALS {}", quoted(text))?,
                Operator::NotEquals(text) => write!(formatter, "[{attribute}] NOT EQUALS {}", quoted(text))?,
                Operator::Includes(text) => write!(formatter, "[{attribute}] INCLUDES {}", quoted(text))?,
                Operator::IsNull => write!(formatter, "[{attribute}] IS NULL")?,
                Operator::IsNotNull => write!(formatter, "[{attribute}] IS NOT NULL")?,
                Operator::IsTrue => write!(formatter, "[{attribute}] IS TRUE")?,
                Operator::IsFalse => write!(formatter, "[{attribute}] IS FALSE")?,
            }
        }
        Ok(())
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn fail(&self, problem: &str) -> ExpressionError {
        let used = self.text.len() - self.rest.len();
        let at = self.text.get(..used).unwrap_or("").chars().count();
        ExpressionError { at, problem: problem.to_owned() }
    }

    /// Takes a keyword, in any case.
    fn word(&mut self, word: &str) -> bool {
        self.skip();
        let Some(head) = self.rest.get(..word.len()) else { return false };
        let tail = self.rest.get(word.len()..).unwrap_or("");
        if !head.eq_ignore_ascii_case(word) || tail.starts_with(|letter: char| letter.is_alphanumeric()) {
            return false;
        }
        self.rest = tail;
        true
    }

    fn comparison(&mut self) -> Result<Comparison, ExpressionError> {
        self.skip();
        let Some(inside) = self.rest.strip_prefix('[') else {
            return Err(self.fail("expected an attribute, such as [department]"));
        };
        let Some((name, rest)) = inside.split_once(']') else {
            return Err(self.fail("the attribute's closing ] is missing"));
        };
        if name.trim().is_empty() {
            return Err(self.fail("the attribute's name is missing"));
        }
        let attribute = name.trim().to_owned();
        self.rest = rest;
        let operator = self.operator()?;
        Ok(Comparison { attribute, operator })
    }

    fn operator(&mut self) -> Result<Operator, ExpressionError> {
        if self.word("EQUALS") {
            return self.quoted().map(Operator::Equals);
        }
        if self.word("INCLUDES") {
            return self.quoted().map(Operator::Includes);
        }
        if self.word("NOT") {
            return match self.word("EQUALS") {
                true => self.quoted().map(Operator::NotEquals),
                false => Err(self.fail("expected EQUALS after NOT")),
            };
        }
        if self.word("IS") {
            let words = [("NULL", Operator::IsNull), ("TRUE", Operator::IsTrue), ("FALSE", Operator::IsFalse)];
            for (word, operator) in words {
                if self.word(word) {
                    return Ok(operator);
                }
            }
            if self.word("NOT") && self.word("NULL") {
                return Ok(Operator::IsNotNull);
            }
        }
        Err(self.fail(OPERATORS))
    }

    fn quoted(&mut self) -> Result<String, ExpressionError> {
        self.skip();
        let Some(inside) = self.rest.strip_prefix('"') else {
            return Err(self.fail("expected a text in double quotes"));
        };
        if let Some((text, used)) = crate::unquote(inside) {
            self.rest = inside.get(used..).unwrap_or("");
            return Ok(text);
        }
        Err(self.fail("the text's closing double quote is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(condition: &str, slots: &[(&str, Slot)]) -> Option<bool> {
        let condition = Condition::parse(condition).unwrap();
        assert_eq!(Condition::parse(&condition.to_string()).as_ref(), Ok(&condition));
        let find = |name: &str| slots.iter().find(|(known, _)| *known == name).map_or(&Slot::Unknown, |(_, slot)| slot);
        condition.holds(find, |name| name == "login")
    }

    #[test]
    fn compares_as_entra_does() {
        let slots = [
            ("no", Slot::text("0001")),
            ("level", Slot::One(Value::Integer(7))),
            ("login", Slot::text("Root")),
            ("empty", Slot::text("")),
            ("gone", Slot::Null),
            ("on", Slot::One(Value::Boolean(true))),
            ("roles", Slot::many(vec![Value::text("admin"), Value::text("dba")])),
        ];
        let cases = [
            ("[no] EQUALS \"0001\"", Some(true)),
            ("[no] EQUALS \"1\"", Some(false)),
            ("[level] equals \"7\"", Some(true)),
            ("[login] EQUALS \"root\"", Some(true)),
            ("[no] NOT EQUALS \"2\"", Some(true)),
            ("[gone] NOT EQUALS \"2\"", Some(true)),
            ("[gone] EQUALS \"\"", Some(false)),
            ("[gone] IS NULL AND [empty] IS NULL", Some(true)),
            ("[no] IS NOT NULL AND [gone] IS NOT NULL", Some(false)),
            ("[on] IS TRUE", Some(true)),
            ("[on] IS FALSE", Some(false)),
            ("[gone] IS FALSE", Some(false)),
            ("[login] INCLUDES \"OO\"", Some(true)),
            ("[no] INCLUDES \"9\"", Some(false)),
            ("[roles] EQUALS \"dba\"", Some(true)),
            ("[unknown] EQUALS \"x\"", None),
            ("[unknown] EQUALS \"x\" AND [no] EQUALS \"1\"", Some(false)),
        ];
        for (condition, expected) in cases {
            assert_eq!(holds(condition, &slots), expected, "{condition}");
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let cases = [
            ("", "expected an attribute, such as [department] at character 1"),
            ("no EQUALS \"1\"", "expected an attribute, such as [department] at character 1"),
            ("[no", "the attribute's closing ] is missing at character 1"),
            ("[ ] IS NULL", "the attribute's name is missing at character 1"),
            ("[å] EQUALS 1", "expected a text in double quotes at character 12"),
            ("[no] EQUALS \"1", "the text's closing double quote is missing at character 13"),
            ("[no] NOT \"1\"", "expected EQUALS after NOT at character 10"),
            ("[no] IS NULL OR [no] IS TRUE", "expected AND, or the end at character 14"),
            ("[no] IS NULL AND", "expected an attribute, such as [department] at character 17"),
        ];
        for (text, expected) in cases {
            assert_eq!(Condition::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
        assert!(Condition::parse("[no] LIKE \"x\"").unwrap_err().problem.contains("EQUALS"));
        assert!(Condition::parse(&"x".repeat(10_001)).is_err());
    }
}
