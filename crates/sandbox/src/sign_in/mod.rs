//! The token endpoint and what SDKs want to read around it.

mod assertion;
mod discovery;
mod issued;
mod managed_identity;
mod refusal;
mod token;

use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::state::Shared;

pub(crate) use assertion::RegisteredCertificate;
pub(crate) use issued::{Issued, authorize};

/// Answers everything that is not Graph's.
pub(crate) fn answer(shared: &Shared, request: &Request) -> Reply {
    match (request.method.as_str(), request.path().as_slice()) {
        ("POST", [tenant, "oauth2", "v2.0", "token"]) => token::answer(shared, request, tenant),
        ("GET", [tenant, "v2.0", ".well-known", "openid-configuration"]) => discovery::tenant(shared, request, tenant),
        ("GET", [tenant, "discovery", "v2.0", "keys"]) => discovery::keys(shared, tenant),
        ("GET", ["common", "discovery", "instance"]) => discovery::instance(shared, request),
        ("GET", ["metadata", "identity", "oauth2", "token"]) => managed_identity::answer(shared, request),
        _ => Reply::html(404, "<!DOCTYPE html><title>Not found</title><p>The sandbox has nothing here."),
    }
}

/// The names under which the tenant is known.
fn is_own_tenant(shared: &Shared, name: &str) -> bool {
    use crate::directory::person::{DOMAIN, INITIAL_DOMAIN};
    [shared.facts.tenant.as_str(), DOMAIN, INITIAL_DOMAIN].iter().any(|own| own.eq_ignore_ascii_case(name))
}
