//! The tree of an expression.

use muster_model::Value;

use crate::functions::Function;

/// A part of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// The first character, from 0.
    pub start: usize,
    /// How many characters.
    pub length: usize,
}

impl Span {
    /// From the beginning of this one to the end of the other.
    pub(crate) fn to(self, end: Self) -> Self {
        Self { start: self.start, length: (end.start + end.length).saturating_sub(self.start) }
    }
}

/// A part of an expression, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Nothing between two commas.
    Empty,
    /// `[name]`
    Attribute(Box<str>),
    /// A text, a number or a truth value.
    Constant(Value),
    /// `vbTextCompare` and the like.
    Word(&'static str),
    /// `Name(…)`
    Call(&'static Function, Vec<Node>),
    /// `left = right`
    Compare(Comparator, Box<(Node, Node)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparator {
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        }
    }
}

impl Node {
    /// Calls `look` with this node and all below it, in the order of the text.
    pub(crate) fn visit<'a>(&'a self, look: &mut impl FnMut(&'a Self)) {
        look(self);
        match &self.kind {
            Kind::Call(_, arguments) => arguments.iter().for_each(|argument| argument.visit(look)),
            Kind::Compare(_, sides) => {
                sides.0.visit(look);
                sides.1.visit(look);
            }
            Kind::Empty | Kind::Attribute(_) | Kind::Constant(_) | Kind::Word(_) => {}
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kind == Kind::Empty
    }

    /// The constant text that stands here.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Constant(Value::Text(text)) => Some(text),
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn is_text(&self, text: &str) -> bool {
        matches!(&self.kind, Kind::Constant(Value::Text(own)) if own.as_ref() == text)
    }
}
