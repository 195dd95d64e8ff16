//! Tests of the language as a whole.

mod cases;
mod documented;
mod limits;
mod messages;
mod random;

use muster_model::{Row, Slot, Value};

use crate::{Context, Expression, Flow, as_text, parse_instant};

pub(crate) const SEED: [u8; 16] = [7; 16];

pub(crate) fn context() -> Context<'static> {
    Context {
        now: parse_instant("2021-07-02T15:33:38Z").unwrap(),
        seed: SEED,
        default_domain: Some("contoso.com"),
        is_taken: None,
    }
}

/// What an expression comes to: texts in quotes, `null`, `nothing`, `unknown`, lists in brackets, or the failure.
pub(crate) fn outcome(text: &str, attributes: &[(&str, Slot)]) -> String {
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(errors) => return format!("refused: {}", errors[0]),
    };
    let printed = expression.to_string();
    assert_eq!(Expression::parse(&printed).as_ref(), Ok(&expression), "{text} was printed as {printed}");
    let names: Vec<&str> = attributes.iter().map(|(name, _)| *name).collect();
    let program = match expression.resolve(&names) {
        Ok(program) => program,
        Err(errors) => return format!("unresolved: {}", errors[0]),
    };
    let row = Row(attributes.iter().map(|(_, slot)| slot.clone()).collect());
    let flow = program.evaluate(&row, &context());
    assert_eq!(program.trace(&row, &context()).0, flow, "{text} came to something else when traced");
    shown(flow)
}

pub(crate) fn shown(flow: Result<Flow, crate::Failure>) -> String {
    let quoted = |value: &Value| format!("{:?}", as_text(value));
    match flow {
        Ok(Flow::Value(Slot::One(value))) => quoted(&value),
        Ok(Flow::Value(Slot::Many(values))) => {
            format!("[{}]", values.iter().map(quoted).collect::<Vec<_>>().join(", "))
        }
        Ok(Flow::Value(Slot::Null)) => "null".to_owned(),
        Ok(Flow::Value(Slot::Unknown)) => panic!("an unknown slot is no value"),
        Ok(Flow::Nothing) => "nothing".to_owned(),
        Ok(Flow::Unknown) => "unknown".to_owned(),
        Err(failure) => format!("failed: {}", failure.problem),
    }
}
