//! Values that expressions compute: what `check` finds of them, and what flows for one object.

use std::sync::Arc;

use chrono::DateTime;
use muster_expression::{Context, Expression, Flow, Program};
use muster_model::{Attribute, Row, Slot, Value, ValueType};

use crate::compile::{Compiler, Input};
use crate::convert::{Misfit, fit, fit_computed};
use crate::rules::When;

/// The rule of an object whose values an expression cannot use.
pub(crate) const FAILED: &str = "expression";

/// The object that values flow from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// The sync's name.
    pub(crate) sync: &'a str,
    /// The source object's key.
    pub(crate) anchor: &'a [u8],
    /// Its attributes.
    pub(crate) source: &'a Row,
    /// Whether the target object should be enabled.
    pub(crate) enabled: bool,
    /// The lifecycle's time, in milliseconds since 1970.
    pub(crate) now: i64,
}

/// What flows into an attribute; [`Slot::Unknown`] where nothing does. `linked`: the target object is there already.
///
/// # Errors
/// The value does not fit, or the expression cannot use the object's values.
pub(crate) fn flow(input: &Input, to: &Attribute, subject: &Subject<'_>, linked: bool) -> Result<Slot, Misfit> {
    run(input, to, subject, linked, None)
}

/// The same, with values that `SelectUniqueValue` passes over.
///
/// # Errors
/// As for [`flow`]; all its values are taken.
pub(crate) fn flow_unique(
    input: &Input,
    to: &Attribute,
    subject: &Subject<'_>,
    is_taken: &dyn Fn(&str) -> bool,
) -> Result<Slot, Misfit> {
    run(input, to, subject, false, Some(is_taken))
}

fn run(
    input: &Input,
    to: &Attribute,
    subject: &Subject<'_>,
    linked: bool,
    is_taken: Option<&dyn Fn(&str) -> bool>,
) -> Result<Slot, Misfit> {
    let program = match input {
        Input::Source(position) => return fit(subject.source.slot(*position), to),
        Input::Constant(slot) => return fit(slot, to),
        Input::Enabled => return fit(&Slot::One(Value::Boolean(subject.enabled)), to),
        // Where a reference leads is looked up with its link.
        Input::None | Input::Reference(_) => return Ok(Slot::Unknown),
        Input::Expression(program) => program,
    };
    let hidden = |misfit: Misfit| match program.is_redacted() {
        true => Misfit { message: "the value, which Redact hides, cannot be used".to_owned(), ..misfit },
        false => misfit,
    };
    let context = Context {
        now: DateTime::from_timestamp_millis(subject.now).unwrap_or_default(),
        seed: if program.is_volatile() { seed(subject, to) } else { [0; 16] },
        default_domain: None,
        is_taken,
    };
    match program.evaluate(subject.source, &context) {
        Ok(Flow::Value(slot)) => fit_computed(slot, to).map_err(hidden),
        // A new object needs what its target requires.
        Ok(Flow::Nothing | Flow::Unknown) if to.required && !linked => fit(&Slot::Null, to),
        Ok(Flow::Nothing | Flow::Unknown) => Ok(Slot::Unknown),
        Err(failure) => Err(hidden(Misfit { rule: FAILED, message: failure.problem })),
    }
}

/// Generated values follow from the object alone, so that a create that is tried again, or whose answer was lost, has
/// the same ones. They are no secrets.
fn seed(subject: &Subject<'_>, to: &Attribute) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("muster generated value 1");
    for part in [subject.sync.as_bytes(), subject.anchor, to.name.as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut seed = [0; 16];
    hasher.finalize_xof().fill(&mut seed);
    seed
}

impl Compiler<'_> {
    /// Resolves an expression that calls functions, or says why it cannot flow.
    pub(crate) fn computed(
        &mut self,
        setting: &str,
        value: &Expression,
        to: &Attribute,
        when: Option<When>,
    ) -> Option<Input> {
        let may_flow = self.may_flow(setting, value, to, when);
        let mut all_there = true;
        for name in value.attributes() {
            match self.source_attribute(setting, name) {
                Some(_) => drop(self.source_position(name)),
                None => all_there = false,
            }
        }
        if !may_flow || !all_there {
            return None;
        }
        for caution in value.cautions() {
            let fix = format!("look at character {} of the expression", caution.at + 1);
            self.findings.warning(setting, &caution.problem, &fix);
        }
        match value.resolve(&self.source_attributes) {
            Ok(program) => Some(Input::Expression(Arc::<Program>::new(program))),
            Err(errors) => {
                for error in errors {
                    let fix = format!("look at character {} of the expression", error.at + 1);
                    self.findings.error(setting, &error.problem, &fix);
                }
                None
            }
        }
    }

    fn may_flow(&mut self, setting: &str, value: &Expression, to: &Attribute, when: Option<When>) -> bool {
        let mut found = Vec::new();
        let mut refuse = |problem: String, fix: String| found.push((problem, fix));
        for function in value.functions() {
            let name = function.name;
            match (name, when) {
                ("SelectUniqueValue", None) => refuse(
                    "SelectUniqueValue makes new values, by which nothing that is there could be found".to_owned(),
                    "match by an attribute that stays".to_owned(),
                ),
                ("SelectUniqueValue", Some(_)) if self.is_matched_by(&to.name) => refuse(
                    format!("{:?} is what objects are matched by, so no other value may be chosen for it", to.name),
                    "match by another attribute, or map one value".to_owned(),
                ),
                ("SelectUniqueValue", Some(When::Always)) => refuse(
                    format!("SelectUniqueValue would choose again whenever {:?} is looked at", to.name),
                    "write { value = '…', when = \"create\" }".to_owned(),
                ),
                ("SelectUniqueValue", Some(_)) if !to.readable => refuse(
                    format!("{:?} cannot be read, so that nobody knows which values are taken", to.name),
                    "map one value".to_owned(),
                ),
                ("DefaultDomain", _) => refuse(
                    "DefaultDomain is not available in mappings".to_owned(),
                    "write the domain as a text, such as \"contoso.com\"".to_owned(),
                ),
                (_, None) if function.volatile => refuse(
                    format!("{name} has another value each time, so that nothing could be found by it"),
                    "match by an attribute that stays".to_owned(),
                ),
                (_, Some(When::Always)) if function.volatile => refuse(
                    format!("{name} has another value each time, so that {:?} would change with every cycle", to.name),
                    "write { value = '…', when = \"create\" }".to_owned(),
                ),
                _ => {}
            }
        }
        if matches!(to.value_type, ValueType::Binary | ValueType::Structure | ValueType::Reference) {
            let problem =
                format!("{:?} is {} ({}), and an expression makes text", to.name, to.value_type, to.native_type);
            refuse(problem, "map an attribute by itself, or change the target's type to text".to_owned());
        }
        for (problem, fix) in &found {
            self.findings.error(setting, problem, fix);
        }
        found.is_empty()
    }

    fn is_matched_by(&self, name: &str) -> bool {
        self.rules.matching.iter().flat_map(|rule| &rule.all).any(|part| part.target == name)
    }
}
