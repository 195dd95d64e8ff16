//! `muster run`: all syncs, each at its time, until somebody ends it.
//!
//! One loop owns every decision: it looks at each sync about once a second ([`schedule::decide`]), starts cycles as
//! tasks, and takes note of their ends. Nothing else decides, so nothing needs to be agreed on.

mod backoff;
mod board;
mod http;
mod job;
mod metrics;
mod platform;
mod schedule;
mod supervisor;
mod told;
mod upkeep;

use std::path::Path;
use std::time::Duration;

use chrono::DateTime;
use muster_settings::Settings;

use crate::exit::Failure;
use platform::{Signal, Signals};
use supervisor::Service;

/// How often the loop looks at the syncs, at least.
const TICK: Duration = Duration::from_secs(1);

/// How long what is in flight may take to land after the end was asked for. What has not landed by then is unknown,
/// and the next start asks the target what became of it.
const LANDING: Duration = Duration::from_secs(9);

/// Runs all syncs until the process is asked to end.
pub(crate) async fn run(config: &Path, settings: Settings) -> Result<(), Failure> {
    let mut signals =
        Signals::new().map_err(|error| Failure::unexpected(format!("cannot wait for signals: {error}")))?;
    let listen = settings.service.listen;
    // The state's lock comes first: whoever holds it most likely holds the address as well, and says more.
    let mut service = Service::new(config, settings).await?;
    let listener = match listen {
        Some(address) => Some(http::listen(address).await?),
        None => None,
    };
    // Dropped with this function, which ends the answering.
    let mut answering = tokio::task::JoinSet::new();
    if let Some(listener) = listener {
        tracing::info!(address = %listener.local_addr().map_or_else(|_| "?".to_owned(), |at| at.to_string()), "health and metrics");
        answering.spawn(http::serve(listener, service.board()));
    }
    service.ready();
    loop {
        let wait = service.tick().await;
        tokio::select! {
            () = service.job_ended() => {}
            () = tokio::time::sleep(wait.min(TICK)) => {}
            signal = signals.next() => match signal {
                Signal::Reload => service.reload(),
                Signal::End => break,
            }
        }
    }
    service.end(LANDING).await;
    Ok(())
}

/// A time for people and programs.
fn time(milliseconds: i64) -> String {
    DateTime::from_timestamp_millis(milliseconds)
        .map(|time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}
