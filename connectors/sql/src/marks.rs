//! How far a column that grows was read, when transactions may show their rows later than they numbered them.
//!
//! A row gets its time or number before its transaction ends, so a reader can see 7 before 5. What was the greatest value
//! a while ago is safe to start from once no transaction of that time can still be open; until then reading begins
//! earlier, and what was read before is read again.

use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use muster_connector::{Error, Watermark};
use muster_model::{Slot, Value, ValueType};
use serde::{Deserialize, Serialize};

use crate::text::{decode, encode_value};

/// Where a column was never looked at before, so much less than its greatest number is read again.
const NUMBERS: i64 = 1_000;

/// Looks remembered within one overlap.
const LOOKS: u32 = 20;

/// When which value was the greatest, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    /// Milliseconds since 1970 by this machine's clock, and the value as text.
    seen: Vec<(i64, String)>,
}

impl Marks {
    pub(crate) fn read(watermark: &Watermark) -> Result<Self, Error> {
        serde_json::from_slice(&watermark.0)
            .map_err(|_| Error::Expired { expired: muster_connector::Expired::Watermark })
    }

    pub(crate) fn watermark(&self) -> Watermark {
        Watermark(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The greatest value seen, if any.
    pub(crate) fn last(&self) -> Option<&str> {
        self.seen.last().map(|(_, value)| value.as_str())
    }

    /// Notes the greatest value of now.
    pub(crate) fn observe(&mut self, value: Option<&str>, now: i64, overlap: Duration) {
        let Some(value) = value else { return };
        let overlap = millis(overlap);
        // A clock that went back says nothing about the age of what it saw.
        self.seen.iter_mut().for_each(|(at, _)| *at = (*at).min(now));
        if self.last() == Some(value) {
            return;
        }
        // To remember fewer looks than there were only means to begin a little earlier.
        if self.seen.len() > 1 && self.seen.last().is_some_and(|(at, _)| now - at < overlap / i64::from(LOOKS)) {
            return;
        }
        self.seen.push((now, value.to_owned()));
        let is_old = |(at, _): &&(i64, String)| now - at >= overlap;
        let passed = self.seen.iter().take_while(is_old).count();
        self.seen.drain(..passed.saturating_sub(1));
    }

    /// The value after which reading begins; `None` is before all.
    pub(crate) fn start(&self, now: i64, overlap: Duration, value_type: ValueType, as_text: bool) -> Option<String> {
        let settled = self.seen.iter().rev().find(|(at, _)| now - at >= millis(overlap));
        match settled {
            // A whole day has one value.
            Some((_, value)) if value_type == ValueType::Date => earlier(value, Duration::ZERO, value_type, as_text),
            Some((_, value)) => Some(value.clone()),
            None => earlier(&self.seen.first()?.1, overlap, value_type, as_text),
        }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
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
        let start = |marks: &Marks, now| marks.start(now, TEN, ValueType::Integer, false);
        assert_eq!(start(&marks, 0), None);
        marks.observe(Some("5000"), 0, TEN);
        assert_eq!(start(&marks, 0).as_deref(), Some("4000"));
        marks.observe(Some("5010"), MINUTE, TEN);
        marks.observe(Some("5020"), 5 * MINUTE, TEN);
        assert_eq!(start(&marks, 9 * MINUTE).as_deref(), Some("4000"));
        assert_eq!(start(&marks, 10 * MINUTE).as_deref(), Some("5000"));
        assert_eq!(start(&marks, 14 * MINUTE).as_deref(), Some("5010"));
        // Nothing new for a while: only what is new is read.
        marks.observe(Some("5020"), 20 * MINUTE, TEN);
        assert_eq!(start(&marks, 20 * MINUTE).as_deref(), Some("5020"));
        assert_eq!(marks.last(), Some("5020"));
        // A clock that went back makes nothing older than it is.
        marks.observe(Some("5030"), 2 * MINUTE, TEN);
        assert_eq!(start(&marks, 3 * MINUTE), Some("4000".to_owned()));
        assert_eq!(Marks::read(&marks.watermark()).unwrap(), marks);
        assert!(matches!(Marks::read(&Watermark(b"x".to_vec())), Err(Error::Expired { .. })));
    }

    #[test]
    fn few_looks_are_remembered_and_none_that_is_needed_is_forgotten() {
        let mut marks = Marks::default();
        for second in 0..7_200 {
            let now = second * 1_000;
            marks.observe(Some(&(5_000 + second).to_string()), now, TEN);
            assert!(marks.seen.len() <= LOOKS as usize + 2);
            let start: i64 = marks.start(now, TEN, ValueType::Integer, false).unwrap().parse().unwrap();
            if second > 700 {
                // What was the greatest ten minutes ago, or at most a look earlier.
                assert!((second - 600 - 31..=second - 600).contains(&(start - 5_000)), "{second}: {start}");
            }
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
