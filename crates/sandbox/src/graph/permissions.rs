//! Which app role opens which path (Microsoft Graph: permissions reference; each role is enough by itself).

use crate::refusal::Refusal;
use crate::state::Shared;

const READ_USERS: &[&str] = &["User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const WRITE_USERS: &[&str] = &["User.ReadWrite.All", "Directory.ReadWrite.All"];
const READ_GROUPS: &[&str] = &[
    "GroupMember.Read.All",
    "GroupMember.ReadWrite.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];
const WRITE_GROUPS: &[&str] = &["Group.ReadWrite.All", "Directory.ReadWrite.All"];
const WRITE_MEMBERS: &[&str] = &["GroupMember.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"];
const READ_ORGANIZATION: &[&str] =
    &["Organization.Read.All", "User.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const READ_APPLICATIONS: &[&str] =
    &["Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const READ_LEAVE_DATES: &[&str] = &["User-LifeCycleInfo.Read.All", "User-LifeCycleInfo.ReadWrite.All"];
const WRITE_LEAVE_DATES: &[&str] = &["User-LifeCycleInfo.ReadWrite.All"];

const UPLOAD: &[&str] = &["SynchronizationData-User.Upload", "SynchronizationData-User.Upload.OwnedBy"];
const READ_JOBS: &[&str] = &["Synchronization.Read.All", "Synchronization.ReadWrite.All"];
const READ_PROVISIONING_LOG: &[&str] = &["ProvisioningLog.Read.All", "AuditLog.Read.All"];

pub(crate) fn check(shared: &Shared, method: &str, path: &[&str]) -> Result<(), Refusal> {
    let reads = method == "GET";
    let wanted = match path {
        [first] if first.starts_with("groups(") => WRITE_GROUPS,
        ["groups", _, "members", ..] if !reads => WRITE_MEMBERS,
        ["groups", ..] if reads => READ_GROUPS,
        ["groups", ..] => WRITE_GROUPS,
        ["users" | "directory", ..] if reads => READ_USERS,
        ["users" | "directory", ..] => WRITE_USERS,
        ["organization", ..] => READ_ORGANIZATION,
        ["servicePrincipals", _, "synchronization", "jobs", _, "bulkUpload"] => UPLOAD,
        ["servicePrincipals", _, "synchronization", ..] => READ_JOBS,
        ["auditLogs", ..] => READ_PROVISIONING_LOG,
        ["servicePrincipals", ..] => READ_APPLICATIONS,
        // What is inside a batch is checked request by request.
        _ => return Ok(()),
    };
    require(shared, wanted)
}

/// The date on which somebody leaves is not for everybody who may read users.
pub(crate) fn check_leave_dates(shared: &Shared, write: bool) -> Result<(), Refusal> {
    require(shared, if write { WRITE_LEAVE_DATES } else { READ_LEAVE_DATES })
}

fn require(shared: &Shared, any_of: &[&str]) -> Result<(), Refusal> {
    let has = |role: &&str| shared.options.permissions.iter().any(|granted| granted == role);
    if any_of.iter().any(has) { Ok(()) } else { Err(Refusal::forbidden()) }
}
