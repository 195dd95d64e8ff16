//! Which application permissions of Microsoft Graph a mapping needs, and where they are granted.
//!
//! Sources: <https://learn.microsoft.com/graph/api/user-delta>, <https://learn.microsoft.com/graph/api/group-delta>,
//! <https://learn.microsoft.com/graph/permissions-reference>.

use crate::schema::{APPLICATION, GROUP, USER};

/// The attribute that wants a permission of its own.
pub(crate) const LEAVE_DATE: &str = "employeeLeaveDateTime";

/// One need; any of the permissions satisfies it, the first is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) any_of: &'static [&'static str],
    pub(crate) what_for: &'static str,
}

const USERS: Need = Need {
    any_of: &["User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"],
    what_for: "to read users",
};

const LIFECYCLE: Need = Need {
    any_of: &["User-LifeCycleInfo.Read.All", "User-LifeCycleInfo.ReadWrite.All"],
    what_for: "to read employeeLeaveDateTime",
};

const GROUPS: Need = Need {
    any_of: &[
        "GroupMember.Read.All",
        "Group.Read.All",
        "GroupMember.ReadWrite.All",
        "Group.ReadWrite.All",
        "Directory.Read.All",
        "Directory.ReadWrite.All",
    ],
    what_for: "to read groups and their members",
};

const APPLICATIONS: Need = Need {
    any_of: &["Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"],
    what_for: "to read enterprise applications and who is assigned to them",
};

const WRITE_USERS: Need =
    Need { any_of: &["User.ReadWrite.All", "Directory.ReadWrite.All"], what_for: "to create, change and delete users" };

const WRITE_LIFECYCLE: Need =
    Need { any_of: &["User-LifeCycleInfo.ReadWrite.All"], what_for: "to write employeeLeaveDateTime" };

const WRITE_GROUPS: Need = Need {
    any_of: &["Group.ReadWrite.All", "Directory.ReadWrite.All"],
    what_for: "to create, change and delete groups and their members",
};

/// A group that can be given roles is nobody's to make by a permission for groups alone.
const WRITE_ROLE_GROUPS: Need = Need {
    any_of: &["RoleManagement.ReadWrite.Directory"],
    what_for: "to write groups that roles are assigned to (isAssignableToRole)",
};

/// What uploading people needs.
pub(crate) const UPLOAD: Need = Need {
    any_of: &["SynchronizationData-User.Upload", "SynchronizationData-User.Upload.OwnedBy"],
    what_for: "to upload people to API-driven provisioning",
};

/// What learning what became of them needs.
pub(crate) const READ_LOG: Need = Need {
    any_of: &["ProvisioningLog.Read.All", "AuditLog.Read.All"],
    what_for: "to read in the provisioning log what became of them",
};

impl Need {
    /// Whether one of `roles` satisfies it.
    pub(crate) fn is_met(&self, roles: &[String]) -> bool {
        self.any_of.iter().any(|permission| roles.iter().any(|role| role == permission))
    }

    /// The least permission, with the usual alternative.
    pub(crate) fn name(&self) -> String {
        match self.any_of {
            ["GroupMember.Read.All", ..] => "GroupMember.Read.All (or Group.Read.All)".to_owned(),
            [least, ..] => (*least).to_owned(),
            [] => String::new(),
        }
    }
}

/// What reading these attributes needs.
pub(crate) fn needs(object_type: &str, attributes: &[String]) -> Vec<Need> {
    match object_type {
        USER if attributes.iter().any(|name| name == LEAVE_DATE) => vec![USERS, LIFECYCLE],
        USER => vec![USERS],
        GROUP => vec![GROUPS],
        APPLICATION => vec![APPLICATIONS],
        _ => Vec::new(),
    }
}

/// What writing these attributes needs.
pub(crate) fn to_write(object_type: &str, attributes: &[String]) -> Vec<Need> {
    let has = |wanted: &str| attributes.iter().any(|name| name == wanted);
    match object_type {
        USER if has(LEAVE_DATE) => vec![WRITE_USERS, WRITE_LIFECYCLE],
        USER => vec![WRITE_USERS],
        GROUP if has("isAssignableToRole") => vec![WRITE_GROUPS, WRITE_ROLE_GROUPS],
        GROUP => vec![WRITE_GROUPS],
        _ => Vec::new(),
    }
}

/// The needs that the token's roles do not meet; none when the token tells nothing.
pub(crate) fn unmet(needs: &[Need], roles: Option<&[String]>) -> Vec<Need> {
    needs.iter().filter(|need| roles.is_some_and(|roles| !need.is_met(roles))).copied().collect()
}

/// What is probably missing: the needs that the token's roles do not meet, or all when the token tells nothing.
pub(crate) fn missing(object_type: &str, attributes: &[String], roles: Option<&[String]>) -> Vec<Need> {
    let needs = needs(object_type, attributes);
    let unmet = unmet(&needs, roles);
    if unmet.is_empty() { needs } else { unmet }
}

/// What is refused, in words.
pub(crate) fn problem(needs: &[Need]) -> String {
    let needs: Vec<String> = needs.iter().map(|need| format!("{} {}", need.name(), need.what_for)).collect();
    format!("the app lacks a permission of Microsoft Graph: {}", needs.join(", and "))
}

/// Where it is granted.
pub(crate) fn fix(managed_identity: bool) -> String {
    if managed_identity {
        return "assign the permission to the managed identity with New-MgServicePrincipalAppRoleAssignment; the \
                portal has no page for it, and it takes effect with the identity's next token, which may take a day"
            .to_owned();
    }
    "add it in the Entra admin center under App registrations > the app > API permissions > Add a permission > \
     Microsoft Graph > Application permissions, then choose Grant admin consent on the same page"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_missing() {
        let roles = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let leave = roles(&["mail", LEAVE_DATE]);
        let cases = [
            (USER, roles(&["mail"]), None, "User.Read.All"),
            (USER, leave.clone(), Some(roles(&["User.Read.All"])), "User-LifeCycleInfo.Read.All"),
            (USER, leave.clone(), Some(roles(&["User-LifeCycleInfo.ReadWrite.All"])), "User.Read.All"),
            (GROUP, roles(&["members"]), Some(Vec::new()), "GroupMember.Read.All"),
            (APPLICATION, roles(&["assigned"]), Some(roles(&["User.Read.All"])), "Application.Read.All"),
        ];
        for (object_type, attributes, roles, least) in cases {
            let missing = missing(object_type, &attributes, roles.as_deref());
            assert_eq!(missing.len(), 1, "{object_type} {roles:?}");
            assert_eq!(missing[0].any_of[0], least);
        }
        assert_eq!(missing(USER, &leave, None).len(), 2);
    }
}
