//! The binary form of values and rows at rest.
//!
//! A packed row is a sequence of (attribute id, slot). An id that is absent is unknown; null is written.
//! Numbers are LEB128. The format is versioned with the store that holds it.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use crate::key::Key;
use crate::row::{Row, Slot};
use crate::value::{Decimal, Reference, Value};

/// The persistent small id of one (connection, type, attribute name, value type, multiplicity); never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeId(pub u32);

/// Packed bytes that do not have the expected form: the state was damaged or written by a newer version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packed value is damaged at byte {at}")]
pub struct PackError {
    /// Where reading failed.
    pub at: usize,
}

mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const MANY: u8 = 1;
    pub(super) const TEXT: u8 = 2;
    /// A text that is a UUID in canonical lower-case form, as directory ids are: 16 bytes instead of 37.
    pub(super) const UUID_TEXT: u8 = 3;
    pub(super) const INTEGER: u8 = 4;
    pub(super) const DECIMAL: u8 = 5;
    pub(super) const FALSE: u8 = 6;
    pub(super) const TRUE: u8 = 7;
    pub(super) const DATE: u8 = 8;
    pub(super) const INSTANT: u8 = 9;
    pub(super) const UUID: u8 = 10;
    pub(super) const BINARY: u8 = 11;
    pub(super) const REFERENCE: u8 = 12;
    pub(super) const STRUCTURE: u8 = 13;
}

/// The deepest nesting of structures and references that is read back.
const MAX_DEPTH: usize = 16;

/// Packs the known slots of `row`, whose attributes have `ids` in the same order.
#[must_use]
pub fn pack_row(ids: &[AttributeId], row: &Row) -> Vec<u8> {
    pack_slots(ids, row.0.iter())
}

/// Packs the known ones of `slots`, whose attributes have `ids` in the same order.
#[must_use]
pub fn pack_slots<'a>(ids: &[AttributeId], slots: impl Iterator<Item = &'a Slot> + Clone) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(slots.clone().map(room_for_slot).sum());
    for (id, slot) in ids.iter().zip(slots) {
        match slot {
            Slot::Unknown => {}
            Slot::Null => {
                write_number(&mut bytes, u64::from(id.0));
                bytes.push(tag::NULL);
            }
            Slot::One(value) => {
                write_number(&mut bytes, u64::from(id.0));
                write_value(&mut bytes, value);
            }
            Slot::Many(values) => {
                write_number(&mut bytes, u64::from(id.0));
                bytes.push(tag::MANY);
                write_number(&mut bytes, values.len() as u64);
                for value in values {
                    write_value(&mut bytes, value);
                }
            }
        }
    }
    bytes
}

/// Unpacks into a row whose attributes have `ids`; packed attributes that are not among them are left out.
///
/// # Errors
/// The bytes are damaged.
pub fn unpack_row(ids: &[AttributeId], bytes: &[u8]) -> Result<Row, PackError> {
    let mut row = Row::unknown(ids.len());
    let mut expected = 0;
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let (id, slot) = reader.attribute()?;
        // Rows are packed in layout order, so the next attribute is nearly always the one after the last.
        let position = if ids.get(expected) == Some(&id) {
            Some(expected)
        } else {
            ids.iter().position(|candidate| *candidate == id)
        };
        if let Some(position) = position {
            row.0[position] = slot;
            expected = position + 1;
        }
    }
    Ok(row)
}

/// All packed attributes in the order they were written.
///
/// # Errors
/// The bytes are damaged.
pub fn unpack_all(bytes: &[u8]) -> Result<Vec<(AttributeId, Slot)>, PackError> {
    let mut attributes = Vec::new();
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        attributes.push(reader.attribute()?);
    }
    Ok(attributes)
}

/// Bytes that a slot takes at most, if it is a usual one with a usual id: what takes more has its vector grow.
fn room_for_slot(slot: &Slot) -> usize {
    match slot {
        Slot::Unknown => 0,
        Slot::Null => 3,
        Slot::One(value) => 2 + room_for(value),
        Slot::Many(values) => 4 + values.iter().map(room_for).sum::<usize>(),
    }
}

/// Bytes that a value takes at most, if it is a usual one.
pub(crate) fn room_for(value: &Value) -> usize {
    match value {
        Value::Text(text) if text.len() == 36 => 17,
        Value::Text(text) => 3 + text.len(),
        Value::Boolean(_) => 1,
        Value::Binary(content) => 3 + content.len(),
        Value::Integer(_) | Value::Date(_) => 6,
        _ => 20,
    }
}

pub(crate) fn write_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => match canonical_uuid(text) {
            Some(uuid) => {
                bytes.push(tag::UUID_TEXT);
                bytes.extend_from_slice(uuid.as_bytes());
            }
            None => write_bytes(bytes, tag::TEXT, text.as_bytes()),
        },
        Value::Integer(number) => {
            bytes.push(tag::INTEGER);
            write_number(bytes, zigzag(*number));
        }
        Value::Decimal(number) => write_bytes(bytes, tag::DECIMAL, number.as_str().as_bytes()),
        Value::Boolean(truth) => bytes.push(if *truth { tag::TRUE } else { tag::FALSE }),
        Value::Date(date) => {
            bytes.push(tag::DATE);
            write_number(bytes, zigzag(i64::from(chrono::Datelike::num_days_from_ce(date))));
        }
        Value::Instant(instant) => {
            bytes.push(tag::INSTANT);
            write_number(bytes, zigzag(instant.timestamp_micros()));
        }
        Value::Uuid(uuid) => {
            bytes.push(tag::UUID);
            bytes.extend_from_slice(uuid.as_bytes());
        }
        Value::Binary(content) => write_bytes(bytes, tag::BINARY, content),
        Value::Reference(reference) => {
            bytes.push(tag::REFERENCE);
            // An empty name cannot be a type, so it stands for none.
            let object_type = reference.object_type.as_deref().unwrap_or("");
            write_number(bytes, object_type.len() as u64);
            bytes.extend_from_slice(object_type.as_bytes());
            write_number(bytes, reference.key.0.len() as u64);
            for part in &reference.key.0 {
                write_value(bytes, part);
            }
        }
        Value::Structure(members) => {
            bytes.push(tag::STRUCTURE);
            write_number(bytes, members.len() as u64);
            for (name, member) in members {
                write_number(bytes, name.len() as u64);
                bytes.extend_from_slice(name.as_bytes());
                write_value(bytes, member);
            }
        }
    }
}

fn canonical_uuid(text: &str) -> Option<Uuid> {
    if text.len() != 36 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    Uuid::try_parse(text).ok()
}

fn write_bytes(bytes: &mut Vec<u8>, tag: u8, content: &[u8]) {
    bytes.push(tag);
    write_number(bytes, content.len() as u64);
    bytes.extend_from_slice(content);
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Reads packed bytes and refuses damaged ones instead of panicking.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn damaged(&self) -> PackError {
        PackError { at: self.at }
    }

    fn byte(&mut self) -> Result<u8, PackError> {
        let byte = *self.bytes.get(self.at).ok_or(self.damaged())?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PackError> {
        let end = self.at.checked_add(length).ok_or(self.damaged())?;
        let taken = self.bytes.get(self.at..end).ok_or(self.damaged())?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, PackError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.damaged())
    }

    fn length(&mut self) -> Result<usize, PackError> {
        let length = usize::try_from(self.number()?).map_err(|_| self.damaged())?;
        // A count of parts can never exceed the bytes that are left, each part taking at least one.
        if length > self.bytes.len() - self.at { Err(self.damaged()) } else { Ok(length) }
    }

    fn text(&mut self) -> Result<&'a str, PackError> {
        let length = self.length()?;
        let at = self.at;
        std::str::from_utf8(self.take(length)?).map_err(|_| PackError { at })
    }

    fn uuid(&mut self) -> Result<Uuid, PackError> {
        Uuid::from_slice(self.take(16)?).map_err(|_| self.damaged())
    }

    fn attribute(&mut self) -> Result<(AttributeId, Slot), PackError> {
        let id = u32::try_from(self.number()?).map_err(|_| self.damaged())?;
        let slot = match self.bytes.get(self.at) {
            Some(&tag::NULL) => {
                self.at += 1;
                Slot::Null
            }
            Some(&tag::MANY) => {
                self.at += 1;
                let count = self.length()?;
                Slot::Many((0..count).map(|_| self.value()).collect::<Result<_, _>>()?)
            }
            _ => Slot::One(self.value()?),
        };
        Ok((AttributeId(id), slot))
    }

    pub(crate) fn value(&mut self) -> Result<Value, PackError> {
        self.nested_value(0)
    }

    fn nested_value(&mut self, depth: usize) -> Result<Value, PackError> {
        if depth > MAX_DEPTH {
            return Err(self.damaged());
        }
        let value = match self.byte()? {
            tag::TEXT => Value::Text(self.text()?.into()),
            tag::UUID_TEXT => Value::Text(self.uuid()?.hyphenated().to_string().into()),
            tag::INTEGER => Value::Integer(unzigzag(self.number()?)),
            tag::DECIMAL => Value::Decimal(Decimal::parse(self.text()?).ok_or(self.damaged())?),
            tag::FALSE => Value::Boolean(false),
            tag::TRUE => Value::Boolean(true),
            tag::DATE => {
                let days = i32::try_from(unzigzag(self.number()?)).map_err(|_| self.damaged())?;
                Value::Date(NaiveDate::from_num_days_from_ce_opt(days).ok_or(self.damaged())?)
            }
            tag::INSTANT => {
                let microseconds = unzigzag(self.number()?);
                Value::Instant(DateTime::<Utc>::from_timestamp_micros(microseconds).ok_or(self.damaged())?)
            }
            tag::UUID => Value::Uuid(self.uuid()?),
            tag::BINARY => {
                let length = self.length()?;
                Value::Binary(self.take(length)?.into())
            }
            tag::REFERENCE => {
                let object_type = match self.text()? {
                    "" => None,
                    name => Some(name.into()),
                };
                let count = self.length()?;
                let parts = (0..count).map(|_| self.nested_value(depth + 1)).collect::<Result<_, _>>()?;
                Value::Reference(Box::new(Reference { object_type, key: Key(parts) }))
            }
            tag::STRUCTURE => {
                let count = self.length()?;
                let members = (0..count)
                    .map(|_| Ok((Box::from(self.text()?), self.nested_value(depth + 1)?)))
                    .collect::<Result<_, PackError>>()?;
                Value::Structure(members)
            }
            _ => return Err(PackError { at: self.at - 1 }),
        };
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<AttributeId>, Row) {
        let slots = vec![
            Slot::text("Åsa"),
            Slot::Null,
            Slot::Unknown,
            Slot::One(Value::Integer(i64::MIN)),
            Slot::One(Value::Boolean(false)),
            Slot::One(Value::Decimal(Decimal::parse("-12.5").unwrap())),
            Slot::One(Value::Date(NaiveDate::from_ymd_opt(2026, 2, 28).unwrap())),
            Slot::One(Value::Instant(DateTime::from_timestamp_micros(-1).unwrap())),
            Slot::One(Value::Uuid(Uuid::from_u128(7))),
            Slot::text("00000000-0000-0000-0000-000000000007"),
            Slot::One(Value::Binary([0, 255].into())),
            Slot::Many(vec![Value::text("a"), Value::text("b")]),
            Slot::One(Value::Reference(Box::new(Reference { object_type: Some("user".into()), key: Key::text("x") }))),
            Slot::One(Value::Structure([("n".into(), Value::Integer(1))].into())),
        ];
        ((0..14).map(|id| AttributeId(id * 40)).collect(), Row(slots))
    }

    #[test]
    fn a_row_survives_packing() {
        let (ids, row) = sample();
        assert_eq!(unpack_row(&ids, &pack_row(&ids, &row)).unwrap(), row);
    }

    #[test]
    fn unknown_stays_unknown_and_other_layouts_find_their_attributes() {
        let (ids, row) = sample();
        let packed = pack_row(&ids, &row);
        let reversed: Vec<_> = ids.iter().rev().copied().collect();
        let unpacked = unpack_row(&reversed, &packed).unwrap();
        assert_eq!(unpacked.0.into_iter().rev().collect::<Vec<_>>(), row.0);
        assert_eq!(unpack_row(&[AttributeId(99_999)], &packed).unwrap(), Row::unknown(1));
    }

    #[test]
    fn damaged_bytes_are_refused_without_panic() {
        let (ids, row) = sample();
        let packed = pack_row(&ids, &row);
        for length in 0..packed.len() {
            drop(unpack_row(&ids, &packed[..length]));
        }
        for position in 0..packed.len() {
            for damage in [0x00, 0x7f, 0xff] {
                let mut damaged = packed.clone();
                damaged[position] = damage;
                drop(unpack_row(&ids, &damaged));
                drop(Key::decode(&damaged));
            }
        }
        let bomb: Vec<u8> =
            std::iter::once(0).chain(std::iter::repeat_n([tag::STRUCTURE, 1, 0], 10_000).flatten()).collect();
        assert!(unpack_row(&ids, &bomb).is_err());
    }
}
