//! What was written, understood.

use std::fmt;

use muster_model::Value;

use crate::functions::Function;
use crate::node::{Kind, Node};
use crate::{MAX_LENGTH, parser, print};

/// A parsed mapping expression. Two are equal if they mean the same, wherever their parts stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    pub(crate) root: Node,
}

impl Eq for Expression {}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at character {}", at + 1)]
pub struct ExpressionError {
    /// The first character to blame, from 0.
    pub at: usize,
    /// How many characters are to blame; at least 1.
    pub length: usize,
    /// What is wrong and what was expected.
    pub problem: String,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// The text is none, or uses what is not understood: everything that is wrong, in the order of the text, at
    /// least one.
    pub fn parse(text: &str) -> Result<Self, Vec<ExpressionError>> {
        if text.chars().nth(MAX_LENGTH).is_some() {
            let problem = format!("the expression is longer than {MAX_LENGTH} characters");
            return Err(vec![ExpressionError { at: MAX_LENGTH, length: 1, problem }]);
        }
        parser::parse(text).map(|root| Self { root })
    }

    /// The source attributes it reads, each once, in the order of the text.
    #[must_use]
    pub fn attributes(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.root.visit(&mut |node| {
            if let Kind::Attribute(name) = &node.kind
                && !names.contains(&name.as_ref())
            {
                names.push(name.as_ref());
            }
        });
        names
    }

    /// The attribute, where it is nothing but one.
    #[must_use]
    pub fn direct(&self) -> Option<&str> {
        match &self.root.kind {
            Kind::Attribute(name) => Some(name),
            _ => None,
        }
    }

    /// The value, where it is nothing but a constant.
    #[must_use]
    pub fn constant(&self) -> Option<&Value> {
        match &self.root.kind {
            Kind::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// The functions that it calls, each once, in the order of the text.
    #[must_use]
    pub fn functions(&self) -> Vec<&'static Function> {
        let mut functions: Vec<&'static Function> = Vec::new();
        self.root.visit(&mut |node| {
            if let Kind::Call(function, _) = &node.kind
                && !functions.contains(function)
            {
                functions.push(function);
            }
        });
        functions
    }

    /// Whether its value is another one each time, so that it may only flow when an object is created.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.functions().iter().any(|function| function.volatile)
    }

    /// Whether its value must not be shown where people look at changes (`Redact`).
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.functions().iter().any(|function| function.name == "Redact")
    }

    /// What is allowed, and hardly meant.
    #[must_use]
    pub fn cautions(&self) -> Vec<ExpressionError> {
        let mut cautions = Vec::new();
        self.root.visit(&mut |node| {
            let Kind::Call(function, arguments) = &node.kind else { return };
            if let ("IIF", Some(condition)) = (function.name, arguments.first()) {
                never_holds(condition, &mut cautions);
            }
        });
        cautions
    }
}

/// Entra's rule that a condition fails where its source attribute is empty makes a test for just that useless.
fn never_holds(condition: &Node, cautions: &mut Vec<ExpressionError>) {
    let tested = match &condition.kind {
        Kind::Call(function, _) if matches!(function.name, "IsNull" | "IsNullOrEmpty") => function.name,
        Kind::Compare(_, sides) if [&sides.0, &sides.1].iter().any(|side| side.is_text("")) => "the empty text",
        _ => return,
    };
    let problem = format!(
        "{tested} in IIF's condition has no use, because in Entra and here a condition fails where its attribute is empty; write Coalesce, or Switch with the key \"\""
    );
    cautions.push(ExpressionError { at: condition.span.start, length: condition.span.length, problem });
}

/// The expression's canonical text, which parses to the same expression.
impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::node(&self.root, formatter)
    }
}
