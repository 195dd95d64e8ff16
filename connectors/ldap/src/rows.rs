//! Entries as rows, and keys as values to search for.

use std::collections::HashMap;

use muster_connector::{Error, FoundObject};
use muster_model::{Key, Reference, Row, Slot, Value};

use crate::connector::{Known, LdapConnector};
use crate::entries::{CONTAINER, DN, ENABLED, EntryType, Field, Refers};
use crate::protocol::dn::Dn;
use crate::protocol::message::Entry;

/// The entries that values name, and the keys of their objects.
pub(crate) type Keys = HashMap<String, Key>;

/// What must be asked for so that these attributes of a type can be read.
pub(crate) fn wanted(of: &EntryType, attributes: &[String]) -> Result<Vec<String>, Error> {
    let mut wanted = vec![of.anchor_field()?.wire.clone()];
    for name in attributes {
        match name.as_str() {
            DN | CONTAINER => {}
            ENABLED if of.switch.is_some() => {
                wanted.extend(of.switch.iter().map(|switch| switch.attribute().to_owned()));
            }
            name => wanted.push(of.field(name)?.wire.clone()),
        }
    }
    Ok(wanted)
}

/// The key of an entry; none where it does not show its anchor.
pub(crate) fn key_of(of: &EntryType, entry: &Entry) -> Option<Key> {
    let field = of.fields.get(&of.anchor)?;
    let value = entry.values(&field.wire).first()?;
    field.form.read(value).map(Key::one)
}

/// A value that an entry has once for Muster. Where it has several, the one in its name counts, and otherwise the first
/// in the order of their bytes: servers keep no order.
fn single<'a>(of: &EntryType, name: &str, field: &Field, entry: &'a Entry) -> Option<&'a [u8]> {
    let values = entry.values(&field.wire);
    if let [only] = values {
        return Some(only);
    }
    let in_name = (of.rdn == name).then(|| Dn::parse(&entry.dn).ok()).flatten();
    let naming = in_name.as_ref().and_then(|dn| dn.0.first()).and_then(|rdn| {
        let pair = rdn.0.iter().find(|(attribute, _)| attribute.eq_ignore_ascii_case(name))?;
        values.iter().find(|value| String::from_utf8_lossy(value).eq_ignore_ascii_case(&pair.1))
    });
    naming.or_else(|| values.iter().min()).map(Vec::as_slice)
}

/// The names of entries that stand in single-valued references of an entry.
pub(crate) fn named<'a>(of: &EntryType, attributes: &[String], entry: &'a Entry) -> Vec<&'a str> {
    let single = attributes.iter().filter(|name| !of.is_many(name));
    let fields = single.filter_map(|name| of.fields.get(name)).filter(|field| field.refers == Refers::ByName);
    fields.filter_map(|field| entry.text(&field.wire)).collect()
}

/// One attribute of an entry, of one value. `keys`: who the entries named in it are.
pub(crate) fn slot(of: &EntryType, name: &str, entry: &Entry, keys: &Keys) -> Result<Slot, Error> {
    match name {
        DN | CONTAINER => {
            let Ok(dn) = Dn::parse(&entry.dn) else { return Ok(Slot::Unknown) };
            let dn = if name == DN { dn } else { dn.parent() };
            return Ok(Slot::text(&dn.to_string()));
        }
        ENABLED if of.switch.is_some() => {
            let enabled = of.switch.as_ref().is_some_and(|switch| switch.read(entry));
            return Ok(Slot::One(Value::Boolean(enabled)));
        }
        _ => {}
    }
    let field = of.field(name)?;
    let attribute = of.object_type.attribute(name);
    if attribute.is_some_and(|attribute| !attribute.readable) {
        return Ok(Slot::Unknown);
    }
    let Some(bytes) = single(of, name, field, entry) else { return Ok(Slot::Null) };
    if field.refers == Refers::No {
        // What the form has no word for is null: "never", or a value that somebody got past the schema.
        return Ok(field.form.read(bytes).map_or(Slot::Null, Slot::One));
    }
    let text = String::from_utf8_lossy(bytes);
    let Some(key) = keys.get(&folded(&text)) else { return Ok(Slot::Unknown) };
    let object_type = match attribute.map(|attribute| attribute.references.as_slice()) {
        Some([only]) => Some(only.as_str().into()),
        _ => None,
    };
    Ok(Slot::One(Value::Reference(Box::new(Reference { object_type, key: key.clone() }))))
}

/// A name in a form in which equal names are equal.
pub(crate) fn folded(name: &str) -> String {
    Dn::parse(name).map_or_else(|_| name.to_lowercase(), |dn| dn.folded())
}

pub(crate) fn row(of: &EntryType, attributes: &[String], entry: &Entry, keys: &Keys) -> Result<Row, Error> {
    let slot = |name: &String| if of.is_many(name) { Ok(Slot::Unknown) } else { slot(of, name, entry, keys) };
    attributes.iter().map(slot).collect::<Result<Vec<_>, _>>().map(Row)
}

impl LdapConnector {
    /// Entries of a type as objects; those without a key are left out.
    pub(crate) async fn objects(
        &self,
        known: &Known,
        of: &EntryType,
        attributes: &[String],
        entries: Vec<Entry>,
    ) -> Result<Vec<FoundObject>, Error> {
        let names: Vec<&str> = entries.iter().flat_map(|entry| named(of, attributes, entry)).collect();
        let keys = self.keys_of_names(known, &names).await?;
        let mut objects = Vec::with_capacity(entries.len());
        for entry in &entries {
            let Some(key) = key_of(of, entry) else { continue };
            objects.push(FoundObject { key, row: row(of, attributes, entry, &keys)?, version: None });
        }
        Ok(objects)
    }
}
