//! `muster unlink`: a source object is separated from its target object.

use std::path::Path;

use muster_store::Decision;
use serde_json::json;

use crate::cli::{ObjectArguments, OutputForm};
use crate::exit::Failure;
use crate::operator::{Desk, key};
use crate::output;

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &ObjectArguments) -> Result<(), Failure> {
    let desk = Desk::open(config).await?;
    let (sync, id) = desk.sync(&arguments.sync).await?;
    let link = desk.link(sync, id, &arguments.key).await?;
    let Some(target) = link.target_key.as_deref().map(key) else {
        let message = format!("{:?} has no target object; `muster ignore` leaves it alone", arguments.key);
        return Err(Failure::configuration(message));
    };
    desk.decide(id, &link, &Decision::Release, "unlinked").await?;
    let source = key(&link.anchor);
    if form == OutputForm::Json {
        return output::json(&json!({ "sync": sync.name, "source": source, "state": "released", "left": target }));
    }
    output::line(output::visible(&format!(
        "{}: {source} and the target object {target} are separated; {target} stays as it is",
        sync.name
    )));
    output::line(format!(
        "  it is not matched again until `muster link {} {} TARGET-KEY`",
        sync.name,
        output::visible(&arguments.key)
    ));
    Ok(())
}
