//! `/users` and `/users/{key}` (Microsoft Graph: list, get, create, update and delete user).

use super::{filter, listing, no_such_method, no_such_segment, permissions, select};
use crate::directory::groups::Member;
use crate::directory::property::{Mask, UserProperty};
use crate::directory::tenant::Tenant;
use crate::directory::{entity, person};
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::refusal::Refusal;
use crate::state::Shared;

pub(crate) fn answer(shared: &Shared, request: &Request, path: &[&str]) -> Result<Reply, Refusal> {
    match (request.method.as_str(), path) {
        ("GET", []) => list(shared, request),
        ("POST", []) => create(shared, request),
        ("GET", ["$count"]) => count(shared, request),
        ("GET", [key]) => get(shared, request, key),
        ("PATCH", [key]) => patch(shared, request, key),
        ("DELETE", [key]) => delete(shared, key),
        (_, [] | [_]) => Err(no_such_method()),
        (_, [_, further, ..]) => Err(no_such_segment(further)),
    }
}

fn list(shared: &Shared, request: &Request) -> Result<Reply, Refusal> {
    listing::refuse_other_options(request, &["select", "expand", "top", "filter", "count", "skiptoken"])?;
    let mask = select::users(shared, request.option("select"))?;
    let with_manager = select::expands_manager(request.option("expand"))?;
    let filter = request.option("filter").map(read_filter).transpose()?;
    filter.as_ref().map_or(Ok(()), |filter| listing::refuse_plain_query(request, filter))?;
    listing::refuse_expanded_count(request)?;
    let tenant = shared.tenant();
    let count = listing::wants_count(request).then(|| match &filter {
        None => tenant.users.live_count(),
        Some(_) => matching(&tenant, filter.as_ref(), 0).count(),
    });
    let found = matching(&tenant, filter.as_ref(), listing::start(request)?);
    listing::page(request, &context(request, "users"), count, found, |slot, out| {
        entity::write_user(&tenant, slot, mask, &manager_of(&tenant, slot, with_manager), out);
    })
}

fn count(shared: &Shared, request: &Request) -> Result<Reply, Refusal> {
    if !listing::is_advanced(request) {
        return Err(Refusal::unsupported_query(
            "$count is not currently supported without the header ConsistencyLevel: eventual.",
        ));
    }
    let tenant = shared.tenant();
    let filter = request.option("filter").map(read_filter).transpose()?;
    let count = matching(&tenant, filter.as_ref(), 0).count();
    Ok(Reply {
        status: 200,
        headers: vec![("content-type", "text/plain".to_owned())],
        body: count.to_string().into_bytes(),
    })
}

pub(super) fn context(request: &Request, collection: &str) -> String {
    request.option("select").map_or_else(|| collection.to_owned(), |names| format!("{collection}({names})"))
}

fn read_filter(text: &str) -> Result<filter::Filter, Refusal> {
    let filter = filter::parse(text)?;
    let unknown = filter.properties().find(|name| *name != "id" && UserProperty::named(name).is_none());
    match unknown {
        Some(name) => Err(Refusal::new(
            400,
            "BadRequest",
            format!("Could not find a property named '{name}' on type 'microsoft.graph.user'."),
        )),
        None => Ok(filter),
    }
}

/// The live users that pass, each with its place, from a place on.
fn matching<'a>(
    tenant: &'a Tenant,
    filter: Option<&'a filter::Filter>,
    from: u64,
) -> impl Iterator<Item = (u64, u32)> + 'a {
    let candidates: Box<dyn Iterator<Item = u32>> = match filter.and_then(|filter| shortcut(tenant, filter)) {
        Some(few) => Box::new(few.into_iter()),
        None => Box::new(0..tenant.users.total()),
    };
    candidates
        .filter(move |&slot| u64::from(slot) >= from && tenant.users.is_live(slot))
        .filter(move |&slot| filter.is_none_or(|filter| passes(tenant, slot, filter)))
        .map(|slot| (u64::from(slot), slot))
}

fn passes(tenant: &Tenant, slot: u32, filter: &filter::Filter) -> bool {
    filter.passes(|name| match UserProperty::named(name) {
        Some(property) => tenant.users.value(slot, property),
        None => Some(tenant.users.id(slot).to_string().into()),
    })
}

/// A search for what identifies a user needs no look at all of them.
fn shortcut(tenant: &Tenant, filter: &filter::Filter) -> Option<Vec<u32>> {
    if let Some(key) = filter.must_equal("id").or_else(|| filter.must_equal("userPrincipalName")) {
        return Some(tenant.users.find(key).into_iter().collect());
    }
    let guess = match (filter.must_equal("employeeId"), filter.must_equal("mail")) {
        (Some(number), _) => person::slot_of_employee_id(number),
        (None, Some(address)) => person::slot_of_address(address),
        (None, None) => return None,
    };
    // The value may be generated, or have been written to somebody since.
    let mut slots: Vec<u32> = tenant.users.changed().chain(guess).filter(|&slot| slot < tenant.users.total()).collect();
    slots.sort_unstable();
    slots.dedup();
    Some(slots)
}

/// The manager as an expanded property, in front of the others; nothing where there is none.
fn manager_of(tenant: &Tenant, slot: u32, wanted: bool) -> String {
    let manager = tenant.users.manager(slot).filter(|&manager| wanted && tenant.users.is_live(manager));
    manager.map_or_else(String::new, |manager| {
        let id = tenant.users.id(manager);
        format!("\"manager\":{{{}\"id\":\"{id}\"}},", entity::type_annotation(Member::User(manager)))
    })
}

fn one(request: &Request, tenant: &Tenant, slot: u32, mask: Mask, with_manager: bool) -> Vec<u8> {
    let context = format!("{}/$metadata#{}/$entity", request.root(), context(request, "users"));
    let extra = format!("\"@odata.context\":{},", serde_json::Value::from(context));
    let extra = extra + &manager_of(tenant, slot, with_manager);
    let mut body = Vec::new();
    entity::write_user(tenant, slot, mask, &extra, &mut body);
    body
}

fn get(shared: &Shared, request: &Request, key: &str) -> Result<Reply, Refusal> {
    listing::refuse_other_options(request, &["select", "expand"])?;
    let mask = select::users(shared, request.option("select"))?;
    let with_manager = select::expands_manager(request.option("expand"))?;
    let tenant = shared.tenant();
    let slot = tenant.live_user(key)?;
    Ok(Reply::graph(200, one(request, &tenant, slot, mask, with_manager)))
}

fn create(shared: &Shared, request: &Request) -> Result<Reply, Refusal> {
    let body = request.json_object()?;
    check_leave_date(shared, &body)?;
    let mut tenant = shared.tenant_mut();
    let slot = tenant.create_user(&body, shared.clock.timestamp())?;
    let location = format!("{}/users/{}", request.root(), tenant.users.id(slot));
    Ok(Reply::graph(201, one(request, &tenant, slot, UserProperty::defaults(), false)).with("location", location))
}

fn patch(shared: &Shared, request: &Request, key: &str) -> Result<Reply, Refusal> {
    let body = request.json_object()?;
    check_leave_date(shared, &body)?;
    let mut tenant = shared.tenant_mut();
    let slot = tenant.live_user(key)?;
    tenant.patch_user(slot, &body)?;
    Ok(Reply::empty(204))
}

fn check_leave_date(shared: &Shared, body: &serde_json::Map<String, serde_json::Value>) -> Result<(), Refusal> {
    match body.contains_key(UserProperty::EmployeeLeaveDateTime.name()) {
        true => permissions::check_leave_dates(shared, true),
        false => Ok(()),
    }
}

fn delete(shared: &Shared, key: &str) -> Result<Reply, Refusal> {
    let now = shared.clock.timestamp();
    let mut tenant = shared.tenant_mut();
    let slot = tenant.live_user(key)?;
    tenant.users.delete(slot, now);
    Ok(Reply::empty(204))
}
