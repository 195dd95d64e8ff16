//! Operations whose answer was lost: never sent again. What the target holds is recorded as seen, and the link
//! stays dirty, so that what is left to do becomes a new operation.

use std::collections::{BTreeMap, HashMap, HashSet};

use muster_connector::{Effect, Error as ConnectorError, FoundObject, OperationId, Outcome, Resolution, Target};
use muster_model::pack::{pack_row, unpack_row};
use muster_model::{Key, Row, Slot, Value};
use muster_store::{
    BatchEnd, BatchMember, BatchRecord, LinkId, LinkState, LinkUpdate, LinkView, OperationKind, Origin,
};

use crate::accepted::{Confirmed, Verdict};
use crate::apply::content_hash;
use crate::commit::CommitPoint;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Wanted, evaluate};
use crate::identity::{known_by, lost};
use crate::pass::{linked_state, unchanged};
use crate::prepare::Prepared;
use crate::renamed::{BothKeys, wanted};
use crate::report::Report;
use crate::rules::GuardKind;
use crate::send::{acknowledge, forgets};
use crate::sought::{Sought, look, sought};

impl Engine {
    /// Finds out what became of the members of open batches. Returns the links whose operations are still open, and what
    /// was told of others.
    pub(crate) async fn resolve_open_batches(
        &self,
        prepared: &Prepared,
        report: &mut Report,
    ) -> Result<(HashSet<LinkId>, Vec<Verdict>), EngineError> {
        let mut still_open = HashSet::new();
        let mut verdicts = Vec::new();
        let batches = self.store.open_batches(prepared.sync).await?;
        let told = self.confirmations(prepared, &batches, report).await?;
        for batch in batches {
            let open = self.resolve(prepared, &batch, &told, &mut verdicts, report).await?;
            tracing::info!(
                operations = batch.members.len(),
                open = open.len(),
                "what became of operations in doubt was looked up"
            );
            still_open.extend(open.iter().map(|member| member.link));
            self.observer.passed(CommitPoint::UnknownResolved);
        }
        Ok((still_open, verdicts))
    }

    async fn resolve(
        &self,
        prepared: &Prepared,
        batch: &BatchRecord,
        told: &HashMap<OperationId, Resolution>,
        verdicts: &mut Vec<Verdict>,
        report: &mut Report,
    ) -> Result<Vec<BatchMember>, EngineError> {
        let side = &prepared.target;
        let failed = |error: ConnectorError| EngineError::connection(&side.name, error);
        let Some(target) = side.connector.target() else { return Err(EngineError::NoConnection(side.name.clone())) };
        let links: Vec<LinkId> = batch.members.iter().map(|member| member.link).collect();
        let views: HashMap<LinkId, LinkView> =
            self.store.links(&links).await?.into_iter().map(|view| (view.id, view)).collect();
        let ids: Vec<OperationId> = batch.members.iter().map(|member| OperationId(member.operation)).collect();
        let readable = prepared.compiled.capabilities.readable;
        let mut updates = Vec::new();
        let mut open = Vec::new();
        let mut without_effect: Vec<String> = Vec::new();
        let counted = |link: LinkId| batch.guarded.iter().filter(move |(of, _)| *of == link).map(|(_, name)| name);
        let mut lost = Vec::new();
        for member in &batch.members {
            let Some(view) = views.get(&member.link) else { continue };
            match Sought::decode(&prepared.compiled, &member.sought)? {
                Sought::Taken(taken) => {
                    let told = told.get(&OperationId(member.operation));
                    match self.confirmed(prepared, member, view, &taken, told, report)? {
                        Confirmed::Open(member, update) => {
                            report.accepted += 1;
                            open.push(member);
                            updates.push(update);
                        }
                        Confirmed::Closed { update, took_effect, verdict } => {
                            verdicts.extend(verdict);
                            without_effect.extend(counted(member.link).filter(|_| !took_effect).cloned());
                            updates.push(update);
                        }
                    }
                }
                // Nothing can be looked up: the whole state goes out again, and counts again if it takes access away.
                _ if !readable => {
                    without_effect.extend(counted(member.link).cloned());
                    updates.push(LinkUpdate { evaluated: 0, ..unchanged(view) });
                }
                _ => lost.push((member, view)),
            }
        }
        let asked: Vec<OperationId> = lost.iter().map(|(member, _)| OperationId(member.operation)).collect();
        let recorded: HashMap<OperationId, Resolution> = match asked.is_empty() {
            true => HashMap::new(),
            false => target.outcomes(&asked).await.map_err(failed)?.into_iter().collect(),
        };
        let mut looking = Vec::new();
        let mut proved: HashMap<OperationId, Effect> = HashMap::new();
        for (member, view) in lost {
            match recorded.get(&OperationId(member.operation)) {
                Some(Resolution::Pending { .. }) => {
                    report.unknown += 1;
                    open.push(member.clone());
                }
                // Evaluation decides anew: the operation had no effect and never will.
                Some(Resolution::NeverApplied) => without_effect.extend(counted(member.link).cloned()),
                Some(Resolution::Known(outcome)) => {
                    if let Outcome::Applied(effect) | Outcome::AlreadySo(effect) = outcome {
                        proved.insert(OperationId(member.operation), effect.clone());
                    }
                    looking.push((member, view));
                }
                Some(Resolution::NotRecorded) | None => looking.push((member, view)),
            }
        }
        let found = self.what_became(prepared, target, &looking, &proved).await?;
        let mut owners = self.owners_besides(prepared, &looking, &found).await?;
        for ((member, view), found) in looking.into_iter().zip(found) {
            let idle = |name: &&String| !took_effect(prepared, name, found.as_ref());
            without_effect.extend(counted(member.link).filter(idle).cloned());
            let is_proved = proved.contains_key(&OperationId(member.operation));
            let update = seen(prepared, member, view, found, is_proved, &owners, report)?;
            if let Some(key) = update.as_ref().and_then(|update| update.target_key.clone()) {
                owners.insert(key, member.link);
            }
            updates.extend(update);
        }
        let mut returned: BTreeMap<String, u64> = BTreeMap::new();
        for name in without_effect {
            *returned.entry(name).or_default() += 1;
        }
        let returned: Vec<(String, u64)> = returned.into_iter().collect();
        let forgotten = forgets(&prepared.compiled.capabilities);
        let end = BatchEnd { batch: batch.id, updates, returned, open, forgotten };
        self.store.close_batches(prepared.sync, std::slice::from_ref(&end), self.clock.now()).await?;
        let is_open = |id: &OperationId| end.open.iter().any(|member| member.operation == id.0);
        let closed: Vec<OperationId> = ids.into_iter().filter(|id| !is_open(id)).collect();
        acknowledge(side.connector.as_ref(), &prepared.compiled.capabilities, &closed).await;
        Ok(end.open)
    }

    fn probe(&self, prepared: &Prepared, member: &BatchMember, view: &LinkView) -> Result<Sought, EngineError> {
        if let Some(key) = &view.target_key {
            return Ok(Sought::Key(Key::decode(key)?));
        }
        if !member.sought.is_empty() {
            return Sought::decode(&prepared.compiled, &member.sought);
        }
        // A batch that an earlier version noted.
        let evaluation = evaluate(&prepared.compiled, &prepared.layout, view, self.clock.lifecycle())?;
        Ok(match evaluation.wanted {
            Wanted::Object { row, matches, .. } => sought(&prepared.compiled, &row, &matches),
            // The source object went meanwhile; what was created for it is found by its values as they were.
            _ => self.probe_gone(prepared, view)?,
        })
    }

    /// The object that each operation is about, as it is now.
    async fn what_became(
        &self,
        prepared: &Prepared,
        target: &dyn Target,
        looking: &[(&BatchMember, &LinkView)],
        proved: &HashMap<OperationId, Effect>,
    ) -> Result<Vec<Option<FoundObject>>, EngineError> {
        let failed = |error: ConnectorError| EngineError::connection(&prepared.target.name, error);
        let mut probes = Vec::with_capacity(looking.len());
        let mut sought = Vec::with_capacity(looking.len());
        for (member, view) in looking {
            let assigned = proved.get(&OperationId(member.operation)).and_then(|effect| effect.key.clone());
            probes.push(match assigned.filter(|_| member.kind == OperationKind::Create) {
                Some(key) => Sought::Key(key),
                None => self.probe(prepared, member, view)?,
            });
            sought.push(Sought::decode(&prepared.compiled, &member.sought)?);
        }
        let mut found = look(prepared, target, &probes).await.map_err(failed)?;
        if !looking.iter().any(|(member, _)| member.kind == OperationKind::Rename) {
            return Ok(found);
        }
        let wanted = wanted(looking.iter().zip(&sought).filter_map(|((member, _), sought)| match sought {
            Sought::Key(key) if member.kind == OperationKind::Create => Some(key.clone()),
            sought => sought.renamed(member).map(|(key, _)| key.clone()),
        }));
        for ((member, _), (probe, sought)) in looking.iter().zip(probes.iter_mut().zip(&sought)) {
            let to = sought.renamed(member);
            *probe = to.map_or(Sought::Nowhere, |(key, _)| Sought::Key(key.clone()));
        }
        let renamed = look(prepared, target, &probes).await.map_err(failed)?;
        for (((member, view), sought), (found, renamed)) in
            looking.iter().zip(&sought).zip(found.iter_mut().zip(renamed))
        {
            let Some((_, after)) = sought.renamed(member) else { continue };
            // What has its new key for certain is not what has the former one now.
            if proved.contains_key(&OperationId(member.operation)) {
                *found = renamed;
                continue;
            }
            let former_is_wanted = view.target_key.as_ref().is_some_and(|key| wanted.contains(key));
            let both = BothKeys { former: found.take(), renamed, former_is_wanted };
            *found = both.linked(prepared, view, after)?;
        }
        Ok(found)
    }

    /// The keys among those found that other links own, apart from links that these operations moved elsewhere.
    async fn owners_besides(
        &self,
        prepared: &Prepared,
        looking: &[(&BatchMember, &LinkView)],
        found: &[Option<FoundObject>],
    ) -> Result<HashMap<Vec<u8>, LinkId>, EngineError> {
        let keys: Vec<Option<Vec<u8>>> =
            found.iter().map(|found| found.as_ref().map(|object| object.key.encode())).collect();
        let asked: Vec<Vec<u8>> = keys.iter().flatten().cloned().collect();
        let owners = self.store.owners(prepared.target.id, &asked).await?;
        let mut owners: HashMap<Vec<u8>, LinkId> = owners.into_iter().map(|(key, owner)| (key, owner.link)).collect();
        // Whoever is found under another key gives up its own, unless that other key is somebody's who stays.
        loop {
            let moved = looking.iter().zip(&keys).filter_map(|((member, view), key)| {
                let (key, own) = (key.as_ref()?, view.target_key.as_ref()?);
                let is_free = owners.get(key).is_none_or(|owner| *owner == member.link);
                (key != own && is_free && owners.get(own) == Some(&member.link)).then(|| own.clone())
            });
            let moved: Vec<Vec<u8>> = moved.collect();
            if moved.is_empty() {
                return Ok(owners);
            }
            for key in moved {
                owners.remove(&key);
            }
        }
    }

    /// As [`Self::probe`], for a source object that was removed after its create was sent.
    fn probe_gone(&self, prepared: &Prepared, view: &LinkView) -> Result<Sought, EngineError> {
        let present = LinkView { removed: muster_store::Removed::No, ..view.clone() };
        let evaluation = evaluate(&prepared.compiled, &prepared.layout, &present, self.clock.lifecycle())?;
        Ok(match evaluation.wanted {
            Wanted::Object { row, matches, .. } => sought(&prepared.compiled, &row, &matches),
            _ => Sought::Nowhere,
        })
    }
}

/// Records what the target holds for one unknown operation; `is_proved`: it took effect for certain.
fn seen(
    prepared: &Prepared,
    member: &BatchMember,
    view: &LinkView,
    found: Option<FoundObject>,
    is_proved: bool,
    owners: &HashMap<Vec<u8>, LinkId>,
    report: &mut Report,
) -> Result<Option<LinkUpdate>, EngineError> {
    // Dirty stays: evaluation compares with what was seen and decides what is left.
    let base = LinkUpdate { evaluated: 0, ..unchanged(view) };
    let Some(object) = found else {
        if member.kind == OperationKind::Delete {
            report.deleted += 1;
        }
        let gone = view.target_key.is_some();
        let state = match (gone, member.kind) {
            (true, OperationKind::Delete) => LinkState::Gone,
            (true, _) => LinkState::Candidate,
            (false, _) => view.state,
        };
        return Ok(Some(LinkUpdate { state, target_key: None, written: Some(Vec::new()), ..base }));
    };
    let key = object.key.encode();
    if owners.get(&key).is_some_and(|owner| *owner != view.id) {
        // Somebody else's object: the match rules park this one, or find its own.
        return Ok((member.kind == OperationKind::Rename).then(|| lost(base)));
    }
    if stranger(prepared, member, view, &object.row)? {
        // What the key names may be somebody else's: whatever is sent next finds that out.
        return Ok(Some(base));
    }
    let ours = is_proved || member.kind != OperationKind::Create || written_by_us(prepared, member, &object.row);
    // Without a match rule an object that is not ours is a foreign row, never to be touched.
    if !ours && prepared.compiled.matching.is_empty() {
        return Ok(None);
    }
    let off = Slot::One(Value::Boolean(false));
    let disabled = prepared.compiled.enabling.is_some_and(|position| *object.row.slot(position) == off);
    let origin = match (member.kind, ours) {
        (OperationKind::Create, true) => Origin::Created,
        // The match rules decide over it in evaluation.
        (OperationKind::Create, false) => return Ok(None),
        _ => view.origin,
    };
    if member.kind == OperationKind::Create {
        report.created += 1;
    }
    Ok(Some(LinkUpdate {
        state: linked_state(disabled),
        origin,
        target_key: Some(key),
        fresh_key: false,
        written: Some(pack_row(&prepared.layout.target, &object.row)),
        ..base
    }))
}

/// Whether an object has neither the value that it was known by nor the one that the operation gave it.
fn stranger(prepared: &Prepared, member: &BatchMember, view: &LinkView, found: &Row) -> Result<bool, EngineError> {
    let Some(position) = known_by(&prepared.compiled).filter(|_| member.kind != OperationKind::Create) else {
        return Ok(false);
    };
    let written = unpack_row(&prepared.layout.target, view.written.as_deref().unwrap_or_default())?;
    let Some(known) = written.slot(position).value() else { return Ok(false) };
    let now = found.slot(position).value();
    let name = prepared.compiled.target_attributes.get(position);
    let given = match Sought::decode(&prepared.compiled, &member.sought)? {
        Sought::Match(values) => values.into_iter().find(|(of, _)| Some(of) == name).map(|(_, value)| value),
        Sought::Key(_) | Sought::Renamed(..) | Sought::Taken(_) | Sought::Nowhere => None,
    };
    Ok(now != Some(known) && (given.is_none() || now != given.as_ref()))
}

/// Whether the target shows the effect of a guarded change that was sent: what certainly did not happen does not
/// count towards the limit of a day.
fn took_effect(prepared: &Prepared, counted: &str, found: Option<&FoundObject>) -> bool {
    let Some(object) = found else { return true };
    match counted.strip_prefix("clear:") {
        Some(name) => {
            let position = prepared.compiled.target_attributes.iter().position(|known| known == name);
            position.is_none_or(|position| *object.row.slot(position) == Slot::Null)
        }
        None if counted == GuardKind::Delete.name() => false,
        // Not read back, so it counts.
        None if counted == GuardKind::MemberRemoval.name() => true,
        None => {
            let off = Slot::One(Value::Boolean(false));
            prepared.compiled.enabling.is_none_or(|position| *object.row.slot(position) == off)
        }
    }
}

/// Whether an object holds exactly the values that a create wrote.
fn written_by_us(prepared: &Prepared, member: &BatchMember, found: &Row) -> bool {
    let written =
        found.0.iter().zip(&prepared.compiled.columns).map(|(slot, column)| {
            if column.input == crate::compile::Input::None { Slot::Unknown } else { slot.clone() }
        });
    content_hash(&prepared.layout, &Row(written.collect())) == member.content
}
