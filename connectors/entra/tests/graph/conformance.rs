//! The source keeps the contract, by the kit that proves it of any connector, while the tenant changes behind its back.

use std::sync::Arc;

use async_trait::async_trait;
use muster_conformance::{Options, Subject, World, run};
use muster_connector::{Connector, ConnectorKind as _, Description, Error, SecretString};
use muster_connector_entra::EntraKind;
use muster_model::{Key, Slot, Value};
use muster_sandbox::{Directory, Refusal, Sandbox, SandboxOptions};
use serde_json::{Map, json};
use uuid::Uuid;

use crate::world::settings;

struct Tenant {
    sandbox: Sandbox,
    directory: People,
    folder: tempfile::TempDir,
}

/// The tenant's directory as its administrators change it.
struct People(Directory);

#[async_trait]
impl Subject for Tenant {
    async fn start(&self) -> Result<Arc<dyn Connector>, Error> {
        let facts = self.sandbox.facts();
        let values = json!({
            "tenant": facts.tenant, "client_id": facts.client_id, "client_secret": { "env": "X" },
            "authority": facts.authority, "graph_url": facts.graph_url,
            "inbound": {
                "service_principal": facts.service_principal, "job": facts.job,
                "calls_file": self.folder.path().join("calls.json"),
            },
        });
        EntraKind.connect(settings(values, &[("client_secret", &facts.client_secret)]))
    }

    fn description(&self) -> Option<Description> {
        Some(EntraKind.describe())
    }

    fn planted_secrets(&self) -> Vec<(String, SecretString)> {
        vec![("client_secret".to_owned(), SecretString::from(self.sandbox.facts().client_secret))]
    }

    fn world(&self) -> Option<&dyn World> {
        Some(&self.directory)
    }
}

fn told(refusal: Refusal) -> String {
    format!("{refusal:?}")
}

fn id(key: &Key) -> String {
    key.to_string()
}

/// What people write; everything else the tenant sets.
fn body(values: &[(String, Slot)]) -> Map<String, serde_json::Value> {
    let written = ["displayName", "department", "jobTitle", "description"];
    let known = values.iter().filter(|(name, _)| written.contains(&name.as_str()));
    let text = known.filter_map(|(name, slot)| match slot.value() {
        Some(Value::Text(text)) => Some((name.clone(), json!(&**text))),
        _ => None,
    });
    text.collect()
}

#[async_trait]
impl World for People {
    async fn insert(&self, object_type: &str, values: &[(String, Slot)]) -> Result<Key, String> {
        let mut body = body(values);
        let unique = Uuid::new_v4().simple().to_string();
        body.insert("mailNickname".to_owned(), json!(unique));
        body.entry("displayName").or_insert(json!(unique));
        let made = match object_type {
            "user" => {
                let somebody = self.0.user_ids().first().and_then(|id| self.0.user(id)).unwrap_or_default();
                let name = somebody["userPrincipalName"].as_str().unwrap_or_default().to_owned();
                let domain = name.split_once('@').map_or("", |(_, domain)| domain);
                body.insert("accountEnabled".to_owned(), json!(true));
                body.insert("userPrincipalName".to_owned(), json!(format!("{unique}@{domain}")));
                body.insert("passwordProfile".to_owned(), json!({ "password": "Only-for-the-sandbox-1" }));
                self.0.create_user(&json!(body))
            }
            _ => {
                body.retain(|name, _| matches!(name.as_str(), "displayName" | "description" | "mailNickname"));
                body.insert("mailEnabled".to_owned(), json!(false));
                body.insert("securityEnabled".to_owned(), json!(true));
                self.0.create_group(&json!(body))
            }
        };
        made.map(|id| Key::text(&id)).map_err(told)
    }

    async fn change(&self, object_type: &str, key: &Key, values: &[(String, Slot)]) -> Result<(), String> {
        let body = json!(body(values));
        match object_type {
            "user" => self.0.patch_user(&id(key), &body).map_err(told),
            _ => self.0.patch_group(&id(key), &body).map_err(told),
        }
    }

    async fn remove(&self, object_type: &str, key: &Key) -> Result<(), String> {
        match object_type {
            "user" => {
                self.0.delete_user(&id(key)).map_err(told)?;
                self.0.purge_user(&id(key)).map_err(told)
            }
            _ => self.0.delete_group(&id(key)).map_err(told),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept() {
    let options = SandboxOptions { users: 30, groups: 12, page_size: 10, group_page_size: 5, ..Default::default() };
    let sandbox = Sandbox::start(options).await.unwrap();
    let directory = People(sandbox.directory());
    let tenant = Tenant { sandbox, directory, folder: tempfile::tempdir().unwrap() };
    // Graph refuses to select some of a user's properties together with others.
    let asked = [
        (
            "user",
            [
                "displayName",
                "department",
                "jobTitle",
                "accountEnabled",
                "userPrincipalName",
                "mailNickname",
                "employeeHireDate",
                "employeeOrgData.costCenter",
                "extensionAttribute3",
                "otherMails",
                "manager",
                "passwordProfile.password",
            ]
            .as_slice(),
        ),
        ("group", ["displayName", "description", "mailNickname", "members"].as_slice()),
    ];
    let asked = asked.map(|(name, asked)| (name.to_owned(), asked.iter().map(|&name| name.to_owned()).collect()));
    let domain = "sandbox.example";
    let names = (0..20_000).map(|number| Value::text(&format!("kit{number}@{domain}"))).collect();
    let options = Options {
        attributes: asked.into(),
        types: ["user", "group"].map(str::to_owned).into(),
        samples: [("user.userPrincipalName".to_owned(), names)].into(),
        many: 60,
        ..Options::default()
    };
    let report = run(&tenant, &options).await;
    assert!(report.passed(), "{report}");
    for tried in ["reading.changes", "reading.chain", "reading.watermark_first", "reading.get", "reading.foreign_token"]
    {
        let passed =
            report.results.iter().any(|one| one.id == tried && one.status == muster_conformance::Status::Passed);
        assert!(passed, "{tried} was not tried: {report}");
    }
}

/// Nothing can be read, so that what is left are the promises about answers, limits and secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_by_the_way_in() {
    let sandbox = Sandbox::start(SandboxOptions { users: 2, groups: 0, ..Default::default() }).await.unwrap();
    let directory = People(sandbox.directory());
    let tenant = Tenant { sandbox, directory, folder: tempfile::tempdir().unwrap() };
    let samples = [("inbound_user.preferredLanguage".to_owned(), vec![Value::text("de")])];
    let options =
        Options { types: vec!["inbound_user".to_owned()], samples: samples.into(), many: 120, ..Options::default() };
    let report = run(&tenant, &options).await;
    assert!(report.passed(), "{report}");
}
