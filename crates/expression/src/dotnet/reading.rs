//! Reading a date by an exact format, as .NET's `ParseExact` does.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Utc};

use super::dates::{DAYS, MONTHS, full_year, in_utc, leading_name};
use super::format::{Format, Item, Kind};

/// How lenient reading is, as .NET's `DateTimeStyles`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Styles {
    leading: bool,
    trailing: bool,
    inner: bool,
    to_universal: bool,
}

impl Default for Styles {
    /// What Entra takes where nothing is said: `RoundtripKind, AllowLeadingWhite, AllowTrailingWhite`.
    fn default() -> Self {
        Self { leading: true, trailing: true, inner: false, to_universal: false }
    }
}

impl Styles {
    /// Reads names of `DateTimeStyles` with commas between them.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut styles = Self { leading: false, trailing: false, inner: false, to_universal: false };
        for name in text.split([',', '|']).map(str::trim) {
            match name.trim_start_matches("DateTimeStyles.").to_ascii_lowercase().as_str() {
                "allowleadingwhite" => styles.leading = true,
                "allowtrailingwhite" => styles.trailing = true,
                "allowinnerwhite" => styles.inner = true,
                "allowwhitespaces" => (styles.leading, styles.trailing, styles.inner) = (true, true, true),
                "adjusttouniversal" => styles.to_universal = true,
                // Here all is in UTC, so that these say nothing new.
                "none" | "roundtripkind" | "assumeuniversal" | "assumelocal" | "nocurrentdatedefault" => {}
                _ => return Err(format!("{name:?} is none of .NET's DateTimeStyles, such as AllowWhiteSpaces")),
            }
        }
        Ok(styles)
    }
}

#[derive(Debug, Default)]
struct Parts {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    weekday: Option<u32>,
    hour: u32,
    in_halves: bool,
    is_pm: bool,
    minute: u32,
    second: u32,
    nanosecond: u32,
    offset: Option<i64>,
    is_utc: bool,
}

impl Format {
    /// Whether a text of this format says of which year it is.
    pub(crate) fn has_year(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Year(_)))
    }

    /// Reads a time; what the format leaves out is taken from `now`'s day, or is the first there is. `None` where the
    /// text is not of this format.
    pub(crate) fn read(&self, text: &str, styles: Styles, now: DateTime<Utc>) -> Option<(NaiveDateTime, Kind)> {
        let text = if styles.leading { text.trim_start() } else { text };
        let text = if styles.trailing { text.trim_end() } else { text };
        let mut parts = Parts::default();
        let mut reader = Reader { rest: text, inner: styles.inner };
        let mut items = self.items.iter().peekable();
        while let Some(item) = items.next() {
            if styles.inner {
                reader.rest = reader.rest.trim_start();
            }
            // The point goes with a fraction that need not be there.
            if *item == Item::Literal('.')
                && matches!(items.peek(), Some(Item::OptionalFraction(_)))
                && !reader.rest.starts_with('.')
            {
                items.next();
                continue;
            }
            reader.item(item, &mut parts)?;
        }
        if styles.inner {
            reader.rest = reader.rest.trim_start();
        }
        if !reader.rest.is_empty() {
            return None;
        }
        parts.time(now, styles)
    }
}

impl Parts {
    fn time(&self, now: DateTime<Utc>, styles: Styles) -> Option<(NaiveDateTime, Kind)> {
        let has_date = self.year.is_some() || self.month.is_some() || self.day.is_some();
        let date = if has_date {
            let year = self.year.unwrap_or_else(|| now.year());
            NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?
        } else {
            now.date_naive()
        };
        if self.weekday.is_some_and(|weekday| weekday != date.weekday().num_days_from_sunday()) {
            return None;
        }
        let hour = match (self.in_halves, self.hour) {
            (false, hour) => hour,
            (true, hour @ 0..=12) => hour % 12 + if self.is_pm { 12 } else { 0 },
            (true, _) => return None,
        };
        let local = date.and_hms_nano_opt(hour, self.minute, self.second, self.nanosecond)?;
        let utc = in_utc(local, self.offset.unwrap_or(0))?.naive_utc();
        let kind = match (self.offset, self.is_utc || styles.to_universal) {
            (_, true) => Kind::Utc,
            (Some(_), false) => Kind::Local,
            (None, false) => Kind::Unspecified,
        };
        Some((utc, kind))
    }
}

struct Reader<'a> {
    rest: &'a str,
    inner: bool,
}

impl Reader<'_> {
    fn item(&mut self, item: &Item, parts: &mut Parts) -> Option<()> {
        match item {
            Item::Literal(letter) => {
                if self.inner && letter.is_whitespace() {
                    return Some(());
                }
                self.rest = self.rest.strip_prefix(*letter)?;
            }
            Item::Zulu => {
                self.rest = self.rest.strip_prefix(['Z', 'z'])?;
                parts.is_utc = true;
            }
            Item::Day(width) => parts.day = Some(self.number(*width, 2)?),
            Item::Month(width) => parts.month = Some(self.number(*width, 2)?),
            Item::Hour(width) => parts.hour = self.number(*width, 2)?,
            Item::Hour12(width) => {
                parts.hour = self.number(*width, 2)?;
                parts.in_halves = true;
            }
            Item::Minute(width) => parts.minute = self.number(*width, 2)?,
            Item::Second(width) => parts.second = self.number(*width, 2)?,
            Item::Year(width @ (1 | 2)) => {
                let year = self.number(*width, 2)?;
                parts.year = Some(full_year(i32::try_from(year).ok()?));
            }
            Item::Year(width) => {
                let most = (*width).max(4);
                let least = if *width == 3 { 3 } else { *width };
                parts.year = Some(i32::try_from(self.number(least, most)?).ok()?);
            }
            Item::Weekday(_) => parts.weekday = Some(self.name(&DAYS)?),
            Item::MonthName(_) => parts.month = Some(self.name(&MONTHS)? + 1),
            Item::Fraction(digits) => {
                let taken = self.digits(*digits).filter(|taken| taken.len() == *digits)?;
                parts.nanosecond = nanoseconds(taken)?;
            }
            Item::OptionalFraction(digits) => parts.nanosecond = nanoseconds(self.digits(*digits)?)?,
            Item::Half(width) => {
                parts.is_pm = self.half(*width)?;
            }
            Item::Era => {
                let rest = self.rest.strip_prefix("A.D.").or_else(|| self.rest.strip_prefix("AD"))?;
                self.rest = rest;
            }
            Item::Offset(width) => parts.offset = Some(self.offset(*width)?),
            Item::Kind => match self.rest.strip_prefix(['Z', 'z']) {
                Some(rest) => {
                    self.rest = rest;
                    parts.is_utc = true;
                }
                None if self.rest.starts_with(['+', '-']) => parts.offset = Some(self.offset(3)?),
                None => {}
            },
        }
        Some(())
    }

    /// At most so many digits, possibly none.
    fn digits(&mut self, most: usize) -> Option<&str> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count().min(most);
        let (digits, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(digits)
    }

    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let digits = self.digits(most)?;
        if digits.len() < least {
            return None;
        }
        digits.parse().ok()
    }

    fn name(&mut self, names: &[&str]) -> Option<u32> {
        let (position, length) = leading_name(self.rest, names)?;
        self.rest = self.rest.get(length..)?;
        u32::try_from(position).ok()
    }

    fn half(&mut self, width: usize) -> Option<bool> {
        let words: [(&str, bool); 2] =
            if width == 1 { [("A", false), ("P", true)] } else { [("AM", false), ("PM", true)] };
        let (word, is_pm) = words
            .into_iter()
            .find(|(word, _)| self.rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)))?;
        self.rest = self.rest.get(word.len()..)?;
        Some(is_pm)
    }

    fn offset(&mut self, width: usize) -> Option<i64> {
        let sign = if self.rest.starts_with('-') { -1 } else { 1 };
        self.rest = self.rest.strip_prefix(['+', '-'])?;
        let hours = i64::from(self.number(width.min(2), 2)?);
        let mut minutes = 0;
        if width >= 3 {
            self.rest = self.rest.strip_prefix(':').unwrap_or(self.rest);
            minutes = i64::from(self.number(2, 2)?);
        }
        (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes))
    }
}

fn nanoseconds(digits: &str) -> Option<u32> {
    let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
    nine.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dotnet::dates::{general_text, parse_instant};

    fn read(format: &str, styles: &str, text: &str) -> Option<String> {
        let now = parse_instant("2021-07-02").unwrap();
        let (time, kind) = Format::parse(format).unwrap().read(text, Styles::parse(styles).unwrap(), now)?;
        Some(format!("{} {kind:?}", general_text(time.and_utc())))
    }

    #[test]
    fn times_are_read_by_their_format_alone() {
        let cases = [
            ("yyyyMMddHHmmss.fZ", "", "20150123105347.1Z", Some("1/23/2015 10:53:47 AM Utc")),
            ("M/d/yyyy h:mm:ss tt", "", " 8/25/2021 5:41:18 PM ", Some("8/25/2021 5:41:18 PM Unspecified")),
            ("M/d/yyyy h:mm:ss tt", "None", " 8/25/2021 5:41:18 PM", None),
            ("M/d/yyyy h:mm", "AllowWhiteSpaces", " 8 / 25/ 2021   5:41 ", Some("8/25/2021 5:41:00 AM Unspecified")),
            ("yyyy-MM-ddTHH:mm:sszzz", "", "2021-08-25T17:00:00+02:00", Some("8/25/2021 3:00:00 PM Local")),
            ("yyyy-MM-ddTHH:mm:ssK", "", "2021-08-25T17:00:00Z", Some("8/25/2021 5:00:00 PM Utc")),
            ("yyyy-MM-ddTHH:mm:ssK", "", "2021-08-25T17:00:00", Some("8/25/2021 5:00:00 PM Unspecified")),
            ("ddd, d MMMM yyyy", "", "wed, 25 August 2021", Some("8/25/2021 12:00:00 AM Unspecified")),
            ("ddd, d MMMM yyyy", "", "Thu, 25 August 2021", None),
            ("dd.MM.yy", "AdjustToUniversal", "05.06.49", Some("6/5/2049 12:00:00 AM Utc")),
            ("dd.MM.yy", "", "05.06.50", Some("6/5/1950 12:00:00 AM Unspecified")),
            ("dd.MM.yy", "", "5.06.50", None),
            ("HH:mm:ss.FFF", "", "10:11:12", Some("7/2/2021 10:11:12 AM Unspecified")),
            ("HH:mm:ss.FFF", "", "10:11:12.5", Some("7/2/2021 10:11:12 AM Unspecified")),
            ("h tt", "", "12 am", Some("7/2/2021 12:00:00 AM Unspecified")),
            ("h tt", "", "13 am", None),
            ("yyyy", "", "2020", Some("1/1/2020 12:00:00 AM Unspecified")),
            ("yyyy-MM-dd", "", "2021-02-29", None),
            ("yyyy-MM-dd", "", "2021-02-2", None),
            ("yyyy-MM-dd", "", "2021-02-22x", None),
            ("yyyy-MM-dd", "", "åäö", None),
        ];
        for (format, styles, text, expected) in cases {
            assert_eq!(read(format, styles, text).as_deref(), expected, "{text:?} by {format:?}");
        }
        assert!(Styles::parse("Sloppy").is_err());
    }
}
