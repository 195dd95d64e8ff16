//! The end of a full read: what it did not see is gone, unless the source returned far less than before.

use crate::commit::CommitPoint;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::prepare::Prepared;
use crate::report::Report;
use crate::rules::SyncRules;

/// Objects removed in one transaction.
const SLICE: u32 = 5_000;

impl Engine {
    /// Sweeps a complete generation and lets old removals become final.
    pub(crate) async fn sweep(&self, prepared: &Prepared, report: &mut Report) -> Result<(), EngineError> {
        let rules = &prepared.compiled.rules;
        // Source objects are shared by all syncs that read them, so the most careful of their rules count.
        let shares = |other: &&SyncRules| {
            other.source_connection == rules.source_connection && other.source_type == rules.source_type
        };
        let mut sharing: Vec<&SyncRules> = self.syncs.iter().filter(shares).collect();
        sharing.push(rules);
        let (now, lifecycle) = (self.clock.now(), self.clock.lifecycle());
        let source = &prepared.source;
        let standing = self.store.source_type(source.connection, &source.object_type.name).await?;
        if standing.unswept && standing.round == muster_store::Round::Idle {
            let (all, seen) = self.store.live_objects(source.id).await?;
            let missing = all - seen;
            let allowed = sharing.iter().map(|rules| rules.guard.missing.of(all)).min().unwrap_or(0);
            if missing > allowed {
                report.notes.push(format!(
                    "the source returned {seen} objects where {all} were known; {missing} missing ones are left as they are, \
                     because at most {allowed} may go missing in one full read. If they are really gone, raise \
                     syncs.{}.guard.missing and run again",
                    rules.name
                ));
            } else {
                if missing > 0 {
                    tracing::info!(missing, "what a full read did not see is removed");
                }
                while self.store.sweep(source.id, now, SLICE).await? > 0 {
                    self.stop.check()?;
                    self.observer.passed(CommitPoint::Swept);
                }
                self.observer.passed(CommitPoint::Swept);
            }
        }
        let recycle_bin = source.object_type.source.as_ref().is_none_or(|source| source.recycle_bin);
        let absent_for = sharing.iter().map(|rules| rules.removal.absent_for).max().unwrap_or(0);
        let wait = if recycle_bin { absent_for } else { 0 };
        self.store.harden_removals(source.id, lifecycle.saturating_sub(wait), now).await?;
        Ok(())
    }
}
