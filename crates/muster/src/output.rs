//! Printing for people and for programs.

use std::io::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use muster_connector::Severity;
use muster_engine::{Plan, PlannedKind, Report, RuleFinding};
use muster_settings::Settings;
use serde::Serialize;

use crate::exit::Failure;

/// Prints one line of a result. When nobody listens any more (`| head`), the command still does its work.
pub(crate) fn line(text: impl AsRef<str>) {
    writeln!(std::io::stdout().lock(), "{}", text.as_ref()).ok();
}

/// Prints one JSON document on one line.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::unexpected(format!("the result cannot be printed: {error}")))?;
    line(text);
    Ok(())
}

/// A table for people.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table.add_rows(rows);
    line(table.to_string());
}

/// A problem with the place of the setting to blame, in the form of the configuration's own problems.
pub(crate) fn placed(settings: &Settings, setting: &str, problem: &str, fix: &str) -> String {
    match settings.place(setting) {
        Some(place) => format!("{place}: {setting}: {problem}; {fix}"),
        None => format!("{setting}: {problem}; {fix}"),
    }
}

/// A finding about rules, with its place.
pub(crate) fn rule_finding(finding: &RuleFinding, settings: &Settings) -> String {
    placed(settings, &finding.setting, &finding.problem, &finding.fix)
}

/// `error` or `warning`.
pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// A report in a sentence or two.
pub(crate) fn report(report: &Report) {
    let parts = [
        (report.created, "created"),
        (report.adopted, "adopted"),
        (report.updated, "updated"),
        (report.enabled, "enabled"),
        (report.disabled, "disabled"),
        (report.deleted, "deleted"),
        (report.unchanged, "unchanged"),
        (report.parked, "parked"),
        (report.held, "held"),
        (report.waiting, "waiting"),
        (report.unknown, "unknown"),
    ];
    let done: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    let done = if done.is_empty() { "nothing to do".to_owned() } else { done.join(", ") };
    line(format!("{}: {done}; {} entries read, {:.1} s", report.sync, report.read, report.seconds));
    for note in &report.notes {
        line(format!("  note: {note}"));
    }
}

/// A plan as people read a diff.
pub(crate) fn plan(plan: &Plan) {
    for change in &plan.changes {
        let (sign, verb) = match change.kind {
            PlannedKind::Create => ('+', "create"),
            PlannedKind::Adopt => ('=', "adopt"),
            PlannedKind::Update => ('~', "update"),
            PlannedKind::Enable => ('~', "enable"),
            PlannedKind::Disable => ('-', "disable"),
            PlannedKind::Delete => ('-', "delete"),
            PlannedKind::Park => ('!', "park"),
        };
        let name = change.name.as_deref().unwrap_or(&change.source);
        let target = change.target.as_ref().map(|key| format!(" (target {key})")).unwrap_or_default();
        line(format!("{sign} {verb} {name}{target}"));
        let width = change.values.iter().map(|(attribute, _, _)| attribute.chars().count()).max().unwrap_or(0);
        for (attribute, before, after) in &change.values {
            let padding = " ".repeat(width - attribute.chars().count());
            match before {
                Some(before) => line(format!("    {attribute}{padding}  {before} → {after}")),
                None => line(format!("    {attribute}{padding}  {after}")),
            }
        }
        if let Some(reason) = &change.reason {
            line(format!("    {reason}"));
        }
    }
    if plan.not_listed > 0 {
        line(format!("… and {} more (--limit lists more)", plan.not_listed));
    }
    let report = &plan.report;
    let parts = [
        (report.created, "to create"),
        (report.adopted, "to adopt"),
        (report.updated, "to update"),
        (report.enabled, "to enable"),
        (report.disabled, "to disable"),
        (report.deleted, "to delete"),
        (report.parked, "to park"),
        (report.held, "held by the guard"),
    ];
    let wanted: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, words)| format!("{number} {words}")).collect();
    let wanted = if wanted.is_empty() { "nothing to do".to_owned() } else { wanted.join(", ") };
    line(format!("{}: {wanted}", report.sync));
    for note in &report.notes {
        line(format!("  note: {note}"));
    }
    if !plan.statements.is_empty() {
        line("");
        for statement in &plan.statements {
            line(statement);
        }
    }
}
