//! Values and slots as JSON that a person can write: text, truth, whole numbers and null as they are, the rest named.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, FixedOffset, NaiveDate, SecondsFormat, SubsecRound as _, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use uuid::Uuid;

use crate::row::Slot;
use crate::value::{Decimal, Reference, Value};

/// The names by which a value's type can be given.
const NAMES: &[&str] =
    &["text", "integer", "decimal", "boolean", "date", "instant", "uuid", "binary", "reference", "structure"];

fn named<S: Serializer>(
    serializer: S,
    name: &'static str,
    value: &(impl Serialize + ?Sized),
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(name, value)?;
    map.end()
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Boolean(truth) => serializer.serialize_bool(*truth),
            Self::Decimal(number) => named(serializer, "decimal", number.as_str()),
            Self::Date(date) => named(serializer, "date", &date.to_string()),
            Self::Instant(at) => named(serializer, "instant", &at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            Self::Uuid(uuid) => named(serializer, "uuid", uuid),
            Self::Binary(bytes) => named(serializer, "binary", &BASE64.encode(bytes)),
            Self::Reference(reference) => named(serializer, "reference", reference),
            Self::Structure(members) => named(serializer, "structure", members),
        }
    }
}

impl Serialize for Slot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown => named(serializer, "unknown", &true),
            Self::Null => serializer.serialize_unit(),
            Self::One(value) => value.serialize(serializer),
            Self::Many(values) => values.serialize(serializer),
        }
    }
}

/// A whole number as JSON writes it, or as text where a language's numbers are too small.
struct Whole(i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl Visitor<'_> for Reading {
            type Value = Whole;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a whole number of at most 64 bits, or its text")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
                whole(number).map(Whole)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Whole, E> {
                text.parse().map(Whole).map_err(|_| E::custom("an integer is a whole number of at most 64 bits"))
            }
        }
        deserializer.deserialize_any(Reading)
    }
}

fn whole<E: de::Error>(number: u64) -> Result<i64, E> {
    i64::try_from(number)
        .map_err(|_| E::custom("this whole number needs more than 64 bits; write {\"decimal\": \"…\"}"))
}

fn instant<E: de::Error>(text: &str) -> Result<DateTime<Utc>, E> {
    let at = DateTime::parse_from_rfc3339(text).or_else(|_| text.parse::<DateTime<FixedOffset>>());
    let at =
        at.map_err(|_| E::custom("an instant is written like \"2026-01-31T12:00:00.5Z\", always with its zone"))?;
    Ok(at.with_timezone(&Utc).trunc_subsecs(6))
}

/// The value under `name`, the first key of a map of one entry.
fn under<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<Value, A::Error> {
    use de::Error as _;
    Ok(match name {
        "text" => Value::Text(map.next_value()?),
        "integer" => Value::Integer(map.next_value::<Whole>()?.0),
        "boolean" => Value::Boolean(map.next_value()?),
        "decimal" => {
            let text: String = map.next_value()?;
            let decimal = Decimal::parse(&text);
            Value::Decimal(decimal.ok_or_else(|| A::Error::custom("a decimal is written as text, like \"-12.50\""))?)
        }
        "date" => {
            let text: String = map.next_value()?;
            let date: Result<NaiveDate, _> = text.parse();
            Value::Date(date.map_err(|_| A::Error::custom("a date is written like \"2026-01-31\""))?)
        }
        "instant" => Value::Instant(instant(&map.next_value::<String>()?)?),
        "uuid" => Value::Uuid(map.next_value::<Uuid>()?),
        "binary" => Value::Binary(binary(&map.next_value::<String>()?)?),
        "reference" => Value::Reference(Box::new(map.next_value::<Reference>()?)),
        "structure" => Value::Structure(map.next_value()?),
        other => return Err(A::Error::unknown_field(other, NAMES)),
    })
}

fn binary<E: de::Error>(text: &str) -> Result<Box<[u8]>, E> {
    let bytes = BASE64.decode(text).map_err(|_| E::custom("binary is written in Base64 (RFC 4648, with padding)"))?;
    Ok(bytes.into_boxed_slice())
}

/// Reads a slot; a value is a slot that is neither unknown, null nor several.
struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Slot;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "text, a whole number, true, false, null, a list, or a value with its type like {\"date\": \"2026-01-31\"}",
        )
    }

    fn visit_unit<E: de::Error>(self) -> Result<Slot, E> {
        Ok(Slot::Null)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Slot, E> {
        Ok(Slot::One(Value::Boolean(truth)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Slot, E> {
        Ok(Slot::One(Value::Integer(number)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Slot, E> {
        whole(number).map(|number| Slot::One(Value::Integer(number)))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Slot, E> {
        Err(E::custom("a number with a fraction is not exact in JSON; write {\"decimal\": \"1.5\"}"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Slot, E> {
        Ok(Slot::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Slot, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Slot::many(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Slot, A::Error> {
        use de::Error as _;
        let one_entry = || A::Error::custom("a value with its type has one entry, like {\"date\": \"2026-01-31\"}");
        let name: String = map.next_key()?.ok_or_else(one_entry)?;
        let slot = if name == "unknown" {
            let _: bool = map.next_value()?;
            Slot::Unknown
        } else {
            Slot::One(under(&name, &mut map)?)
        };
        match map.next_key::<String>()? {
            None => Ok(slot),
            Some(_) => Err(one_entry()),
        }
    }
}

impl<'de> Deserialize<'de> for Slot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Reading)? {
            Slot::One(value) => Ok(value),
            Slot::Unknown | Slot::Null | Slot::Many(_) => {
                Err(de::Error::custom("one value is expected here, neither null nor a list nor unknown"))
            }
        }
    }
}

impl JsonSchema for Value {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (value, reference) = (generator.subschema_for::<Self>(), generator.subschema_for::<Reference>());
        let tagged = |name: &str, of: &serde_json::Value| {
            serde_json::json!({
                "type": "object", "properties": { name: of }, "required": [name], "additionalProperties": false
            })
        };
        let text = serde_json::json!({ "type": "string" });
        let members = serde_json::json!({ "type": "object", "additionalProperties": value });
        json_schema!({
            "description": "One value. Text, whole numbers and truth stand as they are, anything else beside its type.",
            "anyOf": [
                { "type": "string" },
                { "type": "boolean" },
                { "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX },
                tagged("text", &text),
                tagged("boolean", &serde_json::json!({ "type": "boolean" })),
                tagged("integer", &serde_json::json!({ "type": ["integer", "string"] })),
                tagged("decimal", &text),
                tagged("date", &serde_json::json!({ "type": "string", "format": "date" })),
                tagged("instant", &serde_json::json!({ "type": "string", "format": "date-time" })),
                tagged("uuid", &serde_json::json!({ "type": "string", "format": "uuid" })),
                tagged("binary", &serde_json::json!({ "type": "string", "contentEncoding": "base64" })),
                tagged("reference", reference.as_value()),
                tagged("structure", &members)
            ]
        })
    }
}

impl JsonSchema for Slot {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Slot".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<Value>();
        json_schema!({
            "description": "What is known of one attribute: {\"unknown\": true}, null, one value, or a list of values.",
            "anyOf": [
                {
                    "type": "object",
                    "properties": { "unknown": { "const": true } },
                    "required": ["unknown"],
                    "additionalProperties": false
                },
                { "type": "null" },
                value,
                { "type": "array", "items": value }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::key::Key;

    use super::*;

    #[test]
    fn every_value_and_slot_survives_json() {
        let reference =
            Reference { object_type: Some("team".into()), key: Key(vec![Value::Integer(7), Value::text("b")]) };
        let members = BTreeMap::from([("home".into(), Value::text("x")), ("since".into(), Value::Boolean(false))]);
        let values = [
            (Value::text("Åsa \"\u{1F600}\u{0}\u{2028}"), None),
            (Value::text(""), Some(r#""""#)),
            (Value::Integer(i64::MIN), Some("-9223372036854775808")),
            (Value::Integer(i64::MAX), Some("9223372036854775807")),
            (Value::Boolean(true), Some("true")),
            (
                Value::Decimal(Decimal::parse("12345678901234567890.0001").unwrap()),
                Some(r#"{"decimal":"12345678901234567890.0001"}"#),
            ),
            (Value::Date(NaiveDate::from_ymd_opt(2026, 2, 28).unwrap()), Some(r#"{"date":"2026-02-28"}"#)),
            (Value::Date(NaiveDate::MAX), None),
            (
                Value::Instant("2026-11-23T10:05:00.123456Z".parse().unwrap()),
                Some(r#"{"instant":"2026-11-23T10:05:00.123456Z"}"#),
            ),
            (Value::Uuid(Uuid::from_u128(7)), Some(r#"{"uuid":"00000000-0000-0000-0000-000000000007"}"#)),
            (Value::Binary(vec![0, 255, 10].into()), Some(r#"{"binary":"AP8K"}"#)),
            (Value::Reference(Box::new(reference)), Some(r#"{"reference":{"object_type":"team","key":[7,"b"]}}"#)),
            (Value::Structure(members), Some(r#"{"structure":{"home":"x","since":false}}"#)),
        ];
        let mut slots = vec![(Slot::Unknown, Some(r#"{"unknown":true}"#)), (Slot::Null, Some("null"))];
        for (value, text) in values {
            slots.push((Slot::Many(vec![value.clone()]), None));
            slots.push((Slot::One(value), text));
        }
        for (slot, expected) in slots {
            let text = serde_json::to_string(&slot).unwrap();
            assert!(expected.is_none_or(|expected| text == expected), "{text}");
            assert_eq!(serde_json::from_str::<Slot>(&text).unwrap(), slot, "{text}");
        }
        let other_forms =
            r#"[{"text":"a"},{"integer":"-5"},{"boolean":false},{"instant":"2026-01-01T02:00:00.0000009+02:00"}]"#;
        let read: Vec<Value> = serde_json::from_str(other_forms).unwrap();
        let midnight = Value::Instant("2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(read, [Value::text("a"), Value::Integer(-5), Value::Boolean(false), midnight]);
    }

    #[test]
    fn what_is_not_exact_is_refused_with_the_form_to_use() {
        let cases = [
            ("1.5", "decimal"),
            ("18446744073709551615", "64 bits"),
            (r#"{"decimal":"1,5"}"#, "-12.50"),
            (r#"{"date":"31.1.2026"}"#, "2026-01-31"),
            (r#"{"instant":"2026-01-31T12:00:00"}"#, "zone"),
            (r#"{"binary":"*"}"#, "Base64"),
            (r#"{"number":1}"#, "unknown field `number`"),
            (r#"{"date":"2026-01-31","text":"a"}"#, "one entry"),
            ("{}", "one entry"),
        ];
        for (text, expected) in cases {
            let error = serde_json::from_str::<Slot>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(serde_json::from_str::<Value>("null").unwrap_err().to_string().contains("one value"));
    }
}
