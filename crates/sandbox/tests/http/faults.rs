//! What goes wrong on purpose, and what the sandbox notices.

use std::time::{Duration, Instant};

use muster_sandbox::{Fault, FaultKind, RetryAfter};
use reqwest::Method;
use serde_json::json;

use crate::client::{plain, start};

#[tokio::test]
async fn throttling_counts_down_and_notices_the_impatient() {
    let client = start(plain()).await;
    let faults = client.sandbox.faults();
    let fault = Fault::new(FaultKind::Throttle).on("users/delta").after(1).times(2);
    faults.add(fault.retry_after(RetryAfter::Seconds(30)));
    assert_eq!(client.get("/users/delta").await.status, 200);
    let throttled = client.get("/users/delta()").await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, "30"));
    assert_eq!(client.get("/groups/delta").await.status, 200, "another path");
    assert_eq!(client.get("/users/delta").await.status, 429);
    assert_eq!(client.get("/users/delta").await.status, 200);
    let violations = client.sandbox.directory().violations();
    assert_eq!(violations.len(), 2, "{violations:?}");
    client.sandbox.advance_clock(Duration::from_secs(31));
    client.get("/users/delta").await;
    assert_eq!(client.sandbox.directory().violations().len(), 2);
    assert_eq!(client.sandbox.directory().requests()["/v1.0/users/delta"], 5);

    for (wait, header) in [(RetryAfter::Missing, ""), (RetryAfter::Zero, "0"), (RetryAfter::Absurd, "99999999")] {
        faults.set(vec![Fault::new(FaultKind::Throttle).retry_after(wait)].into());
        assert_eq!(client.get("/users").await.header("retry-after"), header);
    }
    faults.set(vec![Fault::new(FaultKind::Throttle).retry_after(RetryAfter::Date(5))].into());
    assert!(client.get("/users").await.header("retry-after").ends_with(" GMT"));
}

#[tokio::test]
async fn answers_can_be_spoiled_in_every_way() {
    let client = start(plain()).await;
    let faults = client.sandbox.faults();
    let raw = async |spec: &str| {
        faults.set(vec![spec.parse().unwrap()].into());
        client.http.get(client.url("/users/delta")).bearer_auth(&client.token).send().await.unwrap()
    };
    assert_eq!(raw("error:status=504").await.status(), 504);
    assert_eq!(raw("error").await.json::<serde_json::Value>().await.unwrap()["error"]["code"], "serviceNotAvailable");
    assert_eq!(raw("unauthorized").await.status(), 401);
    assert!(raw("cut").await.bytes().await.is_err());
    assert!(raw("broken-gzip").await.bytes().await.is_err());
    assert!(raw("broken-json").await.json::<serde_json::Value>().await.unwrap_err().is_decode());
    let html = raw("html").await;
    assert_eq!(
        (html.status().as_u16(), html.headers()["content-type"].to_str().unwrap()),
        (200, "text/html; charset=utf-8")
    );
    let elsewhere = raw("redirect:to=http://127.0.0.2:9/x").await;
    assert_eq!(
        (elsewhere.status().as_u16(), elsewhere.headers()["location"].to_str().unwrap()),
        (307, "http://127.0.0.2:9/x")
    );
    let begun = Instant::now();
    raw("stall:seconds=1").await;
    assert!(begun.elapsed() >= Duration::from_secs(1));

    faults.set(vec!["page-loop".parse().unwrap()].into());
    let page = client.get("/users/delta").await;
    let looped = client.get(page.body["@odata.nextLink"].as_str().unwrap()).await;
    assert_eq!(looped.body["value"], page.body["value"]);
    faults.set(vec!["replay".parse().unwrap()].into());
    assert_eq!(client.get("/users/delta").await.body["value"].as_array().unwrap().len(), 400);
    assert_eq!(faults.struck(), 1);
    faults.set(vec!["empty".parse().unwrap()].into());
    let empty = client.get("/users/delta").await.body;
    assert_eq!((empty["value"].as_array().unwrap().len(), empty["@odata.deltaLink"].is_string()), (0, true));
}

#[tokio::test]
async fn other_processes_set_faults_and_look_inside() {
    let client = start(plain()).await;
    let set =
        client.admin(Method::POST, "faults", json!({"what": "throttle", "path": "users", "retry-after": 2})).await;
    assert_eq!(set["faults"][0]["retry-after"], "2");
    assert_eq!(client.get("/users").await.status, 429);
    client.admin(Method::POST, "faults", json!({"faults": [{"what": "error", "times": 0}]})).await;
    assert_eq!(client.get("/users").await.status, 503);
    assert_eq!(client.get("/users").await.status, 503);
    client.admin(Method::DELETE, "faults", json!({})).await;
    assert_eq!(client.get("/users").await.status, 200);
    let bad = client.http.post(format!("{}/sandbox/faults", client.sandbox.facts().authority));
    assert_eq!(bad.json(&json!({"what": "boredom"})).send().await.unwrap().status(), 400);

    let before = client.admin(Method::GET, "state", json!({})).await;
    assert_eq!((&before["users"], &before["groups"]), (&json!(200), &json!(12)));
    assert_eq!(before["requests"]["/v1.0/users"], 4);
    assert_eq!(before["violations"].as_array().unwrap().len(), 3, "all three came within the two seconds");
    let churned = client.admin(Method::POST, "churn", json!({"changes": 25})).await;
    assert_eq!(churned["churned"], 25);
    assert_ne!(client.admin(Method::GET, "state", json!({})).await["changes"], before["changes"]);
}

#[tokio::test]
async fn the_token_endpoint_can_fail_too() {
    let client = start(plain()).await;
    client.sandbox.faults().add("error:path=oauth2/v2.0/token,status=503,retry-after=1".parse().unwrap());
    assert_eq!(client.get("/users").await.status, 200, "another path");
    let facts = client.sandbox.facts();
    let url = format!("{}/{}/oauth2/v2.0/token", facts.authority, facts.tenant);
    let answer = client.http.post(url).form(&[("grant_type", "client_credentials")]).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "1"));
}
