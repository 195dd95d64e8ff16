//! Which source objects belong to a sync, as Entra's scoping filters say it: any of several conditions suffices, and
//! nothing but `IS NULL` holds of an attribute without a value.

use muster_expression::{Comparing, Comparison, Condition, Nulls, Operator};
use muster_model::Row;
use serde::Serialize;

use crate::compile::Compiled;
use crate::groups::{ScopeGroups, shown_membership};

/// Entra's scoping filters are case-sensitive.
const COMPARING: Comparing = Comparing { ignores_case: false, nulls: Nulls::Never };

/// A scope, resolved.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    conditions: Vec<Vec<Clause>>,
    /// The groups that it names.
    pub groups: Option<ScopeGroups>,
}

#[derive(Debug, Clone)]
enum Clause {
    /// What is so of an attribute.
    Attribute {
        /// Its position in [`Compiled::source_attributes`].
        position: usize,
        operator: Operator,
    },
    /// Whether the object is in a group.
    Member {
        /// The group's position among those that the scope names.
        group: usize,
        negated: bool,
    },
}

/// What an object is by itself, and in which groups.
#[derive(Debug, Clone, Copy)]
pub struct Scoped<'a> {
    /// Its attributes.
    pub source: &'a Row,
    /// The positions of the groups that it is in; nothing where that is not known.
    pub member_of: Option<&'a [usize]>,
}

impl Clause {
    fn holds(&self, object: Scoped<'_>) -> Option<bool> {
        match self {
            Self::Attribute { position, operator } => operator.holds(object.source.slot(*position), COMPARING),
            Self::Member { group, negated } => Some(object.member_of?.contains(group) != *negated),
        }
    }

    fn shown(&self, object: Scoped<'_>) -> String {
        match self {
            Self::Attribute { position, .. } => crate::takeover::shown_slot(object.source.slot(*position)),
            Self::Member { group, .. } => shown_membership(object.member_of.map(|groups| groups.contains(group))),
        }
    }
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
    /// Resolves conditions; `meaning` answers what a comparison asks for.
    pub(crate) fn resolve(
        conditions: &[Condition],
        groups: Option<ScopeGroups>,
        mut meaning: impl FnMut(&Comparison) -> Asks,
    ) -> Self {
        let mut clauses = |condition: &Condition| -> Vec<Clause> {
            let all = condition.comparisons.iter();
            all.map(|comparison| match meaning(comparison) {
                Asks::Attribute(position) => Clause::Attribute { position, operator: comparison.operator.clone() },
                Asks::Group { group, negated } => Clause::Member { group, negated },
            })
            .collect()
        };
        Self { conditions: conditions.iter().map(&mut clauses).collect(), groups }
    }

    /// Whether a source object belongs to the sync; `None` where that is not known yet.
    #[must_use]
    pub fn includes(&self, object: Scoped<'_>) -> Option<bool> {
        if self.conditions.is_empty() {
            return Some(true);
        }
        let mut known = true;
        for condition in &self.conditions {
            match holds(condition, object) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => known = false,
            }
        }
        known.then_some(false)
    }
}

/// What a comparison asks for.
pub(crate) enum Asks {
    /// The attribute at this position of the source's row.
    Attribute(usize),
    /// The group at this position among those that the scope names.
    Group { group: usize, negated: bool },
}

fn holds(condition: &[Clause], object: Scoped<'_>) -> Option<bool> {
    let mut known = true;
    for clause in condition {
        match clause.holds(object) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => known = false,
        }
    }
    known.then_some(true)
}

impl Compiled {
    /// Each condition of the scope with its truth for a source object.
    pub(crate) fn explain_scope(&self, object: Scoped<'_>) -> Vec<ExplainedCondition> {
        let explained = |(condition, clauses): (&Condition, &Vec<Clause>)| ExplainedCondition {
            condition: condition.to_string(),
            holds: holds(clauses, object),
            comparisons: clauses
                .iter()
                .zip(&condition.comparisons)
                .map(|(clause, comparison)| ExplainedComparison {
                    comparison: comparison.to_string(),
                    value: clause.shown(object),
                    holds: clause.holds(object),
                })
                .collect(),
        };
        self.rules.scope.iter().zip(&self.scope.conditions).map(explained).collect()
    }
}
