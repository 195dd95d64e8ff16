//! The end of a full read: what it did not see is gone, unless the source returned far less than before.

use std::collections::HashSet;

use muster_store::{HeldChange, LinkId};

use crate::commit::CommitPoint;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::guard::{hold, hold_event, short_digest};
use crate::prepare::Prepared;
use crate::report::Report;
use crate::rules::{GuardKind, SyncRules};

/// Objects removed in one transaction.
const SLICE: u32 = 5_000;

const MISSING: &str = "missing";

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
            let goes = missing <= allowed || self.is_approved(prepared, (missing, allowed, all), report).await?;
            if goes {
                if missing > 0 {
                    tracing::info!(missing, "what a full read did not see is removed");
                }
                while self.store.sweep(source.id, now, SLICE).await? > 0 {
                    self.stop.check()?;
                    self.observer.passed(CommitPoint::Swept);
                }
                self.observer.passed(CommitPoint::Swept);
                self.store.forget_grants(prepared.sync, MISSING).await?;
                self.no_longer_missing(prepared).await?;
            }
        } else if standing.round == muster_store::Round::Idle {
            // Another sync of the same source may have swept what this one held.
            self.no_longer_missing(prepared).await?;
        }
        let recycle_bin = source.object_type.source.as_ref().is_none_or(|source| source.recycle_bin);
        let absent_for = sharing.iter().map(|rules| rules.removal.absent_for).max().unwrap_or(0);
        let wait = if recycle_bin { absent_for } else { 0 };
        self.store.harden_removals(source.id, lifecycle.saturating_sub(wait), now).await?;
        Ok(())
    }

    /// Whether a person approved that exactly these objects, or more, count as removed; if not, they are held.
    async fn is_approved(
        &self,
        prepared: &Prepared,
        (missing, allowed, all): (u64, u64, u64),
        report: &mut Report,
    ) -> Result<bool, EngineError> {
        let now = self.clock.now();
        let grants = self.store.grants(prepared.sync, now).await?;
        let granted: HashSet<LinkId> =
            grants.into_iter().filter(|grant| grant.kind == MISSING).map(|grant| grant.link).collect();
        let unseen = self.store.unseen_objects(prepared.source.id, prepared.sync).await?;
        if !unseen.is_empty() && unseen.iter().all(|(_, link)| granted.contains(link)) {
            return Ok(true);
        }
        let items = unseen.into_iter().map(|(_, link)| HeldChange { link, value: [0; 16] }).collect();
        let hold = hold(prepared, (GuardKind::Missing, None), items, (allowed, all), now);
        let fresh = self.store.set_holds(prepared.sync, &[MISSING], std::slice::from_ref(&hold), now).await?;
        let events: Vec<_> = fresh.iter().map(|hold| hold_event(hold, "held", now)).collect();
        self.store.add_events(&events).await?;
        let name = &prepared.compiled.rules.name;
        report.notes.push(format!(
            "the source returned {} objects where {all} were known; {missing} missing ones are left as they are, \
             because at most {allowed} may go missing in one full read. If they are really gone, `muster approve {name} {}` \
             lets them count as removed",
            all - missing,
            short_digest(&hold.digest)
        ));
        Ok(false)
    }

    async fn no_longer_missing(&self, prepared: &Prepared) -> Result<(), EngineError> {
        let holds = self.store.holds(prepared.sync).await?;
        if holds.iter().any(|hold| hold.kind == MISSING) {
            self.store.set_holds(prepared.sync, &[MISSING], &[], self.clock.now()).await?;
        }
        Ok(())
    }
}
