//! How long to wait before asking again.
//!
//! `Retry-After` is RFC 9110 §10.2.3 (seconds or an HTTP date, §5.6.7); Graph always sends seconds with 429 and
//! counts requests that come too early (<https://learn.microsoft.com/graph/throttling>).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use muster_connector::Error;

use crate::environment::Environment;

/// Longest pause that is waited out in place; what is longer goes back to the host.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Longest pause that a server is believed to mean.
pub(crate) const LONGEST_BELIEVED: Duration = Duration::from_secs(3_600);

/// How often a request that failed by itself is sent in all.
pub(crate) const MOST_ATTEMPTS: u32 = 5;

/// The pause that `Retry-After` asks for; `None` when it is missing, zero or senseless.
///
/// `date` is the answer's own `Date`: a difference of two times of one clock needs no agreement with ours.
pub(crate) fn retry_after(
    value: Option<&str>,
    date: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    longest: Duration,
) -> Option<Duration> {
    let value = value?.trim();
    let pause = if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        (http_date(value)? - date.unwrap_or(now)).to_std().ok()?
    };
    (!pause.is_zero()).then(|| pause.clamp(Duration::from_secs(1), longest))
}

/// An HTTP date in any of the three forms that RFC 9110 §5.6.7 makes recipients accept.
pub(crate) fn http_date(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(date.to_utc());
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|date| date.and_utc())
}

/// A pause of our own before attempt `attempt + 1`: 1, 2, 4 … 60 s and up to a half more, so that several
/// hosts do not return in step.
pub(crate) fn own_pause(attempt: u32, environment: &dyn Environment) -> Duration {
    let base = Duration::from_secs(1 << attempt.saturating_sub(1).min(6)).min(Duration::from_secs(60));
    let chance = u32::from(environment.id().as_bytes()[0]);
    base + base * chance / 512
}

/// Keeps every call to one host from starting before the time that the host asked for, across calls.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    not_before: Mutex<Duration>,
}

impl Gate {
    /// Nobody asks before `pause` has passed.
    pub(crate) fn close(&self, pause: Duration, environment: &dyn Environment) {
        let until = environment.elapsed() + pause;
        let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        *not_before = until.max(*not_before);
    }

    /// How long nobody may ask from now on.
    pub(crate) fn left(&self, environment: &dyn Environment) -> Duration {
        let not_before = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        not_before.saturating_sub(environment.elapsed())
    }

    /// Waits until one may ask; a longer wait than [`LONGEST_PAUSE`] is the host's to make.
    pub(crate) async fn pass(&self, host: &str, environment: &dyn Environment) -> Result<(), Error> {
        loop {
            let left = self.left(environment);
            if left.is_zero() {
                return Ok(());
            }
            if left > LONGEST_PAUSE {
                return Err(Error::Throttled { problem: format!("{host} limits our requests"), after: left });
            }
            environment.sleep(left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_and_bounds_them() {
        let now = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let cases = [
            (Some("7"), Some(7)),
            (Some(" 120 "), Some(120)),
            (Some("0"), None),
            (Some(""), None),
            (Some("-5"), None),
            (Some("soon"), None),
            (None, None),
            (Some("99999999999999999999999"), Some(3_600)),
            (Some("86400"), Some(3_600)),
            (Some("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30)),
            (Some("Sunday, 06-Nov-94 08:50:07 GMT"), Some(30)),
            (Some("Sun Nov  6 08:50:07 1994"), Some(30)),
            (Some("Sun, 06 Nov 1994 08:49:00 GMT"), None),
        ];
        for (value, seconds) in cases {
            assert_eq!(retry_after(value, None, now, LONGEST_BELIEVED), seconds.map(Duration::from_secs), "{value:?}");
        }
        let theirs = http_date("Sun, 06 Nov 1994 07:00:00 GMT");
        assert_eq!(
            retry_after(Some("Sun, 06 Nov 1994 07:00:10 GMT"), theirs, now, LONGEST_BELIEVED),
            Some(Duration::from_secs(10)),
            "the server's own clock counts"
        );
    }
}
