//! `muster expression`: tries an expression on values from a file.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::path::Path;

use muster_expression::{Context, Expression, ExpressionError, Flow, Traced, as_text};
use muster_model::{Decimal, Row, Slot, Value, nearest};
use serde_json::{Map, Value as Json, json};

use crate::cli::{ExpressionArguments, OutputForm};
use crate::exit::Failure;
use crate::output;

/// The largest file of values, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// So much of a long expression is shown around the place to blame, in characters.
const SHOWN: usize = 100;

pub(crate) fn run(form: OutputForm, arguments: &ExpressionArguments) -> Result<(), Failure> {
    let text = arguments.expression.as_str();
    let expression = Expression::parse(text).map_err(|errors| refused(text, &errors))?;
    let values = match &arguments.with {
        Some(file) => read(file)?,
        None => Map::new(),
    };
    let names = expression.attributes();
    let row = Row(names.iter().map(|name| slot(&values, name)).collect());
    for name in names.iter().filter(|name| arguments.with.is_some() && find(&values, name).is_none()) {
        let near = nearest(name, values.keys().map(String::as_str));
        let hint = near.map(|near| format!("; did you mean [{near}]?")).unwrap_or_default();
        note(&format!("[{name}] is not in the file and counts as null{hint}"));
    }
    for caution in expression.cautions() {
        note(&caution.problem);
    }
    let program = expression.resolve(&names).map_err(|errors| refused(text, &errors))?;
    let context = Context {
        now: chrono::Utc::now(),
        seed: uuid::Uuid::new_v4().into_bytes(),
        default_domain: None,
        is_taken: None,
    };
    let (flow, trace) = program.trace(&row, &context);
    let trace = if arguments.trace { trace } else { Vec::new() };
    if form == OutputForm::Table {
        for Traced { expression, value } in &trace {
            output::line(output::visible(&format!("{expression} = {value}")));
        }
    }
    let flow = flow.map_err(|failure| {
        let (at, length) = (failure.span.start, failure.span.length);
        let hidden = "a value, which Redact hides, cannot be used";
        let problem = if program.is_redacted() { hidden.to_owned() } else { failure.problem };
        refused(text, &[ExpressionError { at, length, problem }])
    })?;
    match form {
        OutputForm::Json => {
            let mut result = BTreeMap::from([("value", json_value(&flow))]);
            if flow == Flow::Nothing {
                result.insert("flows", json!(false));
            }
            if arguments.trace {
                let step = |step: &Traced| json!({ "expression": step.expression, "value": step.value });
                result.insert("trace", trace.iter().map(step).collect());
            }
            output::json(&result)
        }
        OutputForm::Table => {
            print(&flow);
            Ok(())
        }
    }
}

fn note(text: &str) {
    writeln!(std::io::stderr().lock(), "note: {}", output::visible(text)).ok();
}

/// What is wrong, each with the expression below it and carets under the place.
fn refused(text: &str, errors: &[ExpressionError]) -> Failure {
    // One line, each character one column as far as that can be known.
    let letters: Vec<char> = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let mut lines = Vec::new();
    for ExpressionError { at, length, problem } in errors {
        let from = at.saturating_sub(SHOWN / 2).min(letters.len().saturating_sub(SHOWN));
        let to = (from + SHOWN).min(letters.len());
        let shown: String = letters.get(from..to).unwrap_or_default().iter().collect();
        let before = if from > 0 { "…" } else { "" };
        let after = if to < letters.len() { "…" } else { "" };
        let carets = (*length).clamp(1, (to + 1).saturating_sub(*at).max(1));
        let indent = at - from + before.chars().count();
        lines.push(format!("character {}: {problem}", at + 1));
        lines.push(format!("  {before}{shown}{after}"));
        lines.push(format!("  {}{}", " ".repeat(indent), "^".repeat(carets)));
    }
    Failure::configuration(lines.join("\n"))
}

fn read(file: &Path) -> Result<Map<String, Json>, Failure> {
    let name = file.display();
    let problem = |problem: String| Failure::configuration(format!("{name}: {problem}"));
    let mut text = String::new();
    let opened: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).map_err(|error| problem(format!("cannot be read: {error}")))?)
    };
    let read = opened.take(LARGEST + 1).read_to_string(&mut text);
    read.map_err(|error| problem(format!("cannot be read: {error}")))?;
    if text.len() as u64 > LARGEST {
        return Err(problem(format!("it is longer than {LARGEST} bytes")));
    }
    let form =
        "expected a JSON object of attributes and values, such as {\"givenName\": \"Åsa\", \"roles\": [\"a\", \"b\"]}";
    match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(Json::Object(values)) => Ok(values),
        Ok(_) => Err(problem(form.to_owned())),
        Err(error) => Err(problem(format!("{error}; {form}"))),
    }
}

/// The value of an attribute: under its name, or within others, as in `employeeOrgData.division`.
fn find<'a>(values: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    values.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        find(values.get(outer)?.as_object()?, inner)
    })
}

fn slot(values: &Map<String, Json>, name: &str) -> Slot {
    match find(values, name) {
        None | Some(Json::Null) => Slot::Null,
        Some(Json::Array(several)) => Slot::many(several.iter().filter_map(value).collect()),
        Some(one) => value(one).map_or(Slot::Null, Slot::One),
    }
}

fn value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(truth) => Value::Boolean(*truth),
        Json::String(text) => Value::text(text),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => {
                Decimal::parse(&number.to_string()).map_or_else(|| Value::text(&number.to_string()), Value::Decimal)
            }
        },
        Json::Array(_) => Value::text(&json.to_string()),
        Json::Object(members) => Value::Structure(
            members.iter().filter_map(|(name, member)| Some((name.as_str().into(), value(member)?))).collect(),
        ),
    })
}

/// Values as text, as a text attribute would receive them.
fn json_value(flow: &Flow) -> Json {
    match flow {
        Flow::Value(Slot::One(value)) => json!(as_text(value)),
        Flow::Value(Slot::Many(values)) => values.iter().map(as_text).collect(),
        Flow::Value(Slot::Null | Slot::Unknown) | Flow::Unknown | Flow::Nothing => Json::Null,
    }
}

fn print(flow: &Flow) {
    match flow {
        Flow::Value(Slot::One(value)) => output::line(output::visible(&as_text(value))),
        Flow::Value(Slot::Many(values)) => {
            for value in values {
                output::line(output::visible(&as_text(value)));
            }
        }
        Flow::Value(Slot::Null | Slot::Unknown) | Flow::Unknown => output::line("null"),
        Flow::Nothing => output::line("nothing flows: the target keeps what it has"),
    }
}
