//! Folders that are removed after a test that passed, kept after one that failed, and swept after one that was killed.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::{signal, user_of};

/// What a failed test left is worth a look for this long.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The folder of all test servers of this user.
#[derive(Debug)]
pub(crate) struct Base {
    path: PathBuf,
    /// Held while folders are made and swept. The system releases it when the process dies.
    _lock: File,
}

/// The folder of one server. Its lock is held as long as the process lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    lock: PathBuf,
    _held: File,
}

impl Base {
    /// Makes the folder where it is missing, waits for the lock, and removes what dead processes left.
    pub(crate) fn open() -> Self {
        let own = user_of(&own_folder());
        let path = std::env::temp_dir().join(format!("muster-testkit-{own}"));
        if let Err(error) = fs::create_dir(&path)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            panic!("cannot make {}: {error}", path.display());
        }
        assert_eq!(user_of(&path), own, "{} belongs to somebody else", path.display());
        // A server under another user must pass through.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let lock = File::create(path.join("lock")).unwrap();
        lock.lock().unwrap();
        let base = Self { path, _lock: lock };
        base.sweep();
        base
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The user that this process runs as.
    pub(crate) fn user(&self) -> u32 {
        user_of(&self.path)
    }

    /// A folder of its own for one server.
    pub(crate) fn folder(&self, kind: &str) -> Folder {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{kind}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let lock = self.path.join(format!("{name}.lock"));
        let held = File::create(&lock).unwrap();
        held.lock().unwrap();
        let path = self.path.join(name);
        // Left by a process of the same number whose lock file is gone.
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::create_dir(&path).unwrap();
        Folder { path, lock, _held: held }
    }

    fn sweep(&self) {
        for entry in fs::read_dir(&self.path).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("failed-") {
                let age = entry.metadata().ok().and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
                if age.is_some_and(|age| age > KEPT_FOR) {
                    drop(fs::remove_dir_all(&path));
                }
            } else if let Some(server) = name.strip_suffix(".lock") {
                let Ok(lock) = File::open(&path) else { continue };
                // Whoever can lock it has found a dead owner.
                if lock.try_lock().is_ok() {
                    let folder = self.path.join(server);
                    end_orphan(&folder);
                    drop(fs::remove_dir_all(&folder));
                    drop(fs::remove_file(&path));
                }
            }
        }
    }
}

/// Ends a server that outlived its test. Each runs in its data folder, so no other process is mistaken for it.
fn end_orphan(folder: &Path) {
    let data = folder.join("data");
    let read = |name| fs::read_to_string(data.join(name));
    let Ok(text) = read("postmaster.pid").or_else(|_| read("mariadbd.pid")).or_else(|_| read("server.pid")) else {
        return;
    };
    let Some(process) = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else { return };
    if fs::read_link(format!("/proc/{process}/cwd")).is_ok_and(|cwd| cwd == data) {
        signal(process, "QUIT");
    }
}

/// A folder whose owner is this process's user, wherever we are.
fn own_folder() -> PathBuf {
    let process = PathBuf::from("/proc/self");
    if process.exists() {
        return process;
    }
    std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from)
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps what is there, under a name that says so, until a later run finds it too old.
    pub(crate) fn keep(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kept = self.path.with_file_name(format!("failed-{name}"));
        drop(fs::remove_dir_all(&kept));
        match fs::rename(&self.path, &kept) {
            Ok(()) => kept,
            Err(_) => self.path.clone(),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.path));
        drop(fs::remove_file(&self.lock));
    }
}

/// Copies a folder with all it holds; each copy is handed to `adopt`.
pub(crate) fn copy_tree(from: &Path, to: &Path, adopt: &dyn Fn(&Path)) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o700))?;
    adopt(to);
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
        } else if kind.is_socket() {
            // A server makes it anew.
        } else if kind.is_dir() {
            copy_tree(&entry.path(), &target, adopt)?;
        } else {
            fs::copy(entry.path(), &target)?;
            adopt(&target);
        }
    }
    Ok(())
}
