//! The quota, over restarts and days, and what it means for a person.

use std::time::Duration;

use muster_connector::Error;
use serde_json::json;

use super::{connected, people};
use crate::peer::{Peer, Reply};
use crate::world::World;

/// Noon of the day on which simulated time begins, in milliseconds.
const NOON: i64 = 1_795_348_800_000;

fn used(folder: &std::path::Path, calls: u32) {
    let noted =
        json!({"buckets": {NOON.to_string(): calls}, "recent": [], "open": [], "closed_until": null, "running": false});
    std::fs::write(folder.join("calls.json"), noted.to_string()).unwrap();
}

#[tokio::test]
async fn the_last_call_of_the_day_is_the_last() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    for (licence, quota) in [("p1", 2_000), ("p2", 2_000), ("governance", 6_000)] {
        used(folder.path(), quota - 1);
        let connect = || connected(&world, &peer, folder.path(), json!({"licence": licence}));
        let before = peer.graph_calls().len();
        peer.answer([Reply::status(202, ""), Reply::status(202, "")]);
        assert!(connect().target().unwrap().apply(&people(&["E1"])).await.is_ok());
        // A process that has just been started counts on.
        let refused = connect().target().unwrap().apply(&people(&["E1"])).await;
        let Err(Error::Throttled { problem, after }) = refused else { panic!("{refused:?}") };
        assert!(problem.contains("24 hours"), "{problem}");
        assert!(after > Duration::from_secs(86_000) && after <= Duration::from_secs(86_700), "{after:?}");
        assert_eq!(peer.graph_calls().len() - before, 1, "nothing was sent");
        // At the day's end the door opens again.
        let later = World::new();
        later.advance(world.time() + after);
        let connector = connected(&later, &peer, folder.path(), json!({"licence": licence}));
        assert!(connector.target().unwrap().apply(&people(&["E1"])).await.is_ok());
        assert_eq!(peer.graph_calls().len() - before, 2);
    }
}

#[tokio::test]
async fn effort_says_calls_and_days() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    used(folder.path(), 250);
    let connector = connected(&world, &peer, folder.path(), json!({}));
    let effort = connector.target().unwrap().effort("inbound_user", 100_000).await.unwrap();
    assert_eq!(effort.as_deref(), Some("2,000 calls, 1 day: 1,750 are left today"));
    assert_eq!(peer.seen().len(), 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_told_before_anything_leaves() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let peer = Peer::start(&world).await;
    let connector = connected(&world, &peer, &folder.path().join("gone"), json!({}));
    let refused = connector.target().unwrap().apply(&people(&["E1"])).await;
    let Err(Error::Configuration { setting, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(setting.as_deref(), Some("inbound.calls_file"));
    assert_eq!(peer.graph_calls().len(), 0);
}
