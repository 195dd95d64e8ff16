//! Values, rows and keys as the state keeps them.

use chrono::DateTime;
use muster_model::pack::{pack_row, unpack_all, unpack_row};
use muster_model::{AttributeId, Decimal, Key, Row, Slot, Value};

use super::random::Random;

/// Any value of the simple types.
fn value(random: &mut Random) -> Value {
    match random.below(8) {
        0 | 1 => Value::text(&random.text()),
        2 => Value::Integer(random.pick(&[0, 1, -1, 42, i64::MAX, i64::MIN])),
        3 => Decimal::parse(random.pick(&["0", "-0.50", "1e30", "3.14159265358979323846264338327950288"]))
            .map_or(Value::Boolean(false), Value::Decimal),
        4 => Value::Boolean(random.one_in(2)),
        5 => {
            let seconds = i64::try_from(random.next() % 253_402_300_800).unwrap_or(0);
            Value::Instant(DateTime::from_timestamp(seconds, 0).unwrap_or_default())
        }
        6 => {
            let seconds = i64::try_from(random.next() % 253_402_300_800).unwrap_or(0);
            Value::Date(DateTime::from_timestamp(seconds, 0).unwrap_or_default().date_naive())
        }
        _ => Value::text("3f2504e0-4f89-41d3-9a0c-0305e82c3301"),
    }
}

/// Any slot, with at most so many values more than one.
pub(crate) fn slot(random: &mut Random, more: usize) -> Slot {
    match random.below(6) {
        0 => Slot::Null,
        1 => Slot::Unknown,
        2 => Slot::many((0..=more).map(|_| value(random)).collect()),
        _ => Slot::One(value(random)),
    }
}

/// What was packed is read the same; damaged bytes are refused, or what they say is read the same once packed again.
pub(crate) fn examine(random: &mut Random, input: &mut String) -> Result<(), String> {
    let ids: Vec<AttributeId> = (0..4).map(|number| AttributeId(number * 100)).collect();
    let row = Row((0..ids.len()).map(|_| slot(random, 2)).collect());
    let packed = pack_row(&ids, &row);
    input.push_str(&format!("{row:?}"));
    if unpack_row(&ids, &packed).as_ref() != Ok(&row) {
        return Err(format!("packed and read it is {:?}", unpack_row(&ids, &packed)));
    }
    let damaged = random.damaged_bytes(&packed);
    input.push_str(&format!("\n  as {damaged:02x?}"));
    drop(unpack_all(&damaged));
    if let Ok(row) = unpack_row(&ids, &damaged) {
        let again = unpack_row(&ids, &pack_row(&ids, &row));
        if again.as_ref() != Ok(&row) {
            return Err(format!("{row:?} packed and read again is {again:?}"));
        }
    }
    let key = Key((0..1 + random.below(3)).map(|_| value(random)).collect());
    let encoded = key.encode();
    if Key::decode(&encoded).as_ref() != Ok(&key) {
        return Err(format!("the key {key:?} is read as {:?}", Key::decode(&encoded)));
    }
    let damaged = random.damaged_bytes(&encoded);
    input.push_str(&format!("\n  key {damaged:02x?}"));
    if let Ok(key) = Key::decode(&damaged)
        && Key::decode(&key.encode()).as_ref() != Ok(&key)
    {
        return Err(format!("the key {key:?} is not read again"));
    }
    Ok(())
}
