//! How an object is matched, rule by rule, for a person.

use std::collections::HashSet;

use muster_connector::FoundObject;
use muster_model::pack::unpack_row;
use muster_store::{LinkView, Removed};
use serde::Serialize;

use crate::computed::Subject;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::evaluate::{Evaluation, Wanted};
use crate::prepare::Prepared;
use crate::recognition::MatchValues;

/// One match rule with its values.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedMatch {
    /// What is compared: `employee_no = [employeeId]`.
    pub rule: String,
    /// The source's values; none where one of them is empty or does not fit, so that the rule finds nothing.
    pub value: Option<String>,
    /// What it found, or why it was not asked.
    pub found: String,
}

/// What the rules say of one object.
pub(crate) struct Matched {
    pub(crate) rules: Vec<ExplainedMatch>,
    /// The first rule that found anything, and what.
    pub(crate) found: Option<(MatchValues, Vec<FoundObject>)>,
}

const NEVER: &str = "the sync makes none (create = false)";

impl Engine {
    /// Tries the rules in turn, as a cycle would.
    pub(crate) async fn explain_matching(
        &self,
        prepared: &Prepared,
        link: &LinkView,
        evaluation: &Evaluation,
    ) -> Result<Matched, EngineError> {
        let compiled = &prepared.compiled;
        let source = unpack_row(&prepared.layout.source, link.source.as_deref().unwrap_or_default())?;
        let now = self.clock.lifecycle();
        let subject = Subject { sync: &compiled.rules.name, anchor: &link.anchor, source: &source, enabled: true, now };
        let is_wanted = matches!(evaluation.wanted, Wanted::Object { .. });
        let mut matched = Matched { rules: Vec::new(), found: None };
        for (number, rule) in compiled.rules.matching.iter().enumerate() {
            let pairs = rule.all.iter().map(|part| format!("{} = {}", part.target, part.source));
            let name = pairs.collect::<Vec<_>>().join(" and ");
            let (value, found) = match compiled.rule_values(number, &subject) {
                Err((_, misfit)) => (None, misfit.message),
                Ok(None) => (None, "nothing: a value is empty or does not fit".to_owned()),
                Ok(Some(values)) => {
                    let found = match (is_wanted, &matched.found) {
                        (true, None) => self.ask(prepared, values.clone(), &mut matched).await?,
                        (true, Some(_)) => "not asked: a rule before it found something".to_owned(),
                        (false, _) if link.target_key.is_some() => "not asked: it is linked".to_owned(),
                        (false, _) => "not asked: it needs no target object".to_owned(),
                    };
                    (Some(values.text()), found)
                }
            };
            matched.rules.push(ExplainedMatch { rule: name, value, found });
        }
        Ok(matched)
    }

    async fn ask(
        &self,
        prepared: &Prepared,
        values: MatchValues,
        matched: &mut Matched,
    ) -> Result<String, EngineError> {
        let positions = prepared.compiled.positions(values.rule);
        let found = self.find(prepared, &positions, vec![values.values.clone()]).await?;
        let objects = found.into_iter().next().unwrap_or_default();
        let said = match objects.as_slice() {
            [] => return Ok("nothing".to_owned()),
            [one] => format!("the target object {}", one.key),
            _ => "more than one target object".to_owned(),
        };
        matched.found = Some((values, objects));
        Ok(said)
    }

    /// What a cycle would do with an object that has no target object yet.
    pub(crate) async fn next_for_new(
        &self,
        prepared: &Prepared,
        link: &LinkView,
        matches: &[MatchValues],
        may_create: bool,
        matched: &Matched,
    ) -> Result<String, EngineError> {
        let compiled = &prepared.compiled;
        if matches.is_empty() && !may_create {
            let why = if compiled.rules.creates { "outside its dates no target object is created" } else { NEVER };
            return Ok(format!("nothing: {why}"));
        }
        if matches.is_empty() {
            return Ok(match compiled.anchor.is_some() || compiled.matching.is_empty() {
                true => "a new target object would be created".to_owned(),
                false => "it would be parked: there is no value to match by".to_owned(),
            });
        }
        let Some((values, objects)) = &matched.found else {
            let values: Vec<String> = matches.iter().map(|values| compiled.shown(values)).collect();
            let values = values.join(", or ");
            return Ok(match may_create {
                true => format!("no target object has {values}, so one would be created"),
                false if !compiled.rules.creates => format!("nothing: no target object has {values}, and {NEVER}"),
                false => format!("nothing: no target object has {values}, and outside its dates none is created"),
            });
        };
        let values = compiled.shown(values);
        let [one] = objects.as_slice() else {
            return Ok(format!("more than one target object has {values}: it would be parked"));
        };
        let key = one.key.encode();
        let owners = self.store.owners(prepared.target.id, std::slice::from_ref(&key)).await?;
        let left = self.left_by_date(prepared, owners.values(), &HashSet::new()).await?;
        let is_owned = owners
            .get(&key)
            .is_some_and(|owner| owner.link != link.id && owner.removed == Removed::No && !left.contains(&owner.link));
        let object = format!("the target object {} has {values}", one.key);
        Ok(match compiled.protected_by(&one.row) {
            _ if is_owned => format!("{object} and belongs to another source object already"),
            Some(rule) => format!("{object} and is protected, so it would be parked ({rule})"),
            None => format!("{object} and would be adopted"),
        })
    }
}
