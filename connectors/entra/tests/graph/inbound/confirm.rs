//! What became of uploaded people, in every way that the log can tell.

use std::time::Duration;

use chrono::TimeDelta;
use muster_connector::{Effect, Error, OperationId, Outcome, Resolution};
use muster_model::{Slot, Value};
use muster_sandbox::InboundOptions;
use serde_json::json;
use uuid::Uuid;

use super::house::{confirm, no_violations, open, options, upload};
use super::{batch, people};

fn applied() -> Resolution {
    Resolution::Known(Outcome::Applied(Effect::default()))
}

fn already() -> Resolution {
    Resolution::Known(Outcome::AlreadySo(Effect::default()))
}

fn pending() -> Resolution {
    Resolution::Pending { look_again_after: Duration::from_secs(1) }
}

/// Rule, attribute and message of a refusal.
fn refusal(resolution: &Resolution) -> (&str, Option<&str>, &str) {
    match resolution {
        Resolution::Known(Outcome::Rejected { attribute, rule, message }) => (rule, attribute.as_deref(), message),
        other => panic!("{other:?}"),
    }
}

/// Until the run and its log are through.
const THROUGH: Duration = Duration::from_secs(365);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joiner_mover_leaver_and_rehire_are_confirmed_one_by_one() {
    let house = open(options()).await;
    let connector = house.connect();
    let directory = house.sandbox.directory();
    let record = |title: &str, active: bool| {
        let slots = vec![
            Slot::text("e1@sandbox.example"),
            Slot::text("E"),
            Slot::text(title),
            Slot::One(Value::Boolean(active)),
        ];
        batch(&["userName", "displayName", "title", "active"], &[("E1", slots)])
    };
    for (batch, expected, enabled) in [
        (record("Clerk", true), applied(), true),
        (record("Chief", true), applied(), true),
        (record("Chief", true), already(), true),
        (record("Chief", false), applied(), false),
        (record("Chief", true), applied(), true),
    ] {
        let tickets = upload(&connector, &batch).await;
        assert_eq!(confirm(&connector, &tickets).await, [pending()], "the run is still to come");
        house.pass(Duration::from_secs(100));
        assert_eq!(confirm(&connector, &tickets).await, [pending()], "the log is late");
        house.pass(THROUGH);
        assert_eq!(confirm(&connector, &tickets).await, [expected]);
        let id = directory.id_by_employee_id("E1").unwrap();
        assert_eq!(directory.user(&id).unwrap()["accountEnabled"], enabled);
    }
    assert_eq!(house.violations(), no_violations());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_carry_the_words_of_entra() {
    let mut options = options();
    options.inbound.departments_out_of_scope.push("Temps".to_owned());
    let house = open(options).await;
    let connector = house.connect();
    let person = |name: &str, department: &str, manager: &str| {
        vec![Slot::text(name), Slot::text("N"), Slot::text(department), Slot::text(manager)]
    };
    let batch = batch(
        &["userName", "displayName", "department", "manager"],
        &[
            ("E1", person("same@sandbox.example", "Legal", "E5")),
            ("E2", person("same@sandbox.example", "Legal", "E5")),
            ("E3", person("e3@elsewhere.example", "Legal", "E5")),
            ("E4", person("e4@sandbox.example", "Temps", "E5")),
            ("E5", person("e5@sandbox.example", "Legal", "nobody")),
        ],
    );
    let tickets = upload(&connector, &batch).await;
    house.pass(THROUGH);
    let found = confirm(&connector, &tickets).await;
    assert_eq!(found[0], applied(), "its manager came later in the same run");
    let upn = "AzureActiveDirectoryInvalidUserPrincipalName";
    let (rule, attribute, message) = refusal(&found[1]);
    assert_eq!((rule, attribute), (upn, Some("userName")));
    assert!(message.contains("already exists") && message.contains("unique"), "reason and action: {message}");
    let (rule, attribute, message) = refusal(&found[2]);
    assert_eq!((rule, attribute), (upn, Some("userName")));
    assert!(message.contains("domain does not exist"), "{message}");
    let (rule, attribute, message) = refusal(&found[3]);
    assert_eq!((rule, attribute), ("NotEffectivelyEntitled", None));
    assert!(message.contains("scoping filter"), "{message}");
    let (rule, attribute, _) = refusal(&found[4]);
    assert_eq!((rule, attribute), ("UnresolvedReference", Some("manager")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_confirms_and_no_clock_but_that_of_entra_counts() {
    for wrong in [TimeDelta::hours(-5), TimeDelta::zero(), TimeDelta::hours(5)] {
        let house = open(options()).await;
        house.set_wrong(wrong);
        let tickets = upload(&house.connect(), &people(&["E1"])).await;
        house.pass(THROUGH);
        assert_eq!(confirm(&house.connect(), &tickets).await, [applied()], "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_upload_does_not_confirm_a_newer_one() {
    let house = open(options()).await;
    let connector = house.connect();
    let first = upload(&connector, &people(&["E1"])).await;
    house.pass(THROUGH);
    let second = upload(&connector, &people(&["E1"])).await;
    house.pass(Duration::from_secs(20));
    let both = [first[0].clone(), second[0].clone()];
    assert_eq!(confirm(&connector, &both).await, [applied(), pending()]);
    house.pass(THROUGH);
    assert_eq!(confirm(&connector, &both).await, [applied(), already()], "each by its own entry");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_answer_the_first_entry_is_not_believed() {
    let mut options = options();
    options.inbound.processing_seconds = 600;
    let house = open(options).await;
    let connector = house.connect();
    let named = |name: &str| {
        batch(&["userName", "displayName"], &[("E1", vec![Slot::text("e1@sandbox.example"), Slot::text(name)])])
    };
    house.faults(&["lost:path=bulkUpload"]);
    let lost = connector.target().unwrap().apply(&named("Old")).await;
    assert!(matches!(lost, Err(Error::Unreachable { nothing_sent: false, .. })), "{lost:?}");
    // The source has changed since, and the whole state goes out once more, from a process that knows of nothing.
    let connector = house.connect();
    house.pass(Duration::from_secs(300));
    let tickets = upload(&connector, &named("New")).await;
    house.pass(Duration::from_secs(1_000));
    let directory = house.sandbox.directory();
    let log = |count: u64| assert_eq!(directory.inbound()["logged"], count);
    log(2);
    assert_eq!(confirm(&connector, &tickets).await, [applied()], "two entries: the second is ours");
    let id = directory.id_by_employee_id("E1").unwrap();
    assert_eq!(directory.user(&id).unwrap()["displayName"], "New");

    // The first entry alone is not believed until it cannot be another's.
    house.faults(&["error:path=bulkUpload,status=503"]);
    assert!(connector.target().unwrap().apply(&named("Never")).await.is_err(), "it never arrived");
    let tickets = upload(&connector, &named("Newer")).await;
    house.pass(Duration::from_secs(1_000));
    assert_eq!(confirm(&connector, &tickets).await, [pending()]);
    log(3);
    house.pass(Duration::from_secs(3_600));
    assert_eq!(confirm(&connector, &tickets).await, [applied()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_log_is_reported_after_a_day_and_believed_when_it_speaks() {
    let mut options = options();
    options.inbound = InboundOptions { log_seconds: 100_000, ..options.inbound };
    let house = open(options).await;
    let connector = house.connect();
    let tickets = upload(&connector, &people(&["E1"])).await;
    house.pass(Duration::from_secs(86_000));
    assert_eq!(confirm(&connector, &tickets).await, [pending()]);
    house.pass(Duration::from_secs(1_000));
    let found = confirm(&connector, &tickets).await;
    let (rule, attribute, message) = refusal(&found[0]);
    assert_eq!((rule, attribute), ("not_confirmed", None));
    assert!(message.contains("24 hours") && message.contains("quarantine"), "{message}");
    house.pass(Duration::from_secs(14_000));
    assert_eq!(confirm(&connector, &tickets).await, [applied()], "late entries count");

    let house = open(super::house::options()).await;
    let connector = house.connect_with(json!({"confirm_within": "2m"}));
    let tickets = upload(&connector, &people(&["E1"])).await;
    house.pass(Duration::from_secs(130));
    assert_eq!(refusal(&confirm(&connector, &tickets).await[0]).0, "not_confirmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_may_fail_and_limit_and_is_asked_again_in_time() {
    let house = open(options()).await;
    let connector = house.connect();
    let tickets = upload(&connector, &people(&["E1"])).await;
    house.pass(THROUGH);
    let log = "path=auditLogs/provisioning";
    house.faults(&[
        &format!("throttle:{log},times=2,retry-after=9"),
        &format!("error:{log},status=503"),
        &format!("cut:{log}"),
        &format!("unauthorized:{log}"),
    ]);
    assert_eq!(confirm(&connector, &tickets).await, [applied()]);
    assert_eq!(house.sandbox.faults().struck(), 5);
    assert_eq!(house.violations(), no_violations());
    assert_eq!(house.sandbox.directory().violations(), Vec::<String>::new());

    let more = upload(&connector, &people(&["E2"])).await;
    house.pass(THROUGH);
    house.faults(&[&format!("throttle:{log},retry-after=120")]);
    let limited = connector.target().unwrap().confirm("inbound_user", &more).await;
    assert!(matches!(limited, Err(Error::Throttled { after, .. }) if after == Duration::from_secs(120)), "{limited:?}");
    house.pass(Duration::from_secs(121));
    assert_eq!(confirm(&connector, &more).await, [applied()]);
    house.faults(&[&format!("error:{log},status=500,times=0")]);
    house.pass(Duration::from_secs(60));
    let failed = connector.target().unwrap().confirm("inbound_user", &more).await;
    assert!(matches!(failed, Err(Error::Unreachable { .. })), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_permission_the_log_is_not_read() {
    let mut options = options();
    options.permissions.retain(|role| role != "ProvisioningLog.Read.All" && role != "AuditLog.Read.All");
    let house = open(options).await;
    let connector = house.connect();
    let tickets = upload(&connector, &people(&["E1"])).await;
    let denied = connector.target().unwrap().confirm("inbound_user", &tickets).await;
    let Err(Error::Credentials { problem, .. }) = denied else { panic!("{denied:?}") };
    assert!(problem.contains("ProvisioningLog.Read.All"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_of_another_job_are_nobodys() {
    let house = open(options()).await;
    let connector = house.connect();
    let mut tickets = upload(&connector, &people(&["E1"])).await;
    let other = json!({"externalId": "E1", "at": "2026-11-22T12:00:00Z", "job": "API2AAD.other"}).to_string();
    tickets.push((OperationId(Uuid::new_v4()), other));
    tickets.push((OperationId(Uuid::new_v4()), "no ticket".to_owned()));
    house.pass(THROUGH);
    let found = confirm(&connector, &tickets).await;
    assert_eq!(found, [applied(), Resolution::NotRecorded, Resolution::NotRecorded]);
    assert_eq!(confirm(&connector, &tickets[1..]).await, [Resolution::NotRecorded, Resolution::NotRecorded]);
}
