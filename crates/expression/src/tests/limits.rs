//! What an evaluation may cost.

use muster_model::{Row, Slot, Value};

use super::{context, outcome, shown};
use crate::{Context, Expression};

#[test]
fn no_expression_makes_without_end() {
    let long = Slot::text(&"a".repeat(100_000));
    let attributes = [("long", long)];
    let replace = "Replace([long], \"a\", , , [long], , )";
    assert!(outcome(replace, &attributes).contains("longer than"));
    assert!(outcome("Replace([long], , \"a\", , [long], , )", &attributes).contains("longer than"));
    let many = "[long], ".repeat(60);
    assert!(outcome(&format!("Join(\"\", {many}\"x\")"), &attributes).contains("longer than"));
    let mut nested = "[long]".to_owned();
    for _ in 0..60 {
        nested = format!("Append({nested}, [long])");
    }
    assert!(outcome(&nested, &attributes).contains("longer than"));
    assert!(
        outcome("Count(Split([many], \",\"))", &[("many", Slot::text(&"a,".repeat(10_001)))])
            .contains("more than 10000")
    );
}

#[test]
fn the_same_seed_gives_the_same_values_and_another_gives_others() {
    let program = Expression::parse("Join(\"\", Guid(), Guid(), RandomString(20, 1, 1, 1, 1))").unwrap();
    let program = program.resolve::<&str>(&[]).unwrap();
    let row = Row::default();
    let run = |seed| shown(program.evaluate(&row, &Context { seed, ..context() }));
    assert_eq!(run([1; 16]), run([1; 16]));
    let all: std::collections::HashSet<String> = (0..=255).map(|seed| run([seed; 16])).collect();
    assert_eq!(all.len(), 256);
    let guids = run([1; 16]);
    assert_ne!(guids.get(1..37), guids.get(37..73));
}

#[test]
fn taken_candidates_are_passed_over() {
    let program = Expression::parse("SelectUniqueValue([a], Append([a], \"1\"), Append([a], \"2\"))").unwrap();
    let program = program.resolve(&["a"]).unwrap();
    let row = Row(vec![Slot::One(Value::text("x"))]);
    let run = |taken: &[&str]| {
        let is_taken = |value: &str| taken.contains(&value);
        shown(program.evaluate(&row, &Context { is_taken: Some(&is_taken), ..context() }))
    };
    assert_eq!(run(&["x"]), "\"x1\"");
    assert_eq!(run(&["x", "x1"]), "\"x2\"");
    assert_eq!(run(&["x", "x1", "x2"]), "failed: SelectUniqueValue: all candidates are taken");
}
