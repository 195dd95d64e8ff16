//! Operations as they leave: in batches, each noted before it is sent.

use std::collections::{BTreeMap, HashMap};

use muster_connector::{Error as ConnectorError, Kind, Operation, OperationId, Outcome, SecretString, ValueDelta};
use muster_model::pack::{pack_row, unpack_row};
use muster_model::{Key, Row, Slot, Value};
use muster_store::{BatchId, BatchMember, BatchRecord, LinkId, LinkView, OperationKind, ValueWrite};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::compile::Compiled;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{ChangeWanted, Layout};
use crate::fleet::Fleet;
use crate::guard::{Group, counter};
use crate::identity::known_by;
use crate::matching::Candidate;
use crate::prepare::Prepared;
use crate::quarantine::Reason;
use crate::recognition::MatchValues;
use crate::sought::Sought;
use crate::values::ValuesSent;

/// One operation on its way, with what recording its outcome needs. Its row leaves with the batch.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) link: LinkView,
    pub(crate) operation: Operation,
    pub(crate) kind: OperationKind,
    /// The values to match by, of a create.
    pub(crate) matches: Vec<MatchValues>,
    /// A create that was not preceded by a look for an object that matches.
    pub(crate) blind: bool,
    /// What recognises the operation's values, once it has left.
    pub(crate) content: [u8; 16],
    /// What the target object's attributes are after a success, packed, once it has left.
    pub(crate) after: Vec<u8>,
    /// Whether the object is disabled after a success, where the operation says so.
    pub(crate) disabled_after: Option<bool>,
    pub(crate) due_at: Option<i64>,
    /// The value that the object will be known by, where the operation changes it.
    pub(crate) becomes: Option<Value>,
    /// It disables, and writes other values as well.
    pub(crate) disables_and_more: bool,
    /// The report has counted the link already.
    pub(crate) counted: bool,
    /// The guarded changes in it that no person approved.
    pub(crate) charge: Vec<Group>,
    /// A part of what the link calls for waits for approval, so the link stays dirty.
    pub(crate) rest: bool,
    /// The single values that it adds or removes, and nothing else.
    pub(crate) values: Option<ValuesSent>,
    /// The initial password that it gives, where a receiver is to have it.
    pub(crate) password: Option<SecretString>,
}

impl Sent {
    pub(crate) fn new(link: LinkView, kind: OperationKind, operation: Kind, key: Option<Key>, row: Row) -> Self {
        let operation = Operation {
            id: OperationId(Uuid::now_v7()),
            kind: operation,
            key,
            row,
            deltas: Vec::new(),
            enabling: None,
            expected_version: None,
            expected: None,
            depends_on: Vec::new(),
            secrets: Vec::new(),
        };
        Self {
            link,
            operation,
            kind,
            matches: Vec::new(),
            blind: false,
            content: [0; 16],
            after: Vec::new(),
            disabled_after: None,
            due_at: None,
            becomes: None,
            disables_and_more: false,
            counted: false,
            charge: Vec::new(),
            rest: false,
            values: None,
            password: None,
        }
    }

    pub(crate) fn create(compiled: &Compiled, candidate: Candidate) -> Self {
        let key = creators_key(compiled, &candidate.row);
        // Evaluated, so its source state has said all that it has to say; a batch is in memory for a while.
        let source = candidate.link.source.filter(|_| !compiled.unique_choices.is_empty());
        let link = LinkView { source, ..candidate.link };
        let sent = Self::new(link, OperationKind::Create, Kind::Create, key, candidate.row);
        // What holds several values follows once the object is there.
        let rest = !compiled.many.is_empty();
        Self { matches: candidate.matches, due_at: candidate.due_at, rest, ..sent }
    }

    pub(crate) fn change(compiled: &Compiled, link: LinkView, change: ChangeWanted, due_at: Option<i64>) -> Self {
        let key = link.target_key.as_deref().and_then(|key| Key::decode(key).ok());
        let mut row = change.row;
        let (kind, operation) = match change.rename {
            Some(to) => (OperationKind::Rename, Kind::Rename { to }),
            None if change.enabling == Some(false) => (OperationKind::Disable, Kind::Update),
            None => (OperationKind::Update, Kind::Update),
        };
        if kind != OperationKind::Rename {
            // The anchor's own slots say nothing new, and no target should be asked to rewrite its key.
            for position in compiled.anchor.iter().flatten() {
                if let Some(slot) = row.0.get_mut(*position) {
                    *slot = Slot::Unknown;
                }
            }
        }
        let mut sent = Self::new(link, kind, operation, key, row);
        sent.operation.enabling = change.enabling;
        let written = sent.operation.row.0.iter().filter(|slot| !slot.is_unknown()).count();
        sent.disables_and_more = sent.disables() && written > 1;
        Self { due_at, ..sent }
    }

    /// Adds or removes single values of a linked object.
    pub(crate) fn values(link: LinkView, delta: ValueDelta, values: ValuesSent, due_at: Option<i64>) -> Self {
        let key = link.target_key.as_deref().and_then(|key| Key::decode(key).ok());
        let mut sent = Self::new(link, OperationKind::Update, Kind::Update, key, Row::default());
        sent.operation.deltas.push(delta);
        Self { due_at, rest: true, values: Some(values), ..sent }
    }

    /// An update without anything in it, for plans of values alone.
    pub(crate) fn nothing_yet(link: LinkView) -> Self {
        let key = link.target_key.as_deref().and_then(|key| Key::decode(key).ok());
        Self::new(link, OperationKind::Update, Kind::Update, key, Row::default())
    }

    pub(crate) fn delete(link: LinkView) -> Self {
        let key = link.target_key.as_deref().and_then(|key| Key::decode(key).ok());
        Self::new(link, OperationKind::Delete, Kind::Delete, key, Row::default())
    }

    /// Towards a target of which nobody can see what is there, all that should be is said, whatever differs.
    pub(crate) fn as_put(&mut self, prepared: &Prepared) -> Result<(), EngineError> {
        if !prepared.compiled.capabilities.readable {
            let written = self.link.written.as_deref().filter(|_| self.kind != OperationKind::Create);
            if let Some(written) = written {
                self.operation.row = merged(&prepared.layout, written, &self.operation.row)?;
            }
            self.operation.kind = Kind::Put;
        }
        Ok(())
    }

    /// Says by what value the object is known, besides a key that may be given again.
    pub(crate) fn expect(&mut self, prepared: &Prepared) -> Result<(), EngineError> {
        if let Some(position) = known_by(&prepared.compiled).filter(|_| self.kind != OperationKind::Create) {
            let written = self.link.written.as_deref().unwrap_or_default();
            let written = unpack_row(&prepared.layout.target, written)?;
            self.operation.expected = written.slot(position).value().map(|value| (position, value.clone()));
            self.becomes = self.operation.row.slot(position).value().cloned();
        }
        Ok(())
    }

    /// What leaves, and what is noted of it. What recording needs is kept packed, and nothing else: a batch is in
    /// memory from its evaluation until its outcomes are recorded.
    fn depart(&mut self, prepared: &Prepared) -> Result<(Operation, BatchMember), EngineError> {
        let layout = &prepared.layout;
        self.expect(prepared)?;
        let mut row = std::mem::take(&mut self.operation.row);
        let packed = pack_row(&layout.target, &row);
        self.content = hash(&packed);
        self.after = match (self.kind, self.link.written.take()) {
            (OperationKind::Create, _) | (_, None) => packed,
            (_, Some(written)) => pack_row(&layout.target, &merged(layout, &written, &row)?),
        };
        self.disabled_after = prepared.compiled.enabling.and_then(|position| match row.slot(position) {
            Slot::Unknown => None,
            slot => Some(*slot == Slot::One(Value::Boolean(false))),
        });
        if !prepared.compiled.capabilities.readable {
            row = unpack_row(&layout.target, &self.after)?;
            self.operation.kind = Kind::Put;
        }
        self.link.source = None;
        let member = BatchMember {
            operation: self.operation.id.0,
            link: self.link.id,
            kind: self.kind,
            revision: self.link.dirty,
            content: self.content,
            sought: self.sought(&prepared.compiled),
        };
        let deltas = std::mem::take(&mut self.operation.deltas);
        Ok((Operation { row, deltas, ..self.operation.clone() }, member))
    }

    /// By what the object is found if the answer is lost: its source may say something else by then.
    pub(crate) fn sought(&self, compiled: &Compiled) -> Vec<u8> {
        match (&self.operation.kind, &self.operation.key, compiled.recognised_by(&self.matches)) {
            (Kind::Rename { to }, ..) => Sought::Renamed(to.clone(), self.after.clone()).encode(),
            (Kind::Create, Some(key), _) => Sought::Key(key.clone()).encode(),
            (Kind::Create, None, Some(matched)) => Sought::matched(compiled, matched).encode(),
            _ => match (known_by(compiled), &self.becomes) {
                (Some(position), Some(value)) => Sought::value(compiled, position, value.clone()).encode(),
                _ => Vec::new(),
            },
        }
    }

    /// Whether it takes access away, whatever else it does.
    pub(crate) fn disables(&self) -> bool {
        self.operation.enabling == Some(false)
    }
}

/// The values of an object after what is written to it.
fn merged(layout: &Layout, written: &[u8], row: &Row) -> Result<Row, EngineError> {
    let mut after = unpack_row(&layout.target, written)?;
    for (slot, new) in after.0.iter_mut().zip(&row.0) {
        if !new.is_unknown() {
            slot.clone_from(new);
        }
    }
    Ok(after)
}

/// The anchor that a new object will have, where its creator chooses it.
pub(crate) fn creators_key(compiled: &Compiled, row: &Row) -> Option<Key> {
    let positions = compiled.anchor.as_ref()?;
    positions.iter().map(|position| row.slot(*position).value().cloned()).collect::<Option<Vec<_>>>().map(Key)
}

/// Recognises the values of an operation at the target without keeping them.
pub(crate) fn content_hash(layout: &Layout, row: &Row) -> [u8; 16] {
    hash(&pack_row(&layout.target, row))
}

fn hash(packed: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(packed).as_bytes()[..16]);
    short
}

/// Operations that travel together.
#[derive(Debug)]
pub(crate) struct Shipment {
    pub(crate) sent: Vec<Sent>,
}

/// What came back.
pub(crate) struct Landed {
    pub(crate) batch: BatchId,
    pub(crate) sent: Vec<Sent>,
    pub(crate) outcomes: HashMap<OperationId, Outcome>,
    /// The target cannot go on.
    pub(crate) error: Option<ConnectorError>,
    /// So many objects were refused alone that the fault is none of theirs.
    pub(crate) blamed: Option<Reason>,
    /// Keeps the next one from leaving, where this one has to be taken in first.
    pub(crate) lane: Option<OwnedSemaphorePermit>,
}

impl Shipment {
    /// Creates and updates first, then what takes away, in batches that the target can take.
    pub(crate) fn pack(sent: Vec<Sent>, prepared: &Prepared) -> Vec<Self> {
        let size = (prepared.compiled.capabilities.max_batch as usize).clamp(1, 10_000);
        let takes_away = |sent: &Sent| sent.disables() || sent.kind == OperationKind::Delete;
        if sent.len() <= size && !sent.iter().any(takes_away) {
            return if sent.is_empty() { Vec::new() } else { vec![Self { sent }] };
        }
        let (last, first): (Vec<_>, Vec<_>) = sent.into_iter().partition(takes_away);
        let mut shipments = Vec::new();
        for group in [first, last] {
            let mut group = group.into_iter().peekable();
            while group.peek().is_some() {
                shipments.push(Self { sent: group.by_ref().take(size).collect() });
            }
        }
        shipments
    }
}

impl Engine {
    /// Sends a batch on its way. Nothing of its outcomes is recorded before it lands.
    pub(crate) async fn ship(
        &self,
        prepared: &Prepared,
        mut shipment: Shipment,
        fleet: &mut Fleet,
    ) -> Result<(), EngineError> {
        let side = &prepared.target;
        let mut operations = Vec::with_capacity(shipment.sent.len());
        let mut members = Vec::with_capacity(shipment.sent.len());
        for sent in &mut shipment.sent {
            let (mut operation, member) = sent.depart(prepared)?;
            if sent.kind == OperationKind::Create {
                self.give_password(prepared, sent, &mut operation).await?;
            }
            operations.push(operation);
            members.push(member);
        }
        let record = BatchRecord {
            id: BatchId(0),
            sync: prepared.sync,
            target_type: side.id,
            epoch: (side.epoch.incarnation, side.epoch.counter),
            host: self.host.clone(),
            sent_at: self.clock.now(),
            members,
            guarded: guarded(prepared, &shipment.sent),
            values: shipment.sent.iter().filter_map(added).collect(),
        };
        self.fly(prepared, record, shipment, operations, fleet);
        Ok(())
    }
}

/// The values that an operation adds, with its link.
fn added(sent: &Sent) -> Option<(LinkId, ValueWrite)> {
    let write = &sent.values.as_ref()?.write;
    (!write.added.is_empty()).then(|| (sent.link.id, write.clone()))
}

/// The guarded changes that count, each with its link.
fn guarded(prepared: &Prepared, sent: &[Sent]) -> Vec<(LinkId, String)> {
    let names = |sent: &Sent| -> Vec<(LinkId, String)> {
        sent.charge.iter().map(|group| (sent.link.id, counter(prepared, *group))).collect()
    };
    sent.iter().flat_map(names).collect()
}

/// The guarded changes that count, by kind.
pub(crate) fn charges<'a>(prepared: &Prepared, sent: impl IntoIterator<Item = &'a Sent>) -> Vec<(String, u64)> {
    let mut charges: BTreeMap<Group, u64> = BTreeMap::new();
    for group in sent.into_iter().flat_map(|sent| &sent.charge) {
        *charges.entry(*group).or_default() += 1;
    }
    charges.into_iter().map(|(group, amount)| (counter(prepared, group), amount)).collect()
}
