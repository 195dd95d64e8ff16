//! `muster status`: how the syncs stand, and what waits for a person.

use std::path::Path;

use chrono::DateTime;
use muster_engine::{Clock as _, SystemClock};
use muster_model::Key;
use muster_store::{RunRecord, SyncCounts, SyncId};
use serde_json::json;

use crate::cli::OutputForm;
use crate::exit::Failure;
use crate::world::State;
use crate::{output, world};

/// Parked objects listed for each sync.
const LISTED: u32 = 10;

pub(crate) async fn run(config: &Path, form: OutputForm) -> Result<(), Failure> {
    let settings = world::settings(config)?;
    let state = world::state_to_read(&settings).await?;
    let names = state.store.sync_names().await?;
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    let mut waiting = Vec::new();
    for (name, sync) in names {
        let counts = state.store.counts(sync, SystemClock.now()).await?;
        let run = state.store.runs(sync, 1).await?.into_iter().next();
        let configured = settings.sync(&name).is_some();
        rows.push(row(&name, configured, &counts, run.as_ref()));
        waiting.extend(waits(&state, &name, sync).await?);
        if counts.parked > u64::from(LISTED) {
            waiting.push(format!(
                "{name}: … and {} more parked (--output json lists all)",
                counts.parked - u64::from(LISTED)
            ));
        }
        documents.push(document(&state, &name, configured, sync, &counts, run.as_ref()).await?);
    }
    if form == OutputForm::Json {
        return output::json(&json!({ "syncs": documents }));
    }
    if rows.is_empty() {
        output::line("no sync has run yet");
        return Ok(());
    }
    output::table(&["sync", "linked", "disabled", "to do", "waiting", "parked", "held", "last run", "outcome"], rows);
    for line in waiting {
        output::line(output::visible(&line));
    }
    Ok(())
}

fn time(milliseconds: i64) -> String {
    DateTime::from_timestamp_millis(milliseconds)
        .map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
        .unwrap_or_default()
}

fn outcome(run: Option<&RunRecord>) -> String {
    match run {
        None => "never ran".to_owned(),
        Some(RunRecord { outcome: Some(outcome), .. }) => outcome.clone(),
        Some(_) => "running, or ended without a word".to_owned(),
    }
}

fn row(name: &str, configured: bool, counts: &SyncCounts, run: Option<&RunRecord>) -> Vec<String> {
    let name = if configured { name.to_owned() } else { format!("{name} (not in the configuration)") };
    let numbers = [counts.linked, counts.disabled, counts.dirty, counts.waiting, counts.parked, counts.held];
    let mut row = vec![name];
    row.extend(numbers.map(|number| number.to_string()));
    row.push(run.map(|run| time(run.started_at)).unwrap_or_default());
    row.push(outcome(run));
    row
}

async fn waits(state: &State, name: &str, sync: SyncId) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for hold in state.store.holds(sync).await? {
        lines.push(format!(
            "{name}: {} changes of kind {} are held, {} may go; raise syncs.{name}.guard.{} if they are right",
            hold.wanted, hold.kind, hold.allowed, hold.kind
        ));
    }
    for parked in state.store.parked(sync, LISTED).await? {
        let key = Key::decode(&parked.anchor).map(|key| key.to_string()).unwrap_or_default();
        let attribute = parked.attribute.map(|attribute| format!(" {attribute}:")).unwrap_or_default();
        let message = parked.message.unwrap_or_default();
        lines.push(format!(
            "{name}: {key} is parked since {}:{attribute} {} ({message})",
            time(parked.since),
            parked.rule
        ));
    }
    Ok(lines)
}

async fn document(
    state: &State,
    name: &str,
    configured: bool,
    sync: SyncId,
    counts: &SyncCounts,
    run: Option<&RunRecord>,
) -> Result<serde_json::Value, Failure> {
    let parked: Vec<_> = state
        .store
        .parked(sync, u32::MAX)
        .await?
        .into_iter()
        .map(|parked| {
            json!({
                "source": Key::decode(&parked.anchor).map(|key| key.to_string()).unwrap_or_default(),
                "operation": parked.kind,
                "rule": parked.rule,
                "attribute": parked.attribute,
                "message": parked.message,
                "since": time(parked.since),
            })
        })
        .collect();
    let held: Vec<_> = state
        .store
        .holds(sync)
        .await?
        .into_iter()
        .map(|hold| json!({ "kind": hold.kind, "wanted": hold.wanted, "allowed": hold.allowed, "since": time(hold.created_at) }))
        .collect();
    Ok(json!({
        "sync": name,
        "configured": configured,
        "links": counts.links,
        "linked": counts.linked,
        "disabled": counts.disabled,
        "to_do": counts.dirty,
        "waiting": counts.waiting,
        "parked": parked,
        "held": held,
        "last_run": run.map(|run| json!({
            "started": time(run.started_at),
            "finished": run.finished_at.map(time),
            "outcome": run.outcome,
        })),
    }))
}
