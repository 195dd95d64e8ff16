//! The contract between Muster and the code that speaks to one kind of system.
//!
//! With `muster-model` this is all that a connector's author depends on. A connector implements
//! [`Connector`] and, for what it can do, [`Source`], [`Target`] or both. The host owns retries, batching,
//! order, secrets and logging; the connector answers truthfully, one outcome for each operation id.

pub mod connector;
pub mod description;
pub mod error;
pub mod finding;
pub mod marks;
pub mod operation;
pub mod outcome;
pub mod page;
#[cfg(feature = "serve")]
pub mod serve;
pub mod settings;
pub mod span;
pub mod wire;

pub use connector::{Connector, ConnectorKind, Source, Target};
pub use description::Description;
pub use error::{Error, Expired};
pub use finding::{CheckReport, Finding, Severity, UsedType};
pub use marks::Marks;
pub use operation::{Batch, Epoch, Kind, Operation, OperationId, SecretValue, ValueDelta};
pub use outcome::{Effect, Outcome, Resolution, RetryScope};
pub use page::{
    Change, ChangePage, Cursor, EdgeChange, Entry, FoundObject, FoundPage, Next, Position, ReadPage, ReadRequest,
    Removal, SourceObject, Watermark,
};
#[cfg(feature = "serve")]
pub use serve::serve;
pub use settings::{ConnectorSettings, ExposeSecret, Secret, SecretString};
pub use span::Span;
