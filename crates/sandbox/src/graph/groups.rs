//! `/groups` and `/groups/{id}` (Microsoft Graph: list, get, create, update and delete group).

use super::users::context;
use super::{filter, listing, members, no_such_method, no_such_segment, select};
use crate::directory::entity;
use crate::directory::property::{GroupProperty, Mask};
use crate::directory::tenant::Tenant;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::refusal::Refusal;
use crate::state::Shared;

pub(crate) fn answer(shared: &Shared, request: &Request, path: &[&str]) -> Result<Reply, Refusal> {
    match (request.method.as_str(), path) {
        ("GET", []) => list(shared, request),
        ("POST", []) => create(shared, request),
        ("GET", [id]) => get(shared, request, id),
        ("PATCH", [id]) => patch(shared, request, id),
        ("DELETE", [id]) => delete(shared, id),
        (_, [] | [_]) => Err(no_such_method()),
        (_, [_, further, ..]) => Err(no_such_segment(further)),
    }
}

fn list(shared: &Shared, request: &Request) -> Result<Reply, Refusal> {
    listing::refuse_other_options(request, &["select", "top", "filter", "count", "skiptoken"])?;
    let mask = select::groups(request.option("select"))?;
    let filter = request.option("filter").map(read_filter).transpose()?;
    filter.as_ref().map_or(Ok(()), |filter| listing::refuse_plain_query(request, filter))?;
    let tenant = shared.tenant();
    let count = listing::wants_count(request).then(|| matching(&tenant, filter.as_ref(), 0).count());
    let found = matching(&tenant, filter.as_ref(), listing::start(request)?);
    listing::page(request, &context(request, "groups"), count, found, |slot, out| {
        entity::write_group(&tenant, slot, mask, "", out);
    })
}

fn read_filter(text: &str) -> Result<filter::Filter, Refusal> {
    let filter = filter::parse(text)?;
    let unknown = filter.properties().find(|name| *name != "id" && GroupProperty::named(name).is_none());
    match unknown {
        Some(name) => Err(Refusal::new(
            400,
            "BadRequest",
            format!("Could not find a property named '{name}' on type 'microsoft.graph.group'."),
        )),
        None => Ok(filter),
    }
}

fn matching<'a>(
    tenant: &'a Tenant,
    filter: Option<&'a filter::Filter>,
    from: u64,
) -> impl Iterator<Item = (u64, u32)> + 'a {
    tenant
        .groups
        .live()
        .filter(move |&slot| u64::from(slot) >= from && filter.is_none_or(|filter| passes(tenant, slot, filter)))
        .map(|slot| (u64::from(slot), slot))
}

fn passes(tenant: &Tenant, slot: u32, filter: &filter::Filter) -> bool {
    filter.passes(|name| match GroupProperty::named(name) {
        Some(property) => tenant.groups.get(slot)?.values.get(&property).cloned(),
        None => Some(tenant.groups.id(slot).to_string().into()),
    })
}

fn one(request: &Request, tenant: &Tenant, slot: u32, mask: Mask) -> Vec<u8> {
    let context = format!("{}/$metadata#{}/$entity", request.root(), context(request, "groups"));
    let extra = format!("\"@odata.context\":{},", serde_json::Value::from(context));
    let mut body = Vec::new();
    entity::write_group(tenant, slot, mask, &extra, &mut body);
    body
}

fn get(shared: &Shared, request: &Request, id: &str) -> Result<Reply, Refusal> {
    listing::refuse_other_options(request, &["select"])?;
    let mask = select::groups(request.option("select"))?;
    let tenant = shared.tenant();
    let slot = tenant.live_group(id)?;
    Ok(Reply::graph(200, one(request, &tenant, slot, mask)))
}

/// `PATCH /groups(uniqueName='…')` (Microsoft Graph: upsert group).
pub(crate) fn upsert(shared: &Shared, request: &Request, unique_name: &str) -> Result<Reply, Refusal> {
    let body = request.json_object()?;
    let creates = request.header("prefer").is_some_and(|wish| wish.eq_ignore_ascii_case("create-if-missing"));
    let mut tenant = shared.tenant_mut();
    if let Some(slot) = tenant.groups.with_unique_name(unique_name) {
        tenant.patch_group(slot, &body)?;
        return Ok(Reply::empty(204));
    }
    if !creates {
        return Err(Refusal::not_found(unique_name));
    }
    let slot = tenant.create_group(&body, shared.clock.timestamp())?;
    tenant.groups.set_unique_name(slot, unique_name);
    Ok(Reply::graph(201, one(request, &tenant, slot, GroupProperty::defaults())))
}

fn create(shared: &Shared, request: &Request) -> Result<Reply, Refusal> {
    let body = request.json_object()?;
    let mut tenant = shared.tenant_mut();
    let slot = tenant.create_group(&body, shared.clock.timestamp())?;
    let location = format!("{}/groups/{}", request.root(), tenant.groups.id(slot));
    Ok(Reply::graph(201, one(request, &tenant, slot, GroupProperty::defaults())).with("location", location))
}

fn patch(shared: &Shared, request: &Request, id: &str) -> Result<Reply, Refusal> {
    let mut body = request.json_object()?;
    let mut tenant = shared.tenant_mut();
    let slot = tenant.live_group(id)?;
    if let Some(references) = body.remove("members@odata.bind") {
        let members = members::bound(&tenant, slot, &references)?;
        tenant.patch_group(slot, &body)?;
        for member in members {
            tenant.add_member(slot, member)?;
        }
        return Ok(Reply::empty(204));
    }
    tenant.patch_group(slot, &body)?;
    Ok(Reply::empty(204))
}

fn delete(shared: &Shared, id: &str) -> Result<Reply, Refusal> {
    let mut tenant = shared.tenant_mut();
    let slot = tenant.live_group(id)?;
    tenant.delete_group(slot);
    Ok(Reply::empty(204))
}
