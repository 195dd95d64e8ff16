//! One small file that is replaced as a whole, and is on the disk when a write returns.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A file that is longer is not ours.
const LONGEST: u64 = 1 << 20;

/// The file, shared with writes that go on though nobody waits for them any more.
#[derive(Debug, Clone)]
pub(super) struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    /// The number of the newest content on the disk: an older one never replaces it.
    newest: Mutex<u64>,
}

impl Disk {
    pub(super) fn new(file: PathBuf) -> Self {
        Self(Arc::new(Inner { file, newest: Mutex::default() }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.file
    }

    /// What the file holds; nothing if there is none.
    pub(super) async fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let disk = self.clone();
        run(move || match fs::metadata(disk.path()) {
            Ok(found) if found.len() > LONGEST => Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long")),
            Ok(_) => fs::read(disk.path()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    /// Writes content whose number is higher than those before.
    pub(super) async fn write(&self, number: u64, content: Vec<u8>) -> io::Result<()> {
        let disk = self.clone();
        run(move || disk.write_now(number, &content)).await
    }

    /// The same, on this thread.
    pub(super) fn write_now(&self, number: u64, content: &[u8]) -> io::Result<()> {
        let mut newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if number <= *newest {
            return Ok(());
        }
        let new = self.beside("new");
        let mut output = File::create(&new)?;
        output.write_all(content)?;
        output.sync_all()?;
        fs::rename(&new, self.path())?;
        sync_folder(self.path())?;
        *newest = number;
        Ok(())
    }

    /// Whether the file can be written, which leaves it as it is.
    pub(super) async fn probe(&self) -> io::Result<()> {
        let beside = self.beside("probe");
        run(move || {
            File::create(&beside)?;
            fs::remove_file(&beside)
        })
        .await
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path().as_os_str().to_owned();
        name.push(".");
        name.push(ending);
        name.into()
    }
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// A rename is durable only with its folder; where folders cannot be opened the system sees to it itself.
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_late_write_of_older_content_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path().join("file"));
        assert_eq!(disk.read().await.unwrap(), None);
        disk.write(2, b"new".to_vec()).await.unwrap();
        disk.write(1, b"old".to_vec()).await.unwrap();
        assert_eq!(disk.read().await.unwrap().unwrap(), b"new");
        disk.probe().await.unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
