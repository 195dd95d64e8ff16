//! Dates as texts, in the forms that .NET reads by itself in the invariant culture, and the one that Entra writes.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc};

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Sunday first, as .NET counts.
pub(crate) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Seconds from 1601, where file times begin, to 1970.
const FILE_TIME_EPOCH: i64 = 11_644_473_600;

/// The text of a time between functions: `M/d/yyyy h:mm:ss tt` in UTC.
pub(crate) fn general_text(instant: DateTime<Utc>) -> String {
    let (is_pm, hour) = instant.hour12();
    format!(
        "{}/{}/{:04} {hour}:{:02}:{:02} {}",
        instant.month(),
        instant.day(),
        instant.year(),
        instant.minute(),
        instant.second(),
        if is_pm { "PM" } else { "AM" }
    )
}

/// Reads a date or time in any of the forms that .NET understands by itself: ISO 8601, `M/d/yyyy h:mm:ss tt`,
/// `16 March 2020`, `Mar 16, 2020 7:00 PM`, RFC 1123; each with an offset or without, then in UTC.
#[must_use]
pub fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    // Longer than any date, and nothing to spend time on.
    if text.len() > 100 {
        return None;
    }
    let mut reader = Reader { rest: text };
    reader.weekday();
    let date = reader.date()?;
    let time = reader.time()?;
    reader.spaces();
    let offset = reader.offset()?;
    if !reader.rest.is_empty() {
        return None;
    }
    let local = date.and_hms_nano_opt(time.hour, time.minute, time.second, time.nanosecond)?;
    in_utc(local, offset)
}

/// Reads a text that names a day and nothing more, in any of the forms of [`parse_instant`]. `None` where a time or an
/// offset follows, or where it is no date.
#[must_use]
pub fn parse_day(text: &str) -> Option<NaiveDate> {
    let text = text.trim();
    if text.len() > 100 {
        return None;
    }
    let mut reader = Reader { rest: text };
    reader.weekday();
    let date = reader.date()?;
    reader.rest.is_empty().then_some(date)
}

/// A local time with its offset in minutes.
pub(crate) fn in_utc(local: NaiveDateTime, offset: i64) -> Option<DateTime<Utc>> {
    let utc = local.checked_sub_signed(TimeDelta::try_minutes(offset)?)?;
    // .NET knows no other years.
    (1..=9999).contains(&utc.year()).then(|| utc.and_utc())
}

/// 100 nanoseconds since 1601.
pub(crate) fn to_file_time(instant: DateTime<Utc>) -> Option<i64> {
    let seconds = instant.timestamp().checked_add(FILE_TIME_EPOCH)?;
    seconds.checked_mul(10_000_000)?.checked_add(i64::from(instant.timestamp_subsec_nanos() / 100))
}

/// The time of a file time; `None` for what no calendar holds.
pub(crate) fn from_file_time(file_time: i64) -> Option<DateTime<Utc>> {
    let seconds = file_time.div_euclid(10_000_000).checked_sub(FILE_TIME_EPOCH)?;
    let rest = u32::try_from(file_time.rem_euclid(10_000_000)).ok()?;
    DateTime::from_timestamp(seconds, rest * 100).filter(|instant| (1601..=9999).contains(&instant.year()))
}

/// The year that two digits mean.
pub(crate) fn full_year(two_digits: i32) -> i32 {
    if two_digits < 50 { 2000 + two_digits } else { 1900 + two_digits }
}

/// The number (from 0) and length of the name that the text begins with, whole or by its first three letters.
pub(crate) fn leading_name(text: &str, names: &[&str]) -> Option<(usize, usize)> {
    let begins = |name: &str| text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    let whole = names.iter().position(|name| begins(name)).and_then(|at| Some((at, names.get(at)?.len())));
    whole.or_else(|| names.iter().position(|name| begins(name.get(..3).unwrap_or(name))).map(|at| (at, 3)))
}

#[derive(Debug, Default)]
struct Time {
    hour: u32,
    minute: u32,
    second: u32,
    nanosecond: u32,
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn spaces(&mut self) -> bool {
        let rest = self.rest.trim_start();
        let some = rest.len() < self.rest.len();
        self.rest = rest;
        some
    }

    fn sign(&mut self, signs: &[char]) -> Option<char> {
        let first = self.rest.chars().next().filter(|letter| signs.contains(letter))?;
        self.rest = self.rest.get(first.len_utf8()..)?;
        Some(first)
    }

    /// A number of at most so many digits, and how many it has.
    fn number(&mut self, most: usize) -> Option<(u32, usize)> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || digits > most {
            return None;
        }
        let (number, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        Some((number.parse().ok()?, digits))
    }

    fn name(&mut self, names: &[&str]) -> Option<u32> {
        let (position, length) = leading_name(self.rest, names)?;
        let rest = self.rest.get(length..)?;
        if rest.starts_with(char::is_alphabetic) {
            return None;
        }
        self.rest = rest;
        u32::try_from(position).ok()
    }

    fn weekday(&mut self) {
        if self.name(&DAYS).is_some() {
            self.sign(&[',']);
            self.spaces();
        }
    }

    fn date(&mut self) -> Option<NaiveDate> {
        if let Some(month) = self.name(&MONTHS) {
            self.sign(&['.']);
            self.spaces();
            let (day, _) = self.number(2)?;
            self.sign(&[',']);
            self.spaces();
            return NaiveDate::from_ymd_opt(self.year()?, month + 1, day);
        }
        let (first, digits) = self.number(4)?;
        let spaced = self.spaces();
        let separator = self.sign(&['-', '/', '.']);
        if let Some(month) = self.name(&MONTHS) {
            self.sign(&['-', '/', ',', '.']);
            self.spaces();
            return NaiveDate::from_ymd_opt(self.year()?, month + 1, first);
        }
        if spaced {
            return None;
        }
        let separator = separator.filter(|sign| *sign != '.')?;
        let (second, _) = self.number(2)?;
        self.sign(&[separator])?;
        if digits > 2 {
            let (day, _) = self.number(2)?;
            return NaiveDate::from_ymd_opt(i32::try_from(first).ok()?, second, day);
        }
        NaiveDate::from_ymd_opt(self.year()?, first, second)
    }

    fn year(&mut self) -> Option<i32> {
        let (year, digits) = self.number(4)?;
        let year = i32::try_from(year).ok()?;
        match digits {
            1 | 2 => Some(full_year(year)),
            4 => Some(year),
            _ => None,
        }
    }

    /// Midnight where no time follows.
    fn time(&mut self) -> Option<Time> {
        let before = self.rest;
        let separated = self.sign(&['T', 't']).is_some() || self.spaces();
        if !separated || !self.rest.starts_with(|letter: char| letter.is_ascii_digit()) {
            self.rest = before;
            return Some(Time::default());
        }
        let mut time = Time { hour: self.number(2)?.0, ..Time::default() };
        if self.sign(&[':']).is_some() {
            time.minute = self.number(2)?.0;
            if self.sign(&[':']).is_some() {
                time.second = self.number(2)?.0;
                if self.sign(&['.', ',']).is_some() {
                    let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
                    let (fraction, rest) = self.rest.split_at_checked(digits)?;
                    self.rest = rest;
                    let nine: String = fraction.chars().chain("000000000".chars()).take(9).collect();
                    time.nanosecond = if fraction.is_empty() { return None } else { nine.parse().ok()? };
                }
            }
        } else if !self.rest.trim_start().starts_with(['a', 'A', 'p', 'P']) {
            // A lone number is no time.
            return None;
        }
        let before = self.rest;
        self.spaces();
        match self.half() {
            Some(is_pm) if time.hour <= 12 => time.hour = time.hour % 12 + if is_pm { 12 } else { 0 },
            Some(_) => return None,
            None => self.rest = before,
        }
        Some(time)
    }

    /// AM or PM.
    fn half(&mut self) -> Option<bool> {
        let is_pm = match self.rest.bytes().next()? {
            b'a' | b'A' => false,
            b'p' | b'P' => true,
            _ => return None,
        };
        let rest = self.rest.get(1..)?;
        self.rest = rest.strip_prefix(['m', 'M']).unwrap_or(rest);
        Some(is_pm)
    }

    /// Minutes east of Greenwich; 0 where none is said.
    fn offset(&mut self) -> Option<i64> {
        for name in ["Z", "GMT", "UTC"] {
            if self.rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name)) {
                self.rest = self.rest.get(name.len()..)?;
                return Some(0);
            }
        }
        let sign = match self.sign(&['+', '-', '\u{2212}']) {
            None => return Some(0),
            Some('+') => 1,
            Some(_) => -1,
        };
        let (first, digits) = self.number(4)?;
        let (hours, minutes) = match digits {
            1 | 2 if self.sign(&[':']).is_some() => (first, self.number(2)?.0),
            1 | 2 => (first, 0),
            4 => (first / 100, first % 100),
            _ => return None,
        };
        (hours <= 14 && minutes < 60).then(|| sign * i64::from(hours * 60 + minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_net_does() {
        let cases = [
            ("2020-03-16-07:00", "3/16/2020 7:00:00 AM"),
            ("2021-06-30+08:00", "6/29/2021 4:00:00 PM"),
            ("2009-06-15T01:45:30-07:00", "6/15/2009 8:45:30 AM"),
            ("2009-06-15T01:45:30.1234567Z", "6/15/2009 1:45:30 AM"),
            ("2020-12-31 23:59:59 -0800", "1/1/2021 7:59:59 AM"),
            ("8/25/2021 5:41:18 PM", "8/25/2021 5:41:18 PM"),
            ("8/25/21 12:00 am", "8/25/2021 12:00:00 AM"),
            ("8/25/2021 12:30PM", "8/25/2021 12:30:00 PM"),
            ("16 March 2020", "3/16/2020 12:00:00 AM"),
            ("16-Mar-2020 7:05", "3/16/2020 7:05:00 AM"),
            ("Mar 16, 2020 7 PM", "3/16/2020 7:00:00 PM"),
            ("Mon, 16 Mar 2020 19:00:00 GMT", "3/16/2020 7:00:00 PM"),
            ("Monday, 16 March 2020", "3/16/2020 12:00:00 AM"),
            ("2020/3/1", "3/1/2020 12:00:00 AM"),
            ("  2020-03-16 ", "3/16/2020 12:00:00 AM"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_instant(text).map(general_text).as_deref(), Some(expected), "{text}");
        }
        let none = [
            "",
            "x",
            "2020",
            "20200316",
            "2020-13-01",
            "2021-02-29",
            "13/1/2020",
            "16.03.2020",
            "2020-03-16T",
            "3/16",
            "2020-03-16 25:00",
            "2020-03-16 13:00 PM",
            "2020-03-16 7",
            "2020-03-16+25:00",
            "9999-12-31T23:00-05:00",
            "2020-03-16x",
            "é2020-03-16",
            "2020-03-16T07:00:00.",
        ];
        for text in none {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_is_a_date_without_time_and_offset() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 30);
        for text in ["2026-11-30", " 11/30/2026 ", "30 November 2026", "Monday, 30 November 2026"] {
            assert_eq!(parse_day(text), day, "{text}");
        }
        for text in ["2026-11-30T00:00", "2026-11-30Z", "2026-11-30 00:00:00", "2026-11-31", "30.11.2026", "", "never"]
        {
            assert_eq!(parse_day(text), None, "{text}");
        }
    }

    #[test]
    fn file_times_count_from_1601() {
        assert_eq!(from_file_time(129_699_324_000_000_000).map(general_text).unwrap(), "1/1/2012 11:00:00 PM");
        assert_eq!(to_file_time(parse_instant("2020-12-31 23:59:59-08:00").unwrap()), Some(132_539_615_990_000_000));
        assert_eq!(from_file_time(i64::MAX), None);
        assert_eq!(from_file_time(-1), None);
    }
}
