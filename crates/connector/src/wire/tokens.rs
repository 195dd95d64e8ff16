//! Bytes and spans of time as JSON.

/// A span of time as whole milliseconds.
pub(crate) mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Bytes that only their writer understands: text where they are UTF-8, else `{"binary": "…"}` in Base64.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Token {
    /// The bytes as text.
    Text(String),
    /// The bytes in Base64.
    Binary {
        /// The bytes.
        binary: String,
    },
}

pub(crate) mod token {
    use muster_model::{Slot, Value};
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Value::Binary(bytes.into()).serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        read(Slot::deserialize(deserializer)?).ok_or_else(|| D::Error::custom(EXPECTED))
    }

    pub(super) const EXPECTED: &str = "a token is text or {\"binary\": \"…\"} in Base64";

    pub(super) fn read(slot: Slot) -> Option<Vec<u8>> {
        match slot {
            Slot::One(Value::Text(text)) => Some(text.as_bytes().to_vec()),
            Slot::One(Value::Binary(bytes)) => Some(bytes.into_vec()),
            _ => None,
        }
    }
}

pub(crate) mod optional_token {
    use muster_model::Slot;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(crate) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::token::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        match Slot::deserialize(deserializer)? {
            Slot::Null => Ok(None),
            slot => super::token::read(slot).map(Some).ok_or_else(|| D::Error::custom(super::token::EXPECTED)),
        }
    }
}
