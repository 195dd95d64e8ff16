//! One process at a time runs syncs on a state file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;

use super::open::beside;
use crate::error::StoreError;

/// The right to run syncs on one state file; ends with the process, however it ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock beside the state file. `holder` says who holds it, for whoever comes second.
    ///
    /// # Errors
    /// [`StoreError::Held`] when another process has it.
    pub fn take(state: &Path, holder: &str) -> Result<Self, StoreError> {
        let path = beside(state, ".lock");
        let failed = |source: std::io::Error| StoreError::Open { path: path.clone(), source: source.into() };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Who holds it is a courtesy; that somebody does is what counts.
                let holder = match (&file).take(500).read_to_string(&mut text) {
                    Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
                    _ => "by another process".to_owned(),
                };
                return Err(StoreError::Held { holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        file.write_all(holder.as_bytes()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}
