//! Microsoft identity platform: client credentials flow, error codes, managed identities.

use std::time::Duration;

use muster_sandbox::SandboxOptions;
use serde_json::{Value, json};

use crate::client::{Client, plain, start};

const SCOPE: &str = "https://graph.microsoft.com/.default";

async fn ask(client: &Client, tenant: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let url = format!("{}/{tenant}/oauth2/v2.0/token", client.sandbox.facts().authority);
    let answer = client.http.post(url).form(form).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn wrong_requests_for_tokens_are_refused_with_the_codes_of_entra() {
    let client = start(plain()).await;
    let facts = client.sandbox.facts();
    let (id, secret) = (facts.client_id.as_str(), facts.client_secret.as_str());
    let check = async |tenant: &str, form: &[(&str, &str)], status: u16, error: &str, code: u32| {
        let (got, body) = ask(&client, tenant, form).await;
        assert_eq!((got, &body["error"], &body["error_codes"]), (status, &json!(error), &json!([code])), "{body}");
        assert!(body["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")));
    };
    let tenant = facts.tenant.as_str();
    let grant = ("grant_type", "client_credentials");
    let (client_id, scope) = (("client_id", id), ("scope", SCOPE));
    let good = ("client_secret", secret);
    check(tenant, &[grant, client_id, scope, ("client_secret", "wrong")], 401, "invalid_client", 7_000_215).await;
    check(tenant, &[grant, client_id, scope], 401, "invalid_client", 7_000_218).await;
    check(tenant, &[grant, ("client_id", "nobody"), scope, good], 400, "unauthorized_client", 700_016).await;
    check("elsewhere.example", &[grant, client_id, scope, good], 400, "invalid_request", 90_002).await;
    check("common", &[grant, client_id, scope, good], 400, "invalid_request", 9_001_023).await;
    check(tenant, &[grant, client_id, ("scope", "User.Read"), good], 400, "invalid_scope", 1_002_012).await;
    check(tenant, &[grant, client_id, ("scope", "a/.default b/.default"), good], 400, "invalid_scope", 70_011).await;
    check(tenant, &[grant, client_id, ("scope", "https://x/.default"), good], 400, "invalid_resource", 500_011).await;
    check(tenant, &[client_id, scope, good], 400, "invalid_request", 900_144).await;
    let (status, _) = ask(&client, "sandbox.example", &[grant, client_id, scope, good]).await;
    assert_eq!(status, 200);

    let url = format!("{}/{tenant}/oauth2/v2.0/token", facts.authority);
    let basic = client.http.post(url).basic_auth(id, Some(secret)).form(&[grant, scope]).send().await.unwrap();
    assert_eq!(basic.status(), 200);
}

#[tokio::test]
async fn tokens_are_needed_and_end() {
    let mut client = start(SandboxOptions { token_seconds: 60, ..plain() }).await;
    let good = client.get("/users?$top=1").await;
    assert_eq!(good.status, 200);
    client.sandbox.advance_clock(Duration::from_secs(61));
    let late = client.get("/users?$top=1").await;
    assert_eq!((late.status, late.code()), (401, "InvalidAuthenticationToken"));
    client.token = "another".to_owned();
    let wrong = client.get("/users/delta").await;
    assert_eq!((wrong.status, wrong.code()), (401, "InvalidAuthenticationToken"));
    let none = client.http.get(client.url("/users")).send().await.unwrap();
    assert_eq!(none.status(), 401);
}

#[tokio::test]
async fn a_missing_app_role_is_a_403() {
    let permissions = vec!["GroupMember.Read.All".to_owned()];
    let client = start(SandboxOptions { permissions, ..plain() }).await;
    for path in ["/users", "/users/delta", "/organization"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, answer.code()), (403, "Authorization_RequestDenied"), "{path}");
    }
    assert_eq!(client.get("/groups/delta").await.status, 200);
    assert_eq!(client.post("/groups", json!({})).await.status, 403);

    let permissions = vec!["User.Read.All".to_owned()];
    let client = start(SandboxOptions { permissions, ..plain() }).await;
    assert_eq!(client.get("/users/delta?$select=displayName").await.status, 200);
    assert_eq!(client.get("/users/delta?$select=employeeLeaveDateTime").await.status, 403);
}

#[tokio::test]
async fn a_managed_identity_gets_a_token_made_of_strings() {
    let client = start(plain()).await;
    let url = format!(
        "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fgraph.microsoft.com",
        client.sandbox.facts().authority
    );
    assert_eq!(client.http.get(&url).send().await.unwrap().status(), 400);
    let body: Value = client.http.get(&url).header("Metadata", "true").send().await.unwrap().json().await.unwrap();
    assert!(["access_token", "expires_in", "expires_on", "resource"].iter().all(|key| body[*key].is_string()));
    let answer =
        client.http.get(client.url("/users")).bearer_auth(body["access_token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn assertions_are_checked_against_the_registered_certificate() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["client".to_owned()]).unwrap().self_signed(&key).unwrap();
    let stranger = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let client = start(SandboxOptions { client_certificate_pem: Some(certificate.pem()), ..plain() }).await;
    let facts = client.sandbox.facts();
    let audience = format!("{}/{}/oauth2/v2.0/token", facts.authority, facts.tenant);
    let now = jsonwebtoken::get_current_timestamp();
    let thumbprint = muster_tls::certificate::thumbprint(certificate.pem().as_bytes()).unwrap();

    let check = async |signer: &rcgen::KeyPair, audience: &str, expires: u64, code: Option<u32>| {
        use base64::Engine;
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::PS256);
        header.x5t_s256 = Some(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(thumbprint));
        let claims =
            json!({"aud": audience, "iss": facts.client_id, "sub": facts.client_id, "nbf": now - 5, "exp": expires});
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(signer.serialize_pem().as_bytes()).unwrap();
        let assertion = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", facts.client_id.as_str()),
            ("scope", SCOPE),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ];
        let (_, body) = ask(&client, &facts.tenant, &form).await;
        match code {
            None => assert!(body["access_token"].is_string(), "{body}"),
            Some(code) => assert_eq!(body["error_codes"], json!([code]), "{body}"),
        }
    };
    check(&key, &audience, now + 300, None).await;
    check(&stranger, &audience, now + 300, Some(700_027)).await;
    check(&key, "https://elsewhere.example/", now + 300, Some(700_023)).await;
    check(&key, &audience, now - 3_600, Some(700_024)).await;
}
