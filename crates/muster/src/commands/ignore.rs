//! `muster ignore` and `muster unignore`: a source object is left alone, or not any more.

use std::path::Path;

use muster_store::{Decision, LinkState};
use serde_json::json;

use crate::cli::{ObjectArguments, OutputForm};
use crate::exit::Failure;
use crate::operator::{Desk, key};
use crate::output;

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &ObjectArguments) -> Result<(), Failure> {
    let desk = Desk::open(config).await?;
    let (sync, id) = desk.sync(&arguments.sync).await?;
    let link = desk.link(sync, id, &arguments.key).await?;
    let target = link.target_key.as_deref().map(key);
    desk.decide(id, &link, &Decision::Ignore, "ignored").await?;
    let source = key(&link.anchor);
    if form == OutputForm::Json {
        return output::json(&json!({ "sync": sync.name, "source": source, "state": "ignored", "left": target }));
    }
    output::line(output::visible(&format!(
        "{}: {source} is left alone from now on; what was known of its target object is forgotten",
        sync.name
    )));
    if let Some(target) = target {
        output::line(output::visible(&format!(
            "  the target object {target} stays as it is, and nobody disables or deletes it any more"
        )));
    }
    output::line(format!("  `muster unignore {} {}` takes it back", sync.name, output::visible(&arguments.key)));
    Ok(())
}

pub(crate) async fn take_back(config: &Path, form: OutputForm, arguments: &ObjectArguments) -> Result<(), Failure> {
    let desk = Desk::open(config).await?;
    let (sync, id) = desk.sync(&arguments.sync).await?;
    let link = desk.link(sync, id, &arguments.key).await?;
    if !matches!(link.state, LinkState::Ignored | LinkState::Released) {
        let message = format!("{:?} is neither ignored nor unlinked", arguments.key);
        return Err(Failure::configuration(message));
    }
    desk.decide(id, &link, &Decision::Return, "returned").await?;
    let source = key(&link.anchor);
    match form {
        OutputForm::Json => output::json(&json!({ "sync": sync.name, "source": source, "state": "candidate" })),
        OutputForm::Table => {
            output::line(output::visible(&format!("{}: {source} is matched again with the next cycle", sync.name)));
            Ok(())
        }
    }
}
