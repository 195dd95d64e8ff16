//! References and values of several as people see them: in plans and explanations.

use muster_connector::ValueDelta;
use muster_model::Key;
use muster_store::{LinkView, ReferredEnd};

use crate::compile::Input;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::Evaluation;
use crate::explain::{ExplainedMapping, REDACTED};
use crate::guard::{GuardedChange, removal_of};
use crate::prepare::Prepared;
use crate::values::ValueProgress;

/// Values that are shown of one attribute.
const SHOWN: usize = 20;

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
                        Some(ReferredEnd::NotYet) => "not at the target yet; written by itself when it is".to_owned(),
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
