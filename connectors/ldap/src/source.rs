//! Entries as source objects, read page by page.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use muster_connector::{ChangePage, Cursor, EdgeChange, Error, Position, ReadPage, ReadRequest, Source, SourceObject};
use muster_model::{Key, Row, Slot};

use crate::changes::{Begun, MODIFIED};
use crate::config::wrong;
use crate::connector::{Known, LdapConnector};
use crate::entries::{CONTAINER, DN, ENABLED, EntryType, Field, Refers};
use crate::find::AT_A_TIME;
use crate::protocol::filter::Filter;
use crate::protocol::message::Entry;
use crate::protocol::request::{Depth, Search};
use crate::rows::{Keys, folded, key_of, slot, wanted};
use crate::session::failure::Failure;

/// The type and key of an object that a value names.
type End = (Arc<str>, Key);

/// Whom values name, by attribute and value.
type Ends = HashMap<(String, String), End>;

#[async_trait]
impl Source for LdapConnector {
    async fn read(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<ReadPage, Error> {
        let known = self.known().await?;
        let of = known.entry_type(&request.object_type)?;
        let begun = if cursor.is_none() { self.before_all(&known, of, request).await? } else { Begun::default() };
        let mut attributes = wanted(of, &request.attributes)?;
        attributes.extend(begun.times.then(|| MODIFIED.to_owned()));
        let page = self.page_on(begun.connection, of.search(attributes), &[], cursor).await?;
        let times = known.follow.filter(|_| begun.times);
        let watermark = begun.watermark.or_else(|| times.map(|follow| follow.after_first_page(&page.entries)));
        page.shows_keys(of)?;
        self.must_be_whole(&known, of, &page.elsewhere)?;
        let objects = self.source_objects(&known, of, request, page.entries).await?;
        Ok(ReadPage { objects, next: page.next, watermark, source_time: None })
    }

    async fn changes(&self, request: &ReadRequest, position: &Position) -> Result<ChangePage, Error> {
        self.changed(request, position).await
    }

    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<SourceObject>>, Error> {
        let known = self.known().await?;
        let of = known.entry_type(&request.object_type)?;
        let found = self.entries_of(&known, of, keys, &wanted(of, &request.attributes)?).await?;
        let entries = found.into_values().collect();
        let objects = self.source_objects(&known, of, request, entries).await?;
        let by_key: HashMap<Key, SourceObject> =
            objects.into_iter().map(|object| (object.key.clone(), object)).collect();
        Ok(keys.iter().map(|key| by_key.get(key).cloned()).collect())
    }
}

impl LdapConnector {
    /// Refuses to read a type parts of which are on these other servers, unless they are asked as well and their changes
    /// are noticed.
    pub(crate) fn must_be_whole(&self, known: &Known, of: &EntryType, elsewhere: &[String]) -> Result<(), Error> {
        let is_followed = self.directory.following.is_some();
        let way = known.follow.map(|follow| follow.way).filter(|way| !way.sees_other_servers());
        // Active Directory names its own configuration in every search of a domain.
        let is_known = known.root.is_windows() && !is_followed;
        if elsewhere.is_empty() || is_known || (is_followed && way.is_none()) {
            return Ok(());
        }
        let parts = format!("some of the entries below {} are on other servers ({})", of.base, elsewhere.join(", "));
        let (problem, fix) = match way.filter(|_| is_followed) {
            Some(way) => (
                format!("{parts}, and {} tell nothing of what changes there", way.told()),
                "set changes = \"modify_timestamp\" or \"none\", or `base` to an entry whose subtree this server holds, and \
                 make a connection to each of the others",
            ),
            None => (
                format!("{parts}, and whoever is not read counts as gone"),
                "set `base` to an entry whose subtree this server holds, or referrals = \"follow\"",
            ),
        };
        Err(wrong(&format!("types.{}.base", of.object_type.name), problem, fix))
    }

    pub(crate) async fn source_objects(
        &self,
        known: &Known,
        of: &EntryType,
        request: &ReadRequest,
        entries: Vec<Entry>,
    ) -> Result<Vec<SourceObject>, Error> {
        let mut whole = Vec::with_capacity(entries.len());
        for entry in entries {
            whole.push(self.completed(entry).await?);
        }
        let ends = self.ends(known, of, request, &whole).await?;
        let mut objects = Vec::with_capacity(whole.len());
        for entry in &whole {
            let Some(key) = key_of(of, entry) else { continue };
            let mut slots = Vec::with_capacity(request.attributes.len());
            let mut edges = Vec::new();
            for (attribute, name) in request.attributes.iter().enumerate() {
                let reference = of.fields.get(name).filter(|field| field.refers != Refers::No);
                let Some(field) = reference else {
                    slots.push(value(of, name, entry)?);
                    continue;
                };
                slots.push(Slot::Unknown);
                edges.extend(entry.texts(&field.wire).filter_map(|text| {
                    let (object_type, referenced) = ends.get(&(name.clone(), folded(text)))?.clone();
                    Some(EdgeChange { attribute, object_type, referenced, removed: false })
                }));
            }
            objects.push(SourceObject { key, row: Row(slots), edges, continues: false });
        }
        Ok(objects)
    }

    /// An entry with all values of attributes of which Active Directory shows a range at a time
    /// (MS-ADTS 3.1.1.3.1.3.3): `member;range=0-1499`.
    async fn completed(&self, mut entry: Entry) -> Result<Entry, Error> {
        let mut at = 0;
        while let Some((name, values)) = entry.attributes.get(at).cloned() {
            at += 1;
            let Some((plain, Some(mut next))) = ranged(&name) else { continue };
            let mut all = values;
            loop {
                let asked = format!("{plain};range={next}-*");
                let more = self.directory.entry(&entry.dn, &[&asked]).await.map_err(Failure::error)?;
                let more = more.and_then(|more| {
                    more.attributes
                        .into_iter()
                        .find(|(name, _)| ranged(name).is_some_and(|(other, _)| other.eq_ignore_ascii_case(&plain)))
                });
                let Some((name, values)) = more.filter(|(_, values)| !values.is_empty()) else { break };
                all.extend(values);
                match ranged(&name) {
                    Some((_, Some(further))) if further > next => next = further,
                    _ => break,
                }
            }
            entry.attributes.retain(|(name, values)| !(name.eq_ignore_ascii_case(&plain) && values.is_empty()));
            entry.attributes.push((plain, all));
        }
        Ok(entry)
    }

    /// Who is named by the references of these entries.
    async fn ends(
        &self,
        known: &Known,
        of: &EntryType,
        request: &ReadRequest,
        entries: &[Entry],
    ) -> Result<Ends, Error> {
        let mut ends = Ends::new();
        for name in request.attributes.iter() {
            let Some(field) = of.fields.get(name).filter(|field| field.refers != Refers::No) else { continue };
            let texts: BTreeSet<&str> = entries.iter().flat_map(|entry| entry.texts(&field.wire)).collect();
            let types = of.object_type.attribute(name).map(|one| one.references.clone()).unwrap_or_default();
            let looks: Vec<_> = texts.into_iter().map(|text| self.end(known, &types, field, text)).collect();
            let found: Vec<Option<(String, End)>> = stream::iter(looks).buffered(AT_A_TIME).try_collect().await?;
            ends.extend(found.into_iter().flatten().map(|(text, end)| ((name.clone(), text), end)));
        }
        Ok(ends)
    }

    async fn end(
        &self,
        known: &Known,
        types: &[String],
        field: &Field,
        text: &str,
    ) -> Result<Option<(String, End)>, Error> {
        let anchors = known.anchors();
        let asked: Vec<&str> = anchors.iter().map(String::as_str).chain(["objectClass"]).collect();
        let entry = match &field.refers {
            Refers::By(by) => {
                let search = Search {
                    base: known.base.clone(),
                    depth: Depth::Subtree,
                    filter: Filter::equals(by, text.as_bytes()),
                    attributes: asked.iter().map(|&name| name.to_owned()).collect(),
                    limit: 0,
                };
                let found = self.find_all(search).await?;
                found.into_iter().find(|entry| is_of(known, types, entry))
            }
            _ => match self.directory.entry(text, &asked).await {
                Err(failure) if failure.names_nobody(self.directory.following.is_some()) => None,
                other => other.map_err(Failure::error)?,
            },
        };
        let end = entry.as_ref().filter(|entry| is_of(known, types, entry)).and_then(|entry| {
            let of = known.type_of(entry)?;
            Some((folded(text), (Arc::from(of.object_type.name.as_str()), key_of(of, entry)?)))
        });
        Ok(end)
    }
}

fn is_of(known: &Known, types: &[String], entry: &Entry) -> bool {
    known.type_of(entry).is_some_and(|of| types.contains(&of.object_type.name))
}

/// The attribute that a name with a range is about, and the first value of the next range, if there is one.
fn ranged(name: &str) -> Option<(String, Option<u64>)> {
    let mut parts = name.split(';');
    let plain = parts.next()?;
    let range = parts.find_map(|option| option.to_ascii_lowercase().strip_prefix("range=").map(str::to_owned))?;
    let (_, last) = range.split_once('-')?;
    let next = if last == "*" { None } else { Some(last.parse::<u64>().ok()?.checked_add(1)?) };
    Some((plain.to_owned(), next))
}

/// An attribute that names nobody.
fn value(of: &EntryType, name: &str, entry: &Entry) -> Result<Slot, Error> {
    if !of.is_many(name) || [DN, CONTAINER, ENABLED].contains(&name) {
        return slot(of, name, entry, &Keys::new());
    }
    let field = of.field(name)?;
    Ok(Slot::many(entry.values(&field.wire).iter().filter_map(|bytes| field.form.read(bytes)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_say_where_the_next_one_begins() {
        assert_eq!(ranged("member;range=0-1499"), Some(("member".to_owned(), Some(1_500))));
        assert_eq!(ranged("member;Range=1500-*"), Some(("member".to_owned(), None)));
        for none in
            ["member", "member;binary", "member;range=x", "member;range=0-x", "member;range=0-18446744073709551615"]
        {
            assert_eq!(ranged(none), None, "{none}");
        }
    }
}
