//! The tree's syncs as rules: expressions parsed, names looked up, and what no schema can see.
//!
//! Read piece by piece, so that a mistake in one line hides none in another.

use muster_expression::{Condition, Expression};
use muster_model::{Decimal, Value, nearest};
use serde::de::DeserializeOwned;

use crate::form::{GuardSettings, LimitSettings, MappingForm, RemovalSettings};
use crate::load::check_name;
use crate::place::{Place, Problem, child};
use crate::schedule::{SCHEDULE_FORM, Schedule};
use crate::settings::{Endpoint, MappingSettings, SyncSettings};
use crate::span::{TIME_SPAN_FORM, TimeSpan};
use crate::tree::{Entry, Node, Table};
use crate::words::quoted;

/// The shortest and the longest pause between two cycles, in milliseconds.
const EVERY: (i64, i64) = (1_000, 366 * 86_400_000);

/// Reads all syncs, in the order of the file. What it leaves out has been reported.
pub(crate) fn read(root: &Node, problems: &mut Vec<Problem>) -> Vec<SyncSettings> {
    let top = |name: &str| root.table().and_then(|table| table.get(name)).and_then(Node::table);
    let connections = top("connections");
    let connections: Vec<&str> =
        connections.into_iter().flat_map(|table| &table.entries).map(|entry| entry.key.as_str()).collect();
    let entries = top("syncs").into_iter().flat_map(|table| &table.entries);
    let mut syncs = Vec::new();
    for entry in entries {
        check_name("syncs", &entry.key, &entry.place, problems);
        let Some(table) = entry.node.table() else { continue };
        let path = child("syncs", &entry.key);
        let mut reader = Reader { table, path, connections: &connections, problems };
        syncs.extend(reader.sync(entry));
    }
    syncs
}

pub(crate) struct Reader<'a> {
    pub(crate) table: &'a Table,
    pub(crate) path: String,
    connections: &'a [&'a str],
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn sync(&mut self, entry: &Entry) -> Option<SyncSettings> {
        let from = self.endpoint("from");
        let to = self.endpoint("to");
        if let (Some(from), Some(to)) = (&from, &to)
            && from == to
            && let Some(entry) = self.table.entry("to")
        {
            let path = child(&self.path, "to");
            self.add(&entry.place, &path, "it is read and written at once", "name another connection or object type");
        }
        let every = self.every();
        let schedule = self.schedule(every.is_some());
        let matching = self.matching();
        let map = self.mappings();
        let mode = self.setting("mode").unwrap_or_default();
        let scope = self.conditions("scope");
        let protect = self.conditions("protect");
        let lifecycle = self.lifecycle();
        let password = self.password();
        // Before the tables they stand in are read as a whole, so that the very setting is named.
        self.limits();
        let removal: Option<RemovalSettings> = self.setting("removal");
        let guard: Option<GuardSettings> = self.setting("guard");
        Some(SyncSettings {
            name: entry.key.clone(),
            from: from?,
            to: to?,
            every,
            schedule,
            matching,
            creates: self.setting("create").unwrap_or(true),
            map,
            read: self.setting("read").unwrap_or_default(),
            removal: removal.unwrap_or_default(),
            lifecycle,
            password,
            guard: guard.unwrap_or_default(),
            mode,
            scope,
            protect,
            place: entry.place.clone(),
        })
    }

    pub(crate) fn add(&mut self, place: &Place, path: &str, problem: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::new(place, path, problem, fix));
    }

    /// A setting as its type; what does not fit has been reported by the schema, or is reported here.
    pub(crate) fn parse<T: DeserializeOwned>(&mut self, node: &Node, path: &str) -> Option<T> {
        match serde_json::from_value(node.to_json()) {
            Ok(value) => Some(value),
            Err(_) if self.blamed(path) => None,
            Err(_) => {
                self.add(&node.place, path, "this value cannot be used", "compare it with the reference");
                None
            }
        }
    }

    /// Whether something at or below a path was found wrong before.
    pub(crate) fn blamed(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| {
            let rest = problem.setting.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    fn setting<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let table = self.table;
        let path = child(&self.path, name);
        self.parse(table.get(name)?, &path)
    }

    fn endpoint(&mut self, name: &str) -> Option<Endpoint> {
        const FORM: &str = "write \"CONNECTION:TYPE\", such as \"entra:user\"";
        let table = self.table;
        let node = table.get(name)?;
        let text = node.text()?;
        let path = child(&self.path, name);
        let Some((connection, object_type)) = text.split_once(':') else {
            let fix = match self.connections.contains(&text) {
                true => format!("add the object type: \"{text}:TYPE\""),
                false => FORM.to_owned(),
            };
            self.add(&node.place, &path, "the object type is missing", fix);
            return None;
        };
        if connection.trim().is_empty() || object_type.trim().is_empty() || text.contains(char::is_whitespace) {
            self.add(&node.place, &path, "this does not name a connection and an object type", FORM);
            return None;
        }
        if !self.connections.contains(&connection) {
            let fix = match (nearest(connection, self.connections.iter().copied()), self.connections) {
                (Some(near), _) => format!("did you mean \"{near}:{object_type}\"?"),
                (None, []) => format!("add [connections.{connection}]"),
                (None, known) => format!("add [connections.{connection}], or use one of {}", quoted(known)),
            };
            self.add(&node.place, &path, format!("there is no connection {connection:?}"), fix);
            return None;
        }
        Some(Endpoint { connection: connection.to_owned(), object_type: object_type.to_owned() })
    }

    fn every(&mut self) -> Option<TimeSpan> {
        let table = self.table;
        let node = table.get("every")?;
        let path = child(&self.path, "every");
        let span: TimeSpan = self.span(node, &path)?;
        let (shortest, longest) = EVERY;
        if !(shortest..=longest).contains(&span.milliseconds()) {
            self.add(&node.place, &path, "this pause is out of range", "write 1s to 366d, or remove it");
        }
        Some(span)
    }

    fn schedule(&mut self, is_periodic: bool) -> Option<Schedule> {
        let table = self.table;
        let node = table.get("schedule")?;
        let text = node.text()?;
        let path = child(&self.path, "schedule");
        if is_periodic {
            self.add(
                &node.place,
                &path,
                "`every` stands here too, and only one of them can count",
                "remove one of them",
            );
        }
        match Schedule::parse(text) {
            Ok(schedule) => Some(schedule),
            Err(problem) => {
                self.add(&node.place, &path, format!("this is no schedule: {problem}"), SCHEDULE_FORM);
                None
            }
        }
    }

    /// A length of time; one of the right form may still be too long to count with.
    pub(crate) fn span(&mut self, node: &Node, path: &str) -> Option<TimeSpan> {
        let text = node.text()?;
        let span = TimeSpan::parse(text);
        if span.is_none() && !self.blamed(path) {
            self.add(&node.place, path, "this length of time is too long", TIME_SPAN_FORM);
        }
        span
    }

    fn mappings(&mut self) -> Vec<MappingSettings> {
        let table = self.table;
        let map = table.get("map").and_then(Node::table);
        let mut mappings = Vec::new();
        for entry in map.into_iter().flat_map(|map| &map.entries) {
            let path = child(&child(&self.path, "map"), &entry.key);
            if entry.key.trim().is_empty() {
                self.add(&entry.place, &path, "no attribute is named here", "name the target attribute");
            }
            let Some(MappingForm { value, when, default, null }) = self.parse(&entry.node, &path) else { continue };
            let inner = entry.node.table().and_then(|table| table.get("value"));
            let (place, path) = match inner {
                Some(inner) => (&inner.place, child(&path, "value")),
                None => (&entry.node.place, path),
            };
            let value = self.expression(&value, place, &path);
            let default = default.and_then(|given| self.constant(entry, &given));
            let Some(value) = value else { continue };
            let (target, place) = (entry.key.clone(), entry.place.clone());
            mappings.push(MappingSettings { target, value, when, default, null, place });
        }
        mappings
    }

    /// A mapping's default. What looks like an expression is none here.
    fn constant(&mut self, entry: &Entry, given: &serde_json::Value) -> Option<Value> {
        let node = entry.node.table().and_then(|table| table.get("default"));
        let place = node.map_or(&entry.place, |node| &node.place);
        let path = child(&child(&child(&self.path, "map"), &entry.key), "default");
        match given {
            serde_json::Value::String(text) => {
                let is_in = |open: char, close: char| text.len() > 1 && text.starts_with(open) && text.ends_with(close);
                if is_in('[', ']') || is_in('"', '"') {
                    let problem = format!("{text} looks like an expression, and a default flows as it is");
                    let fix = match text.starts_with('[') {
                        true => "to fall back on another attribute, write value = 'Coalesce([one], [other])'",
                        false => "write it without the inner quotes",
                    };
                    self.add(place, &path, problem, fix);
                    return None;
                }
                Some(Value::text(text))
            }
            serde_json::Value::Bool(truth) => Some(Value::Boolean(*truth)),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => Some(Value::Integer(number)),
                None => Decimal::parse(&number.to_string()).map(Value::Decimal),
            },
            // Refused by the schema.
            _ => None,
        }
    }

    fn conditions(&mut self, name: &str) -> Vec<Condition> {
        let table = self.table;
        let path = child(&self.path, name);
        let mut conditions = Vec::new();
        if let Some(node) = table.get(name)
            && name == "scope"
            && node.list().is_some_and(|list| list.is_empty())
        {
            let fix = "add a condition, or remove the setting if everybody belongs to the sync";
            self.add(&node.place, &path, "no condition stands here", fix);
        }
        for (position, node) in table.get(name).and_then(Node::list).into_iter().flatten().enumerate() {
            let Some(text) = node.text() else { continue };
            match Condition::parse(text) {
                Ok(condition) => conditions.push(condition),
                Err(error) => {
                    let fix = format!("look at character {} of the condition", error.at + 1);
                    self.add(&node.place, &format!("{path}[{position}]"), error.problem, fix);
                }
            }
        }
        conditions
    }

    pub(crate) fn expression(&mut self, text: &str, place: &Place, path: &str) -> Option<Expression> {
        match Expression::parse(text) {
            Ok(expression) => Some(expression),
            Err(errors) => {
                for error in errors {
                    let fix = format!("look at character {} of the expression", error.at + 1);
                    self.add(place, path, error.problem, fix);
                }
                None
            }
        }
    }

    /// Bounds that contradict each other.
    fn limits(&mut self) {
        let table = self.table;
        let guard = table.get("guard").and_then(Node::table);
        for entry in guard.into_iter().flat_map(|guard| &guard.entries) {
            let Ok(LimitSettings { min: Some(min), max: Some(max), .. }) = serde_json::from_value(entry.node.to_json())
            else {
                continue;
            };
            if min > max {
                let path = child(&child(&self.path, "guard"), &entry.key);
                let problem = format!("min is {min} and max is {max}");
                self.add(&entry.node.place, &path, problem, "min must not be above max");
            }
        }
        let removal = table.get("removal").and_then(Node::table);
        for name in ["grace", "absent_for"] {
            let Some(node) = removal.and_then(|removal| removal.get(name)) else { continue };
            let path = child(&child(&self.path, "removal"), name);
            self.span(node, &path);
        }
    }
}
