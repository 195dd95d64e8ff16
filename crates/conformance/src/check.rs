//! What a check is, and the list of all.

use futures::future::BoxFuture;

use crate::bench::{Bench, Verdict};
use crate::checks;

pub(crate) type Run = for<'a> fn(&'a Bench<'a>) -> BoxFuture<'a, Verdict>;

/// One thing that the contract asks of a connector.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name, such as `identity.create_twice`; never given to another check.
    pub id: &'static str,
    /// What it is performed on.
    pub scope: Scope,
    /// What goes wrong at a customer's where it does not hold.
    pub reason: &'static str,
    /// The sentence of the contract that it proves.
    pub sentence: &'static str,
    pub(crate) run: Run,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Check").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a check is performed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Once for the connection.
    Connection,
    /// Each type that is a source.
    Source,
    /// Each type that is a target.
    Target,
}

/// A row of the table of checks.
macro_rules! check {
    ($id:literal, $scope:ident, $run:path, $sentence:literal, $reason:literal) => {
        $crate::check::Check {
            id: $id,
            scope: $crate::check::Scope::$scope,
            reason: $reason,
            sentence: $sentence,
            run: |bench| Box::pin($run(bench)),
        }
    };
}
pub(crate) use check;

/// All checks, in the order in which they are performed.
pub fn all() -> impl Iterator<Item = &'static Check> {
    checks::GROUPS.iter().flat_map(|group| group.iter())
}
