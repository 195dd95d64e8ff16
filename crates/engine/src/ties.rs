//! References and values of several as people see them, in plans and explanations, and as the target has them by now.

use std::collections::HashSet;

use muster_connector::{Error as ConnectorError, ValueDelta};
use muster_model::Key;
use muster_store::{LinkId, LinkUpdate, LinkView, ReferredEnd, ValueWrite};

use crate::compile::Input;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::Evaluation;
use crate::explain::{ExplainedMapping, REDACTED};
use crate::guard::{GuardedChange, removal_of};
use crate::pass::{SLICE, unchanged};
use crate::prepare::Prepared;
use crate::references::naming;
use crate::values::ValueProgress;

/// Values that are shown of one attribute.
const SHOWN: usize = 20;

/// Values that the target is asked for together.
const ASKED_TOGETHER: u32 = 5_000;

/// What an object's values of one attribute lack.
#[derive(Debug, Clone)]
pub(crate) struct Lack {
    /// The first values, as an operation would change them.
    pub(crate) delta: ValueDelta,
    pub(crate) to_add: usize,
    pub(crate) to_remove: usize,
    /// The removals, for the guard.
    pub(crate) removals: Vec<GuardedChange>,
}

impl Lack {
    /// In a line: `+2 (91, 92), −1 (7)`.
    pub(crate) fn text(&self, is_redacted: bool) -> String {
        let side = |sign: &str, amount: usize, values: &[muster_model::Value]| {
            let shown: Vec<String> = match is_redacted {
                true => vec![REDACTED.to_owned()],
                false => values.iter().map(ToString::to_string).collect(),
            };
            let more = if amount > values.len() { ", …" } else { "" };
            (amount > 0).then(|| format!("{sign}{amount} ({}{more})", shown.join(", ")))
        };
        let sides = [side("+", self.to_add, &self.delta.add), side("−", self.to_remove, &self.delta.remove)];
        sides.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Engine {
    /// What a linked object's values lack, counted in full.
    pub(crate) async fn lacks(
        &self,
        prepared: &Prepared,
        link: &LinkView,
        evaluation: &Evaluation,
    ) -> Result<Vec<Lack>, EngineError> {
        let mut lacks = Vec::new();
        for many in &prepared.compiled.many {
            // What does not fit is said where it is evaluated.
            let Ok(of) = self.of(prepared, link, evaluation, many)? else { continue };
            let Some(of) = of else { continue };
            let progress = ValueProgress::default();
            let (add, _) = self.to_add(prepared, &of, &progress, usize::MAX).await?;
            let remove = self.to_remove(prepared, &of, &progress).await?;
            if add.is_empty() && remove.is_empty() {
                continue;
            }
            let first = |values: &[Vec<u8>]| of.decoded(values.get(..SHOWN.min(values.len())).unwrap_or_default());
            let (Ok(added), Ok(removed)) = (first(&add)?, first(&remove)?) else { continue };
            lacks.push(Lack {
                delta: ValueDelta { attribute: many.position, add: added, remove: removed },
                to_add: add.len(),
                to_remove: remove.len(),
                removals: remove.iter().map(|value| removal_of(link, &of.column.attribute.name, value)).collect(),
            });
        }
        Ok(lacks)
    }

    /// Asks for every single value that was written, and forgets those that others removed, so that they are added
    /// again. Returns how many objects lack some.
    pub(crate) async fn values_seen_again(
        &self,
        prepared: &Prepared,
        open: &HashSet<LinkId>,
    ) -> Result<u64, EngineError> {
        let side = &prepared.target;
        let Some(target) = side.connector.target() else { return Err(EngineError::NoConnection(side.name.clone())) };
        let mut lacking = HashSet::new();
        for many in &prepared.compiled.many {
            let (Some(column), Some(id)) =
                (prepared.compiled.columns.get(many.position), prepared.layout.target.get(many.position))
            else {
                continue;
            };
            let mut after = LinkId(0);
            loop {
                self.stop.check()?;
                let links = self.store.linked(prepared.sync, after, SLICE).await?;
                let Some(last) = links.last() else { break };
                after = last.id;
                for link in links.iter().filter(|link| !open.contains(&link.id)) {
                    let key = Key::decode(link.target_key.as_deref().unwrap_or_default())?;
                    let mut written = Vec::new();
                    loop {
                        let found = self.store.written_values(link.id, *id, &written, ASKED_TOGETHER).await?;
                        let Some((last, _)) = found.last() else { break };
                        written.clone_from(last);
                        let mut pairs = Vec::with_capacity(found.len());
                        let mut values = Vec::with_capacity(found.len());
                        for (value, _) in found.into_iter().filter(|(_, certain)| *certain) {
                            let named = match many.input {
                                Input::Reference(_) => naming(&value, &column.attribute).ok(),
                                _ => Key::decode(&value)?.0.into_iter().next(),
                            };
                            if let Some(named) = named {
                                pairs.push((key.clone(), named));
                                values.push(value);
                            }
                        }
                        let held = match target.holds(&side.request, &column.attribute.name, &pairs).await {
                            Ok(held) => held,
                            Err(ConnectorError::Unsupported(_)) => return Ok(lacking.len() as u64),
                            Err(error) => return Err(EngineError::connection(&side.name, error)),
                        };
                        let gone = values.into_iter().zip(held).filter(|(_, held)| !held).map(|(value, _)| value);
                        let removed: Vec<Vec<u8>> = gone.collect();
                        if removed.is_empty() {
                            continue;
                        }
                        lacking.insert(link.id);
                        let write = ValueWrite { attribute: *id, added: Vec::new(), removed };
                        let update = LinkUpdate {
                            evaluated: 0,
                            dirty_again: true,
                            due_at: link.due_at,
                            values: vec![write],
                            ..unchanged(link)
                        };
                        self.store.settle(prepared.sync, &[update], self.clock.now()).await?;
                    }
                }
            }
        }
        Ok(lacking.len() as u64)
    }

    /// Mappings of references, and of attributes of several values, with what stands on both sides.
    pub(crate) async fn explain_ties(
        &self,
        prepared: &Prepared,
        link: &LinkView,
        evaluation: &Evaluation,
    ) -> Result<Vec<ExplainedMapping>, EngineError> {
        let compiled = &prepared.compiled;
        let mut explained = Vec::new();
        let lacks = self.lacks(prepared, link, evaluation).await?;
        for (position, column) in compiled.columns.iter().enumerate() {
            let many = compiled.many.iter().find(|many| many.position == position);
            let input = many.map_or(&column.input, |many| &many.input);
            let source = match (input, many) {
                (Input::Reference(source), _) => Some(*source),
                (_, Some(_)) => None,
                _ => continue,
            };
            let name = &column.attribute.name;
            let rule = compiled.rules.mappings.iter().find(|mapping| mapping.target == *name);
            let mut inputs = Vec::new();
            if let Some(source) = source
                && let Some(id) = prepared.layout.source.get(source)
            {
                let anchors = self.store.referenced(link.object, *id, SHOWN as u32 + 1).await?;
                let shown = anchors.iter().take(SHOWN).map(|anchor| Ok(Key::decode(anchor)?.to_string()));
                let mut shown = shown.collect::<Result<Vec<String>, EngineError>>()?;
                if anchors.len() > SHOWN {
                    shown.push("…".to_owned());
                }
                let read = compiled.source_attributes.get(source).cloned().unwrap_or_default();
                inputs.push((read, shown.join(", ")));
            }
            let lack = lacks.iter().find(|lack| lack.delta.attribute == position);
            let id = prepared.layout.target.get(position);
            let (value, written) = match (many, id) {
                (Some(_), Some(id)) => {
                    let written = self.store.written_values(link.id, *id, b"", u32::MAX).await?;
                    let certain = written.iter().filter(|(_, certain)| *certain).count();
                    let value = match lack {
                        Some(lack) => lack.text(column.input.is_redacted()),
                        None if link.target_key.is_none() => "added once the object is there".to_owned(),
                        None => "nothing to add or remove".to_owned(),
                    };
                    (value, format!("{certain} values"))
                }
                _ => {
                    let ends = link.referred.iter().flatten();
                    let end = ends.filter(|end| Some(&end.attribute) == id).map(|end| &end.end).next();
                    let value = match end {
                        Some(ReferredEnd::Object(key)) => Key::decode(key)?.to_string(),
                        Some(ReferredEnd::Absent) => "not at the source; nothing stands for it".to_owned(),
                        Some(ReferredEnd::NotYet | ReferredEnd::Unread) => {
                            "not at the target yet; written by itself when it is".to_owned()
                        }
                        Some(ReferredEnd::None) => "not at the target: gone, or out of scope there".to_owned(),
                        None => "(none)".to_owned(),
                    };
                    (value, crate::explain::written_value(prepared, link, position)?)
                }
            };
            explained.push(ExplainedMapping {
                attribute: name.clone(),
                expression: rule.map(|rule| rule.value.to_string()).unwrap_or_default(),
                inputs,
                value,
                written,
                differs: lack.is_some() || crate::explain::is_wanted(evaluation, link, position),
                on_create_only: false,
            });
        }
        Ok(explained)
    }
}
