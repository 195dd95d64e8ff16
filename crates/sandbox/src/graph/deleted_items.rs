//! The recycle bin (Microsoft Graph: list, get, restore and permanently delete deleted items).

use super::{listing, no_such_method, select};
use crate::directory::entity;
use crate::directory::groups::Member;
use crate::directory::property::UserProperty;
use crate::directory::users::Lifecycle;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::refusal::Refusal;
use crate::state::Shared;

pub(crate) fn answer(shared: &Shared, request: &Request, path: &[&str]) -> Result<Reply, Refusal> {
    match (request.method.as_str(), path) {
        ("GET", ["microsoft.graph.user"]) => list(shared, request),
        ("GET", [id]) => get(shared, request, id),
        ("POST", [id, "restore"]) => restore(shared, request, id),
        ("DELETE", [id]) => purge(shared, id),
        _ => Err(no_such_method()),
    }
}

fn list(shared: &Shared, request: &Request) -> Result<Reply, Refusal> {
    listing::refuse_other_options(request, &["select", "top", "count", "skiptoken"])?;
    let mask = mask(shared, request)?;
    let tenant = shared.tenant();
    let from = listing::start(request)?;
    let bin = tenant.users.recycle_bin();
    let found = bin.iter().filter(|&&slot| u64::from(slot) >= from).map(|&slot| (u64::from(slot), slot));
    let count = listing::wants_count(request).then_some(bin.len());
    listing::page(request, "users", count, found, |slot, out| entity::write_user(&tenant, slot, mask, "", out))
}

fn mask(shared: &Shared, request: &Request) -> Result<u128, Refusal> {
    let chosen = select::users(shared, request.option("select"))?;
    let when = if request.option("select").is_none() { UserProperty::DeletedDateTime.bit() } else { 0 };
    Ok(chosen | when)
}

fn get(shared: &Shared, request: &Request, id: &str) -> Result<Reply, Refusal> {
    let mask = mask(shared, request)?;
    let tenant = shared.tenant();
    let slot = tenant.deleted_user(id)?;
    let mut body = Vec::new();
    entity::write_user(&tenant, slot, mask, entity::type_annotation(Member::User(slot)), &mut body);
    Ok(Reply::graph(200, body))
}

fn restore(shared: &Shared, request: &Request, id: &str) -> Result<Reply, Refusal> {
    let mask = select::users(shared, None)?;
    let mut tenant = shared.tenant_mut();
    let mut body = Vec::new();
    if let Ok(slot) = tenant.deleted_group(id) {
        tenant.groups.set_lifecycle(slot, Lifecycle::Live);
        let groups = select::groups(request.option("select"))?;
        entity::write_group(&tenant, slot, groups, entity::type_annotation(Member::Group(slot)), &mut body);
    } else {
        let slot = tenant.deleted_user(id)?;
        tenant.users.restore(slot)?;
        entity::write_user(&tenant, slot, mask, entity::type_annotation(Member::User(slot)), &mut body);
    }
    Ok(Reply::graph(200, body))
}

fn purge(shared: &Shared, id: &str) -> Result<Reply, Refusal> {
    let mut tenant = shared.tenant_mut();
    if let Ok(slot) = tenant.deleted_group(id) {
        tenant.purge_group(slot);
    } else {
        let slot = tenant.deleted_user(id)?;
        tenant.purge_user(slot);
    }
    Ok(Reply::empty(204))
}
