//! Looking entries up: by key, by name, by values.

use std::collections::{BTreeSet, HashMap};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use muster_connector::{Error, FoundObject, ReadRequest};
use muster_model::{Key, Slot, Value};

use crate::connector::{Known, LdapConnector};
use crate::entries::{CONTAINER, DN, ENABLED, EntryType, Refers};
use crate::protocol::filter::Filter;
use crate::protocol::message::{Code, Entry};
use crate::protocol::request::{Depth, Request, Search};
use crate::rows::{Keys, folded, key_of, slot, wanted};
use crate::session::failure::Failure;

/// Keys that one search asks for.
const TOGETHER: usize = 50;

/// Requests under way at a time.
pub(crate) const AT_A_TIME: usize = 32;

impl LdapConnector {
    /// The entries with these keys, wherever they have been moved to below the connection's base.
    pub(crate) async fn entries_of(
        &self,
        known: &Known,
        of: &EntryType,
        keys: &[Key],
        attributes: &[String],
    ) -> Result<HashMap<Key, Entry>, Error> {
        let field = of.anchor_field()?;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let [value] = key.0.as_slice() else {
                return Err(Error::Bug(format!("a key of {} needs one value", of.object_type.name)));
            };
            // What cannot even be written is nobody's key.
            values.extend(field.form.write(value).ok());
        }
        let class = Filter::equals("objectClass", of.classes.first().map(String::as_bytes).unwrap_or_default());
        let searches = values.chunks(TOGETHER).map(|chunk| {
            let any = chunk.iter().map(|value| Filter::equals(&field.wire, value)).collect();
            Search {
                base: known.base.clone(),
                depth: Depth::Subtree,
                filter: Filter::And(vec![class.clone(), Filter::Or(any)]),
                attributes: attributes.to_vec(),
                limit: 0,
            }
        });
        let looks: Vec<_> = searches.map(|search| self.find_all(search)).collect();
        let found: Vec<Vec<Entry>> = stream::iter(looks).buffered(4).try_collect().await?;
        let entries = found.into_iter().flatten();
        Ok(entries.filter_map(|entry| key_of(of, &entry).map(|key| (key, entry))).collect())
    }

    /// All entries that a search finds; one that begins where nothing is finds none.
    pub(crate) async fn find_all(&self, search: Search) -> Result<Vec<Entry>, Error> {
        let (limit, told) = (search.limit, format!("searching {} for {}", search.base, search.filter));
        let found = self.directory.search(search, &[]).await.map_err(Failure::error)?;
        match found.result.code {
            Code::SUCCESS | Code::NO_SUCH_OBJECT => Ok(found.entries),
            Code::SIZE_LIMIT if limit > 0 => Ok(found.entries),
            _ => Err(Failure::refused(told, found.result).error()),
        }
    }

    async fn find_any(&self, search: Option<Search>) -> Result<Vec<Entry>, Error> {
        match search {
            Some(search) => self.find_all(search).await,
            None => Ok(Vec::new()),
        }
    }

    /// The keys of the entries with these names, as far as they are objects of one of the types.
    pub(crate) async fn keys_of_names(&self, known: &Known, names: &[&str]) -> Result<Keys, Error> {
        let names: BTreeSet<&str> = names.iter().copied().collect();
        let anchors: Vec<String> = known.anchors();
        let looks: Vec<_> = names.into_iter().map(|name| self.key_of_name(known, &anchors, name)).collect();
        let found: Vec<Option<(String, Key)>> = stream::iter(looks).buffered(AT_A_TIME).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn key_of_name(&self, known: &Known, anchors: &[String], name: &str) -> Result<Option<(String, Key)>, Error> {
        let asked: Vec<&str> = anchors.iter().map(String::as_str).chain(["objectClass"]).collect();
        let entry = match self.directory.entry(name, &asked).await {
            Err(failure) if failure.names_nobody(self.directory.following.is_some()) => None,
            other => other.map_err(Failure::error)?,
        };
        Ok(entry.and_then(|entry| known.key(&entry)).map(|key| (folded(name), key)))
    }

    /// What stands in an attribute for each referenced object: its entry's name, or another value of it. Objects that
    /// are not there are left out.
    pub(crate) async fn written_as(
        &self,
        known: &Known,
        of: &EntryType,
        attribute: &str,
        referenced: &[&Value],
    ) -> Result<HashMap<Key, Vec<u8>>, Error> {
        let field = of.field(attribute)?;
        let types = of.object_type.attribute(attribute).map(|found| found.references.clone()).unwrap_or_default();
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        for value in referenced {
            match value {
                Value::Reference(reference) => drop(keys.insert(reference.key.clone())),
                other => drop(keys.insert(Key::one((*other).clone()))),
            }
        }
        let mut written = HashMap::new();
        for name in &types {
            let Some(other) = known.types.iter().find(|one| one.object_type.name == *name) else { continue };
            let missing: Vec<Key> = keys.iter().filter(|key| !written.contains_key(*key)).cloned().collect();
            if missing.is_empty() {
                break;
            }
            let mut attributes = wanted(other, &[])?;
            if let Refers::By(by) = &field.refers {
                attributes.push(by.clone());
            }
            for (key, entry) in self.entries_of(known, other, &missing, &attributes).await? {
                let value = match &field.refers {
                    Refers::By(by) => entry.values(by).first().cloned(),
                    _ => Some(entry.dn.clone().into_bytes()),
                };
                written.extend(value.map(|value| (key, value)));
            }
        }
        Ok(written)
    }

    pub(crate) async fn find_objects(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        let known = self.known().await?;
        let of = known.entry_type(&request.object_type)?;
        let names: Vec<String> = request.attributes.iter().chain(by).cloned().collect();
        let attributes = wanted(of, &names)?;
        let mut searches = Vec::with_capacity(values.len());
        for tuple in values {
            searches.push(self.match_search(&known, of, by, tuple, &attributes).await?);
        }
        let looks: Vec<_> = searches.into_iter().map(|search| self.find_any(search)).collect();
        let found: Vec<Vec<Entry>> = stream::iter(looks).buffered(AT_A_TIME).try_collect().await?;
        let mut all = Vec::with_capacity(found.len());
        for (entries, tuple) in found.into_iter().zip(values) {
            let entries = entries.into_iter().filter(|entry| suits(of, by, tuple, entry)).take(2).collect();
            all.push(self.objects(&known, of, &request.attributes, entries).await?);
        }
        Ok(all)
    }

    /// The search for entries with these values; none where no entry can have them.
    async fn match_search(
        &self,
        known: &Known,
        of: &EntryType,
        by: &[String],
        tuple: &[Value],
        attributes: &[String],
    ) -> Result<Option<Search>, Error> {
        let mut base = (of.base.clone(), Depth::Subtree);
        let mut filter = of.filter.clone();
        let mut limit = 3;
        for (name, value) in by.iter().zip(tuple) {
            match name.as_str() {
                DN => base = (value.to_string(), Depth::Base),
                CONTAINER | ENABLED => limit = 0,
                name => {
                    let field = of.field(name)?;
                    let bytes = match &field.refers {
                        Refers::No => field.form.write(value).ok(),
                        _ => self.written_as(known, of, name, &[value]).await?.into_values().next(),
                    };
                    let Some(bytes) = bytes else { return Ok(None) };
                    filter = filter.and(Some(Filter::equals(&field.wire, &bytes)));
                }
            }
        }
        Ok(Some(Search { base: base.0, depth: base.1, filter, attributes: attributes.to_vec(), limit }))
    }

    /// Whether each object has a value in an attribute.
    pub(crate) async fn compare_all(
        &self,
        request: &ReadRequest,
        attribute: &str,
        pairs: &[(Key, Value)],
    ) -> Result<Vec<bool>, Error> {
        let known = self.known().await?;
        let of = known.entry_type(&request.object_type)?;
        let field = of.field(attribute)?;
        let keys: BTreeSet<Key> = pairs.iter().map(|(key, _)| key.clone()).collect();
        let owners = self.entries_of(&known, of, &keys.into_iter().collect::<Vec<_>>(), &wanted(of, &[])?).await?;
        let written = match field.refers {
            Refers::No => HashMap::new(),
            _ => {
                self.written_as(&known, of, attribute, &pairs.iter().map(|(_, value)| value).collect::<Vec<_>>())
                    .await?
            }
        };
        let value_of = |value: &Value| match (&field.refers, value) {
            (Refers::No, value) => field.form.write(value).ok(),
            (_, Value::Reference(reference)) => written.get(&reference.key).cloned(),
            (_, value) => written.get(&Key::one(value.clone())).cloned(),
        };
        let asked: Vec<Option<(String, Vec<u8>)>> =
            pairs.iter().map(|(key, value)| Some((owners.get(key)?.dn.clone(), value_of(value)?))).collect();
        let looks: Vec<_> = asked.into_iter().map(|asked| self.has_if(asked, &field.wire)).collect();
        stream::iter(looks).buffered(AT_A_TIME).try_collect().await
    }

    async fn has_if(&self, asked: Option<(String, Vec<u8>)>, attribute: &str) -> Result<bool, Error> {
        match asked {
            Some((dn, value)) => self.has(&dn, attribute, &value).await.map_err(Failure::error),
            None => Ok(false),
        }
    }

    /// Whether an entry has a value (RFC 4511, section 4.10).
    pub(crate) async fn has(&self, dn: &str, attribute: &str, value: &[u8]) -> Result<bool, Failure> {
        let request = Request::Compare { dn: dn.to_owned(), attribute: attribute.to_owned(), value: value.to_vec() };
        let result = self.directory.call(&request, &[]).await?;
        match result.code {
            Code::COMPARE_TRUE => Ok(true),
            Code::COMPARE_FALSE | Code::NO_SUCH_ATTRIBUTE | Code::NO_SUCH_OBJECT => Ok(false),
            _ => Err(Failure::refused(format!("{attribute} of {dn} cannot be compared"), result)),
        }
    }
}

/// Whether an entry has what no search can ask for.
fn suits(of: &EntryType, by: &[String], tuple: &[Value], entry: &Entry) -> bool {
    by.iter().zip(tuple).all(|(name, value)| match name.as_str() {
        CONTAINER => matches!(
            slot(of, CONTAINER, entry, &Keys::new()),
            Ok(Slot::One(found)) if folded(&found.to_string()) == folded(&value.to_string())
        ),
        ENABLED => matches!(slot(of, ENABLED, entry, &Keys::new()), Ok(Slot::One(found)) if found == *value),
        _ => true,
    })
}
