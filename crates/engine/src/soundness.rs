//! Rules that can be resolved and still would not do what a person means: what `check` says of them.

use muster_model::TargetCapabilities;

use muster_expression::Comparison;

use crate::compile::{Column, Compiler, Input};
use crate::nulls::Nulls;
use crate::rules::{Removal, When};
use crate::scope::{Asks, Scope};

impl Compiler<'_> {
    /// A column that only looks like one would take access away past the guard.
    pub(crate) fn unguarded(&mut self) {
        let (Some(enabling), None) = (&self.source.enabling, &self.target.enabling) else { return };
        let disguised = self
            .rules
            .mappings
            .iter()
            .find(|mapping| mapping.value.attributes().contains(&enabling.attribute.as_str()));
        if let Some(mapping) = disguised {
            let problem = format!(
                "[{}] flows into {:?} like any other value, so no limit guards it",
                enabling.attribute, mapping.target
            );
            let fix = format!("set enabled = {:?} for the target's type, and remove the mapping", mapping.target);
            self.findings.warning(&format!("map.{}", mapping.target), &problem, &fix);
        }
    }

    /// The scope's attributes are read from the source, and their values must compare as the operators say.
    pub(crate) fn scope(&mut self) -> Scope {
        for (number, condition) in self.rules.scope.iter().enumerate() {
            let setting = format!("scope[{number}]");
            for comparison in &condition.comparisons {
                let name = comparison.attribute.as_str();
                let Some(attribute) = self.source.attribute(name) else {
                    if !self.group_asked(&setting, name, &comparison.operator) {
                        self.no_such_attribute(&setting, name);
                    }
                    continue;
                };
                if let Some(reason) = &attribute.unsupported {
                    let problem = format!("[{name}] cannot be read: {reason}");
                    self.findings.error(&setting, &problem, "name another attribute");
                } else if attribute.is_reference() {
                    let problem = format!("[{name}] refers to other objects, and a scope cannot ask for those yet");
                    self.findings.error(&setting, &problem, "name another attribute");
                } else if let Some(expected) = comparison.operator.cannot_hold(attribute.value_type) {
                    let problem =
                        format!("{comparison} tells nobody from others: [{name}] is {}", attribute.value_type);
                    self.findings.error(&setting, &problem, expected);
                }
            }
        }
        let rules = self.rules;
        // Without its group a comparison was found wrong before, and the scope is not used.
        let groups = self.groups.take();
        let resolved = groups.clone();
        let mut meaning = |comparison: &Comparison| match groups.as_ref().and_then(|groups| groups.position(comparison))
        {
            Some((group, negated)) if self.source.attribute(&comparison.attribute).is_none() => {
                Asks::Group { group, negated }
            }
            _ => Asks::Attribute(self.source_position(&comparison.attribute)),
        };
        Scope::resolve(&rules.scope, resolved, &mut meaning)
    }

    /// Attributes that protection asks for are read with every object found.
    pub(crate) fn protection(&mut self) {
        for (number, condition) in self.rules.protect.iter().enumerate() {
            let setting = format!("protect[{number}]");
            for name in condition.attributes() {
                let Some(attribute) = self.target_attribute(&setting, name) else { continue };
                if !attribute.readable {
                    let problem = format!("{name:?} cannot be read");
                    self.findings.error(&setting, &problem, "name another attribute");
                } else if !self.columns.iter().any(|column| column.attribute.name == attribute.name) {
                    let (input, when) = (Input::None, When::Create);
                    self.columns.push(Column { attribute, input, when, nulls: Nulls::default() });
                }
            }
        }
    }

    /// What a target that says nothing of what it holds cannot do.
    pub(crate) fn unreadable(&mut self, capabilities: &TargetCapabilities) {
        if capabilities.readable {
            return;
        }
        let anchor = self.target.anchor.attributes.join(", ");
        if !self.rules.matching.is_empty() {
            let problem = "nothing can be looked up in this target, which recognises objects by itself";
            self.findings.error("match", problem, &format!("remove it; {anchor} is what the target goes by"));
        }
        if !self.rules.protect.is_empty() {
            let problem = "nothing can be looked up in this target, so that nobody knows what is protected";
            self.findings.error("protect", problem, "leave people out by `scope`");
        }
        let choosing = self.rules.mappings.iter().filter(|mapping| self.rules.chooses(&mapping.target));
        let choosing: Vec<String> = choosing.map(|mapping| mapping.target.clone()).collect();
        for name in choosing {
            let problem = "nothing can be looked up in this target, so that nobody knows which value is free";
            self.findings.error(&format!("map.{name}"), problem, "map a value that is unique by itself");
        }
    }

    pub(crate) fn required(&mut self) {
        if !self.rules.creates {
            let pointless = "nothing is created and nothing matched, so that nothing would ever be written";
            if self.rules.matching.is_empty() {
                self.findings.error("create", pointless, "add a `match` rule, or leave `create` out");
            }
            return;
        }
        let anchor = &self.target.anchor.attributes;
        let missing: Vec<String> = self
            .target
            .attributes
            .iter()
            .filter(|attribute| attribute.required && !anchor.contains(&attribute.name))
            .filter(|attribute| self.rules.password.as_ref().is_none_or(|rules| rules.attribute != attribute.name))
            .filter(|attribute| {
                !self
                    .columns
                    .iter()
                    .any(|column| column.attribute.name == attribute.name && column.input != Input::None)
            })
            .map(|attribute| attribute.name.clone())
            .collect();
        for name in missing {
            let problem = format!("the target requires {name:?}, and no mapping fills it");
            self.findings.error(
                &format!("map.{name}"),
                &problem,
                "add a mapping for it, or give it a default in the target",
            );
        }
    }

    pub(crate) fn removal(&mut self, capabilities: &TargetCapabilities) {
        let removal = &self.rules.removal;
        let can_disable = self.target.enabling.is_some();
        let choices = [
            ("soft", removal.soft),
            ("hard", removal.hard),
            ("disabled", removal.disabled),
            ("out_of_scope", removal.out_of_scope),
        ];
        for (name, choice) in choices {
            let setting = format!("removal.{name}");
            if !self.rules.creates {
                if choice.is_some() {
                    let problem = "with `create = false` the objects are made and ended by others";
                    self.findings.error(&setting, problem, "remove it");
                }
                continue;
            }
            match choice {
                Some(Removal::Disable) if !can_disable => {
                    let problem = format!("{} knows no way to disable an object", self.target.name);
                    let fix = "set `enabled` of the type to the column that says so, or choose \"keep\" or \"delete\"";
                    self.findings.error(&setting, &problem, fix);
                }
                Some(Removal::Delete) if !capabilities.can_delete => {
                    let problem = format!("{} cannot delete objects", self.rules.target_connection);
                    self.findings.error(&setting, &problem, "choose \"keep\" or \"disable\"");
                }
                None if !can_disable && name != "hard" => {
                    let cause = match name {
                        "soft" => "leaves the source",
                        "disabled" => "is disabled at the source",
                        _ => "falls out of scope",
                    };
                    let never = match name {
                        "disabled" => self.source.enabling.is_none(),
                        "out_of_scope" => self.rules.scope.is_empty(),
                        _ => false,
                    };
                    if never {
                        continue;
                    }
                    let problem = format!(
                        "{} cannot be disabled, so it must be said what happens when a person {cause}",
                        self.target.name
                    );
                    let fix =
                        "set `enabled` of the type to the column that says so, or choose \"keep\" or \"delete\" here";
                    self.findings.error(&setting, &problem, fix);
                }
                _ => {}
            }
        }
    }
}
