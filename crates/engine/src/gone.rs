//! Target objects that are not there any more although nobody here deleted them: a person is told, and where they are
//! many, the next cycle reads the whole target again by itself.

use muster_connector::Outcome;
use muster_store::{EventRecord, OperationKind};

use crate::cycle::Engine;
use crate::error::EngineError;
use crate::pass::Progress;
use crate::prepare::Prepared;
use crate::report::Report;

/// So many may be gone before the rest is looked at as well.
const FEW: u64 = 10;

/// What a cycle noticed of linked objects.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    /// Linked objects that the target was asked to change.
    asked: u64,
    /// Those of them that are not there.
    missing: u64,
}

impl Gone {
    /// Takes note of what an operation was answered.
    pub(crate) fn note(&mut self, kind: OperationKind, outcome: &Outcome) {
        if matches!(kind, OperationKind::Create | OperationKind::Delete) {
            return;
        }
        self.asked += 1;
        self.missing += u64::from(*outcome == Outcome::Missing);
    }

    /// More than a fifth of those that were asked for, and more than a few.
    fn is_much(&self) -> bool {
        self.missing > FEW.max(self.asked / 5)
    }
}

impl Engine {
    /// Says how many were gone, and has the next cycle read the target again where they were many. A cycle that
    /// read it again has counted them already.
    pub(crate) async fn tell_gone(
        &self,
        prepared: &Prepared,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let seen = report.gone;
        report.gone += progress.gone.missing;
        if report.gone == 0 {
            return Ok(());
        }
        let name = &prepared.compiled.rules.name;
        let others = match (seen, progress.gone.is_much()) {
            (1.., _) => String::new(),
            (0, true) => "; the next cycle looks for the others by itself".to_owned(),
            (0, false) => format!("; `muster sync {name} --reconcile` looks for the others"),
        };
        let number = report.gone;
        report.notes.push(format!(
            "{number} objects of the target were gone, and whoever should have one gets it again{others}"
        ));
        progress.events.push(EventRecord {
            at: self.clock.now(),
            sync: prepared.sync,
            link: None,
            code: "gone".to_owned(),
            detail: number.to_string(),
        });
        if seen == 0 && progress.gone.is_much() {
            self.store.require_reconciliation(Some(prepared.sync)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_more_than_ten_and_more_than_a_fifth() {
        for (asked, missing, expected) in [(10, 10, false), (11, 11, true), (100, 20, false), (100, 21, true)] {
            assert_eq!(Gone { asked, missing }.is_much(), expected, "{missing} of {asked}");
        }
    }
}
