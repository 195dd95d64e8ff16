//! What keeps a connection from working, found before a sync does.

use muster_connector::{CheckReport, Error, Finding, ReadRequest, UsedType};

use crate::connector::Entra;
use crate::error::{Failure, Refusal};
use crate::http::Answer;
use crate::inbound::attributes::INBOUND_USER;
use crate::inbound::examine;
use crate::layout::{Layout, collection, unknown_attribute, untracked};
use crate::permissions::{self, LEAVE_DATE, Need};
use crate::properties::Spec;
use crate::schema::{APPLICATION, GROUP, USER, attributes_of};
use crate::session::{Ask, Doubt};
use crate::writing;

/// Examines token, types, attributes and permissions.
pub(crate) async fn run(entra: &Entra, used: &[UsedType]) -> CheckReport {
    let mut report = CheckReport::default();
    let mut readable = Vec::new();
    for used in used {
        if used.object_type == INBOUND_USER {
            examine::examine_use(entra, used, &mut report);
            continue;
        }
        if used.as_target && used.object_type == APPLICATION {
            report.findings.push(Finding::error(
                None,
                "Entra applications cannot be written by this connector",
                "an application can only be the source of a sync; write user, group or inbound_user",
            ));
        }
        if let Some(request) = known_part(entra, used, &mut report) {
            readable.push(request);
        }
    }
    let token = match entra.session.tokens.token().await {
        Ok(token) => token,
        Err(error) => {
            report.findings.insert(0, finding(&error));
            return report;
        }
    };
    report.features.push("signed in to the tenant".to_owned());
    let roles = token.hints().roles;
    if let Some(roles) = &roles {
        report.features.push(format!("permissions by the token: {}", roles.join(", ")));
    }
    for request in &readable {
        probe(entra, request, roles.as_deref(), &mut report).await;
    }
    if used.iter().any(|used| used.object_type == INBOUND_USER && used.as_target) {
        examine::examine(entra, roles.as_deref(), &mut report).await;
    }
    for used in used.iter().filter(|used| used.as_target && [USER, GROUP].contains(&used.object_type.as_str())) {
        writing::examine::examine(entra, used, roles.as_deref(), &mut report);
    }
    for used in used.iter().filter(|used| used.object_type != INBOUND_USER) {
        report.findings.extend(crate::named::examine(entra, used).await);
    }
    // What /organization refuses is no finding: it is optional.
    match entra.identity().await {
        Ok(identity) => report.features.push(format!("tenant {identity}")),
        Err(error) => report.findings.push(finding(&error)),
    }
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report
}

/// Reports what the schema does not know or cannot follow, and returns the rest.
fn known_part(entra: &Entra, used: &UsedType, report: &mut CheckReport) -> Option<ReadRequest> {
    let Some(specs) = attributes_of(&used.object_type) else {
        if let Err(error) = collection(&used.object_type) {
            report.findings.push(finding(&error));
        }
        return None;
    };
    let mut attributes = Vec::with_capacity(used.attributes.len());
    for name in &used.attributes {
        let reason = |spec: &Spec| if used.as_source { spec.unreadable() } else { spec.unsupported };
        match specs.iter().find(|spec| spec.name == name).map(reason) {
            Some(None) => attributes.push(name.clone()),
            Some(Some(reason)) => report.findings.push(finding(&untracked(name, reason))),
            None if entra.extensions.contains_key(name) => attributes.push(name.clone()),
            None => report.findings.push(finding(&unknown_attribute(&used.object_type, name, &entra.extensions))),
        }
    }
    used.as_source.then(|| ReadRequest {
        object_type: used.object_type.as_str().into(),
        attributes: attributes.into(),
        named: Default::default(),
    })
}

/// Asks for a delta from now on, which costs no data and takes the same permissions as the real one.
async fn probe(entra: &Entra, request: &ReadRequest, roles: Option<&[String]>, report: &mut CheckReport) {
    match ask(entra, request).await {
        Ok(()) => {
            let how = if &*request.object_type == APPLICATION { "in full" } else { "by delta" };
            report.features.push(format!("{} objects can be read {how}", request.object_type));
            // Without its own permission the leave date is left out silently in some tenants.
            let silent = permissions::needs(&request.object_type, &request.attributes);
            if let Some(roles) = roles.filter(|roles| !roles.is_empty()) {
                let unmet: Vec<Need> = silent.into_iter().filter(|need| !need.is_met(roles)).collect();
                if !unmet.is_empty() {
                    report.findings.push(Finding::warning(
                        None,
                        permissions::problem(&unmet),
                        permissions::fix(entra.has_managed_identity()),
                    ));
                }
            }
        }
        Err(Failure::Host(error)) => report.findings.push(finding(&error)),
        Err(Failure::Refused(refusal)) if refusal.status == 403 => {
            let missing = denied(entra, request, roles).await;
            report.findings.push(Finding::error(
                None,
                format!("{} ({})", permissions::problem(&missing), refusal.describe()),
                permissions::fix(entra.has_managed_identity()),
            ));
        }
        Err(Failure::Refused(refusal)) => report.findings.push(finding(&other(entra, &refusal, request).await)),
    }
}

async fn other(entra: &Entra, refusal: &Refusal, request: &ReadRequest) -> Error {
    entra.explain(refusal, request, true).await
}

/// Which permission is missing: as the token hints, or found by asking again without the leave date.
async fn denied(entra: &Entra, request: &ReadRequest, roles: Option<&[String]>) -> Vec<Need> {
    let missing = permissions::missing(&request.object_type, &request.attributes, roles);
    if missing.len() < 2 {
        return missing;
    }
    let attributes = request.attributes.iter().filter(|name| *name != LEAVE_DATE).cloned().collect();
    let smaller = ReadRequest { object_type: request.object_type.clone(), attributes, named: Default::default() };
    match ask(entra, &smaller).await {
        Ok(()) => missing.into_iter().skip(1).collect(),
        Err(_) => missing,
    }
}

async fn ask(entra: &Entra, request: &ReadRequest) -> Result<(), Failure> {
    if &*request.object_type == APPLICATION {
        return entra.probe_applications().await;
    }
    let layout = Layout::new(request, &entra.extensions)?;
    let path = format!("{}/delta", collection(&request.object_type)?);
    let query = format!("$deltatoken=latest&$select={}", layout.select);
    let url = entra.session.endpoints.graph(&path, Some(&query));
    let accept = |answer: &Answer| {
        crate::decode::page(&answer.body, &layout)
            .map_err(|error| Doubt::Again(format!("Microsoft Graph sent a page that is no delta page: {error}")))
    };
    entra.session.ask(&Ask::Get(url), accept).await.map(drop)
}

/// An error as a finding.
pub(crate) fn finding(error: &Error) -> Finding {
    match error {
        Error::Configuration { setting, problem, fix } => Finding::error(setting.as_deref(), problem, fix),
        Error::Credentials { problem, fix } => Finding::error(None, problem, fix),
        Error::Unreachable { problem, .. } => Finding::error(
            None,
            problem,
            "check the network, DNS, the firewall and proxy; the sign-in service and Graph must be reachable on port 443",
        ),
        Error::Throttled { problem, after } => {
            Finding::warning(None, problem, format!("check again in {} s", after.as_secs()))
        }
        other => Finding::error(None, other.to_string(), "report it with this text"),
    }
}
