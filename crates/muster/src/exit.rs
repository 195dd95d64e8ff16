//! Why a command failed, and the exit code that says so to programs.

use std::io::Write as _;
use std::process::ExitCode;

use muster_engine::EngineError;
use muster_settings::{Problems, Settings};
use muster_store::StoreError;

/// A failed command. The codes are documented in `docs/commands.md`.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Muster itself is wrong, or the machine is.
    pub(crate) fn unexpected(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// What was typed or configured is wrong.
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// A system cannot be reached or refuses.
    pub(crate) fn connection(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into() }
    }

    /// The state cannot be used, or is in use.
    pub(crate) fn state(message: impl Into<String>) -> Self {
        Self { code: 4, message: message.into() }
    }

    /// An engine's error, with the places of the settings to blame.
    pub(crate) fn engine(error: &EngineError, settings: &Settings) -> Self {
        match error {
            EngineError::Rules { findings, .. } => {
                let lines: Vec<String> =
                    findings.iter().map(|finding| crate::output::rule_finding(finding, settings)).collect();
                Self::configuration(lines.join("\n"))
            }
            EngineError::ScopeGroup { sync, kind, many, .. } => {
                let fix = match many {
                    0 => format!(
                        "correct the name, or name the {kind} by its id; `muster check` looks for a similar name"
                    ),
                    _ => format!("name the {kind} by its id"),
                };
                Self::configuration(crate::output::placed(
                    settings,
                    &format!("syncs.{sync}.scope"),
                    &error.to_string(),
                    &fix,
                ))
            }
            EngineError::PasswordReceiver { sync, problem } => Self::configuration(crate::output::placed(
                settings,
                &format!("syncs.{sync}.password.receiver"),
                problem,
                "new people are created once it can take their passwords",
            )),
            EngineError::Store(StoreError::OtherTypes { .. })
            | EngineError::NoObject { .. }
            | EngineError::NoConnection(_)
            | EngineError::OtherSystem { .. }
            | EngineError::Paused { .. } => Self::configuration(with_causes(error)),
            EngineError::Connection {
                connection,
                source: muster_connector::Error::Configuration { setting, problem, fix },
            } => {
                let path = match setting {
                    Some(setting) => format!("connections.{connection}.{setting}"),
                    None => format!("connections.{connection}"),
                };
                Self::configuration(crate::output::placed(settings, &path, problem, fix))
            }
            EngineError::Connection { .. } => Self::connection(with_causes(error)),
            EngineError::Store(_) | EngineError::Damaged(_) => Self::state(with_causes(error)),
            EngineError::Stopped | EngineError::Password { .. } => Self::unexpected(error.to_string()),
        }
    }

    /// The message alone, to be shown among others.
    pub(crate) fn into_message(self) -> String {
        self.message
    }

    /// Prints the message and returns the code.
    pub(crate) fn print(self) -> ExitCode {
        for line in self.message.lines() {
            writeln!(std::io::stderr().lock(), "error: {}", crate::output::visible(line)).ok();
        }
        ExitCode::from(self.code)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::configuration(problems.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::state(with_causes(&error))
    }
}

impl From<muster_sandbox::SandboxError> for Failure {
    fn from(error: muster_sandbox::SandboxError) -> Self {
        Self::unexpected(with_causes(&error))
    }
}

/// An error followed by its causes, as far as it does not say them itself.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
