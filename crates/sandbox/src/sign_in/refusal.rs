//! Errors of the token endpoint (Microsoft identity platform: authentication and authorization error codes).

use serde_json::json;
use uuid::Uuid;

use crate::http::reply::Reply;
use crate::state::Shared;

/// An AADSTS error: its number, and the OAuth error that clients branch on.
#[derive(Debug)]
pub(crate) struct SignInRefusal {
    status: u16,
    error: &'static str,
    code: u32,
    message: String,
}

impl SignInRefusal {
    pub(crate) fn client(code: u32, message: impl Into<String>) -> Self {
        Self { status: 401, error: "invalid_client", code, message: message.into() }
    }

    pub(crate) fn request(error: &'static str, code: u32, message: impl Into<String>) -> Self {
        Self { status: 400, error, code, message: message.into() }
    }

    pub(crate) fn reply(&self, shared: &Shared) -> Reply {
        let (trace, correlation) = (Uuid::new_v4(), Uuid::new_v4());
        let (code, time) = (self.code, shared.clock.token_timestamp());
        let description =
            format!("AADSTS{code}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}", self.message);
        Reply::json(
            self.status,
            &json!({
                "error": self.error,
                "error_description": description,
                "error_codes": [code],
                "timestamp": time,
                "trace_id": trace.to_string(),
                "correlation_id": correlation.to_string(),
                "error_uri": format!("{}/error?code={code}", shared.facts.authority),
            }),
        )
        .with("cache-control", "no-store, no-cache")
    }
}
