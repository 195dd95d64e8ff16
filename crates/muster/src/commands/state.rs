//! `muster state`: a copy of the state while it is in use, and the way back from one.

use std::path::Path;

use muster_engine::{Clock as _, SystemClock};
use muster_store::{SqliteStore, StoreError};

use crate::cli::{StateAction, StateArguments};
use crate::exit::{Failure, with_causes};
use crate::{output, world};

pub(crate) async fn run(config: &Path, arguments: &StateArguments) -> Result<(), Failure> {
    let settings = world::settings(config)?;
    match &arguments.action {
        StateAction::Backup { file } => {
            if file.exists() {
                let problem =
                    format!("{} exists, and a backup never replaces a file; give it another name", file.display());
                return Err(Failure::configuration(problem));
            }
            let store = world::store_beside(&settings).await?;
            store.backup(file).await.map_err(|error| not_written(file, error))?;
            output::line(format!("{} is a copy of {}", file.display(), settings.state.display()));
            output::line("it holds personal data: keep it as safe as the state itself");
        }
        StateAction::Restore { file } => {
            let lock = world::lock(&settings)?;
            let restored = SqliteStore::restore(&settings.state, file, SystemClock.now(), &lock).await;
            let restored = restored.map_err(|error| not_restored(file, error))?;
            output::line(format!("{} is now what {} holds", settings.state.display(), file.display()));
            if let Some(former) = restored.former {
                output::line(format!("the former state is kept as {}", former.display()));
            }
            output::line("the next cycle of each sync reads its target again before it sends anything");
        }
    }
    Ok(())
}

/// Why no backup was written. It left nothing behind.
fn not_written(file: &Path, error: StoreError) -> Failure {
    let file = file.display();
    match error {
        StoreError::Open { source, .. } => Failure::state(format!(
            "the backup {file} cannot be written ({source}); name a file in a folder that exists and that this user may write"
        )),
        StoreError::Database { .. } => Failure::state(format!(
            "the backup {file} cannot be written ({}); look for free space on its disk",
            one_line(&with_causes(&error))
        )),
        other => other.into(),
    }
}

/// Why nothing was restored. The state is as it was.
fn not_restored(file: &Path, error: StoreError) -> Failure {
    let is_backup = |path: &Path| path == file;
    let shown = file.display();
    match error {
        StoreError::Foreign { path, found } if is_backup(&path) => Failure::state(format!(
            "{shown} is no backup of Muster's state (it is {found}); name a file that `muster state backup` wrote; nothing was changed"
        )),
        StoreError::Damaged { path, problem } if is_backup(&path) => Failure::state(format!(
            "the backup {shown} is damaged ({}); restore another one; nothing was changed",
            one_line(&problem)
        )),
        StoreError::Open { path, source } if is_backup(&path) => Failure::state(format!(
            "the backup {shown} cannot be read ({source}); check the path, and whether this user may read it; nothing was changed"
        )),
        other => other.into(),
    }
}

/// SQLite's findings have a heading and lines of their own.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
