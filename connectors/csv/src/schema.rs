//! What the files hold.

use muster_model::{Anchor, AssignedBy, Attribute, Enabling, Multiplicity, ObjectType, SourceCapabilities, ValueType};

use crate::config::TypeSettings;

/// The attribute that says whether a row is enabled.
pub(crate) const ENABLED: &str = "enabled";

/// An object type, from the names of the file's columns.
pub(crate) fn object_type(name: &str, settings: &TypeSettings, columns: &[String]) -> ObjectType {
    let enabling = settings.enabled.as_ref().map(|_| Enabling { attribute: ENABLED.to_owned() });
    let mut attributes: Vec<Attribute> = columns
        .iter()
        .filter(|column| enabling.is_none() || *column != ENABLED)
        .map(|column| attribute(column, settings))
        .collect();
    if enabling.is_some() {
        attributes.push(read_only(Attribute::new(ENABLED, ValueType::Boolean)));
    }
    ObjectType {
        name: name.to_owned(),
        anchor: Anchor { attributes: settings.key.clone(), assigned_by: AssignedBy::System },
        alternate_keys: Vec::new(),
        attributes,
        enabling,
        source: Some(SourceCapabilities { changes: None, recycle_bin: false }),
        target: None,
    }
}

fn attribute(column: &str, settings: &TypeSettings) -> Attribute {
    let is_key = settings.key.iter().any(|key| key == column);
    let mut attribute = read_only(Attribute::new(column, ValueType::Text));
    attribute.required = is_key;
    attribute.unique = is_key && settings.key.len() == 1;
    if let Some(more) = settings.columns.get(column) {
        attribute.references = more.references.iter().cloned().collect();
        if more.separator.is_some() {
            attribute.multiplicity = Multiplicity::Set;
        }
    }
    attribute
}

fn read_only(attribute: Attribute) -> Attribute {
    Attribute { creatable: false, updatable: false, ..attribute }
}
