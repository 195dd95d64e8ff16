//! Which source objects belong to a sync, as Entra's scoping filters say it: any of several conditions suffices, and
//! nothing but `IS NULL` holds of an attribute without a value.

use muster_expression::{Comparing, Condition, Nulls, Operator};
use muster_model::Row;
use serde::Serialize;

use crate::compile::Compiled;

/// Entra's scoping filters are case-sensitive.
const COMPARING: Comparing = Comparing { ignores_case: false, nulls: Nulls::Never };

/// A scope, resolved.
#[derive(Debug, Clone, Default)]
pub struct Scope(Vec<Vec<Clause>>);

#[derive(Debug, Clone)]
struct Clause {
    /// The attribute's position in [`Compiled::source_attributes`].
    position: usize,
    operator: Operator,
}

/// A condition of a scope, and whether it holds for an object.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedCondition {
    /// The condition.
    pub condition: String,
    /// Whether it holds; nothing where an attribute is not known yet.
    pub holds: Option<bool>,
    /// Its comparisons, with the attribute's value.
    pub comparisons: Vec<ExplainedComparison>,
}

/// One comparison of a condition.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedComparison {
    /// The comparison.
    pub comparison: String,
    /// The attribute's value.
    pub value: String,
    /// Whether it holds; nothing where the attribute is not known yet.
    pub holds: Option<bool>,
}

impl Scope {
    /// Resolves conditions; `position` answers where an attribute stands.
    pub(crate) fn resolve(conditions: &[Condition], mut position: impl FnMut(&str) -> usize) -> Self {
        let mut clauses = |condition: &Condition| -> Vec<Clause> {
            let all = condition.comparisons.iter();
            all.map(|comparison| Clause {
                position: position(&comparison.attribute),
                operator: comparison.operator.clone(),
            })
            .collect()
        };
        Self(conditions.iter().map(&mut clauses).collect())
    }

    /// Whether a source object belongs to the sync; `None` where that is not known yet.
    #[must_use]
    pub fn includes(&self, source: &Row) -> Option<bool> {
        if self.0.is_empty() {
            return Some(true);
        }
        let mut known = true;
        for condition in &self.0 {
            match holds(condition, source) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => known = false,
            }
        }
        known.then_some(false)
    }
}

fn holds(condition: &[Clause], source: &Row) -> Option<bool> {
    let mut known = true;
    for clause in condition {
        match clause.operator.holds(source.slot(clause.position), COMPARING) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => known = false,
        }
    }
    known.then_some(true)
}

impl Compiled {
    /// Each condition of the scope with its truth for a source object.
    pub(crate) fn explain_scope(&self, source: &Row) -> Vec<ExplainedCondition> {
        let explained = |(condition, clauses): (&Condition, &Vec<Clause>)| ExplainedCondition {
            condition: condition.to_string(),
            holds: holds(clauses, source),
            comparisons: clauses
                .iter()
                .zip(&condition.comparisons)
                .map(|(clause, comparison)| ExplainedComparison {
                    comparison: comparison.to_string(),
                    value: crate::takeover::shown_slot(source.slot(clause.position)),
                    holds: clause.operator.holds(source.slot(clause.position), COMPARING),
                })
                .collect(),
        };
        self.rules.scope.iter().zip(&self.scope.0).map(explained).collect()
    }
}
