//! One attribute value, and the types it can have.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::key::Key;

/// The type of an attribute's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// Unicode text.
    Text,
    /// A whole number of at most 64 bits.
    Integer,
    /// An exact decimal number of any size; binary floating point is carried as its shortest decimal form.
    Decimal,
    /// True or false.
    Boolean,
    /// A calendar day without time or zone.
    Date,
    /// A point in time, kept in UTC with microseconds.
    Instant,
    /// A UUID (RFC 9562).
    Uuid,
    /// Bytes.
    Binary,
    /// Another object, by its key.
    Reference,
    /// Named values within a value, such as a SCIM complex attribute.
    Structure,
}

impl ValueType {
    /// The name used in configuration and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Instant => "instant",
            Self::Uuid => "uuid",
            Self::Binary => "binary",
            Self::Reference => "reference",
            Self::Structure => "structure",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// An exact decimal number in canonical form: optional minus, digits without leading zeros,
/// optional fraction without trailing zeros; never an exponent, never `-0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal(Box<str>);

impl Decimal {
    /// The longest text accepted, in bytes: databases hold at most 131,072 digits before the point,
    /// and nothing Muster carries needs more than a fraction of that.
    pub const MAX_LENGTH: usize = 2_000;

    /// Reads plain or exponent notation, as databases and JSON write numbers.
    ///
    /// Returns `None` when the text is no number or its plain form would exceed [`Self::MAX_LENGTH`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits_only(whole) || !digits_only(fraction) {
            return None;
        }
        if whole.len() + fraction.len() + exponent.unsigned_abs() as usize > Self::MAX_LENGTH {
            return None;
        }
        let mut digits = format!("{whole}{fraction}");
        let mut point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
        while point < 0 {
            digits.insert(0, '0');
            point += 1;
        }
        let point = usize::try_from(point).ok()?;
        while digits.len() < point {
            digits.push('0');
        }
        let (whole, fraction) = digits.split_at_checked(point)?;
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            trimmed => trimmed,
        };
        let fraction = fraction.trim_end_matches('0');
        let mut canonical = String::with_capacity(whole.len() + fraction.len() + 2);
        if negative && !(whole == "0" && fraction.is_empty()) {
            canonical.push('-');
        }
        canonical.push_str(whole);
        if !fraction.is_empty() {
            canonical.push('.');
            canonical.push_str(fraction);
        }
        Some(Self(canonical.into_boxed_str()))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number as an integer, when it is whole and fits.
    #[must_use]
    pub fn to_integer(&self) -> Option<i64> {
        self.0.parse().ok()
    }
}

impl TryFrom<String> for Decimal {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not a decimal number"))
    }
}

impl From<Decimal> for String {
    fn from(decimal: Decimal) -> Self {
        decimal.0.into()
    }
}

/// A reference to another object of the same connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Reference {
    /// The referenced object's type, where the system tells it.
    pub object_type: Option<Box<str>>,
    /// The referenced object's anchor.
    pub key: Key,
}

/// One value. A missing value is a matter of [`crate::row::Slot`], not of this type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// See [`ValueType::Text`].
    Text(Arc<str>),
    /// See [`ValueType::Integer`].
    Integer(i64),
    /// See [`ValueType::Decimal`].
    Decimal(Decimal),
    /// See [`ValueType::Boolean`].
    Boolean(bool),
    /// See [`ValueType::Date`].
    Date(NaiveDate),
    /// See [`ValueType::Instant`].
    Instant(DateTime<Utc>),
    /// See [`ValueType::Uuid`].
    Uuid(Uuid),
    /// See [`ValueType::Binary`].
    Binary(Box<[u8]>),
    /// See [`ValueType::Reference`].
    Reference(Box<Reference>),
    /// See [`ValueType::Structure`].
    Structure(BTreeMap<Box<str>, Value>),
}

impl Value {
    /// A text value.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// The type of this value.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Text(_) => ValueType::Text,
            Self::Integer(_) => ValueType::Integer,
            Self::Decimal(_) => ValueType::Decimal,
            Self::Boolean(_) => ValueType::Boolean,
            Self::Date(_) => ValueType::Date,
            Self::Instant(_) => ValueType::Instant,
            Self::Uuid(_) => ValueType::Uuid,
            Self::Binary(_) => ValueType::Binary,
            Self::Reference(_) => ValueType::Reference,
            Self::Structure(_) => ValueType::Structure,
        }
    }

    /// The text, when this is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The canonical text of a value: what a text attribute receives when another type flows into it.
impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => formatter.write_str(text),
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Decimal(number) => formatter.write_str(number.as_str()),
            Self::Boolean(truth) => formatter.write_str(if *truth { "true" } else { "false" }),
            Self::Date(date) => write!(formatter, "{date}"),
            Self::Instant(instant) => formatter.write_str(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            Self::Uuid(uuid) => write!(formatter, "{uuid}"),
            Self::Binary(bytes) => bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}")),
            Self::Reference(reference) => write!(formatter, "{}", reference.key),
            Self::Structure(members) => {
                formatter.write_str("{")?;
                for (position, (name, value)) in members.iter().enumerate() {
                    let comma = if position == 0 { "" } else { ", " };
                    write!(formatter, "{comma}{name}: {value}")?;
                }
                formatter.write_str("}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_one_form() {
        let cases = [
            ("1.50", Some("1.5")),
            ("-0.0", Some("0")),
            ("+007", Some("7")),
            ("1e3", Some("1000")),
            ("1.25E-3", Some("0.00125")),
            (".5", Some("0.5")),
            ("5.", Some("5")),
            ("12345678901234567890.123456789", Some("12345678901234567890.123456789")),
            ("", None),
            (".", None),
            ("1,5", None),
            ("NaN", None),
            ("1e999999", None),
            ("1e", None),
            ("--1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Decimal::parse(text).as_ref().map(Decimal::as_str), expected, "{text:?}");
        }
    }
}
