//! Running a server's programs, as another user where they refuse to run as root.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user that servers run as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunAs {
    /// Set when this process is root: the user and group to become.
    other: Option<(u32, u32)>,
}

impl RunAs {
    /// This process's own user; as root the first of `preferred` that exists.
    pub(crate) fn unprivileged(own: u32, preferred: &[&str]) -> Self {
        if own != 0 {
            return Self { other: None };
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let ids = preferred.iter().find_map(|name| user_ids(&users, name));
        assert!(ids.is_some(), "servers refuse to run as root, and there is none of the users {preferred:?}");
        Self { other: ids }
    }

    /// A command without this process's environment.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        if let Some((user, group)) = self.other {
            // The standard library drops supplementary groups with it.
            command.uid(user).gid(group);
        }
        command
    }

    /// Gives a file or folder to that user.
    pub(crate) fn own(self, path: &Path) {
        if let Some((user, group)) = self.other {
            chown(path, Some(user), Some(group))
                .unwrap_or_else(|error| panic!("cannot hand over {}: {error}", path.display()));
        }
    }
}

fn user_ids(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [user, _, id, group, ..] if *user == name => Some((id.parse().ok()?, group.parse().ok()?)),
            _ => None,
        }
    })
}

/// The user of a file or folder.
pub(crate) fn user_of(path: &Path) -> u32 {
    std::fs::metadata(path).map_or(u32::MAX, |metadata| metadata.uid())
}

/// Sends a signal by name; the shell's own `kill` is there even where the program is not.
pub(crate) fn signal(process: u32, name: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("kill -{name} {process} 2>/dev/null")])
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a command to its end and panics with what it said when it fails.
pub(crate) fn succeed(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    output.stdout
}

/// The newest of the folders `parent/*/bin` that holds `program`, else where PATH finds it.
pub(crate) fn newest_program_folder(parent: &Path, program: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<f32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| folder.join(program).is_file())
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, folder)| folder);
    newest.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join(program).is_file())
    })
}

/// A program in one of the folders, else where PATH finds it.
pub(crate) fn program_in(folders: &[&str], program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = folders.iter().map(PathBuf::from).chain(std::env::split_paths(&path).collect::<Vec<_>>());
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_user_by_the_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\npostgresql:x:1:1::/:/bin/sh\npostgres:x:104:112::/:/bin/sh\n";
        assert_eq!(user_ids(users, "postgres"), Some((104, 112)));
        assert_eq!(user_ids(users, "post"), None);
    }
}
