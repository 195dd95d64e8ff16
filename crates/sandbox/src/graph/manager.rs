//! `/users/{key}/manager` and its reference (Microsoft Graph: list, assign and remove manager).

use serde_json::json;

use super::{listing, members, no_such_method, select};
use crate::directory::entity;
use crate::directory::groups::Member;
use crate::directory::tenant::Tenant;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::refusal::Refusal;
use crate::state::Shared;

pub(crate) fn answer(shared: &Shared, request: &Request, key: &str, path: &[&str]) -> Result<Reply, Refusal> {
    match (request.method.as_str(), path) {
        ("GET", []) => show(shared, request, key),
        ("GET", ["$ref"]) => reference(shared, request, key),
        ("PUT", ["$ref"]) => assign(shared, request, key),
        ("DELETE", ["$ref"]) => remove(shared, key),
        _ => Err(no_such_method()),
    }
}

fn live_manager(tenant: &Tenant, key: &str) -> Result<u32, Refusal> {
    let manager = tenant.users.manager(tenant.live_user(key)?);
    manager.filter(|&manager| tenant.users.is_live(manager)).ok_or_else(|| Refusal::not_found("manager"))
}

fn show(shared: &Shared, request: &Request, key: &str) -> Result<Reply, Refusal> {
    listing::refuse_other_options(request, &["select"])?;
    let mask = select::users(shared, request.option("select"))?;
    let tenant = shared.tenant();
    let manager = live_manager(&tenant, key)?;
    let context = serde_json::Value::from(format!("{}/$metadata#directoryObjects/$entity", request.root()));
    let extra = format!("\"@odata.context\":{context},{}", entity::type_annotation(Member::User(manager)));
    let mut body = Vec::new();
    entity::write_user(&tenant, manager, mask, &extra, &mut body);
    Ok(Reply::graph(200, body))
}

fn reference(shared: &Shared, request: &Request, key: &str) -> Result<Reply, Refusal> {
    let tenant = shared.tenant();
    let manager = live_manager(&tenant, key)?;
    let body = json!({
        "@odata.context": format!("{}/$metadata#$ref", request.root()),
        "@odata.id": format!("{}/directoryObjects/{}/Microsoft.DirectoryServices.User", request.root(), tenant.users.id(manager)),
    });
    Ok(Reply::graph(200, body.to_string().into_bytes()))
}

fn assign(shared: &Shared, request: &Request, key: &str) -> Result<Reply, Refusal> {
    let manager = members::referenced(request)?;
    let mut tenant = shared.tenant_mut();
    let (slot, manager) = (tenant.live_user(key)?, tenant.live_user(&manager)?);
    tenant.set_manager(slot, Some(manager))?;
    Ok(Reply::empty(204))
}

fn remove(shared: &Shared, key: &str) -> Result<Reply, Refusal> {
    let mut tenant = shared.tenant_mut();
    let slot = tenant.live_user(key)?;
    if tenant.users.manager(slot).is_none() {
        return Err(Refusal::not_found("manager"));
    }
    tenant.set_manager(slot, None)?;
    Ok(Reply::empty(204))
}
