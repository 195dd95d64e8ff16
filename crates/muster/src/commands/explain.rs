//! `muster explain`: why an object looks as it does.

use std::path::Path;

use muster_engine::Explanation;

use crate::cli::{ObjectArguments, OutputForm};
use crate::exit::Failure;
use crate::operator::{Desk, OTHER_NAMES, time};
use crate::{output, world};

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &ObjectArguments) -> Result<(), Failure> {
    let desk = Desk::open(config).await?;
    let (sync, _) = desk.sync(&arguments.sync).await?;
    let engine = desk.engine(sync).await?;
    let explained = engine.explain(&world::rules(sync), &arguments.key).await;
    let explained = explained.map_err(|error| Failure::engine(&error, &desk.settings))?;
    match form {
        OutputForm::Json => output::json(&explained),
        OutputForm::Table => {
            print(&explained);
            Ok(())
        }
    }
}

fn say(text: impl AsRef<str>) {
    output::line(output::visible(text.as_ref()));
}

fn print(explained: &Explanation) {
    let known = |name: &str| explained.attributes.iter().find(|(known, value)| known == name && value != "null");
    let other = || OTHER_NAMES.into_iter().find_map(known).map(|(_, value)| value.clone());
    let name = explained.name.clone().or_else(other).map(|name| format!("{name}  ")).unwrap_or_default();
    say(format!("{}: {name}{}", explained.sync, explained.source));
    let since = explained.gone_since.map(|at| format!(" since {}", time(at))).unwrap_or_default();
    say(format!(
        "source: {}{since}; last seen by full read {} or a change after it",
        explained.presence, explained.generation
    ));
    let width = explained.attributes.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in &explained.attributes {
        say(format!("  {name}{}  {value}", " ".repeat(width - name.chars().count())));
    }
    let target =
        explained.target.as_deref().map_or("no target object".to_owned(), |key| format!("target object {key}"));
    let origin = explained.origin.as_deref().map(|origin| format!(", {origin}")).unwrap_or_default();
    say(format!("link: {}, {target}{origin}", explained.state));
    if !explained.scope.is_empty() {
        say("scope, one of:");
    }
    for condition in &explained.scope {
        say(format!("  {}: {}", condition.condition, truth(condition.holds)));
        for part in condition.comparisons.iter().filter(|part| part.holds != Some(true)) {
            say(format!("      {} {}: the value is {}", part.comparison, truth(part.holds), part.value));
        }
    }
    say(format!("rule: {}", explained.decision));
    if !explained.dates.is_empty() {
        say("dates:");
    }
    for date in &explained.dates {
        let inputs: Vec<String> = date.inputs.iter().map(|(name, value)| format!("[{name}] = {value}")).collect();
        let inputs = if inputs.is_empty() { String::new() } else { format!("  where {}", inputs.join(", ")) };
        let at = match (&date.problem, date.at) {
            (Some(problem), _) => problem.clone(),
            (None, Some(at)) => time(at),
            (None, None) => "no date, so no bound".to_owned(),
        };
        say(format!("  {} ← {}{inputs}", date.name, date.expression));
        say(format!("      {at}"));
    }
    if !explained.matching.is_empty() {
        say("match, in this order:");
    }
    for rule in &explained.matching {
        let value = rule.value.as_deref().map(|value| format!(", for {value}")).unwrap_or_default();
        say(format!("  {}{value}: {}", rule.rule, rule.found));
    }
    say("mappings:");
    for mapping in &explained.mappings {
        let inputs: Vec<String> = mapping.inputs.iter().map(|(name, value)| format!("[{name}] = {value}")).collect();
        let inputs = if inputs.is_empty() { String::new() } else { format!("  where {}", inputs.join(", ")) };
        say(format!("  {} ← {}{inputs}", mapping.attribute, mapping.expression));
        let when = if mapping.on_create_only { " (on create only)" } else { "" };
        let differs = if mapping.differs { ": to be written" } else { "" };
        say(format!("      value {}, last written or seen {}{differs}{when}", mapping.value, mapping.written));
    }
    say(format!("next: {}", explained.next));
    for wait in &explained.waits {
        say(format!("waits: {wait}"));
    }
    if let Some(at) = explained.due_at {
        say(format!("looked at again by itself: {}", time(at)));
    }
    if !explained.events.is_empty() {
        say("events:");
        for (at, code, detail) in &explained.events {
            say(format!("  {}  {code}  {detail}", time(*at)));
        }
    }
}

fn truth(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "holds",
        Some(false) => "does not hold",
        None => "is not known yet",
    }
}
