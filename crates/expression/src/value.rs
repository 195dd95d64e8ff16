//! Values on their way through an expression: text as in Entra, yet kept as what they are where that says the same.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveTime, Utc};
use muster_model::{Slot, Value};

use crate::dotnet::dates::{general_text, parse_instant};

/// Nothing, one value or several.
#[derive(Debug, Clone)]
pub(crate) enum Datum<'a> {
    Null,
    One(Scalar<'a>),
    Many(Vec<Scalar<'a>>),
}

/// One value.
#[derive(Debug, Clone)]
pub(crate) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Boolean(bool),
    Instant(DateTime<Utc>),
    /// Any other value of the source.
    Borrowed(&'a Value),
    /// Any other value that was made here.
    Made(Box<Value>),
}

/// The text of a value between functions and in text attributes, as in Entra: `True`, `3/16/2020 7:00:00 AM`.
#[must_use]
pub fn as_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Text(text) => Cow::Borrowed(text),
        Value::Boolean(truth) => Cow::Borrowed(truth_text(*truth)),
        Value::Instant(instant) => Cow::Owned(general_text(*instant)),
        Value::Date(date) => Cow::Owned(general_text(date.and_time(NaiveTime::MIN).and_utc())),
        Value::Binary(bytes) => Cow::Owned(STANDARD.encode(bytes)),
        other => Cow::Owned(other.to_string()),
    }
}

/// A slot whose values are texts as [`as_text`] has them.
#[must_use]
pub fn slot_as_text(slot: Slot) -> Slot {
    let text = |value: Value| match value {
        Value::Text(_) => value,
        other => Value::text(&as_text(&other)),
    };
    match slot {
        Slot::One(value) => Slot::One(text(value)),
        Slot::Many(values) => Slot::Many(values.into_iter().map(text).collect()),
        Slot::Unknown | Slot::Null => slot,
    }
}

fn truth_text(truth: bool) -> &'static str {
    if truth { "True" } else { "False" }
}

impl<'a> Scalar<'a> {
    pub(crate) fn of(value: &'a Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(Cow::Borrowed(text)),
            Value::Integer(number) => Self::Integer(*number),
            Value::Boolean(truth) => Self::Boolean(*truth),
            Value::Instant(instant) => Self::Instant(*instant),
            other => Self::Borrowed(other),
        }
    }

    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Boolean(truth) => Cow::Borrowed(truth_text(*truth)),
            Self::Instant(instant) => Cow::Owned(general_text(*instant)),
            Self::Borrowed(value) => as_text(value),
            Self::Made(value) => as_text(value),
        }
    }

    pub(crate) fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text,
            Self::Borrowed(value) => as_text(value),
            other => Cow::Owned(other.text().into_owned()),
        }
    }

    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Text(text) => Value::text(&text),
            Self::Integer(number) => Value::Integer(number),
            Self::Boolean(truth) => Value::Boolean(truth),
            Self::Instant(instant) => Value::Instant(instant),
            Self::Borrowed(value) => value.clone(),
            Self::Made(value) => *value,
        }
    }

    /// The value behind it, where it is none of the plain ones.
    pub(crate) fn other(&self) -> Option<&Value> {
        match self {
            Self::Borrowed(value) => Some(value),
            Self::Made(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Boolean(_) | Self::Instant(_) => None,
            other => other.text().trim().parse().ok(),
        }
    }

    pub(crate) fn instant(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Instant(instant) => Some(*instant),
            Self::Text(text) => parse_instant(text),
            other => match other.other() {
                Some(Value::Date(date)) => Some(date.and_time(NaiveTime::MIN).and_utc()),
                _ => None,
            },
        }
    }

    /// As VB's `CBool`: a truth value, or a number that is not zero.
    pub(crate) fn truth(&self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(*truth),
            Self::Integer(number) => Some(*number != 0),
            Self::Instant(_) => None,
            other => {
                let text = other.text();
                let text = text.trim();
                if text.eq_ignore_ascii_case("true") {
                    Some(true)
                } else if text.eq_ignore_ascii_case("false") {
                    Some(false)
                } else {
                    muster_model::Decimal::parse(text).map(|number| number.as_str() != "0")
                }
            }
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 8,
            _ => 16,
        }
    }
}

impl<'a> Datum<'a> {
    pub(crate) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::One(Scalar::Text(text.into()))
    }

    /// A text, or null.
    pub(crate) fn maybe(text: Option<Cow<'a, str>>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    pub(crate) fn truth(truth: bool) -> Self {
        Self::One(Scalar::Boolean(truth))
    }

    pub(crate) fn many(values: Vec<Scalar<'a>>) -> Self {
        if values.is_empty() { Self::Null } else { Self::Many(values) }
    }

    pub(crate) fn of(slot: &'a Slot) -> Option<Self> {
        match slot {
            Slot::Unknown => None,
            Slot::Null => Some(Self::Null),
            Slot::One(value) => Some(Self::One(Scalar::of(value))),
            Slot::Many(values) => Some(Self::many(values.iter().map(Scalar::of).collect())),
        }
    }

    pub(crate) fn into_slot(self) -> Slot {
        match self {
            Self::Null => Slot::Null,
            Self::One(value) => Slot::One(value.into_value()),
            Self::Many(values) => Slot::many(values.into_iter().map(Scalar::into_value).collect()),
        }
    }

    pub(crate) fn into_values(self) -> Vec<Scalar<'a>> {
        match self {
            Self::Null => Vec::new(),
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Null, or nothing but empty texts.
    pub(crate) fn is_blank(&self) -> bool {
        match self {
            Self::Null => true,
            Self::One(value) => value.is_empty(),
            Self::Many(values) => values.iter().all(Scalar::is_empty),
        }
    }

    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::One(_) => 1,
            Self::Many(values) => values.len(),
        }
    }

    /// How much memory it stands for, in bytes, roughly.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Null => 1,
            Self::One(value) => value.size(),
            Self::Many(values) => values.iter().map(Scalar::size).sum(),
        }
    }

    /// For people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::One(value) => format!("\"{}\"", value.text()),
            Self::Many(values) => {
                let values: Vec<String> = values.iter().map(|value| format!("\"{}\"", value.text())).collect();
                format!("[{}]", values.join(", "))
            }
        }
    }
}
