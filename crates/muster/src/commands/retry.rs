//! `muster retry`: refused objects are tried again.

use std::path::Path;

use muster_store::Retry;
use serde_json::json;

use crate::cli::{OutputForm, RetryArguments};
use crate::exit::Failure;
use crate::operator::Desk;
use crate::output;

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &RetryArguments) -> Result<(), Failure> {
    let desk = Desk::open(config).await?;
    let (sync, id) = desk.sync(&arguments.sync).await?;
    let which = match &arguments.rule {
        Some(rule) => Retry::Rule { rule: rule.clone(), attribute: arguments.attribute.clone() },
        None if arguments.all => Retry::All,
        None => {
            let mut links = Vec::with_capacity(arguments.keys.len());
            for named in &arguments.keys {
                let link = desk.link(sync, id, named).await?;
                if !link.parked {
                    return Err(Failure::configuration(format!(
                        "{named:?} is not parked; `muster explain {} {named}` says how it stands",
                        sync.name
                    )));
                }
                links.push(link.id);
            }
            Retry::Links(links)
        }
    };
    let retried = desk.state.store.retry(id, &which).await?;
    if retried > 0 {
        let single = match &which {
            Retry::Links(links) => links.first().copied().filter(|_| links.len() == 1),
            _ => None,
        };
        let detail = match &which {
            Retry::Rule { rule, .. } => format!("{retried} {rule}"),
            _ => retried.to_string(),
        };
        desk.note(id, single, "retried", detail).await?;
        desk.ask_for_a_cycle(id).await?;
    }
    match form {
        OutputForm::Json => output::json(&json!({ "sync": sync.name, "retried": retried })),
        OutputForm::Table => {
            output::line(format!("{}: {retried} parked objects are tried again with the next cycle", sync.name));
            Ok(())
        }
    }
}
