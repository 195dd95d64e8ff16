//! From what was written to what is evaluated: names become positions, patterns are compiled, once.

use std::fmt;

use muster_model::{Row, nearest};

use crate::evaluate::{CallStep, CompareStep, Context, Failure, Flow, Run, Step, Stop};
use crate::functions::Prepared;
use crate::node::{Kind, Node};
use crate::{Expression, ExpressionError, Traced, print};

/// An expression, resolved against a list of attributes: it reads rows that lie in that order.
pub struct Program {
    root: Step,
    text: Box<str>,
    is_redacted: bool,
    is_volatile: bool,
}

impl Expression {
    /// Resolves it against the attributes' names, in the order of the rows that it will read.
    ///
    /// # Errors
    /// Attributes that are not there, each with the nearest name that is.
    pub fn resolve<S: AsRef<str>>(&self, attributes: &[S]) -> Result<Program, Vec<ExpressionError>> {
        let mut resolver = Resolver { attributes, errors: Vec::new() };
        let root = resolver.step(&self.root);
        if !resolver.errors.is_empty() {
            // A guard of IIF is resolved beside the condition that it stands in.
            resolver.errors.sort_by_key(|error| error.at);
            resolver.errors.dedup();
            return Err(resolver.errors);
        }
        Ok(Program {
            root,
            text: self.to_string().into(),
            is_redacted: self.is_redacted(),
            is_volatile: self.is_volatile(),
        })
    }
}

struct Resolver<'s, S> {
    attributes: &'s [S],
    errors: Vec<ExpressionError>,
}

impl<S: AsRef<str>> Resolver<'_, S> {
    fn step(&mut self, node: &Node) -> Step {
        match &node.kind {
            Kind::Empty => Step::Empty,
            Kind::Word(word) => Step::Constant(muster_model::Value::text(word)),
            Kind::Constant(value) => Step::Constant(value.clone()),
            Kind::Attribute(name) => match self.attributes.iter().position(|known| known.as_ref() == name.as_ref()) {
                Some(position) => Step::Attribute(position, name.clone()),
                None => {
                    let near = nearest(name, self.attributes.iter().map(AsRef::as_ref));
                    let hint = near.map(|near| format!("; did you mean [{near}]?")).unwrap_or_default();
                    self.fail(node, format!("there is no attribute [{name}]{hint}"));
                    Step::Empty
                }
            },
            Kind::Compare(comparator, sides) => Step::Compare(Box::new(CompareStep {
                comparator: *comparator,
                left: self.step(&sides.0),
                right: self.step(&sides.1),
                text: print::to_text(node).into(),
                span: node.span,
            })),
            Kind::Call(function, arguments) => {
                let prepared = match function.prepare.map(|prepare| prepare(arguments)) {
                    None => Prepared::Nothing,
                    Some(Ok(prepared)) => prepared,
                    Some(Err((_, problem))) => {
                        self.fail(node, problem);
                        Prepared::Nothing
                    }
                };
                let mut guards = Vec::new();
                if let ("IIF", Some(condition)) = (function.name, arguments.first()) {
                    self.guards(condition, &mut guards);
                }
                Step::Call(Box::new(CallStep {
                    function,
                    arguments: arguments.iter().map(|argument| self.step(argument)).collect(),
                    prepared,
                    guards: guards.into(),
                    text: print::to_text(node).into(),
                    span: node.span,
                }))
            }
        }
    }

    fn fail(&mut self, node: &Node, problem: String) {
        self.errors.push(ExpressionError { at: node.span.start, length: node.span.length.max(1), problem });
    }

    /// The attributes of a condition, of which none may be empty. What `Coalesce` chooses among need not all be there.
    fn guards(&mut self, condition: &Node, guards: &mut Vec<Step>) {
        match &condition.kind {
            Kind::Attribute(_) => guards.push(self.step(condition)),
            Kind::Call(function, _) if function.name == "Coalesce" => guards.push(self.step(condition)),
            Kind::Call(_, arguments) => arguments.iter().for_each(|argument| self.guards(argument, guards)),
            Kind::Compare(_, sides) => {
                self.guards(&sides.0, guards);
                self.guards(&sides.1, guards);
            }
            Kind::Empty | Kind::Constant(_) | Kind::Word(_) => {}
        }
    }
}

impl Program {
    /// Evaluates it for one object.
    ///
    /// # Errors
    /// A function cannot use a value of the object.
    pub fn evaluate(&self, source: &Row, context: &Context<'_>) -> Result<Flow, Failure> {
        let run = Run::new(source, context, false);
        flow(run.value(&self.root).map(super::value::Datum::into_slot))
    }

    /// Evaluates it, and says what each part came to on the way.
    pub fn trace(&self, source: &Row, context: &Context<'_>) -> (Result<Flow, Failure>, Vec<Traced>) {
        let run = Run::new(source, context, true);
        let flow = flow(run.value(&self.root).map(super::value::Datum::into_slot));
        (flow, run.into_trace())
    }

    /// The expression's canonical text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether its value is another one each time, but for the same seed and time.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.is_volatile
    }

    /// Whether its value must not be shown where people look at changes.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.is_redacted
    }
}

fn flow(result: Result<muster_model::Slot, Stop>) -> Result<Flow, Failure> {
    match result {
        Ok(slot) => Ok(Flow::Value(slot)),
        Err(Stop::Unknown) => Ok(Flow::Unknown),
        Err(Stop::Nothing) => Ok(Flow::Nothing),
        Err(Stop::Failed(failure)) => Err(*failure),
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Program").field(&self.text).finish()
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Program {}
