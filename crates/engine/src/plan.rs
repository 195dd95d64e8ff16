//! The plan: what a cycle would do, for a person. It reads the target and writes nothing there, and no link.

use std::collections::HashSet;
use std::sync::Arc;

use muster_connector::{Batch, Operation};
use muster_model::pack::unpack_row;
use muster_model::{Key, Row, Slot};
use muster_store::{LinkId, LinkView, OperationKind};
use serde::Serialize;

use crate::apply::Sent;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Wanted, evaluate};
use crate::guard::{DELETE, DISABLE};
use crate::matching::Candidate;
use crate::pass::{Progress, SLICE};
use crate::prepare::Prepared;
use crate::report::Report;
use crate::rules::SyncRules;

/// What a cycle would do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    /// The counts a cycle would report, as far as they can be foreseen.
    pub report: Report,
    /// The changes, up to the limit asked for.
    pub changes: Vec<PlannedChange>,
    /// Changes that are not listed.
    pub not_listed: u64,
    /// The exact statements of the listed changes, when asked for.
    pub statements: Vec<String>,
}

/// One planned change.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedChange {
    /// What happens.
    pub kind: PlannedKind,
    /// The source object's key.
    pub source: String,
    /// What people know it by: the value it is matched by.
    pub name: Option<String>,
    /// The target object's key, where it has one.
    pub target: Option<String>,
    /// (attribute, value before, value after); the value before is missing for a create.
    pub values: Vec<(String, Option<String>, String)>,
    /// Why it is parked or held.
    pub reason: Option<String>,
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedKind {
    /// A new target object.
    Create,
    /// An existing one is linked.
    Adopt,
    /// Values change.
    Update,
    /// It is enabled again.
    Enable,
    /// It is disabled.
    Disable,
    /// It is deleted.
    Delete,
    /// It would be parked.
    Park,
}

/// How a value is shown in a plan.
fn shown(slot: &Slot) -> String {
    match slot {
        Slot::Unknown => "?".to_owned(),
        Slot::Null => "null".to_owned(),
        Slot::One(value) => value.to_string(),
        Slot::Many(values) => values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

impl Engine {
    /// Reads the source's news into the state and says what a cycle would do, listing at most `limit` changes of
    /// each kind.
    ///
    /// # Errors
    /// As for a cycle.
    pub async fn plan(
        &self,
        rules: &SyncRules,
        full: bool,
        limit: usize,
        statements: bool,
    ) -> Result<Plan, EngineError> {
        let prepared = self.prepare(rules, false).await?;
        while self.store.fill_candidates(prepared.sync, 10_000).await? {}
        let mut plan = Plan::default();
        plan.report.sync.clone_from(&rules.name);
        plan.report.notes.clone_from(&prepared.notes);
        plan.report.read = self.importer(&prepared.source, None).run(full).await?;
        self.sweep(&prepared, &mut plan.report).await?;
        let mut planner =
            Planner { prepared: &prepared, plan, limit, guarded: [Vec::new(), Vec::new()], listed: Vec::new() };
        let mut after = LinkId(0);
        let mut claimed = HashSet::new();
        loop {
            let links = self.store.dirty_links(prepared.sync, after, self.clock.now(), SLICE).await?;
            let Some(last) = links.last() else { break };
            after = last.id;
            self.observer.evaluated(links.len() as u64);
            self.plan_slice(&mut planner, links, &mut claimed).await?;
        }
        self.plan_guard(&mut planner).await?;
        if statements {
            planner.plan.statements = self.statements(&prepared, &planner.listed).await?;
        }
        Ok(planner.plan)
    }

    async fn plan_slice(
        &self,
        planner: &mut Planner<'_>,
        links: Vec<LinkView>,
        claimed: &mut HashSet<muster_model::Value>,
    ) -> Result<(), EngineError> {
        let prepared = planner.prepared;
        let mut candidates = Vec::new();
        for link in links {
            let evaluation = evaluate(&prepared.compiled, &prepared.layout, &link, self.clock.lifecycle())?;
            match evaluation.wanted {
                Wanted::Nothing(_) | Wanted::NotYet => planner.plan.report.unchanged += 1,
                Wanted::Park(reason) => {
                    let why = format!("{}: {}", reason.attribute.as_deref().unwrap_or("object"), reason.message);
                    planner.add(PlannedKind::Park, &link, None, Some(why)).map(drop)?;
                }
                Wanted::Object { row, match_value } => candidates.push(Candidate { link, row, match_value }),
                Wanted::Change(change) => {
                    let sent = Sent::change(&prepared.compiled, link, change, None);
                    planner.sent(sent)?;
                }
                Wanted::Delete => planner.sent(Sent::delete(link))?,
            }
        }
        // Matching as in a cycle, into lists that go nowhere.
        let mut progress = Progress { creating: std::mem::take(claimed), ..Progress::default() };
        let mut settled = Vec::new();
        let mut sending = Vec::new();
        let mut report = Report::default();
        let views: Vec<LinkView> = candidates.iter().map(|candidate| candidate.link.clone()).collect();
        self.matched(prepared, candidates, &mut progress, &mut settled, &mut sending, &mut report).await?;
        *claimed = progress.creating;
        for update in settled {
            let Some(view) = views.iter().find(|view| view.id == update.link) else { continue };
            match update.parked {
                Some(reason) => planner.add(PlannedKind::Park, view, None, Some(reason.message)).map(drop)?,
                None => {
                    let linked = LinkView { target_key: update.target_key, written: update.written, ..view.clone() };
                    planner.add(PlannedKind::Adopt, &linked, None, None).map(drop)?;
                }
            }
        }
        for sent in sending {
            planner.sent(sent)?;
        }
        Ok(())
    }

    async fn plan_guard(&self, planner: &mut Planner<'_>) -> Result<(), EngineError> {
        let prepared = planner.prepared;
        let rules = &prepared.compiled.rules;
        let counts = self.store.counts(prepared.sync, self.clock.now()).await?;
        let base = counts.linked + counts.disabled;
        let [deletes, disables] = std::mem::take(&mut planner.guarded);
        for (kind, limit, links) in [(DISABLE, rules.guard.disable, disables), (DELETE, rules.guard.delete, deletes)] {
            if links.is_empty() {
                continue;
            }
            if let Some(hold) = self.verdict(prepared, kind, limit, base, &links).await? {
                planner.plan.report.held += hold.wanted;
                planner.plan.report.notes.push(format!(
                    "the guard would hold all {} of kind {kind}: {} may go in 24 hours",
                    hold.wanted, hold.allowed
                ));
            }
        }
        Ok(())
    }

    async fn statements(&self, prepared: &Prepared, operations: &[Operation]) -> Result<Vec<String>, EngineError> {
        let side = &prepared.target;
        let Some(target) = side.connector.target() else { return Ok(Vec::new()) };
        let batch = Batch {
            object_type: Arc::clone(&side.request.object_type),
            attributes: Arc::clone(&side.request.attributes),
            operations: operations.to_vec(),
            epoch: side.epoch,
            deadline: std::time::Duration::from_secs(60),
        };
        target.preview(&batch).await.map_err(|error| EngineError::connection(&side.name, error))
    }
}

struct Planner<'a> {
    prepared: &'a Prepared,
    plan: Plan,
    limit: usize,
    guarded: [Vec<LinkId>; 2],
    listed: Vec<Operation>,
}

impl Planner<'_> {
    fn sent(&mut self, sent: Sent) -> Result<(), EngineError> {
        let kind = match (sent.kind, sent.operation.enabling) {
            (OperationKind::Create, _) => PlannedKind::Create,
            (OperationKind::Delete, _) => PlannedKind::Delete,
            (_, Some(false)) => PlannedKind::Disable,
            (_, Some(true)) => PlannedKind::Enable,
            _ => PlannedKind::Update,
        };
        match kind {
            PlannedKind::Delete => self.guarded[0].push(sent.link.id),
            PlannedKind::Disable => self.guarded[1].push(sent.link.id),
            _ => {}
        }
        let listed = self.add(kind, &sent.link, Some(&sent.operation.row), None)?;
        if listed {
            self.listed.push(sent.operation);
        }
        Ok(())
    }

    fn add(
        &mut self,
        kind: PlannedKind,
        link: &LinkView,
        row: Option<&Row>,
        reason: Option<String>,
    ) -> Result<bool, EngineError> {
        let report = &mut self.plan.report;
        let counter = match kind {
            PlannedKind::Create => &mut report.created,
            PlannedKind::Adopt => &mut report.adopted,
            PlannedKind::Update => &mut report.updated,
            PlannedKind::Enable => &mut report.enabled,
            PlannedKind::Disable => &mut report.disabled,
            PlannedKind::Delete => &mut report.deleted,
            PlannedKind::Park => &mut report.parked,
        };
        *counter += 1;
        if *counter > self.limit as u64 {
            self.plan.not_listed += 1;
            return Ok(false);
        }
        let prepared = self.prepared;
        let before = match &link.written {
            Some(packed) => unpack_row(&prepared.layout.target, packed)?,
            None => Row::unknown(prepared.layout.target.len()),
        };
        let mut values = Vec::new();
        for (position, name) in prepared.compiled.target_attributes.iter().enumerate() {
            let Some(slot) = row.map(|row| row.slot(position)).filter(|slot| !slot.is_unknown()) else { continue };
            if kind == PlannedKind::Create && *slot == Slot::Null {
                continue;
            }
            let old = (kind != PlannedKind::Create).then(|| shown(before.slot(position)));
            values.push((name.clone(), old, shown(slot)));
        }
        let target = link.target_key.as_deref().map(Key::decode).transpose()?.map(|key| key.to_string());
        let source = Key::decode(&link.anchor)?.to_string();
        let name = prepared.compiled.matching.as_ref().and_then(|matching| {
            let new = row.map(|row| row.slot(matching.target)).and_then(Slot::value);
            before.slot(matching.target).value().or(new).map(ToString::to_string)
        });
        self.plan.changes.push(PlannedChange { kind, source, name, target, values, reason });
        Ok(true)
    }
}
