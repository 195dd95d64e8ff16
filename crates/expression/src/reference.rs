//! The functions' reference in Markdown, made from their table.

use std::fmt::Write as _;

use crate::functions::{Example, Expected, Function, all};

/// The list of all functions, and a section for each, in the order of their names.
#[must_use]
pub fn markdown() -> String {
    let mut functions: Vec<&Function> = all().collect();
    functions.sort_by_key(|function| function.name.to_lowercase());
    let mut page = String::new();
    let links: Vec<String> =
        functions.iter().map(|function| format!("[{0}](#{1})", function.name, function.name.to_lowercase())).collect();
    writeln!(page, "{}", links.join(" · ")).ok();
    for function in functions {
        section(function, &mut page);
    }
    page
}

fn section(function: &Function, page: &mut String) {
    let volatile = if function.volatile { " *Only with `when = \"create\"`.*" } else { "" };
    write!(page, "\n### {}\n\n`{}`\n\n{}{volatile}\n", function.name, function.signature(), function.about).ok();
    if !function.notes.is_empty() {
        page.push('\n');
    }
    for note in function.notes {
        writeln!(page, "- {}", note.replace('<', "\\<")).ok();
    }
    if !function.examples.is_empty() {
        page.push_str("\n| expression | given | result |\n| --- | --- | --- |\n");
    }
    for example in function.examples {
        row(example, page);
    }
}

fn row(example: &Example, page: &mut String) {
    let given: Vec<String> = example
        .given
        .iter()
        .map(|(name, values)| match values {
            [] => format!("{name}: null"),
            [value] => format!("{name}: {}", code(value)),
            values => format!("{name}: {}", values.iter().map(|value| code(value)).collect::<Vec<_>>().join(", ")),
        })
        .collect();
    let result = match example.result {
        Expected::Text("") => "an empty text".to_owned(),
        Expected::Text(text) => code(text),
        Expected::Values(values) => values.iter().map(|value| code(value)).collect::<Vec<_>>().join(", "),
        Expected::Null => "null".to_owned(),
        Expected::Nothing => "nothing flows".to_owned(),
        Expected::Like(text, _) => format!("such as {}", code(text)),
        Expected::Fails(problem) => format!("refused: {problem}"),
    };
    writeln!(page, "| {} | {} | {result} |", code(example.expression), given.join("; ")).ok();
}

/// A text as code within a table.
fn code(text: &str) -> String {
    if text.is_empty() {
        return "an empty text".to_owned();
    }
    let text = text.replace('|', "\\|");
    // Backquotes keep a space at either end only where both have one.
    if text.starts_with(' ') || text.ends_with(' ') { format!("` {text} `") } else { format!("`{text}`") }
}
