//! Columns that say in their own words whether a row is enabled: `status = 'active'`, `locked = true`, `deleted_at IS
//! NULL`. Towards Muster they are booleans.

use chrono::Utc;
use muster_connector::Error;
use muster_model::{Slot, Value, ValueType};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::catalog::Column;
use crate::schema::wrong;

/// What stands in the `enabled` column where it is no boolean with its usual meaning.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnabledValues {
    /// What enabled rows have, such as `["active", "invited"]`. The first is written.
    #[schemars(length(min = 1))]
    pub on: Vec<Word>,
    /// What disabled rows have, such as `["locked"]`. The first is written.
    #[schemars(length(min = 1))]
    pub off: Vec<Word>,
}

/// A value as the configuration says it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Word {
    /// A truth.
    Truth(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

impl Word {
    /// As a value of a column of this type.
    pub(crate) fn value(&self, value_type: ValueType) -> Option<Value> {
        match (self, value_type) {
            (Self::Truth(truth), ValueType::Boolean) => Some(Value::Boolean(*truth)),
            (Self::Number(number), ValueType::Integer) => Some(Value::Integer(*number)),
            (Self::Text(text), ValueType::Text) => Some(Value::text(text)),
            _ => None,
        }
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Truth(truth) => truth.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("{text:?}"),
        }
    }
}

/// The words of a column.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    /// The column.
    pub(crate) column: String,
    /// Its own type.
    pub(crate) value_type: ValueType,
    meaning: Meaning,
}

#[derive(Debug, Clone)]
enum Meaning {
    /// Since when the row is disabled; null while it is enabled.
    Since,
    /// Values that mean the one, and values that mean the other; never empty.
    Listed { on: Vec<Value>, off: Vec<Value> },
}

impl Words {
    /// The words of an `enabled` column; `None` where it is a boolean, or a number, that means what it says.
    pub(crate) fn new(type_name: &str, column: &Column, given: Option<&EnabledValues>) -> Result<Option<Self>, Error> {
        let (name, setting) = (&column.name, format!("types.{type_name}.enabled_values"));
        let words = |meaning, value_type| Some(Self { column: name.clone(), value_type, meaning });
        match (column.value_type, given) {
            (Some(ValueType::Boolean | ValueType::Integer), None) => Ok(None),
            (Some(value_type @ (ValueType::Date | ValueType::Instant)), None) if column.nullable => {
                Ok(words(Meaning::Since, value_type))
            }
            (Some(value_type @ (ValueType::Boolean | ValueType::Integer | ValueType::Text)), Some(given)) => {
                let read = |list: &[Word]| -> Result<Vec<Value>, Error> {
                    let value = |word: &Word| {
                        let fix = format!("write values as column {name:?} has them, which is {}", column.native);
                        let problem = format!("{} is no {value_type}", word.shown());
                        word.value(value_type).ok_or_else(|| wrong(setting.clone(), problem, fix))
                    };
                    list.iter().map(value).collect()
                };
                let (on, off) = (read(&given.on)?, read(&given.off)?);
                if on.is_empty() || off.is_empty() {
                    let fix = "write at least one value in on and in off".to_owned();
                    return Err(wrong(setting, "a value is missing".to_owned(), fix));
                }
                if let Some(both) = on.iter().find(|value| off.contains(value)) {
                    let fix = "name it once".to_owned();
                    return Err(wrong(setting, format!("{both} means both enabled and disabled"), fix));
                }
                Ok(words(Meaning::Listed { on, off }, value_type))
            }
            (kind, given) => {
                let native = &column.native;
                let problem = format!("column {name:?} is {native} and cannot say whether a row is enabled");
                let fix = match (kind, given) {
                    (Some(ValueType::Text), None) => {
                        "say what it holds: enabled_values = { on = [\"active\"], off = [\"locked\"] }"
                    }
                    (Some(ValueType::Date | ValueType::Instant), Some(_)) => {
                        "remove enabled_values: a row without a date is enabled"
                    }
                    (Some(ValueType::Date | ValueType::Instant), None) => {
                        "name a column that may be null: a row without a date is enabled"
                    }
                    _ => {
                        "name a boolean, a whole number where 0 is disabled, a date that disabled rows have, or a text \
                         with enabled_values"
                    }
                };
                Err(wrong(format!("types.{type_name}.enabled"), problem, fix.to_owned()))
            }
        }
    }

    /// What a stored value says; unknown where it is neither word.
    pub(crate) fn read(&self, stored: &Slot) -> Slot {
        let truth = match (&self.meaning, stored) {
            (_, Slot::Unknown) => None,
            (Meaning::Since, stored) => Some(*stored == Slot::Null),
            (Meaning::Listed { on, .. }, Slot::One(value)) if on.contains(value) => Some(true),
            (Meaning::Listed { off, .. }, Slot::One(value)) if off.contains(value) => Some(false),
            (Meaning::Listed { .. }, _) => None,
        };
        truth.map_or(Slot::Unknown, |truth| Slot::One(Value::Boolean(truth)))
    }

    /// What is stored.
    pub(crate) fn write(&self, wanted: Slot) -> Slot {
        let Slot::One(Value::Boolean(enabled)) = wanted else { return wanted };
        match (&self.meaning, enabled) {
            (Meaning::Since, true) => Slot::Null,
            (Meaning::Since, false) => Slot::One(match self.value_type {
                ValueType::Date => Value::Date(Utc::now().date_naive()),
                _ => Value::Instant(Utc::now()),
            }),
            (Meaning::Listed { on, .. }, true) => on.first().cloned().map_or(Slot::Null, Slot::One),
            (Meaning::Listed { off, .. }, false) => off.first().cloned().map_or(Slot::Null, Slot::One),
        }
    }
}
