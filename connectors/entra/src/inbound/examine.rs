//! What `check` says of the inbound side.

use std::collections::BTreeMap;

use muster_connector::{CheckReport, Error, Finding, UsedType};
use serde::Deserialize;

use super::attributes::{INBOUND_USER, MOST_OPERATIONS, is_unprocessed, named, unknown};
use super::{Inbound, limiter, upload};
use crate::check::finding;
use crate::config::ExtensionType;
use crate::connector::Entra;
use crate::error::Failure;
use crate::http::Answer;
use crate::permissions::{self, Need};
use crate::session::{Ask, Doubt};

/// Attributes and direction, which need no network.
pub(crate) fn examine_use(entra: &Entra, used: &UsedType, report: &mut CheckReport) {
    let none = BTreeMap::<String, ExtensionType>::new();
    let Some(inbound) = &entra.inbound else {
        report.findings.push(Finding::error(
            Some("inbound"),
            format!("the connection has no {INBOUND_USER}, since it has no section inbound"),
            "add [connections.NAME.inbound] with service_principal and job",
        ));
        return;
    };
    if used.as_source {
        report.findings.push(Finding::error(
            None,
            format!("an {INBOUND_USER} can be written only, not read"),
            "read user instead, which is what Entra holds",
        ));
    }
    let extensions = if inbound.extensions.is_empty() { &none } else { &inbound.extensions };
    for name in &used.attributes {
        if named(name).is_none() && !extensions.contains_key(name) {
            report.findings.push(finding(&unknown(name, extensions)));
        } else if is_unprocessed(name) {
            report.findings.push(Finding::warning(
                None,
                format!(
                    "Entra takes {name} and does not process it: of telephone numbers only that of the type work is"
                ),
                "map workPhone, or an attribute of an extension schema",
            ));
        }
    }
}

/// The file, the job, the permissions and the quota.
pub(crate) async fn examine(entra: &Entra, roles: Option<&[String]>, report: &mut CheckReport) {
    let Some(inbound) = &entra.inbound else { return };
    permissions(entra, inbound, roles, report).await;
    match job(entra, inbound).await {
        Ok(found) => report.features.push(found),
        Err(found) => report.findings.push(found),
    }
    if let Err(error) = inbound.calls.probe().await {
        report.findings.push(finding(&error));
    }
    match inbound.calls.usage(entra.session.environment.now()).await {
        Ok(usage) => {
            if let Some(damage) = usage.damage {
                report.findings.push(Finding::warning(
                    Some("inbound.calls_file"),
                    format!("{damage}, so that nobody knows how many uploads were made in the last 24 hours"),
                    "nothing need be done: a tenth of the quota is used until tomorrow; or delete the file if nothing was \
                     uploaded since yesterday",
                ));
            }
            let quota = inbound.calls.quota;
            let effort = limiter::effort(100_000, u64::from(MOST_OPERATIONS), quota, usage.used);
            report.features.push(format!(
                "{}: {} uploads of {MOST_OPERATIONS} people in 24 hours; 100,000 people take {effort}",
                inbound.licence.name(),
                limiter::grouped(u64::from(quota)),
            ));
        }
        Err(error) => report.findings.push(finding(&error)),
    }
}

async fn permissions(entra: &Entra, inbound: &Inbound, roles: Option<&[String]>, report: &mut CheckReport) {
    let missing = |needs: &[Need]| {
        Finding::error(None, permissions::problem(needs), permissions::fix(entra.has_managed_identity()))
    };
    match roles.filter(|roles| !roles.is_empty()) {
        Some(roles) => {
            let unmet: Vec<Need> =
                [permissions::UPLOAD, permissions::READ_LOG].into_iter().filter(|need| !need.is_met(roles)).collect();
            if !unmet.is_empty() {
                report.findings.push(missing(&unmet));
            }
        }
        None => report.features.push(
            "the access token does not show its permissions: whether people may be uploaded shows at the first upload"
                .to_owned(),
        ),
    }
    match entra.probe_log(inbound).await {
        Ok(()) => report.features.push("the provisioning log can be read".to_owned()),
        // Said above already, where the token shows what it may.
        Err(Error::Credentials { .. })
            if roles.is_some_and(|roles| !roles.is_empty() && !permissions::READ_LOG.is_met(roles)) => {}
        Err(error) => report.findings.push(finding(&error)),
    }
}

/// Looks at the job, where the app may.
async fn job(entra: &Entra, inbound: &Inbound) -> Result<String, Finding> {
    #[derive(Deserialize)]
    struct Job {
        status: Option<Status>,
    }
    #[derive(Deserialize)]
    struct Status {
        code: Option<String>,
    }
    let url = entra.session.endpoints.graph(&inbound.job_path(), None);
    let accept = |answer: &Answer| {
        serde_json::from_slice::<Job>(&answer.body)
            .map_err(|error| Doubt::Again(format!("Microsoft Graph sent no provisioning job: {error}")))
    };
    let found = match entra.session.ask(&Ask::Get(url), accept).await {
        Ok((job, _)) => job,
        Err(Failure::Refused(refusal)) if refusal.status == 403 => {
            return Ok("whether the provisioning job is there and runs was not looked at: that takes the permission \
                       Synchronization.Read.All, which nothing else needs"
                .to_owned());
        }
        Err(Failure::Refused(refusal)) if refusal.status == 404 => {
            return Err(finding(&upload::no_such_job(inbound, &refusal)));
        }
        Err(Failure::Refused(refusal)) => {
            let problem = format!("the provisioning job cannot be looked at ({})", refusal.describe());
            return Err(Finding::warning(Some("inbound.job"), problem, "compare inbound.job with the portal"));
        }
        Err(Failure::Host(error)) => return Err(finding(&error)),
    };
    let code = found.status.and_then(|status| status.code).unwrap_or_else(|| "unknown".to_owned());
    if ["Paused", "Quarantine", "NotConfigured"].iter().any(|stopped| stopped.eq_ignore_ascii_case(&code)) {
        return Err(Finding::warning(
            Some("inbound.job"),
            format!("the provisioning job's state is {code}, so that uploads are taken and not worked on"),
            "in the Entra admin center, Enterprise applications > API-driven provisioning to Microsoft Entra ID > \
             Provisioning, choose Start provisioning (or Restart provisioning after a quarantine)",
        ));
    }
    Ok(format!("the provisioning job is there, its state is {code}"))
}
