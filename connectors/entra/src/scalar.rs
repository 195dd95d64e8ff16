//! One JSON value into one slot, by the attribute's type, without an intermediate tree.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use muster_model::{Slot, Value, ValueType};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::layout::Shape;

/// Reads a slot; a value that does not fit the type leaves it unknown, so that it harms no neighbour.
#[derive(Clone, Copy)]
pub(crate) struct SlotSeed(pub(crate) Shape);

impl<'de> DeserializeSeed<'de> for SlotSeed {
    type Value = Slot;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Slot, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl SlotSeed {
    fn one(self, value: Option<Value>) -> Slot {
        match value {
            Some(value) if self.0.many => Slot::Many(vec![value]),
            Some(value) => Slot::One(value),
            None => Slot::Unknown,
        }
    }
}

impl<'de> Visitor<'de> for SlotSeed {
    type Value = Slot;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a value of type {}", self.0.value_type)
    }

    fn visit_unit<E: Error>(self) -> Result<Slot, E> {
        Ok(Slot::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Slot, E> {
        Ok(self.one(match self.0.value_type {
            ValueType::Boolean => Some(Value::Boolean(truth)),
            ValueType::Text => Some(Value::text(if truth { "true" } else { "false" })),
            _ => None,
        }))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Slot, E> {
        Ok(self.one(match self.0.value_type {
            ValueType::Integer => Some(Value::Integer(number)),
            ValueType::Text => Some(Value::Text(number.to_string().into())),
            _ => None,
        }))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Slot, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Ok(self.one((self.0.value_type == ValueType::Text).then(|| Value::text(&number.to_string())))),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Slot, E> {
        Ok(self.one((self.0.value_type == ValueType::Text).then(|| Value::text(&number.to_string()))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Slot, E> {
        Ok(self.one(from_text(self.0.value_type, text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Slot, A::Error> {
        let mut values = Vec::new();
        let mut foreign = !self.0.many;
        let element = Self(Shape { many: false, ..self.0 });
        while let Some(slot) = sequence.next_element_seed(element)? {
            match slot {
                // Sets hold each value once; they are short.
                Slot::One(value) if !values.contains(&value) => values.push(value),
                Slot::Unknown => foreign = true,
                _ => {}
            }
        }
        Ok(if foreign { Slot::Unknown } else { Slot::many(values) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Slot, A::Error> {
        if self.0.value_type != ValueType::Structure {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Slot::Unknown);
        }
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let shape = Shape { value_type: ValueType::Text, many: false };
            if let Slot::One(value) = map.next_value_seed(SlotSeed(shape))?
                && !name.contains('@')
            {
                members.insert(name.into_boxed_str(), value);
            }
        }
        Ok(self.one(Some(Value::Structure(members))))
    }
}

fn from_text(value_type: ValueType, text: &str) -> Option<Value> {
    match value_type {
        ValueType::Text => Some(Value::text(text)),
        ValueType::Instant => {
            let instant = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
            // Kept with microseconds; Graph writes up to seven digits.
            DateTime::from_timestamp_micros(instant.timestamp_micros()).map(Value::Instant)
        }
        ValueType::Integer => text.parse().ok().map(Value::Integer),
        ValueType::Boolean if text.eq_ignore_ascii_case("true") => Some(Value::Boolean(true)),
        ValueType::Boolean if text.eq_ignore_ascii_case("false") => Some(Value::Boolean(false)),
        ValueType::Binary => STANDARD.decode(text).ok().map(|bytes| Value::Binary(bytes.into())),
        _ => None,
    }
}
