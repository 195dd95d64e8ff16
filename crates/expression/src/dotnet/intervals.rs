//! Sums and differences of times, as Visual Basic's `DateAdd` and `DateDiff` have them.

use chrono::{DateTime, Datelike, Months, TimeDelta, Utc};

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interval {
    Year,
    Quarter,
    Month,
    Day,
    /// A week of elapsed days (`w`).
    SevenDays,
    /// A week of the calendar, from Sunday (`ww`).
    Week,
    Hour,
    Minute,
    Second,
}

/// What an interval may be, for messages.
pub(crate) const INTERVALS: &str = "yyyy, q, m, y, d, w, ww, h, n or s";

impl Interval {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "yyyy" => Self::Year,
            "q" => Self::Quarter,
            "m" => Self::Month,
            "d" | "y" => Self::Day,
            "w" => Self::SevenDays,
            "ww" => Self::Week,
            "h" => Self::Hour,
            "n" => Self::Minute,
            "s" => Self::Second,
            _ => return None,
        })
    }
}

/// A time so many intervals later; `None` where no calendar reaches.
pub(crate) fn add(interval: Interval, number: i64, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let months = |each: i64| {
        let months = number.checked_mul(each)?;
        let count = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
        if months < 0 { to.checked_sub_months(count) } else { to.checked_add_months(count) }
    };
    let delta = |delta: Option<TimeDelta>| to.checked_add_signed(delta?);
    let sum = match interval {
        Interval::Year => months(12),
        Interval::Quarter => months(3),
        Interval::Month => months(1),
        // Adding does not know the two kinds of week apart from days, but for the calendar's.
        Interval::Day | Interval::SevenDays => delta(TimeDelta::try_days(number)),
        Interval::Week => delta(TimeDelta::try_weeks(number)),
        Interval::Hour => delta(TimeDelta::try_hours(number)),
        Interval::Minute => delta(TimeDelta::try_minutes(number)),
        Interval::Second => delta(TimeDelta::try_seconds(number)),
    };
    sum.filter(|sum| (1..=9999).contains(&sum.year()))
}

/// How many intervals lie between two times: whole elapsed units, but boundaries passed for weeks of the calendar,
/// months, quarters and years.
pub(crate) fn between(interval: Interval, from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    let elapsed = to - from;
    let (from_month, to_month) = (i64::from(from.month0()), i64::from(to.month0()));
    let years = i64::from(to.year()) - i64::from(from.year());
    match interval {
        Interval::Year => years,
        Interval::Quarter => years * 4 + to_month / 3 - from_month / 3,
        Interval::Month => years * 12 + to_month - from_month,
        Interval::Day => elapsed.num_days(),
        Interval::SevenDays => elapsed.num_days() / 7,
        Interval::Week => {
            let days = |instant: DateTime<Utc>| TimeDelta::days(i64::from(instant.weekday().num_days_from_sunday()));
            (elapsed - days(to) + days(from)).num_days() / 7
        }
        Interval::Hour => elapsed.num_hours(),
        Interval::Minute => elapsed.num_minutes(),
        Interval::Second => elapsed.num_seconds(),
    }
}
