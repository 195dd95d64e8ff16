//! Changes that happen by themselves, and that the same seed is the same tenant.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_sandbox::{Churn, Sandbox, SandboxOptions};
use serde_json::{Map, Value};

use crate::client::{Round, plain, start};

#[tokio::test]
async fn the_same_seed_and_numbers_are_the_same_tenant() {
    let facts = |sandbox: &Sandbox| {
        let directory = sandbox.directory();
        directory.churn(200);
        let mut users = directory.users();
        users.iter_mut().for_each(|user| drop(user.as_object_mut().unwrap().remove("deletedDateTime")));
        let groups = directory.groups();
        let members: Vec<_> = groups.iter().map(|group| directory.members(group["id"].as_str().unwrap())).collect();
        serde_json::to_string(&(users, groups, members, directory.deleted_user_ids(), sandbox.facts().client_secret))
            .unwrap()
    };
    let (one, two) = (Sandbox::start(plain()).await.unwrap(), Sandbox::start(plain()).await.unwrap());
    let other = Sandbox::start(SandboxOptions { seed: 2, ..plain() }).await.unwrap();
    let first = facts(&one);
    assert_eq!(first, facts(&two));
    assert_ne!(first, facts(&other));
    one.stop().await;
}

#[tokio::test]
async fn rounds_during_churn_lead_to_the_truth() {
    let client = start(SandboxOptions { page_size: 40, oddities: muster_sandbox::Oddities::modest(), ..plain() }).await;
    let directory = client.sandbox.directory();
    let mut state: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut link = "/users/delta?$select=displayName,department,city,officeLocation,accountEnabled,manager".to_owned();
    let minimal = [("Prefer", "return=minimal")];
    for turn in 0..6 {
        directory.churn(60);
        let round = client.round_with(&link, if turn % 2 == 0 { &[] } else { &minimal }).await;
        merge(&mut state, &round);
        link = round.link;
    }
    let ids = directory.user_ids();
    assert_eq!(state.len(), ids.len());
    for id in ids {
        let (own, told) = (directory.user(&id).unwrap(), &state[&id]);
        for name in ["displayName", "department", "city", "officeLocation", "accountEnabled"] {
            assert_eq!(told.get(name).unwrap_or(&Value::Null), &own[name], "{id} {name}");
        }
        assert_eq!(told.get("manager").and_then(Value::as_str).map(str::to_owned), directory.manager(&id), "{id}");
    }
}

fn merge(state: &mut BTreeMap<String, Map<String, Value>>, round: &Round) {
    for entry in round.entries() {
        let id = entry["id"].as_str().unwrap().to_owned();
        if entry.get("@removed").is_some() {
            state.remove(&id);
            continue;
        }
        let own = state.entry(id).or_default();
        for (name, value) in entry.as_object().unwrap() {
            if name == "manager@delta" {
                let gone = value[0].get("@removed").is_some();
                own.insert("manager".to_owned(), if gone { Value::Null } else { value[0]["id"].clone() });
            } else {
                own.insert(name.clone(), value.clone());
            }
        }
    }
}

#[tokio::test]
async fn churn_goes_on_by_itself() {
    let churn = Some(Churn { changes_per_second: 1_000.0 });
    let client = start(SandboxOptions { churn, ..plain() }).await;
    let mut link = client.round("/users/delta").await.link;
    let begun = Instant::now();
    loop {
        let round = client.round(&link).await;
        if round.entries().count() > 0 {
            break;
        }
        link = round.link;
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing changed");
    }
}
