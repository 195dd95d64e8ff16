//! What flows where a source has no value: a default, nothing, or the null itself.

use muster_model::{Attribute, Multiplicity, Slot};

use crate::compile::{Column, Compiled, Compiler, Input};
use crate::computed::{Subject, flow};
use crate::convert::{Misfit, fit, fit_computed};
use crate::rules::MappingRule;

/// What a null does to one target attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nulls {
    /// What flows instead.
    pub default: Option<Slot>,
    /// An object that is there already keeps what it has.
    pub keeps: bool,
}

/// What flows into a column; [`Slot::Unknown`] where nothing does. `linked`: the target object is there already.
///
/// # Errors
/// As for [`flow`].
pub(crate) fn flow_into(column: &Column, subject: &Subject<'_>, linked: bool) -> Result<Slot, Misfit> {
    let Column { attribute, nulls, .. } = column;
    if *nulls == Nulls::default() {
        return flow(&column.input, attribute, subject, linked);
    }
    let optional = Attribute { required: false, ..attribute.clone() };
    match (flow(&column.input, &optional, subject, linked)?, &nulls.default) {
        (Slot::Null, _) if linked && nulls.keeps => Ok(Slot::Unknown),
        (Slot::Null, Some(default)) => Ok(default.clone()),
        // A new object needs what its target requires, even where the expression says that nothing flows.
        (Slot::Unknown, Some(default)) if attribute.required && !linked => Ok(default.clone()),
        (Slot::Unknown, None) if attribute.required && !linked => fit(&Slot::Null, attribute),
        (slot @ Slot::Unknown, _) => Ok(slot),
        (slot, _) => fit(&slot, attribute),
    }
}

/// What a mapping says of nulls, after its expression.
pub(crate) fn nulls_in_words(mapping: &MappingRule) -> String {
    let default = mapping.default.as_ref().map(|default| match default {
        muster_model::Value::Text(_) => format!("{:?}", default.to_string()),
        _ => default.to_string(),
    });
    match (default, mapping.keeps) {
        (None, false) => String::new(),
        (None, true) => " (where null: what is there)".to_owned(),
        (Some(default), false) => format!(" (where null: {default})"),
        (Some(default), true) => format!(" (where null: what is there, {default} on create)"),
    }
}

impl Compiled {
    /// As the fingerprint of the rules describes them; nothing where no mapping says anything of nulls.
    pub(crate) fn nulls_described(&self) -> String {
        let said = self.columns.iter().enumerate().filter(|(_, column)| column.nulls != Nulls::default());
        said.map(|(position, column)| format!(" nulls {position} {:?}", column.nulls)).collect()
    }
}

impl Compiler<'_> {
    /// What a mapping into one value says of nulls, resolved.
    pub(crate) fn nulls(&mut self, setting: &str, mapping: &MappingRule, to: &Attribute, input: &Input) -> Nulls {
        if matches!(input, Input::Reference(_)) {
            self.no_nulls(setting, mapping, to);
            return Nulls::default();
        }
        if matches!(input, Input::Constant(_)) && (mapping.default.is_some() || mapping.keeps) {
            let problem = format!("{:?} gets the same value always, which is never null", to.name);
            self.findings.warning(setting, &problem, "remove `default` and `null`");
        }
        let default = mapping.default.as_ref().and_then(|value| match fit_computed(Slot::One(value.clone()), to) {
            Ok(slot) => Some(slot),
            Err(misfit) => {
                let problem = format!("the default does not fit {:?}: {}", to.name, misfit.message);
                self.findings.error(&format!("{setting}.default"), &problem, "change the default");
                None
            }
        });
        Nulls { default, keeps: mapping.keeps }
    }

    /// References and several values are compared one by one, and have no null that could be replaced.
    pub(crate) fn no_nulls(&mut self, setting: &str, mapping: &MappingRule, to: &Attribute) {
        if mapping.default.is_none() && !mapping.keeps {
            return;
        }
        let what = if to.multiplicity == Multiplicity::Single { "refers to objects" } else { "holds several values" };
        let problem = format!("{:?} {what}, and `default` and `null` are for single values", to.name);
        self.findings.error(setting, &problem, "remove them");
    }
}
