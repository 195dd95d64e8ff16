//! What the conformance kit drives: a connector's process, or a connection of any kind from a configuration.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use muster_conformance::{Fault, Subject};
use muster_connector::{Connector, ConnectorKind, ConnectorSettings, Description, Error, SecretString};
use muster_connector_process::Trial;
use muster_settings::{ConnectionSettings, Environment, Settings};
use serde_json::{Value, json};

use crate::cli::ConnectorTestArguments;
use crate::exit::Failure;
use crate::{connectors, world};

/// The subject that the command line names.
pub(crate) fn subject(config: Option<&Path>, arguments: &ConnectorTestArguments) -> Result<Box<dyn Subject>, Failure> {
    let folder = std::env::current_dir()
        .map_err(|error| Failure::unexpected(format!("the current folder is not known: {error}")))?;
    let Some(config) = config else {
        if arguments.command.is_empty() {
            return Err(Failure::configuration(
                "name the connector's program after two hyphens, such as: muster connector test -- python3 connector.py",
            ));
        }
        let mut values = json!({});
        replace_command(&mut values, &arguments.command, &folder);
        let given = ConnectorSettings {
            connection: "test".to_owned(),
            values,
            secrets: std::collections::BTreeMap::new(),
            base_folder: folder,
        };
        let trial = Trial::new(given).map_err(|error| Failure::configuration(error.to_string()))?;
        return Ok(Box::new(ProcessSubject(trial)));
    };
    let settings = world::settings(config)?;
    if !settings.syncs.is_empty() {
        return Err(Failure::configuration(format!(
            "{} has syncs, so its systems are in use, and the kit writes to them; give it a configuration with nothing \
             but the connection, to a system that nobody needs",
            config.display()
        )));
    }
    let connection = chosen(&settings, arguments.connection.as_deref())?;
    let mut given = given(&settings, connection)?;
    if connection.connector != "process" {
        if !arguments.command.is_empty() {
            return Err(Failure::configuration(format!(
                "connection {:?} is of kind {:?}, which runs no program; leave the command out",
                connection.name, connection.connector
            )));
        }
        let connection = connection.name.clone();
        return Ok(Box::new(InProcess { settings, connection }));
    }
    if !arguments.command.is_empty() {
        replace_command(&mut given.values, &arguments.command, &folder);
    }
    let trial = Trial::new(given).map_err(|error| world::connector_failure(&settings, &connection.name, &error))?;
    Ok(Box::new(ProcessSubject(trial)))
}

/// The command line's paths start at the folder that it is typed in, as everywhere in a shell.
fn replace_command(values: &mut Value, command: &[String], folder: &Path) {
    let mut words = command.to_vec();
    if let Some(program) = words.first_mut().filter(|program| program.contains(['/', '\\'])) {
        *program = folder.join(&*program).to_string_lossy().into_owned();
    }
    values["command"] = json!(words);
    if values.get("working_folder").is_none() {
        values["working_folder"] = json!(folder);
    }
}

fn chosen<'a>(settings: &'a Settings, name: Option<&str>) -> Result<&'a ConnectionSettings, Failure> {
    if let Some(name) = name {
        return world::find_connection(settings, name);
    }
    let mut all = settings.connections.values();
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Failure::configuration("the configuration has no connection to test")),
        _ => {
            let known: Vec<&str> = settings.connections.keys().map(String::as_str).collect();
            Err(Failure::configuration(format!(
                "the configuration has several connections; say --connection with one of: {}",
                known.join(", ")
            )))
        }
    }
}

fn given(settings: &Settings, connection: &ConnectionSettings) -> Result<ConnectorSettings, Failure> {
    Ok(ConnectorSettings {
        connection: connection.name.clone(),
        values: connection.section.clone(),
        secrets: connection.resolve_secrets(&Environment::of_process())?,
        base_folder: settings.folder.clone(),
    })
}

struct ProcessSubject(Trial);

#[async_trait]
impl Subject for ProcessSubject {
    async fn start(&self) -> Result<Arc<dyn Connector>, Error> {
        self.0.start().await
    }

    async fn kill(&self) {
        self.0.kill().await;
    }

    fn description(&self) -> Option<Description> {
        self.0.description()
    }

    async fn arm(&self, _fault: Fault) -> bool {
        self.0.lose_next_answer();
        true
    }

    fn planted_secrets(&self) -> Vec<(String, SecretString)> {
        self.0.secrets()
    }

    fn log(&self) -> Option<String> {
        Some(self.0.log())
    }

    fn memory(&self) -> Option<u64> {
        // Linux tells it; elsewhere the check does not apply.
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.process()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }
}

/// A connection of a kind that is part of this program.
struct InProcess {
    settings: Settings,
    connection: String,
}

impl InProcess {
    fn connection(&self) -> Option<(&ConnectionSettings, &'static dyn ConnectorKind)> {
        let connection = self.settings.connections.get(&self.connection)?;
        let kind = connectors::all().into_iter().find(|kind| kind.describe().kind == connection.connector)?;
        Some((connection, kind))
    }
}

#[async_trait]
impl Subject for InProcess {
    async fn start(&self) -> Result<Arc<dyn Connector>, Error> {
        let missing = || Error::Bug(format!("connection {:?} is gone", self.connection));
        let (connection, kind) = self.connection().ok_or_else(missing)?;
        let given = given(&self.settings, connection).map_err(|failure| Error::Configuration {
            setting: None,
            problem: failure.into_message(),
            fix: "set the secret".to_owned(),
        })?;
        kind.connect(given)
    }

    fn description(&self) -> Option<Description> {
        Some(self.connection()?.1.describe())
    }

    fn planted_secrets(&self) -> Vec<(String, SecretString)> {
        let resolved =
            self.connection().and_then(|(connection, _)| connection.resolve_secrets(&Environment::of_process()).ok());
        resolved.into_iter().flatten().collect()
    }
}
