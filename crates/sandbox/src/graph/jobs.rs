//! `/servicePrincipals/{id}/synchronization/jobs`: the job that takes uploads (Microsoft Graph: list and get
//! synchronizationJob, perform bulkUpload).

use serde_json::{Value, json};

use super::{listing, no_such_method, no_such_segment};
use crate::http::reply::{Ids, Reply};
use crate::http::request::Request;
use crate::provisioning::bulk::{self, Malformed};
use crate::provisioning::limits::MOST_OPERATIONS;
use crate::refusal::Refusal;
use crate::state::Shared;

pub(crate) fn answer(shared: &Shared, request: &Request, principal: &str, path: &[&str]) -> Result<Reply, Refusal> {
    if !principal.eq_ignore_ascii_case(&shared.facts.service_principal) {
        return Err(Refusal::not_found(principal));
    }
    if let Some(job) = path.first().filter(|job| **job != shared.facts.job) {
        return Err(Refusal::not_found(job));
    }
    match (request.method.as_str(), path) {
        ("GET", []) => list(shared, request),
        ("GET", [_]) => Ok(Reply::graph(200, job(shared).to_string().into_bytes())),
        ("POST", [_, "bulkUpload"]) => upload(shared, request),
        (_, [] | [_] | [_, "bulkUpload"]) => Err(no_such_method()),
        (_, [_, further, ..]) => Err(no_such_segment(further)),
    }
}

fn job(shared: &Shared) -> Value {
    json!({
        "id": shared.facts.job,
        "templateId": "API2AAD",
        "schedule": {"expiration": null, "interval": "PT40M", "state": "Active"},
        "status": {"code": "Active", "countSuccessiveCompleteFailures": 0, "quarantine": null},
    })
}

fn list(shared: &Shared, request: &Request) -> Result<Reply, Refusal> {
    listing::page(request, "servicePrincipals/synchronization/jobs", None, [(0, ())].into_iter(), |(), out| {
        out.extend_from_slice(job(shared).to_string().as_bytes());
    })
}

fn upload(shared: &Shared, request: &Request) -> Result<Reply, Refusal> {
    let now = shared.clock.now_millis();
    let admitted = shared.provisioning().limits.upload(now);
    if let Err(excess) = admitted {
        return Ok(too_many(shared, request, &excess.what, excess.wait));
    }
    let invalid = |problem: String| Refusal::new(400, "BadRequest", format!("Invalid Data Format: {problem}"));
    if !bulk::is_scim(request.header("content-type")) {
        return Err(invalid(format!("the Content-Type is not {}", bulk::MEDIA_TYPE)));
    }
    let records = bulk::read(&request.body).map_err(|malformed| match malformed {
        Malformed::Oversized(count) => {
            shared.provisioning().limits.oversized();
            invalid(format!("{count} operations, of which at most {MOST_OPERATIONS} are taken"))
        }
        Malformed::Invalid(problem) => invalid(problem),
    })?;
    shared.provisioning().stage(now, records);
    let log = format!("{}/auditLogs/provisioning/?$filter=jobid%20eq%20'{}'", request.root(), shared.facts.job);
    Ok(Reply::empty(202).with("location", log))
}

/// 429 with how long to wait, in whole seconds.
pub(super) fn too_many(shared: &Shared, request: &Request, what: &str, wait_millis: u64) -> Reply {
    let refusal = Refusal::new(429, "TooManyRequests", format!("Too many requests: {what}."));
    let seconds = wait_millis.div_ceil(1_000).max(1);
    Reply::error(&refusal, &Ids::of(request), &shared.clock).with("retry-after", seconds.to_string())
}
