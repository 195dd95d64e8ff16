//! The operators of Entra's scoping filters, and a few more of their kind.

use std::cmp::Ordering;
use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use muster_model::{Slot, Value, ValueType};
use regex::Regex;

use crate::dotnet::pattern::whole;
use crate::print::quoted;

/// What must be so of an attribute. Of several values one suffices, and where something must not be so, none may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// `EQUALS "x"`
    Equals(String),
    /// `NOT EQUALS "x"`
    NotEquals(String),
    /// `INCLUDES "x"`: the text contains it.
    Includes(String),
    /// `STARTS_WITH "x"`
    StartsWith(String),
    /// `ENDS_WITH "x"`
    EndsWith(String),
    /// `& "x"`: the value is found within the given text.
    Within(String),
    /// `!& "x"`: it is not.
    NotWithin(String),
    /// `GREATER_THAN 5`
    GreaterThan(Bound),
    /// `GREATER_THAN_OR_EQUALS 5`
    AtLeast(Bound),
    /// `LESS_THAN 5`
    LessThan(Bound),
    /// `LESS_THAN_OR_EQUALS 5`
    AtMost(Bound),
    /// `REGEX MATCH "x"`: the whole value is a match.
    Matches(Pattern),
    /// `NOT REGEX MATCH "x"`
    NotMatches(Pattern),
    /// `IS NULL`: no value, or an empty text.
    IsNull,
    /// `IS NOT NULL`
    IsNotNull,
    /// `IS TRUE`
    IsTrue,
    /// `IS FALSE`
    IsFalse,
}

/// How an attribute's values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparing {
    /// Texts compare without regard to case.
    pub ignores_case: bool,
    /// What holds where there is no value.
    pub nulls: Nulls,
}

/// What holds where there is no value, or an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// It differs from whatever it is compared with, so the negated operators hold.
    Differ,
    /// Nothing but `IS NULL` holds: as in Entra's scoping filters.
    Never,
}

/// What an order compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A whole number; texts that are whole numbers compare as such.
    Integer(i64),
    /// A day; for points in time its beginning in UTC.
    Day(NaiveDate),
    /// A point in time; days compare by their beginning in UTC.
    Instant(DateTime<Utc>),
}

/// A regular expression that the whole value must match.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    whole: Regex,
    whole_ignoring_case: Regex,
}

impl Pattern {
    /// Reads a pattern; the message says why it is none.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), whole: whole(text, false)?, whole_ignoring_case: whole(text, true)? })
    }

    fn matches(&self, value: &str, ignores_case: bool) -> bool {
        if ignores_case { self.whole_ignoring_case.is_match(value) } else { self.whole.is_match(value) }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

fn beginning(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

impl Bound {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(Self::Day);
        let instant = || DateTime::parse_from_rfc3339(text).ok().map(|at| Self::Instant(at.to_utc()));
        text.parse().ok().map(Self::Integer).or_else(day).or_else(instant)
    }

    /// How a value stands to it; `None` where they do not compare.
    fn order_of(self, value: &Value) -> Option<Ordering> {
        match (self, value) {
            (Self::Integer(bound), Value::Integer(number)) => Some(number.cmp(&bound)),
            (Self::Integer(bound), Value::Text(text)) => {
                text.trim().parse::<i64>().ok().map(|number| number.cmp(&bound))
            }
            (Self::Integer(bound), Value::Decimal(number)) => number.to_integer().map(|number| number.cmp(&bound)),
            (Self::Day(bound), Value::Date(day)) => Some(day.cmp(&bound)),
            (Self::Day(bound), Value::Instant(at)) => Some(at.cmp(&beginning(bound))),
            (Self::Instant(bound), Value::Instant(at)) => Some(at.cmp(&bound)),
            (Self::Instant(bound), Value::Date(day)) => Some(beginning(*day).cmp(&bound)),
            (Self::Day(_) | Self::Instant(_), Value::Text(text)) => match Self::parse(text)? {
                Self::Day(day) => self.order_of(&Value::Date(day)),
                Self::Instant(at) => self.order_of(&Value::Instant(at)),
                Self::Integer(_) => None,
            },
            _ => None,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Day(day) => write!(formatter, "\"{day}\""),
            Self::Instant(at) => write!(formatter, "\"{}\"", at.to_rfc3339()),
        }
    }
}

impl Operator {
    /// What to change, where it holds for no value of a type, or for each.
    #[must_use]
    pub fn cannot_hold(&self, value_type: ValueType) -> Option<&'static str> {
        const EMPTY: &str = "write IS NULL for an attribute without a value";
        const TIMES: &str = "compare points in time by GREATER_THAN_OR_EQUALS and LESS_THAN, such as \"2026-12-31\"";
        let bound = match self {
            Self::Equals(text) | Self::NotEquals(text) | Self::Within(text) | Self::NotWithin(text)
                if text.is_empty() =>
            {
                return Some(EMPTY);
            }
            Self::Equals(_) | Self::NotEquals(_) if value_type == ValueType::Instant => return Some(TIMES),
            Self::GreaterThan(bound) | Self::AtLeast(bound) | Self::LessThan(bound) | Self::AtMost(bound) => bound,
            Self::IsTrue | Self::IsFalse => {
                let is_one = matches!(value_type, ValueType::Boolean | ValueType::Text);
                return (!is_one).then_some("ask for truth where an attribute is true or false");
            }
            _ => return None,
        };
        match (bound, value_type) {
            (_, ValueType::Text)
            | (Bound::Integer(_), ValueType::Integer | ValueType::Decimal)
            | (Bound::Day(_) | Bound::Instant(_), ValueType::Date | ValueType::Instant) => None,
            (_, ValueType::Date | ValueType::Instant) => Some("compare it with a day, such as \"2026-12-31\""),
            (_, ValueType::Integer | ValueType::Decimal) => Some("compare it with a whole number"),
            _ => Some("order only numbers, days and points in time"),
        }
    }

    /// Whether it holds for a value; `None` where the value is unknown.
    #[must_use]
    pub fn holds(&self, slot: &Slot, comparing: Comparing) -> Option<bool> {
        let values: &[Value] = match slot {
            Slot::Unknown => return None,
            Slot::Null => &[],
            Slot::One(value) => std::slice::from_ref(value),
            Slot::Many(values) => values,
        };
        // Truth values are "True" in Entra and "true" elsewhere.
        let ignores_case = comparing.ignores_case || matches!(values, [Value::Boolean(_)]);
        let fold = |text: &str| if ignores_case { text.to_lowercase() } else { text.to_owned() };
        let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|value| test(&fold(&value.to_string())));
        let ordered = |bound: &Bound, test: fn(Ordering) -> bool| {
            values.iter().filter_map(|value| bound.order_of(value)).any(test)
        };
        let matches = |pattern: &Pattern| values.iter().any(|value| pattern.matches(&value.to_string(), ignores_case));
        let truth = |wanted: bool| {
            values.iter().any(|value| match value {
                Value::Boolean(truth) => *truth == wanted,
                other => other.to_string().eq_ignore_ascii_case(if wanted { "true" } else { "false" }),
            })
        };
        let is_null = values.iter().all(|value| matches!(value, Value::Text(text) if text.is_empty()));
        if is_null && comparing.nulls == Nulls::Never {
            return Some(*self == Self::IsNull);
        }
        Some(match self {
            Self::Equals(text) => any(&|value| value == fold(text)),
            Self::NotEquals(text) => !any(&|value| value == fold(text)),
            Self::Includes(text) => any(&|value| value.contains(&fold(text))),
            Self::StartsWith(text) => any(&|value| value.starts_with(&fold(text))),
            Self::EndsWith(text) => any(&|value| value.ends_with(&fold(text))),
            Self::Within(text) => !is_null && any(&|value| fold(text).contains(value)),
            Self::NotWithin(text) => is_null || !any(&|value| fold(text).contains(value)),
            Self::GreaterThan(bound) => ordered(bound, Ordering::is_gt),
            Self::AtLeast(bound) => ordered(bound, Ordering::is_ge),
            Self::LessThan(bound) => ordered(bound, Ordering::is_lt),
            Self::AtMost(bound) => ordered(bound, Ordering::is_le),
            Self::Matches(pattern) => matches(pattern),
            Self::NotMatches(pattern) => !matches(pattern),
            Self::IsNull => is_null,
            Self::IsNotNull => !is_null,
            Self::IsTrue => truth(true),
            Self::IsFalse => truth(false),
        })
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(text) => write!(formatter, "EQUALS {}", quoted(text)),
            Self::NotEquals(text) => write!(formatter, "NOT EQUALS {}", quoted(text)),
            Self::Includes(text) => write!(formatter, "INCLUDES {}", quoted(text)),
            Self::StartsWith(text) => write!(formatter, "STARTS_WITH {}", quoted(text)),
            Self::EndsWith(text) => write!(formatter, "ENDS_WITH {}", quoted(text)),
            Self::Within(text) => write!(formatter, "& {}", quoted(text)),
            Self::NotWithin(text) => write!(formatter, "!& {}", quoted(text)),
            Self::GreaterThan(bound) => write!(formatter, "GREATER_THAN {bound}"),
            Self::AtLeast(bound) => write!(formatter, "GREATER_THAN_OR_EQUALS {bound}"),
            Self::LessThan(bound) => write!(formatter, "LESS_THAN {bound}"),
            Self::AtMost(bound) => write!(formatter, "LESS_THAN_OR_EQUALS {bound}"),
            Self::Matches(pattern) => write!(formatter, "REGEX MATCH {}", quoted(&pattern.text)),
            Self::NotMatches(pattern) => write!(formatter, "NOT REGEX MATCH {}", quoted(&pattern.text)),
            Self::IsNull => formatter.write_str("IS NULL"),
            Self::IsNotNull => formatter.write_str("IS NOT NULL"),
            Self::IsTrue => formatter.write_str("IS TRUE"),
            Self::IsFalse => formatter.write_str("IS FALSE"),
        }
    }
}
