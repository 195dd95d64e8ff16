//! One `$batch` of writes, sent once.

use std::time::Duration;

use muster_connector::Error;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;

use super::draft::Request;
use crate::batch::{Response, Responses};
use crate::error::Refusal;
use crate::http::{Broken, MAX_PAGE, exchange};
use crate::session::{Session, not_accepted, proxy_sign_in};

/// What a call came to.
pub(super) enum Sent {
    /// Each response carries the position of its request as its id.
    Answered(Vec<Response>),
    /// Some of it may have taken effect.
    Lost(String),
    /// Nothing of it took effect, and it may be sent again after this long.
    Later(Option<Duration>, String),
    /// Graph does not take the call as it is; nothing of it took effect.
    Refused(String),
    /// Nothing of it took effect.
    Failed(Error),
}

/// Sends requests in one call. Only what certainly had no effect is sent again here.
pub(super) async fn call(session: &Session, requests: &[&Request]) -> Sent {
    let parts: Vec<_> = requests.iter().enumerate().map(|(position, request)| request.part(position)).collect();
    let body = match serde_json::to_vec(&json!({ "requests": parts })) {
        Ok(body) => body,
        Err(error) => return Sent::Failed(Error::Bug(format!("the batch cannot be written: {error}"))),
    };
    let mut renewed = false;
    loop {
        let refusal = match once(session, &body).await {
            Ok(sent) => return sent,
            Err(refusal) => refusal,
        };
        if renewed {
            return Sent::Failed(not_accepted(&refusal));
        }
        tracing::debug!("Graph no longer accepts the access token; asking for a new one");
        renewed = true;
    }
}

/// The answer, or the refusal of a token that was forgotten.
async fn once(session: &Session, body: &[u8]) -> Result<Sent, Refusal> {
    if let Err(error) = session.gate.pass("Microsoft Graph", &*session.environment).await {
        return Ok(Sent::Failed(error));
    }
    let url = session.endpoints.graph("$batch", None);
    let token = match session.tokens.token().await {
        Ok(token) => token,
        Err(error) => return Ok(Sent::Failed(error)),
    };
    let request = session.client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body.to_vec());
    let request = match session.authorised(request, &url, &token) {
        Ok(request) => request,
        Err(error) => return Ok(Sent::Failed(error)),
    };
    let answer = match exchange(request, MAX_PAGE).await {
        Ok(answer) => answer,
        Err(Broken::Unsent(problem)) => {
            let problem = format!("Microsoft Graph cannot be reached: {problem}");
            return Ok(Sent::Failed(Error::Unreachable { problem, nothing_sent: true }));
        }
        Err(Broken::Transient(problem)) => return Ok(Sent::Lost(format!("the answer of Graph was lost: {problem}"))),
        Err(Broken::TooLarge(limit)) => {
            return Ok(Sent::Lost(format!("the answer of Graph has more than {limit} bytes")));
        }
    };
    let refusal = Refusal::read(answer.status, &answer.body, answer.header("request-id"));
    let after = answer.retry_after(session.environment.now());
    Ok(match answer.status {
        200 => match serde_json::from_slice::<Responses>(&answer.body) {
            Ok(answered) => Sent::Answered(answered.responses),
            Err(error) => Sent::Lost(format!("Microsoft Graph sent a damaged batch: {error}")),
        },
        401 => {
            session.tokens.forget(&token).await;
            return Err(refusal);
        }
        429 => Sent::Later(after, format!("Microsoft Graph limits our requests ({})", refusal.describe())),
        300..=399 => Sent::Failed(session.redirected(&answer)),
        407 => Sent::Failed(proxy_sign_in()),
        404 => Sent::Failed(crate::error::setting(
            "graph_url",
            format!("there is no Microsoft Graph at this address ({})", refusal.describe()),
            "correct or remove graph_url; it ends in the version, such as /v1.0",
        )),
        400..=499 if answer.status != 408 => {
            Sent::Refused(format!("Microsoft Graph refused a batch: {}", refusal.describe()))
        }
        _ => {
            if let Some(after) = after {
                session.gate.close(after, &*session.environment);
            }
            Sent::Lost(format!("Microsoft Graph failed during a batch ({})", refusal.describe()))
        }
    })
}
