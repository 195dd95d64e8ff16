//! Conditions of scopes and protection.

use muster_expression::{Comparing, Condition, Nulls};
use muster_model::Slot;

use super::random::Random;
use super::records::slot;

const PIECES: [&str; 26] = [
    "[a]",
    "[b c]",
    "[",
    "]",
    " AND ",
    " and ",
    "EQUALS",
    "NOT EQUALS",
    "INCLUDES",
    "STARTS_WITH",
    "ENDS_WITH",
    "&",
    "!&",
    "GREATER_THAN",
    "GREATER_THAN_OR_EQUALS",
    "LESS_THAN",
    "LESS_THAN_OR_EQUALS",
    "REGEX MATCH",
    "NOT REGEX MATCH",
    "IS NULL",
    "IS NOT NULL",
    "IS TRUE",
    "IS FALSE",
    "\"",
    "\\\"",
    " ",
];

const VALUES: [&str; 14] = [
    "Sales",
    "",
    "1",
    "-7.5",
    "18446744073709551616",
    "2026-03-29",
    "2026-03-29T02:30:00Z",
    "True",
    "(a|b)*c$",
    "[a-z]+",
    "(",
    "\\\\d{2,3}",
    "å\\\"ß",
    "😀",
];

fn comparison(random: &mut Random) -> String {
    let operators: Vec<&str> = PIECES[6..23].to_vec();
    let operator = random.pick(&operators);
    match operator.starts_with("IS ") {
        true => format!("[{}] {operator}", random.pick(&["a", "b c", "extension_1"])),
        false => format!("[{}] {operator} \"{}\"", random.pick(&["a", "b c", "extension_1"]), random.pick(&VALUES)),
    }
}

/// Any text is refused with a place, or printed so that it reads the same, and answers for any values.
pub(crate) fn examine(random: &mut Random, input: &mut String) -> Result<(), String> {
    let parts: Vec<String> = (0..1 + random.below(3)).map(|_| comparison(random)).collect();
    let mut text = parts.join(" AND ");
    if random.one_in(2) {
        text = random.damaged(&text, &PIECES);
    }
    input.push_str(&text);
    let condition = match Condition::parse(&text) {
        Ok(condition) => condition,
        Err(error) if error.at <= text.chars().count() && !error.problem.is_empty() => return Ok(()),
        Err(error) => return Err(format!("refused without a place: {error:?}")),
    };
    let printed = condition.to_string();
    match Condition::parse(&printed) {
        Ok(again) if again == condition => {}
        other => return Err(format!("printed as {printed:?}, which reads as {other:?}")),
    }
    let values: Vec<Slot> = (0..4).map(|_| slot(random, 1)).collect();
    for value in &values {
        input.push_str(&format!("\n  on {value:?}"));
        let nulls = random.pick(&[Nulls::Differ, Nulls::Never]);
        let comparing = Comparing { ignores_case: random.one_in(2), nulls };
        let once = condition.holds(|_| value, |_| comparing);
        if once != condition.holds(|_| value, |_| comparing) {
            return Err(format!("it holds for {value:?}, and then not"));
        }
        if once.is_none() && !value.is_unknown() {
            return Err(format!("it does not know about {value:?}"));
        }
    }
    Ok(())
}
