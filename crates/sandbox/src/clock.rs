//! The sandbox's time: the machine's, which a test may set forward to let links and tokens grow old.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

/// As Graph writes times, from milliseconds since 1970.
pub(crate) fn timestamp_of(millis: u64) -> String {
    written(millis, "%Y-%m-%dT%H:%M:%SZ")
}

/// As logs write times, from milliseconds since 1970.
pub(crate) fn timestamp_with_millis(millis: u64) -> String {
    written(millis, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

fn written(millis: u64, form: &str) -> String {
    let time = DateTime::from_timestamp_millis(i64::try_from(millis).unwrap_or_default()).unwrap_or_default();
    time.format(form).to_string()
}

#[derive(Debug, Default)]
pub(crate) struct Clock {
    ahead: AtomicU64,
}

impl Clock {
    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.since_1970().as_secs()
    }

    pub(crate) fn now_millis(&self) -> u64 {
        u64::try_from(self.since_1970().as_millis()).unwrap_or(u64::MAX)
    }

    fn since_1970(&self) -> Duration {
        let machine = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        machine + Duration::from_secs(self.ahead.load(Ordering::Relaxed))
    }

    /// Sets the clock forward; it never goes back.
    pub(crate) fn advance(&self, seconds: u64) {
        // A hundred years at most, so that no sum overflows.
        self.ahead.fetch_add(seconds.min(3_200_000_000), Ordering::Relaxed);
    }

    fn date(&self, later: u64) -> DateTime<Utc> {
        DateTime::from_timestamp(i64::try_from(self.now() + later).unwrap_or_default(), 0).unwrap_or_default()
    }

    /// As Graph writes times.
    pub(crate) fn timestamp(&self) -> String {
        self.date(0).format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// As error bodies of the token endpoint write them.
    pub(crate) fn token_timestamp(&self) -> String {
        self.date(0).format("%Y-%m-%d %H:%M:%SZ").to_string()
    }

    /// As HTTP headers write them (RFC 9110, IMF-fixdate).
    pub(crate) fn http_date(&self, later: u64) -> String {
        self.date(later).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}
