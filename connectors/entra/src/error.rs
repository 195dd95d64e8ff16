//! What can go wrong between a request and its answer, and how it becomes the contract's [`Error`].

use std::error::Error as _;
use std::fmt::Write as _;

use muster_connector::Error;
use serde::Deserialize;

/// The most characters of somebody else's text that go into a message.
const MAX_FOREIGN_TEXT: usize = 400;

/// Why a request to Graph brought no usable answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Settled: the host must act.
    Host(Error),
    /// Graph refused this request; what that means depends on the request.
    Refused(Refusal),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}

/// A refusal in Graph's own words.
///
/// Source: <https://learn.microsoft.com/graph/errors>.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    /// The property to blame, where Graph names one.
    pub(crate) target: Option<String>,
    pub(crate) request_id: Option<String>,
}

impl Refusal {
    /// Reads an error body; one that is not Graph's keeps the status alone.
    pub(crate) fn read(status: u16, body: &[u8], request_id: Option<&str>) -> Self {
        let inner = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error).unwrap_or_default();
        Self {
            status,
            code: shorten(&inner.code),
            message: shorten(&inner.message),
            target: inner.details.into_iter().find_map(|detail| detail.target).map(|target| shorten(&target)),
            request_id: request_id.map(shorten),
        }
    }

    /// Whether the code is one of these; codes are compared without case, since their spelling varies.
    pub(crate) fn has_code(&self, codes: &[&str]) -> bool {
        codes.iter().any(|code| self.code.trim_start_matches('_').eq_ignore_ascii_case(code))
    }

    /// For a person, who hands the request id to Microsoft's support.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("{}", self.status);
        if !self.code.is_empty() {
            text.push(' ');
            text.push_str(&self.code);
        }
        if !self.message.is_empty() {
            text.push_str(": ");
            text.push_str(&self.message);
        }
        if let Some(id) = &self.request_id {
            // Writing to a String cannot fail.
            let _infallible = write!(text, " (request-id {id})");
        }
        text
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: InnerError,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct InnerError {
    code: String,
    message: String,
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    target: Option<String>,
}

/// Somebody else's text, without control characters and not too long.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().filter(|letter| !letter.is_control()).take(MAX_FOREIGN_TEXT).collect();
    if short.chars().count() == MAX_FOREIGN_TEXT {
        short.push('…');
    }
    short
}

/// A failed exchange in words, without its address, which may carry a token.
pub(crate) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    let mut text = shorten(&text);
    if text.contains("UnknownIssuer") {
        text.push_str("; if a private authority or an inspecting proxy signed that certificate, name it in ca_file");
    }
    text
}

/// A setting that cannot be used.
pub(crate) fn setting(name: &str, problem: impl Into<String>, fix: impl Into<String>) -> Error {
    Error::Configuration { setting: Some(name.to_owned()), problem: problem.into(), fix: fix.into() }
}

/// The system fails by itself; reading changes nothing, so nothing took effect.
pub(crate) fn unreachable(problem: impl Into<String>) -> Error {
    Error::Unreachable { problem: problem.into(), nothing_sent: true }
}
