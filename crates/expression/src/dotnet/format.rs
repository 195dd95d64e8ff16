//! .NET's format strings for dates: parsed once, written and (in `reading`) read.

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::dates::{DAYS, MONTHS};

/// A format string, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Literal(char),
    /// `d`, `dd`
    Day(usize),
    /// `ddd`, `dddd`
    Weekday(usize),
    /// `M`, `MM`
    Month(usize),
    /// `MMM`, `MMMM`
    MonthName(usize),
    /// `y` to `yyyyy`
    Year(usize),
    /// `H`, `HH`
    Hour(usize),
    /// `h`, `hh`
    Hour12(usize),
    Minute(usize),
    Second(usize),
    /// `f` to `fffffff`
    Fraction(usize),
    /// `F` to `FFFFFFF`: without zeros at the end
    OptionalFraction(usize),
    /// `t`, `tt`
    Half(usize),
    /// `g`, `gg`
    Era,
    /// `z` to `zzz`
    Offset(usize),
    /// `K`
    Kind,
    /// `Z`: a letter when written; when read it says that the time is in UTC
    Zulu,
}

/// Whether a time says that it is in UTC, as far as it can be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unspecified,
    Utc,
    Local,
}

fn standard(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "MM/dd/yyyy",
        'D' => "dddd, dd MMMM yyyy",
        'f' => "dddd, dd MMMM yyyy HH:mm",
        'F' | 'U' => "dddd, dd MMMM yyyy HH:mm:ss",
        'g' => "MM/dd/yyyy HH:mm",
        'G' => "MM/dd/yyyy HH:mm:ss",
        'm' | 'M' => "MMMM dd",
        'o' | 'O' => "yyyy'-'MM'-'dd'T'HH':'mm':'ss'.'fffffffK",
        'r' | 'R' => "ddd, dd MMM yyyy HH':'mm':'ss 'GMT'",
        's' => "yyyy'-'MM'-'dd'T'HH':'mm':'ss",
        't' => "HH:mm",
        'T' => "HH:mm:ss",
        'u' => "yyyy'-'MM'-'dd HH':'mm':'ss'Z'",
        'y' | 'Y' => "yyyy MMMM",
        _ => return None,
    })
}

impl Format {
    /// Understands a format string, standard or custom.
    pub(crate) fn parse(format: &str) -> Result<Self, String> {
        if format.is_empty() {
            return Err("the format is empty".to_owned());
        }
        let mut letters = format.chars();
        let custom = match (letters.next(), letters.next()) {
            (Some(letter), None) => {
                standard(letter).ok_or_else(|| format!("{letter:?} is no standard format of .NET"))?
            }
            _ => format,
        };
        let letters: Vec<char> = custom.chars().collect();
        let mut items = Vec::new();
        let mut at = 0;
        while let Some(&letter) = letters.get(at) {
            let count = letters.iter().skip(at).take_while(|other| **other == letter).count();
            at += match letter {
                'd' | 'f' | 'F' | 'g' | 'h' | 'H' | 'm' | 'M' | 's' | 't' | 'y' | 'z' => {
                    items.push(item(letter, count).ok_or_else(|| format!("{count} times {letter:?} is too many"))?);
                    count
                }
                'K' => push(&mut items, Item::Kind),
                'Z' => push(&mut items, Item::Zulu),
                '%' => match letters.get(at + 1) {
                    None | Some('%') => return Err("% must be followed by a format".to_owned()),
                    Some(_) => 1,
                },
                '\\' => match letters.get(at + 1) {
                    None => return Err("a backslash must be followed by a letter".to_owned()),
                    Some(escaped) => push(&mut items, Item::Literal(*escaped)) + 1,
                },
                '\'' | '"' => quoted(&letters, at, &mut items)?,
                other => push(&mut items, Item::Literal(other)),
            };
        }
        Ok(Self { items })
    }

    /// The text of a time.
    pub(crate) fn write(&self, time: NaiveDateTime, kind: Kind) -> String {
        let mut text = String::new();
        for item in &self.items {
            write_item(item, time, kind, &mut text);
        }
        text
    }
}

fn push(items: &mut Vec<Item>, item: Item) -> usize {
    items.push(item);
    1
}

fn item(letter: char, count: usize) -> Option<Item> {
    Some(match (letter, count) {
        ('d', 1 | 2) => Item::Day(count),
        ('d', _) => Item::Weekday(count.min(4)),
        ('M', 1 | 2) => Item::Month(count),
        ('M', _) => Item::MonthName(count.min(4)),
        ('y', 1..=9) => Item::Year(count),
        ('h', _) => Item::Hour12(count.min(2)),
        ('H', _) => Item::Hour(count.min(2)),
        ('m', _) => Item::Minute(count.min(2)),
        ('s', _) => Item::Second(count.min(2)),
        ('t', _) => Item::Half(count.min(2)),
        ('f', 1..=7) => Item::Fraction(count),
        ('F', 1..=7) => Item::OptionalFraction(count),
        ('g', _) => Item::Era,
        ('z', _) => Item::Offset(count.min(3)),
        _ => return None,
    })
}

/// What stands between quotes, as letters; returns how many letters of the format it takes.
fn quoted(letters: &[char], at: usize, items: &mut Vec<Item>) -> Result<usize, String> {
    let quote = letters.get(at).copied().unwrap_or('"');
    let mut used = 1;
    loop {
        match letters.get(at + used) {
            None => return Err(format!("the closing {quote} is missing")),
            Some(letter) if *letter == quote => return Ok(used + 1),
            Some('\\') => match letters.get(at + used + 1) {
                None => return Err(format!("the closing {quote} is missing")),
                Some(escaped) => used += push(items, Item::Literal(*escaped)) + 1,
            },
            Some(letter) => used += push(items, Item::Literal(*letter)),
        }
    }
}

fn write_item(item: &Item, time: NaiveDateTime, kind: Kind, text: &mut String) {
    let name = |names: &[&str], number: u32, length: usize| {
        let name = names.get(number as usize).copied().unwrap_or("");
        if length == 3 { name.get(..3).unwrap_or(name).to_owned() } else { name.to_owned() }
    };
    let padded = |number: u32, width: usize| format!("{number:0width$}");
    let (is_pm, hour12) = time.hour12();
    let half = if is_pm { "PM" } else { "AM" };
    let part = match item {
        Item::Literal(letter) => letter.to_string(),
        Item::Zulu => "Z".to_owned(),
        Item::Day(width) => padded(time.day(), *width),
        Item::Weekday(length) => name(&DAYS, time.weekday().num_days_from_sunday(), *length),
        Item::Month(width) => padded(time.month(), *width),
        Item::MonthName(length) => name(&MONTHS, time.month0(), *length),
        Item::Year(width @ (1 | 2)) => format!("{:0width$}", time.year() % 100),
        Item::Year(width) => format!("{:0width$}", time.year()),
        Item::Hour(width) => padded(time.hour(), *width),
        Item::Hour12(width) => padded(hour12, *width),
        Item::Minute(width) => padded(time.minute(), *width),
        Item::Second(width) => padded(time.second(), *width),
        Item::Fraction(digits) => fraction(time).chars().take(*digits).collect(),
        Item::OptionalFraction(digits) => {
            let digits: String = fraction(time).chars().take(*digits).collect();
            let digits = digits.trim_end_matches('0').to_owned();
            if digits.is_empty() && text.ends_with('.') {
                text.pop();
            }
            digits
        }
        Item::Half(1) => half.chars().take(1).collect(),
        Item::Half(_) => half.to_owned(),
        Item::Era => "A.D.".to_owned(),
        Item::Offset(1) => "+0".to_owned(),
        Item::Offset(2) => "+00".to_owned(),
        Item::Offset(_) => "+00:00".to_owned(),
        Item::Kind => match kind {
            Kind::Unspecified => String::new(),
            Kind::Utc => "Z".to_owned(),
            Kind::Local => "+00:00".to_owned(),
        },
    };
    text.push_str(&part);
}

fn fraction(time: NaiveDateTime) -> String {
    // A leap second is one too many.
    format!("{:07}", time.nanosecond() % 1_000_000_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dotnet::dates::parse_instant;

    fn written(format: &str) -> String {
        let time = parse_instant("2009-06-05T13:04:07.0810000Z").unwrap().naive_utc();
        Format::parse(format).map_or_else(|problem| problem, |format| format.write(time, Kind::Utc))
    }

    #[test]
    fn times_are_written_in_any_format() {
        let cases = [
            ("yyyy-MM-dd", "2009-06-05"),
            ("M/d/yyyy h:mm:ss tt", "6/5/2009 1:04:07 PM"),
            ("ddd dddd dd d", "Fri Friday 05 5"),
            ("MMM MMMM MM M", "Jun June 06 6"),
            ("y yy yyy yyyyy", "9 09 2009 02009"),
            ("HH H hh h t", "13 13 01 1 P"),
            ("f ff fff FFF FFFFFFF", "0 08 081 081 081"),
            ("ss.F", "07"),
            ("ss.FF", "07.08"),
            ("zzz zz K gg", "+00:00 +00 Z A.D."),
            ("'day' d \"x\\\"\" \\d %d", "day 5 x\" d 5"),
            ("d", "06/05/2009"),
            ("D", "Friday, 05 June 2009"),
            ("o", "2009-06-05T13:04:07.0810000Z"),
            ("r", "Fri, 05 Jun 2009 13:04:07 GMT"),
            ("s", "2009-06-05T13:04:07"),
            ("u", "2009-06-05 13:04:07Z"),
            ("Y", "2009 June"),
            ("%h", "1"),
            ("x", "'x' is no standard format of .NET"),
            ("", "the format is empty"),
            ("yyyy'", "the closing ' is missing"),
            ("ffffffff", "8 times 'f' is too many"),
            ("yyyy%", "% must be followed by a format"),
            ("yyyy\\", "a backslash must be followed by a letter"),
        ];
        for (format, expected) in cases {
            assert_eq!(written(format), expected, "{format}");
        }
    }
}
