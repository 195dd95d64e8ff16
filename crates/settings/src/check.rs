//! The tree against a JSON Schema: every problem, each with its place and what to change.

use std::collections::BTreeSet;

use muster_model::nearest;
use serde_json::Value;

use crate::place::{Problem, child};
use crate::secrets;
use crate::tree::{Data, Node, Table};
use crate::view::{Alternatives, View, declared_types, kind_of, property, type_names, words};
use crate::words::{did_you_mean, first_sentence, quoted};

/// Deeper than any file can be nested; only a schema that goes in circles gets there.
const DEEPEST: usize = 256;

/// Lists what is wrong with a value.
pub(crate) fn check(view: View<'_>, node: &Node) -> Vec<Problem> {
    let mut checker = Checker { view, problems: Vec::new(), depth: 0 };
    checker.value(view.root(), node, "");
    checker.problems
}

struct Checker<'a> {
    view: View<'a>,
    problems: Vec<Problem>,
    depth: usize,
}

impl<'a> Checker<'a> {
    fn add(&mut self, node: &Node, path: &str, problem: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::new(&node.place, path, problem, fix));
    }

    fn value(&mut self, schema: &'a Value, node: &Node, path: &str) {
        if self.depth >= DEEPEST {
            return;
        }
        self.depth += 1;
        self.all(schema, node, path);
        self.depth -= 1;
    }

    fn all(&mut self, schema: &'a Value, node: &Node, path: &str) {
        if schema == &Value::Bool(false) {
            return self.add(node, path, "this setting is not accepted", "remove it");
        }
        if schema.get("x-muster-secret").is_some_and(|mark| mark == true) {
            return self.problems.extend(secrets::check(node, path));
        }
        if let Some(target) = self.view.target(schema) {
            self.value(target, node, path);
        }
        for schema in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.value(schema, node, path);
        }
        for alternatives in self.view.alternatives(schema) {
            match alternatives {
                Alternatives::Words(words) => self.word(&words, node, path),
                Alternatives::Kinds { key, kinds } => {
                    let Some(chosen) = self.kind(key, &kinds, node, path) else { return };
                    self.value(chosen, node, path);
                }
                Alternatives::Any(list) => self.any(schema, &list, node, path),
            }
        }
        if let Some(words) = words(schema) {
            return self.word(&words, node, path);
        }
        if let Some(allowed) = schema
            .get("enum")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .or(schema.get("const").map(std::slice::from_ref))
            && !allowed.contains(&node.to_json())
        {
            let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
            return self.add(node, path, "this value is not possible", format!("possible are {}", allowed.join(", ")));
        }
        let types = declared_types(schema);
        if !types.is_empty() && !type_names(node).iter().any(|name| types.contains(name)) {
            return self.wrong_type(&types, schema, node, path);
        }
        match &node.data {
            Data::Table(table) => self.table(schema, node, table, path),
            Data::List(list) => self.list(schema, node, list, path),
            Data::Text(text) => self.text(schema, node, text, path),
            Data::Integer(number) => {
                #[expect(clippy::cast_precision_loss, reason = "bounds are small; beyond 2^53 both sides round alike")]
                self.number(schema, node, *number as f64, path);
            }
            Data::Float(number) => self.number(schema, node, *number, path),
            Data::Given(_) | Data::Boolean(_) | Data::Moment(_) => {}
        }
    }

    fn wrong_type(&mut self, types: &[&str], schema: &Value, node: &Node, path: &str) {
        let expected: Vec<&str> = types.iter().copied().map(type_words).collect();
        let problem = format!("expected {}, found {}", expected.join(" or "), node.kind());
        let fix = match schema.get("x-muster-hint").and_then(Value::as_str) {
            Some(hint) => hint.to_owned(),
            None if types.contains(&"string") => "write it in quotes: \"…\"".to_owned(),
            None if types.contains(&"array") => "write it as a list: [\"…\", \"…\"]".to_owned(),
            None if types.contains(&"object") => "write it as a table: { name = … }".to_owned(),
            None if types.contains(&"boolean") => "write true or false, without quotes".to_owned(),
            None if node.text().is_some() => "write a number, without quotes".to_owned(),
            None => format!("write {}", expected.join(" or ")),
        };
        self.add(node, path, problem, fix);
    }

    fn word(&mut self, words: &[&str], node: &Node, path: &str) {
        match node.text() {
            Some(text) if words.contains(&text) => {}
            Some(text) => {
                let near = nearest(text, words.iter().copied());
                let fix = near.map_or_else(
                    || format!("possible are {}", quoted(words)),
                    |near| format!("did you mean {near:?}?"),
                );
                self.add(node, path, "this value is not known", fix);
            }
            None => {
                let problem = format!("expected text, found {}", node.kind());
                self.add(node, path, problem, format!("possible are {}", quoted(words)));
            }
        }
    }

    /// The alternative that a table says it is.
    fn kind(&mut self, key: &str, kinds: &[(&'a str, &'a Value)], node: &Node, path: &str) -> Option<&'a Value> {
        let known: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
        let Some(table) = node.table() else {
            self.add(
                node,
                path,
                format!("expected a table, found {}", node.kind()),
                format!("write it as a table with {key} = …"),
            );
            return None;
        };
        let Some(kind) = kind_of(node, key) else {
            match table.get(key) {
                Some(value) => self.word(&known, value, &child(path, key)),
                None => {
                    let fix = format!("add {key} = …; known are {}", quoted(&known));
                    self.add(node, &child(path, key), "this setting is missing", fix);
                }
            }
            return None;
        };
        let chosen = kinds.iter().find(|(known, _)| *known == kind).map(|(_, schema)| *schema);
        if chosen.is_none()
            && let Some(value) = table.get(key)
        {
            let near = nearest(kind, known.iter().copied());
            let near = near.map_or_else(String::new, |near| format!("did you mean {near:?}? "));
            let fix = if known.is_empty() {
                "none is known here".to_owned()
            } else {
                format!("{near}known are {}", quoted(&known))
            };
            self.add(value, &child(path, key), format!("unknown {key} {kind:?}"), fix);
        }
        chosen
    }

    fn any(&mut self, schema: &'a Value, list: &[&'a Value], node: &Node, path: &str) {
        if let Some(secret) = list.iter().find(|schema| self.view.is_secret(schema)) {
            let plain = list.iter().any(|schema| !self.view.is_secret(schema) && self.view.fits(schema, node));
            match node.text() {
                Some(text) if plain => {
                    if let Some(problem) = secrets::password_in_address(text, node, path) {
                        return self.problems.push(problem);
                    }
                }
                _ => return self.value(secret, node, path),
            }
        }
        // An optional setting: without `null` there is nothing to choose.
        if let [only] = list {
            return self.value(only, node, path);
        }
        let fitting: Vec<&Value> = list.iter().copied().filter(|schema| self.view.fits(schema, node)).collect();
        let mut best: Option<Vec<Problem>> = None;
        for alternative in &fitting {
            let mut trial = Checker { view: self.view, problems: Vec::new(), depth: self.depth };
            trial.value(alternative, node, path);
            if trial.problems.is_empty() {
                return;
            }
            if best.as_ref().is_none_or(|best| trial.problems.len() < best.len()) {
                best = Some(trial.problems);
            }
        }
        match best {
            Some(problems) => self.problems.extend(problems),
            None if list.is_empty() => {}
            None => {
                let types: BTreeSet<&str> = list.iter().flat_map(|schema| self.view.types(schema)).collect();
                let types: Vec<&str> = types.into_iter().rev().collect();
                self.wrong_type(&types, schema, node, path);
            }
        }
    }

    fn table(&mut self, schema: &'a Value, node: &Node, table: &Table, path: &str) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let known: Vec<&str> =
            properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str)).collect();
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        let mut meant = BTreeSet::new();
        for entry in &table.entries {
            let path = child(path, &entry.key);
            if let Some(schema) = property(schema, &entry.key) {
                self.value(schema, &entry.node, &path);
            } else if closed {
                let free: Vec<&str> = known.iter().copied().filter(|name| table.get(name).is_none()).collect();
                let near = nearest(&entry.key, free.iter().copied());
                meant.extend(near);
                // A slip in a name that stands here already is still a slip.
                let repeats = near.is_none() && nearest(&entry.key, known.iter().copied()).is_some();
                let fix =
                    did_you_mean(&entry.key, if free.is_empty() || repeats { &known } else { &free }, "remove it");
                self.problems.push(Problem::new(&entry.place, &path, "unknown setting", fix));
            }
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            // A slip in a required name is one mistake, not two.
            if table.get(name).is_some() || meant.contains(name) {
                continue;
            }
            let wanted = property(schema, name);
            if wanted.is_some_and(|schema| self.view.types(schema) == ["object"]) {
                let path = child(path, name);
                self.add(node, &path, "this table is missing", format!("add [{path}] with its settings"));
                continue;
            }
            let about = wanted.and_then(|schema| schema.get("description")).and_then(Value::as_str);
            let about = about.map_or_else(String::new, |about| format!(" ({})", first_sentence(about)));
            self.add(node, &child(path, name), "this setting is missing", format!("add {name} = …{about}"));
        }
        let count = table.entries.len();
        if bound(schema, "minProperties").is_some_and(|least| count < least) {
            self.add(node, path, "too little stands here", "add at least one line to this table, or remove it");
        }
        if bound(schema, "maxProperties").is_some_and(|most| count > most) {
            self.add(node, path, "too much stands here", "keep one of the settings of this table");
        }
    }

    fn list(&mut self, schema: &'a Value, node: &Node, list: &[Node], path: &str) {
        if let Some(items) = schema.get("items") {
            for (position, element) in list.iter().enumerate() {
                self.value(items, element, &format!("{path}[{position}]"));
            }
        }
        if let Some(least) = bound(schema, "minItems").filter(|least| list.len() < *least) {
            self.add(
                node,
                path,
                format!("the list has {} elements", list.len()),
                format!("at least {least} are needed"),
            );
        }
        if let Some(most) = bound(schema, "maxItems").filter(|most| list.len() > *most) {
            self.add(
                node,
                path,
                format!("the list has {} elements", list.len()),
                format!("at most {most} are possible"),
            );
        }
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
            let values: Vec<Value> = list.iter().map(Node::to_json).collect();
            for (position, element) in list.iter().enumerate() {
                if values.iter().take(position).any(|earlier| Some(earlier) == values.get(position)) {
                    self.add(element, &format!("{path}[{position}]"), "this stands in the list already", "remove it");
                }
            }
        }
    }

    fn text(&mut self, schema: &Value, node: &Node, text: &str, path: &str) {
        let length = text.chars().count();
        if bound(schema, "minLength").is_some_and(|least| length < least) {
            let problem = if length == 0 { "the text is empty" } else { "the text is too short" };
            self.add(node, path, problem, "write what the setting asks for, or remove it");
        }
        if let Some(most) = bound(schema, "maxLength").filter(|most| length > *most) {
            self.add(node, path, "the text is too long", format!("at most {most} characters are possible"));
        }
        let Some(pattern) = schema.get("pattern").and_then(Value::as_str) else { return };
        if !matches_pattern(pattern, text) {
            let hint = ["x-muster-hint", "description"].iter().find_map(|keyword| schema.get(*keyword)?.as_str());
            let fix = hint.map_or_else(|| format!("it must match {pattern}"), first_sentence);
            self.add(node, path, "this text does not have the form that is needed here", fix);
        }
    }

    fn number(&mut self, schema: &Value, node: &Node, number: f64, path: &str) {
        if !number.is_finite() {
            return self.add(node, path, "this is no number to calculate with", "write one in digits");
        }
        let at = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
        let low = at("minimum").filter(|least| number < *least).map(|least| format!("{least} is the least"));
        let high = at("maximum").filter(|most| number > *most).map(|most| format!("{most} is the most"));
        let below =
            at("exclusiveMinimum").filter(|least| number <= *least).map(|least| format!("it must be above {least}"));
        let above =
            at("exclusiveMaximum").filter(|most| number >= *most).map(|most| format!("it must be below {most}"));
        for fix in [low, high, below, above].into_iter().flatten() {
            self.add(node, path, "this number is out of range", fix);
        }
    }
}

fn bound(schema: &Value, keyword: &str) -> Option<usize> {
    schema.get(keyword)?.as_u64().and_then(|bound| usize::try_from(bound).ok())
}

fn type_words(name: &str) -> &'static str {
    match name {
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a table",
        _ => "text",
    }
}

/// Understands the one pattern that settings use, a number with a unit, `^[0-9]+(s|m|h)$`. Any other is left to the
/// connector, which reads the text anyway; an engine for patterns would be a large thing to carry for that.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let units = pattern.strip_prefix("^[0-9]+(").and_then(|rest| rest.strip_suffix(")$"));
    let Some(units) = units.filter(|units| units.chars().all(|letter| letter.is_ascii_alphabetic() || letter == '|'))
    else {
        return true;
    };
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    unit.len() < text.len() && units.split('|').any(|known| known == unit)
}
