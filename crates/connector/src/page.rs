//! What a source hands over, page by page.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use muster_model::{Key, Row};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadRequest {
    /// The object type.
    pub object_type: Arc<str>,
    /// The attributes wanted; rows answer in this order. References are answered as edges; a slot beside them stays
    /// unknown, unless the attribute has a value of its own, such as a foreign key. No attributes at all: keys only.
    pub attributes: Arc<[String]>,
    /// Where not empty, only objects with these ids or names are needed of the type, and a source that finds objects
    /// by them may leave out all others. Names are those by which [`muster_model::Inverse::called_by`] has objects
    /// called.
    #[serde(default)]
    pub named: Arc<[String]>,
}

/// The source's own token for "from here on", opaque to the host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Watermark(
    #[serde(with = "crate::wire::token")]
    #[schemars(with = "crate::wire::Token")]
    pub Vec<u8>,
);

/// The source's own token for the next page of a round, opaque to the host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cursor(
    #[serde(with = "crate::wire::token")]
    #[schemars(with = "crate::wire::Token")]
    pub Vec<u8>,
);

// Tokens may hold what a source would not like to see in a log, so they print their length only.
impl fmt::Debug for Watermark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Watermark({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Cursor({} bytes)", self.0.len())
    }
}

/// Where to go on reading changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// The first page of a round: from a watermark, or everything.
    Start(Option<Watermark>),
    /// A further page of the round.
    Page(Cursor),
}

/// What follows a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// Another page of the same round.
    Page(Cursor),
    /// The round is complete; the next one starts here.
    Done(Watermark),
}

/// A page of a round of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangePage {
    /// What changed, in no particular order, possibly with repeats.
    pub entries: Vec<Entry>,
    /// What follows.
    pub next: Next,
    /// The source's own clock when it answered, if it tells.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub source_time: Option<DateTime<Utc>>,
}

/// One object of a page of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// The object's anchor.
    pub key: Key,
    /// What happened to its attributes.
    pub change: Change,
    /// What happened to its references.
    #[serde(default)]
    pub edges: Vec<EdgeChange>,
}

/// What happened to an object's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// All attributes; an unknown slot of the row is null. In a delta the entry's references are all that there are,
    /// too.
    Whole(Row),
    /// Some attributes; an unknown slot is as before (or null, when the object is seen first in a full round).
    Partial(Row),
    /// Its attributes are as they were; an object that is not known is left out. The entry brings references.
    Same,
    /// The object was removed.
    Removed(Removal),
}

/// How far an object is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// It rests in a recycle bin and may come back.
    Soft,
    /// It is gone for good.
    Hard,
}

/// One reference that an object gained or lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EdgeChange {
    /// Position of the reference attribute in [`ReadRequest::attributes`].
    pub attribute: usize,
    /// The referenced object's type.
    pub object_type: Arc<str>,
    /// The referenced object's anchor.
    pub referenced: Key,
    /// The reference is gone.
    #[serde(default)]
    pub removed: bool,
}

/// A page of a full read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadPage {
    /// Whole objects.
    pub objects: Vec<SourceObject>,
    /// The next page, if there is one.
    pub next: Option<Cursor>,
    /// On the first page: the watermark taken before it, where the type has a delta.
    pub watermark: Option<Watermark>,
    /// The source's own clock when it answered, if it tells.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub source_time: Option<DateTime<Utc>>,
}

/// One whole object of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceObject {
    /// Its anchor.
    pub key: Key,
    /// Its attributes, in the order of the request.
    pub row: Row,
    /// Its references.
    #[serde(default)]
    pub edges: Vec<EdgeChange>,
    /// Only of a full read: an earlier page brought its attributes, and these are further references. So a group of a
    /// million members needs no page of its size.
    #[serde(default)]
    pub continues: bool,
}

/// One object found at a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FoundObject {
    /// Its anchor.
    pub key: Key,
    /// Its attributes, in the order of the request.
    pub row: Row,
    /// Its version, where the type has versions.
    #[serde(default, with = "crate::wire::optional_token")]
    #[schemars(with = "Option<crate::wire::Token>")]
    pub version: Option<Vec<u8>>,
}

/// A page of all objects of a target type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FoundPage {
    /// The objects.
    pub objects: Vec<FoundObject>,
    /// What to ask next with; none after the last page.
    pub next: Option<Cursor>,
}
