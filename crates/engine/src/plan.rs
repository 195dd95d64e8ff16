//! The plan: what a cycle would do, for a person. It reads the target and writes nothing there, and no link.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use muster_connector::{Batch, Operation, SecretString, SecretValue};
use muster_model::pack::unpack_row;
use muster_model::{Key, Row, Slot};
use muster_store::{LinkId, LinkUpdate, LinkView, OperationKind};
use serde::Serialize;

use crate::accepted::waiting;
use crate::apply::Sent;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Wanted, evaluate};
use crate::explain::REDACTED;
use crate::guard::{GuardedChange, counter, guarded_changes};
use crate::matching::Candidate;
use crate::pass::{Progress, SLICE};
use crate::passwords::NEW_PASSWORD;
use crate::prepare::Prepared;
use crate::recognition::MatchValues;
use crate::report::Report;
use crate::rules::SyncRules;
use crate::takeover::{Takeover, shown_slot};
use crate::ties::Lack;

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
    /// How many values of each attribute would change on objects that are there.
    pub values: BTreeMap<String, u64>,
    /// How a filled target and the source fit, before the sync has linked anything or when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takeover: Option<Takeover>,
}

/// What to plan, and how much to say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Read everything from the source anew.
    pub full: bool,
    /// At most so many changes of each kind are listed.
    pub limit: usize,
    /// Print the statements of the listed changes.
    pub statements: bool,
    /// Read the target's keys and say how target and source fit, even if objects are linked already.
    pub takeover: bool,
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
    /// Why it is parked.
    pub reason: Option<String>,
    /// What of it waits for approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    #[serde(skip)]
    link: LinkId,
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

impl Engine {
    /// Reads the source's news into the state and says what a cycle would do. Writes nothing to the target and no link.
    ///
    /// # Errors
    /// As for a cycle.
    pub async fn plan(&self, rules: &SyncRules, options: &PlanOptions) -> Result<Plan, EngineError> {
        let prepared = self.prepare(rules, false).await?;
        self.plan_prepared(&prepared, options).await
    }

    pub(crate) async fn plan_prepared(&self, prepared: &Prepared, options: &PlanOptions) -> Result<Plan, EngineError> {
        let rules = &prepared.compiled.rules;
        while self.store.fill_candidates(prepared.sync, 10_000).await? {}
        self.store.mark_due(prepared.sync, self.clock.lifecycle()).await?;
        let mut plan = Plan::default();
        plan.report.sync.clone_from(&rules.name);
        plan.report.notes.clone_from(&prepared.notes);
        plan.report.read = self.importer(&prepared.source, None).run(options.full).await?;
        self.sweep(prepared, &mut plan.report).await?;
        self.read_groups(prepared, options.full, &mut plan.report).await?;
        let nothing_linked = self.store.linked(prepared.sync, LinkId(0), 1).await?.is_empty();
        let mut planner = Planner {
            prepared,
            plan,
            limit: options.limit,
            guarded: BTreeMap::new(),
            listed: Vec::new(),
            takeover: (options.takeover || nothing_linked).then(Takeover::default),
            claimed: HashSet::new(),
            matched_by: BTreeMap::new(),
            lacks: HashMap::new(),
            chosen: HashMap::new(),
        };
        let batches = self.store.open_batches(prepared.sync).await?;
        let taken: HashSet<LinkId> = waiting(&batches).map(|(link, _)| link).collect();
        planner.plan.report.accepted = taken.len() as u64;
        let mut after = LinkId(0);
        let mut creating = HashSet::new();
        loop {
            let mut links = self.store.dirty_links(prepared.sync, after, self.clock.now(), SLICE).await?;
            let Some(last) = links.last() else { break };
            after = last.id;
            self.observer.evaluated(links.len() as u64);
            // What the target has taken is done, as far as anybody knows.
            links.retain(|link| !taken.contains(&link.id));
            self.plan_slice(&mut planner, links, &mut creating).await?;
        }
        self.plan_guard(&mut planner).await?;
        self.plan_effort(&mut planner).await?;
        if let Some(mut takeover) = planner.takeover.take() {
            takeover.matched_by = prepared.compiled.by_rule(&planner.matched_by);
            planner.plan.takeover = self.survey(prepared, takeover, &planner.claimed, options.limit).await?;
        }
        if planner.plan.report.created > 0 && prepared.compiled.refers() {
            planner.plan.report.notes.push(
                "managers, members and other references of new objects are written as soon as both ends have their \
                 objects, and are not counted here"
                    .to_owned(),
            );
        }
        if options.statements {
            planner.plan.statements = self.statements(prepared, &planner.listed).await?;
        }
        Ok(planner.plan)
    }

    async fn plan_slice(
        &self,
        planner: &mut Planner<'_>,
        links: Vec<LinkView>,
        creating: &mut HashSet<MatchValues>,
    ) -> Result<(), EngineError> {
        let prepared = planner.prepared;
        let mut candidates = Vec::new();
        let mut changing = Vec::new();
        let links = self.with_groups(prepared, links).await?;
        for link in self.with_referred(prepared, links).await? {
            let evaluation = evaluate(&prepared.compiled, &prepared.layout, &link, self.clock.lifecycle())?;
            let mut guarded = guarded_changes(prepared, &link, &evaluation.wanted)?;
            let lacks = self.lacks(prepared, &link, &evaluation).await?;
            guarded.extend(lacks.iter().flat_map(|lack| lack.removals.iter().copied()));
            if !guarded.is_empty() {
                planner.guarded.insert(link.id, guarded);
            }
            let nothing_else = matches!(evaluation.wanted, Wanted::Nothing(_)) && !lacks.is_empty();
            planner.note(&link, &lacks);
            match evaluation.wanted {
                Wanted::Nothing(_) if nothing_else => changing.push(Sent::nothing_yet(link)),
                Wanted::Nothing(_) | Wanted::NotYet => planner.plan.report.unchanged += 1,
                Wanted::Park(reason) => {
                    let why = format!("{}: {}", reason.attribute.as_deref().unwrap_or("object"), reason.message);
                    planner.add(PlannedKind::Park, &link, None, Some(why)).map(drop)?;
                }
                Wanted::Object { row, matches, may_create } => {
                    candidates.push(Candidate { link, row, matches, may_create, due_at: None });
                }
                Wanted::Change(change) => changing.push(Sent::change(&prepared.compiled, link, change, None)),
                Wanted::Delete => changing.push(Sent::delete(link)),
            }
        }
        // Matching as in a cycle, into lists that go nowhere.
        let chosen = std::mem::take(&mut planner.chosen);
        let mut progress = Progress { creating: std::mem::take(creating), chosen, ..Progress::default() };
        let mut settled = Vec::new();
        let mut sending = Vec::new();
        let mut report = Report::default();
        let views: HashMap<LinkId, LinkView> = candidates
            .iter()
            .map(|candidate| &candidate.link)
            .chain(changing.iter().map(|sent| &sent.link))
            .map(|view| (view.id, view.clone()))
            .collect();
        self.matched(prepared, candidates, &mut progress, &mut settled, &mut sending, &mut report).await?;
        planner.guarded.extend(std::mem::take(&mut progress.guarded));
        for (rule, found) in std::mem::take(&mut progress.matched_by) {
            *planner.matched_by.entry(rule).or_default() += found;
        }
        sending.extend(changing);
        let sending = self.hold_back(prepared, sending, &mut progress, &mut settled, &mut report);
        let sending = self.choose_unique(prepared, sending, &mut progress, &mut settled, &mut report).await?;
        let sending = self.spare_protected(prepared, sending, &mut settled, &mut report).await?;
        *creating = progress.creating;
        planner.chosen = progress.chosen;
        for update in settled {
            let Some(view) = views.get(&update.link) else { continue };
            if let Some(takeover) = &mut planner.takeover {
                takeover.note(&update);
            }
            match update.parked {
                Some(reason) => planner.add(PlannedKind::Park, view, None, Some(reason.message)).map(drop)?,
                // Tried again within the cycle, when a value may have become free.
                None if update.target_key.is_none() => planner.plan.report.unchanged += 1,
                None => {
                    planner.claimed.extend(update.target_key.clone());
                    self.plan_adopted(planner, view, &update)?;
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

    /// The guarded part of what an adopted object lacks, which a cycle leaves to the end.
    fn plan_adopted(&self, planner: &mut Planner<'_>, view: &LinkView, update: &LinkUpdate) -> Result<(), EngineError> {
        if !planner.guarded.contains_key(&view.id) {
            return Ok(());
        }
        let prepared = planner.prepared;
        let linked = LinkView {
            state: update.state,
            origin: update.origin,
            target_key: update.target_key.clone(),
            written: update.written.clone(),
            ..view.clone()
        };
        let evaluation = evaluate(&prepared.compiled, &prepared.layout, &linked, self.clock.lifecycle())?;
        match evaluation.wanted {
            Wanted::Change(change) => planner.sent(Sent::change(&prepared.compiled, linked, change, None)),
            _ => Ok(()),
        }
    }

    async fn plan_guard(&self, planner: &mut Planner<'_>) -> Result<(), EngineError> {
        let prepared = planner.prepared;
        let verdict = self.verdict(prepared, &planner.guarded).await?;
        for hold in &verdict.holds {
            planner.plan.report.held += hold.wanted;
            let kind = match &hold.attribute {
                Some(attribute) => format!("{} {attribute}", hold.kind),
                None => hold.kind.clone(),
            };
            planner.plan.report.notes.push(format!(
                "the guard would hold all {} of kind {kind}: {} may go now. They would wait for `muster approve`",
                hold.wanted, hold.allowed
            ));
        }
        for change in &mut planner.plan.changes {
            let Some(guarded) = planner.guarded.get(&change.link) else { continue };
            let held: Vec<String> = guarded
                .iter()
                .filter(|guarded| verdict.holds_back(guarded))
                .map(|guarded| counter(prepared, (guarded.kind, guarded.attribute)).replace(':', " "))
                .collect();
            change.held = (!held.is_empty()).then(|| held.join(", "));
        }
        Ok(())
    }

    /// What the planned operations take where the target limits how many it takes.
    async fn plan_effort(&self, planner: &mut Planner<'_>) -> Result<(), EngineError> {
        let (report, side) = (&mut planner.plan.report, &planner.prepared.target);
        let operations = report.created + report.updated + report.enabled + report.disabled + report.deleted;
        if let Some(target) = side.connector.target().filter(|_| operations > 0) {
            let effort = target.effort(&side.request.object_type, operations).await;
            report.notes.extend(effort.map_err(|error| EngineError::connection(&side.name, error))?);
        }
        Ok(())
    }

    async fn statements(&self, prepared: &Prepared, operations: &[Operation]) -> Result<Vec<String>, EngineError> {
        let side = &prepared.target;
        let Some(target) = side.connector.target() else { return Ok(Vec::new()) };
        let batch = Batch {
            object_type: Arc::clone(&side.request.object_type),
            attributes: prepared.compiled.sent_attributes(),
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
    guarded: BTreeMap<LinkId, Vec<GuardedChange>>,
    listed: Vec<Operation>,
    takeover: Option<Takeover>,
    /// Target objects that a source object would adopt.
    claimed: HashSet<Vec<u8>>,
    /// How many of them each match rule found.
    matched_by: BTreeMap<usize, u64>,
    /// Values that listed objects gain and lose.
    lacks: HashMap<LinkId, Vec<Lack>>,
    /// What `SelectUniqueValue` chose.
    chosen: HashMap<(usize, String), LinkId>,
}

impl Planner<'_> {
    /// Counts the values that an object lacks, and keeps them until the object is listed.
    fn note(&mut self, link: &LinkView, lacks: &[Lack]) {
        for lack in lacks {
            self.plan.report.values_added += lack.to_add as u64;
            self.plan.report.values_removed += lack.to_remove as u64;
            if let Some(name) = self.prepared.compiled.target_attributes.get(lack.delta.attribute) {
                *self.plan.values.entry(name.clone()).or_default() += (lack.to_add + lack.to_remove) as u64;
            }
        }
        if !lacks.is_empty() && self.plan.report.updated < self.limit as u64 {
            // The guard has its own list of removals.
            let kept = lacks.iter().map(|lack| Lack { removals: Vec::new(), ..lack.clone() });
            self.lacks.insert(link.id, kept.collect());
        }
    }

    fn sent(&mut self, mut sent: Sent) -> Result<(), EngineError> {
        sent.expect(self.prepared)?;
        let kind = match (sent.kind, sent.operation.enabling) {
            (OperationKind::Create, _) => PlannedKind::Create,
            (OperationKind::Delete, _) => PlannedKind::Delete,
            (_, Some(false)) => PlannedKind::Disable,
            (_, Some(true)) => PlannedKind::Enable,
            _ => PlannedKind::Update,
        };
        if kind != PlannedKind::Create {
            for (slot, name) in sent.operation.row.0.iter().zip(self.prepared.compiled.target_attributes.iter()) {
                if !slot.is_unknown() {
                    *self.plan.values.entry(name.clone()).or_default() += 1;
                }
            }
        }
        let listed = self.add(kind, &sent.link, Some(&sent.operation.row), None)?;
        if listed {
            if kind == PlannedKind::Create && self.prepared.compiled.rules.password.is_some() {
                let position = self.prepared.compiled.target_attributes.len();
                sent.operation.secrets.push((position, SecretValue(SecretString::from(REDACTED))));
            }
            let lacks = self.lacks.remove(&sent.link.id).unwrap_or_default();
            sent.operation.deltas = lacks.into_iter().map(|lack| lack.delta).collect();
            sent.as_put(self.prepared)?;
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
            let old = (kind != PlannedKind::Create).then(|| shown_slot(before.slot(position)));
            let is_redacted = prepared.compiled.columns.get(position).is_some_and(|column| column.input.is_redacted());
            if is_redacted {
                values.push((name.clone(), old.map(|_| REDACTED.to_owned()), REDACTED.to_owned()));
                continue;
            }
            values.push((name.clone(), old, shown_slot(slot)));
        }
        for lack in self.lacks.get(&link.id).into_iter().flatten().filter(|_| row.is_some()) {
            let position = lack.delta.attribute;
            let Some(name) = prepared.compiled.target_attributes.get(position) else { continue };
            let many = prepared.compiled.many.iter().find(|many| many.position == position);
            let is_redacted = many.is_some_and(|many| many.input.is_redacted());
            values.push((name.clone(), None, lack.text(is_redacted)));
        }
        if let Some(password) = prepared.compiled.rules.password.as_ref().filter(|_| kind == PlannedKind::Create) {
            values.push((password.attribute.clone(), None, NEW_PASSWORD.to_owned()));
        }
        let target = link.target_key.as_deref().map(Key::decode).transpose()?.map(|key| key.to_string());
        let source = Key::decode(&link.anchor)?.to_string();
        let name = prepared.compiled.name_of(|position| {
            let new = row.map(|row| row.slot(position)).and_then(Slot::value);
            before.slot(position).value().or(new)
        });
        self.plan.changes.push(PlannedChange { kind, source, name, target, values, reason, held: None, link: link.id });
        Ok(true)
    }
}
