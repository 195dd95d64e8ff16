//! The takeover report: how a target that is filled already and the source fit together, before anything is linked.

use std::collections::HashSet;

use muster_connector::Error as ConnectorError;
use muster_model::Key;
use muster_model::Slot;
use muster_store::LinkUpdate;
use serde::Serialize;

use crate::cycle::Engine;
use crate::error::EngineError;
use crate::matching::SECOND_CLAIMANT;
use crate::prepare::Prepared;
use crate::protect::PROTECTED;

/// How a target and the source fit.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Takeover {
    /// Source objects with exactly one target object.
    pub matched: u64,
    /// How many of them each match rule found, where there are several rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matched_by: Vec<(String, u64)>,
    /// Source objects with more than one.
    pub ambiguous: u64,
    /// Source objects whose target object another one claims.
    pub second_claimants: u64,
    /// Source objects whose target object is protected.
    pub protected: u64,
    /// All target objects; none where the target cannot list them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_objects: Option<u64>,
    /// Target objects that belong to no source object. They stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign: Option<u64>,
    /// The first of them: key, and the value to match by.
    pub first_foreign: Vec<(String, Option<String>)>,
}

impl Takeover {
    /// Counts what matching said of one link.
    pub(crate) fn note(&mut self, update: &LinkUpdate) {
        match update.parked.as_ref().map(|reason| reason.rule.as_str()) {
            None if update.target_key.is_some() => self.matched += 1,
            Some("ambiguous_match") => self.ambiguous += 1,
            Some(SECOND_CLAIMANT) => self.second_claimants += 1,
            Some(PROTECTED) => self.protected += 1,
            _ => {}
        }
    }
}

impl Engine {
    /// Counts the target objects that nobody has and nobody would get; `None` where there are no objects at all, so
    /// that there is nothing to take over.
    pub(crate) async fn survey(
        &self,
        prepared: &Prepared,
        mut takeover: Takeover,
        claimed: &HashSet<Vec<u8>>,
        limit: usize,
    ) -> Result<Option<Takeover>, EngineError> {
        let side = &prepared.target;
        let Some(target) = side.connector.target() else { return Err(EngineError::NoConnection(side.name.clone())) };
        let mut cursor = None;
        let (mut all, mut foreign) = (0, 0);
        loop {
            let page = match target.list(&side.request, cursor.as_ref()).await {
                Ok(page) => page,
                Err(ConnectorError::Unsupported(_)) => return Ok(Some(takeover)),
                Err(error) => return Err(EngineError::connection(&side.name, error)),
            };
            all += page.objects.len() as u64;
            let keys: Vec<Vec<u8>> = page.objects.iter().map(|object| object.key.encode()).collect();
            let owners = self.store.owners(side.id, &keys).await?;
            for (object, key) in page.objects.iter().zip(&keys) {
                if owners.contains_key(key) || claimed.contains(key) {
                    continue;
                }
                foreign += 1;
                if takeover.first_foreign.len() < limit {
                    let name = prepared.compiled.name_of(|position| object.row.slot(position).value());
                    takeover.first_foreign.push((shown(&object.key), name));
                }
            }
            match page.next {
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => break,
            }
        }
        takeover.target_objects = Some(all);
        takeover.foreign = Some(foreign);
        Ok((all > 0).then_some(takeover))
    }
}

fn shown(key: &Key) -> String {
    key.to_string()
}

/// A slot as commands show it.
#[must_use]
pub(crate) fn shown_slot(slot: &Slot) -> String {
    match slot {
        Slot::Unknown => "?".to_owned(),
        Slot::Null => "null".to_owned(),
        Slot::One(value) => value.to_string(),
        Slot::Many(values) => values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
