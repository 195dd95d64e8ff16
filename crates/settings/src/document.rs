//! One TOML file as a tree.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml_edit::{Document, Item, TableLike, Value};

use crate::place::{Place, Problem};
use crate::tree::{Data, Entry, Node, Table};

/// Reads the text of one file.
pub(crate) fn parse(file: &Arc<Path>, text: &str) -> Result<Table, Problem> {
    let lines = Lines::new(file, text);
    match Document::parse(text) {
        Ok(document) => {
            let top = lines.at(0);
            Ok(table(&lines, document.as_table(), &top))
        }
        Err(error) => {
            // The parser's own words could quote what stands there, and that could be a secret.
            let rest = error.span().and_then(|span| text.get(span.start..)).and_then(|rest| rest.lines().next());
            let nothing = rest.is_none_or(|rest| rest.trim().is_empty() || rest.trim_start().starts_with('#'));
            let (problem, fix) = explain(error.message(), nothing);
            let place = lines.place(error.span(), &lines.at(text.len()));
            let again = error.message().contains("duplicate key").then(|| error.span()).flatten();
            if let Some((header, first)) = again.and_then(|span| former_header(text, span.start)) {
                let problem = format!("{header} stands here for the second time, first in line {first}");
                return Err(Problem::new(&place, "", problem, "put what is in both together under the first"));
            }
            Err(Problem::new(&place, "", problem, fix))
        }
    }
}

/// Reads a list or table that a variable holds.
pub(crate) fn parse_value(text: &str, place: &Place) -> Option<Node> {
    let value: Value = text.trim().parse().ok()?;
    let file: Arc<Path> = Arc::from(Path::new(""));
    let mut node = value_node(&Lines::new(&file, ""), &value, place);
    node.stand_at(place);
    Some(node)
}

impl Node {
    fn stand_at(&mut self, place: &Place) {
        self.place = place.clone();
        match &mut self.data {
            Data::List(list) => list.iter_mut().for_each(|node| node.stand_at(place)),
            Data::Table(table) => {
                for entry in &mut table.entries {
                    entry.place = place.clone();
                    entry.node.stand_at(place);
                }
            }
            _ => {}
        }
    }
}

/// The header in the line of this byte, and the number of the earlier line with the same one.
fn former_header(text: &str, at: usize) -> Option<(&str, usize)> {
    fn of(line: &str) -> Option<&str> {
        let line = line.trim_start();
        let end = line.starts_with('[').then(|| line.find(']')).flatten()?;
        line.get(..=end)
    }
    let number = text.get(..at)?.matches('\n').count();
    let again = text.lines().nth(number).and_then(of)?;
    let first = text.lines().take(number).position(|line| of(line) == Some(again))?;
    Some((again, first + 1))
}

/// Says what is wrong with a line that is no TOML, and where possibly nothing follows.
fn explain(message: &str, nothing_follows: bool) -> (&'static str, &'static str) {
    const KNOWN: [(&str, &str, &str); 16] = [
        ("duplicate key", "this name is given for the second time in its table", "keep one of the two"),
        ("string values must be quoted", "a text stands here without quotes", "write it in quotes: \"…\""),
        ("unclosed array table", "the header is not closed", "end it with ]]"),
        ("unclosed array", "the list is not closed", "end it with ]"),
        ("unclosed inline table", "the table is not closed", "end it with }"),
        ("unclosed table", "the header is not closed", "end it with ]"),
        ("inline table element", "this cannot stand in a table in braces", "end the table before it with }"),
        ("invalid basic string", "the text is not closed", "end it with the quote it began with"),
        ("missing comma", "a comma or the closing bracket is missing before this", "add it"),
        ("extra comma", "there is a comma too many", "remove it"),
        ("key with no value", "a name stands here without a value", "write it as name = value"),
        ("missing value", "a name stands here without a value", "write it as name = value"),
        ("missing assignment", "a name stands here without a value", "write it as name = value"),
        ("leading zero", "a number begins with 0", "remove the 0, or write a text in quotes"),
        ("cannot recurse", "too many lists or tables stand inside one another", "write it with fewer levels"),
        ("escape", "a backslash means something special in double quotes", "double it, or use single quotes: '…'"),
    ];
    let message = if nothing_follows && message.contains("must be quoted") { "missing value" } else { message };
    let known = KNOWN.iter().find(|(part, _, _)| message.contains(part));
    let general = ("", "this is not valid TOML", "write name = \"text\", name = 5, name = true or a [header]");
    let (_, problem, fix) = known.unwrap_or(&general);
    (problem, fix)
}

/// Where the lines of a text begin.
struct Lines<'a> {
    file: &'a Arc<Path>,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(file: &'a Arc<Path>, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(position, _)| position + 1)).collect();
        Self { file, text, starts }
    }

    fn at(&self, position: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= position).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..position).map_or(0, |before| before.chars().count()) + 1;
        Place::Line { file: Arc::clone(self.file), line, column }
    }

    fn place(&self, span: Option<Range<usize>>, otherwise: &Place) -> Place {
        span.map_or_else(|| otherwise.clone(), |span| self.at(span.start))
    }
}

fn table(lines: &Lines<'_>, table: &dyn TableLike, place: &Place) -> Table {
    let mut entries = Vec::with_capacity(table.len());
    for (name, item) in table.iter() {
        let place = lines.place(table.key(name).and_then(toml_edit::Key::span), place);
        if let Some(node) = item_node(lines, item, &place) {
            entries.push(Entry { key: name.to_owned(), place, node });
        }
    }
    Table { entries }
}

fn item_node(lines: &Lines<'_>, item: &Item, place: &Place) -> Option<Node> {
    match item {
        Item::None => None,
        Item::Value(value) => Some(value_node(lines, value, place)),
        // The span of a table reaches from header to header, and one made by a longer header has none.
        Item::Table(inner) => Some(Node { data: Data::Table(table(lines, inner, place)), place: place.clone() }),
        Item::ArrayOfTables(list) => {
            let nodes = list.iter().map(|inner| {
                let place = lines.place(inner.span(), place);
                Node { data: Data::Table(table(lines, inner, &place)), place }
            });
            Some(Node { data: Data::List(nodes.collect()), place: place.clone() })
        }
    }
}

fn value_node(lines: &Lines<'_>, value: &Value, place: &Place) -> Node {
    let place = lines.place(value.span(), place);
    let data = match value {
        Value::String(text) => Data::Text(text.value().clone()),
        Value::Integer(number) => Data::Integer(*number.value()),
        Value::Float(number) => Data::Float(*number.value()),
        Value::Boolean(truth) => Data::Boolean(*truth.value()),
        Value::Datetime(moment) => Data::Moment(moment.value().to_string()),
        Value::Array(list) => Data::List(list.iter().map(|element| value_node(lines, element, &place)).collect()),
        Value::InlineTable(inner) => Data::Table(table(lines, inner, &place)),
    };
    Node { data, place }
}
