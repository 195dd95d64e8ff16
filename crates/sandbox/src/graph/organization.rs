//! `/organization`: the tenant itself (Microsoft Graph: organization resource type).

use serde_json::{Value, json};

use crate::directory::person::{DOMAIN, INITIAL_DOMAIN};
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::refusal::Refusal;
use crate::state::Shared;

fn organization(shared: &Shared) -> Value {
    json!({
        "id": shared.facts.tenant,
        "displayName": "Sandbox Industries",
        "tenantType": "AAD",
        "countryLetterCode": "NL",
        "preferredLanguage": "en",
        "createdDateTime": "2012-04-01T08:00:00Z",
        "onPremisesSyncEnabled": true,
        "verifiedDomains": [
            {"name": INITIAL_DOMAIN, "isInitial": true, "isDefault": false, "type": "Managed", "capabilities": "Email, OfficeCommunicationsOnline"},
            {"name": DOMAIN, "isInitial": false, "isDefault": true, "type": "Managed", "capabilities": "Email, OfficeCommunicationsOnline"},
        ],
    })
}

/// Selecting is not worth refusing here: the whole is small.
pub(crate) fn list(shared: &Shared, request: &Request) -> Result<Reply, Refusal> {
    let body = json!({
        "@odata.context": format!("{}/$metadata#organization", request.root()),
        "value": [organization(shared)],
    });
    Ok(Reply::graph(200, body.to_string().into_bytes()))
}

pub(crate) fn one(shared: &Shared, request: &Request, id: &str) -> Result<Reply, Refusal> {
    if !id.eq_ignore_ascii_case(&shared.facts.tenant) {
        return Err(Refusal::not_found(id));
    }
    let mut body = organization(shared);
    body["@odata.context"] = json!(format!("{}/$metadata#organization/$entity", request.root()));
    Ok(Reply::graph(200, body.to_string().into_bytes()))
}
