//! What of a JSON Schema applies to a value.
//!
//! The subset is what schemars writes: references to definitions, alternatives, types, names and bounds.

use serde_json::Value;

use crate::tree::{Data, Node};

/// More references or alternatives than this inside one another are a circle.
const DEEPEST: usize = 64;

/// The words of JSON Schema for the types, `null` aside, which TOML cannot write.
const TYPES: [&str; 6] = ["string", "integer", "number", "boolean", "array", "object"];

/// A schema with its definitions.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    root: &'a Value,
}

/// What `anyOf` or `oneOf` mean for a value.
pub(crate) enum Alternatives<'a> {
    /// Every alternative is a word.
    Words(Vec<&'a str>),
    /// Every alternative is a table that says by one key which it is.
    Kinds { key: &'a str, kinds: Vec<(&'a str, &'a Value)> },
    /// Any of these.
    Any(Vec<&'a Value>),
}

impl<'a> View<'a> {
    pub(crate) fn new(root: &'a Value) -> Self {
        Self { root }
    }

    pub(crate) fn root(self) -> &'a Value {
        self.root
    }

    /// The definition that a `$ref` names.
    pub(crate) fn target(self, schema: &'a Value) -> Option<&'a Value> {
        let pointer = schema.get("$ref")?.as_str()?.strip_prefix('#')?;
        self.root.pointer(pointer)
    }

    /// The schema itself, or the one it refers to.
    fn resolve(self, schema: &'a Value) -> &'a Value {
        let mut current = schema;
        for _ in 0..DEEPEST {
            match self.target(current) {
                Some(target) => current = target,
                None => break,
            }
        }
        current
    }

    /// The alternatives of a schema, one list for each keyword that has some.
    pub(crate) fn alternatives(self, schema: &'a Value) -> Vec<Alternatives<'a>> {
        let lists = ["anyOf", "oneOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array());
        lists.map(|list| self.sort_out(list)).collect()
    }

    fn sort_out(self, list: &'a [Value]) -> Alternatives<'a> {
        let is_null = |schema: &Value| schema.get("type").is_some_and(|name| name == "null");
        let list: Vec<&Value> = list.iter().filter(|schema| !is_null(self.resolve(schema))).collect();
        let words: Option<Vec<Vec<&str>>> = list.iter().map(|schema| words(self.resolve(schema))).collect();
        if let Some(words) = words.filter(|words| !words.is_empty()) {
            return Alternatives::Words(words.into_iter().flatten().collect());
        }
        if let Some((key, kinds)) = self.kinds(&list) {
            return Alternatives::Kinds { key, kinds };
        }
        Alternatives::Any(list)
    }

    /// Finds the key whose constant differs in all alternatives.
    fn kinds(self, list: &[&'a Value]) -> Option<(&'a str, Vec<(&'a str, &'a Value)>)> {
        let first = self.resolve(list.first()?).get("properties")?.as_object()?;
        first.keys().find_map(|key| {
            let kind = |schema: &&'a Value| {
                let word = self.resolve(schema).get("properties")?.get(key)?.get("const")?.as_str()?;
                Some((word, *schema))
            };
            let kinds: Option<Vec<_>> = list.iter().map(kind).collect();
            Some((key.as_str(), kinds?))
        })
    }

    /// Whether it is a secret's place, by itself or by reference.
    pub(crate) fn is_secret(self, schema: &'a Value) -> bool {
        self.resolve(schema).get("x-muster-secret").is_some_and(|mark| mark == true)
    }

    /// All schemas that bear upon a value, references followed and alternatives chosen by what the value is.
    pub(crate) fn applicable(self, schema: &'a Value, node: &Node) -> Vec<&'a Value> {
        let mut found = Vec::new();
        self.collect(schema, node, 0, &mut found);
        found
    }

    fn collect(self, schema: &'a Value, node: &Node, depth: usize, found: &mut Vec<&'a Value>) {
        if depth > DEEPEST {
            return;
        }
        found.push(schema);
        if let Some(target) = self.target(schema) {
            self.collect(target, node, depth + 1, found);
        }
        if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
            all.iter().for_each(|schema| self.collect(schema, node, depth + 1, found));
        }
        for alternatives in self.alternatives(schema) {
            match alternatives {
                // A word's only consequence is that it is text.
                Alternatives::Words(_) => found.push(a_string()),
                Alternatives::Kinds { key, kinds } => {
                    if let Some(kind) = kind_of(node, key)
                        && let Some((_, schema)) = kinds.iter().find(|(word, _)| *word == kind)
                    {
                        self.collect(schema, node, depth + 1, found);
                    }
                }
                Alternatives::Any(list) => {
                    for schema in list.into_iter().filter(|schema| self.fits(schema, node)) {
                        self.collect(schema, node, depth + 1, found);
                    }
                }
            }
        }
    }

    /// The schemas of the value under `key`.
    pub(crate) fn properties(self, applicable: &[&'a Value], key: &str) -> Vec<&'a Value> {
        applicable.iter().filter_map(|schema| property(schema, key)).collect()
    }

    /// Whether a value has a type that the schema allows.
    pub(crate) fn fits(self, schema: &'a Value, node: &Node) -> bool {
        let types = self.types(schema);
        types.is_empty() || type_names(node).iter().any(|name| types.contains(name))
    }

    /// The types that a schema allows; empty where it does not say.
    pub(crate) fn types(self, schema: &'a Value) -> Vec<&'static str> {
        let mut found = Vec::new();
        self.collect_types(schema, 0, &mut found);
        found.sort_by_key(|name| TYPES.iter().position(|known| known == name));
        found.dedup();
        found
    }

    fn collect_types(self, schema: &'a Value, depth: usize, found: &mut Vec<&'static str>) {
        if depth > DEEPEST {
            return;
        }
        let schema = self.resolve(schema);
        let named = declared_types(schema);
        if !named.is_empty() {
            found.extend(named);
            return;
        }
        for keyword in ["anyOf", "oneOf", "allOf"] {
            let list = schema.get(keyword).and_then(Value::as_array);
            list.into_iter().flatten().for_each(|schema| self.collect_types(schema, depth + 1, found));
        }
    }
}

/// The schema of the value under `key` in one schema.
pub(crate) fn property<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let named = schema.get("properties").and_then(|properties| properties.get(key));
    named.or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object()))
}

/// The types that one schema names, by `type`, or by the values it lists.
pub(crate) fn declared_types(schema: &Value) -> Vec<&'static str> {
    let known = |name: &Value| TYPES.into_iter().find(|known| name == known);
    match (schema.get("type"), schema.get("const"), schema.get("enum")) {
        (Some(Value::Array(names)), _, _) => names.iter().filter_map(known).collect(),
        (Some(name), _, _) => known(name).into_iter().collect(),
        (None, Some(value), _) => vec![type_of(value)],
        (None, None, Some(Value::Array(values))) => values.iter().map(type_of).collect(),
        _ if schema.get("properties").is_some() => vec!["object"],
        _ => Vec::new(),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::String(_) | Value::Null => "string",
    }
}

/// The types that a value has.
pub(crate) fn type_names(node: &Node) -> &'static [&'static str] {
    match node.data {
        Data::Text(_) => &["string"],
        // JSON has no such type: written as text it would say the same in more places.
        Data::Moment(_) => &[],
        Data::Given(_) => &TYPES,
        Data::Integer(_) => &["integer", "number"],
        Data::Float(_) => &["number"],
        Data::Boolean(_) => &["boolean"],
        Data::List(_) => &["array"],
        Data::Table(_) => &["object"],
    }
}

/// The words that a schema allows, when it allows nothing else.
pub(crate) fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(word) = schema.get("const") {
        return word.as_str().map(|word| vec![word]);
    }
    schema.get("enum")?.as_array()?.iter().filter(|word| !word.is_null()).map(Value::as_str).collect()
}

/// Which kind of table a value says it is.
pub(crate) fn kind_of<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    match &node.table()?.get(key)?.data {
        Data::Text(kind) | Data::Given(kind) => Some(kind),
        _ => None,
    }
}

fn a_string() -> &'static Value {
    static STRING: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| serde_json::json!({ "type": "string" }));
    &STRING
}
