//! What a tenant holds: users and groups, their properties, and which of them a delta can follow.
//!
//! Sources: <https://learn.microsoft.com/graph/api/resources/user>,
//! <https://learn.microsoft.com/graph/api/resources/group>,
//! <https://learn.microsoft.com/graph/delta-query-overview>.

use std::collections::BTreeMap;

use muster_model::{
    Anchor, AssignedBy, Attribute, Changes, Enabling, ObjectType, Once, Precision, Schema, SourceCapabilities,
    TargetCapabilities,
};

use crate::config::ExtensionType;
use crate::properties::{APPLICATION_ATTRIBUTES, GROUP_ATTRIBUTES, Spec, USER_ATTRIBUTES, read_only};
use crate::writing::{MAX_GROUPS, MAX_USERS};

/// The object type of people.
pub(crate) const USER: &str = "user";
/// The object type of groups.
pub(crate) const GROUP: &str = "group";

/// The object type of enterprise applications and their app roles.
pub(crate) const APPLICATION: &str = "application";

/// The attributes of a type, without configured extensions.
pub(crate) fn attributes_of(object_type: &str) -> Option<&'static [Spec]> {
    match object_type {
        USER => Some(USER_ATTRIBUTES),
        GROUP => Some(GROUP_ATTRIBUTES),
        APPLICATION => Some(APPLICATION_ATTRIBUTES),
        _ => None,
    }
}

/// The whole schema of the tenant `identity`.
pub(crate) fn schema(identity: String, extensions: &BTreeMap<String, ExtensionType>) -> Schema {
    Schema {
        identity,
        types: [USER, GROUP, APPLICATION].into_iter().map(|name| object_type(name, extensions)).collect(),
        setup: Vec::new(),
    }
}

/// One object type, with the configured extensions as attributes.
pub(crate) fn object_type(name: &str, extensions: &BTreeMap<String, ExtensionType>) -> ObjectType {
    let mut attributes: Vec<Attribute> =
        attributes_of(name).unwrap_or_default().iter().map(|spec| spec.attribute(name)).collect();
    let extensions = extensions.iter().filter(|_| name != APPLICATION);
    attributes.extend(extensions.map(|(name, kind)| Attribute {
        creatable: true,
        updatable: true,
        ..read_only(name, kind.value_type())
    }));
    ObjectType {
        name: name.to_owned(),
        anchor: Anchor { attributes: vec!["id".to_owned()], assigned_by: AssignedBy::System },
        alternate_keys: if name == USER { vec![vec!["userPrincipalName".to_owned()]] } else { Vec::new() },
        attributes,
        enabling: (name == USER).then(|| Enabling { attribute: "accountEnabled".to_owned() }),
        source: Some(SourceCapabilities {
            changes: (name != APPLICATION).then_some(Changes {
                starts_full: true,
                precision: Precision::Round,
                deletes_visible: true,
                keys_every: 0,
            }),
            recycle_bin: name != APPLICATION,
        }),
        target: (name != APPLICATION).then_some(TargetCapabilities {
            // No two users have the same userPrincipalName. Groups may all be alike.
            once: if name == USER { Once::Natural } else { Once::None },
            readable: true,
            can_delete: true,
            can_rename: false,
            writes_secrets: name == USER,
            ordered: false,
            max_batch: if name == USER { MAX_USERS } else { MAX_GROUPS },
            max_in_flight: 2,
        }),
    }
}
