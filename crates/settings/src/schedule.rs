//! Times of the calendar at which a sync runs, as cron writes them.

use std::fmt;

use chrono::{DateTime, TimeZone};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// How schedules are written, for messages.
pub(crate) const SCHEDULE_FORM: &str = "write the five fields of cron (minute, hour, day of the month, month, day of the week), such as \"*/15 6-20 * * 1-5\"";

/// The five fields: what each is, what it may hold, and an example.
const FIELDS: [(&str, &str, &str); 5] = [
    ("minute", "0 to 59", "*/15"),
    ("hour", "0 to 23", "6-20"),
    ("day of the month", "1 to 31, or L for the last one", "1,15"),
    ("month", "1 to 12, or JAN to DEC", "1-6"),
    ("day of the week", "0 to 7 (0 and 7 are Sunday), or SUN to SAT", "1-5"),
];

/// A calendar of five fields: minute, hour, day of the month, month, day of the week.
#[derive(Clone, PartialEq)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

impl Schedule {
    /// Reads the five fields; the error says what is wrong with them.
    ///
    /// # Errors
    /// There are not five fields, one of them cannot be read, or they never come together, like 30 February.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(format!("it has {} fields and not five", fields.len()));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        // The parser's own words name no field, so each is read alone to find the one to blame.
        let cron = parser.parse(text).map_err(|_| {
            let blamed = fields.iter().zip(FIELDS).enumerate().find(|(position, (field, _))| {
                let mut alone = ["*"; FIELDS.len()];
                alone[*position] = field;
                parser.parse(&alone.join(" ")).is_err()
            });
            match blamed {
                Some((_, (field, (name, holds, example)))) => {
                    format!("its {name} is {field:?}, where {holds} is expected, also as a list, range or step such as {example:?}")
                }
                None => "its fields do not go together".to_owned(),
            }
        })?;
        let schedule = Self { text: text.to_owned(), cron };
        match schedule.next_after(&DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err("this time never comes".to_owned()),
        }
    }

    /// The first moment of the calendar after this one, in its time zone. Where a clock is put forward, what falls
    /// into the gap comes right after it.
    #[must_use]
    pub fn next_after<Zone: TimeZone>(&self, time: &DateTime<Zone>) -> Option<DateTime<Zone>> {
        self.cron.find_next_occurrence(time, false).ok()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Schedule({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_is_read_and_what_is_none_refused() {
        let schedule = Schedule::parse("*/15 6-20 * * 1-5").unwrap();
        let next = |time: &str| {
            let time: DateTime<chrono::FixedOffset> = time.parse().unwrap();
            schedule.next_after(&time).unwrap().to_rfc3339()
        };
        assert_eq!(next("2026-11-23T06:00:00+01:00"), "2026-11-23T06:15:00+01:00");
        assert_eq!(next("2026-11-23T06:14:59+01:00"), "2026-11-23T06:15:00+01:00");
        // Friday evening to Monday morning.
        assert_eq!(next("2026-11-27T20:45:00+01:00"), "2026-11-30T06:00:00+01:00");
        for (text, problem) in [
            ("* * * *", "4 fields"),
            ("0 * * * * *", "6 fields"),
            ("@hourly", "1 fields"),
            (
                "61 * * * *",
                "its minute is \"61\", where 0 to 59 is expected, also as a list, range or step such as \"*/15\"",
            ),
            ("0 6-25 * * *", "its hour is \"6-25\", where 0 to 23 is expected"),
            ("0 0 32 * *", "its day of the month is \"32\""),
            ("0 0 * 13 *", "its month is \"13\""),
            ("0 0 * * MOO", "its day of the week is \"MOO\", where 0 to 7"),
            ("a b c d e", "its minute is \"a\""),
            ("0 0 30 2 *", "never comes"),
        ] {
            let said = Schedule::parse(text).unwrap_err();
            assert!(said.contains(problem), "{text}: {said}");
        }
    }
}
