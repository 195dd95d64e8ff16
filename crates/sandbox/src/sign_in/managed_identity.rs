//! Tokens for a managed identity, as a virtual machine's metadata service gives them: all values are strings
//! (Azure: how to use managed identities on a VM to acquire an access token).

use serde_json::json;

use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::state::Shared;

pub(crate) fn answer(shared: &Shared, request: &Request) -> Reply {
    let refused =
        |description: &str| Reply::json(400, &json!({"error": "invalid_request", "error_description": description}));
    // The header proves that the request is not one that a server was tricked into making.
    if !request.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return refused("Required metadata header not specified");
    }
    if request.option("api-version").is_none() {
        return refused("Required query variable 'api-version' is missing");
    }
    let Some(resource) = request.option("resource") else {
        return refused("Required query variable 'resource' is missing");
    };
    if let Some(client) = request.option("client_id")
        && !client.eq_ignore_ascii_case(&shared.facts.client_id)
    {
        return refused("Identity not found");
    }
    let (now, seconds) = (shared.clock.now(), shared.options.token_seconds);
    let token = shared.issued().issue(now, seconds);
    Reply::json(
        200,
        &json!({
            "access_token": token,
            "client_id": shared.facts.client_id,
            "expires_in": seconds.to_string(),
            "expires_on": (now + seconds).to_string(),
            "ext_expires_in": seconds.to_string(),
            "not_before": now.to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }),
    )
}
