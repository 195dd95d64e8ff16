//! Reconciliation: every linked target object is read again, and what differs from what Muster left there is drift.
//! Drift only marks links dirty; evaluation, matching and guard decide over it as over everything else.

use std::collections::HashSet;

use muster_connector::FoundObject;
use muster_model::pack::unpack_row;
use muster_model::{Key, Row, Value};
use muster_store::{LinkId, LinkUpdate, LinkView};

use crate::commit::CommitPoint;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::identity::{Doubtful, known_by, lost, recorded};
use crate::pass::{SLICE, unchanged};
use crate::prepare::Prepared;
use crate::report::Report;

impl Engine {
    /// Reads all linked target objects and records what is there. Links with an open operation are left alone.
    /// Returns how many were not as Muster left them.
    pub(crate) async fn reconcile(
        &self,
        prepared: &Prepared,
        open: &HashSet<LinkId>,
        report: &mut Report,
    ) -> Result<u64, EngineError> {
        let side = &prepared.target;
        let Some(target) = side.connector.target() else { return Err(EngineError::NoConnection(side.name.clone())) };
        let mut after = LinkId(0);
        let mut drifted = 0;
        loop {
            self.stop.check()?;
            let links = self.store.linked(prepared.sync, after, SLICE).await?;
            let Some(last) = links.last() else { break };
            after = last.id;
            let links: Vec<LinkView> = links.into_iter().filter(|link| !open.contains(&link.id)).collect();
            let mut keys = Vec::with_capacity(links.len());
            for link in &links {
                keys.push(Key::decode(link.target_key.as_deref().unwrap_or_default())?);
            }
            let found =
                target.get(&side.request, &keys).await.map_err(|error| EngineError::connection(&side.name, error))?;
            let mut updates = Vec::new();
            let mut doubtful = Vec::new();
            report.gone += found.iter().filter(|object| object.is_none()).count() as u64;
            for (link, object) in links.into_iter().zip(found) {
                match self.seen_again(prepared, &link, object.as_ref())? {
                    Seen::AsLeft => {}
                    Seen::Drift(update) => updates.push(*update),
                    Seen::Another { known } => {
                        let written = link.written.clone().unwrap_or_default();
                        doubtful.push(Doubtful { link, written, known, becomes: None, object });
                    }
                }
            }
            drifted += (updates.len() + doubtful.len()) as u64;
            let decided = self.identify(prepared, doubtful).await?;
            report.parked += decided.iter().filter(|update| update.parked.is_some()).count() as u64;
            updates.extend(decided);
            self.store.settle(prepared.sync, &updates, self.clock.now()).await?;
            self.observer.passed(CommitPoint::Settled);
        }
        drifted += self.values_seen_again(prepared, open).await?;
        if drifted > 0 {
            report.notes.push(format!("{drifted} objects of the target were not as Muster left them"));
        }
        Ok(drifted)
    }

    fn seen_again(
        &self,
        prepared: &Prepared,
        link: &LinkView,
        object: Option<&FoundObject>,
    ) -> Result<Seen, EngineError> {
        let base = LinkUpdate { evaluated: 0, dirty_again: true, due_at: link.due_at, ..unchanged(link) };
        let Some(object) = object else {
            return Ok(Seen::Drift(Box::new(lost(base))));
        };
        let written = unpack_row(&prepared.layout.target, link.written.as_deref().unwrap_or_default())?;
        if !differs(&written, &object.row) {
            return Ok(Seen::AsLeft);
        }
        // A key that the system assigns says nothing about whose row it is: rows may have been numbered anew.
        let known = known_by(&prepared.compiled).and_then(|position| {
            let before = written.slot(position);
            (before != object.row.slot(position)).then(|| before.value().cloned()).flatten()
        });
        Ok(match known {
            Some(known) => Seen::Another { known },
            None => Seen::Drift(Box::new(recorded(prepared, base, object))),
        })
    }
}

enum Seen {
    AsLeft,
    Drift(Box<LinkUpdate>),
    Another { known: Value },
}

/// Whether a value that Muster wrote or saw is another one now.
fn differs(written: &Row, found: &Row) -> bool {
    written.0.iter().zip(&found.0).any(|(written, found)| !written.is_unknown() && written != found)
}
