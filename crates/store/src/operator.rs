//! What people see and decide: holds and grants, parked objects, quarantine, links set by hand, events.

use async_trait::async_trait;
use muster_model::AttributeId;

use crate::error::StoreError;
use crate::records::{HoldRecord, LinkId, LinkState, LinkView, ObjectId, ParkedView, SourceTypeId, SyncId};

/// One guarded change that a person approved. It serves the identical change only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The link.
    pub link: LinkId,
    /// The kind of change.
    pub kind: String,
    /// The attribute, for a value that is cleared; else empty.
    pub attribute: String,
    /// Recognises the object and the value concerned.
    pub value: [u8; 16],
}

/// Why an approval was not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// The changes of this hold may go.
    Recorded(HoldRecord),
    /// Nothing with this digest is held.
    Unknown,
    /// The hold has expired; the next cycle makes a new one while its changes are still wanted.
    Expired,
}

/// A sync whose changes wait, because most of them were refused alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRecord {
    /// The sync.
    pub sync: SyncId,
    /// The rule that refused.
    pub rule: String,
    /// The attribute to blame.
    pub attribute: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// Probes sent so far.
    pub probes: i64,
    /// When the next probe goes out, in milliseconds since 1970.
    pub next_probe_at: i64,
}

/// Which parked objects to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// All of the sync.
    All,
    /// Those of these links.
    Links(Vec<LinkId>),
    /// Those refused by this rule, and for this attribute where one is given.
    Rule {
        /// The rule.
        rule: String,
        /// The attribute to blame.
        attribute: Option<String>,
    },
}

/// What a person decides over one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Separated from its target object, and not matched again until linked by hand.
    Release,
    /// The source object is left alone for good.
    Ignore,
    /// A released or ignored one is matched again.
    Return,
    /// Linked to this target object.
    Link {
        /// Linked, or disabled where the object is.
        state: LinkState,
        /// The target object's encoded anchor.
        target_key: Vec<u8>,
        /// Its packed attributes as just read.
        written: Vec<u8>,
    },
}

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It stands.
    Done,
    /// An operation for the link is on its way; its outcome comes first.
    OnItsWay,
    /// The target object belongs to this link.
    Owned(LinkId),
}

/// Something that happened: codes, ids and names of attributes only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The sync.
    pub sync: SyncId,
    /// The link, where it concerns one.
    pub link: Option<LinkId>,
    /// What happened, such as `held`.
    pub code: String,
    /// Kinds, rules, attributes and numbers.
    pub detail: String,
}

/// How the state knows a link's source object, beside what a [`LinkView`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFacts {
    /// The last generation that saw the source object.
    pub generation: i64,
    /// The revision last evaluated.
    pub evaluated: i64,
    /// Not to be tried before, in milliseconds since 1970.
    pub not_before: Option<i64>,
    /// Why it is parked.
    pub parked: Option<ParkedView>,
    /// A batch with an operation of it is on its way.
    pub on_its_way: bool,
}

/// The part of the state that operators see and change. Every method is one transaction.
#[async_trait]
pub trait OperatorStore {
    /// What a person approved and has not expired.
    async fn grants(&self, sync: SyncId, now: i64) -> Result<Vec<Grant>, StoreError>;

    /// Grants the changes of the hold with this digest until `expires_at`, and marks their links dirty.
    async fn approve(&self, sync: SyncId, digest: &[u8; 16], now: i64, expires_at: i64)
    -> Result<Approval, StoreError>;

    /// Forgets what was granted of a kind that is over.
    async fn forget_grants(&self, sync: SyncId, kind: &str) -> Result<(), StoreError>;

    /// How many links of a sync were last written or seen with a value of this attribute.
    async fn links_with_value(&self, sync: SyncId, attribute: AttributeId) -> Result<u64, StoreError>;

    /// The objects that the complete generation did not see, with their links in this sync.
    async fn unseen_objects(
        &self,
        source_type: SourceTypeId,
        sync: SyncId,
    ) -> Result<Vec<(ObjectId, LinkId)>, StoreError>;

    /// The sync's quarantine.
    async fn quarantine(&self, sync: SyncId) -> Result<Option<QuarantineRecord>, StoreError>;

    /// Notes a quarantine, or how it goes on.
    async fn set_quarantine(&self, quarantine: &QuarantineRecord) -> Result<(), StoreError>;

    /// Ends a quarantine, with the pauses of whoever waits, and forgets the outcomes that led to it. Returns whether
    /// there was one.
    async fn end_quarantine(&self, sync: SyncId) -> Result<bool, StoreError>;

    /// The sync's last outcomes as the engine wrote them.
    async fn outcome_window(&self, sync: SyncId) -> Result<Vec<u8>, StoreError>;

    /// Replaces the sync's last outcomes.
    async fn set_outcome_window(&self, sync: SyncId, outcomes: &[u8]) -> Result<(), StoreError>;

    /// Marks parked links dirty, so that they are tried again. Returns how many.
    async fn retry(&self, sync: SyncId, which: &Retry) -> Result<u64, StoreError>;

    /// Links parked for a rule and attribute, oldest first.
    async fn parked_links(
        &self,
        sync: SyncId,
        rule: &str,
        attribute: Option<&str>,
        limit: u32,
    ) -> Result<Vec<LinkId>, StoreError>;

    /// Records what a person decides over a link. Evaluations made before it count no more.
    async fn decide(&self, sync: SyncId, link: LinkId, decision: &Decision) -> Result<Decided, StoreError>;

    /// What explains a link.
    async fn link_facts(&self, sync: SyncId, link: LinkId) -> Result<Option<LinkFacts>, StoreError>;

    /// All links of a sync after `after`, in order of their ids.
    async fn all_links(&self, sync: SyncId, after: LinkId, limit: u32) -> Result<Vec<LinkView>, StoreError>;

    /// Adds events, and forgets those older than 90 days.
    async fn add_events(&self, events: &[EventRecord]) -> Result<(), StoreError>;

    /// The last events of a sync, or of one of its links, newest first.
    async fn events(&self, sync: SyncId, link: Option<LinkId>, limit: u32) -> Result<Vec<EventRecord>, StoreError>;
}
