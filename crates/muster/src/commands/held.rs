//! `muster held`: what the guard holds, and what lets it go.

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

/// The first objects of a hold: name, source key, target key.
pub(crate) async fn objects(
    state: &State,
    names: &Names,
    hold: &HoldRecord,
    limit: usize,
) -> Result<Vec<(Option<String>, String, Option<String>)>, Failure> {
    let links: Vec<LinkId> = hold.items.iter().take(limit).map(|item| item.link).collect();
    let views = state.store.links(&links).await?;
    Ok(views
        .iter()
        .map(|view| {
            let (name, source) = titled(names, view);
            (name, source, view.target_key.as_deref().map(key))
        })
        .collect())
}

pub(crate) fn document(
    sync: &str,
    hold: &HoldRecord,
    objects: &[(Option<String>, String, Option<String>)],
) -> serde_json::Value {
    let objects: Vec<_> = objects
        .iter()
        .map(|(name, source, target)| json!({ "name": name, "source": source, "target": target }))
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

pub(crate) fn print(sync: &str, hold: &HoldRecord, objects: &[(Option<String>, String, Option<String>)]) {
    output::line(headline(sync, hold));
    output::line(format!("  since {}, expires {}", time(hold.created_at), time(hold.expires_at)));
    list(hold, objects);
}

pub(crate) fn list(hold: &HoldRecord, objects: &[(Option<String>, String, Option<String>)]) {
    for (name, source, target) in objects {
        let name = name.as_deref().map(|name| format!("{name}  ")).unwrap_or_default();
        let target = target.as_deref().map(|key| format!(" (target {key})")).unwrap_or_default();
        output::line(output::visible(&format!("  {name}{source}{target}")));
    }
    let rest = hold.items.len().saturating_sub(objects.len());
    if rest > 0 {
        output::line(format!("  … and {rest} more (--limit lists more)"));
    }
}
