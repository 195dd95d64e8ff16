//! What the service holds.

use muster_model::{
    Anchor, AssignedBy, Attribute, Changes, Enabling, Key, ObjectType, Once, Precision, Row, Slot, SourceCapabilities,
    TargetCapabilities, Value, ValueType,
};
use serde_json::Value as Json;

/// A person.
pub(crate) fn person() -> ObjectType {
    let text = |name: &str, longest| Attribute { max_length: Some(longest), ..Attribute::new(name, ValueType::Text) };
    let id = Attribute::new("id", ValueType::Integer);
    ObjectType {
        name: "person".to_owned(),
        anchor: Anchor { attributes: vec!["id".to_owned()], assigned_by: AssignedBy::System },
        alternate_keys: vec![vec!["login".to_owned()]],
        attributes: vec![
            Attribute { required: true, creatable: false, updatable: false, unique: true, ..id },
            Attribute { required: true, unique: true, ..text("login", 40) },
            Attribute { required: true, ..text("name", 100) },
            text("email", 200),
            Attribute::new("active", ValueType::Boolean),
        ],
        enabling: Some(Enabling { attribute: "active".to_owned() }),
        source: Some(SourceCapabilities {
            changes: Some(Changes {
                starts_full: false,
                precision: Precision::Each,
                deletes_visible: true,
                keys_every: 0,
            }),
            recycle_bin: false,
        }),
        target: Some(TargetCapabilities {
            once: Once::Natural,
            readable: true,
            can_delete: true,
            can_rename: false,
            writes_secrets: false,
            ordered: false,
            max_batch: 100,
            max_in_flight: 1,
        }),
    }
}

/// A person of the service as the row that was asked for.
pub(crate) fn row(person: &Json, attributes: &[String]) -> Row {
    Row(attributes.iter().map(|name| person.get(name).map_or(Slot::Null, slot)).collect())
}

fn slot(json: &Json) -> Slot {
    match json {
        Json::String(text) => Slot::One(Value::Text(text.as_str().into())),
        Json::Bool(truth) => Slot::One(Value::Boolean(*truth)),
        Json::Number(number) => number.as_i64().map_or(Slot::Null, |number| Slot::One(Value::Integer(number))),
        _ => Slot::Null,
    }
}

/// A value as the service writes it.
pub(crate) fn json(value: &Value) -> Json {
    match value {
        Value::Text(text) => Json::from(&**text),
        Value::Boolean(truth) => Json::from(*truth),
        Value::Integer(number) => Json::from(*number),
        // The schema has no other types.
        other => Json::from(other.to_string()),
    }
}

/// The key of a person.
pub(crate) fn key(id: i64) -> Key {
    Key(vec![Value::Integer(id)])
}

/// The id in a key of ours.
pub(crate) fn id(key: &Key) -> Option<i64> {
    match key.0.as_slice() {
        [Value::Integer(id)] => Some(*id),
        _ => None,
    }
}
