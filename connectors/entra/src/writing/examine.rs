//! What `check` says of users and groups as a target.

use muster_connector::{CheckReport, Finding, UsedType};

use crate::connector::Entra;
use crate::permissions;

/// Permissions, as far as the token shows them.
pub(crate) fn examine(entra: &Entra, used: &UsedType, roles: Option<&[String]>, report: &mut CheckReport) {
    let needs = permissions::to_write(&used.object_type, &used.attributes);
    let Some(roles) = roles.filter(|roles| !roles.is_empty()) else {
        report.features.push(format!(
            "the access token does not show its permissions: whether {}s may be written shows with the first change",
            used.object_type
        ));
        return;
    };
    let unmet = permissions::unmet(&needs, Some(roles));
    if unmet.is_empty() {
        report.features.push(format!("{} objects can be written", used.object_type));
    } else {
        let fix = permissions::fix(entra.has_managed_identity());
        report.findings.push(Finding::error(None, permissions::problem(&unmet), fix));
    }
}
