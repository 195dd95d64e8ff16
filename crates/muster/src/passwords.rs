//! Who gets to know the first passwords of new objects: a file that nobody else may read, or a program.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use muster_engine::passwords::{NewPassword, PasswordReceivers};
use muster_engine::rules::PasswordReceiver;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// How long a program may take for the passwords of one batch.
const DEADLINE: Duration = Duration::from_secs(60);

/// The receivers of this machine.
pub(crate) struct Receivers;

#[async_trait]
impl PasswordReceivers for Receivers {
    async fn ready(&self, receiver: &PasswordReceiver) -> Result<(), String> {
        match receiver {
            PasswordReceiver::File(path) => open(path).await.map(drop),
            PasswordReceiver::Command(command) => found(command).map(drop),
        }
    }

    async fn hand_over(&self, receiver: &PasswordReceiver, passwords: &[NewPassword]) -> Result<(), String> {
        let mut lines = Vec::new();
        for password in passwords {
            serde_json::to_writer(&mut lines, password).map_err(|error| error.to_string())?;
            lines.push(b'\n');
        }
        match receiver {
            PasswordReceiver::File(path) => {
                let mut file = open(path).await?;
                let written = async {
                    file.write_all(&lines).await?;
                    file.flush().await?;
                    file.sync_data().await
                };
                written.await.map_err(|error| format!("{} cannot be written: {error}", path.display()))
            }
            PasswordReceiver::Command(command) => run(command, &lines).await,
        }
    }
}

/// What keeps a receiver from taking passwords. Makes nothing.
pub(crate) async fn examine(receiver: &PasswordReceiver) -> Result<(), String> {
    match receiver {
        PasswordReceiver::Command(command) => found(command).map(drop),
        PasswordReceiver::File(path) if path.exists() => open(path).await.map(drop),
        PasswordReceiver::File(path) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            match folder.is_dir() {
                true => Ok(()),
                false => Err(format!("there is no folder {} for the file of new passwords", folder.display())),
            }
        }
    }
}

/// Opens the file to add to it; makes it where there is none, for its owner alone.
async fn open(path: &Path) -> Result<tokio::fs::File, String> {
    let failed = |error: io::Error| {
        let fix = "the folder must be there, and this account must be allowed to write it";
        format!("{} cannot be opened: {error}; {fix}", path.display())
    };
    let mut options = tokio::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    options.mode(0o600);
    let file = options.open(path).await.map_err(failed)?;
    let facts = file.metadata().await.map_err(failed)?;
    if facts.is_dir() {
        return Err(format!("{} is a folder; name a file", path.display()));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if facts.is_file() && facts.permissions().mode() & 0o077 != 0 {
            let path = path.display();
            return Err(format!("{path} would hold passwords, and others may read it; run `chmod 600 {path}`"));
        }
    }
    Ok(file)
}

fn found(command: &[String]) -> Result<PathBuf, String> {
    let Some(program) = command.first() else { return Err("no program is named".to_owned()) };
    let folders = match program.contains('/') {
        true => vec![PathBuf::new()],
        false => std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default(),
    };
    let files = folders.into_iter().map(|folder| folder.join(program));
    let mut files = files.filter(|file| file.is_file());
    files.next().ok_or_else(|| format!("there is no program {program:?}; write its whole path"))
}

async fn run(command: &[String], lines: &[u8]) -> Result<(), String> {
    let program = found(command)?;
    let name = program.display().to_string();
    let failed = |error: io::Error| format!("{name} cannot be run: {error}");
    // What the program says could hold a password.
    let mut process = Command::new(&program)
        .args(command.iter().skip(1))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut input = process.stdin.take();
    let talk = async {
        if let Some(input) = &mut input {
            input.write_all(lines).await?;
            input.shutdown().await?;
        }
        drop(input.take());
        process.wait().await
    };
    match tokio::time::timeout(DEADLINE, talk).await {
        Err(_) => Err(format!("{name} did not end within {} s", DEADLINE.as_secs())),
        Ok(Err(error)) => Err(format!("{name} did not take them: {error}")),
        Ok(Ok(status)) if !status.success() => Err(format!("{name} ended with {status}")),
        Ok(Ok(_)) => Ok(()),
    }
}
