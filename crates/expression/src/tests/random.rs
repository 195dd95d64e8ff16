//! Random expressions: printed and read again they are the same, evaluated twice they come to the same, and nothing
//! panics. `cargo xtask fuzz` tries more, and longer.

use muster_model::{Row, Slot, Value};

use super::{context, shown};
use crate::Expression;
use crate::functions::all;
use crate::generator::Generator;

const NAMES: [&str; 5] = ["text", "null", "many", "number", "unknown"];

const PIECES: [&str; 36] = [
    "(",
    ")",
    ",",
    "[",
    "]",
    "\"",
    "\\",
    "=",
    "<>",
    ">=",
    "&H",
    "-1",
    "0.5e3",
    "[text]",
    "[null]",
    "[many]",
    "\"å\\\"\"",
    "\"\"",
    " ",
    "Join(",
    "IIF(",
    "Replace([text], , \"",
    "Switch(",
    "True",
    "vbTextCompare",
    "😀",
    "\u{0}",
    "(?<n>",
    "\\\\d+",
    "$1",
    "{",
    "DateAdd(\"d\", ",
    "FormatDateTime(",
    "\"yyyy-MM-dd\"",
    "99999999999999999999",
    "'",
];

fn rows() -> Vec<Row> {
    let texts = ["", "John", "2020-03-16T07:00:00Z", "True", "-7", "Åsa 東京 😀", "a,b;c d", "\\${n}$1(["];
    let row = |text: &str| {
        let unknown = if text.is_empty() { Slot::Unknown } else { Slot::text("known") };
        let many = Slot::many(vec![Value::text(text), Value::Integer(3), Value::Boolean(true)]);
        Row(vec![Slot::text(text), Slot::Null, many, Slot::One(Value::Integer(3)), unknown])
    };
    texts.map(row).into()
}

/// An expression that is well formed, if not always sensible.
fn sensible(generator: &mut Generator, depth: usize) -> String {
    let leaves = ["1", "-2", "0", "\"x\"", "\"\"", "\"2020-03-16\"", "\" -,\"", "\"d\"", "True"];
    if depth == 0 || generator.below(4) == 0 {
        return match generator.below(2) {
            0 => format!("[{}]", NAMES[generator.below(NAMES.len())]),
            _ => leaves[generator.below(leaves.len())].to_owned(),
        };
    }
    let functions: Vec<_> = all().collect();
    let function = functions[generator.below(functions.len())];
    if matches!(function.name, "Replace" | "FormatDateTime") || generator.below(3) == 0 {
        let ready = [
            "Replace([text], , \"(?<n>[a-z]+)|\\\\s*\", , \"<$1${n}>\", , )",
            "Replace([text], \"a\", , , [number], , )",
            "FormatDateTime([text], , , \"ddd, d MMMM yyyy K\")",
            "FormatDateTime([text], , \"yyyy-MM-ddTHH:mm:ssK\", [text])",
            "IIF([text] > \"K\", [many], [number])",
        ];
        return ready[generator.below(ready.len())].to_owned();
    }
    let count = function.parameters.len() + generator.below(2) * 2;
    let arguments: Vec<String> = (0..count)
        .map(|position| match function.parameters.get(position).map(|parameter| parameter.takes) {
            Some(crate::functions::Takes::Number) => generator.below(9).to_string(),
            Some(crate::functions::Takes::Condition) => {
                format!("{} = {}", sensible(generator, depth - 1), sensible(generator, depth - 1))
            }
            _ => sensible(generator, depth - 1),
        })
        .collect();
    format!("{}({})", function.name, arguments.join(","))
}

fn noise(generator: &mut Generator) -> String {
    (0..generator.below(24)).map(|_| PIECES[generator.below(PIECES.len())]).collect()
}

/// A well-formed one with a piece put in or a part taken out.
fn damaged(generator: &mut Generator) -> String {
    let mut letters: Vec<char> = sensible(generator, 3).chars().collect();
    let at = generator.below(letters.len());
    let end = (at + generator.below(6)).min(letters.len());
    letters.splice(at..end, PIECES[generator.below(PIECES.len())].chars());
    letters.into_iter().collect()
}

/// Whether it was an expression.
fn examine(text: &str, rows: &[Row]) -> bool {
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(errors) => {
            assert!(!errors.is_empty(), "{text:?} was refused without a reason");
            let length = text.chars().count();
            for error in errors {
                assert!(error.at <= length && error.length >= 1 && !error.problem.is_empty(), "{text:?}: {error:?}");
            }
            return false;
        }
    };
    let printed = expression.to_string();
    assert_eq!(Expression::parse(&printed).as_ref(), Ok(&expression), "{text:?} was printed as {printed:?}");
    let Ok(program) = expression.resolve(&NAMES) else { return true };
    for row in rows {
        let once = shown(program.evaluate(row, &context()));
        assert_eq!(once, shown(program.evaluate(row, &context())), "{text:?}");
        assert_eq!(once, shown(program.trace(row, &context()).0), "{text:?}");
    }
    true
}

const ROUNDS: u64 = 3_000;

#[test]
fn random_expressions_do_no_harm() {
    let rows = rows();
    let mut understood = 0_u64;
    for round in 0..ROUNDS {
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&round.to_le_bytes());
        let mut generator = Generator::new(seed);
        let depth = 1 + generator.below(4);
        for text in [sensible(&mut generator, depth), damaged(&mut generator), noise(&mut generator)] {
            understood += u64::from(examine(&text, &rows));
        }
    }
    assert!(understood > ROUNDS / 4, "only {understood} of {ROUNDS} rounds gave an expression");
}
