//! References: an attribute of the source that names other objects becomes the anchors of the target objects that
//! those are linked to. They may come in any order, since whatever gives an object its target object marks the links of
//! all that refer to it.

use std::collections::HashMap;

use muster_connector::Severity;
use muster_expression::Expression;
use muster_model::{Attribute, Key, Multiplicity, Reference, Slot, Value, ValueType};
use muster_store::{LinkUpdate, LinkView, ObjectId, OperationKind, Referred, ReferredEnd, TargetTypeId};

use crate::apply::Sent;
use crate::compile::{Column, Compiled, Compiler, Input, RuleFinding};
use crate::convert::{Misfit, fit};
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Layout, Wanted, park};
use crate::pass::{Progress, parked, unchanged};
use crate::prepare::Prepared;
use crate::report::Report;
use crate::rules::SyncRules;

/// The rule of an object whose create waits for one that it must refer to.
pub(crate) const WAITS_FOR_REFERENCE: &str = "waits_for_reference";

impl Compiler<'_> {
    /// The source's reference attribute that a mapping takes by itself. One that has a value as well, such as a foreign
    /// key, flows as a value into an attribute that refers to nothing.
    pub(crate) fn reference_in(&self, value: &Expression, to: &Attribute) -> Option<Attribute> {
        self.source.attribute(value.direct()?).filter(|from| flows_as_reference(from, to)).cloned()
    }

    /// Resolves a mapping of a reference, or says why it cannot flow.
    pub(crate) fn reference(&mut self, setting: &str, from: &Attribute, to: &Attribute) -> Option<Input> {
        let name = &from.name;
        let (connection, target) = (self.rules.target_connection.clone(), &self.target.name);
        if to.references.is_empty() {
            let problem = format!("[{name}] refers to other objects, and {connection}:{target} {:?} does not", to.name);
            let fix = "map it to an attribute that refers to objects of a type, such as a column with a foreign key";
            self.findings.error(setting, &problem, fix);
            return None;
        }
        if from.multiplicity != Multiplicity::Single && to.multiplicity == Multiplicity::Single {
            let problem = format!("[{name}] refers to several objects, and {:?} to one", to.name);
            self.findings.error(setting, &problem, "map it to an attribute that holds several values");
            return None;
        }
        Some(Input::Reference(self.source_position(name)))
    }
}

fn flows_as_reference(from: &Attribute, to: &Attribute) -> bool {
    from.is_reference() || (from.refers() && !to.references.is_empty())
}

/// Mappings of references whose objects no sync writes, so that they would lead nowhere.
#[must_use]
pub fn unwritten_references(compiled: &Compiled, syncs: &[SyncRules]) -> Vec<RuleFinding> {
    let rules = &compiled.rules;
    let mut findings = Vec::new();
    for mapping in &rules.mappings {
        let from = mapping.value.direct().and_then(|name| compiled.source.attribute(name));
        let (Some(from), Some(to)) = (from.filter(|from| from.refers()), compiled.target.attribute(&mapping.target))
        else {
            continue;
        };
        if !flows_as_reference(from, to) {
            continue;
        }
        let writes = |sync: &SyncRules| {
            sync.source_connection == rules.source_connection
                && sync.target_connection == rules.target_connection
                && from.references.contains(&sync.source_type)
                && to.references.contains(&sync.target_type)
        };
        if syncs.iter().any(writes) {
            continue;
        }
        let (source, target) = (&rules.source_connection, &rules.target_connection);
        let (of, names) = (from.references.join(" or "), to.references.join(" or "));
        findings.push(RuleFinding {
            severity: Severity::Warning,
            setting: format!("syncs.{}.map.{}", rules.name, mapping.target),
            problem: format!(
                "no sync writes {source}:{of} to {target}:{names}, so [{}] leads nowhere and {:?} stays empty",
                from.name, mapping.target
            ),
            fix: "add such a sync, or remove the mapping".to_owned(),
        });
    }
    findings
}

/// The value that names a target object in an attribute.
pub(crate) fn naming(key: &[u8], to: &Attribute) -> Result<Value, Misfit> {
    let unusable = |message: String| Misfit { rule: "wrong_type", message };
    let key = Key::decode(key).map_err(|error| unusable(error.to_string()))?;
    if to.value_type == ValueType::Reference {
        let object_type = match to.references.as_slice() {
            [only] => Some(only.as_str().into()),
            _ => None,
        };
        return Ok(Value::Reference(Box::new(Reference { object_type, key })));
    }
    match key.0.as_slice() {
        [value] => match fit(&Slot::One(value.clone()), to)? {
            Slot::One(value) => Ok(value),
            _ => Err(unusable(format!("{key} names nothing"))),
        },
        several => Err(unusable(format!("{key} has {} parts, and one value cannot name it", several.len()))),
    }
}

/// What a single-valued reference of a link flows into a column.
///
/// # Errors
/// The target requires one, and there is none.
pub(crate) fn referred(
    compiled: &Compiled,
    layout: &Layout,
    link: &LinkView,
    position: usize,
    linked: bool,
) -> Result<Slot, Misfit> {
    let (Some(column), Some(id)) = (compiled.columns.get(position), layout.target.get(position)) else {
        return Ok(Slot::Unknown);
    };
    let to = &column.attribute;
    // Nobody has looked, so that nothing can be said.
    let Some(ends) = &link.referred else { return Ok(Slot::Unknown) };
    match ends.iter().find(|referred| referred.attribute == *id).map(|referred| &referred.end) {
        Some(ReferredEnd::Object(key)) => naming(key, to).map(Slot::One),
        // What stands there stays until it is known who comes; a create without what it requires waits.
        Some(ReferredEnd::NotYet | ReferredEnd::Unread) if linked || to.required => Ok(Slot::Unknown),
        Some(ReferredEnd::Absent) if to.required => Ok(Slot::Unknown),
        Some(_) | None => fit(&Slot::Null, to),
    }
}

impl Compiled {
    /// Whether any mapping is a reference.
    pub(crate) fn refers(&self) -> bool {
        let single = self.columns.iter().map(|column| &column.input);
        let mut inputs = single.chain(self.many.iter().map(|many| &many.input));
        inputs.any(|input| matches!(input, Input::Reference(_)))
    }
}

impl Prepared {
    /// The target types whose objects an attribute names.
    pub(crate) fn target_types(&self, attribute: &Attribute) -> Vec<TargetTypeId> {
        attribute.references.iter().filter_map(|name| self.referenced_types.get(name).copied()).collect()
    }
}

impl Engine {
    /// Takes out creates that lack a reference which the target requires: they wait for its object.
    pub(crate) fn hold_back(
        &self,
        prepared: &Prepared,
        sending: Vec<Sent>,
        progress: &mut Progress,
        settled: &mut Vec<LinkUpdate>,
        report: &mut Report,
    ) -> Vec<Sent> {
        let is_required = |column: &Column| column.attribute.required && matches!(column.input, Input::Reference(_));
        let columns: Vec<(usize, &Column)> =
            prepared.compiled.columns.iter().enumerate().filter(|(_, column)| is_required(column)).collect();
        if columns.is_empty() {
            return sending;
        }
        let mut going = Vec::with_capacity(sending.len());
        for sent in sending {
            let lacks = |(position, _): &&(usize, &Column)| sent.operation.row.slot(*position).is_unknown();
            let lacking = columns.iter().find(lacks).filter(|_| sent.kind == OperationKind::Create);
            let Some((_, column)) = lacking else {
                going.push(sent);
                continue;
            };
            progress.release(&prepared.compiled, &sent.matches);
            if sent.blind {
                // One that is there already may still be taken over.
                progress.blind.no_more(sent.link.id);
                progress.unsettled(&sent.link);
                continue;
            }
            if sent.link.attempts == 0 {
                // Perhaps it comes in this very cycle: the second pass knows.
                progress.unsettled(&sent.link);
                let attempts = i64::from(!progress.arriving);
                settled.push(LinkUpdate { evaluated: 0, attempts, ..unchanged(&sent.link) });
                continue;
            }
            let message = "the object that it must refer to is not at the target yet; this is tried again when it is";
            let name = Some(column.attribute.name.as_str());
            if let Wanted::Park(reason) = park(OperationKind::Create, WAITS_FOR_REFERENCE, name, message.to_owned()) {
                report.parked += 1;
                settled.push(parked(&sent.link, reason, self.clock.now()));
            }
        }
        going
    }

    /// Looks up what the single-valued references of these links lead to.
    pub(crate) async fn with_referred(
        &self,
        prepared: &Prepared,
        mut links: Vec<LinkView>,
    ) -> Result<Vec<LinkView>, EngineError> {
        let columns = prepared.compiled.columns.iter().zip(&prepared.layout.target);
        let references: Vec<_> = columns
            .filter_map(|(column, id)| match column.input {
                Input::Reference(source) => Some((column, *prepared.layout.source.get(source)?, *id)),
                _ => None,
            })
            .collect();
        if references.is_empty() || links.is_empty() {
            return Ok(links);
        }
        let objects: Vec<ObjectId> = links.iter().map(|link| link.object).collect();
        let mut ends: HashMap<ObjectId, Vec<Referred>> = HashMap::new();
        for (column, source, target) in references {
            let types = prepared.target_types(&column.attribute);
            for found in self.store.referred(&objects, source, &types).await? {
                ends.entry(found.object).or_default().push(Referred { attribute: target, ..found });
            }
        }
        for link in &mut links {
            link.referred = Some(ends.remove(&link.object).unwrap_or_default());
        }
        Ok(links)
    }
}
