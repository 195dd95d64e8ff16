//! `muster state`: a copy of the state while it is in use, and the way back from one.

use std::path::Path;

use muster_engine::{Clock as _, SystemClock};
use muster_store::SqliteStore;

use crate::cli::{StateAction, StateArguments};
use crate::exit::Failure;
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
            store.backup(file).await?;
            output::line(format!("{} is a copy of {}", file.display(), settings.state.display()));
            output::line("it holds personal data: keep it as safe as the state itself");
        }
        StateAction::Restore { file } => {
            let lock = world::lock(&settings)?;
            let restored = SqliteStore::restore(&settings.state, file, SystemClock.now(), &lock).await?;
            output::line(format!("{} is now what {} holds", settings.state.display(), file.display()));
            if let Some(former) = restored.former {
                output::line(format!("the former state is kept as {}", former.display()));
            }
            output::line("the next cycle of each sync reads its target again before it sends anything");
        }
    }
    Ok(())
}
