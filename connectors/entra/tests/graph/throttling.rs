//! Being asked to wait: in both forms, in place or by the host, and never called before.

use std::time::Duration;

use muster_connector::Error;

use crate::peer::Reply;
use crate::world::{first, last_page, start};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn waits_as_asked() {
    let busy = |status: u16| Reply::error(status, "TooManyRequests", "slow down");
    let date = |reply: Reply| reply.with("Date", "Sun, 22 Nov 2026 09:00:00 GMT");
    let cases = [
        ("seconds", busy(429).with("Retry-After", "17"), seconds(17)),
        (
            "date, by the server's clock",
            date(busy(429)).with("Retry-After", "Sun, 22 Nov 2026 09:00:42 GMT"),
            seconds(42),
        ),
        ("date, by ours", busy(429).with("Retry-After", "Sun, 22 Nov 2026 12:00:09 GMT"), seconds(9)),
        ("zero", busy(429).with("Retry-After", "0"), seconds(1)),
        ("missing", busy(429), seconds(1)),
        ("nonsense", busy(429).with("Retry-After", "soon"), seconds(1)),
        ("503 with a pause", busy(503).with("Retry-After", "30"), seconds(30)),
        ("504 without", busy(504), seconds(1)),
    ];
    for (what, reply, pause) in cases {
        let (_, peer, connector) = start().await;
        peer.answer([reply, last_page()]);
        first(&connector).await.unwrap();
        let calls = peer.graph_calls();
        assert_eq!(calls.len(), 2, "{what}");
        assert_eq!(calls[1].at - calls[0].at, pause, "{what}");
    }
}

#[tokio::test]
async fn pauses_grow_when_nothing_is_said() {
    let (_, peer, connector) = start().await;
    peer.answer([429, 429, 429, 429].map(|status| Reply::error(status, "TooManyRequests", "")));
    peer.answer([last_page()]);
    first(&connector).await.unwrap();
    let at: Vec<u64> = peer.graph_calls().iter().map(|call| call.at.as_secs()).collect();
    assert_eq!(at, [0, 1, 3, 7, 15]);
}

#[tokio::test]
async fn a_long_pause_is_the_hosts_and_nobody_calls_before() {
    let (world, peer, connector) = start().await;
    peer.answer([Reply::error(429, "TooManyRequests", "").with("Retry-After", "900"), last_page()]);
    assert!(matches!(first(&connector).await, Err(Error::Throttled { after, .. }) if after == seconds(900)));
    world.advance(seconds(400));
    assert!(matches!(first(&connector).await, Err(Error::Throttled { after, .. }) if after == seconds(500)));
    assert_eq!(peer.graph_calls().len(), 1, "asked again too early");
    world.advance(seconds(300));
    first(&connector).await.unwrap();
    assert!(peer.graph_calls()[1].at >= seconds(900));
}

#[tokio::test]
async fn an_absurd_pause_is_bounded() {
    let (_, peer, connector) = start().await;
    peer.answer([Reply::error(429, "TooManyRequests", "").with("Retry-After", "99999999999999999999")]);
    assert!(matches!(first(&connector).await, Err(Error::Throttled { after, .. }) if after == seconds(3_600)));
}

#[tokio::test]
async fn endless_throttling_goes_back_to_the_host() {
    let (world, peer, connector) = start().await;
    peer.answer((0..100).map(|_| Reply::error(429, "TooManyRequests", "").with("Retry-After", "60")));
    assert!(matches!(first(&connector).await, Err(Error::Throttled { .. })));
    assert!(world.time() <= seconds(360), "{:?}", world.time());
}

#[tokio::test]
async fn a_failing_service_is_asked_a_few_times() {
    let (_, peer, connector) = start().await;
    peer.answer((0..100).map(|_| Reply::error(500, "InternalServerError", "oops")));
    match first(&connector).await {
        Err(Error::Unreachable { problem, nothing_sent: true }) => assert!(problem.contains("oops"), "{problem}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(peer.graph_calls().len(), 5);
}

#[tokio::test]
async fn what_one_call_was_told_holds_for_its_neighbour() {
    let (_, peer, connector) = start().await;
    peer.answer([Reply::error(429, "TooManyRequests", "").with("Retry-After", "20"), last_page(), last_page()]);
    first(&connector).await.unwrap();
    first(&connector).await.unwrap();
    assert!(peer.graph_calls()[1..].iter().all(|call| call.at >= seconds(20)));
}
