//! Expressions: as texts, on values, and with formats of dates.

use chrono::DateTime;
use muster_expression::functions::{Function, Takes, all};
use muster_expression::{Context, Expression, Flow, MAX_OUTPUT, parse_day, parse_instant};
use muster_model::{Row, Slot, Value};

use super::random::Random;
use super::records::slot;

const NAMES: [&str; 6] = ["text", "date", "many", "number", "any", "extensionAttribute1"];

const PIECES: [&str; 26] = [
    "[text]",
    "[many]",
    "[]",
    "[a\\]b]",
    "\"\"",
    "\"å\\\"\"",
    "<>",
    ">=",
    "&H",
    "&HFF",
    "-1",
    "0.5e3",
    "99999999999999999999",
    "True",
    "vbTextCompare",
    "Join(",
    "IIF(",
    "Switch(",
    "Replace([text], , \"",
    "DateAdd(\"d\", ",
    ",",
    ", ,",
    "(",
    ")",
    "//",
    "Redact(",
];

const PATTERNS: [&str; 34] = [
    "a",
    ".",
    "\\\\d",
    "\\\\w+",
    "\\\\s*",
    "\\\\b",
    "^",
    "$",
    "(",
    ")",
    "(?<n>",
    "(?:",
    "(?i)",
    "(?n:",
    "(?=",
    "[",
    "]",
    "[^a-z]",
    "[a-z-[aeiou]]",
    "|",
    "*",
    "+?",
    "{2,5}",
    "{99999}",
    "\\\\p{L}",
    "\\\\p{IsGreek}",
    "\\\\u00e5",
    "\\\\x41",
    "\\\\1",
    "\\\\k<n>",
    "\\\\A",
    "\\\\z",
    "#",
    "\\\\Q",
];

const FORMATS: [&str; 37] = [
    "d", "dd", "ddd", "dddd", "M", "MM", "MMM", "MMMM", "y", "yy", "yyy", "yyyy", "yyyyy", "h", "hh", "H", "HH", "m",
    "mm", "s", "ss", "f", "fff", "fffffff", "FFF", "t", "tt", "z", "zz", "zzz", "K", "g", "%", "'", ":", "/", "-",
];

const DATES: [&str; 16] = [
    "2026-03-29",
    "2026-03-29T02:30:00",
    "2026-03-29T02:30:00.1234567Z",
    "2026-03-29T02:30:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01",
    "1601-01-01",
    "3/29/2026 2:30:00 AM",
    "29 March 2026",
    "Sun, 29 Mar 2026 02:30:00 GMT",
    "20260329",
    "29.03.2026",
    "02:30",
    "9223372036854775807",
    "132539615990000000",
    "",
];

/// An expression that is well formed, if not always sensible.
fn sensible(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.one_in(4) {
        let leaves =
            ["1", "-2", "0", "0.5", "\"x\"", "\"\"", "\"2020-03-16\"", "\" -,\"", "\"d\"", "True", "vbTextCompare"];
        return if random.one_in(3) { random.pick(&leaves).to_owned() } else { format!("[{}]", random.pick(&NAMES)) };
    }
    let functions: Vec<&Function> = all().collect();
    let function = random.pick(&functions);
    match function.name {
        "Replace" if random.one_in(2) => return pattern(random),
        "FormatDateTime" if random.one_in(2) => return format_of_date(random),
        _ => {}
    }
    let count = function.parameters.len() + random.below(2) * 2;
    let arguments: Vec<String> = (0..count)
        .map(|position| match function.parameters.get(position).map(|parameter| parameter.takes) {
            Some(Takes::Number) if !random.one_in(5) => (random.below(12) as i64 - 2).to_string(),
            Some(Takes::Condition) => {
                let operator = random.pick(&["=", "<>", "<", ">", "<=", ">="]);
                format!("{} {operator} {}", sensible(random, depth - 1), sensible(random, depth - 1))
            }
            _ => sensible(random, depth - 1),
        })
        .collect();
    format!("{}({})", function.name, arguments.join(", "))
}

fn pattern(random: &mut Random) -> String {
    let pattern: String = (0..1 + random.below(7)).map(|_| random.pick(&PATTERNS)).collect();
    let replacement: String = (0..random.below(4))
        .map(|_| random.pick(&["$1", "${n}", "$$", "$_", "$&", "$0", "x", "$", "{", "$9"]))
        .collect();
    format!("Replace([text], , \"{pattern}\", , \"{replacement}\", , )")
}

fn format_of_date(random: &mut Random) -> String {
    let mut format = || -> String { (0..random.below(6)).map(|_| random.pick(&FORMATS)).collect() };
    let (from, to) = (format(), format());
    let source = random.pick(&["[date]", "[text]", "[any]"]);
    match random.below(3) {
        0 => format!("FormatDateTime({source}, , \"{from}\", \"{to}\")"),
        1 => format!("FormatDateTime({source}, , , \"{to}\")"),
        _ => format!(
            "FormatDateTime({source}, \"{}\", \"{from}\", \"{to}\")",
            random.pick(&["DateTimeStyles.None", "", "x"])
        ),
    }
}

fn written(random: &mut Random) -> String {
    let depth = 1 + random.below(4);
    match random.below(4) {
        0 => sensible(random, depth),
        1 | 2 => {
            let text = sensible(random, depth);
            random.damaged(&text, &PIECES)
        }
        _ => (0..random.below(24)).map(|_| random.pick(&PIECES)).collect(),
    }
}

/// Any text is refused with a place, or printed so that it reads the same.
pub(crate) fn parse(random: &mut Random, input: &mut String) -> Result<(), String> {
    let text = written(random);
    input.push_str(&text);
    let expression = match Expression::parse(&text) {
        Ok(expression) => expression,
        Err(errors) => {
            let length = text.chars().count();
            let placed =
                errors.iter().all(|error| error.at <= length && error.length >= 1 && !error.problem.is_empty());
            return if placed && !errors.is_empty() {
                Ok(())
            } else {
                Err(format!("refused without a place: {errors:?}"))
            };
        }
    };
    let printed = expression.to_string();
    let (attributes, functions) = (expression.attributes().len(), expression.functions().len());
    match Expression::parse(&printed) {
        Ok(again) if again == expression && again.to_string() == printed => {}
        other => return Err(format!("printed as {printed:?}, which reads as {other:?}")),
    }
    if attributes + functions > text.chars().count() {
        return Err("more attributes and functions than letters".to_owned());
    }
    Ok(())
}

/// The same values come to the same, with a trace and without, and to no more than an evaluation may make.
pub(crate) fn evaluate(random: &mut Random, input: &mut String) -> Result<(), String> {
    let depth = 1 + random.below(4);
    let text = sensible(random, depth);
    input.push_str(&text);
    run(&text, random, input)
}

/// Formats, and texts that may be dates.
pub(crate) fn dates(random: &mut Random, input: &mut String) -> Result<(), String> {
    let date = random.pick(&DATES);
    let text = if random.one_in(3) {
        date.to_owned()
    } else {
        random.damaged(date, &["T", "Z", "+", "-", ":", "PM", "Mar", " "])
    };
    input.push_str(&format!("{text:?} "));
    if let (Some(day), Some(instant)) = (parse_day(&text), parse_instant(&text))
        && instant.date_naive() != day
    {
        return Err(format!("it is the day {day}, and the moment {instant}"));
    }
    let expression = if random.one_in(3) {
        let unit = random.pick(&["d", "M", "yyyy", "yy", "h", "n", "s", "ww", "q", "x", ""]);
        let count = random.pick(&["1", "-1", "400", "-999999", "2147483647", "[number]"]);
        format!("DateAdd(\"{unit}\", {count}, [date])")
    } else {
        format_of_date(random)
    };
    input.push_str(&expression);
    run(&expression, random, input)
}

fn run(text: &str, random: &mut Random, input: &mut String) -> Result<(), String> {
    let Ok(expression) = Expression::parse(text) else { return Ok(()) };
    drop(expression.cautions());
    let Ok(program) = expression.resolve(&NAMES) else { return Ok(()) };
    let date = random.pick(&DATES).to_owned();
    let many = (0..random.below(5)).map(|_| Value::text(&random.text())).collect();
    let values = vec![
        Slot::text(&random.text()),
        Slot::text(&date),
        Slot::many(many),
        Slot::One(Value::Integer(random.pick(&[0, 1, -1, 7, i64::MAX, i64::MIN]))),
        slot(random, 2),
        slot(random, 2),
    ];
    let row = Row(values);
    input.push_str(&format!("\n  on {row:?}"));
    // From long before the calendar's begin to long after its end.
    let now = random.pick(&[0, 1_800_000_000_000, -62_135_596_800_000, 253_402_300_799_999]);
    let now = DateTime::from_timestamp_millis(now).unwrap_or_default();
    let context = Context { now, seed: random.seed(), default_domain: Some("contoso.com"), is_taken: None };
    let once = program.evaluate(&row, &context);
    let (traced, _) = program.trace(&row, &context);
    let again = program.evaluate(&row, &context);
    if format!("{once:?}") != format!("{again:?}") || format!("{once:?}") != format!("{traced:?}") {
        return Err(format!("it comes to {once:?}, then {again:?}, and with a trace {traced:?}"));
    }
    match once {
        Ok(Flow::Value(slot)) if size(&slot) > MAX_OUTPUT => Err(format!("it makes {} bytes", size(&slot))),
        Err(failure) if failure.problem.is_empty() => Err("it fails without a reason".to_owned()),
        _ => Ok(()),
    }
}

fn size(slot: &Slot) -> usize {
    let of = |value: &Value| if let Value::Text(text) = value { text.len() } else { 0 };
    match slot {
        Slot::One(value) => of(value),
        Slot::Many(values) => values.iter().map(of).sum(),
        Slot::Unknown | Slot::Null => 0,
    }
}
