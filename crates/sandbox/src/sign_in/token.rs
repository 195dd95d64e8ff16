//! The token endpoint for the client credentials grant
//! (Microsoft identity platform: OAuth 2.0 client credentials flow; RFC 6749 §4.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::refusal::SignInRefusal;
use super::{assertion, is_own_tenant};
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::state::Shared;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The resources for which a token is given, besides the sandbox under its own address.
const GRAPHS: [&str; 4] = [
    "https://graph.microsoft.com",
    "https://graph.microsoft.us",
    "https://dod-graph.microsoft.us",
    "https://microsoftgraph.chinacloudapi.cn",
];

pub(crate) fn answer(shared: &Shared, request: &Request, tenant: &str) -> Reply {
    match grant(shared, request, tenant) {
        Ok(()) => {
            let seconds = shared.options.token_seconds;
            let token = shared.issued().issue(shared.clock.now(), seconds);
            let body = json!({
                "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
            });
            Reply::json(200, &body).with("cache-control", "no-store, no-cache").with("pragma", "no-cache")
        }
        Err(refusal) => refusal.reply(shared),
    }
}

fn grant(shared: &Shared, request: &Request, tenant: &str) -> Result<(), SignInRefusal> {
    let form = request.form();
    let field = |name: &str| form.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let basic = basic_credentials(request);

    if matches!(tenant, "common" | "consumers" | "organizations") {
        let message = "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint.";
        return Err(SignInRefusal::request("invalid_request", 9_001_023, message));
    }
    if !is_own_tenant(shared, tenant) {
        let message = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the \
             correct cloud."
        );
        return Err(SignInRefusal::request("invalid_request", 90_002, message));
    }
    match field("grant_type") {
        None => return Err(missing("grant_type")),
        Some("client_credentials") => {}
        Some(other) => {
            let message = format!("The app requested an unsupported grant type '{other}'.");
            return Err(SignInRefusal::request("unsupported_grant_type", 70_003, message));
        }
    }
    let client =
        basic.as_ref().map(|(id, _)| id.as_str()).or_else(|| field("client_id")).ok_or_else(|| missing("client_id"))?;
    if !client.eq_ignore_ascii_case(&shared.facts.client_id) {
        let message = format!("Application with identifier '{client}' was not found in the directory '{tenant}'.");
        return Err(SignInRefusal::request("unauthorized_client", 700_016, message));
    }
    check_scope(shared, request, field("scope"))?;

    let secret = basic.as_ref().map(|(_, secret)| secret.as_str()).or_else(|| field("client_secret"));
    match (secret, field("client_assertion")) {
        (Some(secret), _) if secret == shared.facts.client_secret => Ok(()),
        (Some(_), _) => Err(SignInRefusal::client(
            7_000_215,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                 value, not the client secret ID, for a secret added to app '{client}'."
            ),
        )),
        (None, Some(_)) if field("client_assertion_type") != Some(ASSERTION_TYPE) => {
            let message = format!("The value of 'client_assertion_type' must be '{ASSERTION_TYPE}'.");
            Err(SignInRefusal::request("invalid_request", 900_144, message))
        }
        (None, Some(signed)) => assertion::check(shared, request, tenant, signed),
        (None, None) => Err(SignInRefusal::client(
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )),
    }
}

fn missing(name: &str) -> SignInRefusal {
    SignInRefusal::request(
        "invalid_request",
        900_144,
        format!("The request body must contain the following parameter: '{name}'."),
    )
}

/// Scopes are for one resource, and that resource's whole (`/.default`).
fn check_scope(shared: &Shared, request: &Request, scope: Option<&str>) -> Result<(), SignInRefusal> {
    let scope = scope.ok_or_else(|| missing("scope"))?;
    let mut words = scope.split_whitespace();
    let (Some(word), None) = (words.next(), words.next()) else {
        let message = format!(
            "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."
        );
        return Err(SignInRefusal::request("invalid_scope", 70_011, message));
    };
    let Some(resource) = word.strip_suffix("/.default") else {
        let message = format!(
            "The provided value for scope {word} is not valid. Client credential flows must have a scope value with \
             /.default suffixed to the resource identifier (application ID URI)."
        );
        return Err(SignInRefusal::request("invalid_scope", 1_002_012, message));
    };
    let resource = resource.trim_end_matches('/');
    if GRAPHS.contains(&resource) || resource == request.origin || resource == shared.facts.authority {
        return Ok(());
    }
    let message = format!("The resource principal named {resource} was not found in the tenant named sandbox.");
    Err(SignInRefusal::request("invalid_resource", 500_011, message))
}

/// Both halves are form-encoded before they are joined (RFC 6749 §2.3.1).
fn basic_credentials(request: &Request) -> Option<(String, String)> {
    let (scheme, encoded) = request.header("authorization")?.split_once(' ')?;
    let joined = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = joined.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let plain = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    Some((plain(id), plain(secret)))
}
