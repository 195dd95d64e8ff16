//! Reading the dates from when until when a person has access.
//!
//! A date that is not there is no bound. A day without a time begins where the configured time zone says; times without
//! an offset are in UTC, as everywhere in expressions. Pure.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _, Timelike as _};
use chrono_tz::Tz;
use muster_expression::{Context, Flow, parse_day, parse_instant};
use muster_model::{Row, Slot, Value};

use crate::compile::Input;
use crate::rules::{EndDay, LifecycleRules};

/// The dates of a sync, resolved.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    pub(crate) starts: Option<Input>,
    pub(crate) ends: Option<Input>,
    pub(crate) rules: LifecycleRules,
}

/// One end of the time in which a person has access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bound {
    /// There is none.
    Open,
    /// In milliseconds since 1970.
    At(i64),
    /// The value is no date; what it is, and what was expected.
    Unreadable(String),
}

impl Bound {
    pub(crate) fn at(&self) -> Option<i64> {
        if let Self::At(time) = self { Some(*time) } else { None }
    }

    pub(crate) fn problem(&self) -> Option<&str> {
        if let Self::Unreadable(problem) = self { Some(problem) } else { None }
    }
}

/// The time in which a person has access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: Bound,
    pub(crate) end: Bound,
}

impl Window {
    pub(crate) fn is_before(&self, now: i64) -> bool {
        self.start.at().is_some_and(|start| now < start)
    }

    pub(crate) fn has_ended(&self, now: i64) -> bool {
        self.end.at().is_some_and(|end| now >= end)
    }

    /// The end does not come after the start, so that nobody ever has access.
    pub(crate) fn is_empty(&self) -> bool {
        matches!((&self.start, &self.end), (Bound::At(start), Bound::At(end)) if start >= end)
    }
}

impl Lifecycle {
    /// The dates that an object has; what is not known yet bounds nothing.
    pub(crate) fn window(&self, source: &Row) -> Window {
        let zone = self.rules.time_zone;
        let end = |day: NaiveDate| match self.rules.end_day {
            EndDay::Included => day.checked_add_days(Days::new(1)).map(|next| day_begins(zone, next)),
            EndDay::Excluded => Some(day_begins(zone, day)),
        };
        Window {
            start: bound(self.starts.as_ref(), source, |day| Some(day_begins(zone, day))),
            end: bound(self.ends.as_ref(), source, end),
        }
    }
}

/// What a date comes to; `of_day` says at which moment a day without a time is meant.
pub(crate) fn bound(input: Option<&Input>, source: &Row, of_day: impl Fn(NaiveDate) -> Option<i64>) -> Bound {
    let slot = match input {
        Some(Input::Source(position)) => source.slot(*position).clone(),
        Some(Input::Constant(slot)) => slot.clone(),
        Some(Input::Expression(program)) => {
            // No function that depends on the time or on chance is let through by `check`.
            let context = Context { now: DateTime::UNIX_EPOCH, seed: [0; 16], default_domain: None, is_taken: None };
            match program.evaluate(source, &context) {
                Ok(Flow::Value(slot)) => slot,
                Ok(Flow::Nothing | Flow::Unknown) => Slot::Null,
                Err(failure) => return Bound::Unreadable(failure.problem),
            }
        }
        Some(Input::Reference(_) | Input::Enabled | Input::None) | None => Slot::Null,
    };
    let value = match slot {
        Slot::Unknown | Slot::Null => return Bound::Open,
        Slot::One(value) => value,
        Slot::Many(values) => match values.as_slice() {
            [value] => value.clone(),
            several => return Bound::Unreadable(format!("{} values, where one date is expected", several.len())),
        },
    };
    let time = match &value {
        Value::Date(day) => of_day(*day),
        Value::Instant(instant) => Some(instant.timestamp_millis()),
        Value::Text(text) if text.trim().is_empty() => return Bound::Open,
        Value::Text(text) => match parse_day(text) {
            Some(day) => of_day(day),
            None => parse_instant(text).map(|instant| instant.timestamp_millis()),
        },
        _ => None,
    };
    time.map_or_else(
        || {
            let expected = "is no date; \"2026-11-30\" or \"2026-11-30T17:00:00+01:00\" is expected, and FormatDateTime \
                makes it of other forms";
            Bound::Unreadable(format!("{:?} {expected}", value.to_string()))
        },
        Bound::At,
    )
}

/// The moment at which a day begins somewhere: at midnight, or right after the gap where clocks skip it.
fn day_begins(zone: Tz, day: NaiveDate) -> i64 {
    local(zone, day.and_hms_opt(0, 0, 0).unwrap_or_default())
}

/// A local time; of two the first one, and for one that never was the moment at which the gap ends.
fn local(zone: Tz, time: NaiveDateTime) -> i64 {
    // A whole day was left out once, where a date line moved.
    const LONGEST_GAP: i64 = 25 * 60;
    let whole = time.with_second(0).unwrap_or(time);
    for minutes in 0..=LONGEST_GAP {
        let Some(time) = whole.checked_add_signed(TimeDelta::minutes(minutes)) else { break };
        match zone.from_local_datetime(&time) {
            LocalResult::Single(found) | LocalResult::Ambiguous(found, _) => return found.timestamp_millis(),
            LocalResult::None => {}
        }
    }
    time.and_utc().timestamp_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(zone: Tz, day: &str) -> String {
        let time = DateTime::from_timestamp_millis(day_begins(zone, day.parse().unwrap())).unwrap();
        time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    #[test]
    fn a_day_begins_where_its_zone_says() {
        let cases = [
            (Tz::UTC, "2026-11-30", "2026-11-30T00:00:00Z"),
            (Tz::Europe__Berlin, "2026-11-30", "2026-11-29T23:00:00Z"),
            // In summer an hour sooner, and on the days themselves at which clocks change.
            (Tz::Europe__Berlin, "2026-07-01", "2026-06-30T22:00:00Z"),
            (Tz::Europe__Berlin, "2026-03-29", "2026-03-28T23:00:00Z"),
            (Tz::Europe__Berlin, "2026-03-30", "2026-03-29T22:00:00Z"),
            (Tz::Europe__Berlin, "2026-10-26", "2026-10-25T23:00:00Z"),
            // Midnight is skipped: the day begins at one o'clock.
            (Tz::Africa__Cairo, "2026-04-24", "2026-04-23T22:00:00Z"),
            // Midnight comes twice: the day begins with the first.
            (Tz::America__Havana, "2026-11-01", "2026-11-01T04:00:00Z"),
            // A day that never was begins with the next.
            (Tz::Pacific__Apia, "2011-12-30", "2011-12-30T10:00:00Z"),
        ];
        for (zone, day, expected) in cases {
            assert_eq!(begins(zone, day), expected, "{day} in {zone}");
        }
    }

    fn read(value: Slot, end_day: EndDay) -> (Bound, Bound) {
        let rules = LifecycleRules {
            starts: None,
            ends: None,
            create_before: None,
            delete_after: None,
            time_zone: Tz::Europe__Berlin,
            end_day,
        };
        let input = Some(Input::Source(0));
        let window = Lifecycle { starts: input.clone(), ends: input, rules }.window(&Row(vec![value]));
        (window.start, window.end)
    }

    fn at(text: &str) -> Bound {
        Bound::At(parse_instant(text).unwrap().timestamp_millis())
    }

    #[test]
    fn a_last_day_ends_with_the_day_and_a_moment_at_once() {
        let (start, end) = (at("2026-11-29T23:00Z"), at("2026-11-30T23:00Z"));
        let day = Slot::One(Value::Date(NaiveDate::from_ymd_opt(2026, 11, 30).unwrap()));
        for value in [day, Slot::text("2026-11-30"), Slot::text("11/30/2026"), Slot::text(" 30 November 2026 ")] {
            assert_eq!(read(value.clone(), EndDay::Included), (start.clone(), end.clone()), "{value:?}");
            assert_eq!(read(value, EndDay::Excluded), (start.clone(), start.clone()));
        }
        for (text, expected) in [
            ("2026-11-30T00:00:00Z", "2026-11-30T00:00Z"),
            ("2026-11-30T17:00+01:00", "2026-11-30T16:00Z"),
            // What functions make of times is in UTC.
            ("11/30/2026 12:00:00 AM", "2026-11-30T00:00Z"),
        ] {
            assert_eq!(read(Slot::text(text), EndDay::Included), (at(expected), at(expected)), "{text}");
        }
        for none in [Slot::Null, Slot::Unknown, Slot::text(""), Slot::text("  "), Slot::many(Vec::new())] {
            assert_eq!(read(none.clone(), EndDay::Included), (Bound::Open, Bound::Open), "{none:?}");
        }
        for text in ["soon", "30.11.2026", "20261130", "2026-02-30", "0"] {
            let (start, end) = read(Slot::text(text), EndDay::Included);
            assert!(start.problem().unwrap().starts_with(&format!("{text:?} is no date")), "{start:?}");
            assert!(end.problem().is_some());
        }
    }
}
