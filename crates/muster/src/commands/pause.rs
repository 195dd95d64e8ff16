//! `muster pause` and `muster resume`: beside a running service, which notices within a second or two.

use std::path::Path;

use muster_engine::{Clock as _, LifecycleClock, SystemClock};
use muster_settings::Settings;
use muster_store::{EventRecord, SyncId};

use crate::cli::{PauseArguments, ResumeArguments};
use crate::exit::Failure;
use crate::world::State;
use crate::{output, world};

/// It stands in a table, a log line and an error.
const LONGEST_REASON: usize = 200;

pub(crate) async fn pause(config: &Path, arguments: &PauseArguments) -> Result<(), Failure> {
    let settings = world::settings(config)?;
    let (state, sync) = find(&settings, &arguments.sync).await?;
    if arguments.reason.chars().any(char::is_control) || arguments.reason.chars().count() > LONGEST_REASON {
        let problem = format!("a reason is one line of at most {LONGEST_REASON} letters");
        return Err(Failure::configuration(problem));
    }
    state.store.set_paused(sync, Some(&arguments.reason)).await?;
    output::line(format!(
        "{} is paused: nothing is sent until `muster resume {}`; its source is read all the same",
        arguments.sync, arguments.sync
    ));
    Ok(())
}

pub(crate) async fn resume(config: &Path, arguments: &ResumeArguments) -> Result<(), Failure> {
    let settings = world::settings(config)?;
    let (state, sync) = find(&settings, &arguments.sync).await?;
    let now = SystemClock.now();
    let mark = state.store.facts().await?.clock_high_water;
    if LifecycleClock::new(std::sync::Arc::new(SystemClock), mark).is_doubtful() {
        output::line("this machine's clock is taken for right from now on");
    }
    // Whoever lets a sync go on has looked at its clock as well: it was said in every report.
    state.store.raise_clock_mark(now).await?;
    state.store.set_paused(sync, None).await?;
    if state.store.end_quarantine(sync).await? {
        let event = EventRecord { at: now, sync, link: None, code: "resumed".to_owned(), detail: String::new() };
        state.store.add_events(&[event]).await?;
        output::line(format!("{} is not in quarantine any more", arguments.sync));
    }
    state.store.request_cycle(sync, now).await?;
    output::line(format!("{} goes on, at once where the service runs", arguments.sync));
    Ok(())
}

async fn find(settings: &Settings, name: &str) -> Result<(State, SyncId), Failure> {
    let state = world::state_to_read(settings).await?;
    let known = state.store.sync_names().await?.into_iter().find(|(known, _)| known == name);
    match known {
        Some((_, sync)) => Ok((state, sync)),
        None => {
            world::find_sync(settings, name)?;
            Err(Failure::configuration(format!(
                "sync {name:?} has not run yet, so there is nothing to pause or resume"
            )))
        }
    }
}
