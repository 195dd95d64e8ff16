//! `SelectUniqueValue`: the first of several values that no target object has. Asked for all new objects at once, one
//! choice after the other; what was chosen within a cycle is taken as well.

use std::collections::HashSet;

use muster_model::pack::unpack_row;
use muster_model::{CaseRule, Slot, Value};
use muster_store::{LinkId, LinkUpdate, OperationKind};

use crate::apply::{Sent, creators_key};
use crate::compile::Column;
use crate::computed::{FAILED, Subject, flow_unique};
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Wanted, park};
use crate::pass::{Progress, parked};
use crate::prepare::Prepared;
use crate::report::Report;

/// The rule of an object for which every choice is taken.
pub(crate) const NO_UNIQUE_VALUE: &str = "no_unique_value";

/// A value as the target tells values apart.
pub(crate) fn folded(column: &Column, text: &str) -> String {
    match column.attribute.case {
        CaseRule::Sensitive => text.to_owned(),
        CaseRule::Insensitive => text.to_lowercase(),
    }
}

impl Engine {
    /// Chooses for new objects what no other target object has.
    pub(crate) async fn choose_unique(
        &self,
        prepared: &Prepared,
        sending: Vec<Sent>,
        progress: &mut Progress,
        settled: &mut Vec<LinkUpdate>,
        report: &mut Report,
    ) -> Result<Vec<Sent>, EngineError> {
        if prepared.compiled.unique_choices.is_empty() {
            return Ok(sending);
        }
        let (mut creates, mut others): (Vec<Sent>, Vec<Sent>) =
            sending.into_iter().partition(|sent| sent.kind == OperationKind::Create);
        for position in &prepared.compiled.unique_choices {
            creates = self.choose(prepared, *position, creates, progress, settled, report).await?;
        }
        for sent in &mut creates {
            // A chosen value may be the key itself.
            sent.operation.key = creators_key(&prepared.compiled, &sent.operation.row);
            sent.link.source = None;
        }
        others.append(&mut creates);
        Ok(others)
    }

    async fn choose(
        &self,
        prepared: &Prepared,
        position: usize,
        mut waiting: Vec<Sent>,
        progress: &mut Progress,
        settled: &mut Vec<LinkUpdate>,
        report: &mut Report,
    ) -> Result<Vec<Sent>, EngineError> {
        let compiled = &prepared.compiled;
        let Some(column) = compiled.columns.get(position) else { return Ok(waiting) };
        let mut at_target: HashSet<String> = HashSet::new();
        let mut ready = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let mut asked: Vec<(Sent, Value)> = Vec::with_capacity(waiting.len());
            for mut sent in waiting.drain(..) {
                let source = unpack_row(&prepared.layout.source, sent.link.source.as_deref().unwrap_or_default())?;
                let subject = Subject {
                    sync: &compiled.rules.name,
                    anchor: &sent.link.anchor,
                    source: &source,
                    enabled: true,
                    now: self.clock.lifecycle(),
                };
                let is_taken = |text: &str| {
                    let text = folded(column, text);
                    at_target.contains(&text)
                        || progress.chosen.get(&(position, text)).is_some_and(|link: &LinkId| *link != sent.link.id)
                };
                match flow_unique(&column.input, &column.attribute, &subject, &is_taken) {
                    Ok(Slot::One(value)) => {
                        progress.chosen.insert((position, folded(column, &value.to_string())), sent.link.id);
                        asked.push((sent, value));
                    }
                    Ok(slot) => {
                        set(&mut sent, position, slot);
                        ready.push(sent);
                    }
                    Err(misfit) => {
                        let rule = if misfit.rule == FAILED { NO_UNIQUE_VALUE } else { misfit.rule };
                        for matched in &sent.matches {
                            progress.release(compiled, std::slice::from_ref(matched));
                        }
                        let name = Some(column.attribute.name.as_str());
                        if let Wanted::Park(reason) = park(OperationKind::Create, rule, name, misfit.message) {
                            report.parked += 1;
                            settled.push(parked(&sent.link, reason, self.clock.now()));
                        }
                    }
                }
            }
            let values = asked.iter().map(|(_, value)| vec![value.clone()]).collect();
            let found = self.find(prepared, &[position], values).await?;
            for ((mut sent, value), objects) in asked.into_iter().zip(found) {
                if objects.is_empty() {
                    set(&mut sent, position, Slot::One(value));
                    ready.push(sent);
                } else {
                    at_target.insert(folded(column, &value.to_string()));
                    waiting.push(sent);
                }
            }
        }
        Ok(ready)
    }
}

fn set(sent: &mut Sent, position: usize, chosen: Slot) {
    if let Some(slot) = sent.operation.row.0.get_mut(position) {
        *slot = chosen;
    }
}
