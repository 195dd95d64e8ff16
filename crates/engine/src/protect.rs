//! Protected target objects: never adopted, changed, disabled or deleted.

use muster_connector::FoundObject;
use muster_expression::{Comparing, Nulls};
use muster_model::pack::unpack_row;
use muster_model::{CaseRule, Key, Row, Slot};
use muster_store::{LinkUpdate, LinkView, OperationKind, ParkReason};

use crate::apply::Sent;
use crate::compile::{Compiled, Input};
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::pass::parked;
use crate::prepare::Prepared;
use crate::report::Report;

/// The rule that parks whoever wants a protected object.
pub(crate) const PROTECTED: &str = "protected";

impl Compiled {
    /// Whether a target object with these attributes is protected. What is not known counts as protected.
    #[must_use]
    pub fn protects(&self, row: &Row) -> bool {
        self.weigh(row).unwrap_or(true)
    }

    /// As [`Self::protects`]; `None` where an attribute that matters is unknown.
    fn weigh(&self, row: &Row) -> Option<bool> {
        let verdicts = self.verdicts(row);
        if verdicts.contains(&Some(true)) {
            return Some(true);
        }
        verdicts.iter().all(Option::is_some).then_some(false)
    }

    /// What each condition says of a target object with these attributes.
    fn verdicts(&self, row: &Row) -> Vec<Option<bool>> {
        let position = |name: &str| self.target_attributes.iter().position(|known| known == name);
        let slot = |name: &str| position(name).map_or(&Slot::Unknown, |position| row.slot(position));
        let comparing = |name: &str| {
            let attribute = self.target.attribute(name);
            let ignores_case = attribute.is_some_and(|attribute| attribute.case == CaseRule::Insensitive);
            Comparing { ignores_case, nulls: Nulls::Differ }
        };
        self.rules.protect.iter().map(|condition| condition.holds(slot, comparing)).collect()
    }

    /// Which setting protects a target object with these attributes, for a person.
    pub(crate) fn protected_by(&self, row: &Row) -> Option<String> {
        let name = &self.rules.name;
        let holds = self.verdicts(row).iter().position(|verdict| *verdict == Some(true));
        let text = holds.and_then(|position| {
            Some(format!("syncs.{name}.protect[{position}]: {}", self.rules.protect.get(position)?))
        });
        text.or_else(|| {
            self.protects(row).then(|| format!("syncs.{name}.protect, as an attribute it asks for is not known"))
        })
    }

    /// Whether all attributes that protection asks for are written by this sync, so that the link knows them.
    fn knows_protection(&self) -> bool {
        self.rules
            .protect
            .iter()
            .flat_map(muster_expression::Condition::attributes)
            .all(|name| self.columns.iter().any(|column| column.attribute.name == *name && column.input != Input::None))
    }
}

/// Why a link's object is left alone.
pub(crate) fn reason(compiled: &Compiled, kind: OperationKind) -> ParkReason {
    ParkReason {
        operation: None,
        kind,
        rule: PROTECTED.to_owned(),
        attribute: None,
        message: format!("the target object is protected by syncs.{}.protect", compiled.rules.name),
    }
}

impl Engine {
    /// Takes out of what is about to be sent whatever would touch a protected object, and parks it.
    pub(crate) async fn spare_protected(
        &self,
        prepared: &Prepared,
        sending: Vec<Sent>,
        settled: &mut Vec<LinkUpdate>,
        report: &mut Report,
    ) -> Result<Vec<Sent>, EngineError> {
        let compiled = &prepared.compiled;
        if compiled.rules.protect.is_empty() {
            return Ok(sending);
        }
        let mut verdicts: Vec<Option<bool>> = Vec::with_capacity(sending.len());
        for sent in &sending {
            verdicts.push(match (&sent.kind, &sent.link.written) {
                (OperationKind::Create, _) => Some(false),
                (_, Some(written)) if compiled.knows_protection() => {
                    compiled.weigh(&unpack_row(&prepared.layout.target, written)?)
                }
                _ => None,
            });
        }
        let asked: Vec<Key> = sending
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| verdict.is_none())
            .map(|(sent, _)| sent.operation.key.clone().unwrap_or(Key(Vec::new())))
            .collect();
        let mut found = self.look_at(prepared, &asked).await?.into_iter();
        let mut going = Vec::with_capacity(sending.len());
        for (sent, verdict) in sending.into_iter().zip(verdicts) {
            let is_protected = verdict.unwrap_or_else(|| {
                // What is not there any more needs no protection.
                found.next().flatten().is_some_and(|object| compiled.protects(&object.row))
            });
            if is_protected {
                report.parked += 1;
                settled.push(protected(compiled, &sent.link, sent.kind, self.clock.now()));
            } else {
                going.push(sent);
            }
        }
        Ok(going)
    }

    /// Which setting keeps a link's target object from being changed, asked of the target itself.
    pub(crate) async fn protection(&self, prepared: &Prepared, link: &LinkView) -> Result<Option<String>, EngineError> {
        let (false, Some(key)) = (prepared.compiled.rules.protect.is_empty(), link.target_key.as_deref()) else {
            return Ok(None);
        };
        let found = self.look_at(prepared, &[Key::decode(key)?]).await?;
        Ok(found.into_iter().flatten().next().and_then(|object| prepared.compiled.protected_by(&object.row)))
    }

    async fn look_at(&self, prepared: &Prepared, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, EngineError> {
        let side = &prepared.target;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let Some(target) = side.connector.target() else { return Err(EngineError::NoConnection(side.name.clone())) };
        let found =
            target.get(&side.request, keys).await.map_err(|error| EngineError::connection(&side.name, error))?;
        if found.len() == keys.len() {
            return Ok(found);
        }
        let problem = format!("asked for {} objects, it answered {}", keys.len(), found.len());
        Err(EngineError::connection(&side.name, muster_connector::Error::Bug(problem)))
    }
}

pub(crate) fn protected(compiled: &Compiled, link: &LinkView, kind: OperationKind, now: i64) -> LinkUpdate {
    parked(link, reason(compiled, kind), now)
}
