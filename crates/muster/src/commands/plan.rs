//! `muster plan`: what a sync would do.

use std::path::Path;
use std::sync::Arc;

use muster_engine::PlanOptions;

use crate::cli::{OutputForm, PlanArguments};
use crate::exit::Failure;
use crate::progress::Progress;
use crate::{output, world};

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &PlanArguments) -> Result<(), Failure> {
    let settings = world::settings(config)?;
    let sync = world::find_sync(&settings, &arguments.sync)?;
    let state = world::state_after(&settings, arguments.wait).await?;
    let progress = Arc::new(Progress::new(form == OutputForm::Table));
    let engine = world::engine(&settings, sync, &state, progress.clone()).await?;
    let options = PlanOptions {
        full: arguments.full,
        limit: arguments.limit,
        statements: arguments.sql,
        takeover: arguments.takeover,
    };
    let planned = engine.plan(&world::rules(sync), &options).await;
    progress.finish();
    state.tidy().await;
    let plan = planned.map_err(|error| Failure::engine(&error, &settings))?;
    match form {
        OutputForm::Json => output::json(&plan),
        OutputForm::Table => {
            output::plan(&plan);
            Ok(())
        }
    }
}
