//! Structures such as `employeeOrgData`, whose members are attributes of their own.

use std::fmt;

use muster_model::{Row, Slot};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::decode::set;
use crate::layout::{Layout, Shape, Target};
use crate::scalar::SlotSeed;

/// Reads the members of a structure, or of an array of structures, into their slots.
pub(crate) struct MembersSeed<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) position: usize,
    pub(crate) row: &'a mut Row,
}

impl MembersSeed<'_> {
    fn members(&self) -> &[(&'static str, usize, Shape)] {
        match self.layout.properties.get(self.position).map(|property| &property.target) {
            Some(Target::Members(members)) => members,
            _ => &[],
        }
    }

    fn clear(&mut self) {
        let slots: Vec<usize> = self.members().iter().map(|(_, slot, _)| *slot).collect();
        for slot in slots {
            set(self.row, slot, Slot::Null);
        }
    }
}

impl<'de> DeserializeSeed<'de> for MembersSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MembersSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a structure")
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.clear();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let member = self.members().iter().find(|(member, ..)| *member == name).copied();
            match member {
                Some((_, slot, shape)) => {
                    let value = map.next_value_seed(SlotSeed(shape))?;
                    set(self.row, slot, value);
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<(), A::Error> {
        self.clear();
        let mut element = Row::unknown(self.layout.width);
        let (layout, position) = (self.layout, self.position);
        while sequence.next_element_seed(MembersSeed { layout, position, row: &mut element })?.is_some() {
            let slots: Vec<usize> = self.members().iter().map(|(_, slot, _)| *slot).collect();
            for slot in slots {
                let Some(found) = element.0.get_mut(slot).map(std::mem::take) else { continue };
                let (Slot::Many(found), Some(place)) = (found, self.row.0.get_mut(slot)) else { continue };
                match place {
                    Slot::Many(values) => values.extend(found),
                    _ => *place = Slot::Many(found),
                }
            }
        }
        Ok(())
    }
}
