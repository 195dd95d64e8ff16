//! Values as Graph takes them in the body of a request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use muster_connector::settings::ExposeSecret as _;
use muster_connector::{Batch, Kind, Operation, Outcome, SecretString};
use muster_model::{Slot, Value};
use serde_json::{Map, Value as Json};

use super::verdict::rejected;
use crate::connector::Entra;
use crate::properties::Spec;
use crate::schema::attributes_of;

/// The property that holds a first password.
const PASSWORD_PROFILE: &str = "passwordProfile";
pub(super) const PASSWORD: &str = "passwordProfile.password";

/// A body, and a password that is put into it when it is sent.
#[derive(Debug, Default, Clone)]
pub(super) struct Body {
    pub(super) values: Map<String, Json>,
    /// Of a new user.
    pub(super) password: Option<SecretString>,
}

impl Body {
    pub(super) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// What is sent.
    pub(super) fn to_send(&self) -> Json {
        let text = self.password.as_ref().map(|password| password.expose_secret().to_owned());
        self.with_password(text)
    }

    /// What may be shown.
    pub(super) fn to_show(&self) -> Json {
        self.with_password(self.password.as_ref().map(|_| "…".to_owned()))
    }

    fn with_password(&self, password: Option<String>) -> Json {
        let mut values = self.values.clone();
        if let Some(password) = password {
            let profile = values.entry(PASSWORD_PROFILE).or_insert_with(|| Json::Object(Map::new()));
            if let Some(profile) = profile.as_object_mut() {
                profile.insert("password".to_owned(), Json::String(password));
                profile.entry("forceChangePasswordNextSignIn").or_insert(Json::Bool(true));
            }
        }
        Json::Object(values)
    }

    /// Puts a value where the attribute's property, or a part of it, stands.
    fn put(&mut self, name: &str, spec: Option<&Spec>, value: Json) {
        match spec.and_then(|spec| Some((spec.parent?, spec.member))) {
            Some((parent, member)) => {
                let whole = self.values.entry(parent).or_insert_with(|| Json::Object(Map::new()));
                if let Some(whole) = whole.as_object_mut() {
                    whole.insert(member.to_owned(), value);
                }
            }
            None => drop(self.values.insert(name.to_owned(), value)),
        }
    }
}

impl Entra {
    /// The values of an operation that are no references, with single values added to and removed from what `there`
    /// says that the object holds.
    pub(super) fn body(
        &self,
        batch: &Batch,
        operation: &Operation,
        there: impl Fn(usize) -> Vec<Value>,
    ) -> Result<Body, Outcome> {
        let specs = attributes_of(&batch.object_type).unwrap_or_default();
        let mut body = Body::default();
        for (position, name) in batch.attributes.iter().enumerate() {
            let spec = specs.iter().find(|spec| spec.name == name);
            if spec.is_some_and(Spec::is_reference) {
                continue;
            }
            let slot = operation.row.slot(position);
            let mut deltas = operation.deltas.iter().filter(|delta| delta.attribute == position).peekable();
            let changed;
            let slot = match (slot, deltas.peek()) {
                (Slot::Unknown, None) => continue,
                (slot, None) => slot,
                (slot, Some(_)) => {
                    let mut values = match slot {
                        Slot::Many(values) => values.clone(),
                        Slot::One(value) => vec![value.clone()],
                        Slot::Null => Vec::new(),
                        Slot::Unknown => there(position),
                    };
                    for delta in deltas {
                        values.retain(|value| !delta.remove.contains(value));
                        values.extend(
                            delta.add.iter().filter(|value| !values.contains(value)).cloned().collect::<Vec<_>>(),
                        );
                    }
                    changed = Slot::Many(values);
                    &changed
                }
            };
            if name == PASSWORD {
                let message = "a password is made by the section `password` of the sync, and cannot be mapped";
                return Err(rejected(name, "not_mapped", message));
            }
            if name == "id" || spec.is_none() && !self.extensions.contains_key(name) {
                return Err(rejected(name, "unknown", format!("Graph has no property {name:?} that can be written")));
            }
            let value = json(name, slot, spec.is_some_and(|spec| spec.many))?;
            // What a new object lacks need not be said, and of some properties Graph refuses null.
            if operation.kind != Kind::Create || !value.is_null() {
                body.put(name, spec, value);
            }
        }
        let secret = operation
            .secrets
            .iter()
            .find(|(position, _)| batch.attributes.get(*position).is_some_and(|name| name == PASSWORD));
        body.password = secret.map(|(_, secret)| secret.0.clone());
        Ok(body)
    }
}

/// A slot as JSON; Graph takes null for an empty text and refuses the text itself.
fn json(name: &str, slot: &Slot, many: bool) -> Result<Json, Outcome> {
    let one = |value: &Value| {
        scalar(value).ok_or_else(|| {
            rejected(name, "wrong_type", format!("{name} takes no value of the type {}", value.value_type()))
        })
    };
    Ok(match slot {
        Slot::Unknown => Json::Null,
        Slot::Null if many => Json::Array(Vec::new()),
        Slot::Null => Json::Null,
        Slot::One(value) if many => list(std::slice::from_ref(value), one)?,
        Slot::One(value) => one(value)?,
        Slot::Many(values) => list(values, one)?,
    })
}

/// An array, which has no place for nothing.
fn list(values: &[Value], one: impl Fn(&Value) -> Result<Json, Outcome>) -> Result<Json, Outcome> {
    let mut all = values.iter().map(one).collect::<Result<Vec<Json>, Outcome>>()?;
    all.retain(|value| !value.is_null());
    Ok(Json::Array(all))
}

fn scalar(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Text(text) if text.is_empty() => Json::Null,
        Value::Boolean(truth) => Json::Bool(*truth),
        Value::Integer(number) => Json::from(*number),
        Value::Instant(instant) => Json::String(instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        Value::Binary(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::Reference(_) | Value::Structure(_) => return None,
        other => Json::String(other.to_string()),
    })
}
