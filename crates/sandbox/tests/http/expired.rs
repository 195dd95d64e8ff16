//! Microsoft Graph: delta query overview, "token duration" and "synchronization reset".

use std::time::Duration;

use muster_sandbox::{ExpiredForm, Fault, FaultKind, SandboxOptions};

use crate::client::{plain, start};

#[tokio::test]
async fn links_older_than_a_week_and_page_tokens_older_than_minutes_are_refused() {
    for (form, code) in [(ExpiredForm::NotFound, "syncStateNotFound"), (ExpiredForm::Older, "Request_UnsupportedQuery")]
    {
        let client =
            start(SandboxOptions { expired_form: form, page_size: 150, token_seconds: u64::MAX, ..plain() }).await;
        let first = client.get("/users/delta").await;
        let page = first.body["@odata.nextLink"].as_str().unwrap();
        let link = client.round(page).await.link;
        client.sandbox.advance_clock(Duration::from_secs(21 * 60));
        let late = client.get(page).await;
        assert_eq!((late.status, late.code()), (400, "Directory_ExpiredPageToken"));
        assert_eq!(client.get(&link).await.status, 200);
        client.sandbox.advance_clock(Duration::from_secs(7 * 86_400));
        let late = client.get(&link).await;
        assert_eq!((late.status, late.code()), (400, code));
    }
}

#[tokio::test]
async fn a_reset_says_where_to_start_again() {
    let client = start(plain()).await;
    let link = client.round("/users/delta?$select=displayName,manager").await.link;
    client.sandbox.faults().add(Fault::new(FaultKind::Expired).form(ExpiredForm::Gone));
    assert_eq!(client.get("/users/delta").await.status, 200, "only a link can be expired");
    let gone = client.get(&link).await;
    assert_eq!((gone.status, gone.code()), (410, "resyncRequired"));
    let restart = gone.header("location").to_owned();
    assert!(restart.ends_with("/v1.0/users/delta?$select=displayName,manager&$deltatoken="), "{restart}");
    let round = client.round(&restart).await;
    assert_eq!(round.ids().len(), 200);
    assert!(round.entries().any(|entry| entry.get("manager@delta").is_some()));

    client.sandbox.faults().add(Fault::new(FaultKind::Expired).form(ExpiredForm::Older));
    let older = client.get(&link).await;
    assert_eq!(older.body["error"]["message"], "DeltaLink older than 30 days is not supported.");
    assert_eq!(client.get(&link).await.status, 200);
}
