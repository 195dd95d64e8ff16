//! `muster sync`: one cycle, now.

use std::path::Path;
use std::sync::Arc;

use muster_engine::CycleOptions;
use muster_model::Key;

use crate::cli::{OutputForm, SyncArguments};
use crate::exit::Failure;
use crate::progress::Progress;
use crate::{output, world};

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &SyncArguments) -> Result<(), Failure> {
    let settings = world::settings(config)?;
    let sync = world::find_sync(&settings, &arguments.sync)?;
    let state = world::state_after(&settings, arguments.wait).await?;
    let progress = Arc::new(Progress::new(form == OutputForm::Table));
    let engine = world::engine(&settings, sync, &state, progress.clone()).await?;
    let options = CycleOptions {
        full: arguments.full,
        reconcile: arguments.reconcile,
        only: arguments.only.as_deref().map(Key::text),
    };
    let result = engine.cycle(&world::rules(sync), &options).await;
    progress.finish();
    state.tidy().await;
    let report = result.map_err(|error| Failure::engine(&error, &settings))?;
    match form {
        OutputForm::Json => output::json(&report),
        OutputForm::Table => {
            output::report(&report);
            if report.parked + report.held > 0 {
                output::line("  `muster status` says what waits, and why");
            }
            Ok(())
        }
    }
}
