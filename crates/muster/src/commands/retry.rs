//! `muster retry`: refused objects are tried again.

use std::collections::BTreeMap;
use std::path::Path;

use muster_store::{Retry, SyncId};
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
    if let (0, Retry::Rule { rule, attribute }) = (retried, &which) {
        return Err(no_such_rule(&desk, &sync.name, id, rule, attribute.as_deref()).await?);
    }
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

/// Nothing is parked by the rule that was asked for, so what is parked is said.
async fn no_such_rule(
    desk: &Desk,
    name: &str,
    sync: SyncId,
    rule: &str,
    attribute: Option<&str>,
) -> Result<Failure, Failure> {
    let mut rules: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
    for parked in desk.state.store.parked(sync, u32::MAX).await? {
        *rules.entry((parked.rule, parked.attribute)).or_default() += 1;
    }
    let of = |attribute: Option<&str>| attribute.map(|name| format!(" of {name}")).unwrap_or_default();
    let parked: Vec<String> = rules
        .iter()
        .map(|((rule, attribute), number)| format!("{number} by {rule}{}", of(attribute.as_deref())))
        .collect();
    let now =
        if parked.is_empty() { "nothing is parked".to_owned() } else { format!("parked now: {}", parked.join(", ")) };
    Ok(Failure::configuration(format!("{name}: no object is parked by the rule {rule:?}{}; {now}", of(attribute))))
}
