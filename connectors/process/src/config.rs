//! What an administrator says of a connector process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use muster_connector::{ConnectorSettings, Error, Secret, SecretString, Span};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::logged::Heard;

/// A connector in a process of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Process")]
pub(crate) struct ProcessSettings {
    /// The program and its arguments, such as `["/opt/hr/connector"]` or `["python3", "hr.py"]`. A program with a slash
    /// is a path that starts at the configuration file's folder; one without is looked for in `PATH`. Arguments are
    /// given as they are, and the program runs in its `working_folder`.
    #[schemars(length(min = 1))]
    pub(crate) command: Vec<String>,
    /// The SHA-256 of the program's file, in hexadecimal. A program that has another one is not started.
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    pub(crate) sha256: Option<String>,
    /// The SHA-256 of further files by their paths, such as the script that an interpreter runs.
    #[serde(default)]
    pub(crate) pins: BTreeMap<String, String>,
    /// The connector's own settings, as its documentation says.
    #[serde(default)]
    pub(crate) settings: Map<String, Value>,
    /// The connector's own secrets by the names of its settings, such as `password = { file = "hr.password" }`.
    #[serde(default)]
    #[expect(dead_code, reason = "the host resolves them by the schema")]
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// Environment variables for the process, which otherwise gets none but `PATH`. Secrets do not belong here.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// The folder that the process runs in: the configuration file's by default.
    pub(crate) working_folder: Option<String>,
    /// How long a request may go without answer or progress before the process is ended: `"2m"` by default.
    pub(crate) answer_within: Option<Span>,
    /// How long the process may take from its start to its readiness: `"30s"` by default.
    pub(crate) start_within: Option<Span>,
    /// The longest line in bytes that is taken from the process: 8388608 by default, which is also the most.
    #[schemars(range(min = 65536, max = 8388608))]
    pub(crate) line_limit: Option<usize>,
}

/// How a process is started, all paths made absolute.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) connection: String,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) pins: Vec<(PathBuf, String)>,
    pub(crate) settings: Map<String, Value>,
    pub(crate) secrets: BTreeMap<String, SecretString>,
    /// What is kept out of errors and the log: the secrets, but for a trial, which looks for them there.
    pub(crate) hidden: BTreeMap<String, SecretString>,
    /// Where all is kept that it writes to standard error, on trial.
    pub(crate) heard: Option<Heard>,
    /// On trial: the next answer to `apply` is lost, and the process killed.
    pub(crate) lose_next_answer: Arc<AtomicBool>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) working_folder: PathBuf,
    pub(crate) base_folder: PathBuf,
    pub(crate) answer_within: Duration,
    pub(crate) start_within: Duration,
    pub(crate) line_limit: usize,
}

impl Command {
    pub(crate) fn new(given: ConnectorSettings) -> Result<Self, Error> {
        let settings: ProcessSettings = given.parse()?;
        let mut words = settings.command.into_iter();
        let Some(program) = words.next().filter(|program| !program.is_empty()) else {
            return Err(configuration("command", "no program is named", "write command = [\"PROGRAM\", …]"));
        };
        let program = match program.contains(['/', '\\']) {
            true => given.path(&program),
            false => on_path(&program).ok_or_else(|| {
                let problem = format!("there is no program {program:?} in PATH");
                configuration("command", &problem, "install it, or give its whole path")
            })?,
        };
        if !program.is_file() {
            let problem = format!("there is no file {}", program.display());
            return Err(configuration("command", &problem, "give the path of the connector's program"));
        }
        let mut pins: Vec<(PathBuf, String)> =
            settings.pins.iter().map(|(path, pin)| (given.path(path), pin.clone())).collect();
        pins.extend(settings.sha256.map(|pin| (program.clone(), pin)));
        let working_folder = given.path(settings.working_folder.as_deref().unwrap_or("."));
        if !working_folder.is_dir() {
            let problem = format!("there is no folder {}", working_folder.display());
            return Err(configuration("working_folder", &problem, "create it, or correct the path"));
        }
        let secrets = given.secrets.iter();
        let secrets =
            secrets.filter_map(|(path, secret)| Some((path.strip_prefix("secrets.")?.to_owned(), secret.clone())));
        let secrets: BTreeMap<String, SecretString> = secrets.collect();
        let span = |set: Option<Span>, default| set.map_or(Duration::from_secs(default), |span| span.0);
        let all = muster_connector::wire::LINE_LIMIT;
        Ok(Self {
            program,
            arguments: words.collect(),
            pins,
            settings: settings.settings,
            hidden: secrets.clone(),
            heard: None,
            lose_next_answer: Arc::default(),
            secrets,
            environment: settings.environment,
            working_folder,
            answer_within: span(settings.answer_within, 120),
            start_within: span(settings.start_within, 30),
            line_limit: settings.line_limit.unwrap_or(all).min(all),
            connection: given.connection,
            base_folder: given.base_folder,
        })
    }
}

pub(crate) fn configuration(setting: &str, problem: &str, fix: &str) -> Error {
    Error::Configuration { setting: Some(setting.to_owned()), problem: problem.to_owned(), fix: fix.to_owned() }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let endings = ["", std::env::consts::EXE_SUFFIX];
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .flat_map(|folder| endings.map(|ending| folder.join(format!("{program}{ending}"))))
        .find(|path| path.is_file())
}
