//! Whether and how a value of one type becomes a value of another. Pure.

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};
use muster_expression::{as_text, parse_instant};
use muster_model::{Attribute, Decimal, Slot, Value, ValueType};
use uuid::Uuid;

/// Why a value does not fit an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// A short stable name: `too_long`, `required`, `wrong_type`, `expression`.
    pub rule: &'static str,
    /// What was found and what was expected; names the value.
    pub message: String,
}

/// Whether any value of one type can become the other. Text may become a UUID, date, instant, or number: whether
/// a given text does, shows only then.
#[must_use]
pub fn convertible(from: ValueType, to: ValueType) -> bool {
    use ValueType as T;
    if from == to {
        return true;
    }
    matches!(
        (from, to),
        (T::Integer | T::Decimal | T::Boolean | T::Date | T::Instant | T::Uuid, T::Text)
            | (T::Text, T::Uuid | T::Date | T::Instant)
            | (T::Integer, T::Decimal)
            | (T::Boolean, T::Integer)
            | (T::Instant, T::Date)
            | (T::Date, T::Instant)
    )
}

/// What the value of an expression becomes in the target attribute. Between functions all is text, as in Entra, so
/// that a text may become anything that it can be read as, and an empty one is nothing where texts do not fit.
///
/// # Errors
/// The value does not fit; nothing is ever cut off or guessed.
pub fn fit_computed(slot: Slot, to: &Attribute) -> Result<Slot, Misfit> {
    let read = |value: Value| -> Option<Value> {
        match (&value, to.value_type) {
            (Value::Text(_), ValueType::Text) => Some(value),
            (_, ValueType::Text) => Some(Value::text(&as_text(&value))),
            (Value::Text(text), _) if text.trim().is_empty() => None,
            (Value::Text(text), wanted) => Some(read_text(text.trim(), wanted).unwrap_or(value)),
            (Value::Decimal(number), ValueType::Integer) => Some(number.to_integer().map_or(value, Value::Integer)),
            (Value::Integer(number @ (0 | 1)), ValueType::Boolean) => Some(Value::Boolean(*number == 1)),
            _ => Some(value),
        }
    };
    let slot = match slot {
        Slot::One(value) => read(value).map_or(Slot::Null, Slot::One),
        Slot::Many(values) => Slot::many(values.into_iter().filter_map(read).collect()),
        Slot::Unknown | Slot::Null => slot,
    };
    fit(&slot, to)
}

fn read_text(text: &str, wanted: ValueType) -> Option<Value> {
    match wanted {
        ValueType::Integer => Decimal::parse(text)?.to_integer().map(Value::Integer),
        ValueType::Decimal => Decimal::parse(text).map(Value::Decimal),
        ValueType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(Value::Boolean(true)),
            "false" | "0" => Some(Value::Boolean(false)),
            _ => None,
        },
        ValueType::Date => parse_instant(text).map(|instant| Value::Date(instant.date_naive())),
        ValueType::Instant => parse_instant(text).map(Value::Instant),
        _ => None,
    }
}

/// What a source slot becomes in the target attribute.
///
/// # Errors
/// The value does not fit; nothing is ever cut off or guessed.
pub fn fit(slot: &Slot, to: &Attribute) -> Result<Slot, Misfit> {
    let fitted = match slot {
        Slot::Unknown | Slot::Null => Slot::Null,
        Slot::One(value) => Slot::One(fit_value(value, to)?),
        Slot::Many(values) => match (to.multiplicity, values.as_slice()) {
            (muster_model::Multiplicity::Single, [value]) => Slot::One(fit_value(value, to)?),
            (muster_model::Multiplicity::Single, many) => {
                let message = format!("{} values for the single-valued attribute", many.len());
                return Err(Misfit { rule: "several_values", message });
            }
            (_, many) => Slot::many(many.iter().map(|value| fit_value(value, to)).collect::<Result<_, _>>()?),
        },
    };
    if to.required && fitted == Slot::Null {
        return Err(Misfit { rule: "required", message: "no value, but the target requires one".to_owned() });
    }
    Ok(fitted)
}

fn fit_value(value: &Value, to: &Attribute) -> Result<Value, Misfit> {
    let converted = convert(value, to.value_type).ok_or_else(|| Misfit {
        rule: "wrong_type",
        message: format!("{:?} is no {}", shorten(&value.to_string()), to.value_type),
    })?;
    if let (Some(limit), Value::Text(text)) = (to.max_length, &converted) {
        let length = text.chars().count();
        if length > limit as usize {
            let message = format!("{length} characters, but at most {limit} fit: {:?}", shorten(text));
            return Err(Misfit { rule: "too_long", message });
        }
    }
    if let (Some(limit), Value::Binary(bytes)) = (to.max_length, &converted)
        && bytes.len() > limit as usize
    {
        let message = format!("{} bytes, but at most {limit} fit", bytes.len());
        return Err(Misfit { rule: "too_long", message });
    }
    Ok(converted)
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 {
        return text.to_owned();
    }
    text.chars().take(60).chain(['…']).collect()
}

fn convert(value: &Value, to: ValueType) -> Option<Value> {
    if value.value_type() == to {
        return Some(value.clone());
    }
    match (value, to) {
        (Value::Text(text), ValueType::Uuid) => Uuid::try_parse(text.trim()).ok().map(Value::Uuid),
        (Value::Text(text), ValueType::Date) => {
            let text = text.trim();
            let date = text.parse::<NaiveDate>().ok();
            date.or_else(|| instant(text).map(|instant| instant.date_naive())).map(Value::Date)
        }
        (Value::Text(text), ValueType::Instant) => instant(text.trim()).map(Value::Instant),
        (Value::Instant(instant), ValueType::Date) => Some(Value::Date(instant.date_naive())),
        (Value::Date(date), ValueType::Instant) => Some(Value::Instant(date.and_time(NaiveTime::MIN).and_utc())),
        (Value::Integer(number), ValueType::Decimal) => Decimal::parse(&number.to_string()).map(Value::Decimal),
        (Value::Boolean(truth), ValueType::Integer) => Some(Value::Integer(i64::from(*truth))),
        (Value::Instant(instant), ValueType::Text) => {
            Some(Value::text(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
        }
        (
            Value::Integer(_) | Value::Decimal(_) | Value::Boolean(_) | Value::Date(_) | Value::Uuid(_),
            ValueType::Text,
        ) => Some(Value::text(&value.to_string())),
        _ => None,
    }
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(value_type: ValueType) -> Attribute {
        Attribute::new("x", value_type)
    }

    #[test]
    fn values_fit_or_say_why_not() {
        let short = Attribute { max_length: Some(3), ..attribute(ValueType::Text) };
        let required = Attribute { required: true, ..attribute(ValueType::Text) };
        let cases = [
            (Slot::text("Åsa"), &short, Ok("Åsa".to_owned())),
            (Slot::text("Åsas"), &short, Err("too_long")),
            (Slot::Null, &required, Err("required")),
            (Slot::Unknown, &short, Ok("null".to_owned())),
            (Slot::One(Value::Integer(7)), &short, Ok("7".to_owned())),
            (Slot::text("7"), &attribute(ValueType::Integer), Err("wrong_type")),
            (Slot::text("x"), &attribute(ValueType::Uuid), Err("wrong_type")),
            (
                Slot::text("2026-03-01T10:00:00+02:00"),
                &attribute(ValueType::Instant),
                Ok("2026-03-01T08:00:00Z".to_owned()),
            ),
            (Slot::text("2026-03-01T00:30:00+02:00"), &attribute(ValueType::Date), Ok("2026-02-28".to_owned())),
            (Slot::many(vec![Value::text("a")]), &short, Ok("a".to_owned())),
            (Slot::many(vec![Value::text("a"), Value::text("b")]), &short, Err("several_values")),
        ];
        for (slot, to, expected) in cases {
            let fitted = fit(&slot, to).map(|slot| slot.value().map_or("null".to_owned(), Value::to_string));
            assert_eq!(fitted.map_err(|misfit| misfit.rule), expected, "{slot:?}");
        }
    }

    #[test]
    fn texts_that_were_computed_become_what_the_target_holds() {
        let cases = [
            (Value::text("7"), ValueType::Integer, Ok(Slot::One(Value::Integer(7)))),
            (Value::text("7.5"), ValueType::Integer, Err("wrong_type")),
            (Value::text("1.50"), ValueType::Decimal, Ok(Slot::One(Value::Decimal(Decimal::parse("1.5").unwrap())))),
            (Value::text("True"), ValueType::Boolean, Ok(Slot::One(Value::Boolean(true)))),
            (Value::text("0"), ValueType::Boolean, Ok(Slot::One(Value::Boolean(false)))),
            (Value::text("yes"), ValueType::Boolean, Err("wrong_type")),
            (Value::Integer(1), ValueType::Boolean, Ok(Slot::One(Value::Boolean(true)))),
            (Value::Integer(2), ValueType::Boolean, Err("wrong_type")),
            (Value::text(""), ValueType::Integer, Ok(Slot::Null)),
            (Value::text(""), ValueType::Text, Ok(Slot::text(""))),
            (Value::Boolean(true), ValueType::Text, Ok(Slot::text("True"))),
            (Value::Instant(DateTime::UNIX_EPOCH), ValueType::Text, Ok(Slot::text("1/1/1970 12:00:00 AM"))),
            (
                Value::text("1/1/1970 12:00:00 AM"),
                ValueType::Instant,
                Ok(Slot::One(Value::Instant(DateTime::UNIX_EPOCH))),
            ),
            (
                Value::text("3/16/2020 7:00:00 AM"),
                ValueType::Date,
                Ok(Slot::One(Value::Date(NaiveDate::from_ymd_opt(2020, 3, 16).unwrap()))),
            ),
            (
                Value::text("00000000-0000-0000-0000-000000000000"),
                ValueType::Uuid,
                Ok(Slot::One(Value::Uuid(Uuid::nil()))),
            ),
            (Value::text("x"), ValueType::Date, Err("wrong_type")),
            (Value::text("x"), ValueType::Binary, Err("wrong_type")),
        ];
        for (value, to, expected) in cases {
            let fitted = fit_computed(Slot::One(value.clone()), &attribute(to)).map_err(|misfit| misfit.rule);
            assert_eq!(fitted, expected, "{value:?} to {to}");
        }
    }

    #[test]
    fn every_promised_conversion_exists() {
        let samples = [
            Value::text("00000000-0000-0000-0000-000000000001"),
            Value::Integer(1),
            Value::Decimal(Decimal::parse("1.5").unwrap()),
            Value::Boolean(true),
            Value::Date(NaiveDate::MIN),
            Value::Instant(DateTime::UNIX_EPOCH),
            Value::Uuid(Uuid::nil()),
        ];
        let targets = [
            ValueType::Text,
            ValueType::Integer,
            ValueType::Decimal,
            ValueType::Boolean,
            ValueType::Date,
            ValueType::Instant,
            ValueType::Uuid,
        ];
        for value in &samples {
            for to in targets {
                let from = value.value_type();
                let text_that_depends = from == ValueType::Text && matches!(to, ValueType::Date | ValueType::Instant);
                if !text_that_depends {
                    assert_eq!(convert(value, to).is_some(), convertible(from, to), "{from} to {to}");
                }
            }
        }
    }
}
