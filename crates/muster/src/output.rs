//! Printing for people and for programs.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use comfy_table::{ContentArrangement, Table, presets};
use muster_connector::Severity;
use muster_engine::{Plan, PlannedKind, Report, RuleFinding, Takeover};
use muster_settings::Settings;
use serde::Serialize;

use crate::exit::Failure;

/// Set when a result could not be written, so that the exit code says so.
static LOST: AtomicBool = AtomicBool::new(false);

/// Prints one line of a result. When nobody listens any more (`| head`), the command still does its work.
pub(crate) fn line(text: impl AsRef<str>) {
    match writeln!(std::io::stdout().lock(), "{}", text.as_ref()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => LOST.store(true, Ordering::Relaxed),
        _ => {}
    }
}

/// Whether a part of the result could not be written, as on a full disk.
pub(crate) fn was_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// A value for a person's terminal: whatever could move the cursor, hide or reorder text is shown by its code.
pub(crate) fn visible(text: &str) -> String {
    let is_odd = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_odd) {
        return text.to_owned();
    }
    text.chars()
        .map(|letter| if is_odd(letter) { letter.escape_default().to_string() } else { letter.to_string() })
        .collect()
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
        (report.values_added, "values added"),
        (report.values_removed, "values removed"),
        (report.unchanged, "unchanged"),
        (report.parked, "parked"),
        (report.held, "held"),
        (report.waiting, "waiting"),
        (report.accepted, "taken and not confirmed yet"),
        (report.unknown, "unknown"),
    ];
    let done: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    let done = if done.is_empty() { "nothing to do".to_owned() } else { done.join(", ") };
    let done = if report.observed { format!("observed, and nothing written: {done}") } else { done };
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
        let name = visible(change.name.as_deref().unwrap_or(&change.source));
        let target = change.target.as_ref().map(|key| format!(" (target {})", visible(key))).unwrap_or_default();
        line(format!("{sign} {verb} {name}{target}"));
        let width = change.values.iter().map(|(attribute, _, _)| attribute.chars().count()).max().unwrap_or(0);
        for (attribute, before, after) in &change.values {
            let padding = " ".repeat(width - attribute.chars().count());
            match before {
                Some(before) => line(format!("    {attribute}{padding}  {} → {}", visible(before), visible(after))),
                None => line(format!("    {attribute}{padding}  {}", visible(after))),
            }
        }
        if let Some(reason) = &change.reason {
            line(format!("    {}", visible(reason)));
        }
        if let Some(held) = &change.held {
            line(format!("    held: {} waits for approval", visible(held)));
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
        (report.values_added, "values to add"),
        (report.values_removed, "values to remove"),
        (report.parked, "to park"),
        (report.held, "held by the guard"),
        (report.accepted, "taken and not confirmed yet"),
    ];
    let wanted: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, words)| format!("{number} {words}")).collect();
    let wanted = if wanted.is_empty() { "nothing to do".to_owned() } else { wanted.join(", ") };
    if !plan.values.is_empty() {
        let values: Vec<String> =
            plan.values.iter().map(|(name, times)| format!("{} {times}", visible(name))).collect();
        line(format!("values that would change, by attribute: {}", values.join(", ")));
    }
    if let Some(takeover) = &plan.takeover {
        takeover_lines(takeover);
    }
    line(format!("{}: {wanted}", report.sync));
    for note in &report.notes {
        line(format!("  note: {note}"));
    }
    if !plan.statements.is_empty() {
        line("");
        // To a file the statements go as they are, to be run; on a terminal they are only looked at.
        let is_terminal = std::io::stdout().is_terminal();
        for statement in &plan.statements {
            line(if is_terminal { visible(statement) } else { statement.clone() });
        }
    }
}

/// How a filled target and the source fit.
fn takeover_lines(takeover: &Takeover) {
    line("how source and target fit:");
    let counts = [
        (takeover.matched, "source objects match exactly one target object, and would adopt it"),
        (takeover.ambiguous, "match more than one, and would be parked"),
        (takeover.second_claimants, "match an object that another source object has, and would be parked"),
        (takeover.protected, "match a protected object, and would be parked"),
    ];
    for (number, words) in counts.into_iter().filter(|(number, _)| *number > 0) {
        line(format!("  {number} {words}"));
    }
    for (rule, number) in &takeover.matched_by {
        line(format!("    {number} of those that match by {rule}"));
    }
    let Some((all, foreign)) = takeover.target_objects.zip(takeover.foreign) else {
        line("  the target cannot list its objects, so those that belong to nobody are not counted");
        return;
    };
    line(format!("  {foreign} of {all} target objects belong to no source object, and stay as they are"));
    for (key, name) in &takeover.first_foreign {
        let name = name.as_deref().map(|name| format!("{name}  ")).unwrap_or_default();
        line(format!("    {}target {}", visible(&name), visible(key)));
    }
    let rest = foreign.saturating_sub(takeover.first_foreign.len() as u64);
    if rest > 0 {
        line(format!("    … and {rest} more (--limit lists more)"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(visible("Åsa 東京 '\""), "Åsa 東京 '\"");
        assert_eq!(visible("a\u{1b}[31m\u{202e}b\r\n"), "a\\u{1b}[31m\\u{202e}b\\r\\n");
    }
}
