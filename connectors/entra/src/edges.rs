//! References in Graph's JSON: members, owners and managers, gained and lost.
//!
//! Source: <https://learn.microsoft.com/graph/api/group-delta> (`members@delta`).

use std::fmt;
use std::sync::Arc;

use muster_connector::{EdgeChange, Removal};
use muster_model::Key;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::layout::Layout;

/// Reads a page of references, such as a group's members; the edges belong to `slot`.
pub(crate) fn page(
    body: &[u8],
    layout: &Layout,
    slot: usize,
) -> Result<(Vec<EdgeChange>, Option<String>), serde_json::Error> {
    struct Found(Vec<EdgeChange>, Option<String>);
    struct Seed<'a>(&'a Layout, usize);
    impl<'de> Visitor<'de> for Seed<'_> {
        type Value = Found;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a page of references")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
            let mut edges = None;
            let mut next = None;
            while let Some(name) = map.next_key::<String>()? {
                match name.as_str() {
                    "value" => {
                        edges = Some(map.next_value_seed(EdgesSeed { layout: self.0, slot: self.1 })?);
                    }
                    "@odata.nextLink" => next = map.next_value()?,
                    _ => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            Ok(Found(edges.ok_or_else(|| A::Error::missing_field("value"))?, next))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let Found(edges, next) = deserializer.deserialize_map(Seed(layout, slot))?;
    deserializer.end()?;
    Ok((edges, next))
}

/// Reads references: an array of them, one alone, or null.
pub(crate) struct EdgesSeed<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) slot: usize,
}

impl<'de> DeserializeSeed<'de> for EdgesSeed<'_> {
    type Value = Vec<EdgeChange>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EdgesSeed<'_> {
    type Value = Vec<EdgeChange>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("references")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut edges = Vec::new();
        let (layout, slot) = (self.layout, self.slot);
        while let Some(found) = sequence.next_element_seed(EdgesSeed { layout, slot })? {
            edges.extend(found);
        }
        Ok(edges)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut id: Option<String> = None;
        let mut kind: Option<String> = None;
        let mut removed = None;
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "id" => id = map.next_value()?,
                "@odata.type" => kind = map.next_value()?,
                "@removed" => removed = map.next_value_seed(RemovedSeed)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(Vec::new()) };
        let Some(object_type) = self.referenced_type(kind.as_deref()) else {
            tracing::debug!(id, kind, "a reference to an object that is neither user nor group was left out");
            return Ok(Vec::new());
        };
        Ok(vec![EdgeChange {
            attribute: self.slot,
            object_type,
            referenced: Key::text(&id),
            removed: removed.is_some(),
        }])
    }
}

impl EdgesSeed<'_> {
    /// Graph always says the type where there is more than one; without it a user is meant.
    fn referenced_type(&self, kind: Option<&str>) -> Option<Arc<str>> {
        match kind.map(|kind| kind.trim_start_matches('#')) {
            None | Some("microsoft.graph.user") => Some(Arc::clone(&self.layout.user)),
            Some("microsoft.graph.group") => Some(Arc::clone(&self.layout.group)),
            Some(_) => None,
        }
    }
}

/// Reads `{"reason": "changed" | "deleted"}`; another reason counts as the one that can be undone.
pub(crate) struct RemovedSeed;

impl<'de> DeserializeSeed<'de> for RemovedSeed {
    type Value = Option<Removal>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RemovedSeed {
    type Value = Option<Removal>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a reason of removal")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut removal = Removal::Soft;
        while let Some(name) = map.next_key::<String>()? {
            if name == "reason" {
                if map.next_value::<String>()? == "deleted" {
                    removal = Removal::Hard;
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Some(removal))
    }
}
