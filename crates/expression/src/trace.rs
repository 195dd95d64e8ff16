//! What each part of an expression came to.

/// One step of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// The part of the expression.
    pub expression: String,
    /// What it came to, for people: texts in double quotes, `null`, several values in square brackets.
    pub value: String,
}

/// What is shown of a value that `Redact` hides.
pub(crate) const REDACTED: &str = "[Redact]";
