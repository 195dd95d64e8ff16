//! What users and groups look like at the target: by id, by values, all of them; and what operations need to know of
//! them before they are sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use muster_connector::{
    Batch, Change, Cursor, EdgeChange, Entry, Error, FoundObject, FoundPage, Kind, Operation, Outcome, ReadRequest,
    RetryScope, SourceObject,
};
use muster_model::{Key, Multiplicity, Reference, Slot, Value};

use super::draft::{Draft, Request, guid_of};
use super::search::expansion;
use super::verdict::retry;
use crate::batch;
use crate::connector::Entra;
use crate::error::Failure;
use crate::layout::{Layout, collection};
use crate::schema::{USER, attributes_of, object_type};

/// Objects to a page of a list.
const PAGE: usize = 500;

impl Entra {
    pub(crate) async fn objects_of(
        &self,
        request: &ReadRequest,
        keys: &[Key],
    ) -> Result<Vec<Option<FoundObject>>, Error> {
        let layout = Layout::new(request, &self.extensions)?;
        // Members are asked for one by one, by `holds`.
        // What is no GUID is nobody's id, and a refusal of the whole call to some of Graph's collections.
        let known: Vec<Key> = keys.iter().map(|key| Key::text(&guid_of(key).unwrap_or_default())).collect();
        let found = batch::get_plain(&self.session, &layout, collection(&request.object_type)?, &known).await;
        let found = found.map_err(|failure| self.failed(failure))?;
        let object = |found: SourceObject| found_object(&layout, request, found.key, found.row.0, &found.edges);
        Ok(found.into_iter().map(|place| place.map(object)).collect())
    }

    pub(crate) async fn list_page(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<FoundPage, Error> {
        let layout = Layout::new(request, &self.extensions)?;
        let url = match cursor {
            Some(cursor) if self.session.endpoints.leads_here(&cursor.0) => self.session.endpoints.follow(&cursor.0)?,
            Some(cursor) => return Err(self.session.endpoints.moved(&cursor.0)),
            None => {
                let query = format!("$select={}&$top={PAGE}{}", layout.plain_select, expansion(&layout));
                self.session.endpoints.graph(collection(&request.object_type)?, Some(&query))
            }
        };
        let page = self.page(url, &layout).await?;
        let objects = objects(&layout, request, page.entries).collect();
        let next = match page.next_link {
            Some(next) => {
                self.session.endpoints.follow(next.as_bytes())?;
                Some(Cursor(next.into_bytes()))
            }
            None => None,
        };
        Ok(FoundPage { objects, next })
    }

    /// Whether objects refer to others: all that one object refers to is read, since Graph answers no narrower question
    /// from the same place in which it writes.
    pub(crate) async fn refers(
        &self,
        request: &ReadRequest,
        attribute: &str,
        pairs: &[(Key, Value)],
    ) -> Result<Vec<bool>, Error> {
        let kind = object_type(&request.object_type, &self.extensions);
        let found = kind.attribute(attribute);
        if !found.is_some_and(|found| found.is_reference() && found.multiplicity == Multiplicity::Set) {
            return Err(Error::Unsupported(format!("asking for single values of {attribute}")));
        }
        let asked = ReadRequest { attributes: [attribute.to_owned()].into(), ..request.clone() };
        let layout = Layout::new(&asked, &self.extensions)?;
        let collection = collection(&request.object_type)?;
        let keys: BTreeSet<&Key> = pairs.iter().map(|(key, _)| key).collect();
        let mut held: HashMap<&Key, BTreeSet<Key>> = HashMap::new();
        for key in keys {
            let edges = batch::references(&self.session, &layout, collection, key, 0).await;
            let edges = edges.map_err(|failure| self.failed(failure))?.unwrap_or_default();
            held.insert(key, edges.into_iter().map(|edge| edge.referenced).collect());
        }
        let holds = |(key, value): &(Key, Value)| {
            let other = match value {
                Value::Reference(reference) => reference.key.clone(),
                other => Key::one(other.clone()),
            };
            held.get(key).is_some_and(|held| held.contains(&other))
        };
        Ok(pairs.iter().map(holds).collect())
    }

    /// Which requests carry out each operation, after a look at the objects for which that depends on what they hold.
    pub(super) async fn drafts(&self, batch: &Batch) -> Result<Vec<Result<Draft, Outcome>>, Error> {
        let request = ReadRequest {
            object_type: batch.object_type.clone(),
            attributes: batch.attributes.clone(),
            named: Default::default(),
        };
        let looked_at: Vec<Key> = batch
            .operations
            .iter()
            .filter(|operation| operation.kind != Kind::Create && self.depends(batch, operation))
            .filter_map(|operation| operation.key.clone())
            .collect();
        let found = match looked_at.is_empty() {
            true => Vec::new(),
            false => self.objects_of(&request, &looked_at).await?,
        };
        let found: BTreeMap<&Key, Option<FoundObject>> = looked_at.iter().zip(found).collect();
        let named = self.named_groups(batch).await?;
        let mut taken = BTreeSet::new();
        let draft = |operation: &Operation| {
            let there = operation.key.as_ref().and_then(|key| found.get(key));
            match (there, &operation.expected) {
                (Some(None), _) => return Err(Outcome::Missing),
                (Some(Some(object)), Some((position, value))) => {
                    let name = batch.attributes.get(*position).map(String::as_str).unwrap_or_default();
                    if !self.is_same(&batch.object_type, name, object.row.slot(*position), value) {
                        return Err(Outcome::OtherObject);
                    }
                }
                _ => {}
            }
            if let Some(name) = unique_name(batch, operation).map(str::to_lowercase) {
                if let Some(key) = named.get(&name) {
                    return Err(Outcome::Exists { key: key.clone() });
                }
                if !taken.insert(name) {
                    let problem = "another object of the same batch takes the same uniqueName".to_owned();
                    return Err(retry(RetryScope::Object, Duration::from_secs(1), problem));
                }
            }
            let held = |position: usize| match there {
                Some(Some(object)) => match object.row.slot(position) {
                    Slot::Many(values) => values.clone(),
                    Slot::One(value) => vec![value.clone()],
                    Slot::Null | Slot::Unknown => Vec::new(),
                },
                _ => Vec::new(),
            };
            self.draft(batch, operation, held)
        };
        Ok(batch.operations.iter().map(draft).collect())
    }

    /// Whether what an operation sends depends on what the object holds.
    fn depends(&self, batch: &Batch, operation: &Operation) -> bool {
        let specs = attributes_of(&batch.object_type).unwrap_or_default();
        let is_reference = |position: usize| {
            let name = batch.attributes.get(position);
            specs.iter().any(|spec| Some(spec.name) == name.map(String::as_str) && spec.is_reference())
        };
        operation.expected.is_some() || operation.deltas.iter().any(|delta| !is_reference(delta.attribute))
    }

    /// The groups that have the unique names of new ones: an upsert would change them.
    async fn named_groups(&self, batch: &Batch) -> Result<HashMap<String, Key>, Error> {
        let names: BTreeSet<&str> =
            batch.operations.iter().filter_map(|operation| unique_name(batch, operation)).collect();
        let mut found = HashMap::new();
        if names.is_empty() {
            return Ok(found);
        }
        let request = ReadRequest {
            object_type: batch.object_type.clone(),
            attributes: Vec::new().into(),
            named: Default::default(),
        };
        let values: Vec<Vec<Value>> = names.iter().map(|name| vec![Value::text(name)]).collect();
        let objects = self.search(&request, &["uniqueName".to_owned()], &values).await?;
        for (name, objects) in names.into_iter().zip(objects) {
            found.extend(objects.into_iter().next().map(|object| (name.to_lowercase(), object.key)));
        }
        Ok(found)
    }

    /// Whether an object is there.
    pub(super) async fn is_there(&self, object_type: &str, id: &str) -> Result<bool, Error> {
        let attributes = Vec::new().into();
        let request = ReadRequest { object_type: object_type.into(), attributes, named: Default::default() };
        let found = self.objects_of(&request, &[Key::text(id)]).await?;
        Ok(found.iter().any(Option::is_some))
    }

    /// Who has the name of a user that could not be made.
    pub(super) async fn owner_of_name(&self, object_type: &str, request: &Request) -> Option<Key> {
        let name = request.body.as_ref()?.values.get("userPrincipalName")?.as_str()?;
        if object_type != USER {
            return None;
        }
        let attributes = Vec::new().into();
        let request = ReadRequest { object_type: object_type.into(), attributes, named: Default::default() };
        let by = ["userPrincipalName".to_owned()];
        let found = self.search(&request, &by, &[vec![Value::text(name)]]).await.ok()?;
        found.into_iter().flatten().next().map(|object| object.key)
    }

    pub(super) fn failed(&self, failure: Failure) -> Error {
        match failure {
            Failure::Host(error) => error,
            Failure::Refused(refusal) if refusal.status == 403 => Error::Credentials {
                problem: format!("Microsoft Graph does not let the app read its target ({})", refusal.describe()),
                fix: crate::permissions::fix(self.has_managed_identity()),
            },
            Failure::Refused(refusal) => Error::Configuration {
                setting: None,
                problem: format!("Microsoft Graph does not answer a search: {}", refusal.describe()),
                fix: "match by another attribute, such as userPrincipalName or employeeId".to_owned(),
            },
        }
    }
}

/// The unique name that a new group is to have.
fn unique_name<'a>(batch: &Batch, operation: &'a Operation) -> Option<&'a str> {
    let position = batch.attributes.iter().position(|name| name == "uniqueName")?;
    if operation.kind != Kind::Create {
        return None;
    }
    match operation.row.slot(position) {
        Slot::One(value) => value.as_text(),
        _ => None,
    }
}

pub(super) fn objects<'a>(
    layout: &'a Layout,
    request: &'a ReadRequest,
    entries: Vec<Entry>,
) -> impl Iterator<Item = FoundObject> + 'a {
    entries.into_iter().filter_map(|entry| match entry.change {
        Change::Partial(row) => Some(found_object(layout, request, entry.key, row.0, &entry.edges)),
        _ => None,
    })
}

/// An object as the host sees it; what Graph leaves out of what was selected is empty.
fn found_object(
    layout: &Layout,
    request: &ReadRequest,
    key: Key,
    slots: Vec<Slot>,
    edges: &[EdgeChange],
) -> FoundObject {
    let specs = attributes_of(&request.object_type).unwrap_or_default();
    let row = slots.into_iter().zip(request.attributes.iter()).enumerate().map(|(position, (slot, name))| {
        let spec = specs.iter().find(|spec| spec.name == name);
        match spec {
            Some(spec) if spec.is_reference() => match spec.many {
                true => Slot::Unknown,
                false => {
                    let edge = edges.iter().find(|edge| edge.attribute == position && !edge.removed);
                    edge.map_or(Slot::Null, |edge| Slot::One(reference(layout, edge)))
                }
            },
            Some(spec) if spec.unreadable().is_some() => Slot::Unknown,
            _ if slot.is_unknown() => Slot::Null,
            _ => slot,
        }
    });
    FoundObject { key, row: muster_model::Row(row.collect()), version: None }
}

fn reference(layout: &Layout, edge: &EdgeChange) -> Value {
    let object_type = if edge.object_type == layout.group { &layout.group } else { &layout.user };
    Value::Reference(Box::new(Reference { object_type: Some((&**object_type).into()), key: edge.referenced.clone() }))
}
