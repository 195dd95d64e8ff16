//! Microsoft Graph: group delta; memberships of large groups in slices.

use std::collections::{BTreeMap, BTreeSet};

use muster_sandbox::SandboxOptions;
use serde_json::json;

use crate::client::{Client, Round, plain, start};

type Memberships = BTreeMap<String, BTreeSet<String>>;

fn apply(state: &mut Memberships, round: &Round) {
    for entry in round.entries() {
        let id = entry["id"].as_str().unwrap();
        if entry.get("@removed").is_some() {
            state.remove(id);
            continue;
        }
        let members = state.entry(id.to_owned()).or_default();
        for member in entry["members@delta"].as_array().into_iter().flatten() {
            let member_id = member["id"].as_str().unwrap().to_owned();
            assert!(member["@odata.type"].as_str().unwrap().starts_with("#microsoft.graph."));
            if member.get("@removed").is_some() {
                members.remove(&member_id);
            } else {
                members.insert(member_id);
            }
        }
    }
}

fn truth(client: &Client) -> Memberships {
    let directory = client.sandbox.directory();
    let ids = directory.groups().into_iter().map(|group| group["id"].as_str().unwrap().to_owned());
    ids.map(|id| (id.clone(), directory.members(&id).unwrap().into_iter().collect())).collect()
}

#[tokio::test]
async fn slices_add_up_to_exactly_the_memberships() {
    let client = start(SandboxOptions { member_slice: 7, group_page_size: 5, groups: 30, ..plain() }).await;
    let round = client.round("/groups/delta").await;
    let mut state = Memberships::new();
    apply(&mut state, &round);
    assert_eq!(state, truth(&client));
    let largest = state.iter().max_by_key(|(_, members)| members.len()).unwrap();
    assert_eq!(largest.1.len(), 200);
    assert!(state.values().any(BTreeSet::is_empty));
    let pages: Vec<usize> = (0..round.pages.len())
        .filter(|&page| round.pages[page].iter().any(|entry| entry["id"] == *largest.0))
        .collect();
    assert!(pages.windows(2).any(|pair| pair[1] > pair[0] + 1), "not only on neighbouring pages: {pages:?}");
    assert!(round.entries().all(|entry| entry["members@delta"].as_array().is_none_or(|slice| slice.len() <= 7)));
    assert!(
        round
            .entries()
            .flat_map(|entry| entry["members@delta"].as_array())
            .flatten()
            .any(|member| member["@odata.type"] == "#microsoft.graph.group"),
        "some groups are nested"
    );
}

#[tokio::test]
async fn the_next_round_tells_exactly_what_changed() {
    let client = start(SandboxOptions { member_slice: 10, ..plain() }).await;
    let directory = client.sandbox.directory();
    let first = client.round("/groups/delta?$select=displayName,members").await;
    let mut state = Memberships::new();
    apply(&mut state, &first);

    let groups: Vec<String> = directory.groups().iter().map(|group| group["id"].as_str().unwrap().to_owned()).collect();
    let users = directory.user_ids();
    let outsiders: Vec<&String> = users.iter().filter(|user| !state[&groups[3]].contains(*user)).take(25).collect();
    for user in &outsiders {
        directory.add_member(&groups[3], user).unwrap();
    }
    directory.remove_member(&groups[3], outsiders[0]).unwrap();
    directory.patch_group(&groups[5], &json!({"displayName": "Renamed"})).unwrap();
    directory.patch_group(&groups[6], &json!({"description": "not selected"})).unwrap();
    let unified = directory.groups().iter().find(|group| group["mailEnabled"] == true).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    directory.delete_group(&unified).unwrap();
    directory.delete_group(&groups[8]).unwrap();
    let leaver = state[&groups[0]].iter().find(|user| !outsiders.contains(user)).unwrap().clone();
    directory.delete_user(&leaver).unwrap();

    let round = client.round(&first.link).await;
    assert_eq!(round.entry(&unified), &json!({"id": unified, "@removed": {"reason": "changed"}}));
    assert_eq!(round.entry(&groups[8])["@removed"]["reason"], "deleted");
    assert_eq!(round.entry(&groups[5])["displayName"], "Renamed");
    assert!(round.entry(&groups[5]).get("members@delta").is_none());
    assert!(!round.ids().contains(&groups[6].as_str()));
    assert!(!round.ids().contains(&groups[0].as_str()), "who is in the recycle bin keeps its memberships");
    apply(&mut state, &round);
    assert_eq!(state, truth(&client));

    directory.purge_user(&leaver).unwrap();
    let round = client.round(&round.link).await;
    assert_eq!(round.entry(&groups[0])["members@delta"][0]["id"], leaver.as_str());
    apply(&mut state, &round);
    assert_eq!(state, truth(&client));
    assert_eq!(client.round(&round.link).await.entries().count(), 0);
}
