//! How long the mappings of one object take.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use anyhow::anyhow;
use muster_expression::{Context, Expression, Program};
use muster_model::{Row, Slot, Value};

/// Fifteen mappings as administrators write them.
const MAPPINGS: [&str; 15] = [
    "[employeeId]",
    "[userPrincipalName]",
    "[mail]",
    "Join(\" \", [givenName], [surname])",
    "ToLower(Word([userPrincipalName], 1, \"@\"))",
    "Coalesce([mail], [userPrincipalName])",
    "IIF([country] = \"SE\", \"domestic\", \"abroad\")",
    "Switch([department], \"other\", \"Sales\", \"S\", \"Legal\", \"L\", \"IT\", \"I\")",
    "NormalizeDiacritics(StripSpaces(Join(\".\", [givenName], [surname])))",
    "Replace([phone], , \"[()\\\\s-]+\", , \"\", , )",
    "Append(Left([givenName], 1), Mid([surname], 1, 7))",
    "FormatDateTime([hired], , \"yyyy-MM-ddTHH:mm:ssZ\", \"yyyy-MM-dd\")",
    "PCase([city])",
    "Not([accountEnabled])",
    "IgnoreFlowIfNullOrEmpty([jobTitle])",
];

/// Objects evaluated in one measurement, and how many of these.
const OBJECTS: u32 = 100_000;
const ROUNDS: u32 = 5;

/// Prints the best of a few rounds: what else the machine does only makes it slower.
pub(crate) fn measure(output: &mut impl Write) -> anyhow::Result<()> {
    let values = [
        ("employeeId", Slot::text("10234")),
        ("userPrincipalName", Slot::text("Asa.Oberg@contoso.com")),
        ("mail", Slot::Null),
        ("givenName", Slot::text("Åsa")),
        ("surname", Slot::text("Öberg Lind")),
        ("country", Slot::text("SE")),
        ("department", Slot::text("Legal")),
        ("phone", Slot::text("+46 (70) 888-7777")),
        ("hired", Slot::text("2020-03-16T07:00:00Z")),
        ("city", Slot::text("STORA SUNDBY")),
        ("accountEnabled", Slot::One(Value::Boolean(true))),
        ("jobTitle", Slot::text("Lawyer")),
    ];
    let names = values.each_ref().map(|(name, _)| *name);
    let row = Row(values.into_iter().map(|(_, slot)| slot).collect());
    let program = |text: &&str| -> anyhow::Result<Program> {
        let expression = Expression::parse(text).map_err(|errors| anyhow!("{text}: {errors:?}"))?;
        expression.resolve(&names).map_err(|errors| anyhow!("{text}: {errors:?}"))
    };
    let programs = MAPPINGS.iter().map(program).collect::<anyhow::Result<Vec<_>>>()?;
    let context = Context { now: chrono::Utc::now(), seed: [0; 16], default_domain: None, is_taken: None };
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..OBJECTS {
            for program in &programs {
                drop(black_box(program.evaluate(black_box(&row), &context)));
            }
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(OBJECTS));
    }
    let microseconds = best * 1_000_000.0;
    writeln!(output, "{} mappings of an object: {microseconds:.2} µs on one core", MAPPINGS.len())?;
    for (text, program) in MAPPINGS.iter().zip(&programs) {
        let start = Instant::now();
        for _ in 0..OBJECTS {
            drop(black_box(program.evaluate(black_box(&row), &context)));
        }
        let nanoseconds = start.elapsed().as_secs_f64() / f64::from(OBJECTS) * 1e9;
        writeln!(output, "  {nanoseconds:5.0} ns  {text}")?;
    }
    Ok(())
}
