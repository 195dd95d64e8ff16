//! Reconciliation: every linked target object is read again, and what differs from what Muster left there is drift.
//! Drift only marks links dirty; evaluation, matching and guard decide over it as over everything else.

use std::collections::HashSet;

use muster_connector::FoundObject;
use muster_model::pack::{pack_row, unpack_row};
use muster_model::{AssignedBy, Key, Row, Slot, Value};
use muster_store::{LinkId, LinkState, LinkUpdate, LinkView};

use crate::commit::CommitPoint;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::pass::{SLICE, linked_state, unchanged};
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
            let mut moved = Vec::new();
            for (link, object) in links.into_iter().zip(found) {
                match self.seen_again(prepared, &link, object.as_ref())? {
                    Seen::AsLeft => {}
                    Seen::Drift(update) => updates.push(*update),
                    Seen::PerhapsMoved { value, update } => moved.push((link, value, update)),
                }
            }
            drifted += (updates.len() + moved.len()) as u64;
            self.follow(prepared, moved, &mut updates).await?;
            self.store.settle(prepared.sync, &updates, self.clock.now()).await?;
            self.observer.passed(CommitPoint::Settled);
        }
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
            let gone = LinkUpdate { state: LinkState::Candidate, target_key: None, written: Some(Vec::new()), ..base };
            return Ok(Seen::Drift(Box::new(gone)));
        };
        let written = unpack_row(&prepared.layout.target, link.written.as_deref().unwrap_or_default())?;
        if !differs(&written, &object.row) {
            return Ok(Seen::AsLeft);
        }
        let update = Box::new(recorded(prepared, base, object));
        // A key that the system assigns says nothing about whose row it is: rows may have been numbered anew.
        let assigned = prepared.compiled.target.anchor.assigned_by == AssignedBy::System;
        let matching = prepared.compiled.matching.as_ref().filter(|_| assigned);
        let value = matching.and_then(|matching| {
            let before = written.slot(matching.target);
            (before != object.row.slot(matching.target)).then(|| before.value().cloned()).flatten()
        });
        Ok(match value {
            Some(value) => Seen::PerhapsMoved { value, update },
            None => Seen::Drift(update),
        })
    }

    /// Where the value to match by stands in another row now, the link follows it; otherwise it was changed by hand.
    async fn follow(
        &self,
        prepared: &Prepared,
        moved: Vec<(LinkView, Value, Box<LinkUpdate>)>,
        updates: &mut Vec<LinkUpdate>,
    ) -> Result<(), EngineError> {
        let Some(matching) = &prepared.compiled.matching else { return Ok(()) };
        let found = self.find(prepared, matching.target, moved.iter().map(|(_, value, _)| value.clone())).await?;
        for ((link, _, update), objects) in moved.into_iter().zip(found) {
            match objects.as_slice() {
                [object] => {
                    let base = LinkUpdate { evaluated: 0, dirty_again: true, due_at: link.due_at, ..unchanged(&link) };
                    let key = Some(object.key.encode());
                    updates.push(LinkUpdate { target_key: key, fresh_key: true, ..recorded(prepared, base, object) });
                }
                _ => updates.push(*update),
            }
        }
        Ok(())
    }
}

enum Seen {
    AsLeft,
    Drift(Box<LinkUpdate>),
    PerhapsMoved { value: Value, update: Box<LinkUpdate> },
}

/// Whether a value that Muster wrote or saw is another one now.
fn differs(written: &Row, found: &Row) -> bool {
    written.0.iter().zip(&found.0).any(|(written, found)| !written.is_unknown() && written != found)
}

fn recorded(prepared: &Prepared, base: LinkUpdate, object: &FoundObject) -> LinkUpdate {
    let off = Slot::One(Value::Boolean(false));
    let disabled = prepared.compiled.enabling.is_some_and(|position| *object.row.slot(position) == off);
    LinkUpdate { state: linked_state(disabled), written: Some(pack_row(&prepared.layout.target, &object.row)), ..base }
}
