//! Dates of the generated directory. They hang on a fixed day, never on today, so that a seed means the same
//! tenant for ever.

use chrono::{Datelike, NaiveDate};

/// 1 January 2026, in days since 1970.
pub(crate) const EPOCH_DAY: i32 = 20_454;

/// Appends a quoted `DateTimeOffset` in UTC; `time` is `hh:mm:ss`.
pub(crate) fn write(out: &mut Vec<u8>, day: i32, time: &str) {
    let date = NaiveDate::from_epoch_days(day).unwrap_or_default();
    out.push(b'"');
    write_number(out, u64::from(date.year().unsigned_abs()), 4);
    out.push(b'-');
    write_number(out, u64::from(date.month()), 2);
    out.push(b'-');
    write_number(out, u64::from(date.day()), 2);
    out.push(b'T');
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"Z\"");
}

/// Appends a number with leading zeros up to `at_least` digits.
pub(crate) fn write_number(out: &mut Vec<u8>, number: u64, at_least: usize) {
    let mut text = [b'0'; 20];
    let mut rest = number;
    let mut start = text.len();
    while rest > 0 || text.len() - start < at_least {
        start -= 1;
        text[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text[start..]);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_epoch_is_new_year_2026() {
        let mut out = Vec::new();
        super::write(&mut out, super::EPOCH_DAY, "00:00:00");
        assert_eq!(out, b"\"2026-01-01T00:00:00Z\"");
    }
}
