//! Starts the service, and proves the connector against it.

mod service;

use std::sync::Arc;

use async_trait::async_trait;
use muster_conformance::{Options, Subject, run};
use muster_connector::{Connector, ConnectorKind as _, ConnectorSettings, Description, Error, SecretString};
use my_connector::PeopleKind;
use serde_json::json;

const TOKEN: &str = "a token that nobody guesses";

struct People {
    url: String,
    token: &'static str,
}

#[async_trait]
impl Subject for People {
    async fn start(&self) -> Result<Arc<dyn Connector>, Error> {
        PeopleKind.connect(ConnectorSettings {
            connection: "test".to_owned(),
            values: json!({ "url": self.url, "token": { "env": "TOKEN" } }),
            secrets: self.planted_secrets().into_iter().collect(),
            base_folder: ".".into(),
        })
    }

    fn description(&self) -> Option<Description> {
        Some(PeopleKind.describe())
    }

    fn planted_secrets(&self) -> Vec<(String, SecretString)> {
        vec![("token".to_owned(), SecretString::from(self.token))]
    }
}

#[tokio::test]
async fn the_contract_is_kept() {
    let people = People { url: service::start(TOKEN).await, token: TOKEN };
    let report = run(&people, &Options { many: 1_000, ..Options::default() }).await;
    assert!(report.passed(), "{report}");
}

#[tokio::test]
async fn a_wrong_token_is_told_as_such() {
    let people = People { url: service::start(TOKEN).await, token: "wrong" };
    let checked = people.start().await.unwrap().check(&[]).await;
    assert!(matches!(checked, Err(Error::Credentials { .. })), "{checked:?}");
}

#[tokio::test]
async fn a_service_that_is_down_blames_nobody() {
    let people = People { url: "http://127.0.0.1:1".to_owned(), token: TOKEN };
    let checked = people.start().await.unwrap().check(&[]).await;
    assert!(matches!(checked, Err(Error::Unreachable { nothing_sent: true, .. })), "{checked:?}");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let started = People { url: "crm".to_owned(), token: TOKEN }.start().await;
    assert!(matches!(started, Err(Error::Configuration { setting: Some(_), .. })));
}
