//! Where each attribute of a request is found in Graph's JSON, worked out once a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use muster_connector::{Error, ReadRequest};
use muster_model::{ValueType, nearest};

use crate::config::ExtensionType;
use crate::inbound::attributes::INBOUND_USER;
use crate::properties::Spec;
use crate::schema::{GROUP, USER, attributes_of};

/// How a request's attributes lie in an object's JSON.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The number of slots of a row.
    pub(crate) width: usize,
    /// The slot of `id`, when it is asked for.
    pub(crate) id: Option<usize>,
    /// The properties to look for, in the order in which Graph is likely to send them.
    pub(crate) properties: Vec<Property>,
    /// The value of `$select` in a delta.
    pub(crate) select: String,
    /// The same without references, for a plain GET.
    pub(crate) plain_select: String,
    /// The references that are asked for: name and slot.
    pub(crate) references: Vec<(&'static str, usize)>,
    /// Shared names of the types that references lead to.
    pub(crate) user: Arc<str>,
    pub(crate) group: Arc<str>,
}

/// One property of the JSON.
#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) target: Target,
}

/// Where a property's value goes.
#[derive(Debug)]
pub(crate) enum Target {
    Slot {
        slot: usize,
        shape: Shape,
    },
    /// Members of a structure, each with a slot of its own.
    Members(Vec<(&'static str, usize, Shape)>),
    /// References, as an array or a single object.
    Edges {
        slot: usize,
    },
}

/// What values are expected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) value_type: ValueType,
    pub(crate) many: bool,
}

impl Layout {
    pub(crate) fn new(request: &ReadRequest, extensions: &BTreeMap<String, ExtensionType>) -> Result<Self, Error> {
        let Some(specs) = attributes_of(&request.object_type) else {
            return Err(unknown_type(&request.object_type));
        };
        let mut layout = Self {
            width: request.attributes.len(),
            id: None,
            properties: Vec::with_capacity(request.attributes.len() + 2),
            select: "id".to_owned(),
            plain_select: "id".to_owned(),
            references: Vec::new(),
            user: USER.into(),
            group: GROUP.into(),
        };
        for (slot, name) in request.attributes.iter().enumerate() {
            if name == "id" {
                layout.id = Some(slot);
            } else if let Some(spec) = specs.iter().find(|spec| spec.name == name) {
                if let Some(reason) = spec.unsupported {
                    return Err(untracked(name, reason));
                }
                if spec.unreadable().is_none() {
                    layout.add(spec, slot);
                }
            } else if let Some(kind) = extensions.get(name) {
                let shape = Shape { value_type: kind.value_type(), many: false };
                layout.select(name, false);
                layout.properties.push(Property { name: name.clone(), target: Target::Slot { slot, shape } });
            } else {
                return Err(unknown_attribute(&request.object_type, name, extensions));
            }
        }
        Ok(layout)
    }

    fn add(&mut self, spec: &Spec, slot: usize) {
        let shape = Shape { value_type: spec.value_type, many: spec.many };
        let known = self.properties.iter_mut().find(|property| property.name == spec.selected());
        match (spec.value_type, spec.parent, known) {
            (ValueType::Reference, ..) => {
                self.select(spec.name, true);
                self.references.push((spec.name, slot));
                for name in [format!("{}@delta", spec.name), spec.name.to_owned()] {
                    self.properties.push(Property { name, target: Target::Edges { slot } });
                }
            }
            (_, Some(_), Some(Property { target: Target::Members(members), .. })) => {
                members.push((spec.member, slot, shape));
            }
            (_, Some(parent), _) => {
                self.select(parent, false);
                let target = Target::Members(vec![(spec.member, slot, shape)]);
                self.properties.push(Property { name: parent.to_owned(), target });
            }
            (_, None, _) => {
                self.select(spec.name, false);
                self.properties.push(Property { name: spec.name.to_owned(), target: Target::Slot { slot, shape } });
            }
        }
    }

    fn select(&mut self, name: &str, reference: bool) {
        // Writing to a String cannot fail.
        let _infallible = write!(self.select, ",{name}");
        if !reference {
            let _infallible = write!(self.plain_select, ",{name}");
        }
    }
}

/// Graph's collection of a type.
pub(crate) fn collection(object_type: &str) -> Result<&'static str, Error> {
    match object_type {
        USER => Ok("users"),
        GROUP => Ok("groups"),
        other => Err(unknown_type(other)),
    }
}

fn unknown_type(name: &str) -> Error {
    Error::Configuration {
        setting: None,
        problem: format!("Entra holds no object type {name:?}"),
        fix: match name {
            INBOUND_USER => "read user instead: an inbound_user can be written only".to_owned(),
            _ => "use user, group or application".to_owned(),
        },
    }
}

/// The refusal of an attribute that exists but cannot be followed.
pub(crate) fn untracked(name: &str, reason: &str) -> Error {
    Error::Configuration {
        setting: None,
        problem: format!("{name} cannot be read: {reason}"),
        fix: "remove it from the mapping".to_owned(),
    }
}

/// The refusal of an attribute, with the one that was probably meant.
pub(crate) fn unknown_attribute(object_type: &str, name: &str, extensions: &BTreeMap<String, ExtensionType>) -> Error {
    let specs = attributes_of(object_type).unwrap_or_default();
    let known = specs.iter().map(|spec| spec.name).chain(extensions.keys().map(String::as_str));
    let fix = match (alias(name), nearest(name, known)) {
        (Some(graph), _) => format!("write {graph}, which is Graph's name for it"),
        (None, Some(near)) => format!("did you mean {near}?"),
        (None, None) if name.starts_with("extension_") => {
            "declare directory extensions in extension_attributes of the connection".to_owned()
        }
        (None, None) => "see the list of attributes with `muster schema`".to_owned(),
    };
    Error::Configuration { setting: None, problem: format!("an Entra {object_type} has no attribute {name:?}"), fix }
}

/// What the portal's attribute mappings call some of Graph's properties.
fn alias(name: &str) -> Option<&'static str> {
    Some(match name {
        "objectId" => "id",
        "physicalDeliveryOfficeName" => "officeLocation",
        "facsimileTelephoneNumber" => "faxNumber",
        "telephoneNumber" => "businessPhones",
        "mobile" => "mobilePhone",
        "originalUserPrincipalName" => "userPrincipalName",
        _ => return None,
    })
}
