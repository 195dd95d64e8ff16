//! Entra as a target: uploads, their limits, and what the provisioning log says of them.
//!
//! `answers` and `payload` are about single uploads, against the scripted peer; the others run against the sandbox.

mod answers;
mod check;
mod confirm;
mod house;
mod limits;
mod payload;
mod scale;
mod strict;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_connector::{Batch, Connector, Epoch, Kind, Operation, OperationId};
use muster_connector_entra::{Environment, connect};
use muster_model::{Key, Row, Slot, Value};
use serde_json::json;
use uuid::Uuid;

use crate::peer::Peer;
use crate::world::{SECRET, World, settings, values};

pub(crate) const PRINCIPAL: &str = "0a1b2c3d-0000-4000-8000-00000000cccc";
pub(crate) const JOB: &str = "API2AAD.0a1b2c3d000040008000000000000000.job";

/// The section `inbound`, with `more` on top.
pub(crate) fn section(folder: &Path, more: serde_json::Value) -> serde_json::Value {
    let mut section = json!({
        "service_principal": PRINCIPAL, "job": JOB, "calls_file": folder.join("calls.json").display().to_string(),
    });
    section.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    section
}

/// A connection to the peer; the folder holds the file that counts its calls.
pub(crate) fn connected(world: &Arc<World>, peer: &Peer, folder: &Path, more: serde_json::Value) -> Arc<dyn Connector> {
    let values = values(peer, json!({"inbound": section(folder, more), "read_timeout": "500ms"}));
    connect(&settings(values, &[("client_secret", SECRET)]), Arc::clone(world) as Arc<dyn Environment>).unwrap()
}

/// Whole records: externalId and further values by attribute.
pub(crate) fn batch(attributes: &[&str], people: &[(&str, Vec<Slot>)]) -> Batch {
    let operations = people.iter().map(|(id, slots)| put(id, slots.clone())).collect();
    Batch {
        object_type: "inbound_user".into(),
        attributes: attributes.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().into(),
        operations,
        epoch: Epoch::default(),
        deadline: Duration::from_secs(60),
    }
}

pub(crate) fn put(external_id: &str, slots: Vec<Slot>) -> Operation {
    Operation {
        id: OperationId(Uuid::new_v4()),
        kind: Kind::Put,
        key: Some(Key::text(external_id)),
        row: Row(slots),
        deltas: Vec::new(),
        enabling: None,
        expected_version: None,
        expected: None,
        depends_on: Vec::new(),
        secrets: Vec::new(),
    }
}

/// People with a name and an address, enabled.
pub(crate) fn people(ids: &[&str]) -> Batch {
    let slots = |id: &str| {
        let name = format!("{}@sandbox.example", id.to_lowercase());
        vec![Slot::text(&name), Slot::text(&format!("Person {id}")), Slot::One(Value::Boolean(true))]
    };
    let all: Vec<_> = ids.iter().map(|id| (*id, slots(id))).collect();
    batch(&["userName", "displayName", "active"], &all)
}
