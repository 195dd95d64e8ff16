//! Where every request arrives: counted, struck by faults, answered by the part it belongs to.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};

use super::reply::{Ids, Reply};
use super::request::Request;
use crate::faults::effect::{self, After, Strike};
use crate::graph::{self, DeltaMood};
use crate::refusal::Refusal;
use crate::state::Shared;
use crate::{admin, provisioning, sign_in};

/// Graph refuses request bodies above 4 MB.
const LONGEST_BODY: usize = 4 * 1024 * 1024;

pub(crate) async fn receive(State(shared): State<Arc<Shared>>, incoming: axum::extract::Request) -> Response<Body> {
    let (parts, body) = incoming.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return Reply::empty(413).into_response(Body::empty());
    };
    let origin = origin(&shared, &parts.headers);
    let request = Request::new(parts.method.to_string(), &parts.uri, parts.headers, body, origin);
    // Pages are computed, which takes milliseconds: too long for the threads that move bytes.
    let worked = tokio::task::spawn_blocking(move || answer(&shared, &request)).await;
    let (reply, after) = worked.unwrap_or_else(|_| (Reply::empty(500), After::Nothing));
    send(reply, after).await
}

fn answer(shared: &Arc<Shared>, request: &Request) -> (Reply, After) {
    provisioning::catch_up(shared);
    if request.is_admin() {
        return (admin::answer(shared, request), After::Nothing);
    }
    shared.traffic().record(&request.method, &request.counted_path(), shared.clock.now_millis());
    let ids = Ids::of(request);
    let fault = shared.faults().strike(request);
    match effect::of(shared, request, fault) {
        Strike::Instead(reply) => (finish(shared, request, &ids, reply), After::Nothing),
        Strike::Around(mood, after) => (reply_to(shared, request, &ids, mood), after),
    }
}

fn reply_to(shared: &Arc<Shared>, request: &Request, ids: &Ids, mood: DeltaMood) -> Reply {
    if !request.is_graph() {
        return sign_in::answer(shared, request);
    }
    finish(shared, request, ids, graph::answer(shared, request, mood))
}

fn finish(shared: &Shared, request: &Request, ids: &Ids, answered: Result<Reply, Refusal>) -> Reply {
    let reply = answered.unwrap_or_else(|refusal| {
        let reply = Reply::error(&refusal, ids, &shared.clock);
        // Where to start again (Microsoft Graph: delta query overview, "synchronization reset").
        if refusal.status == 410 { reply.with("location", graph::restart_link(shared, request)) } else { reply }
    });
    reply.with_ids(ids).with("date", shared.clock.http_date(0))
}

async fn send(reply: Reply, after: After) -> Response<Body> {
    match after {
        After::Nothing => {}
        After::Stall(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        After::Spoil(spoiler) => return spoiler(reply),
    }
    let mut reply = reply;
    let body = std::mem::take(&mut reply.body);
    reply.into_response(Body::from(body))
}

/// Links lead back to where the client came from, which may be a proxy on loopback, but nowhere else.
fn origin(shared: &Shared, headers: &HeaderMap) -> String {
    let own = &shared.facts.authority;
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !matches!(name, "localhost" | "127.0.0.1") {
        return own.clone();
    }
    let scheme = own.split_once("://").map_or("http", |(scheme, _)| scheme);
    format!("{scheme}://{host}")
}
