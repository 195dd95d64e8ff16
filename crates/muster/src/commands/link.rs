//! `muster link`: a source object is linked to a target object by hand.

use std::path::Path;

use muster_engine::Linking;
use serde_json::json;

use crate::cli::{LinkArguments, OutputForm};
use crate::exit::Failure;
use crate::operator::{Desk, on_its_way};
use crate::{output, world};

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &LinkArguments) -> Result<(), Failure> {
    let desk = Desk::open(config).await?;
    let (sync, id) = desk.sync(&arguments.sync).await?;
    let engine = desk.engine(sync).await?;
    let linking = engine.link(&world::rules(sync), &arguments.key, &arguments.target).await;
    let linking = linking.map_err(|error| Failure::engine(&error, &desk.settings))?;
    let refused = |message: String| Err(Failure::configuration(message));
    let (link, target) = match linking {
        Linking::Done { link, target } => (link, target),
        Linking::OnItsWay => return Err(on_its_way()),
        Linking::NoObject => return refused(format!("{} has no object with the key {:?}", sync.to, arguments.target)),
        Linking::Protected => {
            return refused(format!("the object {:?} is protected by syncs.{}.protect", arguments.target, sync.name));
        }
        Linking::Owned { sync, source } => {
            return refused(format!(
                "the object {:?} belongs to {source} of sync {sync:?}; `muster unlink {sync} {source}` separates them first",
                arguments.target
            ));
        }
    };
    desk.note(id, Some(link), "linked", String::new()).await?;
    desk.ask_for_a_cycle(id).await?;
    match form {
        OutputForm::Json => {
            output::json(&json!({ "sync": sync.name, "source": arguments.key, "target": target, "state": "linked" }))
        }
        OutputForm::Table => {
            output::line(output::visible(&format!(
                "{}: {} is linked to the target object {target}; the next cycle writes what differs",
                sync.name, arguments.key
            )));
            Ok(())
        }
    }
}
