//! `/health` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::board::{Board, Standing};
use super::metrics;
use crate::exit::Failure;

/// Listens. What is answered there has neither sign-in nor encryption.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "health and metrics can be read from other machines, without sign-in or encryption; see that a firewall or proxy stands before them"
        );
    }
    TcpListener::bind(address).await.map_err(|error| {
        let fix = "set [service] listen to another address, or to \"off\"";
        Failure::configuration(format!("service.listen: nothing can listen on {address}: {error}; {fix}"))
    })
}

/// Answers until the service ends.
pub(crate) async fn serve(listener: TcpListener, board: Arc<Board>) {
    let router = Router::new()
        .route("/health", get(health))
        .route("/metrics", get(scrape))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are /health and /metrics\n") })
        .with_state(board);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "health and metrics are answered no more");
    }
}

async fn health(State(board): State<Arc<Board>>) -> Response {
    let standing = board.lock().clone();
    let (is_healthy, document) = report(&standing, board.now(), board.unhealthy_after, board.clock().is_doubtful());
    let code = if is_healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(document)).into_response()
}

async fn scrape(State(board): State<Arc<Board>>) -> Response {
    let text = metrics::text(&board.lock().clone());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// Whether all is well, and what is not.
fn report(standing: &Standing, now: i64, unhealthy_after: i64, is_doubtful: bool) -> (bool, Value) {
    let seconds = |milliseconds: i64| milliseconds.max(0) / 1_000;
    let mut reasons = Vec::new();
    if let Some(problem) = &standing.state {
        reasons.push(json!({ "reason": "state", "problem": problem }));
    }
    let mut syncs = serde_json::Map::new();
    for (name, sync) in &standing.syncs {
        if let Some(failing) = &sync.failing
            && now - failing.since >= unhealthy_after
        {
            reasons.push(json!({
                "reason": "failing", "sync": name, "class": failing.class, "problem": failing.problem,
                "seconds": seconds(now - failing.since),
            }));
        }
        let counts = &sync.counts;
        syncs.insert(
            name.clone(),
            json!({
                "running": sync.is_running,
                "last_success": sync.last_success.map(super::time),
                "lag_seconds": sync.last_success.map(|last| seconds(now - last)),
                "failing": sync.failing.as_ref().map(|failing| json!({
                    "since": super::time(failing.since), "class": failing.class, "problem": failing.problem,
                })),
                "paused": sync.paused,
                "linked": counts.linked, "disabled": counts.disabled,
                "parked": counts.parked, "held": counts.held, "to_do": counts.dirty,
            }),
        );
    }
    let is_healthy = reasons.is_empty();
    let document = json!({
        "status": if is_healthy { "ok" } else { "unhealthy" },
        "version": env!("CARGO_PKG_VERSION"),
        "up_seconds": seconds(now - standing.started),
        "reasons": reasons,
        "clock_doubtful": is_doubtful,
        "syncs": syncs,
    });
    (is_healthy, document)
}

#[cfg(test)]
mod tests {
    use super::super::board::{Failing, SyncStanding};
    use super::*;

    #[test]
    fn a_failure_counts_once_it_lasts() {
        let failing = Failing { since: 10_000, class: "unreachable", problem: "no answer".to_owned() };
        let sync = SyncStanding { failing: Some(failing), last_success: Some(5_000), ..SyncStanding::default() };
        let mut standing = Standing { syncs: [("staff".to_owned(), sync)].into(), ..Standing::default() };
        let (is_healthy, document) = report(&standing, 19_999, 10_000, false);
        assert!(is_healthy);
        assert_eq!(document["syncs"]["staff"]["failing"]["class"], "unreachable");
        assert_eq!(document["syncs"]["staff"]["lag_seconds"], 14);
        let (is_healthy, document) = report(&standing, 20_000, 10_000, false);
        assert!(!is_healthy);
        assert_eq!((&document["status"], &document["reasons"][0]["sync"]), (&json!("unhealthy"), &json!("staff")));
        standing.syncs.clear();
        assert!(report(&standing, 20_000, 10_000, false).0);
        standing.state = Some("full".to_owned());
        assert!(!report(&standing, 20_000, 10_000, false).0);
    }
}
