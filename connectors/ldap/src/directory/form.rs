//! How values stand in a directory: the bytes of each syntax, and what they are to Muster.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use muster_model::{Value, ValueType};
use uuid::Uuid;

/// How the values of an attribute are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Integer,
    Boolean,
    /// RFC 4517, section 3.3.13.
    GeneralizedTime,
    /// 100 nanoseconds since 1601, as Active Directory writes some times; 0 and the largest number are never.
    FileTime,
    /// A distinguished name.
    Dn,
    /// RFC 4530.
    Uuid,
    /// 389's own: four groups of eight hexadecimal digits.
    UniqueId,
    /// Sixteen bytes, the first three fields with the lowest byte first (MS-DTYP 2.3.4.2).
    Guid,
    /// A security identifier (MS-DTYP 2.4.2), shown as `S-1-…`.
    Sid,
    Binary,
    /// Certificates travel with the option `;binary` (RFC 4523, section 2.1).
    Certificate,
}

const NEVER: i64 = i64::MAX;

impl Form {
    pub(crate) fn of(name: &str, syntax: Option<&str>, is_windows: bool) -> Self {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "entryuuid" => return Self::Uuid,
            // Octets by the schema; what is written is a text all the same.
            "userpassword" | "unicodepwd" => return Self::Text,
            "nsuniqueid" => return Self::UniqueId,
            "objectguid" | "ms-ds-consistencyguid" => return Self::Guid,
            "objectsid" | "sidhistory" | "securityidentifier" => return Self::Sid,
            "accountexpires"
            | "lastlogon"
            | "lastlogontimestamp"
            | "badpasswordtime"
            | "lockouttime"
            | "lastlogoff"
            | "msds-userpasswordexpirytimecomputed"
                if is_windows =>
            {
                return Self::FileTime;
            }
            _ => {}
        }
        let Some(syntax) = syntax else { return Self::Text };
        let standard = syntax.strip_prefix("1.3.6.1.4.1.1466.115.121.1.");
        match (standard, syntax) {
            (Some("27"), _) | (_, "1.2.840.113556.1.4.906") => Self::Integer,
            (Some("7"), _) => Self::Boolean,
            (Some("24"), _) => Self::GeneralizedTime,
            (Some("12" | "34"), _) => Self::Dn,
            (Some("8" | "9" | "10"), _) => Self::Certificate,
            (Some("5" | "28" | "40" | "4" | "49"), _) | (_, "1.2.840.113556.1.4.907") => Self::Binary,
            (_, "1.3.6.1.1.16.1") => Self::Uuid,
            _ => Self::Text,
        }
    }

    pub(crate) fn value_type(self) -> ValueType {
        match self {
            Self::Text | Self::Dn | Self::UniqueId | Self::Sid => ValueType::Text,
            Self::Integer => ValueType::Integer,
            Self::Boolean => ValueType::Boolean,
            Self::GeneralizedTime | Self::FileTime => ValueType::Instant,
            Self::Uuid | Self::Guid => ValueType::Uuid,
            Self::Binary | Self::Certificate => ValueType::Binary,
        }
    }

    /// What stands there; none where it is "never", or no such value at all.
    pub(crate) fn read(self, bytes: &[u8]) -> Option<Value> {
        let text = || std::str::from_utf8(bytes).ok();
        match self {
            Self::Text | Self::Dn | Self::UniqueId => Some(Value::text(&String::from_utf8_lossy(bytes))),
            Self::Integer => Some(Value::Integer(text()?.trim().parse().ok()?)),
            Self::Boolean => match text()? {
                truth if truth.eq_ignore_ascii_case("true") => Some(Value::Boolean(true)),
                truth if truth.eq_ignore_ascii_case("false") => Some(Value::Boolean(false)),
                _ => None,
            },
            Self::GeneralizedTime => generalized_time(text()?).map(Value::Instant),
            Self::FileTime => match text()?.trim().parse().ok()? {
                0 | NEVER => None,
                ticks => from_file_time(ticks).map(Value::Instant),
            },
            Self::Uuid => Uuid::parse_str(text()?).ok().map(Value::Uuid),
            Self::Guid => Some(Value::Uuid(Uuid::from_bytes_le(bytes.try_into().ok()?))),
            Self::Sid => sid(bytes).map(|text| Value::text(&text)),
            Self::Binary | Self::Certificate => Some(Value::Binary(bytes.into())),
        }
    }

    /// The bytes to write or to search for. The problem otherwise, for a person.
    pub(crate) fn write(self, value: &Value) -> Result<Vec<u8>, String> {
        let unfit = || format!("{value} is no {}", self.value_type());
        match (self, value) {
            (Self::Binary | Self::Certificate, Value::Binary(bytes)) => Ok(bytes.to_vec()),
            (Self::Boolean, Value::Boolean(truth)) => Ok(if *truth { b"TRUE".to_vec() } else { b"FALSE".to_vec() }),
            (Self::GeneralizedTime, Value::Instant(instant)) => Ok(write_time(*instant).into_bytes()),
            (Self::FileTime, Value::Instant(instant)) => {
                file_time(*instant).map(|ticks| ticks.to_string().into_bytes()).ok_or_else(unfit)
            }
            (Self::Guid, Value::Uuid(uuid)) => Ok(uuid.to_bytes_le().to_vec()),
            (Self::Guid, Value::Text(text)) => {
                Uuid::parse_str(text).map(|uuid| uuid.to_bytes_le().to_vec()).map_err(|_| unfit())
            }
            (Self::Sid, Value::Text(text)) => {
                sid_bytes(text).ok_or_else(|| format!("{text:?} is no SID such as S-1-5-32-544"))
            }
            (Self::Integer, Value::Integer(number)) => Ok(number.to_string().into_bytes()),
            (Self::Text | Self::Dn | Self::UniqueId | Self::Uuid, value) => Ok(value.to_string().into_bytes()),
            _ => Err(unfit()),
        }
    }
}

/// `20260131235959.5Z`, `202601312359+0130`: fractions may be of an hour, a minute or a second.
fn generalized_time(text: &str) -> Option<DateTime<Utc>> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (date, rest) = text.split_at_checked(digits)?;
    let number = |from: usize, to: usize| date.get(from..to)?.parse::<u32>().ok();
    let day = NaiveDate::from_ymd_opt(number(0, 4)?.try_into().ok()?, number(4, 6)?, number(6, 8)?)?;
    let (minute, second, unit) = match digits {
        10 => (0, 0, 3_600),
        12 => (number(10, 12)?, 0, 60),
        // A leap second is the last second's.
        14 => (number(10, 12)?, number(12, 14)?.min(59), 1),
        _ => return None,
    };
    let mut time = day.and_hms_opt(number(8, 10)?, minute, second)?.and_utc();
    let rest = match rest.strip_prefix(['.', ',']) {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, rest) = fraction.split_at_checked(digits)?;
            let shown = fraction.get(..fraction.len().min(9))?;
            let parts: i64 = shown.parse().ok()?;
            let of = 10_i64.checked_pow(shown.len().try_into().ok()?)?;
            time += TimeDelta::microseconds(i64::from(unit) * 1_000_000 * parts / of);
            rest
        }
        None => rest,
    };
    if rest == "Z" {
        return Some(time);
    }
    let (sign, offset) = match rest.split_at_checked(1)? {
        ("+", offset) => (1, offset),
        ("-", offset) => (-1, offset),
        _ => return None,
    };
    let hours: i64 = offset.get(..2)?.parse().ok()?;
    let minutes: i64 = if offset.len() > 2 { offset.get(2..4)?.parse().ok()? } else { 0 };
    time.checked_sub_signed(TimeDelta::minutes(sign * (hours * 60 + minutes)))
}

fn write_time(instant: DateTime<Utc>) -> String {
    let whole = instant.format("%Y%m%d%H%M%S").to_string();
    match instant.timestamp_subsec_micros() {
        0 => format!("{whole}Z"),
        micros => format!("{whole}.{}Z", format!("{micros:06}").trim_end_matches('0')),
    }
}

/// From 1601 to 1970, in seconds.
const EPOCHS_APART: i64 = 11_644_473_600;

fn from_file_time(ticks: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros((ticks / 10).checked_sub(EPOCHS_APART * 1_000_000)?)
}

fn file_time(instant: DateTime<Utc>) -> Option<i64> {
    instant.timestamp_micros().checked_add(EPOCHS_APART * 1_000_000)?.checked_mul(10).filter(|ticks| *ticks > 0)
}

fn sid(bytes: &[u8]) -> Option<String> {
    let [revision, count, a, b, c, d, e, f, rest @ ..] = bytes else { return None };
    if rest.len() != usize::from(*count) * 4 {
        return None;
    }
    let authority = u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]);
    let mut text = format!("S-{revision}-{authority}");
    for part in rest.chunks_exact(4) {
        text.push_str(&format!("-{}", u32::from_le_bytes(part.try_into().ok()?)));
    }
    Some(text)
}

fn sid_bytes(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.strip_prefix("S-")?.split('-');
    let revision: u8 = parts.next()?.parse().ok()?;
    let authority: u64 = parts.next()?.parse().ok()?;
    let rest = parts.map(|part| part.parse::<u32>().ok()).collect::<Option<Vec<u32>>>()?;
    let mut bytes = vec![revision, u8::try_from(rest.len()).ok().filter(|count| *count <= 15)?];
    bytes.extend_from_slice(authority.to_be_bytes().get(2..)?);
    rest.iter().for_each(|part| bytes.extend_from_slice(&part.to_le_bytes()));
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form_and_written_in_one() {
        let cases = [
            ("20260131235958Z", Some("20260131235958Z")),
            ("20260131235958.5Z", Some("20260131235958.5Z")),
            ("20260131235958,123456789Z", Some("20260131235958.123456Z")),
            ("202601312359Z", Some("20260131235900Z")),
            ("2026013123.5Z", Some("20260131233000Z")),
            ("20260131235958+0130", Some("20260131222958Z")),
            ("20260131235958-05", Some("20260201045958Z")),
            ("20260131235960Z", Some("20260131235959Z")),
            ("20260131235958.0Z", Some("20260131235958Z")),
            ("20260131235958", None),
            ("20261331235958Z", None),
            ("2026", None),
            ("", None),
            ("20260131235958.Z", None),
            ("ÅÅÅÅ", None),
        ];
        for (text, written) in cases {
            assert_eq!(generalized_time(text).map(write_time).as_deref(), written, "{text}");
        }
    }

    #[test]
    fn file_times_have_never() {
        let form = Form::FileTime;
        assert_eq!(form.read(b"0"), None);
        assert_eq!(form.read(b"9223372036854775807"), None);
        let value = form.read(b"129699324000000000").unwrap();
        assert_eq!(value.to_string(), "2012-01-01T23:00:00Z");
        assert_eq!(form.write(&value).unwrap(), b"129699324000000000");
    }

    #[test]
    fn identifiers_have_text_forms() {
        let guid = [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        let value = Form::Guid.read(&guid).unwrap();
        assert_eq!(value.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(Form::Guid.write(&value).unwrap(), guid);
        assert_eq!(Form::Guid.read(&guid[1..]), None);
        for text in ["S-1-5-32-544", "S-1-5-21-3623811015-3361044348-30300820-1013", "S-1-0"] {
            let bytes = Form::Sid.write(&Value::text(text)).unwrap();
            assert_eq!(Form::Sid.read(&bytes), Some(Value::text(text)));
        }
        for text in ["", "S-1", "S-1-5-x", "S-1-5-99999999999", "X"] {
            assert!(Form::Sid.write(&Value::text(text)).is_err(), "{text}");
        }
        assert_eq!(Form::Sid.read(&[1, 200, 0, 0]), None);
    }
}
