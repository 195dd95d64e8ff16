//! `muster parked`: what was refused, and why.

use std::path::Path;

use muster_store::LinkId;
use serde_json::json;

use crate::cli::{OutputForm, ParkedArguments};
use crate::exit::Failure;
use crate::operator::{Desk, key, time};
use crate::output;

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &ParkedArguments) -> Result<(), Failure> {
    let desk = Desk::open(config).await?;
    let mut documents = Vec::new();
    let mut rows = Vec::new();
    for (sync, id) in desk.syncs(arguments.sync.as_deref()).await? {
        let names = desk.names(&sync).await?;
        let parked = desk.state.store.parked(id, arguments.limit).await?;
        let links: Vec<LinkId> = parked.iter().map(|parked| parked.link).collect();
        let views = desk.state.store.links(&links).await?;
        for parked in parked {
            let name = views.iter().find(|view| view.id == parked.link).and_then(|view| names.name(view));
            let source = key(&parked.anchor);
            documents.push(json!({
                "sync": sync,
                "source": source,
                "name": name,
                "operation": parked.kind,
                "rule": parked.rule,
                "attribute": parked.attribute,
                "message": parked.message,
                "since": time(parked.since),
                "attempts": parked.attempts,
            }));
            let object = name.map_or(source.clone(), |name| format!("{name}\n{source}"));
            rows.push(vec![
                sync.clone(),
                visible_lines(&object),
                parked.attribute.unwrap_or_default(),
                parked.rule,
                output::visible(parked.message.as_deref().unwrap_or("")),
                time(parked.since),
                parked.attempts.to_string(),
            ]);
        }
    }
    if form == OutputForm::Json {
        return output::json(&json!({ "parked": documents }));
    }
    if rows.is_empty() {
        output::line("nothing is parked");
        return Ok(());
    }
    output::table(&["sync", "object", "attribute", "rule", "what was said", "since", "attempts"], rows);
    output::line(
        "the next change at the source heals it; `muster retry SYNC KEY` tries it again, `muster explain SYNC KEY` says more",
    );
    Ok(())
}

fn visible_lines(text: &str) -> String {
    text.lines().map(output::visible).collect::<Vec<_>>().join("\n")
}
