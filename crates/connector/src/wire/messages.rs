//! The messages, both ways. Each is an object with one entry, whose name says what the message is.

use std::collections::BTreeMap;

use muster_model::{Key, Schema, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::description::Description;
use crate::error::Error;
use crate::finding::{CheckReport, UsedType};
use crate::operation::{Batch, OperationId, SecretValue};
use crate::outcome::{Outcome, Resolution};
use crate::page::{ChangePage, Cursor, FoundObject, FoundPage, Position, ReadPage, ReadRequest, SourceObject};

/// The version of the wire form that this code speaks. It grows with a change that the other side must know of;
/// an entry that a side does not know is ignored, so that new ones need no new version.
pub const VERSION: u32 = 1;

/// From Muster to the connector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToConnector {
    /// The first message.
    Hello(HostHello),
    /// Settings and secrets, once, after the hellos.
    Configure(Configure),
    /// Something to do. It is answered once; several may be open at a time.
    Request(Request),
    /// Nobody waits for the answer to this request any more.
    Cancel(u64),
    /// Finish what is open and end; no request follows.
    Stop(Stop),
}

/// How Muster introduces itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostHello {
    /// The oldest and the newest version of the wire form that Muster speaks.
    pub versions: (u32, u32),
    /// The longest line in bytes that Muster takes.
    pub line_limit: usize,
    /// A connector that promises heartbeats sends something at least this often, in milliseconds.
    pub heartbeat_ms: u64,
}

/// How the connector introduces itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// The version that both will speak, within Muster's range.
    pub version: u32,
    /// The longest line in bytes that the connector takes, at least 65,536; Muster's own where it is missing.
    #[serde(default)]
    pub line_limit: Option<usize>,
    /// The most requests that may be open at a time; one where it is missing.
    #[serde(default)]
    pub concurrent: Option<u32>,
    /// The connector promises to send something, be it a heartbeat, as often as Muster asks for, even while it works.
    #[serde(default)]
    pub heartbeats: bool,
}

/// Settings and secrets. They reach a connector here and nowhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Configure {
    /// The connection's name, for messages.
    pub connection: String,
    /// The connector's own settings.
    pub settings: serde_json::Value,
    /// The secrets by the dotted path of their setting, such as `client_secret`.
    #[schemars(with = "BTreeMap<String, String>")]
    pub secrets: BTreeMap<String, SecretValue>,
    /// The folder that relative paths in the settings start from.
    pub folder: String,
}

/// Says that the settings were taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Configured {
    /// Why they were not.
    #[serde(default)]
    pub error: Option<Error>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The answer's id. Never used twice towards one process.
    pub id: u64,
    /// What to do.
    pub call: Call,
}

/// What to do. Each stands for a method of the contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// What the connector is and which settings it takes. The only call before `configure`.
    Describe {},
    /// Examine the connection for what the syncs use.
    Check {
        /// What they use.
        used: Vec<UsedType>,
    },
    /// What the system holds.
    Schema {},
    /// A page of whole objects of a source.
    Read {
        /// What is wanted.
        request: ReadRequest,
        /// Of which page; none: the first.
        cursor: Option<Cursor>,
    },
    /// A page of what changed at a source.
    Changes {
        /// What is wanted.
        request: ReadRequest,
        /// From where on.
        position: Position,
    },
    /// Single objects of a source.
    Get {
        /// What is wanted.
        request: ReadRequest,
        /// Of which objects; the answer is in their order.
        keys: Vec<Key>,
    },
    /// Single objects of a target.
    TargetGet {
        /// What is wanted.
        request: ReadRequest,
        /// Of which objects; the answer is in their order.
        keys: Vec<Key>,
    },
    /// Objects of a target by values.
    Find {
        /// What is wanted.
        request: ReadRequest,
        /// The attributes to compare.
        by: Vec<String>,
        /// Their values, in the order of `by`; the answer is in the order of these lists.
        values: Vec<Vec<Value>>,
    },
    /// Whether objects of a target have single values of an attribute with many.
    Holds {
        /// The object's type.
        request: ReadRequest,
        /// The attribute.
        attribute: String,
        /// Key and value; the answer is in their order.
        pairs: Vec<(Key, Value)>,
    },
    /// A page of all objects of a target.
    List {
        /// What is wanted.
        request: ReadRequest,
        /// Of which page; none: the first.
        cursor: Option<Cursor>,
    },
    /// What `apply` would send, for a person.
    Preview(Batch),
    /// Change the target.
    Apply(Batch),
    /// What became of operations whose answer was lost.
    Outcomes {
        /// Which.
        ids: Vec<OperationId>,
    },
    /// What became of operations that were answered with `accepted`.
    Confirm {
        /// The object type.
        object_type: String,
        /// Which, each with its ticket.
        accepted: Vec<(OperationId, String)>,
    },
    /// What so many operations take where the system limits them.
    Effort {
        /// The object type.
        object_type: String,
        /// How many.
        operations: u64,
    },
    /// The outcomes of these operations are safe with Muster.
    Acknowledge {
        /// Which.
        ids: Vec<OperationId>,
    },
}

impl Call {
    /// The call's name, which is also that of its reply.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Describe {} => "describe",
            Self::Check { .. } => "check",
            Self::Schema {} => "schema",
            Self::Read { .. } => "read",
            Self::Changes { .. } => "changes",
            Self::Get { .. } => "get",
            Self::TargetGet { .. } => "target_get",
            Self::Find { .. } => "find",
            Self::Holds { .. } => "holds",
            Self::List { .. } => "list",
            Self::Preview(_) => "preview",
            Self::Apply(_) => "apply",
            Self::Outcomes { .. } => "outcomes",
            Self::Confirm { .. } => "confirm",
            Self::Effort { .. } => "effort",
            Self::Acknowledge { .. } => "acknowledge",
        }
    }
}

/// How to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stop {
    /// After this many milliseconds the process is killed.
    pub within_ms: u64,
}

/// From the connector to Muster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FromConnector {
    /// The answer to the hello.
    Hello(Accepted),
    /// The answer to the settings.
    Configured(Configured),
    /// The answer to a request.
    Answer(Answer),
    /// A request is being worked on.
    Progress(Progress),
    /// The connector lives.
    Heartbeat {},
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// The request's id.
    pub id: u64,
    /// What came of it.
    pub reply: Reply,
}

/// How far a request is. Until the next one the time for an answer starts anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// The request's id.
    pub id: u64,
    /// How much is done, in whatever unit the connector counts.
    #[serde(default)]
    pub done: Option<u64>,
}

/// What came of a request: under the name of its call, or an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To `describe`.
    Describe(Description),
    /// To `check`.
    Check(CheckReport),
    /// To `schema`.
    Schema(Schema),
    /// To `read`.
    Read(ReadPage),
    /// To `changes`.
    Changes(ChangePage),
    /// To `get`: null where there is none.
    Get(Vec<Option<SourceObject>>),
    /// To `target_get`: null where there is none.
    TargetGet(Vec<Option<FoundObject>>),
    /// To `find`.
    Find(Vec<Vec<FoundObject>>),
    /// To `holds`.
    Holds(Vec<bool>),
    /// To `list`.
    List(FoundPage),
    /// To `preview`: one text for each operation.
    Preview(Vec<String>),
    /// To `apply`: a pair of id and outcome for each operation.
    Apply(Vec<(OperationId, Outcome)>),
    /// To `outcomes`.
    Outcomes(Vec<(OperationId, Resolution)>),
    /// To `confirm`: what is not answered is pending.
    Confirm(Vec<(OperationId, Resolution)>),
    /// To `effort`: a sentence for a person, or null.
    Effort(Option<String>),
    /// To `acknowledge`.
    Acknowledge {},
    /// The call failed as a whole.
    Error(Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conversation_of_the_specification_is_one_and_no_secret_is_printed() {
        let page = include_str!("../../../../docs/connectors/wire.md");
        let (mut said, mut heard) = (0, 0);
        for line in page.lines() {
            if let Some(message) = line.strip_prefix("> {") {
                serde_json::from_str::<ToConnector>(&format!("{{{message}"))
                    .unwrap_or_else(|error| panic!("{line}: {error}"));
                said += 1;
            } else if let Some(message) = line.strip_prefix("< {") {
                serde_json::from_str::<FromConnector>(&format!("{{{message}"))
                    .unwrap_or_else(|error| panic!("{line}: {error}"));
                heard += 1;
            }
        }
        assert_eq!((said, heard), (8, 7));

        let text = r#"{"configure":{"connection":"a","settings":{},"secrets":{"password":"hunter22"},"folder":"/"}}"#;
        let message: ToConnector = serde_json::from_str(text).unwrap();
        assert!(!format!("{message:?}").contains("hunter22"));
        assert_eq!(serde_json::to_string(&message).unwrap(), text);
    }

    #[test]
    fn what_a_side_does_not_know_is_ignored_and_what_is_optional_may_be_missing() {
        let message: FromConnector = serde_json::from_str(r#"{"hello":{"version":1,"mood":"good"}}"#).unwrap();
        let accepted = Accepted { version: 1, line_limit: None, concurrent: None, heartbeats: false };
        assert_eq!(message, FromConnector::Hello(accepted));
        let page = r#"{"answer":{"id":1,"reply":{"read":{"objects":[{"key":["a"],"row":[null]}]}}}}"#;
        assert!(serde_json::from_str::<FromConnector>(page).is_ok());
        let outcome =
            r#"{"answer":{"id":1,"reply":{"apply":[["01932d4a-7c10-7000-8000-000000000001",{"applied":{}}]]}}}"#;
        assert!(serde_json::from_str::<FromConnector>(outcome).is_ok());
    }

    #[test]
    fn every_call_has_the_name_under_which_it_is_written() {
        for call in [Call::Describe {}, Call::Schema {}, Call::Acknowledge { ids: Vec::new() }] {
            assert!(serde_json::to_string(&call).unwrap().starts_with(&format!("{{\"{}\":", call.name())));
        }
    }
}
