//! What identifies an object at the target: the match rules against both schemas, and their values for one object.

use std::collections::BTreeMap;

use muster_model::{AssignedBy, Attribute, CaseRule, Once, TargetCapabilities, Value};
use muster_store::OperationKind;

use crate::compile::{Column, Compared, Compiled, Compiler, Input, Matching};
use crate::computed::{FAILED, Subject, flow};
use crate::convert::Misfit;
use crate::evaluate::{Wanted, park};
use crate::nulls::Nulls;
use crate::pass::Progress;
use crate::rules::{MatchPart, MatchRule, When};

/// The values of one match rule for one object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MatchValues {
    /// The rule's place in the configuration, from 0.
    pub rule: usize,
    /// Its values, in the order of the rule's attributes.
    pub values: Vec<Value>,
}

impl MatchValues {
    /// As people read and type it.
    pub(crate) fn text(&self) -> String {
        joined(self.values.iter())
    }
}

fn joined<'a>(values: impl Iterator<Item = &'a Value>) -> String {
    values.map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The values to match by, in the order of the rules. A rule of which a value is empty or does not fit matches nothing
/// and is left out; an expression that fails says why.
pub(crate) fn match_values(compiled: &Compiled, subject: &Subject<'_>) -> Result<Vec<MatchValues>, Box<Wanted>> {
    let mut matches = Vec::with_capacity(compiled.matching.len());
    for rule in 0..compiled.matching.len() {
        match compiled.rule_values(rule, subject) {
            Ok(values) => matches.extend(values),
            Err((name, misfit)) => {
                return Err(Box::new(park(OperationKind::Create, misfit.rule, Some(&name), misfit.message)));
            }
        }
    }
    Ok(matches)
}

impl Compiled {
    /// The values of one rule; none where one of them is empty or does not fit.
    pub(crate) fn rule_values(
        &self,
        rule: usize,
        subject: &Subject<'_>,
    ) -> Result<Option<MatchValues>, (String, Misfit)> {
        let mut values = Vec::new();
        for (compared, attribute) in self.compared(rule) {
            match flow(&compared.input, attribute, subject, true) {
                Ok(slot) => match slot.value() {
                    Some(value) => values.push(value.clone()),
                    None => return Ok(None),
                },
                Err(misfit) if misfit.rule == FAILED => return Err((attribute.name.clone(), misfit)),
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(MatchValues { rule, values }))
    }

    /// What a rule compares.
    pub(crate) fn compared(&self, rule: usize) -> impl Iterator<Item = (&Compared, &Attribute)> {
        let all = self.matching.get(rule).map(|matching| matching.all.as_slice()).unwrap_or_default();
        all.iter().filter_map(|compared| Some((compared, &self.columns.get(compared.target)?.attribute)))
    }

    /// The positions of the target attributes that a rule compares.
    pub(crate) fn positions(&self, rule: usize) -> Vec<usize> {
        self.compared(rule).map(|(compared, _)| compared.target).collect()
    }

    /// A rule's name, for people: the target attributes that it compares.
    pub(crate) fn rule_name(&self, rule: usize) -> String {
        self.compared(rule).map(|(_, attribute)| attribute.name.as_str()).collect::<Vec<_>>().join(" and ")
    }

    /// A rule with its values, for people.
    pub(crate) fn shown(&self, matched: &MatchValues) -> String {
        let names = self.compared(matched.rule).map(|(_, attribute)| attribute.name.as_str());
        let pairs = names.zip(&matched.values).map(|(name, value)| format!("{name} {value}"));
        pairs.collect::<Vec<_>>().join(" and ")
    }

    /// How many objects each rule found, by its name; nothing where there is one rule only.
    pub(crate) fn by_rule(&self, found: &BTreeMap<usize, u64>) -> Vec<(String, u64)> {
        let rules = if self.matching.len() > 1 { 0..self.matching.len() } else { 0..0 };
        rules.map(|rule| (self.rule_name(rule), found.get(&rule).copied().unwrap_or_default())).collect()
    }

    /// The rules in the order in which they tell a new object from others: by values that a create writes and that
    /// are unique first, then in the order in which they are tried.
    pub(crate) fn recognising(&self) -> impl Iterator<Item = (usize, &Matching)> {
        let rank = |matching: &Matching| (!matching.is_written, !matching.is_unique);
        let mut rules: Vec<(usize, &Matching)> = self.matching.iter().enumerate().collect();
        rules.sort_by_key(|(_, matching)| rank(matching));
        rules.into_iter()
    }

    /// The values by which an object is recognised once it was created, if it has any.
    pub(crate) fn recognised_by<'a>(&self, matches: &'a [MatchValues]) -> Option<&'a MatchValues> {
        if let [] | [_] = matches {
            return matches.first();
        }
        self.recognising().find_map(|(rule, _)| matches.iter().find(|matched| matched.rule == rule))
    }

    /// What people know an object by: its values of the first rule of which it has all.
    pub(crate) fn name_of<'a>(&self, value: impl Fn(usize) -> Option<&'a Value>) -> Option<String> {
        (0..self.matching.len()).find_map(|rule| {
            let values: Option<Vec<&Value>> = self.positions(rule).into_iter().map(&value).collect();
            values.map(|values| joined(values.into_iter()))
        })
    }

    /// As the fingerprint of the rules describes them: one attribute alone as before there could be more.
    pub(crate) fn matching_described(&self) -> String {
        let alone = match self.matching.as_slice() {
            [] => Some(None),
            [Matching { all, .. }] => match all.as_slice() {
                [compared] => Some(Some((&compared.input, compared.target))),
                _ => None,
            },
            _ => None,
        };
        if let Some(alone) = alone {
            return format!("{alone:?}");
        }
        let rule = |matching: &Matching| {
            matching.all.iter().map(|compared| (compared.input.clone(), compared.target)).collect::<Vec<_>>()
        };
        format!("{:?}", self.matching.iter().map(rule).collect::<Vec<_>>())
    }

    /// Values that the target takes for the same are the same.
    fn folded(&self, matched: &MatchValues) -> MatchValues {
        let fold = |(value, (_, attribute)): (&Value, (_, &Attribute))| match value {
            Value::Text(text) if attribute.case == CaseRule::Insensitive => Value::text(&text.to_lowercase()),
            other => other.clone(),
        };
        let values = matched.values.iter().zip(self.compared(matched.rule)).map(fold).collect();
        MatchValues { rule: matched.rule, values }
    }
}

impl Progress {
    /// Whether a create with one of these values is on its way.
    pub(crate) fn is_reserved(&self, compiled: &Compiled, matches: &[MatchValues]) -> bool {
        matches.iter().any(|matched| self.creating.contains(&compiled.folded(matched)))
    }

    /// A create with these values is on its way.
    pub(crate) fn reserve(&mut self, compiled: &Compiled, matches: &[MatchValues]) {
        self.creating.extend(matches.iter().map(|matched| compiled.folded(matched)));
    }

    /// It is over.
    pub(crate) fn release(&mut self, compiled: &Compiled, matches: &[MatchValues]) {
        for matched in matches {
            self.creating.remove(&compiled.folded(matched));
        }
    }
}

impl Compiler<'_> {
    pub(crate) fn matching(&mut self) -> Vec<Matching> {
        let rules = self.rules;
        let mut matching = Vec::with_capacity(rules.matching.len());
        for (number, rule) in rules.matching.iter().enumerate() {
            let setting = if rules.matching.len() == 1 { "match".to_owned() } else { format!("match[{number}]") };
            let Some(all) = self.compared(&setting, rule) else { continue };
            let columns = all.iter().filter_map(|compared| self.columns.get(compared.target));
            let is_written = columns.into_iter().all(|column| column.input != Input::None);
            matching.push(Matching { is_unique: self.is_unique(&rule.all), is_written, all });
        }
        matching
    }

    fn compared(&mut self, setting: &str, rule: &MatchRule) -> Option<Vec<Compared>> {
        let mut all = Vec::with_capacity(rule.all.len());
        for (number, part) in rule.all.iter().enumerate() {
            let setting = if rule.all.len() == 1 { setting.to_owned() } else { format!("{setting}.all[{number}]") };
            all.push(self.part(&setting, part));
        }
        all.into_iter().collect()
    }

    fn part(&mut self, setting: &str, part: &MatchPart) -> Option<Compared> {
        let attribute = self.target_attribute(setting, &part.target)?;
        if !attribute.readable {
            let problem = format!("{:?} cannot be read", part.target);
            self.findings.error(setting, &problem, "match by another attribute");
            return None;
        }
        let input = self.input(setting, &part.source, &attribute, None)?;
        let position = self.columns.iter().position(|column| column.attribute.name == attribute.name);
        let target = position.unwrap_or_else(|| {
            let (input, when) = (Input::None, When::Create);
            self.columns.push(Column { attribute, input, when, nulls: Nulls::default() });
            self.columns.len() - 1
        });
        Some(Compared { input, target })
    }

    /// Whether the target lets no two objects have the same values of these attributes.
    fn is_unique(&self, parts: &[MatchPart]) -> bool {
        let has = |name: &String| parts.iter().any(|part| part.target == *name);
        parts.iter().any(|part| self.target.attribute(&part.target).is_some_and(|attribute| attribute.unique))
            || self.target.alternate_keys.iter().any(|key| !key.is_empty() && key.iter().all(has))
            || self.target.anchor.attributes.iter().all(has)
    }

    /// Whether a new object could be told from others if the answer to its create were lost.
    pub(crate) fn recognition(&mut self, capabilities: &TargetCapabilities, matching: &[Matching]) {
        if matching.is_empty() || self.findings.has_errors() {
            // What keeps the sync from running was said, and comes first.
            return;
        }
        let names: Vec<String> = self.rules.matching.iter().map(named).collect();
        if !matching.iter().any(|matching| matching.is_unique) {
            let problem = match names.as_slice() {
                [name] => format!("nothing in the target keeps {name} unique"),
                names => format!("nothing in the target keeps the values of any rule unique: {}", names.join("; ")),
            };
            let fix = "add a unique key there, so that no value can match two objects";
            self.findings.warning("match", &problem, fix);
        }
        let anchor = &self.target.anchor;
        if anchor.assigned_by != AssignedBy::System || capabilities.once == Once::Ledger {
            return;
        }
        let key = anchor.attributes.join(", ");
        if !matching.iter().any(|matching| matching.is_written) {
            let problem = format!(
                "{key} is assigned by the target, and no create writes what the match compares ({}), so a create whose \
                 answer is lost could not be recognised again",
                names.join("; ")
            );
            let fix = "map the attributes of a rule, or add a rule with attributes that are mapped";
            self.findings.warning("match", &problem, fix);
        }
        if matching.iter().all(|matching| matching.all.len() > 1) {
            let problem = format!(
                "{key} is assigned by the target, and no rule compares one attribute alone, so nothing would tell if \
                 the target gave an object's {key} to another one later"
            );
            let fix = "add a rule with one attribute that is unique in the target, such as an employee number";
            self.findings.warning("match", &problem, fix);
        }
    }
}

fn named(rule: &MatchRule) -> String {
    rule.all.iter().map(|part| format!("{:?}", part.target)).collect::<Vec<_>>().join(" and ")
}
