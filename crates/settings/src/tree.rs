//! The merged configuration, every value with the place it comes from.

use serde_json::{Map, Value};

use crate::place::{Place, child};

/// A value and its place. It has no `Debug` on purpose: a secret may stand here in plain text until it is refused.
pub(crate) struct Node {
    pub(crate) data: Data,
    pub(crate) place: Place,
}

/// A value.
pub(crate) enum Data {
    Text(String),
    /// The text of a variable, whose type the schema will decide.
    Given(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A TOML date or time.
    Moment(String),
    List(Vec<Node>),
    Table(Table),
}

/// The entries of a table, in the order of the file.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// A key of a table with its value.
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) place: Place,
    pub(crate) node: Node,
}

impl Table {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The position of a key as a variable names it: in any case, unless only the case tells two apart.
    pub(crate) fn position_ignoring_case(&self, name: &str) -> Result<Option<usize>, Ambiguous> {
        let mut found = self.entries.iter().enumerate().filter(|(_, entry)| entry.key.eq_ignore_ascii_case(name));
        let first = found.next().map(|(position, _)| position);
        if found.next().is_some() { Err(Ambiguous) } else { Ok(first) }
    }

    /// Puts a later layer over this one: tables are merged, everything else is replaced.
    pub(crate) fn merge(&mut self, over: Self) {
        for entry in over.entries {
            let Some(existing) = self.entries.iter_mut().find(|existing| existing.key == entry.key) else {
                self.entries.push(entry);
                continue;
            };
            if let (Data::Table(below), Data::Table(above)) = (&existing.node.data, &entry.node.data)
                && !(below.is_reference() && above.is_reference())
            {
                if let (Data::Table(below), Data::Table(above)) = (&mut existing.node.data, entry.node.data) {
                    below.merge(above);
                }
            } else {
                *existing = entry;
            }
        }
    }

    /// Whether it has the form of a reference to a secret, which a later layer replaces as a whole: an `env` over a
    /// `file` means the variable, not both.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(self.entries.as_slice(), [Entry { key, .. }] if key == "env" || key == "file")
    }
}

/// Several keys differ in case only.
pub(crate) struct Ambiguous;

impl Node {
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn table(&self) -> Option<&Table> {
        match &self.data {
            Data::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Self]> {
        match &self.data {
            Data::List(list) => Some(list),
            _ => None,
        }
    }

    /// The words for what it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self.data {
            Data::Text(_) | Data::Given(_) => "text",
            Data::Integer(_) => "a whole number",
            Data::Float(_) => "a number with a fraction",
            Data::Boolean(_) => "true or false",
            Data::Moment(_) => "a date or time",
            Data::List(_) => "a list",
            Data::Table(_) => "a table",
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        match &self.data {
            Data::Text(text) | Data::Given(text) | Data::Moment(text) => Value::String(text.clone()),
            Data::Integer(number) => Value::from(*number),
            Data::Float(number) => Value::from(*number),
            Data::Boolean(truth) => Value::Bool(*truth),
            Data::List(list) => Value::Array(list.iter().map(Self::to_json).collect()),
            Data::Table(table) => table.to_json(|_| true),
        }
    }

    /// Lists the place of every key below this value, for findings that are made later by others.
    pub(crate) fn places(&self, path: &str, found: &mut std::collections::BTreeMap<String, Place>) {
        match &self.data {
            Data::Table(table) => {
                for entry in &table.entries {
                    let path = child(path, &entry.key);
                    entry.node.places(&path, found);
                    found.insert(path, entry.place.clone());
                }
            }
            Data::List(list) => {
                for (position, node) in list.iter().enumerate() {
                    let path = format!("{path}[{position}]");
                    node.places(&path, found);
                    found.insert(path, node.place.clone());
                }
            }
            _ => {}
        }
    }
}

impl Table {
    /// The entries whose key is wanted, as JSON.
    pub(crate) fn to_json(&self, wanted: impl Fn(&str) -> bool) -> Value {
        let entries = self.entries.iter().filter(|entry| wanted(&entry.key));
        Value::Object(entries.map(|entry| (entry.key.clone(), entry.node.to_json())).collect::<Map<_, _>>())
    }
}
