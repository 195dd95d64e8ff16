//! Microsoft Graph: which part answers which path.
//!
//! `delta` and its neighbours make delta rounds, `listing` the ordinary collections; `permissions` says who may.

mod applications;
mod batch;
mod deleted_items;
mod delta;
mod delta_groups;
mod delta_token;
mod delta_users;
mod filter;
mod groups;
mod jobs;
mod listing;
mod manager;
mod members;
mod organization;
mod permissions;
mod provisioning_log;
mod select;
mod users;

use std::sync::Arc;

use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::refusal::Refusal;
use crate::sign_in;
use crate::state::Shared;

pub(crate) use delta::{DeltaMood, expired, restart_link};
pub(crate) use delta_users::Gathered;

/// Answers a request to Graph.
pub(crate) fn answer(shared: &Arc<Shared>, request: &Request, mood: DeltaMood) -> Result<Reply, Refusal> {
    sign_in::authorize(shared, request)?;
    dispatch(shared, request, mood)
}

fn dispatch(shared: &Arc<Shared>, request: &Request, mood: DeltaMood) -> Result<Reply, Refusal> {
    let path = request.path();
    let path = path.get(1..).unwrap_or_default();
    permissions::check(shared, &request.method, path)?;
    match (request.method.as_str(), path) {
        ("GET", ["users", "delta"]) => delta_users::answer(shared, request, mood),
        ("GET", ["groups", "delta"]) => delta_groups::answer(shared, request, mood),
        ("POST", ["$batch"]) => batch::answer(shared, request),
        ("GET", ["organization"]) => organization::list(shared, request),
        ("GET", ["organization", id]) => organization::one(shared, request, id),
        (_, ["users", key, "manager", rest @ ..]) => manager::answer(shared, request, key, rest),
        (_, ["users", rest @ ..]) => users::answer(shared, request, rest),
        ("PATCH", [first]) if unique_name(first).is_some() => {
            groups::upsert(shared, request, &unique_name(first).unwrap_or_default())
        }
        (_, ["groups", id, "members", rest @ ..]) => members::answer(shared, request, id, rest),
        (_, ["groups", rest @ ..]) => groups::answer(shared, request, rest),
        (_, ["servicePrincipals", id, "synchronization", "jobs", rest @ ..]) => jobs::answer(shared, request, id, rest),
        ("GET", ["auditLogs", "provisioning"]) => provisioning_log::list(shared, request),
        (_, ["servicePrincipals", rest @ ..]) => applications::answer(shared, request, rest),
        (_, ["directory", "deletedItems", rest @ ..]) => deleted_items::answer(shared, request, rest),
        (_, [first, ..]) => Err(no_such_segment(first)),
        (_, []) => Err(Refusal::bad_request("Resource not found for the segment ''.")),
    }
}

/// The name in `groups(uniqueName='…')`.
fn unique_name(segment: &str) -> Option<String> {
    let quoted = segment.strip_prefix("groups(uniqueName='")?.strip_suffix("')")?;
    Some(quoted.replace("''", "'"))
}

fn no_such_segment(segment: &str) -> Refusal {
    Refusal::new(400, "BadRequest", format!("Resource not found for the segment '{segment}'."))
}

fn no_such_method() -> Refusal {
    Refusal::new(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
}
