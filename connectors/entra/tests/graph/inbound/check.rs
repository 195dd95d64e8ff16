//! What `check` finds of the inbound side, and how it says it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_connector::{CheckReport, Severity, UsedType};
use serde_json::json;

use super::connected;
use super::house::{open, options};
use crate::peer::{Peer, Reply};
use crate::world::World;

fn used() -> Vec<UsedType> {
    vec![UsedType {
        object_type: "inbound_user".to_owned(),
        attributes: vec!["userName".to_owned(), "manager".to_owned()],
        named: Vec::new(),
        as_source: false,
        as_target: true,
    }]
}

fn features(report: &CheckReport) -> String {
    report.features.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_connection_has_no_findings_and_tells_the_quota() {
    let house = open(options()).await;
    let report = house.connect().check(&used()).await.unwrap();
    assert_eq!(report.findings, []);
    let told = features(&report);
    for expected in [
        "the provisioning log can be read",
        "the provisioning job is there, its state is Active",
        "Entra ID P1: 2,000 uploads of 50 people in 24 hours; 100,000 people take 2,000 calls, less than a day",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(!house.folder.path().join("calls.json").exists(), "nothing was counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_job_a_missing_permission_and_a_damaged_file_are_found() {
    let mut options = options();
    options.permissions.retain(|role| role != "Synchronization.Read.All" && !role.ends_with("Log.Read.All"));
    let house = open(options).await;
    let report = house.connect().check(&used()).await.unwrap();
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert!(report.findings[0].problem.contains("ProvisioningLog.Read.All"));
    assert!(features(&report).contains("Synchronization.Read.All, which nothing else needs"));

    let house = open(super::house::options()).await;
    std::fs::write(house.folder.path().join("calls.json"), "{").unwrap();
    let report = house.connect_with(json!({"job": "API2AAD.gone"})).check(&used()).await.unwrap();
    let found: Vec<_> = report.findings.iter().map(|found| (found.severity, found.setting.as_deref())).collect();
    let expected = [(Severity::Error, Some("inbound.job")), (Severity::Warning, Some("inbound.calls_file"))];
    assert_eq!(found, expected, "{report:?}");
    assert!(features(&report).contains("200 are left today"));
}

#[tokio::test]
async fn roles_that_the_token_shows_are_compared() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    let connector = connected(&world, &peer, folder.path(), json!({}));
    let claims = URL_SAFE_NO_PAD.encode(json!({"roles": ["ProvisioningLog.Read.All"]}).to_string());
    peer.answer_tokens([Reply::json(
        &json!({"access_token": format!("h.{claims}.s"), "expires_in": 3599}).to_string(),
    )]);
    let paused = Reply::json(r#"{"id":"x","status":{"code":"Paused"}}"#);
    peer.answer([Reply::json(r#"{"value":[]}"#), paused]);
    let report = connector.check(&used()).await.unwrap();
    let found: Vec<&str> = report.findings.iter().map(|found| found.problem.as_str()).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("SynchronizationData-User.Upload") && !found[0].contains("ProvisioningLog"));
    assert!(found[1].contains("Paused") && report.findings[1].fix.contains("Start provisioning"));
}

#[tokio::test]
async fn settings_that_could_not_work_are_refused_by_name() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    for (change, setting) in [
        (json!({"service_principal": "my app"}), "inbound.service_principal"),
        (json!({"job": "a/b"}), "inbound.job"),
        (json!({"job": " "}), "inbound.job"),
        (json!({"extensions": {"HireDate": "text"}}), "inbound.extensions.HireDate"),
        (
            json!({"extensions": {"urn:ietf:params:scim:schemas:core:2.0:User:title": "text"}}),
            "inbound.extensions.urn:ietf:params:scim:schemas:core:2.0:User:title",
        ),
    ] {
        let values = crate::world::values(&peer, json!({"inbound": super::section(folder.path(), change)}));
        let settings = crate::world::settings(values, &[("client_secret", crate::world::SECRET)]);
        let refused = muster_connector_entra::connect(&settings, world.clone()).map(drop);
        let Err(muster_connector::Error::Configuration { setting: blamed, .. }) = refused else { panic!("{setting}") };
        assert_eq!(blamed.as_deref(), Some(setting));
    }
}
