//! Environment variables: the last layer, and a source of secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::Arc;

use muster_model::nearest;
use serde_json::Value;

use crate::document::parse_value;
use crate::place::{Place, Problem, child};
use crate::tree::{Ambiguous, Data, Entry, Node, Table};
use crate::view::{View, type_names};

/// Variables that begin with `MUSTER_` and are no settings.
pub const RESERVED_VARIABLES: [&str; 4] = ["MUSTER_CONFIG", "MUSTER_LOG", "MUSTER_LOG_FORMAT", "MUSTER_OUTPUT"];

/// What every variable of a setting begins with.
const PREFIX: &str = "MUSTER_";

/// No setting stands deeper.
const MOST_LEVELS: usize = 64;

/// What stands at the top of the configuration.
const TOP: [&str; 3] = ["connections", "state", "syncs"];

/// The environment variables, as they were at one moment.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

/// Names only: the values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }
}

/// Variables whose name is no Unicode are left out: they are nobody's setting.
impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let named =
            variables.into_iter().filter_map(|(name, value)| Some((name.into().into_string().ok()?, value.into())));
        Self { variables: named.collect() }
    }
}

/// Puts the variables over the files' settings.
pub(crate) fn apply(environment: &Environment, root: &mut Table, problems: &mut Vec<Problem>) {
    let mut secrets = BTreeSet::new();
    referenced(root, &mut secrets);
    let settings = environment.variables.iter().filter_map(|(name, value)| {
        let rest = name.strip_prefix(PREFIX).filter(|_| !RESERVED_VARIABLES.contains(&name.as_str()))?;
        (!secrets.contains(name)).then_some((name, rest, value))
    });
    for (name, rest, value) in settings {
        let place = Place::Variable(Arc::from(name.as_str()));
        match levels(rest) {
            Ok(None) => {}
            Ok(Some(levels)) => match value.to_str() {
                Some(text) => {
                    if let Err(problem) = set(root, &levels, "", text, &place) {
                        problems.push(problem);
                    }
                }
                None => problems.push(Problem::new(&place, "", "its value is not UTF-8 text", "set it to plain text")),
            },
            Err((problem, fix)) => problems.push(Problem::new(&place, "", problem, fix)),
        }
    }
}

/// The variables that the configuration takes secrets from; they may have any name, `MUSTER_…` too.
fn referenced(table: &Table, found: &mut BTreeSet<String>) {
    for entry in &table.entries {
        match &entry.node.data {
            Data::Text(name) if entry.key == "env" => {
                found.insert(name.clone());
            }
            _ => referenced_below(&entry.node, found),
        }
    }
}

fn referenced_below(node: &Node, found: &mut BTreeSet<String>) {
    match &node.data {
        Data::Table(table) => referenced(table, found),
        Data::List(list) => list.iter().for_each(|element| referenced_below(element, found)),
        _ => {}
    }
}

/// The levels that a variable names; `None` where it is somebody else's variable.
fn levels(rest: &str) -> Result<Option<Vec<&str>>, (String, String)> {
    let levels: Vec<&str> = rest.split("__").collect();
    if levels.iter().any(|level| level.is_empty()) {
        return Err(("it names an empty level".to_owned(), "put exactly two underscores between levels".to_owned()));
    }
    if levels.len() > MOST_LEVELS {
        return Err(("it names too many levels".to_owned(), "no setting stands that deep".to_owned()));
    }
    let Some(first) = levels.first().map(|first| first.to_lowercase()) else { return Ok(None) };
    if levels.len() > 1 || TOP.contains(&first.as_str()) {
        return Ok(Some(levels));
    }
    // Platforms set variables such as MUSTER_SERVICE_HOST for a service of this name: only a likely slip is refused.
    if TOP.iter().any(|top| first.strip_prefix(top).is_some_and(|rest| rest.starts_with('_'))) {
        let fix = "put two underscores between levels: MUSTER_SYNCS__NAME__EVERY";
        return Err(("it names no setting".to_owned(), fix.to_owned()));
    }
    let known = TOP
        .iter()
        .map(|top| top.to_uppercase())
        .chain(RESERVED_VARIABLES.iter().map(|name| name.replacen(PREFIX, "", 1)));
    let known: Vec<String> = known.collect();
    match nearest(rest, known.iter().map(String::as_str)) {
        Some(near) => Err(("it names no setting".to_owned(), format!("did you mean {PREFIX}{near}?"))),
        None => Ok(None),
    }
}

fn set(table: &mut Table, levels: &[&str], path: &str, text: &str, place: &Place) -> Result<(), Problem> {
    let Some((level, deeper)) = levels.split_first() else { return Ok(()) };
    let position = table.position_ignoring_case(level).map_err(|Ambiguous| {
        let problem = "two settings differ in the case of their letters only";
        Problem::new(place, &child(path, &level.to_lowercase()), problem, "rename one, or set it in a file")
    })?;
    let position = position.unwrap_or_else(|| {
        let node = Node { data: Data::Table(Table::default()), place: place.clone() };
        table.entries.push(Entry { key: level.to_lowercase(), place: place.clone(), node });
        table.entries.len() - 1
    });
    let Some(entry) = table.entries.get_mut(position) else { return Ok(()) };
    let path = child(path, &entry.key);
    if deeper.is_empty() {
        entry.place = place.clone();
        entry.node = Node { data: Data::Given(text.to_owned()), place: place.clone() };
        return Ok(());
    }
    if let Data::Given(_) = entry.node.data {
        let problem = format!("{} sets the whole of it", entry.node.place);
        return Err(Problem::new(place, &path, problem, "unset one of the two variables"));
    }
    if let Data::List(_) = entry.node.data {
        let fix = "set the whole list, such as MUSTER_…='[\"a\", \"b\"]'";
        return Err(Problem::new(place, &path, "the elements of a list cannot be set one by one", fix));
    }
    if let Data::Table(inner) = &mut entry.node.data {
        let other_source =
            matches!(deeper, [source] if ["env", "file"].iter().any(|key| key.eq_ignore_ascii_case(source)));
        if other_source && inner.is_reference() {
            *inner = Table::default();
        }
        return set(inner, deeper, &path, text, place);
    }
    let mut inner = Table::default();
    let result = set(&mut inner, deeper, &path, text, place);
    entry.node = Node { data: Data::Table(inner), place: place.clone() };
    result
}

/// Gives the values of variables the types that the schema wants, and their names the case that it has.
pub(crate) fn decide_types(view: View<'_>, schemas: &[&Value], node: &mut Node) {
    // Which table it is may itself come from a variable, and is looked at while that is still undecided.
    let applicable: Vec<&Value> = schemas.iter().flat_map(|schema| view.applicable(schema, node)).collect();
    let place = node.place.clone();
    match &mut node.data {
        Data::Given(text) => {
            let wanted: Vec<&str> = applicable.iter().flat_map(|schema| view.types(schema)).collect();
            let decided = decide(text, &wanted, &place);
            *node = decided;
        }
        Data::Table(table) => {
            rename(table, &applicable);
            for entry in &mut table.entries {
                let schemas = view.properties(&applicable, &entry.key);
                decide_types(view, &schemas, &mut entry.node);
            }
        }
        Data::List(list) => {
            let items: Vec<&Value> = applicable.iter().filter_map(|schema| schema.get("items")).collect();
            list.iter_mut().for_each(|element| decide_types(view, &items, element));
        }
        _ => {}
    }
}

fn decide(text: &str, wanted: &[&str], place: &Place) -> Node {
    let wants = |name: &str| wanted.contains(&name);
    let scalar = match text {
        "true" | "false" => Data::Boolean(text == "true"),
        // With a leading zero it is a name such as a personnel number, here as in TOML.
        _ if text.trim_start_matches('-').len() > 1
            && text.trim_start_matches('-').starts_with('0')
            && !text.contains('.') =>
        {
            Data::Text(text.to_owned())
        }
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => Data::Integer(number),
            (_, Ok(number)) if number.is_finite() => Data::Float(number),
            _ => Data::Text(text.to_owned()),
        },
    };
    let scalar = Node { data: scalar, place: place.clone() };
    if !matches!(scalar.data, Data::Text(_)) && type_names(&scalar).iter().any(|name| wants(name)) {
        return scalar;
    }
    let compound = (wants("array") && text.trim_start().starts_with('['))
        || (wants("object") && text.trim_start().starts_with('{'));
    let parsed = if compound { parse_value(text, place) } else { None };
    parsed.unwrap_or_else(|| Node { data: Data::Text(text.to_owned()), place: place.clone() })
}

/// Gives names that only a variable has written the case that the schema knows.
fn rename(table: &mut Table, applicable: &[&Value]) {
    for entry in table.entries.iter_mut().filter(|entry| matches!(entry.place, Place::Variable(_))) {
        let properties = applicable.iter().filter_map(|schema| schema.get("properties")?.as_object());
        let known =
            properties.flat_map(|properties| properties.keys()).find(|name| name.eq_ignore_ascii_case(&entry.key));
        if let Some(known) = known {
            entry.key.clone_from(known);
        }
    }
}
