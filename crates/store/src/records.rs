//! The records of the state, as the engine sees them.

use std::collections::HashMap;

use muster_model::{AttributeId, Multiplicity, ValueType};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::values::{Referred, ValueWrite};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub i64);
    )*};
}

ids! {
    /// Names a connection.
    ConnectionId;
    /// Names an object type of a connection that is read.
    SourceTypeId;
    /// Names an object type of a connection that is written.
    TargetTypeId;
    /// Names a sync.
    SyncId;
    /// Names a source object.
    ObjectId;
    /// Names a link.
    LinkId;
    /// Names a batch.
    BatchId;
}

/// The store itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFacts {
    /// New after every restore.
    pub incarnation: Uuid,
    /// When the incarnation was made: the first part of every epoch.
    pub created_at: i64,
    /// The latest time that was ever confirmed.
    pub clock_high_water: i64,
    /// The latest time whose due dates were acted upon.
    pub clock_reached: i64,
}

/// A connection as the state knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// The identity of the system first seen behind it.
    pub identity: Option<String>,
}

/// What an attribute id stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttributeSpec {
    /// The attribute's name.
    pub name: String,
    /// The type of its values.
    pub value_type: ValueType,
    /// How many values it holds.
    pub multiplicity: Multiplicity,
}

/// How far a source type's current round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// No round has begun, or the last one is finished.
    Idle,
    /// A full read is under way.
    Full,
    /// A delta is under way.
    Delta,
    /// All keys are being read, and what deltas do not show: what is not seen is gone.
    Keys,
}

/// An object type that is read, and where its reading stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceType {
    /// Its id.
    pub id: SourceTypeId,
    /// Where the round stands.
    pub round: Round,
    /// The number of the last full read begun.
    pub generation: i64,
    /// A full read is complete, and what it did not see is still to be swept.
    pub unswept: bool,
    /// Where the current round, or the next one, starts.
    pub watermark: Option<Vec<u8>>,
    /// The next page of the current round.
    pub cursor: Option<Vec<u8>>,
    /// The attributes being read.
    pub attributes: Vec<AttributeId>,
    /// When all keys were last read, in milliseconds since 1970.
    pub keys_read: Option<i64>,
}

/// An object type that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetType {
    /// Its id.
    pub id: TargetTypeId,
    /// The counter of the last lease.
    pub epoch: i64,
}

/// What the configuration says of a sync, as far as the state must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncDefinition {
    /// Its name.
    pub name: String,
    /// What it reads.
    pub source_type: SourceTypeId,
    /// What it writes.
    pub target_type: TargetTypeId,
    /// A hash of every rule that an evaluation depends on.
    pub fingerprint: [u8; 16],
    /// It writes references, so that it matters to its links what becomes of the objects that theirs refer to.
    pub refers: bool,
}

/// A sync as the state knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// Its id.
    pub id: SyncId,
    /// The rules had changed, so every link was marked dirty.
    pub rules_changed: bool,
    /// Why a person or the engine paused it.
    pub paused: Option<String>,
    /// Its linked target objects must be read again before anything is sent.
    pub reconcile: bool,
}

/// How a sync stands between cycles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncStanding {
    /// Its id.
    pub id: SyncId,
    /// Its name.
    pub name: String,
    /// Why a person or the engine paused it.
    pub paused: Option<String>,
    /// A person asked for a cycle: when, and higher for every further request.
    pub wake_at: Option<i64>,
    /// Its linked target objects must be read again before anything is sent.
    pub reconcile: bool,
}

/// How far a source object is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is there.
    No,
    /// It may come back.
    Soft,
    /// It is gone for good.
    Hard,
}

/// A source object as last merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its id.
    pub id: ObjectId,
    /// The last generation that saw it.
    pub generation: i64,
    /// Whether it is gone.
    pub removed: Removed,
    /// Since when, in milliseconds since 1970.
    pub removed_since: Option<i64>,
    /// The packed row; none for a placeholder.
    pub state: Option<Vec<u8>>,
}

/// A source object to write.
#[derive(Debug, Clone)]
pub struct ObjectWrite {
    /// The object, where it was stored before; a placeholder counts.
    pub known: Option<ObjectId>,
    /// The encoded anchor.
    pub anchor: Vec<u8>,
    /// The merged state; `None` keeps what is stored.
    pub state: Option<Vec<u8>>,
    /// Whether it is gone.
    pub removed: Removed,
    /// Since when.
    pub removed_since: Option<i64>,
    /// The object differs from what was stored, so its links become dirty.
    pub changed: bool,
    /// It went or came back, so the links of objects that refer to it become dirty.
    pub came_or_went: bool,
}

/// A reference to add or remove.
#[derive(Debug, Clone)]
pub struct EdgeWrite {
    /// The encoded anchor of the object that refers, which is among the page's objects.
    pub anchor: Vec<u8>,
    /// The reference attribute.
    pub attribute: AttributeId,
    /// The referenced object's type.
    pub referenced_type: SourceTypeId,
    /// The referenced object's encoded anchor.
    pub referenced: Vec<u8>,
    /// The reference is gone.
    pub removed: bool,
    /// The attribute holds one reference at most: a new one replaces the old.
    pub single: bool,
}

/// Where the round stands after a page.
#[derive(Debug, Clone)]
pub struct RoundWrite {
    /// The new standing.
    pub round: Round,
    /// The generation.
    pub generation: i64,
    /// A full read is complete, and what it did not see is still to be swept.
    pub unswept: bool,
    /// Where the round started, or the next one starts.
    pub watermark: Option<Vec<u8>>,
    /// The next page.
    pub cursor: Option<Vec<u8>>,
    /// The attributes being read.
    pub attributes: Vec<AttributeId>,
    /// When all keys were last read, in milliseconds since 1970.
    pub keys_read: Option<i64>,
}

/// A merged page: committed together or not at all.
#[derive(Debug, Clone)]
pub struct PageCommit {
    /// What was read.
    pub source_type: SourceTypeId,
    /// The objects, each anchor once.
    pub objects: Vec<ObjectWrite>,
    /// The references.
    pub edges: Vec<EdgeWrite>,
    /// Of these attributes of these objects (by encoded anchor) the page names every reference: others are gone.
    pub complete: Vec<(Vec<u8>, AttributeId)>,
    /// References of these attributes count as seen by the generation, which does not look at them.
    pub unread: Vec<AttributeId>,
    /// Where the round stands now.
    pub round: RoundWrite,
}

/// What a page's merge did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageSummary {
    /// An object that was written as new is stored already, so nothing was written at all.
    pub collided: bool,
    /// Objects not seen before.
    pub new: u64,
    /// References added or removed.
    pub edges: u64,
    /// The first new object; the others have the ids after it, in the order of the page.
    pub first_object: ObjectId,
    /// For each sync that reads the type the first new object's link; the others have the ids after it, in that order.
    pub first_links: Vec<(SyncId, LinkId)>,
}

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// No target object yet.
    Candidate,
    /// Linked.
    Linked,
    /// Linked, and the target object is disabled.
    Disabled,
    /// The target object was deleted.
    Gone,
    /// A person separated them; not matched again.
    Released,
    /// A person said that the source object is to be left alone.
    Ignored,
}

/// How a link came to its target object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Not at all yet.
    None,
    /// Muster created the target object.
    Created,
    /// The target object was there before.
    Adopted,
}

/// A link with everything its evaluation needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkView {
    /// Its id.
    pub id: LinkId,
    /// The source object.
    pub object: ObjectId,
    /// The source object's encoded anchor.
    pub anchor: Vec<u8>,
    /// The source object's packed state.
    pub source: Option<Vec<u8>>,
    /// Whether the source object is gone.
    pub removed: Removed,
    /// Since when.
    pub removed_since: Option<i64>,
    /// The link's state.
    pub state: LinkState,
    /// How it came to its target object.
    pub origin: Origin,
    /// The target object's encoded anchor.
    pub target_key: Option<Vec<u8>>,
    /// Packed attributes last written to or seen at the target.
    pub written: Option<Vec<u8>>,
    /// Packed values generated once.
    pub sticky: Option<Vec<u8>>,
    /// The revision to be evaluated.
    pub dirty: i64,
    /// Failed attempts since the last success.
    pub attempts: i64,
    /// When it becomes dirty by itself.
    pub due_at: Option<i64>,
    /// Its last operation was refused.
    pub parked: bool,
    /// What its source object's single-valued references lead to; `None` where nobody has looked.
    pub referred: Option<Vec<Referred>>,
    /// Which of the groups that the sync's scope names it is in, by their positions there; `None` where nobody has
    /// looked.
    pub member_of: Option<Vec<usize>>,
}

/// Who owns a target object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The owning link's sync.
    pub sync: SyncId,
    /// The owning link.
    pub link: LinkId,
    /// Whether its source object is gone.
    pub removed: Removed,
}

/// Why an object is parked: codes and names only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkReason {
    /// The operation that was refused, if one was sent.
    pub operation: Option<Uuid>,
    /// Its kind.
    pub kind: OperationKind,
    /// The rule it broke.
    pub rule: String,
    /// The attribute to blame.
    pub attribute: Option<String>,
    /// The target's own words, which may hold personal values.
    pub message: String,
}

/// What becomes of a link after an evaluation or an outcome. Complete: fields not wrapped in `Option` are written as they are.
#[derive(Debug, Clone)]
pub struct LinkUpdate {
    /// Which link.
    pub link: LinkId,
    /// The revision of the link that this was computed from: what a person decided later stands.
    pub seen: i64,
    /// The revision that is now evaluated.
    pub evaluated: i64,
    /// A difference remains, so the link stays dirty.
    pub dirty_again: bool,
    /// The state.
    pub state: LinkState,
    /// The origin.
    pub origin: Origin,
    /// The target object's encoded anchor.
    pub target_key: Option<Vec<u8>>,
    /// The key was assigned just now, so any other link that holds it is out of date.
    pub fresh_key: bool,
    /// What was written or seen; `None` keeps what is stored, an empty row forgets it.
    pub written: Option<Vec<u8>>,
    /// When it becomes dirty by itself.
    pub due_at: Option<i64>,
    /// Not to be tried before.
    pub not_before: Option<i64>,
    /// Failed attempts since the last success.
    pub attempts: i64,
    /// Why it is parked; `None` clears an earlier reason.
    pub parked: Option<ParkReason>,
    /// Single values that the target object gained and lost.
    pub values: Vec<ValueWrite>,
}

/// The kind of an operation, as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// A create.
    Create,
    /// An update, enabling included.
    Update,
    /// A disable, possibly with an update.
    Disable,
    /// A delete.
    Delete,
    /// A rename.
    Rename,
    /// A put.
    Put,
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchMember {
    /// The operation's id.
    pub operation: Uuid,
    /// Its link.
    pub link: LinkId,
    /// Its kind.
    pub kind: OperationKind,
    /// The link's revision it was computed from.
    pub revision: i64,
    /// A hash of the values it writes, to recognise them at the target.
    pub content: [u8; 16],
    /// By what the object is found at the target if the answer is lost, as the engine encodes it; empty where its
    /// link says it.
    pub sought: Vec<u8>,
}

/// What was sent together. While the record exists its members' fate is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRecord {
    /// Its id; assigned by the store.
    pub id: BatchId,
    /// The sync.
    pub sync: SyncId,
    /// The target type.
    pub target_type: TargetTypeId,
    /// Who sent it: (incarnation, counter).
    pub epoch: (i64, i64),
    /// The sending host.
    pub host: String,
    /// When.
    pub sent_at: i64,
    /// The operations.
    pub members: Vec<BatchMember>,
    /// The guarded changes among them that no person approved: the link, and the name they are counted under.
    pub guarded: Vec<(LinkId, String)>,
    /// Single values that it adds. Not told again by [`crate::Store::open_batches`]: the values' own records say that
    /// they may be there.
    pub values: Vec<(LinkId, ValueWrite)>,
}

/// A parked object, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedView {
    /// The link.
    pub link: LinkId,
    /// The source object's encoded anchor.
    pub anchor: Vec<u8>,
    /// The refused operation's kind.
    pub kind: OperationKind,
    /// The rule.
    pub rule: String,
    /// The attribute.
    pub attribute: Option<String>,
    /// The target's own words.
    pub message: Option<String>,
    /// Since when.
    pub since: i64,
    /// How often it was refused.
    pub attempts: i64,
}

/// One change of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeldChange {
    /// The link.
    pub link: LinkId,
    /// Recognises the object and the value concerned.
    pub value: [u8; 16],
}

/// Changes of one kind that wait for approval, all of them or none. The list never changes: another list is another
/// hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRecord {
    /// The sync.
    pub sync: SyncId,
    /// The kind of change.
    pub kind: String,
    /// The attribute, where the kind is about one.
    pub attribute: Option<String>,
    /// A hash of the list.
    pub digest: [u8; 16],
    /// When it was made.
    pub created_at: i64,
    /// When it and any approval end.
    pub expires_at: i64,
    /// How many changes were wanted.
    pub wanted: u64,
    /// How many would have been let through.
    pub allowed: u64,
    /// What the limit is a share of.
    pub base: u64,
    /// A person approved it, and the next cycle sends it.
    pub approved: bool,
    /// The changes.
    pub items: Vec<HeldChange>,
}

/// A batch that was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its id.
    pub batch: BatchId,
    /// Links that a person decided over since their operations were computed: these must not be sent, and are not
    /// members of the batch.
    pub withdrawn: Vec<LinkId>,
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub struct BatchEnd {
    /// Which one.
    pub batch: BatchId,
    /// What its outcomes make of its links.
    pub updates: Vec<LinkUpdate>,
    /// Counts of guarded changes by kind that certainly had no effect.
    pub returned: Vec<(String, u64)>,
    /// Members whose outcome is still to come; without any the batch is forgotten.
    pub open: Vec<BatchMember>,
    /// Once it is recorded, the target may forget what became of it.
    pub forgotten: bool,
}

/// One pass of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// When it began.
    pub started_at: i64,
    /// When it ended; none while it runs or when it was killed.
    pub finished_at: Option<i64>,
    /// `ok`, or why it stopped.
    pub outcome: Option<String>,
    /// The report as JSON.
    pub report: Option<String>,
}

/// How many links of a sync are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncCounts {
    /// All links, whether they have a target object or not.
    pub links: u64,
    /// Linked and enabled.
    pub linked: u64,
    /// Linked and disabled.
    pub disabled: u64,
    /// Still to be evaluated.
    pub dirty: u64,
    /// Refused.
    pub parked: u64,
    /// Waiting for a pause to end.
    pub waiting: u64,
    /// Waiting for approval.
    pub held: u64,
}

/// Stored objects by encoded anchor.
pub type ObjectsByAnchor = HashMap<Vec<u8>, StoredObject>;
