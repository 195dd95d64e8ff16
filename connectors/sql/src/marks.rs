//! Where reading a column that grows begins: after what is settled, or so much earlier than what was seen.

use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use muster_connector::Marks;
use muster_model::{Slot, Value, ValueType};

use crate::text::{decode, encode_value};

/// Where a column was never looked at before, so much less than its greatest number is read again.
const NUMBERS: i64 = 1_000;

/// The value after which reading begins; `None` is before all.
pub(crate) fn start(marks: &Marks, overlap: Duration, value_type: ValueType, as_text: bool) -> Option<String> {
    match marks.settled(overlap) {
        // A whole day has one value.
        Some(value) if value_type == ValueType::Date => earlier(value, Duration::ZERO, value_type, as_text),
        Some(value) => Some(value.to_owned()),
        None => earlier(marks.first()?, overlap, value_type, as_text),
    }
}

/// A value that is smaller by a length of time, or by a number; `None` where that cannot be said.
fn earlier(value: &str, span: Duration, value_type: ValueType, as_text: bool) -> Option<String> {
    let delta = TimeDelta::from_std(span).ok()?;
    if value_type == ValueType::Text || as_text {
        if let Some(sooner) = earlier_text(value, delta, value_type) {
            return Some(sooner);
        }
        if value_type == ValueType::Text {
            return None;
        }
    }
    let Ok(Slot::One(value)) = decode(Some(value.into()), value_type) else { return None };
    let sooner = match value {
        Value::Instant(at) => Value::Instant(at.checked_sub_signed(delta)?),
        Value::Date(day) => Value::Date(day.checked_sub_signed(whole_days(delta))?),
        Value::Integer(number) => Value::Integer(number.saturating_sub(NUMBERS)),
        Value::Decimal(number) => Value::Integer(number.to_integer()?.saturating_sub(NUMBERS)),
        _ => return None,
    };
    Some(encode_value(&sooner).to_string())
}

fn whole_days(delta: TimeDelta) -> TimeDelta {
    TimeDelta::days(delta.num_days() + 1)
}

/// Where a database compares times as texts, the earlier one is written as the other one is: `2026-11-23 10:00:00`, with
/// a blank or a T between. What follows the seconds is left out, which makes it smaller still.
fn earlier_text(value: &str, delta: TimeDelta, value_type: ValueType) -> Option<String> {
    let day = value.get(..10)?;
    if value.len() == 10 || value_type == ValueType::Date {
        let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?;
        return Some(day.checked_sub_signed(whole_days(delta))?.format("%Y-%m-%d").to_string());
    }
    let between = value.get(10..11).filter(|between| ["T", " "].contains(between))?;
    let form = format!("%Y-%m-%d{between}%H:%M:%S");
    let at = NaiveDateTime::parse_from_str(value.get(..19)?, &form).ok()?;
    Some(at.checked_sub_signed(delta)?.format(&form).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(600);
    const MINUTE: i64 = 60_000;

    #[test]
    fn reading_begins_where_no_transaction_can_be_open_any_more() {
        let mut marks = Marks::default();
        let from = |marks: &Marks| start(marks, TEN, ValueType::Integer, false);
        assert_eq!(from(&marks), None);
        for (minute, expected) in [(0, "4000"), (9, "4000"), (10, "5000")] {
            marks.observe(Some("5000"), minute * MINUTE, minute * MINUTE, TEN);
            assert_eq!(from(&marks).as_deref(), Some(expected), "{minute}");
        }
    }

    #[test]
    fn earlier_values_are_written_as_the_database_compares_them() {
        let ten = |value, value_type, as_text| earlier(value, TEN, value_type, as_text);
        for (value, value_type, as_text, expected) in [
            ("2026-11-23 10:05:00", ValueType::Instant, true, Some("2026-11-23 09:55:00")),
            ("2026-11-23T10:05:00.5+02:00", ValueType::Text, false, Some("2026-11-23T09:55:00")),
            ("2026-11-23", ValueType::Date, false, Some("2026-11-22")),
            ("2026-11-23", ValueType::Text, true, Some("2026-11-22")),
            ("1800000000", ValueType::Integer, true, Some("1799999000")),
            ("17.0", ValueType::Decimal, false, Some("-983")),
            ("version b", ValueType::Text, false, None),
            ("\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}", ValueType::Text, true, None),
        ] {
            assert_eq!(ten(value, value_type, as_text).as_deref(), expected, "{value}");
        }
        let instant = ten("2026-11-23T10:05:00.123456Z", ValueType::Instant, false).unwrap();
        assert!(instant.starts_with("2026-11-23T09:55:00.123456"), "{instant}");
    }
}
