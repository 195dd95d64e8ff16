//! Secrets: references in the configuration, values only when asked for.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::environment::Environment;
use crate::place::{Place, Problem, Problems, child};
use crate::tree::{Data, Node, Table};
use crate::view::View;
use crate::words::did_you_mean;

/// The largest file that is taken for a secret.
const LARGEST: u64 = 64 * 1024;

/// How a secret is written, for messages.
const FORM: &str = "use { env = \"NAME\" } or { file = \"PATH\" }";

/// A setting that refers to a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretReference {
    /// The setting's dotted path in the connection's section, such as `certificate.private_key`.
    pub path: String,
    /// Where the secret is found.
    pub source: SecretSource,
    /// Where the reference stands.
    pub place: Place,
}

/// Where a secret is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In an environment variable of this name.
    Variable(String),
    /// In a file. The path is absolute if the configuration's folder is.
    File(PathBuf),
}

/// What is wrong with the form of a reference.
pub(crate) fn check(node: &Node, path: &str) -> Vec<Problem> {
    let Some(table) = node.table() else {
        let problem = match node.data {
            Data::List(_) => format!("expected a reference to a secret, found {}", node.kind()),
            _ => "secrets never stand in the configuration".to_owned(),
        };
        return vec![Problem::new(&node.place, path, problem, FORM)];
    };
    let mut problems = Vec::new();
    for entry in &table.entries {
        let path = child(path, &entry.key);
        if !["env", "file"].contains(&entry.key.as_str()) {
            let fix = did_you_mean(&entry.key, &["env", "file"], FORM);
            problems.push(Problem::new(&entry.place, &path, "unknown setting", fix));
            continue;
        }
        match entry.node.text() {
            Some(name) if name.trim().is_empty() => {
                problems.push(Problem::new(&entry.node.place, &path, "nothing is named here", FORM));
            }
            // Whoever writes the secret itself here must not find it in a message.
            Some(name) if entry.key == "env" && !is_variable_name(name) => {
                let fix = "give a name of letters, digits and underscores; the secret itself stands in the variable";
                problems.push(Problem::new(&entry.node.place, &path, "this is not the name of a variable", fix));
            }
            Some(_) => {}
            None => {
                let problem = format!("expected text, found {}", entry.node.kind());
                problems.push(Problem::new(&entry.node.place, &path, problem, "write it in quotes: \"…\""));
            }
        }
    }
    match (table.get("env"), table.get("file")) {
        (Some(_), Some(_)) => {
            problems.push(Problem::new(&node.place, path, "two sources are named", "keep env or file"));
        }
        (None, None) if problems.is_empty() => {
            problems.push(Problem::new(&node.place, path, "no source is named", FORM));
        }
        _ => {}
    }
    problems
}

/// An address may stand in plain text only without its password.
pub(crate) fn password_in_address(text: &str, node: &Node, path: &str) -> Option<Problem> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let held = match authority.rsplit_once('@') {
        Some((user, _)) => user.split_once(':').is_some_and(|(_, password)| !password.is_empty()),
        // A slash in a password ends the authority early; what stands before it is then no port.
        None => {
            let behind_brackets = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
            let after = behind_brackets.split_once(':').map_or("", |(_, after)| after);
            rest.contains('@') && after.contains(|letter: char| !letter.is_ascii_digit())
        }
    };
    let held = held || rest.split_once('?').is_some_and(|(_, query)| query.to_lowercase().contains("password="));
    let fix = "put the whole address into a file and write { file = \"PATH\" }, or a variable and { env = \"NAME\" }";
    held.then(|| Problem::new(&node.place, path, "the address holds a password in plain text", fix))
}

fn is_variable_name(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
}

/// Lists the references in a section, wherever its schema has a secret.
pub(crate) fn references(
    view: View<'_>,
    schemas: &[&serde_json::Value],
    section: &Node,
    folder: &Path,
) -> Vec<SecretReference> {
    let mut found = Vec::new();
    walk(view, schemas, section, "", folder, &mut found);
    found
}

fn walk(
    view: View<'_>,
    schemas: &[&serde_json::Value],
    node: &Node,
    path: &str,
    folder: &Path,
    found: &mut Vec<SecretReference>,
) {
    let applicable: Vec<_> = schemas.iter().flat_map(|schema| view.applicable(schema, node)).collect();
    match &node.data {
        Data::Table(table) if applicable.iter().any(|schema| view.is_secret(schema)) => {
            found.extend(source(table, folder).map(|source| SecretReference {
                path: path.to_owned(),
                source,
                place: node.place.clone(),
            }));
        }
        Data::Table(table) => {
            for entry in &table.entries {
                let schemas = view.properties(&applicable, &entry.key);
                walk(view, &schemas, &entry.node, &child(path, &entry.key), folder, found);
            }
        }
        Data::List(list) => {
            let items: Vec<_> = applicable.iter().filter_map(|schema| schema.get("items")).collect();
            for (position, element) in list.iter().enumerate() {
                walk(view, &items, element, &format!("{path}[{position}]"), folder, found);
            }
        }
        _ => {}
    }
}

fn source(table: &Table, folder: &Path) -> Option<SecretSource> {
    if let Some(name) = table.get("env").and_then(Node::text) {
        return Some(SecretSource::Variable(name.to_owned()));
    }
    let path = table.get("file").and_then(Node::text)?;
    Some(SecretSource::File(folder.join(path)))
}

/// Fetches the secrets of one connection.
pub(crate) fn resolve(
    connection: &str,
    references: &[SecretReference],
    environment: &Environment,
) -> Result<BTreeMap<String, SecretString>, Problems> {
    let mut secrets = BTreeMap::new();
    let mut problems = Vec::new();
    for reference in references {
        match fetch(&reference.source, environment) {
            Ok(secret) => {
                secrets.insert(reference.path.clone(), secret);
            }
            Err((problem, fix)) => {
                let setting = format!("{}.{}", child("connections", connection), reference.path);
                problems.push(Problem::new(&reference.place, &setting, problem, fix));
            }
        }
    }
    Problems::refuse(problems)?;
    Ok(secrets)
}

fn fetch(source: &SecretSource, environment: &Environment) -> Result<SecretString, (String, &'static str)> {
    let (mut text, what) = match source {
        SecretSource::Variable(name) => (from_variable(name, environment)?, shown_variable(name)),
        SecretSource::File(path) => (from_file(path)?, format!("the file {}", path.display())),
    };
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    let secret = SecretString::from(text);
    if secrecy::ExposeSecret::expose_secret(&secret).trim().is_empty() {
        return Err((format!("{what} is empty"), "put the secret there"));
    }
    Ok(secret)
}

fn from_variable(name: &str, environment: &Environment) -> Result<String, (String, &'static str)> {
    let Some(value) = environment.get(name) else {
        return Err((format!("{} is not set", shown_variable(name)), "set it for the process that runs muster"));
    };
    let text = value.to_str().map(str::to_owned);
    text.ok_or_else(|| (format!("{} is not UTF-8 text", shown_variable(name)), "store the secret as plain text"))
}

/// Names a variable only if it looks like the name of one: somebody may have put the secret in its place.
fn shown_variable(name: &str) -> String {
    if name.chars().any(|letter| letter.is_ascii_lowercase()) {
        return "the environment variable that is named here".to_owned();
    }
    format!("the environment variable {name}")
}

fn from_file(path: &Path) -> Result<String, (String, &'static str)> {
    let shown = path.display();
    let cannot = |error: &std::io::Error| match error.kind() {
        ErrorKind::NotFound => (format!("there is no file {shown}"), "create it, or correct the path"),
        ErrorKind::PermissionDenied => {
            (format!("the file {shown} may not be read"), "let the user that runs muster read it, and nobody else")
        }
        kind => (format!("the file {shown} cannot be read ({kind})"), "give the path of a readable file"),
    };
    // A pipe or a device would be waited for.
    let about = std::fs::metadata(path).map_err(|error| cannot(&error))?;
    if !about.is_file() {
        return Err((format!("{shown} is not a file"), "give the path of a file with the secret alone"));
    }
    let file = std::fs::File::open(path).map_err(|error| cannot(&error))?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    if bytes.len() as u64 > LARGEST {
        return Err((
            format!("the file {shown} is larger than 64 KiB"),
            "give the path of a file with the secret alone",
        ));
    }
    String::from_utf8(bytes)
        .map_err(|_| (format!("the file {shown} is not UTF-8 text"), "store the secret as plain text"))
}
