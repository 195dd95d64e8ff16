//! The groups and applications that scopes ask for by name: whether they are there, before a sync stops over one.

use muster_connector::{Finding, UsedType};
use muster_model::nearest;
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use crate::connector::Entra;
use crate::error::Failure;
use crate::http::Answer;
use crate::schema::{APPLICATION, GROUP};
use crate::session::{Ask, Doubt};

/// The most names that are looked through for a similar one.
const PAGE: u32 = 999;

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    value: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    id: String,
    display_name: Option<String>,
}

/// What is wrong with the names by which the objects of a type are asked for.
pub(crate) async fn examine(entra: &Entra, used: &UsedType) -> Vec<Finding> {
    let mut findings = Vec::new();
    for named in &used.named {
        let found = match used.object_type.as_str() {
            GROUP => group(entra, named).await,
            APPLICATION => application(entra, named).await,
            _ => Ok(None),
        };
        match found {
            Ok(finding) => findings.extend(finding),
            Err(failure) => {
                let why = match failure {
                    Failure::Host(error) => error.to_string(),
                    Failure::Refused(refusal) => refusal.describe(),
                };
                let problem = format!("the {} {named:?} of a scope could not be looked up: {why}", used.object_type);
                let fix = "check again; a sync says itself whether it is there, before it evaluates anybody";
                findings.push(Finding::warning(None, problem, fix));
            }
        }
    }
    findings
}

fn missing(kind: &str, named: &str, known: &[String]) -> Finding {
    let fix = match nearest(named, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}? Until the name is right, the sync evaluates nobody"),
        None => format!("correct the name, or name the {kind} by its id; until then the sync evaluates nobody"),
    };
    Finding::error(
        None,
        format!("a scope asks for the {kind} {named:?}, and the tenant has none of that name or id"),
        fix,
    )
}

fn several(kind: &str, named: &str, many: usize) -> Finding {
    let problem = format!("a scope asks for the {kind} {named:?}, and {many} are called so");
    Finding::error(None, problem, format!("name the {kind} by its id"))
}

async fn group(entra: &Entra, named: &str) -> Result<Option<Finding>, Failure> {
    let escaped = named.replace('\'', "''");
    let filter = match uuid::Uuid::try_parse(named) {
        Ok(_) => format!("id eq '{escaped}'"),
        Err(_) => format!("displayName eq '{escaped}'"),
    };
    // A plus is a space in forms only.
    let filter = byte_serialize(filter.as_bytes()).collect::<String>().replace('+', "%20");
    let found = groups(entra, &format!("$filter={filter}&$select=id,displayName&$top={PAGE}")).await?;
    let is_it = |group: &&Group| group.display_name.as_deref() == Some(named) || group.id.eq_ignore_ascii_case(named);
    match found.iter().filter(is_it).count() {
        1 => Ok(None),
        0 => {
            let all = groups(entra, &format!("$select=id,displayName&$top={PAGE}")).await?;
            let known: Vec<String> = all.into_iter().filter_map(|group| group.display_name).collect();
            Ok(Some(missing(GROUP, named, &known)))
        }
        many => Ok(Some(several(GROUP, named, many))),
    }
}

async fn groups(entra: &Entra, query: &str) -> Result<Vec<Group>, Failure> {
    let url = entra.session.endpoints.graph("groups", Some(query));
    let accept = |answer: &Answer| {
        serde_json::from_slice::<Found>(&answer.body)
            .map_err(|error| Doubt::Again(format!("Microsoft Graph sent no list of groups: {error}")))
    };
    entra.session.ask(&Ask::Get(url), accept).await.map(|(found, _)| found.value)
}

async fn application(entra: &Entra, named: &str) -> Result<Option<Finding>, Failure> {
    let (known, begun) = entra.application_names(&[named.to_owned()]).await?;
    let is_it = |(id, name): &&(String, String)| name == named || id.eq_ignore_ascii_case(named);
    match known.iter().filter(is_it).count() {
        1 => return Ok(None),
        0 => {}
        many => return Ok(Some(several(APPLICATION, named, many))),
    }
    // The application is there, and the role is not.
    let roles: Vec<String> = known.iter().map(|(_, name)| name.clone()).filter(|name| !begun.contains(name)).collect();
    if let Some(application) = begun.iter().find(|name| named.starts_with(name.as_str())) {
        let problem = format!("a scope asks for {named:?}, and the application {application:?} has no such role");
        let near = nearest(named, roles.iter().map(String::as_str)).map(|near| format!("did you mean {near:?}? "));
        let fix = match roles.is_empty() {
            true => "it has no roles".to_owned(),
            false => format!("{}it has: {}", near.unwrap_or_default(), roles.join(", ")),
        };
        return Ok(Some(Finding::error(None, problem, fix)));
    }
    let (all, _) = entra.application_names(&[]).await?;
    let names: Vec<String> = all.into_iter().map(|(_, name)| name).collect();
    Ok(Some(missing(APPLICATION, named, &names)))
}
