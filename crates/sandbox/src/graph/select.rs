//! Reading `$select` (OData 4.01 §5.1.4; Microsoft Graph: query parameters, delta query overview).

use super::permissions;
use crate::directory::property::{GroupProperty, Mask, OWNERS, RELATIONSHIP, USER_PROPERTIES_ELSEWHERE, UserProperty};
use crate::refusal::Refusal;
use crate::state::Shared;

/// Relationships that exist and that neither delta nor the sandbox's ordinary reading can select.
const USER_RELATIONSHIPS: &[&str] = &[
    "directReports",
    "memberOf",
    "transitiveMemberOf",
    "appRoleAssignments",
    "ownedObjects",
    "ownedDevices",
    "registeredDevices",
    "licenseDetails",
    "photo",
    "oauth2PermissionGrants",
    "sponsors",
];

/// The selected properties of users for delta; the manager may be among them.
pub(crate) fn users_in_delta(shared: &Shared, text: &str) -> Result<Mask, Refusal> {
    let mut unsupported = Vec::new();
    let mut mask = 0;
    for name in names(text) {
        match name {
            "id" => {}
            "manager" => mask |= RELATIONSHIP,
            _ => match UserProperty::named(name) {
                Some(property) => mask |= property.bit(),
                None if is_one_of(name, USER_PROPERTIES_ELSEWHERE) || is_one_of(name, USER_RELATIONSHIPS) => {
                    unsupported.push(name);
                }
                None => return Err(unknown(name, "user")),
            },
        }
    }
    refuse_unsupported(&unsupported)?;
    check_leave_date(shared, mask)?;
    Ok(mask)
}

/// The selected properties of groups for delta; members and owners may be among them.
pub(crate) fn groups_in_delta(text: &str) -> Result<Mask, Refusal> {
    let mut mask = 0;
    for name in names(text) {
        mask |= match name {
            "id" => 0,
            "members" => RELATIONSHIP,
            "owners" => OWNERS,
            _ => GroupProperty::named(name).ok_or_else(|| unknown(name, "group"))?.bit(),
        };
    }
    Ok(mask)
}

/// The selected properties of users for ordinary reading.
pub(crate) fn users(shared: &Shared, text: Option<&str>) -> Result<Mask, Refusal> {
    let Some(text) = text else { return Ok(UserProperty::defaults()) };
    let mut mask = 0;
    for name in names(text).filter(|&name| name != "id") {
        match UserProperty::named(name) {
            Some(property) => mask |= property.bit(),
            None if is_one_of(name, USER_PROPERTIES_ELSEWHERE) => {
                return Err(Refusal::new(501, "NotImplemented", "This operation target is not yet supported."));
            }
            None => return Err(unknown(name, "user")),
        }
    }
    check_leave_date(shared, mask)?;
    Ok(mask)
}

/// The selected properties of groups for ordinary reading.
pub(crate) fn groups(text: Option<&str>) -> Result<Mask, Refusal> {
    let Some(text) = text else { return Ok(GroupProperty::defaults()) };
    names(text).filter(|&name| name != "id").try_fold(0, |mask, name| {
        GroupProperty::named(name).map(|property| mask | property.bit()).ok_or_else(|| unknown(name, "group"))
    })
}

/// Members are users or groups: what either knows may be selected.
pub(crate) fn members(text: Option<&str>) -> Result<(Mask, Mask), Refusal> {
    let Some(text) = text else { return Ok((UserProperty::defaults(), GroupProperty::defaults())) };
    let (mut users, mut groups) = (0, 0);
    for name in names(text).filter(|&name| name != "id") {
        let (user, group) = (UserProperty::named(name), GroupProperty::named(name));
        if user.is_none() && group.is_none() {
            return Err(unknown(name, "directoryObject"));
        }
        users |= user.map_or(0, UserProperty::bit);
        groups |= group.map_or(0, GroupProperty::bit);
    }
    Ok((users, groups))
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

fn is_one_of(name: &str, list: &[&str]) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn check_leave_date(shared: &Shared, mask: Mask) -> Result<(), Refusal> {
    if mask & UserProperty::EmployeeLeaveDateTime.bit() == 0 {
        return Ok(());
    }
    permissions::check_leave_dates(shared, false)
}

fn unknown(name: &str, resource: &str) -> Refusal {
    Refusal::new(
        400,
        "BadRequest",
        format!(
            "Parsing OData Select and Expand failed: Could not find a property named '{name}' on type 'microsoft.graph.{resource}'."
        ),
    )
}

fn refuse_unsupported(names: &[&str]) -> Result<(), Refusal> {
    if names.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(
        400,
        "BadRequest",
        format!(
            "Invalid request for delta query: for this entity set, $expand/$select is not supported for the following \
             properties: {}",
            names.join(", ")
        ),
    ))
}
/// Whether `$expand` asks for the manager, the only relationship that the sandbox expands.
pub(crate) fn expands_manager(expand: Option<&str>) -> Result<bool, Refusal> {
    match expand.map(str::trim) {
        None => Ok(false),
        Some("manager" | "manager($select=id)") => Ok(true),
        Some(_) => Err(Refusal::unsupported_query("The sandbox expands manager($select=id) only.")),
    }
}
