//! References between objects as their target knows them, and the values of multi-valued attributes one by one: a
//! group's members never stand in its row.

use async_trait::async_trait;
use muster_model::AttributeId;

use crate::error::StoreError;
use crate::records::{LinkId, ObjectId, SyncId, TargetTypeId};

/// What a single-valued reference of a source object leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referred {
    /// The object that refers.
    pub object: ObjectId,
    /// The reference attribute.
    pub attribute: AttributeId,
    /// What stands at the other end.
    pub end: ReferredEnd,
}

/// What stands at the other end of a reference, at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferredEnd {
    /// The target object with this encoded anchor.
    Object(Vec<u8>),
    /// None yet: the referenced object was not evaluated yet, or its create was refused, or its type was never read.
    NotYet,
    /// The referenced object was not read, and its type is being read: it may be on its way.
    Unread,
    /// The referenced object was not there when its type was read.
    Absent,
    /// None: the referenced object is gone, or no sync writes it.
    None,
}

/// A multi-valued reference attribute of one link, on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencesOf {
    /// The link.
    pub link: LinkId,
    /// Its source object.
    pub object: ObjectId,
    /// The source's reference attribute.
    pub source_attribute: AttributeId,
    /// The target's attribute.
    pub target_attribute: AttributeId,
    /// The types of target objects that it may name.
    pub target_types: Vec<TargetTypeId>,
}

/// Values of one attribute that an operation adds and removes, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueWrite {
    /// The target's attribute.
    pub attribute: AttributeId,
    /// Added.
    pub added: Vec<Vec<u8>>,
    /// Removed.
    pub removed: Vec<Vec<u8>>,
}

/// What the state knows of references and single values.
#[async_trait]
pub trait ValueStore {
    /// The ends of single-valued references of these objects, for those that have one.
    async fn referred(
        &self,
        objects: &[ObjectId],
        attribute: AttributeId,
        target_types: &[TargetTypeId],
    ) -> Result<Vec<Referred>, StoreError>;

    /// Target objects that should be named and are not certainly named yet, in the order of the referenced source
    /// objects after `after`: each with its source object and its encoded anchor.
    async fn references_to_add(
        &self,
        of: &ReferencesOf,
        after: ObjectId,
        limit: u32,
    ) -> Result<Vec<(ObjectId, Vec<u8>)>, StoreError>;

    /// Values that may be at the target and name nothing that should be named any more, in their order after `after`.
    async fn references_to_remove(
        &self,
        of: &ReferencesOf,
        after: &[u8],
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, StoreError>;

    /// The values of a link's attribute that the target has or may have, in their order after `after`, and of each
    /// whether it certainly has it.
    async fn written_values(
        &self,
        link: LinkId,
        attribute: AttributeId,
        after: &[u8],
        limit: u32,
    ) -> Result<Vec<(Vec<u8>, bool)>, StoreError>;

    /// The encoded anchors of source objects that an object refers to, at most so many.
    async fn referenced(
        &self,
        object: ObjectId,
        attribute: AttributeId,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, StoreError>;

    /// How many values a sync has written.
    async fn count_written_values(&self, sync: SyncId) -> Result<u64, StoreError>;
}
