//! Values in the text form that databases read and write.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};
use muster_model::{Decimal, Slot, Value, ValueType};
use uuid::Uuid;

use crate::database::Text;

/// A slot as text for a stage; unknown counts as null, which only happens in columns that are not written.
pub(crate) fn encode(slot: &Slot) -> Text {
    slot.value().map(encode_value)
}

pub(crate) fn encode_value(value: &Value) -> Arc<str> {
    match value {
        Value::Text(text) => text.clone(),
        value => spelled(value).into(),
    }
}

/// The text form of a value, which a text is already.
pub(crate) fn spelled(value: &Value) -> Cow<'_, str> {
    let text = match value {
        Value::Text(text) => return Cow::Borrowed(text),
        Value::Boolean(true) => "1".to_owned(),
        Value::Boolean(false) => "0".to_owned(),
        Value::Instant(instant) => instant.to_rfc3339_opts(SecondsFormat::Micros, true),
        Value::Binary(bytes) => {
            let mut hex = String::with_capacity(2 + bytes.len() * 2);
            hex.push_str("\\x");
            hex.extend(bytes.iter().map(|byte| format!("{byte:02x}")));
            hex
        }
        Value::Reference(reference) => match reference.key.0.first() {
            Some(value) => return spelled(value),
            None => String::new(),
        },
        Value::Integer(_) | Value::Decimal(_) | Value::Date(_) | Value::Uuid(_) | Value::Structure(_) => {
            value.to_string()
        }
    };
    text.into()
}

/// A value from its text form; the error is what was found.
pub(crate) fn decode(text: Text, value_type: ValueType) -> Result<Slot, String> {
    let Some(text) = text else { return Ok(Slot::Null) };
    let value = match value_type {
        ValueType::Text => Some(Value::Text(text.clone())),
        ValueType::Integer => text.parse().ok().map(Value::Integer),
        ValueType::Decimal => Decimal::parse(&text).map(Value::Decimal),
        ValueType::Boolean => match text.as_ref() {
            "true" | "t" => Some(Value::Boolean(true)),
            "false" | "f" => Some(Value::Boolean(false)),
            number => number.parse::<i64>().ok().map(|number| Value::Boolean(number != 0)),
        },
        ValueType::Date => text.parse::<NaiveDate>().ok().map(Value::Date),
        ValueType::Instant => instant(&text).map(Value::Instant),
        ValueType::Uuid => Uuid::try_parse(&text).ok().map(Value::Uuid),
        ValueType::Binary => unhex(text.strip_prefix("\\x").unwrap_or(&text)).map(Value::Binary),
        ValueType::Reference | ValueType::Structure => None,
    };
    value.map(Slot::One).ok_or_else(|| format!("{text:?} is no {value_type}"))
}

/// With zone, or without one, which is taken for UTC.
pub(crate) fn instant(text: &str) -> Option<DateTime<chrono::Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
        if let Ok(instant) = DateTime::parse_from_str(text, format) {
            return Some(instant.to_utc());
        }
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"] {
        if let Ok(local) = NaiveDateTime::parse_from_str(text, format) {
            return Some(local.and_utc());
        }
    }
    None
}

pub(crate) fn unhex(text: &str) -> Option<Box<[u8]>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_their_text_form() {
        let values = [
            Value::text("it's \\ \"quoted\"\n\tÅ\u{1F600}"),
            Value::Integer(i64::MIN),
            Value::Boolean(true),
            Value::Boolean(false),
            Value::Binary([0, 255, 16].into()),
            Value::Uuid(Uuid::from_u128(77)),
            Value::Date(NaiveDate::from_ymd_opt(2024, 2, 29).unwrap()),
            Value::Instant(DateTime::from_timestamp_micros(1_234_567).unwrap()),
            Value::Decimal(Decimal::parse("-0.5").unwrap()),
        ];
        for value in values {
            let decoded = decode(Some(encode_value(&value)), value.value_type());
            assert_eq!(decoded, Ok(Slot::One(value)));
        }
    }

    #[test]
    fn databases_spell_instants_differently() {
        let expected = DateTime::parse_from_rfc3339("2026-03-01T08:00:00Z").unwrap().to_utc();
        for text in
            ["2026-03-01 08:00:00+00", "2026-03-01 10:00:00+02:00", "2026-03-01 08:00:00", "2026-03-01T08:00:00.000Z"]
        {
            assert_eq!(instant(text), Some(expected), "{text}");
        }
        assert!(decode(Some("soon".into()), ValueType::Instant).is_err());
        assert!(decode(Some("0x".into()), ValueType::Binary).is_err());
    }
}
