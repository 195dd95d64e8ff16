//! `/groups/{id}/members` and its references (Microsoft Graph: list, add and remove members).

use std::collections::BTreeSet;

use super::{listing, no_such_method, select};
use crate::directory::entity;
use crate::directory::groups::{Group, Member};
use crate::directory::tenant::Tenant;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::refusal::Refusal;
use crate::state::Shared;

/// The most references in one PATCH (Microsoft Graph: add members).
const MOST_BOUND: usize = 20;

pub(crate) fn answer(shared: &Shared, request: &Request, group: &str, path: &[&str]) -> Result<Reply, Refusal> {
    match (request.method.as_str(), path) {
        ("GET", []) => list(shared, request, group),
        ("POST", ["$ref"]) => add(shared, request, group),
        ("DELETE", [member, "$ref"]) => remove(shared, group, member),
        _ => Err(no_such_method()),
    }
}

fn list(shared: &Shared, request: &Request, id: &str) -> Result<Reply, Refusal> {
    listing::refuse_other_options(request, &["select", "top", "count", "skiptoken"])?;
    let (users, groups) = select::members(request.option("select"))?;
    let tenant = shared.tenant();
    let slot = tenant.live_group(id)?;
    let places = tenant.groups.get(slot).map_or(0, Group::places);
    let found = |from: u64| {
        let group = tenant.groups.get(slot);
        // Those in the recycle bin are still members, but not shown.
        let member = move |place| group.and_then(|group| group.member_at(place));
        let tenant = &tenant;
        (from as usize..places).filter_map(move |place| {
            member(place).filter(|&member| tenant.is_live(member)).map(|member| (place as u64, member))
        })
    };
    let count = listing::wants_count(request).then(|| found(0).count());
    listing::page(request, "directoryObjects", count, found(listing::start(request)?), |member, out| {
        entity::write_member(&tenant, member, users, groups, out);
    })
}

fn add(shared: &Shared, request: &Request, group: &str) -> Result<Reply, Refusal> {
    let member = referenced(request)?;
    let mut tenant = shared.tenant_mut();
    let (group, member) = (tenant.live_group(group)?, tenant.live_member(&member)?);
    tenant.add_member(group, member)?;
    Ok(Reply::empty(204))
}

fn remove(shared: &Shared, group: &str, member: &str) -> Result<Reply, Refusal> {
    let mut tenant = shared.tenant_mut();
    let (group, member) = (tenant.live_group(group)?, tenant.live_member(member)?);
    tenant.remove_member(group, member)?;
    Ok(Reply::empty(204))
}

/// The members that `members@odata.bind` adds: at most twenty, all or none.
pub(super) fn bound(tenant: &Tenant, group: u32, references: &serde_json::Value) -> Result<BTreeSet<Member>, Refusal> {
    let urls = references.as_array().filter(|urls| (1..=MOST_BOUND).contains(&urls.len()));
    let urls = urls.ok_or_else(|| {
        Refusal::bad_request(format!("members@odata.bind takes 1 to {MOST_BOUND} references in one request."))
    })?;
    let mut members = BTreeSet::new();
    for url in urls {
        let member = tenant.live_member(&last_segment(url.as_str().unwrap_or_default())?)?;
        tenant.refuse_as_member(group, member)?;
        members.insert(member);
    }
    Ok(members)
}

/// The last segment of the URL in `@odata.id`; which host it names does not matter.
pub(super) fn referenced(request: &Request) -> Result<String, Refusal> {
    let body = request.json_object()?;
    last_segment(body.get("@odata.id").and_then(serde_json::Value::as_str).unwrap_or_default())
}

fn last_segment(url: &str) -> Result<String, Refusal> {
    match url.rsplit('/').next().filter(|id| !id.is_empty()) {
        Some(id) => Ok(id.to_owned()),
        None => Err(Refusal::bad_request("Invalid URL format specified in @odata.id.")),
    }
}
