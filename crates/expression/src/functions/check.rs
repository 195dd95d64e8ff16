//! What can be said of a call before it is evaluated.

use muster_model::Value;

use super::{Function, Need, Takes};
use crate::ExpressionError;
use crate::node::{Kind, Node, Span};

/// Examines the arguments of a call; blank ones too many at its end are dropped.
pub(crate) fn arguments(function: &Function, arguments: &mut Vec<Node>, span: Span, errors: &mut Vec<ExpressionError>) {
    let mut fail = |span: Span, problem: String| {
        errors.push(ExpressionError { at: span.start, length: span.length.max(1), problem });
    };
    let parameters = function.parameters;
    let repeats = parameters.iter().any(|parameter| parameter.need == Need::Repeated);
    if !repeats {
        while arguments.len() > parameters.len() && arguments.last().is_some_and(Node::is_empty) {
            arguments.pop();
        }
    }
    let least =
        parameters.iter().take_while(|parameter| matches!(parameter.need, Need::Required | Need::Blank)).count();
    if arguments.len() < least || (!repeats && arguments.len() > parameters.len()) {
        let found = match arguments.len() {
            0 => "none stands here".to_owned(),
            1 => "1 stands here".to_owned(),
            more => format!("{more} stand here"),
        };
        fail(span, format!("the arguments are {}, but {found}", function.signature()));
        return;
    }
    let before = errors.len();
    for (position, argument) in arguments.iter().enumerate() {
        let Some(parameter) = parameters.get(position).or_else(|| parameters.last()) else { continue };
        let mut fail = |problem: String| {
            let Span { start, length } = argument.span;
            errors.push(ExpressionError { at: start, length: length.max(1), problem });
        };
        match &argument.kind {
            Kind::Empty if parameter.need == Need::Required => {
                fail(format!("{} is missing: {}", parameter.name, function.signature()));
            }
            Kind::Compare(..) if parameter.takes != Takes::Condition => {
                fail("a comparison stands only in the first argument of IIF or CBool".to_owned());
            }
            Kind::Constant(value) if parameter.takes == Takes::Number && !is_number(value) => {
                fail(format!("{} must be a whole number: {}", parameter.name, function.signature()));
            }
            Kind::Word(word) if function.name != "InStr" => {
                fail(format!("{word} belongs to InStr"));
            }
            _ => {}
        }
    }
    if errors.len() > before {
        return;
    }
    if let Some(prepare) = function.prepare
        && let Err((position, problem)) = prepare(arguments)
    {
        let span = arguments.get(position).map_or(span, |argument| argument.span);
        errors.push(ExpressionError { at: span.start, length: span.length.max(1), problem });
    }
}

fn is_number(value: &Value) -> bool {
    match value {
        Value::Integer(_) => true,
        Value::Text(text) => text.trim().parse::<i64>().is_ok(),
        _ => false,
    }
}
