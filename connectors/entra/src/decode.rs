//! A page of Graph's JSON straight into rows: no tree, no map, one pass.
//!
//! Source: <https://learn.microsoft.com/graph/delta-query-overview> (annotations) and
//! <https://learn.microsoft.com/graph/api/group-delta> (`members@delta`).

use std::fmt;

use muster_connector::{Change, Entry};
use muster_model::{Key, Row, Slot};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::edges::{EdgesSeed, RemovedSeed};
use crate::layout::{Layout, Target};
use crate::members::MembersSeed;
use crate::scalar::SlotSeed;

/// A page as Graph sent it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    pub(crate) next_link: Option<String>,
    pub(crate) delta_link: Option<String>,
}

/// Reads a whole page; anything that is not exactly one JSON object with a `value` array is an error.
pub(crate) fn page(body: &[u8], layout: &Layout) -> Result<Page, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let page = PageSeed(layout).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(page)
}

/// Reads a page of all attributes and says how many entries it has: for whoever tries bytes that no directory sends.
///
/// # Errors
/// Why it is no page.
pub fn examine_page(object_type: &str, body: &[u8]) -> Result<usize, String> {
    let extensions = std::collections::BTreeMap::new();
    let specs = crate::schema::attributes_of(object_type).ok_or("there is no such type")?;
    let attributes: Vec<String> = specs.iter().map(|spec| spec.name.to_owned()).collect();
    let request = muster_connector::ReadRequest {
        object_type: object_type.into(),
        attributes: attributes.into(),
        named: Default::default(),
    };
    let layout = Layout::new(&request, &extensions).map_err(|error| error.to_string())?;
    page(body, &layout).map(|page| page.entries.len()).map_err(|error| error.to_string())
}

/// Reads one object, as a plain GET returns it.
pub(crate) fn object(body: &[u8], layout: &Layout) -> Result<Entry, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let entry = EntrySeed(layout).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(entry)
}

struct PageSeed<'a>(&'a Layout);

impl<'de> DeserializeSeed<'de> for PageSeed<'_> {
    type Value = Page;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Page, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PageSeed<'_> {
    type Value = Page;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a page of a delta")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Page, A::Error> {
        let mut entries = None;
        let mut page = Page { entries: Vec::new(), next_link: None, delta_link: None };
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "value" => entries = Some(map.next_value_seed(EntriesSeed(self.0))?),
                "@odata.nextLink" => page.next_link = map.next_value()?,
                "@odata.deltaLink" => page.delta_link = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        page.entries = entries.ok_or_else(|| A::Error::missing_field("value"))?;
        Ok(page)
    }
}

struct EntriesSeed<'a>(&'a Layout);

impl<'de> DeserializeSeed<'de> for EntriesSeed<'_> {
    type Value = Vec<Entry>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Entry>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EntriesSeed<'_> {
    type Value = Vec<Entry>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<Entry>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = sequence.next_element_seed(EntrySeed(self.0))? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

struct EntrySeed<'a>(&'a Layout);

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = Entry;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with an id")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let layout = self.0;
        let mut row = Row::unknown(layout.width);
        let mut edges = Vec::new();
        let mut id: Option<String> = None;
        let mut removed = None;
        let mut expected = 0;
        while let Some(name) = map.next_key_seed(NameSeed { layout, expected })? {
            match name {
                Name::Id => id = Some(map.next_value()?),
                Name::Removed => removed = map.next_value_seed(RemovedSeed)?,
                Name::Other => drop(map.next_value::<IgnoredAny>()?),
                Name::Property(position) => {
                    expected = position + 1;
                    let Some(property) = layout.properties.get(position) else { continue };
                    match &property.target {
                        Target::Slot { slot, shape } => {
                            let value = map.next_value_seed(SlotSeed(*shape))?;
                            if value.is_unknown() {
                                tracing::warn!(attribute = property.name, "a value of another type was left out");
                            }
                            set(&mut row, *slot, value);
                        }
                        Target::Members(_) => map.next_value_seed(MembersSeed { layout, position, row: &mut row })?,
                        Target::Edges { slot } => {
                            edges.extend(map.next_value_seed(EdgesSeed { layout, slot: *slot })?);
                        }
                    }
                }
            }
        }
        let id = id.filter(|id| !id.is_empty()).ok_or_else(|| A::Error::missing_field("id"))?;
        if let Some(slot) = layout.id {
            set(&mut row, slot, Slot::text(&id));
        }
        let key = Key::text(&id);
        Ok(match removed {
            Some(removal) => Entry { key, change: Change::Removed(removal), edges: Vec::new() },
            None => {
                // What is lost comes first, so that a single-valued reference ends with what it gained.
                edges.sort_by_key(|edge| !edge.removed);
                Entry { key, change: Change::Partial(row), edges }
            }
        })
    }
}

/// Puts a value into its slot.
pub(crate) fn set(row: &mut Row, slot: usize, value: Slot) {
    if let Some(place) = row.0.get_mut(slot) {
        *place = value;
    }
}

/// What a property's name stands for.
enum Name {
    Id,
    Removed,
    Property(usize),
    Other,
}

/// Finds a name, trying the property after the last one first: Graph keeps the order from object to object.
struct NameSeed<'a> {
    layout: &'a Layout,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Name;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a property's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        let properties = &self.layout.properties;
        if properties.get(self.expected).is_some_and(|property| property.name == name) {
            return Ok(Name::Property(self.expected));
        }
        Ok(match name {
            "id" => Name::Id,
            "@removed" => Name::Removed,
            _ => properties.iter().position(|property| property.name == name).map_or(Name::Other, Name::Property),
        })
    }
}

#[cfg(test)]
mod tests;
