//! The key of an object: one value for each anchor attribute.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pack::{self, PackError};
use crate::value::Value;

/// An object's key: the values of its anchor attributes (or of an alternate key), in schema order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Key(pub Vec<Value>);

impl Key {
    /// A key of one text value, the most frequent kind.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(vec![Value::text(text)])
    }

    /// A key of one value.
    #[must_use]
    pub fn one(value: Value) -> Self {
        Self(vec![value])
    }

    /// The binary form at rest. Equal keys have equal bytes; a UUID in text form takes 17 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.iter().map(pack::room_for).sum());
        for value in &self.0 {
            pack::write_value(&mut bytes, value);
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are not an encoded key.
    pub fn decode(bytes: &[u8]) -> Result<Self, PackError> {
        let mut reader = pack::Reader::new(bytes);
        let mut values = Vec::with_capacity(1);
        while !reader.is_empty() {
            values.push(reader.value()?);
        }
        Ok(Self(values))
    }
}

/// The values joined by `/`, as commands show and accept keys.
impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, value) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str("/")?;
            }
            write!(formatter, "{value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_encoding() {
        let keys = [
            Key::text("8f14e45f-ceea-467f-a9c5-1c0e1f2a3b4c"),
            Key::text("8F14E45F-CEEA-467F-A9C5-1C0E1F2A3B4C"),
            Key::text(""),
            Key(vec![Value::Integer(-7), Value::text("Åsa/ö"), Value::Boolean(true)]),
        ];
        for key in keys {
            assert_eq!(Key::decode(&key.encode()).unwrap(), key);
        }
        assert_eq!(Key::text("8f14e45f-ceea-467f-a9c5-1c0e1f2a3b4c").encode().len(), 17);
    }

    #[test]
    fn keys_of_different_parts_differ() {
        let one = Key(vec![Value::text("ab"), Value::text("c")]);
        let other = Key(vec![Value::text("a"), Value::text("bc")]);
        assert_ne!(one.encode(), other.encode());
    }
}
