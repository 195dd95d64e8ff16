//! What Graph's answer to one request of a `$batch` means for its operation.
//!
//! Source: <https://learn.microsoft.com/graph/errors>.

use std::time::Duration;

use muster_connector::{Outcome, RetryScope};
use serde::Deserialize;

use super::UNIQUE;
use super::draft::Purpose;
use crate::batch::Response;
use crate::error::Refusal;
use crate::properties::Spec;
use crate::schema::attributes_of;

/// An object that somebody else is changing is left alone for so long.
const BUSY: Duration = Duration::from_secs(10);

/// What one request came to.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It took effect; a new object says its id.
    Done { id: Option<String> },
    /// It was so before.
    AlreadySo,
    /// Nothing happened, and it may be sent again after a while.
    Later,
    /// One of several references is to blame, or there already: each for itself.
    Apart,
    /// The object or what it should refer to is not there.
    NotFound,
    /// Somebody else has a value that only one may have.
    Taken(Refusal),
    /// It may not be done.
    Forbidden(Refusal),
    /// The token is no longer good.
    Unauthorised(Refusal),
    /// It was refused, and nothing happened.
    Refused(Refusal),
    /// Nobody knows.
    Unknown(Refusal),
}

/// What an answer to a request for this purpose means.
pub(super) fn verdict(purpose: &Purpose, response: &Response) -> Verdict {
    let request_id = response.header("request-id");
    let refusal = || Refusal::read(response.status, response.body(), request_id.as_deref());
    match (response.status, purpose) {
        // A group of that name came to be in between, and was changed instead of made.
        (204, Purpose::Create) => Verdict::Unknown(refusal()),
        (200..=299, Purpose::Create) => match id(response.body()) {
            Some(id) => Verdict::Done { id: Some(id) },
            None => Verdict::Unknown(refusal()),
        },
        (200..=299, _) => Verdict::Done { id: None },
        (401, _) => Verdict::Unauthorised(refusal()),
        (403, _) => Verdict::Forbidden(refusal()),
        // An address that only creates cannot lack an object.
        (404, Purpose::Create) => Verdict::Refused(refusal()),
        (404, Purpose::AddAll(..)) => Verdict::Apart,
        (404, _) => Verdict::NotFound,
        (429, _) => Verdict::Later,
        (400 | 409, Purpose::AddAll(..)) => Verdict::Apart,
        (400 | 409, Purpose::Add(_)) if is_there(&refusal()) => Verdict::AlreadySo,
        (400 | 409, Purpose::Remove) if is_away(&refusal()) => Verdict::AlreadySo,
        (400, Purpose::Add(_) | Purpose::Refer(_)) if is_nowhere(&refusal()) => Verdict::NotFound,
        (400 | 409, _) if is_taken(&refusal()) => Verdict::Taken(refusal()),
        (408 | 500.., _) => Verdict::Unknown(refusal()),
        _ => Verdict::Refused(refusal()),
    }
}

fn id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
    }
    serde_json::from_slice::<Made>(body).ok().map(|made| made.id).filter(|id| !id.is_empty())
}

/// "One or more added object references already exist …".
fn is_there(refusal: &Refusal) -> bool {
    refusal.message.contains("references already exist")
}

/// "One or more removed object references do not exist …".
fn is_away(refusal: &Refusal) -> bool {
    refusal.message.contains("removed object references do not exist")
}

/// "The source resource object or one of the objects being referenced do not exist.", as groups answer that are new.
fn is_nowhere(refusal: &Refusal) -> bool {
    refusal.message.contains("being referenced do not exist")
}

/// "Another object with the same value for property … already exists."
fn is_taken(refusal: &Refusal) -> bool {
    refusal.message.contains("already exists")
        || refusal.message.starts_with("A conflicting object")
        || refusal.has_code(&["ObjectConflict", "nameAlreadyExists"])
}

pub(super) fn rejected(attribute: &str, rule: &str, message: impl Into<String>) -> Outcome {
    Outcome::Rejected { attribute: Some(attribute.to_owned()), rule: rule.to_owned(), message: message.into() }
}

pub(super) fn retry(scope: RetryScope, after: Duration, problem: String) -> Outcome {
    Outcome::Retry { after, scope, problem }
}

/// A refusal as an outcome; `written` are the attributes that the request sent.
pub(super) fn refused(object_type: &str, written: &[&str], refusal: &Refusal) -> Outcome {
    if refusal.status == 409 || refusal.status == 412 || refusal.status == 423 {
        let problem = format!("Microsoft Graph is changing the object already ({})", refusal.describe());
        return retry(RetryScope::Object, BUSY, problem);
    }
    let message = refusal.message.to_ascii_lowercase();
    let rule = match &*message {
        text if text.contains("a value is required") => "required",
        text if text.contains("invalid value") || text.contains("is invalid") => "invalid_value",
        text if text.contains("read-only") => "read_only",
        text if text.contains("password") => "password_policy",
        _ if refusal.code.is_empty() => "refused",
        _ => &refusal.code,
    };
    Outcome::Rejected {
        attribute: blamed(object_type, written, refusal),
        rule: rule.to_owned(),
        message: format!("Microsoft Graph refuses it: {}", refusal.describe()),
    }
}

/// A value that somebody else has.
pub(super) fn taken(object_type: &str, written: &[&str], refusal: &Refusal) -> Outcome {
    Outcome::Rejected {
        attribute: blamed(object_type, written, refusal),
        rule: UNIQUE.to_owned(),
        message: format!("another object has that value: {}", refusal.describe()),
    }
}

/// The attribute to blame: what Graph names as such, or the longest written one that its message names.
pub(super) fn blamed(object_type: &str, written: &[&str], refusal: &Refusal) -> Option<String> {
    let specs = attributes_of(object_type).unwrap_or_default();
    let property = |name: &str| specs.iter().find(|spec| spec.name == name).map_or_else(|| name.to_owned(), selected);
    if let Some(target) = &refusal.target
        && let Some(name) = written.iter().find(|name| property(name).eq_ignore_ascii_case(target))
    {
        return Some((*name).to_owned());
    }
    let words: Vec<&str> = refusal.message.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let named = written.iter().filter(|name| words.iter().any(|word| word.eq_ignore_ascii_case(&property(name))));
    let found = named.max_by_key(|name| name.len()).map(|name| (*name).to_owned());
    // A property that cannot be mapped, such as proxyAddresses, is still worth naming.
    found.or_else(|| refusal.target.clone())
}

fn selected(spec: &Spec) -> String {
    spec.selected().to_owned()
}
