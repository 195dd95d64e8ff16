//! Client assertions: a token request signed with the key of a registered certificate
//! (Microsoft identity platform: certificate credentials).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use super::refusal::SignInRefusal;
use crate::http::request::Request;
use crate::server::SandboxError;
use crate::state::Shared;

/// The certificate that the application was registered with.
pub(crate) struct RegisteredCertificate {
    key: DecodingKey,
    thumbprint: String,
}

impl std::fmt::Debug for RegisteredCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegisteredCertificate").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

impl RegisteredCertificate {
    pub(crate) fn read(pem: &str) -> Result<Self, SandboxError> {
        let refused = |error: &dyn std::fmt::Display| SandboxError::ClientCertificate(error.to_string());
        let thumbprint = muster_tls::certificate::thumbprint(pem.as_bytes()).map_err(|error| refused(&error))?;
        let key = DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|error| refused(&error))?;
        Ok(Self { key, thumbprint: URL_SAFE_NO_PAD.encode(thumbprint) })
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

pub(crate) fn check(shared: &Shared, request: &Request, tenant: &str, signed: &str) -> Result<(), SignInRefusal> {
    let Ok(header) = decode_header(signed) else {
        return Err(SignInRefusal::client(50_027, "JWT token is invalid or malformed."));
    };
    let unknown = || {
        let message =
            "The certificate with identifier used to sign the client assertion is not registered on application.";
        SignInRefusal::client(700_027, message)
    };
    let certificate = shared.certificate.as_ref().ok_or_else(unknown)?;
    // Assertions of older libraries carry the SHA-1 thumbprint alone; then the signature has to do.
    if header.x5t_s256.as_ref().is_some_and(|thumbprint| *thumbprint != certificate.thumbprint) {
        return Err(unknown());
    }
    if !matches!(header.alg, Algorithm::PS256 | Algorithm::RS256) {
        return Err(SignInRefusal::client(
            5_002_738,
            "Invalid JWT token. The algorithm of the client assertion is not supported.",
        ));
    }
    let client = &shared.facts.client_id;
    let mut rules = Validation::new(header.alg);
    rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    rules.set_audience(&audiences(shared, request, tenant));
    rules.set_issuer(&[client]);
    rules.validate_nbf = true;
    match decode::<Claims>(signed, &certificate.key, &rules) {
        Ok(token) if token.claims.sub == *client => Ok(()),
        Ok(_) => Err(SignInRefusal::client(
            700_021,
            "Client assertion application identifier doesn't match 'client_id' parameter.",
        )),
        Err(error) => Err(match error.kind() {
            ErrorKind::ExpiredSignature | ErrorKind::ImmatureSignature => {
                SignInRefusal::client(700_024, "Client assertion is not within its valid time range.")
            }
            ErrorKind::InvalidAudience => {
                SignInRefusal::client(700_023, "Client assertion audience claim does not match Realm issuer.")
            }
            ErrorKind::InvalidSignature => SignInRefusal::client(
                700_027,
                "The certificate with identifier used to sign the client assertion is not registered on application. \
                 [Reason - The key was not found or the signature is invalid.]",
            ),
            _ => SignInRefusal::client(50_012, "Client assertion failed signature validation."),
        }),
    }
}

/// The token endpoint under every name it has here.
fn audiences(shared: &Shared, request: &Request, tenant: &str) -> Vec<String> {
    let mut all = Vec::new();
    for root in [&request.origin, &shared.facts.authority] {
        for tenant in [tenant, &shared.facts.tenant] {
            all.push(format!("{root}/{tenant}/oauth2/v2.0/token"));
            all.push(format!("{root}/{tenant}/v2.0"));
        }
    }
    all
}
