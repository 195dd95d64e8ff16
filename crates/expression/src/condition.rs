//! Conditions on an object's attributes, as Entra's scoping filters have them: comparisons joined by `AND`.
//! Pure: no I/O, no clock, no panic on any input.

use std::fmt;

use muster_model::Slot;

use crate::operator::{Bound, Comparing, Operator, Pattern};
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

const OPERATORS: &str = "expected an operator: EQUALS, NOT EQUALS, INCLUDES, STARTS_WITH, ENDS_WITH, &, !&, GREATER_THAN, \
     GREATER_THAN_OR_EQUALS, LESS_THAN, LESS_THAN_OR_EQUALS, REGEX MATCH, NOT REGEX MATCH, IS NULL, IS NOT NULL, \
     IS TRUE or IS FALSE";

impl Condition {
    /// Reads a condition such as `[department] EQUALS "Sales" AND [mail] IS NOT NULL`.
    ///
    /// # Errors
    /// The text is none.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.chars().count() > MAX_LENGTH {
            let problem = format!("the condition is longer than {MAX_LENGTH} characters");
            return Err(ExpressionError { at: MAX_LENGTH, length: 1, problem });
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
                let here = reader.fail("expected AND, or the end");
                if reader.word("OR") {
                    let problem =
                        "a condition has no OR; write what follows it as a second condition in the list".to_owned();
                    return Err(ExpressionError { length: 2, problem, ..here });
                }
                return Err(here);
            }
        }
    }

    /// Whether it holds for the attributes that `slot` answers with; `comparing` says how their values compare.
    /// `None`: an attribute that matters is unknown.
    pub fn holds<'a>(
        &self,
        mut slot: impl FnMut(&str) -> &'a Slot,
        mut comparing: impl FnMut(&str) -> Comparing,
    ) -> Option<bool> {
        let mut known = true;
        for comparison in &self.comparisons {
            let name = comparison.attribute.as_str();
            match comparison.operator.holds(slot(name), comparing(name)) {
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

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[{}] {}", self.attribute, self.operator)
    }
}

/// The condition's canonical text, which parses to the same condition.
impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, comparison) in self.comparisons.iter().enumerate() {
            let and = if position > 0 { " AND " } else { "" };
            write!(formatter, "{and}{comparison}")?;
        }
        Ok(())
    }
}

type OfText = fn(String) -> Operator;
type OfBound = fn(Bound) -> Operator;

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
        ExpressionError { at, length: 1, problem: problem.to_owned() }
    }

    /// Takes a keyword, in any case.
    fn word(&mut self, word: &str) -> bool {
        self.skip();
        let Some(head) = self.rest.get(..word.len()) else { return false };
        let tail = self.rest.get(word.len()..).unwrap_or("");
        if !head.eq_ignore_ascii_case(word)
            || tail.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
        {
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
        if self.sign("!&") {
            return self.quoted().map(Operator::NotWithin);
        }
        if self.sign("&") {
            return self.quoted().map(Operator::Within);
        }
        let not = self.word("NOT");
        if self.word("EQUALS") {
            return self.quoted().map(if not { Operator::NotEquals } else { Operator::Equals });
        }
        if self.word("REGEX") {
            if !self.word("MATCH") {
                return Err(self.fail("expected MATCH after REGEX"));
            }
            return self.pattern().map(if not { Operator::NotMatches } else { Operator::Matches });
        }
        if not {
            return Err(self.fail("expected EQUALS or REGEX MATCH after NOT"));
        }
        let texts: [(&str, OfText); 3] = [
            ("INCLUDES", Operator::Includes),
            ("STARTS_WITH", Operator::StartsWith),
            ("ENDS_WITH", Operator::EndsWith),
        ];
        for (word, operator) in texts {
            if self.word(word) {
                return self.quoted().map(operator);
            }
        }
        let bounds: [(&str, OfBound); 4] = [
            ("GREATER_THAN", Operator::GreaterThan),
            ("GREATER_THAN_OR_EQUALS", Operator::AtLeast),
            ("LESS_THAN", Operator::LessThan),
            ("LESS_THAN_OR_EQUALS", Operator::AtMost),
        ];
        for (word, operator) in bounds {
            if self.word(word) {
                return self.bound().map(operator);
            }
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
        if let Some((sign, meant)) = self.meant() {
            let problem = format!("there is no operator {sign}; did you mean {meant}?");
            return Err(ExpressionError { length: sign.len(), ..self.fail(&problem) });
        }
        Err(self.fail(OPERATORS))
    }

    /// An operator in the signs of another language that stands here, and ours.
    fn meant(&self) -> Option<(&'static str, &'static str)> {
        // The longer signs stand before those that they begin with.
        const SIGNS: [(&str, &str); 10] = [
            ("=~", "REGEX MATCH"),
            ("==", "EQUALS"),
            ("=", "EQUALS"),
            ("!=", "NOT EQUALS"),
            ("<>", "NOT EQUALS"),
            (">=", "GREATER_THAN_OR_EQUALS"),
            ("<=", "LESS_THAN_OR_EQUALS"),
            (">", "GREATER_THAN"),
            ("<", "LESS_THAN"),
            ("~", "REGEX MATCH"),
        ];
        SIGNS.into_iter().find(|(sign, _)| self.rest.starts_with(sign))
    }

    fn sign(&mut self, sign: &str) -> bool {
        self.skip();
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn pattern(&mut self) -> Result<Pattern, ExpressionError> {
        self.skip();
        let before = self.rest;
        let text = self.quoted()?;
        Pattern::new(&text).map_err(|problem| Self { rest: before, ..*self }.fail(&problem))
    }

    /// A whole number may stand without quotes.
    fn bound(&mut self) -> Result<Bound, ExpressionError> {
        const EXPECTED: &str = "expected a whole number, such as \"10\", a day, such as \"2026-12-31\", or a point in \
             time, such as \"2026-12-31T08:00:00Z\"";
        self.skip();
        let before = self.rest;
        let text = if before.starts_with('"') {
            self.quoted()?
        } else {
            let is_part = |letter: char| letter.is_ascii_digit() || letter == '-';
            let length = before.find(|letter| !is_part(letter)).unwrap_or(before.len());
            let (number, rest) = before.split_at(length);
            self.rest = rest;
            number.to_owned()
        };
        Bound::parse(&text).ok_or_else(|| Self { rest: before, ..*self }.fail(EXPECTED))
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
    use muster_model::Value;

    use super::*;
    use crate::operator::Nulls;

    fn holds(condition: &str, slots: &[(&str, Slot)], nulls: Nulls) -> Option<bool> {
        let condition = Condition::parse(condition).unwrap();
        assert_eq!(Condition::parse(&condition.to_string()).as_ref(), Ok(&condition));
        let find = |name: &str| slots.iter().find(|(known, _)| *known == name).map_or(&Slot::Unknown, |(_, slot)| slot);
        condition.holds(find, |name| Comparing { ignores_case: name == "login", nulls })
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
            ("day", Slot::One(Value::Date(chrono::NaiveDate::from_ymd_opt(2026, 2, 28).unwrap()))),
            ("at", Slot::One(Value::Instant("2026-03-01T10:00:00Z".parse().unwrap()))),
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
            ("[on] EQUALS \"True\" AND [on] EQUALS \"true\" AND [on] INCLUDES \"Tru\"", Some(true)),
            ("[on] NOT EQUALS \"False\" AND [on] REGEX MATCH \"True\"", Some(true)),
            ("[on] EQUALS \"False\"", Some(false)),
            ("[on] NOT EQUALS \"True\"", Some(false)),
            ("[gone] IS FALSE", Some(false)),
            ("[login] INCLUDES \"OO\"", Some(true)),
            ("[no] INCLUDES \"9\"", Some(false)),
            ("[roles] EQUALS \"dba\"", Some(true)),
            ("[roles] NOT EQUALS \"dba\"", Some(false)),
            ("[roles] ENDS_WITH \"ba\" AND [no] STARTS_WITH \"00\"", Some(true)),
            ("[no] ENDS_WITH \"2\"", Some(false)),
            ("[no] & \"0001;0002\"", Some(true)),
            ("[no] !& \"0001;0002\"", Some(false)),
            ("[gone] & \"0001\"", Some(false)),
            ("[level] GREATER_THAN \"6\" AND [level] GREATER_THAN_OR_EQUALS 7", Some(true)),
            ("[level] GREATER_THAN 7", Some(false)),
            ("[no] LESS_THAN 2 AND [no] LESS_THAN_OR_EQUALS \"1\"", Some(true)),
            ("[gone] LESS_THAN 2", Some(false)),
            ("[login] LESS_THAN 2", Some(false)),
            ("[day] GREATER_THAN \"2026-02-27\" AND [day] LESS_THAN \"2026-02-28T00:00:01Z\"", Some(true)),
            ("[day] GREATER_THAN 5", Some(false)),
            ("[at] GREATER_THAN_OR_EQUALS \"2026-03-01T12:00:00+02:00\"", Some(true)),
            ("[at] LESS_THAN_OR_EQUALS \"2026-03-01\"", Some(false)),
            ("[no] REGEX MATCH \"0{3}[0-9]\"", Some(true)),
            // A part is no match: the whole value must be one.
            ("[no] REGEX MATCH \"0{3}\"", Some(false)),
            ("[no] REGEX MATCH \"9|0001\"", Some(true)),
            ("[no] NOT REGEX MATCH \"0{3}\"", Some(true)),
            ("[roles] REGEX MATCH \"adm.n\"", Some(true)),
            ("[login] REGEX MATCH \"ROOT\"", Some(true)),
            ("[unknown] EQUALS \"x\"", None),
            ("[unknown] EQUALS \"x\" AND [no] EQUALS \"1\"", Some(false)),
        ];
        for (condition, expected) in cases {
            assert_eq!(holds(condition, &slots, Nulls::Differ), expected, "{condition}");
        }
        // In a scope nothing holds of what is not there, as in Entra.
        for condition in ["[gone] NOT EQUALS \"2\"", "[gone] !& \"2\"", "[empty] NOT REGEX MATCH \"2\""] {
            assert_eq!(holds(condition, &slots, Nulls::Differ), Some(true), "{condition}");
            assert_eq!(holds(condition, &slots, Nulls::Never), Some(false), "{condition}");
        }
        assert_eq!(holds("[gone] IS NULL AND [no] NOT EQUALS \"2\"", &slots, Nulls::Never), Some(true));
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
            ("[no] NOT \"1\"", "expected EQUALS or REGEX MATCH after NOT at character 10"),
            ("[no] REGEX \"1\"", "expected MATCH after REGEX at character 12"),
            ("[no] IS NULL XOR [no] IS TRUE", "expected AND, or the end at character 14"),
            (
                "[no] IS NULL OR [no] IS TRUE",
                "a condition has no OR; write what follows it as a second condition in the list at character 14",
            ),
            ("[no] = \"1\"", "there is no operator =; did you mean EQUALS? at character 6"),
            ("[no] <> \"1\"", "there is no operator <>; did you mean NOT EQUALS? at character 6"),
            ("[no] >= 1", "there is no operator >=; did you mean GREATER_THAN_OR_EQUALS? at character 6"),
            ("[no] IS NULL AND", "expected an attribute, such as [department] at character 17"),
        ];
        for (text, expected) in cases {
            assert_eq!(Condition::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
        let problem = |text: &str| Condition::parse(text).unwrap_err();
        assert_eq!(problem("[no] GREATER_THAN \"x\"").at, 18);
        assert!(problem("[no] LESS_THAN").problem.contains("whole number"));
        for (pattern, why) in [("(?=a)b", "look-around"), ("(a)\\\\1", "back-references"), ("(", "unclosed group")] {
            let error = problem(&format!("[no] REGEX MATCH \"{pattern}\""));
            assert!(error.at == 17 && error.problem.contains(why), "{error}");
        }
        assert!(Condition::parse("[no] LIKE \"x\"").unwrap_err().problem.contains("EQUALS"));
        assert!(Condition::parse(&"x".repeat(10_001)).is_err());
    }
}
