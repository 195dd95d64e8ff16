//! From operations to a SCIM bulk request (RFC 7644 §3.7).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_connector::{Batch, Kind, Operation, OperationId, Outcome};
use muster_model::{Slot, Value};
use serde::Serialize;
use serde_json::{Map, json};

use super::Inbound;
use super::attributes::{CORE_USER, ENTERPRISE_USER, EXTERNAL_ID, Place, named};

const BULK_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

#[derive(Debug, Serialize)]
pub(super) struct BulkRequest<'a> {
    schemas: [&'static str; 1],
    #[serde(rename = "Operations")]
    operations: Vec<&'a BulkOperation>,
    /// `null`: one bad record does not keep the others.
    #[serde(rename = "failOnErrors")]
    fail_on_errors: Option<u32>,
}

/// One person on the way.
#[derive(Debug, Serialize)]
pub(super) struct BulkOperation {
    method: &'static str,
    path: &'static str,
    #[serde(rename = "bulkId")]
    bulk_id: String,
    data: Map<String, serde_json::Value>,
    #[serde(skip)]
    pub(super) id: OperationId,
    #[serde(skip)]
    pub(super) external_id: String,
}

/// What can be sent, and the outcomes of what cannot.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) people: Vec<BulkOperation>,
    pub(super) outcomes: Vec<(OperationId, Outcome)>,
}

impl Prepared {
    pub(super) fn request(&self) -> BulkRequest<'_> {
        BulkRequest { schemas: [BULK_REQUEST], operations: self.people.iter().collect(), fail_on_errors: None }
    }
}

/// A request with one operation, for a person to read.
pub(super) fn alone(person: &BulkOperation) -> BulkRequest<'_> {
    BulkRequest { schemas: [BULK_REQUEST], operations: vec![person], fail_on_errors: None }
}

impl Inbound {
    pub(super) fn prepare(&self, batch: &Batch) -> Prepared {
        let mut prepared = Prepared::default();
        for operation in &batch.operations {
            match self.person(batch, operation) {
                Ok(person) => prepared.people.push(person),
                Err(outcome) => prepared.outcomes.push((operation.id, outcome)),
            }
        }
        prepared
    }

    fn person(&self, batch: &Batch, operation: &Operation) -> Result<BulkOperation, Outcome> {
        let external_id = external_id(batch, operation)?;
        let mut user = User::default();
        for (name, slot) in batch.attributes.iter().zip(&operation.row.0) {
            let value = match slot {
                Slot::Unknown => continue,
                Slot::Null if !self.clear_with_null => continue,
                Slot::Null => serde_json::Value::Null,
                Slot::One(value) => scim(value).ok_or_else(|| unsuitable(name, "is not a single plain value"))?,
                Slot::Many(_) => return Err(unsuitable(name, "has several values, and takes one")),
            };
            match named(name) {
                Some(field) => {
                    if field.name == "active" && !value.is_boolean() && !value.is_null() {
                        return Err(unsuitable(name, "is neither true nor false"));
                    }
                    user.put(field.place, value);
                }
                None => {
                    let known = self.extensions.contains_key(name).then(|| name.rsplit_once(':')).flatten();
                    let (urn, member) =
                        known.ok_or_else(|| unsuitable(name, "is no attribute of an uploaded person"))?;
                    user.extend(urn, member, value);
                }
            }
        }
        Ok(BulkOperation {
            method: "POST",
            path: "/Users",
            bulk_id: operation.id.to_string(),
            data: user.finish(&external_id),
            id: operation.id,
            external_id,
        })
    }
}

/// Who the operation is about; refuses what an upload cannot say.
fn external_id(batch: &Batch, operation: &Operation) -> Result<String, Outcome> {
    let unsupported = |what: &str| Outcome::Unsupported { what: what.to_owned() };
    match &operation.kind {
        Kind::Put => {}
        Kind::Delete => return Err(unsupported("deleting an uploaded person (a leaver is disabled)")),
        Kind::Rename { .. } => return Err(unsupported("giving an uploaded person another externalId")),
        Kind::Create | Kind::Update => return Err(unsupported("a change that is no whole record")),
    }
    if !operation.deltas.is_empty() {
        return Err(unsupported("adding or removing single values"));
    }
    if !operation.secrets.is_empty() {
        return Err(unsupported("setting an initial password"));
    }
    let slot = batch.attributes.iter().position(|name| name == EXTERNAL_ID).map(|place| operation.row.slot(place));
    let value = match (&operation.key, slot) {
        (Some(key), _) => key.0.first(),
        (None, Some(slot)) => slot.value(),
        (None, None) => None,
    };
    let id = value.map(Value::to_string).filter(|id| !id.trim().is_empty());
    id.ok_or_else(|| Outcome::Rejected {
        attribute: Some(EXTERNAL_ID.to_owned()),
        rule: "required".to_owned(),
        message: "a person without externalId cannot be uploaded".to_owned(),
    })
}

fn unsuitable(name: &str, problem: &str) -> Outcome {
    Outcome::Rejected {
        attribute: Some(name.to_owned()),
        rule: "wrong_type".to_owned(),
        message: format!("{name} {problem}"),
    }
}

/// A SCIM user while it is put together.
#[derive(Debug, Default)]
struct User<'a> {
    core: Map<String, serde_json::Value>,
    name: Map<String, serde_json::Value>,
    /// Entries of lists by list and type.
    lists: BTreeMap<&'static str, BTreeMap<&'static str, Map<String, serde_json::Value>>>,
    /// Members of extensions by schema.
    extensions: BTreeMap<&'a str, Map<String, serde_json::Value>>,
}

impl<'a> User<'a> {
    /// Puts a value where SCIM has it; a null within a list is its absence.
    fn put(&mut self, place: Place, value: serde_json::Value) {
        match place {
            Place::Core(name) => drop(self.core.insert(name.to_owned(), value)),
            Place::Name(part) => drop(self.name.insert(part.to_owned(), value)),
            Place::Enterprise(name) => self.extend(ENTERPRISE_USER, name, value),
            Place::Manager if value.is_null() => self.extend(ENTERPRISE_USER, "manager", value),
            Place::Manager => self.extend(ENTERPRISE_USER, "manager", json!({ "value": value })),
            Place::Entry(..) if value.is_null() => {}
            Place::Entry(list, kind, member) => {
                self.lists.entry(list).or_default().entry(kind).or_default().insert(member.to_owned(), value);
            }
        }
    }

    fn extend(&mut self, schema: &'a str, member: &str, value: serde_json::Value) {
        self.extensions.entry(schema).or_default().insert(member.to_owned(), value);
    }

    /// The user with all its schemas listed; the two standard ones are wanted even where nothing belongs to them.
    fn finish(self, external_id: &str) -> Map<String, serde_json::Value> {
        let mut data = self.core;
        let own = self.extensions.keys().copied().filter(|schema| *schema != ENTERPRISE_USER);
        let schemas: Vec<&str> = [CORE_USER, ENTERPRISE_USER].into_iter().chain(own).collect();
        data.insert("schemas".to_owned(), json!(schemas));
        data.insert(EXTERNAL_ID.to_owned(), json!(external_id));
        if !self.name.is_empty() {
            data.insert("name".to_owned(), self.name.into());
        }
        for (list, entries) in self.lists {
            let typed = entries.into_iter().map(|(kind, mut entry)| {
                entry.insert("type".to_owned(), json!(kind));
                serde_json::Value::Object(entry)
            });
            data.insert(list.to_owned(), typed.collect());
        }
        for (schema, members) in self.extensions {
            data.insert(schema.to_owned(), members.into());
        }
        data
    }
}

/// A plain value as JSON.
fn scim(value: &Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::Boolean(truth) => json!(truth),
        Value::Integer(number) => json!(number),
        Value::Binary(bytes) => json!(STANDARD.encode(bytes)),
        Value::Text(_) | Value::Decimal(_) | Value::Date(_) | Value::Instant(_) | Value::Uuid(_) => {
            json!(value.to_string())
        }
        // A manager may come as a reference: what it is called is its key.
        Value::Reference(reference) => json!(reference.key.0.first()?.to_string()),
        Value::Structure(_) => return None,
    })
}
