//! How each fault looks on the wire.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::spec::{ExpiredForm, Fault, FaultKind, RetryAfter};
use crate::graph::{DeltaMood, expired};
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::refusal::Refusal;
use crate::state::Shared;

/// What a fault does to a request.
pub(crate) enum Strike {
    /// The request is not carried out; this is the answer.
    Instead(Result<Reply, Refusal>),
    /// The request is carried out, in this mood and with this afterwards.
    Around(DeltaMood, After),
}

/// What a fault does to a finished answer.
pub(crate) enum After {
    Nothing,
    Stall(u64),
    Spoil(fn(Reply) -> Response<Body>),
}

const AN_HOUR: u64 = 3_600;
const ABSURD: &str = "99999999";
const PAGE_OF_A_PROXY: &str = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Please sign in to the network</h1></body></html>";

pub(crate) fn of(shared: &Shared, request: &Request, fault: Option<Fault>) -> Strike {
    let Some(fault) = fault else { return Strike::Around(DeltaMood::Normal, After::Nothing) };
    match fault.what {
        FaultKind::Throttle => Strike::Instead(Ok(refuse_for_now(
            shared,
            request,
            &Refusal::new(429, "TooManyRequests", "Too many requests."),
            fault.retry_after.unwrap_or(RetryAfter::Seconds(1)),
        ))),
        FaultKind::Error => {
            let status = fault.status.unwrap_or(503);
            let refusal = Refusal::new(
                status,
                code_of(status),
                "The service is not available. Try the request again after a delay.",
            );
            match fault.retry_after {
                Some(wait) => Strike::Instead(Ok(refuse_for_now(shared, request, &refusal, wait))),
                None => Strike::Instead(Err(refusal)),
            }
        }
        FaultKind::Unauthorized => Strike::Instead(Err(Refusal::new(
            401,
            "InvalidAuthenticationToken",
            "Access token has expired or is not yet valid.",
        ))),
        FaultKind::Expired => Strike::Instead(Err(expired(fault.form.unwrap_or(ExpiredForm::NotFound)))),
        FaultKind::Html => Strike::Instead(Ok(Reply::html(200, PAGE_OF_A_PROXY))),
        FaultKind::Redirect => Strike::Instead(Ok(Reply::empty(307).with("location", fault.to.unwrap_or_default()))),
        FaultKind::Stall => Strike::Around(DeltaMood::Normal, After::Stall(fault.seconds.unwrap_or(AN_HOUR))),
        FaultKind::Cut => Strike::Around(DeltaMood::Normal, After::Spoil(cut)),
        FaultKind::Lost => Strike::Around(DeltaMood::Normal, After::Spoil(lost)),
        FaultKind::BrokenGzip => Strike::Around(DeltaMood::Normal, After::Spoil(broken_gzip)),
        FaultKind::BrokenJson => Strike::Around(DeltaMood::Normal, After::Spoil(broken_json)),
        FaultKind::PageLoop => Strike::Around(DeltaMood::Loop, After::Nothing),
        FaultKind::Replay => Strike::Around(DeltaMood::Replay, After::Nothing),
        FaultKind::Empty => Strike::Around(DeltaMood::Empty, After::Nothing),
    }
}

fn code_of(status: u16) -> &'static str {
    match status {
        403 => "Authorization_RequestDenied",
        404 => "Directory_ObjectNotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalServerError",
        504 => "GatewayTimeout",
        509 => "bandwidthLimitExceeded",
        400..500 => "Request_BadRequest",
        _ => "serviceNotAvailable",
    }
}

fn refuse_for_now(shared: &Shared, request: &Request, refusal: &Refusal, wait: RetryAfter) -> Reply {
    let seconds = match wait {
        RetryAfter::Seconds(seconds) | RetryAfter::Date(seconds) => seconds.min(31_536_000),
        RetryAfter::Missing | RetryAfter::Zero | RetryAfter::Absurd => 0,
    };
    if seconds > 0 {
        // A date has no fraction, so the last second of it belongs to the client.
        let owed = if matches!(wait, RetryAfter::Date(_)) { (seconds - 1) * 1_000 } else { seconds * 1_000 };
        shared.traffic().close(&request.counted_path(), shared.clock.now_millis() + owed);
    }
    let reply = Reply::error(refusal, &crate::http::reply::Ids::of(request), &shared.clock);
    match wait {
        RetryAfter::Missing => reply,
        RetryAfter::Zero => reply.with("retry-after", "0"),
        RetryAfter::Absurd => reply.with("retry-after", ABSURD),
        RetryAfter::Seconds(_) => reply.with("retry-after", seconds.to_string()),
        RetryAfter::Date(_) => reply.with("retry-after", shared.clock.http_date(seconds)),
    }
}

/// Half the body, then the connection breaks off.
fn cut(mut reply: Reply) -> Response<Body> {
    let mut body = std::mem::take(&mut reply.body);
    let whole = body.len();
    body.truncate(whole / 2);
    let reply = reply.with("content-length", whole.to_string());
    let half: io::Result<Bytes> = Ok(Bytes::from(body));
    let end = async {
        // Without a pause the half would be thrown away together with the connection.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(io::ErrorKind::ConnectionReset.into())
    };
    reply.into_response(Body::from_stream(stream::iter([half]).chain(stream::once(end))))
}

/// Nothing, not even a status: what is not flushed yet goes down with the connection.
fn lost(mut reply: Reply) -> Response<Body> {
    reply.body.clear();
    let end: io::Result<Bytes> = Err(io::ErrorKind::ConnectionReset.into());
    reply.with("content-length", "1").into_response(Body::from_stream(stream::iter([end])))
}

fn broken_gzip(mut reply: Reply) -> Response<Body> {
    let mut body = vec![0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0xff];
    body.extend(std::mem::take(&mut reply.body).into_iter().take(512).map(|byte| byte ^ 0x5a));
    reply.with("content-encoding", "gzip").into_response(Body::from(body))
}

fn broken_json(mut reply: Reply) -> Response<Body> {
    let mut body = std::mem::take(&mut reply.body);
    body.truncate(body.len() / 2);
    reply.into_response(Body::from(body))
}
