//! Large tenants start at once and answer quickly.

use std::time::{Duration, Instant};

use muster_sandbox::{Sandbox, SandboxOptions};

use crate::client::{plain, start};

const SELECT: &str = "accountEnabled,displayName,givenName,surname,userPrincipalName,mail,employeeId,department,jobTitle,\
                      companyName,officeLocation,mobilePhone,city,country,employeeHireDate,manager";

#[tokio::test]
async fn a_hundred_thousand_users_are_there_at_once() {
    let begun = Instant::now();
    let client = start(SandboxOptions { users: 100_000, groups: 200, ..plain() }).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(client.sandbox.directory().user_count(), 100_000);
    let page = client.get(&format!("/users/delta?$select={SELECT}")).await;
    assert_eq!(page.body["value"].as_array().unwrap().len(), 999);
    let number = client.get("/users?$filter=employeeId eq '10054321'&$select=employeeId").await;
    assert_eq!(number.body["value"][0]["employeeId"], "10054321");
}

/// Not a check but a measurement: `cargo test --release -p muster-sandbox --test http -- --ignored --nocapture measure`.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_a_million_users() {
    let begun = Instant::now();
    let client = start(SandboxOptions { users: 1_000_000, groups: 1_000, ..plain() }).await;
    println!("start with 1,000,000 users: {:?}", begun.elapsed());
    let mut next = client.url(&format!("/users/delta?$select={SELECT}"));
    let (mut spent, mut bytes) = (Duration::ZERO, 0);
    for _ in 0..200 {
        let begun = Instant::now();
        let answer = client.http.get(&next).bearer_auth(&client.token).send().await.unwrap();
        let body = answer.bytes().await.unwrap();
        spent += begun.elapsed();
        bytes += body.len();
        let page: serde_json::Value = serde_json::from_slice(&body).unwrap();
        page["@odata.nextLink"].as_str().unwrap().clone_into(&mut next);
    }
    let mut link = client.round("/users/delta?$select=displayName,department,jobTitle&$deltatoken=latest").await.link;
    for _ in 0..2 {
        let begun = Instant::now();
        client.sandbox.directory().churn(100_000);
        let churned = begun.elapsed();
        let round = client.round(&link).await;
        println!(
            "100,000 changes: {churned:?}; a round of {} entries: {:?}",
            round.entries().count(),
            begun.elapsed() - churned
        );
        link = round.link;
    }
    println!("a page of 999 users with 16 properties: {:?}, {} bytes", spent / 200, bytes / 200);
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_by_name() {
    let refused = async |options: SandboxOptions| Sandbox::start(options).await.err().unwrap().to_string();
    let error = refused(SandboxOptions { page_size: 0, ..plain() }).await;
    assert_eq!(error, "page_size = 0 is out of range (1 to 100000)");
    let error = refused(SandboxOptions { users: 60_000_000, ..plain() }).await;
    assert_eq!(error, "users = 60000000 is out of range (at most 50 million)");
    let taken = Sandbox::start(plain()).await.unwrap();
    let port = taken.facts().authority.rsplit_once(':').unwrap().1.parse().unwrap();
    let error = refused(SandboxOptions { port, ..plain() }).await;
    assert_eq!(
        error,
        format!("cannot listen on 127.0.0.1:{port}; end what uses this port, or choose another one with --port")
    );
    let begun = Instant::now();
    taken.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}
