//! A client that follows links and nothing more.

use muster_sandbox::{Oddities, Sandbox, SandboxOptions};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

pub(crate) struct Client {
    pub(crate) sandbox: Sandbox,
    pub(crate) http: reqwest::Client,
    pub(crate) token: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What one round of delta said.
pub(crate) struct Round {
    pub(crate) pages: Vec<Vec<Value>>,
    pub(crate) link: String,
}

impl Round {
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Value> {
        self.pages.iter().flatten()
    }

    pub(crate) fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.entries().map(|entry| entry["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn entry(&self, id: &str) -> &Value {
        self.entries().find(|entry| entry["id"] == id).unwrap_or_else(|| panic!("no entry {id}"))
    }
}

/// A small tenant without oddities, for tests that count.
pub(crate) fn plain() -> SandboxOptions {
    SandboxOptions { users: 200, groups: 12, oddities: Oddities::none(), ..SandboxOptions::default() }
}

pub(crate) async fn start(options: SandboxOptions) -> Client {
    let sandbox = Sandbox::start(options).await.unwrap();
    muster_tls::install_provider();
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let facts = sandbox.facts();
    let answer = http
        .post(format!("{}/{}/oauth2/v2.0/token", facts.authority, facts.tenant))
        .form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &facts.client_id),
            ("client_secret", &facts.client_secret),
            ("scope", "https://graph.microsoft.com/.default"),
        ])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let token = answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    Client { sandbox, http, token }
}

impl Client {
    pub(crate) fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.sandbox.facts().graph_url) }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.http.request(method, self.url(path)).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    /// Walks a round to its end.
    pub(crate) async fn round(&self, path: &str) -> Round {
        self.round_with(path, &[]).await
    }

    pub(crate) async fn round_with(&self, path: &str, headers: &[(&str, &str)]) -> Round {
        let mut pages = Vec::new();
        let mut next = path.to_owned();
        loop {
            let answer = self.send(Method::GET, &next, headers, None).await;
            assert_eq!(answer.status, 200, "{next}: {}", answer.body);
            pages.push(answer.body["value"].as_array().unwrap().clone());
            match (answer.body["@odata.nextLink"].as_str(), answer.body["@odata.deltaLink"].as_str()) {
                (Some(link), None) => link.clone_into(&mut next),
                (None, Some(link)) => return Round { pages, link: link.to_owned() },
                _ => panic!("exactly one link must be there: {}", answer.body),
            }
            assert!(pages.len() < 10_000, "the round does not end");
        }
    }

    pub(crate) async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}/sandbox/{path}", self.sandbox.facts().authority);
        let answer = self.http.request(method, url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }
}

pub(crate) fn new_user(name: &str) -> Value {
    json!({
        "accountEnabled": true,
        "displayName": name,
        "mailNickname": name.to_lowercase(),
        "userPrincipalName": format!("{}@sandbox.example", name.to_lowercase()),
        "passwordProfile": {"password": "Correct-Horse-1", "forceChangePasswordNextSignIn": true},
    })
}
