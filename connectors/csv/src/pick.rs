//! Which file is read, and that nobody is still writing it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::config::NewestBy;

/// Where a type's rows are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    File(PathBuf),
    Folder { folder: PathBuf, pattern: String, newest_by: NewestBy, archive: Option<PathBuf> },
}

/// A file as it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    length: u64,
    modified: Option<SystemTime>,
}

fn look(path: &Path) -> Result<Look, String> {
    let metadata = std::fs::metadata(path).map_err(|error| cannot_be_read(path, &error))?;
    if !metadata.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    Ok(Look { length: metadata.len(), modified: metadata.modified().ok() })
}

fn cannot_be_read(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
        kind => format!("{} cannot be read: {kind}", path.display()),
    }
}

impl Place {
    /// The file that holds everybody now.
    pub(crate) fn newest(&self) -> Result<PathBuf, String> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Folder { folder, pattern, .. } => self
                .files()?
                .pop()
                .ok_or_else(|| format!("there is no file {pattern} in {}, and none was read before", folder.display())),
        }
    }

    /// The files of a folder, the newest last.
    fn files(&self) -> Result<Vec<PathBuf>, String> {
        let Self::Folder { folder, pattern, newest_by, .. } = self else { return Ok(Vec::new()) };
        let failed = |error: std::io::Error| format!("{} cannot be listed: {}", folder.display(), error.kind());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let metadata = entry.metadata().map_err(failed)?;
            if metadata.is_file() && matches(pattern, &name) {
                let modified = metadata.modified().ok().filter(|_| *newest_by == NewestBy::Modified);
                files.push((modified, name, entry.path()));
            }
        }
        files.sort();
        Ok(files.into_iter().map(|(_, _, path)| path).collect())
    }

    /// Moves what is older than the file that was read to the archive, as far as that goes.
    pub(crate) fn archive(&self, read: &Path) {
        let Self::Folder { archive: Some(archive), .. } = self else { return };
        let older = self.files().unwrap_or_default();
        for path in older.iter().take_while(|path| *path != read) {
            let Some(name) = path.file_name() else { continue };
            let moved = std::fs::create_dir_all(archive).and_then(|()| {
                let to = archive.join(name);
                if to.exists() { Err(std::io::ErrorKind::AlreadyExists.into()) } else { std::fs::rename(path, to) }
            });
            if let Err(error) = moved {
                tracing::warn!(file = %path.display(), archive = %archive.display(), %error, "a file that was read is not moved");
            }
        }
    }
}

/// The bytes of a file that has been left alone for so long, and stayed so while it was read. `wait` lets time pass.
pub(crate) fn settled(path: &Path, settle: Duration, largest: u64, wait: impl Fn(Duration)) -> Result<Vec<u8>, String> {
    let mut before = look(path)?;
    // What lies in the future says nothing: two looks must do.
    let age = before.modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
    if let Some(left) = settle.checked_sub(age.unwrap_or_default()).filter(|left| !left.is_zero()) {
        wait(left);
        let now = look(path)?;
        if now != before {
            return Err(format!("{} is still being written; it is read once it is left alone", path.display()));
        }
        before = now;
    }
    if before.length > largest {
        return Err(format!(
            "{} has {} bytes, more than {largest}; set `largest_file` if that is right",
            path.display(),
            before.length
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| cannot_be_read(path, &error))?;
    if look(path)? != before || bytes.len() as u64 != before.length {
        return Err(format!("{} was changed while it was read; it is read once it is left alone", path.display()));
    }
    Ok(bytes)
}

/// Whether a name fits a pattern with `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Row by row: whether what stands before fits what stands before.
    let mut fits = vec![false; name.len() + 1];
    if let Some(first) = fits.first_mut() {
        *first = true;
    }
    for symbol in pattern {
        let mut next = vec![false; name.len() + 1];
        let mut any = false;
        for (position, slot) in next.iter_mut().enumerate() {
            let here = fits.get(position).copied().unwrap_or(false);
            let before = position.checked_sub(1).and_then(|before| Some((*fits.get(before)?, *name.get(before)?)));
            any |= here;
            *slot = match symbol {
                '*' => any,
                '?' => before.is_some_and(|(fits, _)| fits),
                letter => before.is_some_and(|(fits, found)| fits && found == letter),
            };
        }
        fits = next;
    }
    fits.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, fits) in [
            ("*.csv", "people.csv", true),
            ("*.csv", "people.csv.tmp", false),
            ("people-*.csv", "people-2026-11-23.csv", true),
            ("people-????.csv", "people-2026.csv", true),
            ("people-????.csv", "people-26.csv", false),
            ("*", "", true),
            ("**a*", "bab", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn the_newest_file_is_read_and_older_ones_move() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("done");
        let place = |newest_by| Place::Folder {
            folder: folder.path().to_owned(),
            pattern: "p*.csv".to_owned(),
            newest_by,
            archive: Some(archive.clone()),
        };
        assert!(place(NewestBy::Name).newest().unwrap_err().contains("no file p*.csv"));
        for name in ["p2.csv", "p1.csv", "q3.csv", "p3.csv.part"] {
            std::fs::write(folder.path().join(name), "a").unwrap();
        }
        let newest = place(NewestBy::Name).newest().unwrap();
        assert_eq!(newest, folder.path().join("p2.csv"));
        let early = std::fs::File::options().write(true).open(&newest).unwrap();
        early.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(place(NewestBy::Modified).newest().unwrap(), folder.path().join("p1.csv"));
        place(NewestBy::Name).archive(&newest);
        assert!(archive.join("p1.csv").is_file() && !archive.join("p2.csv").exists());
        assert!(newest.is_file() && folder.path().join("q3.csv").is_file());
    }

    #[test]
    fn a_file_is_waited_for_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.csv");
        std::fs::write(&path, "abc").unwrap();
        let waited = std::cell::Cell::new(Duration::ZERO);
        let hour = Duration::from_secs(3600);
        assert_eq!(settled(&path, hour, 3, |left| waited.set(left)).unwrap(), b"abc");
        assert!(waited.get() > hour / 2 && waited.get() <= hour, "{waited:?}");
        let alone = std::fs::File::options().write(true).open(&path).unwrap();
        alone.set_modified(SystemTime::now() - 2 * hour).unwrap();
        waited.set(Duration::ZERO);
        assert_eq!(settled(&path, hour, 3, |left| waited.set(left)).unwrap(), b"abc");
        assert_eq!(waited.get(), Duration::ZERO);
        assert!(settled(&path, hour, 2, |_| ()).unwrap_err().contains("largest_file"));
        let more = |_| std::fs::write(&path, "abcd").unwrap();
        std::fs::write(&path, "abc").unwrap();
        assert!(settled(&path, hour, 9, more).unwrap_err().contains("still being written"));
        assert!(settled(folder.path(), hour, 9, |_| ()).unwrap_err().contains("no file"));
        assert!(settled(&folder.path().join("q"), hour, 9, |_| ()).unwrap_err().contains("there is no file"));
    }
}
