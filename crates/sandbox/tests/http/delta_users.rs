//! Microsoft Graph: delta query overview; user delta.

use std::collections::{BTreeMap, BTreeSet};

use muster_sandbox::{Oddities, SandboxOptions};
use serde_json::{Value, json};

use crate::client::{new_user, plain, start};

#[tokio::test]
async fn the_first_round_tells_of_everybody_once_and_of_nothing_else() {
    let client = start(SandboxOptions { page_size: 30, ..plain() }).await;
    let round = client.round("/users/delta?$select=displayName,employeeId,manager,userType").await;
    assert_eq!(round.pages.len(), 7);
    let directory = client.sandbox.directory();
    let mut ids = directory.user_ids();
    ids.sort_unstable();
    assert_eq!(round.ids(), ids);
    for entry in round.entries() {
        let id = entry["id"].as_str().unwrap();
        let own = directory.user(id).unwrap();
        assert_eq!(entry["displayName"], own["displayName"]);
        // Never set: absent, not null. Guests have no number.
        assert_eq!(entry.get("employeeId").is_none(), own["employeeId"].is_null());
        assert_eq!(entry["userType"] == "Guest", entry.get("employeeId").is_none());
        let manager = entry["manager@delta"][0]["id"].as_str().map(str::to_owned);
        assert_eq!(manager, directory.manager(id));
        assert!(entry.get("mail").is_none(), "not selected");
    }
    let first = client.get("/users/delta?$select=displayName,surname").await;
    let context = first.body["@odata.context"].as_str().unwrap();
    assert!(context.ends_with("/v1.0/$metadata#users(displayName,surname)"), "{context}");
}

#[tokio::test]
async fn the_next_round_tells_exactly_what_changed() {
    let client = start(plain()).await;
    let directory = client.sandbox.directory();
    let by_number = |number: &str| directory.id_by_employee_id(number).unwrap();
    let (mover, leaver, purged, back) =
        (by_number("10000012"), by_number("10000014"), by_number("10000049"), by_number("10000018"));
    let (cleared, quiet, led) = (by_number("10000021"), by_number("10000022"), by_number("10000025"));
    directory.patch_user(&quiet, &json!({"city": "Utrecht"})).unwrap();
    directory.delete_user(&back).unwrap();

    let first = client.round("/users/delta?$select=displayName,department,jobTitle,manager").await;
    let empty = client.round(&first.link).await;
    assert_eq!(empty.ids().len(), 0);

    let joiner = directory.create_user(&new_user("Zita")).unwrap();
    directory.patch_user(&mover, &json!({"department": "Legal"})).unwrap();
    directory.patch_user(&cleared, &json!({"jobTitle": null})).unwrap();
    directory.patch_user(&quiet, &json!({"city": "Gouda"})).unwrap();
    directory.delete_user(&leaver).unwrap();
    directory.delete_user(&purged).unwrap();
    directory.purge_user(&purged).unwrap();
    directory.restore_user(&back).unwrap();
    directory.set_manager(&led, None).unwrap();

    let round = client.round(&empty.link).await;
    let expected = BTreeSet::from([&joiner, &mover, &cleared, &leaver, &purged, &back, &led]);
    assert_eq!(
        round.entries().map(|entry| entry["id"].as_str().unwrap()).collect::<BTreeSet<_>>(),
        expected.iter().map(|id| id.as_str()).collect()
    );
    assert_eq!(round.entry(&leaver), &json!({"id": leaver, "@removed": {"reason": "changed"}}));
    assert_eq!(round.entry(&purged), &json!({"id": purged, "@removed": {"reason": "deleted"}}));
    assert_eq!(round.entry(&mover)["department"], "Legal");
    assert!(round.entry(&mover)["displayName"].is_string(), "unchanged ones are repeated without return=minimal");
    assert!(round.entry(&mover).get("manager@delta").is_none(), "an unchanged relationship is not");
    assert_eq!(round.entry(&cleared).get("jobTitle"), Some(&Value::Null));
    assert!(round.entry(&back)["displayName"].is_string());
    assert_eq!(round.entry(&joiner).get("department"), None);
    assert_eq!(round.entry(&led)["manager@delta"][0]["@removed"], json!({"reason": "deleted"}));

    let minimal = client.round_with(&empty.link, &[("Prefer", "return=minimal")]).await;
    assert_eq!(minimal.ids(), round.ids());
    assert_eq!(minimal.entry(&mover), &json!({"id": mover, "department": "Legal"}));
    assert_eq!(minimal.entry(&cleared), &json!({"id": cleared, "jobTitle": null}));
    assert_eq!(client.round(&round.link).await.ids().len(), 0);
}

#[tokio::test]
async fn purging_a_manager_is_told_of_those_who_reported_to_it() {
    let client = start(plain()).await;
    let directory = client.sandbox.directory();
    let manager = directory.id_by_employee_id("10000003").unwrap();
    let reports: BTreeSet<String> =
        directory.user_ids().into_iter().filter(|id| directory.manager(id).as_ref() == Some(&manager)).collect();
    assert!(reports.len() > 5);
    let first = client.round("/users/delta?$select=manager").await;
    directory.delete_user(&manager).unwrap();
    directory.purge_user(&manager).unwrap();
    let round = client.round(&first.link).await;
    let told = round.entries().filter(|entry| entry["manager@delta"][0]["@removed"].is_object());
    assert_eq!(told.map(|entry| entry["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(), reports);
}

#[tokio::test]
async fn every_spelling_of_the_call_is_understood_and_nothing_unsupported_is_ignored() {
    let client = start(plain()).await;
    for path in [
        "/users/delta()",
        "/users/microsoft.graph.delta()?%24select=displayName",
        "/users/delta?$SELECT=DisplayName,accountEnabled",
    ] {
        assert_eq!(client.round(path).await.ids().len(), 200, "{path}");
    }
    let beta = client.sandbox.facts().graph_url.replace("v1.0", "beta");
    assert!(client.round(&format!("{beta}/users/delta")).await.link.contains("/beta/users/delta?$deltatoken="));
    for (path, code) in [
        ("/users/delta?$select=signInActivity", "BadRequest"),
        ("/users/delta?$select=displayName,shoeSize", "BadRequest"),
        ("/users/delta?$expand=manager", "Request_UnsupportedQuery"),
        ("/users/delta?$top=5", "Request_UnsupportedQuery"),
        ("/users/delta?$orderby=displayName", "Request_UnsupportedQuery"),
        ("/users/delta?$filter=displayName%20eq%20'a'", "Request_UnsupportedQuery"),
        ("/users/delta?$deltatoken=nonsense", "BadRequest"),
    ] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{path}");
    }
    let refused = client.get("/users/delta?$select=signInActivity").await;
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("is not supported for the following properties: signInActivity"), "{message}");
    let link = client.round("/users/delta").await.link;
    assert_eq!(client.get(&format!("{link}&$select=mail")).await.status, 400);
}

#[tokio::test]
async fn a_round_can_be_about_some_ids_or_begin_now() {
    let client = start(plain()).await;
    let directory = client.sandbox.directory();
    let ids = directory.user_ids();
    let filter = format!("/users/delta?$filter=id eq '{}' or id eq '{}'", ids[3], ids[7]);
    let some = client.round(&filter).await;
    assert_eq!(some.entries().count(), 2);
    let now = client.get("/users/delta?$select=city&$deltatoken=latest").await;
    assert_eq!(now.body["value"], json!([]));

    for id in &ids[3..6] {
        directory.patch_user(id, &json!({"city": "Delft", "displayName": "Somebody"})).unwrap();
    }
    assert_eq!(client.round(&some.link).await.ids(), [ids[3].as_str()]);
    let round = client.round(now.body["@odata.deltaLink"].as_str().unwrap()).await;
    assert_eq!(round.entries().count(), 3);
    assert!(round.entries().all(|entry| entry.get("displayName").is_none() && entry["city"] == "Delft"));
    let many = vec![format!("id eq '{}'", ids[0]); 51].join(" or ");
    assert_eq!(client.get(&format!("/users/delta?$filter={many}")).await.status, 400);
}

#[tokio::test]
async fn oddities_change_nothing_about_the_outcome() {
    let oddities =
        Oddities { empty_pages_percent: 50, repeats_percent: 50, reorder: true, removed_in_first_round: true };
    let client = start(SandboxOptions { page_size: 10, oddities, ..plain() }).await;
    let directory = client.sandbox.directory();
    let deleted = directory.user_ids()[5].clone();
    directory.delete_user(&deleted).unwrap();
    let round = client.round("/users/delta?$select=displayName").await;
    assert!(round.pages.iter().any(Vec::is_empty));
    assert!(round.entries().any(|entry| entry["@removed"]["reason"] == "deleted"));
    assert_eq!(round.entry(&deleted)["@removed"]["reason"], "changed");
    let mut merged = BTreeMap::new();
    let mut seen = 0;
    for entry in round.entries() {
        let id = entry["id"].as_str().unwrap();
        if entry.get("@removed").is_some() {
            merged.remove(id);
        } else {
            seen += 1;
            merged.insert(id, &entry["displayName"]);
        }
    }
    assert!(seen > merged.len(), "something was repeated");
    assert_eq!(merged.len(), directory.user_count());
}
