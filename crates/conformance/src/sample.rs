//! Made-up values of each type.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use muster_model::{Attribute, Decimal, Value, ValueType};
use uuid::Uuid;

/// A value of the attribute that no other number has, as far as its type and length allow.
pub(crate) fn plain(attribute: &Attribute, tag: &str, number: u64) -> Option<Value> {
    let small = i64::try_from(number % 30_000).unwrap_or(0);
    Some(match attribute.value_type {
        ValueType::Text => Value::text(&text(attribute.max_length, tag, number)),
        ValueType::Integer => Value::Integer(small + 1),
        ValueType::Decimal => Value::Decimal(Decimal::parse(&(small + 1).to_string())?),
        ValueType::Boolean => Value::Boolean(number.is_multiple_of(2)),
        ValueType::Date => Value::Date(day(number)?),
        ValueType::Instant => Value::Instant(instant(small)),
        ValueType::Uuid => Value::Uuid(Uuid::now_v7()),
        ValueType::Binary => {
            let bytes = number.to_be_bytes();
            let length = attribute.max_length.map_or(8, |most| (most as usize).min(8));
            Value::Binary(bytes.get(8 - length..)?.into())
        }
        ValueType::Reference | ValueType::Structure => return None,
    })
}

/// Letters and digits; short ones keep the number rather than the tag.
fn text(most: Option<u32>, tag: &str, number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut digits = String::new();
    let mut rest = number;
    while rest > 0 || digits.is_empty() {
        digits.insert(0, char::from(DIGITS[usize::try_from(rest % 36).unwrap_or(0)]));
        rest /= 36;
    }
    let whole = format!("k{tag}{digits}");
    let length = most.map_or(whole.len(), |most| (most as usize).min(whole.len()));
    whole.chars().skip(whole.len() - length).collect()
}

fn day(number: u64) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(2001, 2, 28)?.checked_add_days(Days::new(number % 7_000))
}

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::<Utc>::from_timestamp(1_700_000_000, 0).unwrap_or_default() + TimeDelta::seconds(seconds)
}

/// Values that are easily damaged on their way, by what they prove.
pub(crate) fn delicate(attribute: &Attribute) -> Vec<(&'static str, Value)> {
    let text = |group, texts: &[&str]| texts.iter().map(|text| (group, Value::text(text))).collect::<Vec<_>>();
    match attribute.value_type {
        ValueType::Text => {
            let mut all = text("unicode", &["Åsa Öberg", "Łódź 東京 🦀", "e\u{301} and é", "אבג abc", "ß ẞ ı İ"]);
            all.extend(text(
                "injection",
                &["' OR '1'='1", "\"; DROP TABLE x; --", "a\\b%_c", "$1 ? {0} ${x}", "*)(uid=*"],
            ));
            all.extend(text("case", &["lower", "LOWER", "MiXed"]));
            all.extend(text("space", &[" led", "two  spaces", "tab\tline\nend"]));
            if let Some(most) = attribute.max_length.filter(|most| (1..=4_000).contains(most)) {
                all.push(("length", Value::text(&"x".repeat(most as usize))));
                all.push(("length", Value::text(&"é".repeat(most as usize))));
            }
            all.retain(|(_, value)| {
                let length = value.as_text().map_or(0, |text| text.chars().count());
                attribute.max_length.is_none_or(|most| length <= most as usize)
            });
            all
        }
        ValueType::Integer => {
            let numbers =
                [0, -1, 127, 32_767, 2_147_483_647, -2_147_483_648, 9_007_199_254_740_993, i64::MAX, i64::MIN];
            numbers.into_iter().map(|number| ("number", Value::Integer(number))).collect()
        }
        ValueType::Decimal => ["0", "-1", "0.5", "-0.25", "12345678.9", "0.1"]
            .into_iter()
            .filter_map(|text| Some(("number", Value::Decimal(Decimal::parse(text)?))))
            .collect(),
        ValueType::Boolean => vec![("number", Value::Boolean(true)), ("number", Value::Boolean(false))],
        ValueType::Date => [(1970, 1, 1), (2000, 2, 29), (2026, 12, 31)]
            .into_iter()
            .filter_map(|(year, month, day)| Some(("time", Value::Date(NaiveDate::from_ymd_opt(year, month, day)?))))
            .collect(),
        // Across midnight of most zones and within the hour that daylight saving repeats.
        ValueType::Instant => [86_400, 1_761_438_600, 1_761_442_200, 1_798_761_599]
            .into_iter()
            .filter_map(|seconds| Some(("time", Value::Instant(DateTime::from_timestamp(seconds, 0)?))))
            .collect(),
        ValueType::Uuid => vec![("number", Value::Uuid(Uuid::from_u128(0x00ff_0102_0304_4506_8708_090a_0b0c_0dfe)))],
        ValueType::Binary => {
            let all: Vec<&[u8]> = vec![&[0], &[0, 255, 10, 13], &[0xc3, 0x28]];
            let fits = |bytes: &&[u8]| attribute.max_length.is_none_or(|most| bytes.len() <= most as usize);
            all.into_iter().filter(fits).map(|bytes| ("binary", Value::Binary(bytes.into()))).collect()
        }
        ValueType::Reference | ValueType::Structure => Vec::new(),
    }
}
