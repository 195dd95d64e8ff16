//! From a row to a value.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use chrono::{DateTime, Utc};
use muster_model::{Row, Slot, Value};

use crate::functions::{Function, Prepared};
use crate::generator::Generator;
use crate::node::{Comparator, Span};
use crate::trace::{REDACTED, Traced};
use crate::value::{Datum, Scalar};
use crate::{MAX_OUTPUT, MAX_VALUES};

/// What an evaluation gets from outside.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What `Now` says.
    pub now: DateTime<Utc>,
    /// What `Guid` and `RandomString` make their values of: the same seed gives the same values.
    pub seed: [u8; 16],
    /// What `DefaultDomain` says, where it is known.
    pub default_domain: Option<&'a str>,
    /// Whether `SelectUniqueValue` must pass over a value; without it the first one is taken.
    pub is_taken: Option<&'a dyn Fn(&str) -> bool>,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Context").field("now", &self.now).finish_non_exhaustive()
    }
}

/// What an evaluation comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// This; never [`Slot::Unknown`].
    Value(Slot),
    /// An attribute that matters is not known yet.
    Unknown,
    /// The attribute does not flow: `IgnoreFlowIfNullOrEmpty` found nothing.
    Nothing,
}

/// Why an object's values make no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Failure {
    /// The part of the expression.
    pub span: Span,
    /// The function, what it found and what it expected; names the value.
    pub problem: String,
}

/// Why an evaluation ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    Unknown,
    Nothing,
    Failed(Box<Failure>),
}

/// A part of a program.
#[derive(Debug)]
pub(crate) enum Step {
    Empty,
    Attribute(usize, Box<str>),
    Constant(Value),
    Call(Box<CallStep>),
    Compare(Box<CompareStep>),
}

#[derive(Debug)]
pub(crate) struct CallStep {
    pub(crate) function: &'static Function,
    pub(crate) arguments: Box<[Step]>,
    pub(crate) prepared: Prepared,
    /// What must have a value for IIF's condition to hold.
    pub(crate) guards: Box<[Step]>,
    pub(crate) text: Box<str>,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct CompareStep {
    pub(crate) comparator: Comparator,
    pub(crate) left: Step,
    pub(crate) right: Step,
    pub(crate) text: Box<str>,
    pub(crate) span: Span,
}

/// One evaluation under way.
pub(crate) struct Run<'a> {
    pub(crate) source: &'a Row,
    pub(crate) context: &'a Context<'a>,
    pub(crate) generator: Cell<Generator>,
    budget: Cell<usize>,
    trace: Option<RefCell<Vec<Traced>>>,
    redacting: Cell<bool>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(source: &'a Row, context: &'a Context<'a>, is_traced: bool) -> Self {
        Self {
            source,
            context,
            generator: Cell::new(Generator::new(context.seed)),
            budget: Cell::new(MAX_OUTPUT),
            trace: is_traced.then(RefCell::default),
            redacting: Cell::new(false),
        }
    }

    pub(crate) fn into_trace(self) -> Vec<Traced> {
        self.trace.map(RefCell::into_inner).unwrap_or_default()
    }

    pub(crate) fn value(&self, step: &'a Step) -> Result<Datum<'a>, Stop> {
        match step {
            Step::Empty => Ok(Datum::Null),
            Step::Constant(value) => Ok(Datum::One(Scalar::of(value))),
            Step::Attribute(position, name) => {
                let value = Datum::of(self.source.slot(*position)).ok_or(Stop::Unknown)?;
                if self.trace.is_some() {
                    self.note(&format!("[{name}]"), &value);
                }
                Ok(value)
            }
            Step::Compare(step) => {
                let holds = self.compare(step)?;
                self.note(&step.text, &Datum::truth(holds));
                Ok(Datum::truth(holds))
            }
            Step::Call(step) => {
                if step.function.name == "Redact" {
                    self.redacting.set(true);
                }
                let value = (step.function.run)(&Call { step, run: self })?;
                self.spend(step, &value)?;
                self.note(&step.text, &value);
                Ok(value)
            }
        }
    }

    /// Whatever is made counts, so that no expression makes without end.
    fn spend(&self, step: &CallStep, value: &Datum<'_>) -> Result<(), Stop> {
        if value.count() > MAX_VALUES {
            return Err(failed(step, &format!("more than {MAX_VALUES} values")));
        }
        let left = self.budget.get().checked_sub(value.size());
        self.budget.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| failed(step, &format!("the texts made are longer than {MAX_OUTPUT} bytes")))
    }

    fn note(&self, text: &str, value: &Datum<'_>) {
        let Some(trace) = &self.trace else { return };
        let value = if self.redacting.get() { REDACTED.to_owned() } else { value.shown() };
        let step = Traced { expression: text.to_owned(), value };
        let mut steps = trace.borrow_mut();
        if !steps.contains(&step) && steps.len() < MAX_VALUES {
            steps.push(step);
        }
    }

    fn compare(&self, step: &'a CompareStep) -> Result<bool, Stop> {
        let side = |side: &'a Step| match self.value(side)? {
            Datum::Null => Ok(None),
            Datum::One(value) => Ok(Some(value)),
            Datum::Many(mut values) if values.len() == 1 => Ok(values.pop()),
            Datum::Many(_) => {
                let problem = "a comparison is of one value, and here are several; choose one with Item".to_owned();
                Err(Stop::Failed(Box::new(Failure { span: step.span, problem })))
            }
        };
        let left = side(&step.left)?;
        let right = side(&step.right)?;
        Ok(crate::functions::compare(step.comparator, left.as_ref(), right.as_ref()))
    }
}

fn failed(step: &CallStep, problem: &str) -> Stop {
    let problem = format!("{}: {problem}", step.function.name);
    Stop::Failed(Box::new(Failure { span: step.span, problem }))
}

/// A call under evaluation: its arguments are evaluated when they are asked for.
pub(crate) struct Call<'r, 'a> {
    pub(crate) step: &'a CallStep,
    pub(crate) run: &'r Run<'a>,
}

impl<'a> Call<'_, 'a> {
    pub(crate) fn count(&self) -> usize {
        self.step.arguments.len()
    }

    pub(crate) fn fail(&self, problem: impl AsRef<str>) -> Stop {
        failed(self.step, problem.as_ref())
    }

    fn name(&self, position: usize) -> &'static str {
        let parameters = self.step.function.parameters;
        parameters.get(position).or_else(|| parameters.last()).map_or("", |parameter| parameter.name)
    }

    pub(crate) fn value(&self, position: usize) -> Result<Datum<'a>, Stop> {
        self.step.arguments.get(position).map_or(Ok(Datum::Null), |step| self.run.value(step))
    }

    /// The one value; `None` for null.
    pub(crate) fn scalar(&self, position: usize) -> Result<Option<Scalar<'a>>, Stop> {
        match self.value(position)? {
            Datum::Null => Ok(None),
            Datum::One(value) => Ok(Some(value)),
            Datum::Many(mut values) if values.len() == 1 => Ok(values.pop()),
            Datum::Many(values) => {
                let name = self.name(position);
                let many = values.len();
                Err(self
                    .fail(format!("{name} has {many} values; choose one with Item, or put them together with Join")))
            }
        }
    }

    pub(crate) fn text(&self, position: usize) -> Result<Option<Cow<'a, str>>, Stop> {
        // Most arguments are texts of the source or constants.
        if let Some(Step::Constant(Value::Text(text))) = self.step.arguments.get(position) {
            return Ok(Some(Cow::Borrowed(text)));
        }
        Ok(self.scalar(position)?.map(Scalar::into_text))
    }

    pub(crate) fn integer(&self, position: usize) -> Result<Option<i64>, Stop> {
        let Some(value) = self.scalar(position)?.filter(|value| !value.is_empty()) else { return Ok(None) };
        match value.integer() {
            Some(number) => Ok(Some(number)),
            None => Err(self.unfit(position, &value, "no whole number")),
        }
    }

    pub(crate) fn instant(&self, position: usize) -> Result<Option<DateTime<Utc>>, Stop> {
        let Some(value) = self.scalar(position)?.filter(|value| !value.is_empty()) else { return Ok(None) };
        match value.instant() {
            Some(instant) => Ok(Some(instant)),
            None => Err(self.unfit(position, &value, "no date or time that can be read")),
        }
    }

    pub(crate) fn truth(&self, position: usize) -> Result<Option<bool>, Stop> {
        let Some(value) = self.scalar(position)?.filter(|value| !value.is_empty()) else { return Ok(None) };
        match value.truth() {
            Some(truth) => Ok(Some(truth)),
            None => Err(self.unfit(position, &value, "neither true nor false")),
        }
    }

    pub(crate) fn unfit(&self, position: usize, value: &Scalar<'_>, what: &str) -> Stop {
        let text = value.text();
        let mut shown: String = text.chars().take(60).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        self.fail(format!("{} is {shown:?}, {what}", self.name(position)))
    }
}
