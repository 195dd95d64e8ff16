//! `muster held`: what the guard holds, and what lets it go.

use std::collections::BTreeMap;
use std::path::Path;

use muster_engine::{Clock as _, SystemClock, short_digest};
use muster_store::{HoldRecord, LinkId};
use serde_json::json;

use crate::cli::{HeldArguments, OutputForm};
use crate::exit::Failure;
use crate::operator::{Desk, Names, digest, key, kind, time, titled};
use crate::output;
use crate::world::State;

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &HeldArguments) -> Result<(), Failure> {
    let desk = Desk::open(config).await?;
    let mut documents = Vec::new();
    let mut any = false;
    for (name, sync) in desk.syncs(arguments.sync.as_deref()).await? {
        let names = desk.names(&name).await?;
        for hold in desk.state.store.holds(sync).await? {
            any = true;
            let objects = objects(&desk.state, &names, &hold, arguments.limit).await?;
            match form {
                OutputForm::Json => documents.push(document(&name, &hold, &objects)),
                OutputForm::Table => print(&name, &hold, &objects),
            }
        }
    }
    match form {
        OutputForm::Json => output::json(&json!({ "held": documents })),
        OutputForm::Table => {
            if !any {
                output::line("nothing is held");
            }
            Ok(())
        }
    }
}

/// An object of a hold.
pub(crate) struct HeldObject {
    name: Option<String>,
    source: String,
    target: Option<String>,
    /// How many changes of it wait: members of a group are one each.
    changes: usize,
}

/// The first objects of a hold.
pub(crate) async fn objects(
    state: &State,
    names: &Names,
    hold: &HoldRecord,
    limit: usize,
) -> Result<Vec<HeldObject>, Failure> {
    let mut changes: BTreeMap<LinkId, usize> = BTreeMap::new();
    for item in &hold.items {
        *changes.entry(item.link).or_default() += 1;
    }
    let links: Vec<LinkId> = changes.keys().copied().take(limit).collect();
    let views = state.store.links(&links).await?;
    Ok(views
        .iter()
        .map(|view| {
            let (name, source) = titled(names, view);
            let changes = changes.get(&view.id).copied().unwrap_or(1);
            HeldObject { name, source, target: view.target_key.as_deref().map(key), changes }
        })
        .collect())
}

pub(crate) fn document(sync: &str, hold: &HoldRecord, objects: &[HeldObject]) -> serde_json::Value {
    let objects: Vec<_> = objects
        .iter()
        .map(|object| {
            let HeldObject { name, source, target, changes } = object;
            json!({ "name": name, "source": source, "target": target, "changes": changes })
        })
        .collect();
    json!({
        "sync": sync,
        "kind": hold.kind,
        "attribute": hold.attribute,
        "digest": digest(&hold.digest),
        "wanted": hold.wanted,
        "allowed": hold.allowed,
        "base": hold.base,
        "since": time(hold.created_at),
        "expires": time(hold.expires_at),
        "approved": hold.approved,
        "objects": objects,
    })
}

/// What a hold is, in a line.
pub(crate) fn headline(sync: &str, hold: &HoldRecord) -> String {
    let expired = hold.expires_at <= SystemClock.now();
    let standing = match (hold.approved, expired) {
        (true, _) => "approved; it goes with the next cycle".to_owned(),
        (false, true) => "expired; the next cycle holds it anew while it is wanted".to_owned(),
        (false, false) => format!("muster approve {sync} {}", short_digest(&hold.digest)),
    };
    format!("{sync}: {} × {} held, {} of {} may go: {standing}", hold.wanted, kind(hold), hold.allowed, hold.base)
}

pub(crate) fn print(sync: &str, hold: &HoldRecord, objects: &[HeldObject]) {
    output::line(headline(sync, hold));
    output::line(format!("  since {}, expires {}", time(hold.created_at), time(hold.expires_at)));
    list(hold, objects);
}

pub(crate) fn list(hold: &HoldRecord, objects: &[HeldObject]) {
    for HeldObject { name, source, target, changes } in objects {
        let name = name.as_deref().map(|name| format!("{name}  ")).unwrap_or_default();
        let target = target.as_deref().map(|key| format!(" (target {key})")).unwrap_or_default();
        let times = if *changes > 1 { format!(": {changes}") } else { String::new() };
        output::line(output::visible(&format!("  {name}{source}{target}{times}")));
    }
    let shown: usize = objects.iter().map(|object| object.changes).sum();
    let rest = hold.items.len().saturating_sub(shown);
    if rest > 0 {
        output::line(format!("  … and {rest} more (--limit lists more)"));
    }
}
