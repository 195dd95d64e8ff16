//! Which requests carry out an operation.

use std::collections::BTreeMap;

use muster_connector::{Batch, Kind, Operation, Outcome, SecretString};
use muster_model::{Key, Multiplicity, Slot, Value};
use serde::Serialize;
use serde_json::{Value as Json, json};
use url::form_urlencoded::byte_serialize;

use super::body::{Body, PASSWORD};
use super::verdict::rejected;
use crate::connector::Entra;
use crate::layout::collection;
use crate::properties::Spec;
use crate::schema::{GROUP, USER, attributes_of};

/// Most references that one request adds (<https://learn.microsoft.com/graph/api/group-post-members>).
const MOST_ADDED: usize = 20;

/// Taken literally by Graph: a create where nobody has the name, an update otherwise.
const CREATE_IF_MISSING: &str = "create-if-missing";

/// One request of a `$batch`.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: &'static str,
    /// Below the Graph URL.
    pub(super) url: String,
    prefer: Option<&'static str>,
    pub(super) body: Option<Body>,
    pub(super) purpose: Purpose,
}

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    Create,
    Change,
    Delete,
    /// Gives the object this reference.
    Refer(&'static str),
    /// Takes the object's only reference.
    Unrefer,
    /// Adds references, all or none.
    AddAll(&'static str, Vec<String>),
    Add(&'static str),
    Remove,
}

#[derive(Serialize)]
struct Wire<'a> {
    id: String,
    method: &'static str,
    url: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'static str, &'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Json>,
}

impl Request {
    fn new(method: &'static str, url: String, body: Option<Body>, purpose: Purpose) -> Self {
        Self { method, url, prefer: None, body, purpose }
    }

    /// The request with its secrets, as a part of a `$batch`.
    pub(super) fn part(&self, id: usize) -> impl Serialize + '_ {
        let content = self.body.as_ref().map(|_| ("Content-Type", "application/json"));
        let headers = content.into_iter().chain(self.prefer.map(|prefer| ("Prefer", prefer))).collect();
        let body = self.body.as_ref().map(Body::to_send);
        Wire { id: id.to_string(), method: self.method, url: &self.url, headers, body }
    }
}

/// A change of references, for when the object's id is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tie {
    /// A single reference, or none.
    Only(&'static str, Option<String>),
    Add(&'static str, Vec<String>),
    Remove(&'static str, String),
}

/// How an operation is carried out.
#[derive(Debug)]
pub(super) struct Draft {
    /// What becomes of the object itself, if anything.
    pub(super) object: Option<Request>,
    /// Afterwards.
    pub(super) ties: Vec<Tie>,
}

impl Entra {
    pub(super) fn draft(
        &self,
        batch: &Batch,
        operation: &Operation,
        there: impl Fn(usize) -> Vec<Value>,
    ) -> Result<Draft, Outcome> {
        let object_type = &*batch.object_type;
        let unknown = |error: muster_connector::Error| rejected(object_type, "unknown", error.to_string());
        let collection = collection(object_type).map_err(unknown)?;
        let own = || match operation.key.as_ref().and_then(guid_of) {
            Some(id) => Ok(format!("/{collection}/{id}")),
            // No object of a directory has such an id.
            None => Err(Outcome::Missing),
        };
        match operation.kind {
            Kind::Create => {
                let mut body = self.body(batch, operation, there)?;
                self.complete(object_type, operation, &mut body);
                let name = body.values.get("uniqueName").and_then(Json::as_str).map(str::to_owned);
                let object = match name {
                    // A name that is an anchor by itself: the same request twice makes one group.
                    Some(name) => {
                        body.values.remove("uniqueName");
                        let url = format!("/{collection}(uniqueName='{}')", literal(&name));
                        let prefer = Some(CREATE_IF_MISSING);
                        Request { prefer, ..Request::new("PATCH", url, Some(body), Purpose::Create) }
                    }
                    None => Request::new("POST", format!("/{collection}"), Some(body), Purpose::Create),
                };
                Ok(Draft { object: Some(object), ties: ties(batch, operation)? })
            }
            Kind::Update => {
                let body = self.body(batch, operation, there)?;
                let url = own()?;
                let object = (!body.values.is_empty()).then(|| Request::new("PATCH", url, Some(body), Purpose::Change));
                Ok(Draft { object, ties: ties(batch, operation)? })
            }
            Kind::Delete => {
                let object = Some(Request::new("DELETE", own()?, None, Purpose::Delete));
                Ok(Draft { object, ties: Vec::new() })
            }
            Kind::Rename { .. } => Err(Outcome::Unsupported { what: "another id for an object of Entra".to_owned() }),
            Kind::Put => Err(Outcome::Unsupported { what: "writing without looking".to_owned() }),
        }
    }

    /// What Graph wants of a new object and a mapping need not say.
    fn complete(&self, object_type: &str, operation: &Operation, body: &mut Body) {
        let mut default = |name: &str, value: Json| {
            body.values.entry(name).or_insert(value);
        };
        match object_type {
            USER => {
                default("accountEnabled", Json::Bool(operation.enabling.unwrap_or(true)));
                if body.password.is_none() {
                    body.password = Some(self.password_of_nobody());
                }
            }
            GROUP => {
                default("mailEnabled", Json::Bool(false));
                default("securityEnabled", Json::Bool(true));
                // Of groups with an address Graph makes Microsoft 365 groups only, and a rule makes members by itself.
                let is_true = |name: &str| body.values.get(name) == Some(&Json::Bool(true));
                let has_rule = body.values.get("membershipRule").is_some_and(Json::is_string);
                let unified = is_true("mailEnabled").then_some("Unified");
                let types: Vec<&str> = unified.into_iter().chain(has_rule.then_some("DynamicMembership")).collect();
                if !types.is_empty() {
                    body.values.insert("groupTypes".to_owned(), json!(types));
                }
                if has_rule {
                    body.values.entry("membershipRuleProcessingState").or_insert(json!("On"));
                }
            }
            _ => {}
        }
    }

    /// Graph makes no user without a password; whoever is to sign in gets another one, or none.
    fn password_of_nobody(&self) -> SecretString {
        let id = || self.session.environment.id().simple().to_string();
        SecretString::from(format!("Aa1-{}{}", id(), id()))
    }

    /// The request for a change of references of the object with this id.
    pub(super) fn tie(&self, object_type: &str, id: &str, tie: &Tie) -> Request {
        let own = format!("/{}/{id}", collection(object_type).unwrap_or_default());
        let object =
            |other: &String| json!(self.session.endpoints.graph(&format!("directoryObjects/{other}"), None).as_str());
        let body = |name: &str, value: Json| {
            Some(Body { values: std::iter::once((name.to_owned(), value)).collect(), password: None })
        };
        match tie {
            Tie::Only(name, Some(other)) => {
                let body = body("@odata.id", object(other));
                Request::new("PUT", format!("{own}/{name}/$ref"), body, Purpose::Refer(name))
            }
            Tie::Only(name, None) => Request::new("DELETE", format!("{own}/{name}/$ref"), None, Purpose::Unrefer),
            Tie::Add(name, others) => match others.as_slice() {
                [other] => {
                    let body = body("@odata.id", object(other));
                    Request::new("POST", format!("{own}/{name}/$ref"), body, Purpose::Add(name))
                }
                _ => {
                    let body = body(&format!("{name}@odata.bind"), others.iter().map(object).collect());
                    Request::new("PATCH", own, body, Purpose::AddAll(name, others.clone()))
                }
            },
            Tie::Remove(name, other) => {
                Request::new("DELETE", format!("{own}/{name}/{other}/$ref"), None, Purpose::Remove)
            }
        }
    }
}

/// Text within quotation marks of a URL (OData 4.01 URL Conventions, section 5.1.1.14.1).
pub(super) fn literal(text: &str) -> String {
    byte_serialize(text.replace('\'', "''").as_bytes()).collect::<String>().replace('+', "%20")
}

/// What an operation changes about references.
fn ties(batch: &Batch, operation: &Operation) -> Result<Vec<Tie>, Outcome> {
    let specs = attributes_of(&batch.object_type).unwrap_or_default();
    let mut ties = Vec::new();
    for (position, attribute) in batch.attributes.iter().enumerate() {
        let Some(spec) = specs.iter().find(|spec| spec.name == attribute && spec.is_reference()) else { continue };
        let slot = operation.row.slot(position);
        let deltas: Vec<_> = operation.deltas.iter().filter(|delta| delta.attribute == position).collect();
        if slot.is_unknown() && deltas.is_empty() {
            continue;
        }
        if spec.attribute(&batch.object_type).multiplicity == Multiplicity::Single {
            let tie = only(spec, slot, deltas.iter().flat_map(|delta| &delta.add).next())?;
            // Nobody new has a manager to lose.
            if operation.kind != Kind::Create || !matches!(tie, Tie::Only(_, None)) {
                ties.push(tie);
            }
            continue;
        }
        if !spec.is_written() {
            return Err(rejected(attribute, "read_only", format!("{attribute} cannot be changed by this connector")));
        }
        let whole: &[Value] = match slot {
            Slot::Many(values) => values,
            Slot::One(value) => std::slice::from_ref(value),
            Slot::Unknown | Slot::Null => &[],
        };
        if !slot.is_unknown() && operation.kind != Kind::Create {
            return Err(Outcome::Unsupported { what: format!("replacing all {attribute} at once") });
        }
        let added = whole.iter().chain(deltas.iter().flat_map(|delta| &delta.add));
        let added = added.map(|value| referenced(attribute, value)).collect::<Result<Vec<String>, _>>()?;
        ties.extend(added.chunks(MOST_ADDED).map(|some| Tie::Add(spec.name, some.to_vec())));
        // Whoever cannot be in the directory is no member.
        let removed = deltas.iter().flat_map(|delta| &delta.remove);
        let removed = removed.filter_map(|value| referenced(attribute, value).ok());
        ties.extend(removed.map(|other| Tie::Remove(spec.name, other)));
    }
    Ok(ties)
}

fn only(spec: &Spec, slot: &Slot, added: Option<&Value>) -> Result<Tie, Outcome> {
    let value = match slot {
        Slot::One(value) => Some(value),
        Slot::Many(values) => values.first(),
        Slot::Unknown | Slot::Null => added,
    };
    Ok(Tie::Only(spec.name, value.map(|value| referenced(spec.name, value)).transpose()?))
}

/// The id of a referenced object; one that cannot be an id is nobody's yet.
fn referenced(attribute: &str, value: &Value) -> Result<String, Outcome> {
    let key = match value {
        Value::Reference(reference) => reference.key.clone(),
        other => Key::one(other.clone()),
    };
    guid_of(&key).ok_or_else(|| Outcome::WaitsFor { attribute: attribute.to_owned() })
}

/// The id of an object of a directory; every one is a GUID.
pub(super) fn guid_of(key: &Key) -> Option<String> {
    let [value] = key.0.as_slice() else { return None };
    uuid::Uuid::try_parse(&value.to_string()).ok().map(|id| id.to_string())
}

/// Whether an operation brings a password of its own.
pub(super) fn has_password(batch: &Batch, operation: &Operation) -> bool {
    let of = |position: &usize| batch.attributes.get(*position).is_some_and(|name| name == PASSWORD);
    operation.secrets.iter().any(|(position, _)| of(position))
}
