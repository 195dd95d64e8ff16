//! What `check` finds and how it says it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_connector::{ConnectorKind as _, Severity, UsedType};
use muster_connector_entra::EntraKind;
use muster_sandbox::{Sandbox, SandboxOptions};
use serde_json::json;

use crate::peer::Reply;
use crate::world::{settings, start};

fn used(object_type: &str, attributes: &[&str]) -> UsedType {
    UsedType {
        object_type: object_type.to_owned(),
        attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
        named: Vec::new(),
        as_source: true,
        as_target: false,
    }
}

pub(crate) fn token(roles: &[&str]) -> Reply {
    let claims = URL_SAFE_NO_PAD.encode(json!({"roles":roles}).to_string());
    Reply::json(&json!({"access_token":format!("h.{claims}.s"),"expires_in":3599}).to_string())
}

fn nothing_new(object_type: &str) -> Reply {
    Reply::json(&format!(r#"{{"value":[],"@odata.deltaLink":"{{peer}}/v1.0/{object_type}s/delta?$deltatoken=D"}}"#))
}

pub(crate) fn denied() -> Reply {
    Reply::error(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
}

#[tokio::test]
async fn a_good_connection_has_no_findings() {
    let (_, peer, connector) = start().await;
    peer.answer_tokens([token(&["User.Read.All", "Group.Read.All"])]);
    peer.answer([nothing_new("user"), nothing_new("group")]);
    let report = connector.check(&[used("user", &["mail", "manager"]), used("group", &["members"])]).await.unwrap();
    assert_eq!(report.findings, []);
    let targets: Vec<String> = peer.graph_calls().into_iter().map(|call| call.target).collect();
    let wanted = [
        "/v1.0/users/delta?$deltatoken=latest&$select=id,mail,manager",
        "/v1.0/groups/delta?$deltatoken=latest&$select=id,members",
    ];
    assert_eq!(targets, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_scopes_are_looked_up() {
    let options = SandboxOptions { users: 30, groups: 4, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await.unwrap();
    let facts = sandbox.facts();
    let group = sandbox.directory().groups()[0].clone();
    let (name, id) = (group["displayName"].as_str().unwrap(), group["id"].as_str().unwrap());
    let (called, role) = ("O'Neil's / R&D + 100%", "Admin");
    sandbox.directory().add_application(called, &[role]);
    let values = json!({ "tenant": facts.tenant, "client_id": facts.client_id, "client_secret": { "env": "S" },
        "authority": facts.authority, "graph_url": facts.graph_url });
    let connector = EntraKind.connect(settings(values, &[("client_secret", &facts.client_secret)])).unwrap();
    let asked = |object_type: &str, attribute: &str, named: &[String]| UsedType {
        named: named.to_vec(),
        ..used(object_type, &["displayName", attribute])
    };
    let good = [
        asked("group", "members", &[name.to_owned(), id.to_owned()]),
        asked("application", "assigned", &[called.to_owned(), format!("{called}/{role}")]),
    ];
    assert_eq!(connector.check(&good).await.unwrap().findings, []);
    let wrong = [
        (asked("group", "members", &[format!("{name}x")]), "the group", name.to_owned()),
        (
            asked("group", "members", &["11111111-2222-3333-4444-555555555555".to_owned()]),
            "the group",
            "by its id".to_owned(),
        ),
        (asked("application", "assigned", &[format!("{called}x")]), "the application", called.to_owned()),
        (
            asked("application", "assigned", &[format!("{called}/Nobody'")]),
            "has no such role",
            format!("{called}/{role}"),
        ),
    ];
    for (used, problem, fix) in wrong {
        let findings = connector.check(&[used]).await.unwrap().findings;
        assert!(findings.len() == 1 && findings[0].problem.contains(problem), "{findings:?}");
        assert!(findings[0].fix.contains(&fix), "{findings:?}");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_told() {
    let (_, peer, connector) = start().await;
    peer.answer_tokens([token(&["Group.Read.All"])]);
    peer.answer([nothing_new("group"), Reply::error(400, "Request_UnsupportedQuery", "Unsupported query.")]);
    let named = UsedType { named: vec!["Sales".to_owned()], ..used("group", &["members"]) };
    let findings = connector.check(&[named]).await.unwrap().findings;
    assert!(findings.len() == 1 && findings[0].severity == Severity::Warning, "{findings:?}");
    assert!(
        findings[0].problem.contains("\"Sales\"") && findings[0].problem.contains("Unsupported query"),
        "{findings:?}"
    );
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let leave = &["mail", "employeeLeaveDateTime"][..];
    let cases = [
        ("user", leave, token(&["User.Read.All"]), vec![denied()], "User-LifeCycleInfo.Read.All", "User.Read.All to"),
        (
            "user",
            leave,
            Reply::json(r#"{"access_token":"opaque","expires_in":9999}"#),
            vec![denied(), nothing_new("user")],
            "User-LifeCycleInfo.Read.All",
            "User.Read.All to",
        ),
        ("user", &["mail"][..], token(&["Group.Read.All"]), vec![denied()], "User.Read.All", "LifeCycle"),
        ("group", &["members"][..], token(&[]), vec![denied()], "GroupMember.Read.All", "User.Read.All"),
    ];
    for (object_type, attributes, token, replies, named, unnamed) in cases {
        let (_, peer, connector) = start().await;
        // A refusal for want of permission asks for a new token, since that may have it.
        peer.answer_tokens((0..4).map(|_| token.clone()));
        peer.answer(replies);
        let report = connector.check(&[used(object_type, attributes)]).await.unwrap();
        assert_eq!(report.findings.len(), 1, "{report:?}");
        let finding = &report.findings[0];
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.problem.contains(named), "{finding:?}");
        assert!(!finding.problem.contains(unnamed), "{finding:?}");
        assert!(finding.fix.contains("Grant admin consent"), "{finding:?}");
    }
}

#[tokio::test]
async fn a_permission_missed_in_silence_is_a_warning() {
    let (_, peer, connector) = start().await;
    peer.answer_tokens([token(&["User.Read.All"])]);
    peer.answer([nothing_new("user")]);
    let report = connector.check(&[used("user", &["employeeLeaveDateTime"])]).await.unwrap();
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].severity, Severity::Warning);
    assert!(report.findings[0].problem.contains("User-LifeCycleInfo.Read.All"));
}

#[tokio::test]
async fn unknown_names_get_the_nearest() {
    let (_, peer, connector) = start().await;
    peer.answer([nothing_new("user")]);
    let types = [used("user", &["mial", "signInActivity", "telephoneNumber", "mail"]), used("users", &["id"])];
    let report = connector.check(&types).await.unwrap();
    let texts: Vec<String> =
        report.findings.iter().map(|finding| format!("{} {}", finding.problem, finding.fix)).collect();
    assert_eq!(texts.len(), 4, "{texts:?}");
    for wanted in ["did you mean mail?", "signInActivity", "businessPhones", "use user, group or application"] {
        assert!(texts.iter().any(|text| text.contains(wanted)), "{wanted}: {texts:?}");
    }
    assert!(peer.graph_calls()[0].target.ends_with("$select=id,mail"), "the rest is examined");
}

#[tokio::test]
async fn applications_are_not_written() {
    let (_, _, connector) = start().await;
    let target = UsedType { named: Vec::new(), as_source: false, as_target: true, ..used("application", &["id"]) };
    let report = connector.check(&[target]).await.unwrap();
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].severity, Severity::Error);
}

#[tokio::test]
async fn permissions_to_write_are_named() {
    let cases = [
        ("user", "displayName", "User.Read.All", Some("User.ReadWrite.All")),
        ("user", "displayName", "User.ReadWrite.All", None),
        ("user", "employeeLeaveDateTime", "User.ReadWrite.All", Some("User-LifeCycleInfo.ReadWrite.All")),
        ("group", "members", "GroupMember.Read.All", Some("Group.ReadWrite.All")),
        ("group", "isAssignableToRole", "Group.ReadWrite.All", Some("RoleManagement.ReadWrite.Directory")),
    ];
    for (object_type, attribute, role, missing) in cases {
        let (_, peer, connector) = start().await;
        peer.answer_tokens([token(&[role])]);
        let used = used(object_type, &[attribute]);
        let target = UsedType { named: Vec::new(), as_source: false, as_target: true, ..used };
        let report = connector.check(&[target]).await.unwrap();
        let problems: Vec<&str> = report.findings.iter().map(|finding| finding.problem.as_str()).collect();
        match missing {
            Some(missing) => assert!(matches!(problems.as_slice(), [one] if one.contains(missing)), "{problems:?}"),
            None => assert!(problems.is_empty(), "{problems:?}"),
        }
    }
}

#[tokio::test]
async fn sign_in_that_fails_is_a_finding() {
    let (_, peer, connector) = start().await;
    peer.answer_tokens([Reply::status(401, r#"{"error":"invalid_client","error_codes":[7000222]}"#)]);
    let report = connector.check(&[used("user", &["mail"])]).await.unwrap();
    assert!(report.findings[0].problem.contains("expired"));
    assert!(peer.graph_calls().is_empty());
}
