//! API-driven inbound provisioning: uploads, the run that works on them, and its log.

use std::time::Duration;

use muster_sandbox::{InboundOptions, SandboxOptions};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client, plain, start};

const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const SCIM: &[(&str, &str)] = &[("content-type", "application/scim+json")];

fn person(id: &str, more: &Value) -> Value {
    let mut data = json!({
        "schemas": [CORE, ENTERPRISE], "externalId": id, "userName": format!("{id}@sandbox.example"),
        "displayName": format!("Person {id}"), "active": true, "name": {"givenName": "P", "familyName": id},
    });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    data
}

fn bulk(people: &[Value]) -> Value {
    let one = |(place, data): (usize, &Value)| json!({"method": "POST", "path": "/Users", "bulkId": format!("b{place}"), "data": data});
    let operations: Vec<Value> = people.iter().enumerate().map(one).collect();
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations, "failOnErrors": null})
}

impl Client {
    fn upload_path(&self) -> String {
        let facts = self.sandbox.facts();
        format!("/servicePrincipals/{}/synchronization/jobs/{}/bulkUpload", facts.service_principal, facts.job)
    }

    async fn upload(&self, people: &[Value]) -> Answer {
        self.send(Method::POST, &self.upload_path(), SCIM, Some(bulk(people))).await
    }

    /// Uploads, waits until the log shows it, and returns the new entries, oldest first.
    async fn provision(&self, people: &[Value]) -> Vec<Value> {
        assert_eq!(self.upload(people).await.status, 202);
        self.sandbox.advance_clock(Duration::from_secs(361));
        let all = self.log("$orderby=activityDateTime&$top=999").await.body["value"].as_array().unwrap().clone();
        all[all.len() - people.len()..].to_vec()
    }

    async fn log(&self, query: &str) -> Answer {
        self.get(&format!("/auditLogs/provisioning?{query}")).await
    }
}

fn inbound(change: impl FnOnce(&mut InboundOptions)) -> SandboxOptions {
    let mut options = plain();
    change(&mut options.inbound);
    options
}

fn summary(entry: &Value) -> (&str, &str) {
    (entry["provisioningAction"].as_str().unwrap(), entry["provisioningStatusInfo"]["status"].as_str().unwrap())
}

fn error<'a>(entry: &'a Value, part: &str) -> &'a str {
    entry["provisioningStatusInfo"]["errorInformation"][part].as_str().unwrap_or_default()
}

#[tokio::test]
async fn an_upload_is_taken_at_once_and_takes_effect_later() {
    let client = start(plain()).await;
    let directory = client.sandbox.directory();
    let before = client.get("/users/delta?$deltatoken=latest").await.body["@odata.deltaLink"].clone();
    let taken = client.upload(&[person("9001", &json!({}))]).await;
    assert_eq!((taken.status, &taken.body), (202, &Value::Null));
    assert!(taken.header("location").contains("/auditLogs/provisioning/?$filter=jobid%20eq%20'API2AAD."));
    assert!(!taken.header("request-id").is_empty() && !taken.header("date").is_empty());
    client.sandbox.advance_clock(Duration::from_secs(20));
    assert_eq!(directory.id_by_employee_id("9001"), None);
    client.sandbox.advance_clock(Duration::from_secs(41));
    let id = directory.id_by_employee_id("9001").expect("the run is over");
    let round = client.round(before.as_str().unwrap()).await;
    assert_eq!(round.entry(&id)["userPrincipalName"], "9001@sandbox.example");

    client.sandbox.advance_clock(Duration::from_secs(200));
    assert_eq!(client.log("").await.body["value"], json!([]), "the log comes later still");
    client.sandbox.advance_clock(Duration::from_secs(100));
    let job = client.sandbox.facts().job;
    let log = client.log(&format!("$filter=jobId eq '{job}'")).await;
    let entry = &log.body["value"][0];
    assert_eq!(summary(entry), ("create", "success"));
    assert_eq!(entry["sourceIdentity"]["id"], "9001");
    assert_eq!(entry["targetIdentity"]["id"], id);
    assert_eq!(entry["jobId"], job);
}

#[tokio::test]
async fn people_are_created_changed_disabled_and_enabled() {
    let client = start(plain()).await;
    let directory = client.sandbox.directory();
    let whole = json!({
        "title": "Clerk", "userType": "Employee", "preferredLanguage": "sv-SE",
        "emails": [{"type": "home", "value": "no@x"}, {"type": "work", "value": "e1@sandbox.example"}],
        "phoneNumbers": [{"type": "work", "value": "+46 1"}, {"type": "mobile", "value": "+46 2"}],
        "addresses": [{"type": "work", "formatted": "Room 7", "streetAddress": "Street 1", "locality": "Lund",
            "region": "Skåne", "postalCode": "222", "country": "SE"}],
        ENTERPRISE: {"employeeNumber": "n-1", "costCenter": "K7", "division": "North", "department": "Legal",
            "organization": "Contoso"},
    });
    assert_eq!(summary(&client.provision(&[person("E1", &whole)]).await[0]), ("create", "success"));
    let id = directory.id_by_employee_id("E1").unwrap();
    let user = directory.user(&id).unwrap();
    for (name, value) in [
        ("givenName", json!("P")),
        ("surname", json!("E1")),
        ("jobTitle", json!("Clerk")),
        ("employeeType", json!("Employee")),
        ("mail", json!("e1@sandbox.example")),
        ("businessPhones", json!(["+46 1"])),
        ("mobilePhone", Value::Null),
        ("officeLocation", json!("Room 7")),
        ("city", json!("Lund")),
        ("department", json!("Legal")),
        ("companyName", json!("Contoso")),
        ("employeeOrgData", json!({"costCenter": "K7", "division": "North"})),
        ("accountEnabled", json!(true)),
    ] {
        assert_eq!(user[name], value, "{name}");
    }

    let same = client.provision(&[person("E1", &whole)]).await;
    assert_eq!(summary(&same[0]), ("other", "skipped"));
    assert_eq!(same[0]["provisioningSteps"][1]["details"]["SkipReason"], "RedundantExport");

    // Absence, null and the empty text leave what is there: null values do not flow by default.
    let left = client.provision(&[person("E1", &json!({"active": false, "title": null, "userType": ""}))]).await;
    assert_eq!(summary(&left[0]), ("disable", "success"));
    assert_eq!(
        left[0]["modifiedProperties"],
        json!([{"displayName": "accountEnabled", "oldValue": "true", "newValue": "false"}])
    );
    let back = client.provision(&[person("E1", &json!({}))]).await;
    assert_eq!(summary(&back[0]), ("update", "success"));
    let user = directory.user(&id).unwrap();
    assert_eq!((&user["accountEnabled"], &user["jobTitle"]), (&json!(true), &json!("Clerk")));
}

#[tokio::test]
async fn null_values_flow_where_that_is_switched_on() {
    let client = start(inbound(|inbound| inbound.flow_nulls = true)).await;
    let directory = client.sandbox.directory();
    let boss = person("B1", &json!({}));
    let whole = json!({"title": "Clerk", ENTERPRISE: {"manager": {"value": "B1"}, "department": "Legal"}});
    client.provision(&[boss, person("E1", &whole)]).await;
    let id = directory.id_by_employee_id("E1").unwrap();
    assert_eq!(directory.manager(&id), directory.id_by_employee_id("B1"));
    client.provision(&[person("E1", &json!({"title": null}))]).await;
    let user = directory.user(&id).unwrap();
    assert_eq!((&user["jobTitle"], &user["department"]), (&Value::Null, &Value::Null));
    assert_eq!(directory.manager(&id), None);
    assert_eq!(user["displayName"], "Person E1");
}

#[tokio::test]
async fn managers_may_come_later_in_the_same_run_and_unknown_ones_fail() {
    let client = start(plain()).await;
    let directory = client.sandbox.directory();
    let reports_to = |manager: &str| json!({ENTERPRISE: {"manager": {"value": manager}}});
    client.upload(&[person("E1", &reports_to("B1"))]).await;
    client.sandbox.advance_clock(Duration::from_secs(5));
    let entries = client.provision(&[person("B1", &json!({})), person("E2", &reports_to("nobody"))]).await;
    let manager = directory.manager(&directory.id_by_employee_id("E1").unwrap());
    assert_eq!(manager, directory.id_by_employee_id("B1"));
    assert_eq!(summary(&entries[1]), ("create", "failure"));
    assert_eq!(error(&entries[1], "errorCode"), "UnresolvedReference");
    assert!(error(&entries[1], "reason").contains("manager 'nobody'"));
    assert!(directory.id_by_employee_id("E2").is_some(), "all but the manager was written");
}

#[tokio::test]
async fn failures_say_what_is_wrong() {
    let client = start(inbound(|inbound| inbound.departments_out_of_scope.push("Temps".to_owned()))).await;
    let taken = client.sandbox.directory().users()[1]["userPrincipalName"].clone();
    let entries = client
        .provision(&[
            person("E1", &json!({"userName": taken})),
            person("E2", &json!({"userName": "e2@elsewhere.example"})),
            person("12345678901234567", &json!({})),
            person("E4", &json!({ENTERPRISE: {"department": "Temps"}})),
        ])
        .await;
    let upn = "AzureActiveDirectoryInvalidUserPrincipalName";
    for (entry, code, reason) in [
        (&entries[0], upn, "already exists"),
        (&entries[1], upn, "domain does not exist"),
        (&entries[2], "AzureActiveDirectoryInvalidValue", "employeeId"),
    ] {
        assert_eq!(summary(entry), ("create", "failure"));
        assert_eq!(error(entry, "errorCode"), code);
        assert!(error(entry, "reason").contains(reason), "{entry}");
        assert!(!error(entry, "recommendedAction").is_empty());
    }
    assert_eq!(summary(&entries[3]), ("other", "skipped"));
    assert_eq!(entries[3]["provisioningSteps"][1]["details"]["SkipReason"], "NotEffectivelyEntitled");
}

#[tokio::test]
async fn extension_attributes_are_ignored_unless_mapped() {
    let urn = "urn:ietf:params:scim:schemas:extension:acme:1.0:User";
    let badge = "extension_6b1f0c9e2d7a4f35a8e0c4d2b9f71350_badgeNumber";
    let client = start(inbound(|inbound| {
        inbound.extensions.insert(format!("{urn}:Badge"), badge.to_owned());
    }))
    .await;
    let more = json!({"schemas": [CORE, ENTERPRISE, urn], urn: {"Badge": 77, "Shoe": "43"}});
    assert_eq!(summary(&client.provision(&[person("E1", &more)]).await[0]), ("create", "success"));
    let directory = client.sandbox.directory();
    assert_eq!(directory.user(&directory.id_by_employee_id("E1").unwrap()).unwrap()[badge], "77");
}

#[tokio::test]
async fn what_is_no_upload_is_refused() {
    let client = start(plain()).await;
    let good = bulk(&[person("E1", &json!({}))]);
    let plain_json = client.post(&client.upload_path(), good.clone()).await;
    assert_eq!((plain_json.status, plain_json.code()), (400, "BadRequest"));
    assert!(plain_json.body["error"]["message"].as_str().unwrap().starts_with("Invalid Data Format"));
    let many: Vec<Value> = (0..51).map(|number| person(&number.to_string(), &json!({}))).collect();
    assert_eq!(client.upload(&many).await.status, 400);
    let path = client.upload_path();
    for wrong in [path.replace("API2AAD", "API2AD"), path.replacen(|letter: char| letter.is_ascii_digit(), "x", 1)] {
        assert_eq!(client.send(Method::POST, &wrong, SCIM, Some(good.clone())).await.status, 404, "{wrong}");
    }
    assert_eq!(client.get(&path).await.status, 405);
    let state = client.sandbox.directory().inbound();
    assert_eq!((&state["calls"], &state["violations"]["oversized"]), (&json!(0), &json!(1)));

    let mut options = plain();
    options.permissions = vec!["Application.Read.All".to_owned()];
    let client = start(options).await;
    assert_eq!(client.upload(&[]).await.code(), "Authorization_RequestDenied");
    assert_eq!(client.log("").await.code(), "Authorization_RequestDenied");
}

#[tokio::test]
async fn the_job_can_be_looked_at() {
    let client = start(plain()).await;
    let facts = client.sandbox.facts();
    let path = format!("/servicePrincipals/{}/synchronization/jobs/{}", facts.service_principal, facts.job);
    assert_eq!(client.get(&path).await.body["status"]["code"], "Active");
    let principal = client.get(&format!("/servicePrincipals/{}", facts.service_principal)).await;
    assert_eq!(principal.body["displayName"], "API-driven provisioning to Microsoft Entra ID");
}

#[tokio::test]
async fn limits_answer_429_and_whoever_ignores_them_is_counted() {
    let mut options = inbound(|inbound| inbound.calls_per_day = 42);
    options.token_seconds = 1_000_000;
    let client = start(options).await;
    let one = [person("E1", &json!({}))];
    for _ in 0..40 {
        assert_eq!(client.upload(&one).await.status, 202);
    }
    let violations = || client.sandbox.directory().inbound()["violations"].clone();
    let mut later = Duration::ZERO;
    // A slow machine may have spent the five seconds; then two more are taken, and the quota is what ends it.
    loop {
        let answer = client.upload(&one).await;
        if answer.status == 429 {
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            later += Duration::from_secs(wait);
            client.sandbox.advance_clock(Duration::from_secs(wait));
            if wait > 3_600 {
                break;
            }
        }
        assert!(later < Duration::from_secs(3_600), "the quota of 42 calls must end it");
    }
    assert_eq!(client.upload(&one).await.status, 202, "a day later");
    let counted = violations();
    assert_eq!((&counted["quota"], &counted["retryAfter"]), (&json!(1), &json!(0)), "{counted}");

    for _ in 0..5 {
        client.log("").await;
    }
    let refused = client.log("").await;
    if refused.status == 429 {
        client.log("").await;
        assert_eq!(violations()["log"], 2);
        assert_eq!(violations()["retryAfter"], 1);
    }
}

#[tokio::test]
async fn the_log_is_filtered_ordered_and_paged() {
    let client = start(plain()).await;
    let people: Vec<Value> = (0..5).map(|number| person(&format!("E{number}"), &json!({}))).collect();
    client.provision(&people).await;
    let boundary = client.provision(&[person("F", &json!({}))]).await[0]["activityDateTime"].clone();
    client.sandbox.advance_clock(Duration::from_secs(60));
    let names = |answer: &Answer| -> Vec<String> {
        let entries = answer.body["value"].as_array().unwrap().iter();
        entries.map(|entry| entry["sourceIdentity"]["id"].as_str().unwrap().to_owned()).collect()
    };
    let job = client.sandbox.facts().job;
    let since = format!("$filter=jobId eq '{job}' and activityDateTime ge {}", boundary.as_str().unwrap());
    assert_eq!(names(&client.log(&since).await), ["F"]);
    assert_eq!(names(&client.log(&since.replace(" ge ", " gt ")).await), [""; 0]);
    assert_eq!(names(&client.log(&since.replace(" ge ", " lt ")).await).len(), 5);
    client.sandbox.advance_clock(Duration::from_secs(60));
    let first = client.log("$top=4").await;
    assert_eq!(names(&first), ["F", "E4", "E3", "E2"]);
    let second = client.get(first.body["@odata.nextLink"].as_str().unwrap()).await;
    assert_eq!(names(&second), ["E1", "E0"]);
    assert_eq!(second.body.get("@odata.nextLink"), None);
    assert_eq!(client.log("$filter=sourceIdentity/id eq 'F'").await.status, 400);
}

#[tokio::test]
async fn an_upload_takes_effect_though_its_answer_is_lost() {
    let client = start(plain()).await;
    client.sandbox.faults().set(vec!["lost:path=bulkUpload".parse().unwrap()].into());
    let request = client.http.post(client.url(&client.upload_path())).bearer_auth(&client.token);
    let body = bulk(&[person("E1", &json!({}))]).to_string();
    let lost = request.header("content-type", "application/scim+json").body(body).send().await;
    assert!(lost.is_err(), "not even a status: {lost:?}");
    client.sandbox.advance_clock(Duration::from_secs(61));
    assert!(client.sandbox.directory().id_by_employee_id("E1").is_some());
}

#[tokio::test]
async fn delays_change_while_it_runs() {
    let client = start(plain()).await;
    let order = json!({"processing-seconds": 0, "log-seconds": 0});
    let state = client.admin(Method::POST, "inbound", order).await;
    assert_eq!((&state["processingSeconds"], &state["logSeconds"]), (&json!(0), &json!(0)));
    client.upload(&[person("E1", &json!({}))]).await;
    assert_eq!(client.log("").await.body["value"].as_array().unwrap().len(), 1);
    let state = client.admin(Method::GET, "state", json!({})).await;
    assert_eq!(state["inbound"]["records"], 1);
}
