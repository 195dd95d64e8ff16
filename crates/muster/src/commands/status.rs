//! `muster status`: how the syncs stand, and what waits for a person.

use std::path::Path;

use muster_engine::{Clock as _, SystemClock, Unconfirmed};
use muster_settings::Mode;
use muster_store::{LinkId, RunRecord, SyncCounts, SyncId};
use serde_json::json;

use super::held;
use crate::cli::OutputForm;
use crate::exit::Failure;
use crate::operator::{Desk, key, time};
use crate::output;

/// Parked objects listed for each sync.
const LISTED: u32 = 10;
/// Events listed for each sync.
const EVENTS: u32 = 5;

pub(crate) async fn run(config: &Path, form: OutputForm) -> Result<(), Failure> {
    let desk = Desk::open(config).await?;
    let state = &desk.state;
    let names = state.store.sync_names().await?;
    let standings = state.store.standings().await?;
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    let mut waiting = Vec::new();
    for (name, sync) in names {
        let counts = state.store.counts(sync, SystemClock.now()).await?;
        let run = state.store.runs(sync, 1).await?.into_iter().next();
        rows.push(row(&name, desk.settings.sync(&name).is_some(), &counts, run.as_ref()));
        let paused =
            standings.iter().find(|standing| standing.id == sync).and_then(|standing| standing.paused.as_deref());
        if let Some(reason) = paused {
            waiting.push(format!("{name}: paused: {reason}; nothing is sent until `muster resume {name}`"));
        }
        waiting.extend(waits(&desk, &name, sync, counts.parked).await?);
        documents.push(document(&desk, &name, sync, paused, &counts, run.as_ref()).await?);
    }
    if form == OutputForm::Json {
        return output::json(&json!({ "syncs": documents }));
    }
    if rows.is_empty() {
        output::line("no sync has run yet");
        return Ok(());
    }
    output::table(
        &["sync", "linked", "of them disabled", "to do", "waiting", "parked", "held", "last run", "outcome"],
        rows,
    );
    for line in waiting {
        output::line(output::visible(&line));
    }
    Ok(())
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
    let linked = counts.linked + counts.disabled;
    let numbers = [linked, counts.disabled, counts.dirty, counts.waiting, counts.parked, counts.held];
    let mut row = vec![name];
    row.extend(numbers.map(|number| number.to_string()));
    row.push(run.map(|run| time(run.started_at)).unwrap_or_default());
    row.push(outcome(run));
    row
}

/// What of a sync waits, for a person: lines that end with what to type.
async fn waits(desk: &Desk, name: &str, sync: SyncId, parked_in_all: u64) -> Result<Vec<String>, Failure> {
    let store = &desk.state.store;
    let mut lines = Vec::new();
    if desk.settings.sync(name).is_some_and(|sync| sync.mode == Mode::Observe) {
        lines.push(format!("{name}: observes only, and writes nothing (syncs.{name}.mode)"));
    }
    if let Some(quarantine) = store.quarantine(sync).await? {
        let attribute = quarantine.attribute.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        lines.push(format!(
            "{name}: in quarantine since {}: most was refused by the rule {}{attribute}; a few are tried again at {}; \
             `muster parked {name}` says why, `muster resume {name}` ends it",
            time(quarantine.since),
            quarantine.rule,
            time(quarantine.next_probe_at)
        ));
    }
    let unconfirmed = Unconfirmed::of(&store.open_batches(sync).await?);
    if let Some(since) = unconfirmed.since {
        lines.push(format!(
            "{name}: {} changes were taken by the target and are not confirmed yet, the oldest at {}; it is asked again \
             from {} on",
            unconfirmed.operations,
            time(since),
            unconfirmed.ask_at.map(time).unwrap_or_default()
        ));
    }
    for hold in store.holds(sync).await? {
        lines.push(held::headline(name, &hold));
    }
    let names = desk.names(name).await?;
    let parked = store.parked(sync, LISTED).await?;
    let links: Vec<LinkId> = parked.iter().map(|parked| parked.link).collect();
    let views = store.links(&links).await?;
    for parked in parked {
        let known = views.iter().find(|view| view.id == parked.link).and_then(|view| names.name(view));
        let known = known.map(|known| format!("{known} ")).unwrap_or_default();
        let attribute = parked.attribute.map(|attribute| format!(" {attribute}:")).unwrap_or_default();
        let message = parked.message.unwrap_or_default();
        lines.push(format!(
            "{name}: {known}{} is parked since {}:{attribute} {} ({message})",
            key(&parked.anchor),
            time(parked.since),
            parked.rule
        ));
    }
    if parked_in_all > u64::from(LISTED) {
        lines.push(format!("{name}: … and {} more parked (`muster parked {name}`)", parked_in_all - u64::from(LISTED)));
    }
    for event in store.events(sync, None, EVENTS).await? {
        lines.push(format!("{name}: {} {} {}", time(event.at), event.code, event.detail));
    }
    Ok(lines)
}

async fn document(
    desk: &Desk,
    name: &str,
    sync: SyncId,
    paused: Option<&str>,
    counts: &SyncCounts,
    run: Option<&RunRecord>,
) -> Result<serde_json::Value, Failure> {
    let store = &desk.state.store;
    let parked: Vec<_> = store
        .parked(sync, u32::MAX)
        .await?
        .into_iter()
        .map(|parked| {
            json!({
                "source": key(&parked.anchor),
                "operation": parked.kind,
                "rule": parked.rule,
                "attribute": parked.attribute,
                "message": parked.message,
                "since": time(parked.since),
                "attempts": parked.attempts,
            })
        })
        .collect();
    let held: Vec<_> = store.holds(sync).await?.iter().map(|hold| held::document(name, hold, &[])).collect();
    let quarantine = store.quarantine(sync).await?.map(|quarantine| {
        json!({
            "rule": quarantine.rule,
            "attribute": quarantine.attribute,
            "since": time(quarantine.since),
            "probes": quarantine.probes,
            "next_probe": time(quarantine.next_probe_at),
        })
    });
    let events: Vec<_> = store
        .events(sync, None, EVENTS)
        .await?
        .into_iter()
        .map(|event| json!({ "at": time(event.at), "code": event.code, "detail": event.detail }))
        .collect();
    let unconfirmed = Unconfirmed::of(&store.open_batches(sync).await?);
    let configured = desk.settings.sync(name);
    let mode = configured.map(|sync| match sync.mode {
        Mode::Apply => "apply",
        Mode::Observe => "observe",
    });
    Ok(json!({
        "sync": name,
        "configured": configured.is_some(),
        "mode": mode,
        "paused": paused,
        "links": counts.links,
        "linked": counts.linked,
        "disabled": counts.disabled,
        "to_do": counts.dirty,
        "waiting": counts.waiting,
        "unconfirmed": json!({
            "operations": unconfirmed.operations,
            "since": unconfirmed.since.map(time),
            "ask_at": unconfirmed.ask_at.map(time),
        }),
        "parked": parked,
        "held": held,
        "quarantine": quarantine,
        "events": events,
        "last_run": run.map(|run| json!({
            "started": time(run.started_at),
            "finished": run.finished_at.map(time),
            "outcome": run.outcome,
            "report": run.report.as_deref().and_then(|report| serde_json::from_str::<serde_json::Value>(report).ok()),
        })),
    }))
}
