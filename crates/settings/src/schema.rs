//! The JSON Schema of the whole file: ours, with every connector's own settings put in.

use serde_json::{Map, Value, json};

use crate::form::ConfigurationForm;

/// A connector that a connection may choose.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectorSchema {
    /// The word after `connector =`.
    pub kind: String,
    /// The JSON Schema of a connection's section, without `connector`; secrets carry `"x-muster-secret": true`.
    pub settings: Value,
}

/// The JSON Schema (2020-12) of the configuration file. The same connectors give the same bytes when printed.
#[must_use]
pub fn schema(connectors: &[ConnectorSchema]) -> Value {
    let mut root = schemars::schema_for!(ConfigurationForm).to_value();
    let mut definitions = match root.get_mut("$defs") {
        Some(Value::Object(definitions)) => std::mem::take(definitions),
        _ => Map::new(),
    };
    let mut sections = Vec::new();
    for connector in connectors {
        let (section, own) = section(connector);
        sections.push(json!({ "$ref": format!("#/$defs/{}", definition(&connector.kind)) }));
        definitions.insert(definition(&connector.kind), section);
        definitions.extend(own);
    }
    let kinds: Vec<&str> = connectors.iter().map(|connector| connector.kind.as_str()).collect();
    let connection = json!({
        "description": "A system that is read or written. Which settings it has depends on its `connector`.",
        "type": "object",
        "properties": { "connector": { "description": CONNECTOR, "type": "string", "enum": kinds } },
        "required": ["connector"],
        "oneOf": sections
    });
    definitions.insert("Connection".to_owned(), connection);
    if let Value::Object(root) = &mut root {
        root.insert("$defs".to_owned(), Value::Object(definitions));
    }
    sorted(root)
}

const CONNECTOR: &str = "The kind of system, which is the connector that speaks to it.";

/// The name that a connector's section has among the definitions, and that all its own definitions begin with, so that
/// they meet neither ours nor those of another connector.
fn definition(kind: &str) -> String {
    format!("connector-{kind}")
}

/// A connector's section with `connector` in it, and its definitions.
fn section(connector: &ConnectorSchema) -> (Value, Map<String, Value>) {
    let mut section = connector.settings.clone();
    let mut definitions = Map::new();
    rename_references(&mut section, &connector.kind);
    if let Value::Object(section) = &mut section {
        section.remove("$schema");
        section.remove("title");
        for holder in ["$defs", "definitions"] {
            if let Some(Value::Object(own)) = section.remove(holder) {
                let own =
                    own.into_iter().map(|(name, value)| (format!("{}.{name}", definition(&connector.kind)), value));
                definitions.extend(own);
            }
        }
        let properties = section.entry("properties").or_insert_with(|| json!({}));
        if let Value::Object(properties) = properties {
            let this = json!({ "description": CONNECTOR, "type": "string", "const": connector.kind });
            properties.insert("connector".to_owned(), this);
        }
        let required = section.entry("required").or_insert_with(|| json!([]));
        if let Value::Array(required) = required {
            required.push(json!("connector"));
        }
        section.insert("type".to_owned(), json!("object"));
    }
    (section, definitions)
}

/// Points `$ref`s at the renamed definitions.
fn rename_references(schema: &mut Value, kind: &str) {
    match schema {
        Value::Object(keywords) => {
            for (keyword, value) in keywords {
                match value {
                    Value::String(target) if keyword == "$ref" => {
                        let name = target.strip_prefix("#/$defs/").or_else(|| target.strip_prefix("#/definitions/"));
                        if let Some(name) = name {
                            *target = format!("#/$defs/{}.{name}", definition(kind));
                        }
                    }
                    other => rename_references(other, kind),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|schema| rename_references(schema, kind)),
        _ => {}
    }
}

/// With the keys in order, whatever order the map keeps: another crate of the same build may have asked it to keep
/// the order of insertion.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<(String, Value)> = entries.into_iter().collect();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}
