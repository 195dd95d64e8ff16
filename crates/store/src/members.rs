//! Who is in the groups that a sync's scope names.

use async_trait::async_trait;
use muster_model::AttributeId;

use crate::error::StoreError;
use crate::records::{ObjectId, SourceTypeId, SyncId};

/// A group that a scope names, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeGroup {
    /// What the scope asks for: the name under which the kind's members know it.
    pub asked: String,
    /// As the configuration says it.
    pub named: String,
    /// Whether members of its member groups count.
    pub transitive: bool,
    /// The group.
    pub object: ObjectId,
}

impl ScopeGroup {
    /// The number under which its members are known: another for the members of member groups.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.object.0 * 2 + i64::from(self.transitive)
    }
}

/// An object that may be called by a name: its id, its encoded anchor and its packed state.
pub type Named = (ObjectId, Vec<u8>, Vec<u8>);

/// What the state knows of groups in scopes.
#[async_trait]
pub trait MemberStore {
    /// Objects of a type that are there, in the order of their ids after `after`.
    async fn present_objects(
        &self,
        source_type: SourceTypeId,
        after: ObjectId,
        limit: u32,
    ) -> Result<Vec<Named>, StoreError>;

    /// The groups that a sync's scope named when its members were last compared.
    async fn scope_groups(&self, sync: SyncId) -> Result<Vec<ScopeGroup>, StoreError>;

    /// Compares who is in these groups with who was, and marks the links of those who came or went. `members` are the
    /// reference attributes of the types that have members: a member of another such type stands for its own members,
    /// one of the same type only where the group is `transitive`. Does nothing where neither groups nor references
    /// changed. Returns how many links are marked.
    async fn compare_members(
        &self,
        sync: SyncId,
        members: &[(SourceTypeId, AttributeId)],
        groups: &[ScopeGroup],
    ) -> Result<u64, StoreError>;

    /// In which groups of a sync's scope these objects are: (object, [`ScopeGroup::number`]).
    async fn members_of(&self, sync: SyncId, objects: &[ObjectId]) -> Result<Vec<(ObjectId, i64)>, StoreError>;
}
