//! Starts a program: its files are as pinned, it gets a clean environment, and both sides shake hands.

use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use muster_connector::wire::Request;
use muster_connector::wire::{
    Call, Configure, FromConnector, HostHello, Line, Lines, Reply, SMALLEST_LINE_LIMIT, ToConnector, VERSION, encode,
};
use muster_connector::{Description, Error, SecretValue};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::config::{Command, configuration};
use crate::honest::{fitting_settings, misread};
use crate::logged::{LastLines, follow, redact};
use crate::session::Session;

/// How often a connector that promises heartbeats sends something.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);

/// A process that has said hello.
pub(crate) struct Peer {
    pub(crate) child: Child,
    pub(crate) input: ChildStdin,
    pub(crate) output: ChildStdout,
    pub(crate) lines: Lines,
}

/// Starts the program and hands over its settings.
pub(crate) async fn start(command: &Arc<Command>) -> Result<Arc<Session>, Error> {
    let pinned = command.clone();
    let checked = tokio::task::spawn_blocking(move || pins(&pinned)).await;
    checked.map_err(|_| Error::Bug("the program's file could not be read".to_owned()))??;
    let mut process = tokio::process::Command::new(&command.program);
    process.args(&command.arguments).current_dir(&command.working_folder).env_clear().kill_on_drop(true);
    // Without these neither interpreters nor sockets are found; none of them is a secret.
    for name in ["PATH", "SystemRoot", "TEMP", "TMP"] {
        process.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    process.envs(&command.environment).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = process.spawn().map_err(|error| {
        let problem = format!("{} cannot be started: {}", command.program.display(), error.kind());
        configuration(
            "command",
            &problem,
            "see that the file is a program and that the user that runs muster may run it",
        )
    })?;
    let (Some(input), Some(output), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::Bug("the process has no streams".to_owned()));
    };
    let last = LastLines::default();
    let log = tokio::spawn(follow(stderr, command.clone(), last.clone()));
    let mut peer = Peer { child, input, output, lines: Lines::new(command.line_limit) };
    let shaken = tokio::time::timeout(command.start_within, shake(command, &mut peer)).await;
    match shaken {
        Ok(Ok(manners)) => Ok(Session::new(command, peer, manners)),
        Ok(Err(Refusal::Told(error))) => Err(redacted(error, command)),
        Ok(Err(Refusal::Ended)) => {
            // Its last words may still be on their way; a grandchild may keep the stream open.
            drop(tokio::time::timeout(Duration::from_secs(2), log).await);
            let ended = tokio::time::timeout(Duration::from_secs(2), peer.child.wait()).await;
            let status = match ended {
                Ok(Ok(status)) => format!(" ({status})"),
                _ => String::new(),
            };
            let problem = format!("the connector's process ended before it was ready{status}{}", last.told());
            Err(unreachable(problem))
        }
        Err(_) => {
            let seconds = command.start_within.as_secs_f64();
            Err(unreachable(format!("the connector was not ready within {seconds} s and was ended{}", last.told())))
        }
    }
}

fn unreachable(problem: String) -> Error {
    Error::Unreachable { problem, nothing_sent: true }
}

fn redacted(error: Error, command: &Command) -> Error {
    let clean = |text: String| redact(text, &command.hidden);
    match error {
        Error::Configuration { setting, problem, fix } => {
            Error::Configuration { setting, problem: clean(problem), fix: clean(fix) }
        }
        Error::Credentials { problem, fix } => Error::Credentials { problem: clean(problem), fix: clean(fix) },
        Error::Unreachable { problem, nothing_sent } => Error::Unreachable { problem: clean(problem), nothing_sent },
        Error::Bug(problem) => Error::Bug(clean(problem)),
        other => other,
    }
}

fn pins(command: &Command) -> Result<(), Error> {
    for (path, pin) in &command.pins {
        let setting = if *path == command.program { "sha256" } else { "pins" };
        let found = digest(path).map_err(|error| {
            let problem = format!("{} cannot be read: {}", path.display(), error.kind());
            configuration(setting, &problem, "let the user that runs muster read it")
        })?;
        if !found.eq_ignore_ascii_case(pin) {
            let problem = format!("{} is not the file that was pinned: its SHA-256 is {found}", path.display());
            let fix = "find out who changed it; if the change is wanted, write the new one";
            return Err(configuration(setting, &problem, fix));
        }
    }
    Ok(())
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hash.update(buffer.get(..length).unwrap_or_default());
    }
}

/// What a connector said of itself while it was started.
pub(crate) struct Manners {
    /// The longest line in bytes that it takes.
    pub(crate) limit: usize,
    /// How many requests it takes at a time.
    pub(crate) concurrent: u32,
    pub(crate) heartbeats: bool,
    pub(crate) description: Option<Description>,
}

enum Refusal {
    Told(Error),
    Ended,
}

async fn shake(command: &Command, peer: &mut Peer) -> Result<Manners, Refusal> {
    let hello = HostHello {
        versions: (VERSION, VERSION),
        line_limit: command.line_limit,
        heartbeat_ms: u64::try_from(HEARTBEAT.as_millis()).unwrap_or(5000),
    };
    peer.say(&ToConnector::Hello(hello)).await?;
    let FromConnector::Hello(accepted) = peer.hear().await? else { return Err(unexpected("a hello")) };
    if accepted.version != VERSION {
        let problem = format!("the connector speaks version {} of the wire form, Muster {VERSION}", accepted.version);
        return Err(Refusal::Told(configuration("command", &problem, "install versions that fit together")));
    }
    let limit = accepted.line_limit.unwrap_or(muster_connector::wire::LINE_LIMIT);
    if limit < SMALLEST_LINE_LIMIT {
        return Err(unexpected("a line_limit of at least 65536"));
    }
    // Id 0 is this one; later requests start at 1.
    peer.say(&ToConnector::Request(Request { id: 0, call: Call::Describe {} })).await?;
    let description = match peer.hear().await? {
        FromConnector::Answer(answer) if answer.id == 0 => match answer.reply {
            Reply::Describe(described) => {
                fitting_settings(command, &described.settings).map_err(Refusal::Told)?;
                Some(described)
            }
            Reply::Error(Error::Unsupported(_)) => None,
            Reply::Error(error) => return Err(Refusal::Told(error)),
            _ => return Err(unexpected("the reply to describe")),
        },
        _ => return Err(unexpected("the answer to describe")),
    };
    let secrets = command.secrets.iter().map(|(path, secret)| (path.clone(), SecretValue(secret.clone())));
    let configure = Configure {
        connection: command.connection.clone(),
        settings: serde_json::Value::Object(command.settings.clone()),
        secrets: secrets.collect(),
        folder: command.base_folder.to_string_lossy().into_owned(),
    };
    peer.say(&ToConnector::Configure(configure)).await?;
    let FromConnector::Configured(configured) = peer.hear().await? else {
        return Err(unexpected("configured"));
    };
    match configured.error {
        Some(Error::Configuration { setting, problem, fix }) => {
            let setting = setting.map(|setting| format!("settings.{setting}"));
            Err(Refusal::Told(Error::Configuration { setting, problem, fix }))
        }
        Some(error) => Err(Refusal::Told(error)),
        None => Ok(Manners {
            limit,
            concurrent: accepted.concurrent.unwrap_or(1).clamp(1, 64),
            heartbeats: accepted.heartbeats,
            description,
        }),
    }
}

fn unexpected(wanted: &str) -> Refusal {
    Refusal::Told(Error::Bug(format!("the connector sent something else than {wanted} while it was started")))
}

impl Peer {
    async fn say(&mut self, message: &ToConnector) -> Result<(), Refusal> {
        let line = encode(message, muster_connector::wire::LINE_LIMIT);
        let line = line.ok_or_else(|| Refusal::Told(configuration("settings", "they are too long", "shorten them")))?;
        self.input.write_all(&line).await.map_err(|_| Refusal::Ended)
    }

    /// The next message that is no heartbeat.
    async fn hear(&mut self) -> Result<FromConnector, Refusal> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.lines.line() {
                Some(Line::Whole(line)) => match serde_json::from_slice(&line) {
                    Ok(FromConnector::Heartbeat {} | FromConnector::Progress(_)) => {}
                    Ok(message) => return Ok(message),
                    Err(error) => return Err(Refusal::Told(Error::Bug(misread(&error)))),
                },
                Some(Line::TooLong) => return Err(unexpected("a line within the limit")),
                None => match self.output.read(&mut buffer).await {
                    Ok(0) | Err(_) => return Err(Refusal::Ended),
                    Ok(length) => self.lines.push(buffer.get(..length).unwrap_or_default()),
                },
            }
        }
    }
}
