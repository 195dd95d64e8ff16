//! The guard: how many deletions and disables may go in a day, and what is held above that.

use muster_store::{HoldRecord, LinkId};

use crate::commit::CommitPoint;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::pass::{Pass, Progress};
use crate::prepare::Prepared;
use crate::report::Report;
use crate::rules::Limit;

/// The kind of change that deletes.
pub(crate) const DELETE: &str = "delete";
/// The kind of change that disables.
pub(crate) const DISABLE: &str = "disable";

const DAY: i64 = 86_400_000;
/// How long a held list stands.
const HOLD: i64 = 72 * 3_600_000;

impl Engine {
    /// Decides over the guarded changes that all dirty links of this cycle call for: all of a kind go, or none.
    pub(crate) async fn guarded(
        &self,
        prepared: &Prepared,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let rules = &prepared.compiled.rules;
        let disables = std::mem::take(&mut progress.disables);
        let deletes = std::mem::take(&mut progress.deletes);
        // Counting visits every link, which a cycle without anything to guard need not do.
        let base = if disables.is_empty() && deletes.is_empty() {
            0
        } else {
            let counts = self.store.counts(prepared.sync, self.clock.now()).await?;
            counts.linked + counts.disabled
        };
        let mut holds = Vec::new();
        for (kind, limit, links) in [(DISABLE, rules.guard.disable, disables), (DELETE, rules.guard.delete, deletes)] {
            if links.is_empty() {
                continue;
            }
            match self.verdict(prepared, kind, limit, base, &links).await? {
                None => {
                    for link in &links {
                        progress.left.remove(link);
                    }
                    self.pass(prepared, Pass::Approved(&links), progress, report).await?;
                }
                Some(hold) => {
                    report.held += hold.wanted;
                    tracing::warn!(kind, wanted = hold.wanted, allowed = hold.allowed, "held by the guard");
                    report.notes.push(format!(
                        "held: {} would {kind} {} of {base} objects, and {} may in 24 hours. Nothing of it was sent; \
                         if it is right, raise syncs.{}.guard.{kind} and run again",
                        rules.name, hold.wanted, hold.allowed, rules.name
                    ));
                    holds.push(hold);
                }
            }
        }
        self.store.set_holds(prepared.sync, &holds).await?;
        self.observer.passed(CommitPoint::HoldsRecorded);
        Ok(())
    }

    /// What is held, when too much is wanted.
    pub(crate) async fn verdict(
        &self,
        prepared: &Prepared,
        kind: &str,
        limit: Limit,
        base: u64,
        links: &[LinkId],
    ) -> Result<Option<HoldRecord>, EngineError> {
        let now = self.clock.now();
        let sent = self.store.sent_since(prepared.sync, kind, self.clock.lifecycle() - DAY).await?;
        let wanted = links.len() as u64;
        let allowed = limit.of(base);
        if sent + wanted <= allowed {
            return Ok(None);
        }
        let mut hash = blake3::Hasher::new();
        hash.update(kind.as_bytes());
        for link in links {
            hash.update(&link.0.to_le_bytes());
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        Ok(Some(HoldRecord {
            sync: prepared.sync,
            kind: kind.to_owned(),
            digest,
            created_at: now,
            expires_at: now + HOLD,
            wanted,
            allowed: allowed.saturating_sub(sent),
            links: links.to_vec(),
        }))
    }
}
