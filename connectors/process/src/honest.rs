//! What no honest connector would answer, and settings that its own schema refuses.

use std::collections::HashSet;
use std::hash::Hash;

use muster_connector::wire::{Call, Reply};
use muster_connector::{Batch, Change, Cursor, EdgeChange, Error, Next, Position, ReadRequest};
use muster_model::{Row, nearest};
use serde_json::Value;

use crate::config::{Command, configuration};

/// What is said of a line that is no message: where, never what it holds.
pub(crate) fn misread(error: &serde_json::Error) -> String {
    let what = match error.is_data() {
        true => "a line that is no message of the wire form",
        false => "a line that is no JSON",
    };
    format!(
        "the connector sent {what} (column {}); nothing but messages belongs on its standard output",
        error.column()
    )
}

/// Holds the settings against the schema that the connector gives for them, as far as names go.
pub(crate) fn fitting_settings(command: &Command, schema: &Value) -> Result<(), Error> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    let first = |path: &str| path.split(['.', '[']).next().unwrap_or(path).to_owned();
    let given = command.settings.keys().map(|name| ("settings", name.clone()));
    for (table, name) in given.chain(command.secrets.keys().map(|path| ("secrets", first(path)))) {
        if is_closed && !properties.contains_key(&name) {
            let fix = match nearest(&name, properties.keys().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "compare with the connector's documentation".to_owned(),
            };
            return Err(configuration(&format!("{table}.{name}"), "the connector has no such setting", &fix));
        }
    }
    for (name, property) in properties {
        if command.settings.contains_key(name) && is_secret(schema, property, 0) {
            let fix = "move it into the connection's table secrets, as { env = \"NAME\" } or { file = \"PATH\" }";
            return Err(configuration(&format!("settings.{name}"), "this is a secret", fix));
        }
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for name in required {
        if !command.settings.contains_key(name) && !command.secrets.keys().any(|path| first(path) == name) {
            let fix = "add it; see the connector's documentation";
            return Err(configuration(&format!("settings.{name}"), "the connector needs this setting", fix));
        }
    }
    Ok(())
}

/// Whether a setting holds a secret, be it through references and alternatives.
fn is_secret(root: &Value, property: &Value, depth: usize) -> bool {
    const DEEPEST: usize = 16;
    if depth > DEEPEST {
        return false;
    }
    let target = property.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
    let target = target.and_then(|pointer| root.pointer(pointer));
    let alternatives = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|word| property.get(word)?.as_array());
    property.get("x-muster-secret") == Some(&Value::Bool(true))
        || target.into_iter().chain(alternatives.flatten()).any(|other| is_secret(root, other, depth + 1))
}

/// Why a reply cannot be the answer to the call.
pub(crate) fn lie(call: &Call, reply: &Reply) -> Option<String> {
    let same = |asked: usize, answered: usize| {
        (asked != answered).then(|| format!("{asked} were asked for and {answered} answered"))
    };
    match (call, reply) {
        (_, Reply::Error(_)) => None,
        (Call::Describe {}, Reply::Describe(_))
        | (Call::Check { .. }, Reply::Check(_))
        | (Call::Schema {}, Reply::Schema(_))
        | (Call::Acknowledge { .. }, Reply::Acknowledge {}) => None,
        (Call::Read { request, cursor }, Reply::Read(page)) => {
            let rows = page.objects.iter().find_map(|object| object_lie(request, &object.row, &object.edges));
            rows.or_else(|| circle(cursor.as_ref(), page.next.as_ref()))
        }
        (Call::Changes { request, position }, Reply::Changes(page)) => {
            let rows = page.entries.iter().find_map(|entry| match &entry.change {
                Change::Whole(row) | Change::Partial(row) => object_lie(request, row, &entry.edges),
                Change::Same | Change::Removed(_) => object_lie(request, &Row::default(), &entry.edges),
            });
            rows.or_else(|| match (position, &page.next) {
                (Position::Page(asked), Next::Page(next)) => circle(Some(asked), Some(next)),
                _ => None,
            })
        }
        (Call::Get { request, keys }, Reply::Get(found)) => same(keys.len(), found.len())
            .or_else(|| found.iter().flatten().find_map(|object| object_lie(request, &object.row, &object.edges))),
        (Call::TargetGet { request, keys }, Reply::TargetGet(found)) => same(keys.len(), found.len())
            .or_else(|| found.iter().flatten().find_map(|object| object_lie(request, &object.row, &[]))),
        (Call::Find { request, values, .. }, Reply::Find(found)) => same(values.len(), found.len())
            .or_else(|| found.iter().flatten().find_map(|object| object_lie(request, &object.row, &[]))),
        (Call::Holds { pairs, .. }, Reply::Holds(found)) => same(pairs.len(), found.len()),
        (Call::List { request, cursor }, Reply::List(page)) => {
            let rows = page.objects.iter().find_map(|object| object_lie(request, &object.row, &[]));
            rows.or_else(|| circle(cursor.as_ref(), page.next.as_ref()))
        }
        (Call::Preview(batch), Reply::Preview(texts)) => same(batch.operations.len(), texts.len()),
        (Call::Apply(batch), Reply::Apply(outcomes)) => ids(asked(batch).collect(), outcomes.iter().map(|(id, _)| *id)),
        (Call::Outcomes { ids: wanted }, Reply::Outcomes(outcomes)) => {
            ids(wanted.iter().copied().collect(), outcomes.iter().map(|(id, _)| *id))
        }
        (Call::Confirm { accepted, .. }, Reply::Confirm(outcomes)) => {
            ids(accepted.iter().map(|(id, _)| *id).collect(), outcomes.iter().map(|(id, _)| *id))
        }
        (Call::Effort { .. }, Reply::Effort(_)) => None,
        _ => Some("it is the answer to another call".to_owned()),
    }
}

fn asked(batch: &Batch) -> impl Iterator<Item = muster_connector::OperationId> {
    batch.operations.iter().map(|operation| operation.id)
}

/// Each id at most once, and none that was not asked for. One that is missing counts as unknown, which is no lie.
fn ids<T: Hash + Eq>(mut open: HashSet<T>, answered: impl Iterator<Item = T>) -> Option<String> {
    let count = open.len();
    for id in answered {
        if !open.remove(&id) {
            return Some(format!("it holds an operation twice, or one that is not among the {count} asked for"));
        }
    }
    None
}

fn object_lie(request: &ReadRequest, row: &Row, edges: &[EdgeChange]) -> Option<String> {
    let width = request.attributes.len();
    if row.0.len() > width {
        return Some(format!("a row has {} values where {width} attributes were asked for", row.0.len()));
    }
    let beyond = edges.iter().any(|edge| edge.attribute >= width);
    beyond.then(|| format!("a reference belongs to none of the {width} attributes that were asked for"))
}

fn circle(asked: Option<&Cursor>, next: Option<&Cursor>) -> Option<String> {
    (asked.is_some() && asked == next).then(|| "the page after this one is this one again, without end".to_owned())
}
