//! Lengths of time as they are written.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// A length of time: a whole number and a unit, `"90s"`, `"5m"`, `"12h"` or `"30d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(i64);

/// How lengths of time are written, for messages.
pub(crate) const TIME_SPAN_FORM: &str = "write a number with its unit, such as \"90s\", \"5m\", \"12h\" or \"30d\"";

/// The units and their milliseconds, the longest first.
const UNITS: [(&str, i64); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl TimeSpan {
    /// Reads a length of time; `None` where it is none, or longer than a hundred years.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const HUNDRED_YEARS: i64 = 36_525 * 86_400_000;
        let (number, unit) = UNITS.iter().find_map(|(unit, length)| Some((text.strip_suffix(unit)?, length)))?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let milliseconds = number.parse::<i64>().ok()?.checked_mul(*unit)?;
        (milliseconds <= HUNDRED_YEARS).then_some(Self(milliseconds))
    }

    /// So many minutes.
    pub(crate) const fn of_minutes(minutes: u16) -> Self {
        Self(minutes as i64 * 60_000)
    }

    /// The length in milliseconds.
    #[must_use]
    pub fn milliseconds(self) -> i64 {
        self.0
    }
}

/// With the longest unit that leaves a whole number.
impl fmt::Display for TimeSpan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, length)| self.0 != 0 && self.0 % length == 0);
        let (unit, length) = whole.copied().unwrap_or(("s", 1_000));
        write!(formatter, "{}{unit}", self.0 / length)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("no length of time; {TIME_SPAN_FORM}")))
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> Cow<'static, str> {
        "TimeSpan".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time: a whole number and a unit, \"90s\", \"5m\", \"12h\" or \"30d\".",
            "type": "string",
            "pattern": "^[0-9]+(s|m|h|d)$",
            "x-muster-hint": TIME_SPAN_FORM
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown() {
        for (text, milliseconds, shown) in [
            ("90s", 90_000, "90s"),
            ("120s", 120_000, "2m"),
            ("5m", 300_000, "5m"),
            ("24h", 86_400_000, "1d"),
            ("30d", 2_592_000_000, "30d"),
            ("0d", 0, "0s"),
        ] {
            let span = TimeSpan::parse(text).unwrap();
            assert_eq!((span.milliseconds(), span.to_string().as_str()), (milliseconds, shown));
        }
        for text in
            ["", "5", "d", "-1d", "+1d", "1.5h", " 5m", "5 m", "5M", "5ms", "99999999999999999d", "40000d", "٣d"]
        {
            assert_eq!(TimeSpan::parse(text), None, "{text}");
        }
    }
}
