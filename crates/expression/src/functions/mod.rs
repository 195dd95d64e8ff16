//! The functions: one table that evaluates them and that their reference is made from.

pub(crate) mod check;
mod generated;
mod lists;
mod logic;
mod numbers;
mod replace;
mod roles;
mod text;
mod time;
mod words;

use std::fmt;

use crate::evaluate::{Call, Stop};
use crate::node::Node;
use crate::value::Datum;

pub(crate) use logic::compare;
pub(crate) use replace::Replacing;
pub(crate) use time::Formats;

/// Words that stand for themselves.
pub(crate) const WORDS: [&str; 2] = ["vbBinaryCompare", "vbTextCompare"];

/// A function.
pub struct Function {
    /// Its name, as Microsoft writes it.
    pub name: &'static str,
    /// What it takes.
    pub parameters: &'static [Parameter],
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Edge cases, and what was chosen where Microsoft's documentation is silent or contradicts itself.
    pub notes: &'static [&'static str],
    /// Examples, each of them tested.
    pub examples: &'static [Example],
    /// Its value is another one each time.
    pub volatile: bool,
    pub(crate) run: Run,
    /// What can be made ready from constant arguments, or is wrong with them: an argument's position and the problem.
    pub(crate) prepare: Option<Prepare>,
}

/// What a call's arguments make ready, or which of them is wrong and why.
pub(crate) type Prepare = fn(&[Node]) -> Result<Prepared, (usize, String)>;

pub(crate) type Run = for<'a> fn(&Call<'_, 'a>) -> Result<Datum<'a>, Stop>;

/// What was made ready when the expression was resolved.
#[derive(Debug)]
pub(crate) enum Prepared {
    Nothing,
    Replacing(Box<Replacing>),
    Formats(Formats),
}

/// One parameter.
#[derive(Debug)]
pub struct Parameter {
    /// Its name, as Microsoft writes it.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Whether it must be given.
    pub need: Need,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A text; a number, truth value or time counts as its text.
    Text,
    /// A whole number.
    Number,
    /// A time, or the text of one.
    Time,
    /// Something true or false; a comparison may stand here.
    Condition,
    /// Any value, also several.
    Any,
}

/// Whether a parameter must be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It must be.
    Required,
    /// Its place must be there, and may be left empty.
    Blank,
    /// It may be left out.
    Optional,
    /// It may come any number of times.
    Repeated,
}

/// One example.
#[derive(Debug)]
pub struct Example {
    /// The expression.
    pub expression: &'static str,
    /// The attributes, each with its values: none is null.
    pub given: &'static [(&'static str, &'static [&'static str])],
    /// What it comes to.
    pub result: Expected,
}

/// What an example comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// This text.
    Text(&'static str),
    /// These values.
    Values(&'static [&'static str]),
    /// Null.
    Null,
    /// The attribute does not flow.
    Nothing,
    /// Something else each time, such as this, described by a pattern.
    Like(&'static str, &'static str),
    /// The object is parked for this reason.
    Fails(&'static str),
}

impl Function {
    /// How it is called, such as `Left(String, NumChars)`.
    #[must_use]
    pub fn signature(&self) -> String {
        let parameters = self.parameters.iter().map(|parameter| match parameter.need {
            Need::Optional => format!("[{}]", parameter.name),
            Need::Repeated => format!("{}, …", parameter.name),
            Need::Required | Need::Blank => parameter.name.to_owned(),
        });
        format!("{}({})", self.name, parameters.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

const FAMILIES: [&[Function]; 9] = [
    text::FUNCTIONS,
    words::FUNCTIONS,
    replace::FUNCTIONS,
    logic::FUNCTIONS,
    lists::FUNCTIONS,
    numbers::FUNCTIONS,
    time::FUNCTIONS,
    generated::FUNCTIONS,
    roles::FUNCTIONS,
];

/// All functions.
pub fn all() -> impl Iterator<Item = &'static Function> {
    FAMILIES.into_iter().flatten()
}

/// The function of that name, in any case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name.eq_ignore_ascii_case(name))
}

pub(crate) const fn required(name: &'static str, takes: Takes) -> Parameter {
    Parameter { name, takes, need: Need::Required }
}

pub(crate) const fn blank(name: &'static str, takes: Takes) -> Parameter {
    Parameter { name, takes, need: Need::Blank }
}

pub(crate) const fn optional(name: &'static str, takes: Takes) -> Parameter {
    Parameter { name, takes, need: Need::Optional }
}

pub(crate) const fn repeated(name: &'static str, takes: Takes) -> Parameter {
    Parameter { name, takes, need: Need::Repeated }
}

/// A function of whole meaning: notes and examples are added where they are needed.
pub(crate) const fn function(
    name: &'static str,
    parameters: &'static [Parameter],
    about: &'static str,
    run: Run,
) -> Function {
    Function { name, parameters, about, notes: &[], examples: &[], volatile: false, run, prepare: None }
}

pub(crate) const fn example(
    expression: &'static str,
    given: &'static [(&'static str, &'static [&'static str])],
    result: Expected,
) -> Example {
    Example { expression, given, result }
}
