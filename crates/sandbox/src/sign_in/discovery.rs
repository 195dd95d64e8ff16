//! What authentication libraries read before they ask for a token (OpenID Connect Discovery 1.0).

use serde_json::json;

use super::is_own_tenant;
use super::refusal::SignInRefusal;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::state::Shared;

pub(crate) fn tenant(shared: &Shared, request: &Request, tenant: &str) -> Reply {
    if !is_own_tenant(shared, tenant) {
        return SignInRefusal::request("invalid_tenant", 90_002, format!("Tenant '{tenant}' not found.")).reply(shared);
    }
    let root = format!("{}/{tenant}", request.origin);
    let issuer = format!("{}/{}/v2.0", request.origin, shared.facts.tenant);
    Reply::json(
        200,
        &json!({
            "issuer": issuer,
            "token_endpoint": format!("{root}/oauth2/v2.0/token"),
            "authorization_endpoint": format!("{root}/oauth2/v2.0/authorize"),
            "end_session_endpoint": format!("{root}/oauth2/v2.0/logout"),
            "jwks_uri": format!("{root}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "private_key_jwt"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
        }),
    )
}

/// Access tokens are opaque and no others are given, so there are no keys to check them with.
pub(crate) fn keys(shared: &Shared, tenant: &str) -> Reply {
    if is_own_tenant(shared, tenant) { Reply::json(200, &json!({"keys": []})) } else { Reply::empty(404) }
}

pub(crate) fn instance(shared: &Shared, request: &Request) -> Reply {
    let host = request.origin.split_once("://").map_or("", |(_, host)| host);
    Reply::json(
        200,
        &json!({
            "tenant_discovery_endpoint":
                format!("{}/{}/v2.0/.well-known/openid-configuration", request.origin, shared.facts.tenant),
            "api-version": "1.1",
            "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
        }),
    )
}
