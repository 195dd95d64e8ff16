//! Operations whose answer was lost: never sent again. What the target holds is recorded as seen, and the link
//! stays dirty, so that what is left to do becomes a new operation.

use std::collections::{BTreeMap, HashMap, HashSet};

use muster_connector::{Error as ConnectorError, FoundObject, OperationId, Resolution, Target};
use muster_model::pack::{pack_row, unpack_row};
use muster_model::{Key, Row, Slot, Value};
use muster_store::{BatchMember, BatchRecord, LinkId, LinkState, LinkUpdate, LinkView, OperationKind, Origin};

use crate::apply::{content_hash, creators_key};
use crate::commit::CommitPoint;
use crate::compile::Compiled;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Wanted, evaluate};
use crate::identity::known_by;
use crate::pass::{linked_state, unchanged};
use crate::prepare::Prepared;
use crate::recognition::MatchValues;
use crate::report::Report;
use crate::rules::GuardKind;

/// By what an object is found at the target.
#[derive(Debug, Clone)]
pub(crate) enum Sought {
    Key(Key),
    /// Attributes and the values that they have.
    Match(Vec<(String, Value)>),
    /// Nothing identifies it: it cannot have been created, since creates without identity are refused.
    Nowhere,
}

impl Sought {
    pub(crate) fn matched(compiled: &Compiled, matched: &MatchValues) -> Self {
        let names = compiled.compared(matched.rule).map(|(_, attribute)| attribute.name.clone());
        Self::Match(names.zip(matched.values.iter().cloned()).collect())
    }

    pub(crate) fn value(compiled: &Compiled, position: usize, value: Value) -> Self {
        let name = compiled.target_attributes.get(position).cloned().unwrap_or_default();
        Self::Match(vec![(name, value)])
    }

    /// As a batch's record keeps it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (tag, key) = match self {
            Self::Key(key) => (0, key.encode()),
            Self::Match(values) => {
                let pairs = values.iter().flat_map(|(name, value)| [Value::text(name), value.clone()]);
                (2, Key(pairs.collect()).encode())
            }
            Self::Nowhere => return Vec::new(),
        };
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&key);
        bytes
    }

    pub(crate) fn decode(compiled: &Compiled, bytes: &[u8]) -> Result<Self, EngineError> {
        let Some((tag, key)) = bytes.split_first() else { return Ok(Self::Nowhere) };
        let key = Key::decode(key)?;
        Ok(match (tag, key.0.as_slice()) {
            // As noted by versions that knew one match rule.
            (1, [value]) => match compiled.matching.first().map(|matching| matching.all.as_slice()) {
                Some([compared]) => Self::value(compiled, compared.target, value.clone()),
                _ => Self::Nowhere,
            },
            (2, pairs) => {
                Self::Match(pairs.chunks_exact(2).map(|pair| (pair[0].to_string(), pair[1].clone())).collect())
            }
            _ => Self::Key(key),
        })
    }
}

impl Engine {
    /// Finds out what became of the members of open batches. Returns the links whose operations are still open.
    pub(crate) async fn resolve_open_batches(
        &self,
        prepared: &Prepared,
        report: &mut Report,
    ) -> Result<HashSet<LinkId>, EngineError> {
        let mut still_open = HashSet::new();
        for batch in self.store.open_batches(prepared.sync).await? {
            let open = self.resolve(prepared, &batch, report).await?;
            tracing::info!(
                operations = batch.members.len(),
                open = open.len(),
                "what became of operations in doubt was looked up"
            );
            still_open.extend(open.iter().map(|member| member.link));
            report.unknown += open.len() as u64;
            self.observer.passed(CommitPoint::UnknownResolved);
        }
        Ok(still_open)
    }

    async fn resolve(
        &self,
        prepared: &Prepared,
        batch: &BatchRecord,
        report: &mut Report,
    ) -> Result<Vec<BatchMember>, EngineError> {
        let side = &prepared.target;
        let failed = |error: ConnectorError| EngineError::connection(&side.name, error);
        let Some(target) = side.connector.target() else { return Err(EngineError::NoConnection(side.name.clone())) };
        let links: Vec<LinkId> = batch.members.iter().map(|member| member.link).collect();
        let views: HashMap<LinkId, LinkView> =
            self.store.links(&links).await?.into_iter().map(|view| (view.id, view)).collect();
        let ids: Vec<OperationId> = batch.members.iter().map(|member| OperationId(member.operation)).collect();
        let recorded: HashMap<OperationId, Resolution> =
            target.outcomes(&ids).await.map_err(failed)?.into_iter().collect();
        let mut updates = Vec::new();
        let mut open = Vec::new();
        let mut looking = Vec::new();
        let mut without_effect: Vec<String> = Vec::new();
        let counted = |link: LinkId| batch.guarded.iter().filter(move |(of, _)| *of == link).map(|(_, name)| name);
        for member in &batch.members {
            let Some(view) = views.get(&member.link) else { continue };
            match recorded.get(&OperationId(member.operation)) {
                Some(Resolution::Pending { .. }) => open.push(member.clone()),
                // Evaluation decides anew: the operation had no effect and never will.
                Some(Resolution::NeverApplied) => without_effect.extend(counted(member.link).cloned()),
                Some(Resolution::Known(_) | Resolution::NotRecorded) | None => looking.push((member, view)),
            }
        }
        let mut probes = Vec::with_capacity(looking.len());
        for (member, view) in &looking {
            probes.push(self.probe(prepared, member, view)?);
        }
        let mut seen = look(prepared, target, &probes).await.map_err(failed)?;
        // What is no longer under its former key may have been renamed.
        for (((member, _), probe), found) in looking.iter().zip(&mut probes).zip(&seen) {
            let renamed = member.kind == OperationKind::Rename && found.is_none();
            *probe = if renamed { Sought::decode(&prepared.compiled, &member.sought)? } else { Sought::Nowhere };
        }
        for (found, renamed) in seen.iter_mut().zip(look(prepared, target, &probes).await.map_err(failed)?) {
            *found = found.take().or(renamed);
        }
        for ((member, view), found) in looking.into_iter().zip(seen) {
            let idle = |name: &&String| !took_effect(prepared, name, found.as_ref());
            without_effect.extend(counted(member.link).filter(idle).cloned());
            updates.extend(self.seen(prepared, member, view, found, report).await?);
        }
        let mut returned: BTreeMap<String, u64> = BTreeMap::new();
        for name in without_effect {
            *returned.entry(name).or_default() += 1;
        }
        let returned: Vec<(String, u64)> = returned.into_iter().collect();
        self.store.close_batch(batch.id, prepared.sync, &updates, &returned, &open, self.clock.now()).await?;
        Ok(open)
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

    /// As [`Self::probe`], for a source object that was removed after its create was sent.
    fn probe_gone(&self, prepared: &Prepared, view: &LinkView) -> Result<Sought, EngineError> {
        let present = LinkView { removed: muster_store::Removed::No, ..view.clone() };
        let evaluation = evaluate(&prepared.compiled, &prepared.layout, &present, self.clock.lifecycle())?;
        Ok(match evaluation.wanted {
            Wanted::Object { row, matches, .. } => sought(&prepared.compiled, &row, &matches),
            _ => Sought::Nowhere,
        })
    }

    /// Records what the target holds for one unknown operation.
    async fn seen(
        &self,
        prepared: &Prepared,
        member: &BatchMember,
        view: &LinkView,
        found: Option<FoundObject>,
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
        let owner = self.store.owners(prepared.target.id, std::slice::from_ref(&key)).await?;
        if owner.get(&key).is_some_and(|owner| owner.link != view.id) {
            // Somebody else's object: the match rules park this one.
            return Ok(None);
        }
        if stranger(prepared, member, view, &object.row)? {
            // What the key names may be somebody else's: whatever is sent next finds that out.
            return Ok(Some(base));
        }
        let ours = member.kind != OperationKind::Create || written_by_us(prepared, member, &object.row);
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
        Sought::Key(_) | Sought::Nowhere => None,
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

async fn look(
    prepared: &Prepared,
    target: &dyn Target,
    probes: &[Sought],
) -> Result<Vec<Option<FoundObject>>, ConnectorError> {
    let request = &prepared.target.request;
    let mut keys = Vec::new();
    // Which attributes identify an object differs from one to the next.
    let mut values: BTreeMap<Vec<String>, Vec<Vec<Value>>> = BTreeMap::new();
    for probe in probes {
        match probe {
            Sought::Key(key) => keys.push(key.clone()),
            Sought::Match(pairs) => {
                let (by, tuple) = pairs.iter().cloned().unzip();
                values.entry(by).or_default().push(tuple);
            }
            Sought::Nowhere => {}
        }
    }
    let mut by_key = if keys.is_empty() { Vec::new() } else { target.get(request, &keys).await? }.into_iter();
    let mut by_value = BTreeMap::new();
    for (by, tuples) in values {
        let found = target.find(request, &by, &tuples).await?;
        by_value.insert(by, found.into_iter());
    }
    Ok(probes
        .iter()
        .map(|probe| match probe {
            Sought::Key(_) => by_key.next().flatten(),
            Sought::Match(pairs) => {
                let by: Vec<String> = pairs.iter().map(|(name, _)| name.clone()).collect();
                let mut objects = by_value.get_mut(&by)?.next()?;
                if objects.len() == 1 { objects.pop() } else { None }
            }
            Sought::Nowhere => None,
        })
        .collect())
}

fn sought(compiled: &Compiled, row: &Row, matches: &[MatchValues]) -> Sought {
    match (creators_key(compiled, row), compiled.recognised_by(matches)) {
        (Some(key), _) => Sought::Key(key),
        (None, Some(matched)) => Sought::matched(compiled, matched),
        (None, None) => Sought::Nowhere,
    }
}
