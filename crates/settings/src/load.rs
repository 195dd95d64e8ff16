//! From files and variables to settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::check::check;
use crate::environment::{self, Environment};
use crate::form::{DEFAULT_LISTEN, DEFAULT_STATE};
use crate::layers;
use crate::place::{Place, Problem, Problems, child};
use crate::schema::{ConnectorSchema, schema};
use crate::secrets;
use crate::settings::{ConnectionSettings, ServiceSettings, Settings};
use crate::span::TimeSpan;
use crate::syncs;
use crate::tree::{Data, Node};
use crate::view::{View, kind_of};

/// The longest name of a connection or a sync: names become keys of records and labels of measurements.
const LONGEST_NAME: usize = 64;

/// Reads the configuration: the file at `path`, then `conf.d/*.toml` beside it in the order of their names, then the
/// variables `MUSTER_…`. Secrets are not fetched.
///
/// # Errors
/// Everything that is wrong, in the order of the files. A file that is no TOML is reported alone, since nothing can be
/// said of settings that were not read.
pub fn load(path: &Path, environment: &Environment, connectors: &[ConnectorSchema]) -> Result<Settings, Problems> {
    let mut problems = Vec::new();
    let layers = layers::read(path, &mut problems);
    Problems::refuse(std::mem::take(&mut problems))?;
    let mut tree = layers.root;
    environment::apply(environment, &mut tree, &mut problems);

    let start = Place::Line { file: Arc::from(path), line: 1, column: 1 };
    let mut root = Node { data: Data::Table(tree), place: start };
    let schema = schema(connectors);
    let view = View::new(&schema);
    environment::decide_types(view, &[&schema], &mut root);

    problems.extend(check(view, &root));
    let folder = absolute_folder(path);
    let connections = connections(view, &root, &folder, &mut problems);
    let mut syncs = syncs::read(&root, &mut problems);
    for password in syncs.iter_mut().filter_map(|sync| sync.password.as_mut()) {
        password.start_in(&folder);
    }
    let service = service(&root, &mut problems);
    let log = root.table().and_then(|table| table.get("log"));
    // What has not the right form has been reported.
    let log = log.and_then(|node| serde_json::from_value(node.to_json()).ok()).unwrap_or_default();
    Problems::refuse(in_order(problems, &layers.files))?;

    let state = root.table().and_then(|table| table.get("state")).and_then(Node::text).unwrap_or(DEFAULT_STATE);
    let mut places = BTreeMap::new();
    root.places("", &mut places);
    Ok(Settings { state: folder.join(state), folder, service, log, connections, syncs, places })
}

fn service(root: &Node, problems: &mut Vec<Problem>) -> ServiceSettings {
    let node = root.table().and_then(|table| table.get("service")).and_then(Node::table);
    let span = node.and_then(|table| table.get("unhealthy_after")).and_then(Node::text).and_then(TimeSpan::parse);
    let unhealthy_after = span.unwrap_or(TimeSpan::of_minutes(15));
    let Some(listen) = node.and_then(|table| table.get("listen")) else {
        return ServiceSettings { listen: Some(DEFAULT_LISTEN), unhealthy_after };
    };
    let listen = match listen.text() {
        Some("off") | None => None,
        Some(text) => match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let fix = "write an IP address and a port, such as \"127.0.0.1:9750\", or \"off\"";
                problems.push(Problem::new(&listen.place, "service.listen", "this is no address to listen on", fix));
                None
            }
        },
    };
    ServiceSettings { listen, unhealthy_after }
}

fn absolute_folder(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

fn connections(
    view: View<'_>,
    root: &Node,
    folder: &Path,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, ConnectionSettings> {
    let mut found = BTreeMap::new();
    let root_schemas = view.applicable(view.root(), root);
    let connections = view.properties(&root_schemas, "connections");
    let Some(node) = root.table().and_then(|table| table.get("connections")) else { return found };
    let applicable: Vec<&Value> = connections.iter().flat_map(|schema| view.applicable(schema, node)).collect();
    for entry in node.table().into_iter().flat_map(|table| &table.entries) {
        check_name("connections", &entry.key, &entry.place, problems);
        // What is no table, or names no connector, has been reported.
        let (Some(section), Some(connector)) = (entry.node.table(), kind_of(&entry.node, "connector")) else {
            continue;
        };
        let schemas = view.properties(&applicable, &entry.key);
        let settings = ConnectionSettings {
            name: entry.key.clone(),
            connector: connector.to_owned(),
            section: section.to_json(|key| key != "connector"),
            secrets: secrets::references(view, &schemas, &entry.node, folder),
            place: entry.place.clone(),
        };
        found.insert(entry.key.clone(), settings);
    }
    found
}

/// Refuses names that could not stand in `connection:type`, in a dotted path or in a file name.
pub(crate) fn check_name(holder: &str, name: &str, place: &Place, problems: &mut Vec<Problem>) {
    let fix = "use letters, digits, - and _";
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if name.is_empty() || !name.chars().all(plain) {
        problems.push(Problem::new(place, &child(holder, name), "this name is not possible", fix));
    } else if name.len() > LONGEST_NAME {
        let problem = format!("the name is longer than {LONGEST_NAME} letters");
        problems.push(Problem::new(place, &child(holder, name), problem, "shorten it"));
    }
}

/// Files as they were read, then variables; within a file from top to bottom.
fn in_order(mut problems: Vec<Problem>, files: &[Arc<Path>]) -> Vec<Problem> {
    let rank = |file: &Arc<Path>| files.iter().position(|known| known == file).unwrap_or(files.len());
    problems.sort_by_cached_key(|problem| match &problem.place {
        Place::File(file) => (rank(file), 0, 0, String::new()),
        Place::Line { file, line, column } => (rank(file), *line, *column, String::new()),
        Place::Variable(name) => (files.len() + 1, 0, 0, name.to_string()),
    });
    problems.dedup();
    problems
}
