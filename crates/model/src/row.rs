//! The attributes of one object, in the order that somebody asked for them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::Value;

/// What is known of one attribute. Unknown, null and a value are three different things.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Slot {
    /// Nothing was said about the attribute.
    #[default]
    Unknown,
    /// The attribute is known to have no value.
    Null,
    /// One value.
    One(Value),
    /// The values of a multi-valued attribute, never empty (that is [`Slot::Null`]).
    Many(Vec<Value>),
}

impl Slot {
    /// A slot with one text value.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::One(Value::text(text))
    }

    /// A multi-valued slot; no values is null.
    #[must_use]
    pub fn many(values: Vec<Value>) -> Self {
        if values.is_empty() { Self::Null } else { Self::Many(values) }
    }

    /// Whether nothing was said about the attribute.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// The single value, if there is exactly one.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::One(value) => Some(value),
            Self::Many(values) => match values.as_slice() {
                [value] => Some(value),
                _ => None,
            },
            Self::Unknown | Self::Null => None,
        }
    }
}

/// One slot for each attribute of a layout that travels beside it (a request's or a batch's list of attributes).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
pub struct Row(pub Vec<Slot>);

impl Row {
    /// A row of unknown slots.
    #[must_use]
    pub fn unknown(width: usize) -> Self {
        Self(vec![Slot::Unknown; width])
    }

    /// The slot at `position`; unknown beyond the end.
    #[must_use]
    pub fn slot(&self, position: usize) -> &Slot {
        self.0.get(position).unwrap_or(&Slot::Unknown)
    }
}
