//! `/servicePrincipals` and who is assigned to them (Microsoft Graph: list and get servicePrincipal, list
//! appRoleAssignments granted for a service principal).

use serde_json::{Map, Value, json};

use super::{filter, listing, no_such_method, no_such_segment};
use crate::directory::applications::{Application, Assignment};
use crate::directory::groups::Member;
use crate::directory::property::{GroupProperty, UserProperty};
use crate::directory::tenant::Tenant;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::refusal::Refusal;
use crate::state::Shared;

pub(crate) fn answer(shared: &Shared, request: &Request, path: &[&str]) -> Result<Reply, Refusal> {
    match (request.method.as_str(), path) {
        ("GET", []) => list(shared, request),
        ("GET", [id]) => get(shared, request, id),
        ("GET", [id, "appRoleAssignedTo"]) => assigned(shared, request, id),
        (_, [] | [_] | [_, "appRoleAssignedTo"]) => Err(no_such_method()),
        (_, [_, further, ..]) => Err(no_such_segment(further)),
    }
}

fn found<'a>(tenant: &'a Tenant, id: &str) -> Result<&'a Application, Refusal> {
    tenant.applications.find(id).ok_or_else(|| Refusal::not_found(id))
}

fn whole(application: &Application) -> Map<String, Value> {
    let role = |role: &crate::directory::applications::Role| {
        json!({
            "id": role.id.to_string(),
            "value": role.value,
            "displayName": role.value,
            "description": role.value,
            "isEnabled": true,
            "allowedMemberTypes": ["User"],
            "origin": "Application",
        })
    };
    let roles: Vec<Value> = application.roles.iter().map(role).collect();
    [
        ("id", json!(application.id.to_string())),
        ("appId", json!(application.app_id.to_string())),
        ("displayName", json!(application.name)),
        ("accountEnabled", json!(true)),
        ("servicePrincipalType", json!("Application")),
        ("appRoles", json!(roles)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn selected(request: &Request, application: &Application) -> Result<Value, Refusal> {
    let whole = whole(application);
    let Some(select) = request.option("select") else { return Ok(Value::Object(whole)) };
    let mut chosen = Map::new();
    for name in select.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let unknown = || {
            Refusal::bad_request(format!(
                "Parsing OData Select and Expand failed: Could not find a property named '{name}' on type \
                 'microsoft.graph.servicePrincipal'."
            ))
        };
        chosen.insert(name.to_owned(), whole.get(name).cloned().ok_or_else(unknown)?);
    }
    Ok(Value::Object(chosen))
}

fn list(shared: &Shared, request: &Request) -> Result<Reply, Refusal> {
    listing::refuse_other_options(request, &["select", "top", "filter", "count", "skiptoken"])?;
    let filter = request.option("filter").map(filter::parse).transpose()?;
    let tenant = shared.tenant();
    let passes = |application: &Application| {
        let whole = whole(application);
        filter.as_ref().is_none_or(|filter| filter.passes(|name| whole.get(name).cloned()))
    };
    let from = listing::start(request)?;
    let all = tenant.applications.all().iter().enumerate().map(|(place, application)| (place as u64, application));
    let all = all.filter(|(place, application)| *place >= from && passes(application));
    let all: Vec<(u64, Value)> =
        all.map(|(place, application)| Ok((place, selected(request, application)?))).collect::<Result<_, Refusal>>()?;
    listing::page(request, "servicePrincipals", None, all.into_iter(), |application, out| {
        out.extend_from_slice(application.to_string().as_bytes());
    })
}

fn get(shared: &Shared, request: &Request, id: &str) -> Result<Reply, Refusal> {
    listing::refuse_other_options(request, &["select"])?;
    let tenant = shared.tenant();
    let mut body = selected(request, found(&tenant, id)?)?;
    body["@odata.context"] = json!(format!("{}/$metadata#servicePrincipals/$entity", request.root()));
    Ok(Reply::graph(200, body.to_string().into_bytes()))
}

fn assigned(shared: &Shared, request: &Request, id: &str) -> Result<Reply, Refusal> {
    listing::refuse_other_options(request, &["top", "count", "skiptoken"])?;
    let tenant = shared.tenant();
    let application = found(&tenant, id)?;
    let from = listing::start(request)?;
    let all = application.assigned.iter().enumerate().map(|(place, assignment)| (place as u64, assignment));
    let all = all.filter(|(place, assignment)| *place >= from && tenant.is_live(assignment.member));
    listing::page(request, "appRoleAssignments", None, all, |assignment, out| {
        out.extend_from_slice(one(&tenant, application, assignment).to_string().as_bytes());
    })
}

fn one(tenant: &Tenant, application: &Application, assignment: &Assignment) -> Value {
    let (kind, name) = match assignment.member {
        Member::User(slot) => ("User", tenant.users.value(slot, UserProperty::DisplayName)),
        Member::Group(slot) => {
            let group = tenant.groups.get(slot);
            ("Group", group.and_then(|group| group.values.get(&GroupProperty::DisplayName).cloned()))
        }
    };
    json!({
        "id": assignment.id.simple().to_string(),
        "deletedDateTime": null,
        "appRoleId": assignment.role.to_string(),
        "createdDateTime": "2024-03-01T09:00:00Z",
        "principalDisplayName": name,
        "principalId": tenant.member_id(assignment.member),
        "principalType": kind,
        "resourceDisplayName": application.name,
        "resourceId": application.id.to_string(),
    })
}
