//! The attributes of an uploaded person: short names, and where each stands in the SCIM user.
//!
//! Sources: RFC 7643 §4.1 and §4.3,
//! <https://learn.microsoft.com/entra/identity/app-provisioning/inbound-provisioning-api-faqs>.

use std::collections::BTreeMap;

use muster_model::{Anchor, AssignedBy, Attribute, Enabling, ObjectType, Once, TargetCapabilities, ValueType, nearest};

use crate::config::ExtensionType;
use crate::error::setting;

/// The object type of people who are uploaded.
pub(crate) const INBOUND_USER: &str = "inbound_user";

/// The anchor.
pub(crate) const EXTERNAL_ID: &str = "externalId";

pub(crate) const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(crate) const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// So many people fit into one upload.
pub(crate) const MOST_OPERATIONS: u32 = 50;

/// Where a value stands in the SCIM user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A member of the user itself.
    Core(&'static str),
    /// A part of `name`.
    Name(&'static str),
    /// A member of the entry of this type in a list, such as `emails[type eq "work"].value`.
    Entry(&'static str, &'static str, &'static str),
    /// A member of the enterprise extension.
    Enterprise(&'static str),
    /// `manager.value` of the enterprise extension: the manager's `externalId`.
    Manager,
}

impl Place {
    /// As the portal's attribute list writes it.
    pub(crate) fn path(self) -> String {
        match self {
            Self::Core(name) => name.to_owned(),
            Self::Name(part) => format!("name.{part}"),
            Self::Entry(list, kind, member) => format!("{list}[type eq \"{kind}\"].{member}"),
            Self::Enterprise(name) => format!("{ENTERPRISE_USER}:{name}"),
            Self::Manager => format!("{ENTERPRISE_USER}:manager"),
        }
    }
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
}

const fn field(name: &'static str, place: Place) -> Field {
    Field { name, place }
}

const fn core(name: &'static str) -> Field {
    field(name, Place::Core(name))
}

const fn enterprise(name: &'static str) -> Field {
    field(name, Place::Enterprise(name))
}

/// All but the extensions'.
pub(crate) const FIELDS: &[Field] = &[
    core(EXTERNAL_ID),
    core("userName"),
    core("active"),
    core("displayName"),
    field("givenName", Place::Name("givenName")),
    field("familyName", Place::Name("familyName")),
    field("middleName", Place::Name("middleName")),
    field("honorificPrefix", Place::Name("honorificPrefix")),
    field("honorificSuffix", Place::Name("honorificSuffix")),
    field("formattedName", Place::Name("formatted")),
    core("nickName"),
    core("title"),
    core("userType"),
    core("preferredLanguage"),
    core("locale"),
    core("timezone"),
    core("profileUrl"),
    field("workEmail", Place::Entry("emails", "work", "value")),
    field("workPhone", Place::Entry("phoneNumbers", "work", "value")),
    field("mobilePhone", Place::Entry("phoneNumbers", "mobile", "value")),
    field("faxNumber", Place::Entry("phoneNumbers", "fax", "value")),
    field("formattedAddress", Place::Entry("addresses", "work", "formatted")),
    field("streetAddress", Place::Entry("addresses", "work", "streetAddress")),
    field("locality", Place::Entry("addresses", "work", "locality")),
    field("region", Place::Entry("addresses", "work", "region")),
    field("postalCode", Place::Entry("addresses", "work", "postalCode")),
    field("country", Place::Entry("addresses", "work", "country")),
    enterprise("employeeNumber"),
    enterprise("department"),
    enterprise("division"),
    enterprise("costCenter"),
    enterprise("organization"),
    field("manager", Place::Manager),
];

/// The field of that name.
pub(crate) fn named(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

/// Attributes that Entra takes and, as Microsoft says, does not process: only entries of the type `work` are.
/// Source: <https://learn.microsoft.com/entra/identity/app-provisioning/inbound-provisioning-api-issues>.
pub(crate) fn is_unprocessed(name: &str) -> bool {
    matches!(named(name), Some(Field { place: Place::Entry(_, kind, _), .. }) if *kind != "work")
}

/// The object type, with the configured extensions as attributes.
pub(crate) fn object_type(extensions: &BTreeMap<String, ExtensionType>) -> ObjectType {
    let write_only = |name: &str, value_type: ValueType, native: String| Attribute {
        readable: false,
        native_type: native,
        ..Attribute::new(name, value_type)
    };
    let own = FIELDS.iter().map(|field| {
        let value_type = if field.name == "active" { ValueType::Boolean } else { ValueType::Text };
        let mut attribute = write_only(field.name, value_type, field.place.path());
        attribute.required = [EXTERNAL_ID, "userName"].contains(&field.name);
        // The anchor is fixed for ever.
        attribute.updatable = field.name != EXTERNAL_ID;
        attribute.unique = attribute.required;
        attribute
    });
    let extended = extensions.iter().map(|(path, kind)| write_only(path, kind.value_type(), path.clone()));
    ObjectType {
        name: INBOUND_USER.to_owned(),
        anchor: Anchor { attributes: vec![EXTERNAL_ID.to_owned()], assigned_by: AssignedBy::Creator },
        alternate_keys: Vec::new(),
        attributes: own.chain(extended).collect(),
        enabling: Some(Enabling { attribute: "active".to_owned() }),
        source: None,
        target: Some(TargetCapabilities {
            once: Once::Natural,
            readable: false,
            can_delete: false,
            can_rename: false,
            writes_secrets: false,
            ordered: false,
            max_batch: MOST_OPERATIONS,
            max_in_flight: 2,
        }),
    }
}

/// The refusal of a name that no uploaded person has.
pub(crate) fn unknown(name: &str, extensions: &BTreeMap<String, ExtensionType>) -> muster_connector::Error {
    let known = FIELDS.iter().map(|field| field.name).chain(extensions.keys().map(String::as_str));
    let fix = match FIELDS.iter().find(|field| field.place.path() == name) {
        Some(field) => format!("write {}, which is its name here", field.name),
        None if name.starts_with("urn:") => {
            return setting(
                &format!("inbound.extensions.{name}"),
                format!("the extension attribute {name:?} is not declared"),
                "add it to inbound.extensions of the connection with its type",
            );
        }
        None => nearest(name, known).map_or_else(
            || "see the list of attributes with `muster schema`".to_owned(),
            |near| format!("did you mean {near}?"),
        ),
    };
    muster_connector::Error::Configuration {
        setting: None,
        problem: format!("an {INBOUND_USER} has no attribute {name:?}"),
        fix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_paths_are_those_of_the_portal() {
        for (place, field) in FIELDS.iter().enumerate() {
            assert!(!FIELDS[..place].iter().any(|other| other.name == field.name), "{}", field.name);
        }
        for (name, path) in [
            ("workEmail", "emails[type eq \"work\"].value"),
            ("givenName", "name.givenName"),
            ("department", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"),
        ] {
            assert_eq!(named(name).unwrap().place.path(), path);
        }
        assert!(is_unprocessed("mobilePhone") && !is_unprocessed("workPhone") && !is_unprocessed("title"));
    }

    #[test]
    fn a_name_of_the_portal_leads_to_ours() {
        let text = unknown("name.givenName", &BTreeMap::new()).to_string();
        assert!(text.contains("write givenName"), "{text}");
        assert!(unknown("tittle", &BTreeMap::new()).to_string().contains("did you mean title?"));
        assert!(unknown("urn:x:User:A", &BTreeMap::new()).to_string().contains("inbound.extensions"));
    }
}
