//! The tables of the configuration's reference, made from its JSON Schema.

use anyhow::Context as _;
use serde_json::{Map, Value};

const END: &str = "<!-- /generated -->";

/// Puts what was made between the two marks of the page.
pub(crate) fn put_into(page: &str, mark: &str, tables: &str) -> anyhow::Result<String> {
    let begin = format!("<!-- generated: {mark} -->\n");
    let (before, rest) = page.split_once(&begin).with_context(|| format!("the mark {begin:?} is missing"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the mark {END:?} is missing"))?;
    Ok(format!("{before}{begin}\n{tables}{END}{after}"))
}

/// One table for each table of the configuration.
pub(crate) fn tables(schema: &Value) -> String {
    let mut pages = Pages { root: schema, text: String::new() };
    pages.table("The file", "", schema);
    pages.text
}

struct Pages<'a> {
    root: &'a Value,
    text: String,
}

/// A table that is described after the one that holds it.
struct Below<'a> {
    title: String,
    path: String,
    schema: &'a Value,
}

impl<'a> Pages<'a> {
    fn table(&mut self, title: &str, path: &str, schema: &'a Value) {
        let schema = self.resolve(schema);
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
        let mut below = Vec::new();
        self.line(&format!("### {title}\n"));
        if let Some(description) = schema.get("description").and_then(Value::as_str).filter(|_| !path.is_empty()) {
            self.line(&format!("{}\n", flat(description)));
        }
        self.line("| setting | value | default | meaning |\n| --- | --- | --- | --- |");
        for (name, property) in in_order(properties, schema) {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.row(schema, name, property);
            self.below(&path, property, &mut below);
        }
        self.line("");
        let mut tables = below.into_iter().peekable();
        while let Some(mut table) = tables.next() {
            // Several settings of one form are described once.
            while let Some(alike) = tables.next_if(|next| next.schema == table.schema) {
                table.title = format!("{}, {}", table.title, alike.title);
            }
            self.table(&table.title, &table.path, table.schema);
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn row(&mut self, holder: &Value, name: &str, property: &'a Value) {
        let required =
            holder.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|one| one == name));
        let inner = self.meant(property);
        let default = match property.get("default").or_else(|| inner.get("default")) {
            _ if required => "*required*".to_owned(),
            Some(Value::Null) | None => String::new(),
            Some(Value::Object(entries)) if entries.is_empty() => String::new(),
            Some(Value::Array(list)) if list.is_empty() => String::new(),
            Some(value) => format!("`{value}`"),
        };
        let description = property.get("description").or_else(|| inner.get("description")).and_then(Value::as_str);
        let mut meaning = flat(description.unwrap_or_default());
        for word in inner.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            if let (Some(value), Some(about)) = (word.get("const"), word.get("description").and_then(Value::as_str)) {
                let about = flat(about);
                meaning.push_str(&format!(" `{value}`: {about}"));
            }
        }
        self.line(&format!("| `{name}` | {} | {default} | {meaning} |", self.value(property)));
    }

    /// The words for what stands on the right.
    fn value(&self, schema: &'a Value) -> String {
        if let Some(alternatives) = self.alternatives(schema) {
            let mut words: Vec<String> = alternatives.iter().map(|schema| self.value(schema)).collect();
            words.dedup();
            return words.join(" or ");
        }
        let schema = self.resolve(schema);
        if schema.get("x-muster-secret").is_some() {
            return "secret".to_owned();
        }
        if schema.get("pattern").is_some() {
            return "length of time".to_owned();
        }
        if let Some(words) = words(schema) {
            return words;
        }
        let kind = match schema.get("type") {
            Some(Value::Array(names)) => names.iter().find(|name| *name != "null").and_then(Value::as_str),
            Some(Value::String(name)) => Some(name.as_str()),
            _ => None,
        };
        match kind {
            Some("string") => "text".to_owned(),
            Some("integer") => "whole number".to_owned(),
            Some("number") => "number".to_owned(),
            Some("boolean") => "`true` or `false`".to_owned(),
            Some("array") => match schema.get("items") {
                Some(items) => format!("list of {}", self.value(items)),
                None => "list".to_owned(),
            },
            Some("object") => "table".to_owned(),
            _ => String::new(),
        }
    }

    /// The tables that a setting holds, or holds by names of the user's choice.
    fn below(&self, path: &str, property: &'a Value, found: &mut Vec<Below<'a>>) {
        let alternatives = self.alternatives(property).unwrap_or_else(|| vec![property]);
        for schema in alternatives {
            let schema = self.resolve(schema);
            if schema.get("x-muster-secret").is_some() {
                continue;
            }
            if let Some(kinds) =
                schema.get("oneOf").and_then(Value::as_array).filter(|_| schema.get("properties").is_some())
            {
                for kind in kinds {
                    let section = self.resolve(kind);
                    let name =
                        section.pointer("/properties/connector/const").and_then(Value::as_str).unwrap_or_default();
                    let title = format!("`[{path}]` with `connector = \"{name}\"`");
                    found.push(Below { title, path: path.to_owned(), schema: section });
                }
            } else if schema.get("properties").is_some() {
                found.push(Below { title: format!("`[{path}]`"), path: path.to_owned(), schema });
            } else if let Some(named) = schema.get("additionalProperties").filter(|named| named.is_object()) {
                self.below(&format!("{path}.NAME"), named, found);
            } else if let Some(items) = schema.get("items") {
                self.below(&format!("{path}[]"), items, found);
            }
        }
    }

    /// What a setting holds when it holds something: the only alternative to nothing.
    fn meant(&self, schema: &'a Value) -> &'a Value {
        match self.alternatives(schema).as_deref() {
            Some([only]) => self.resolve(only),
            _ => self.resolve(schema),
        }
    }

    fn alternatives(&self, schema: &'a Value) -> Option<Vec<&'a Value>> {
        let list = self.resolve(schema).get("anyOf")?.as_array()?;
        Some(list.iter().filter(|schema| schema.get("type").is_none_or(|name| name != "null")).collect())
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        target.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }
}

fn words(schema: &Value) -> Option<String> {
    let mut words: Vec<&Value> = schema.get("const").into_iter().collect();
    words.extend(schema.get("enum").and_then(Value::as_array).into_iter().flatten());
    for alternative in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        words.extend(alternative.get("const"));
        words.extend(alternative.get("enum").and_then(Value::as_array).into_iter().flatten());
    }
    let words: Vec<String> = words.iter().filter(|word| !word.is_null()).map(|word| format!("`{word}`")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// What must be given first, then by name.
fn in_order<'a>(properties: &'a Map<String, Value>, holder: &Value) -> Vec<(&'a String, &'a Value)> {
    let required = |name: &str| {
        holder.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|one| one == name))
    };
    let mut list: Vec<_> = properties.iter().collect();
    list.sort_by_key(|(name, _)| (!required(name), *name));
    list
}

/// On one line, with nothing that would end a cell.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
