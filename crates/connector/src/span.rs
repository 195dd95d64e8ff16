//! Lengths of time in settings.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// A length of time above zero, written `"30s"`, `"5m"` or `"250ms"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (unit, milliseconds) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
            .into_iter()
            .find(|(unit, _)| text.strip_suffix(unit).is_some_and(|number| number.parse::<u32>().is_ok()))?;
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        (number > 0).then(|| Self(Duration::from_millis(number * milliseconds)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is no length of time; write it like \"30s\", \"5m\" or \"250ms\""
            ))
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time such as \"30s\", \"5m\" or \"250ms\".",
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h|d)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        let cases = [("30s", 30_000), ("5m", 300_000), ("250ms", 250), ("1h", 3_600_000), ("2d", 172_800_000)];
        for (text, milliseconds) in cases {
            assert_eq!(Span::parse(text), Some(Span(Duration::from_millis(milliseconds))), "{text}");
        }
        for text in ["", "5", "0s", "-1s", "1.5s", "m", "99999999999h"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }
}
