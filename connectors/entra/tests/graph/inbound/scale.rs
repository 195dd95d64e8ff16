//! Ten thousand people within the limits.

use std::time::Duration;

use muster_connector::Error;
use muster_connector::{Effect, OperationId, Outcome, Resolution};

use super::house::{confirm, no_violations, open, options};
use super::people;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_people_arrive_and_are_confirmed_without_a_violation() {
    let house = open(options()).await;
    let connector = house.connect();
    // The network is not at its best.
    house.faults(&[
        "throttle:path=bulkUpload,after=20,times=2,retry-after=7",
        "unauthorized:path=bulkUpload,after=60,times=1",
        "throttle:path=auditLogs/provisioning,after=3,times=1,retry-after=10",
    ]);
    let names: Vec<String> = (0..10_000).map(|number| format!("P{number}")).collect();
    let mut tickets: Vec<(OperationId, String)> = Vec::new();
    for chunk in names.chunks(50) {
        let ids: Vec<&str> = chunk.iter().map(String::as_str).collect();
        let batch = people(&ids);
        let outcomes = loop {
            match connector.target().unwrap().apply(&batch).await {
                Ok(outcomes) => break outcomes,
                Err(Error::Throttled { after, .. }) => house.pass(after),
                Err(other) => panic!("{other:?}"),
            }
        };
        tickets.extend(outcomes.into_iter().map(|(id, outcome)| match outcome {
            Outcome::Accepted { ticket, .. } => (id, ticket),
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(tickets.len(), 10_000);
    house.pass(Duration::from_secs(400));
    // As a host asks: in chunks, and again for those still pending.
    let (mut confirmed, mut waiting, mut rounds) = (0, tickets, 0);
    while !waiting.is_empty() {
        let mut pending = Vec::new();
        for chunk in waiting.chunks(1_000) {
            for (ticket, resolution) in chunk.iter().zip(confirm(&connector, chunk).await) {
                match resolution {
                    Resolution::Known(Outcome::Applied(effect)) if effect == Effect::default() => confirmed += 1,
                    Resolution::Pending { .. } => pending.push(ticket.clone()),
                    other => panic!("{other:?}"),
                }
            }
        }
        waiting = pending;
        rounds += 1;
        assert!(rounds < 10, "{} are still pending", waiting.len());
        house.pass(Duration::from_secs(300));
    }
    assert_eq!((confirmed, house.sandbox.directory().user_count()), (10_000, 10_000));
    assert_eq!(house.violations(), no_violations());
    assert_eq!(house.sandbox.directory().violations(), Vec::<String>::new());
    let effort = connector.target().unwrap().effort("inbound_user", 1).await.unwrap().unwrap();
    assert!(effort.ends_with("1,797 are left today"), "200 batches, two refusals and a renewed token: {effort}");
}
