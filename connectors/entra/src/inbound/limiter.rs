//! How many uploads are free, counted from what was noted: 40 calls in 5 seconds, and a quota in 24 hours.
//!
//! Sources: <https://learn.microsoft.com/graph/api/synchronization-synchronizationjob-post-bulkupload>,
//! <https://learn.microsoft.com/entra/identity/app-provisioning/inbound-provisioning-api-issues>. Pure: time is handed
//! in, in milliseconds since 1970.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const SECOND: i64 = 1_000;
const DAY: i64 = 86_400 * SECOND;

/// Calls in [`RATE_SPAN`]: half a second more than the limit's five, since calls do not all travel equally long.
const RATE: usize = 40;
const RATE_SPAN: i64 = 5_500;

/// Calls of the same five minutes are counted together, and forgotten when the last of them is a day old.
const BUCKET: i64 = 300 * SECOND;

/// For so long after a call whose answer was lost, an entry of the log may be that call's.
const DOUBTFUL: i64 = 3_600 * SECOND;

/// Lost answers beyond this many are as good as one another.
const MOST_OPEN: usize = 100;

/// What is remembered of the last 24 hours; the content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Noted {
    /// Calls by the beginning of their bucket.
    buckets: BTreeMap<i64, u32>,
    /// When the last few calls left.
    recent: Vec<i64>,
    /// Calls that have had no clear answer yet, or never will.
    open: Vec<i64>,
    /// Entra asked to be left alone until then.
    closed_until: Option<i64>,
    /// A process uploads, or ended without saying so.
    running: bool,
}

/// Why a call may not leave yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Too many left just now; in a moment.
    Soon(Duration),
    /// Entra asked to be left alone for so long.
    Closed(Duration),
    /// The quota is used up; so long until a call is free again.
    UsedUp(Duration),
}

impl Noted {
    /// As if so many calls had been made just now: nobody knows how many were.
    pub(super) fn guessed(calls: u32, now: i64) -> Self {
        Self { buckets: BTreeMap::from([(bucket(now), calls)]), ..Self::default() }
    }

    /// What a new process makes of it. After one that was killed, the last call may have been answered without the host
    /// having noted it: that is as good as a lost answer.
    pub(super) fn taken_over(mut self) -> Self {
        if std::mem::take(&mut self.running) {
            let last = self.recent.iter().max().copied();
            self.open.extend(last.filter(|last| !self.open.contains(last)));
        }
        self
    }

    /// What a process leaves behind that ends in order.
    pub(super) fn ended(mut self) -> Self {
        self.running = false;
        self
    }

    /// Calls that count at `now`.
    pub(super) fn used(&self, now: i64) -> u32 {
        self.buckets
            .iter()
            .filter(|(begin, _)| counts(**begin, now))
            .fold(0, |sum, (_, calls)| sum.saturating_add(*calls))
    }

    /// Notes a call that is about to leave, if one may.
    pub(super) fn take(&mut self, quota: u32, now: i64) -> Result<(), Wait> {
        self.forget(now);
        if let Some(until) = self.closed_until {
            return Err(Wait::Closed(span(until - now)));
        }
        if let Some((oldest, _)) = self.buckets.first_key_value().filter(|_| self.used(now) >= quota) {
            return Err(Wait::UsedUp(span(oldest + BUCKET + DAY - now)));
        }
        if let Some(first) = self.recent.len().checked_sub(RATE).and_then(|over| self.recent.get(over)) {
            return Err(Wait::Soon(span(first + RATE_SPAN - now)));
        }
        let calls = self.buckets.entry(bucket(now)).or_default();
        *calls = calls.saturating_add(1);
        self.recent.push(now);
        if self.open.len() >= MOST_OPEN {
            self.open.remove(0);
        }
        self.open.push(now);
        self.running = true;
        Ok(())
    }

    /// The call that left at `sent` has had a clear answer.
    pub(super) fn settle(&mut self, sent: i64) {
        if let Some(place) = self.open.iter().position(|open| *open == sent) {
            self.open.remove(place);
        }
    }

    pub(super) fn close(&mut self, now: i64, pause: Duration) {
        let until = now.saturating_add(millis(pause));
        self.closed_until = Some(self.closed_until.map_or(until, |known| known.max(until)));
    }

    /// Whether the answer to a call before `sent` was lost not long ago; those under way are not lost.
    pub(super) fn in_doubt(&self, sent: i64, under_way: &[i64]) -> bool {
        self.open.iter().any(|open| *open < sent && sent - open < DOUBTFUL && !under_way.contains(open))
    }

    /// Drops what no longer counts. A clock that was set back leaves times in the future: those count as now.
    fn forget(&mut self, now: i64) {
        let ahead: Vec<i64> = self.buckets.range(bucket(now) + 1..).map(|(begin, _)| *begin).collect();
        for begin in ahead {
            if let Some(calls) = self.buckets.remove(&begin) {
                let current = self.buckets.entry(bucket(now)).or_default();
                *current = current.saturating_add(calls);
            }
        }
        self.buckets.retain(|begin, _| counts(*begin, now));
        for time in self.recent.iter_mut().chain(&mut self.open) {
            *time = (*time).min(now);
        }
        self.recent.retain(|sent| now - sent < RATE_SPAN);
        self.open.retain(|sent| now - sent < DOUBTFUL);
        // No answer of Entra asks for more than a day.
        self.closed_until = self.closed_until.map(|until| until.min(now + DAY + BUCKET)).filter(|until| *until > now);
    }
}

/// What so many people take, for a person who decides: `2,000 calls, 1 day: 1,750 are left today`.
pub(super) fn effort(people: u64, per_call: u64, quota: u32, used: u32) -> String {
    let calls = people.div_ceil(per_call);
    let left = u64::from(quota.saturating_sub(used));
    let days = calls.saturating_sub(left).div_ceil(u64::from(quota.max(1)));
    let days = match days {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{} days", grouped(days)),
    };
    let calls = if calls == 1 { "1 call".to_owned() } else { format!("{} calls", grouped(calls)) };
    format!("{calls}, {days}: {} are left today", grouped(left))
}

/// `12345` as `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bucket(now: i64) -> i64 {
    now - now.rem_euclid(BUCKET)
}

fn counts(begin: i64, now: i64) -> bool {
    begin + BUCKET + DAY > now
}

fn span(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default().max(1))
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX).min(2 * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noon of some day.
    const NOON: i64 = 20_000 * DAY + DAY / 2;

    #[test]
    fn forty_calls_in_any_five_seconds() {
        let mut noted = Noted::default();
        let mut left: Vec<i64> = Vec::new();
        let mut now = NOON;
        while left.len() < 400 {
            match noted.take(2_000, now) {
                Ok(()) => left.push(now),
                Err(Wait::Soon(wait)) => now += i64::try_from(wait.as_millis()).unwrap(),
                Err(other) => panic!("the quota is not used up: {other:?}"),
            }
            now += 7;
        }
        for window in left.windows(RATE + 1) {
            assert!(window[RATE] - window[0] >= RATE_SPAN, "{window:?}");
        }
        assert!(now - NOON < 56_000, "no slower than allowed: {}", now - NOON);
    }

    #[test]
    fn the_quota_holds_in_every_24_hours_and_comes_back() {
        let mut noted = Noted::default();
        let mut left: Vec<i64> = Vec::new();
        let mut now = NOON;
        let end = NOON + 3 * DAY;
        while now < end {
            match noted.take(100, now) {
                // A few calls a minute, with pauses that no bucket divides.
                Ok(()) => {
                    left.push(now);
                    now += 11_777 + i64::try_from(left.len() % 7).unwrap() * 20_011;
                }
                Err(Wait::Soon(wait) | Wait::Closed(wait) | Wait::UsedUp(wait)) => {
                    now += i64::try_from(wait.as_millis()).unwrap();
                }
            }
        }
        for window in left.windows(101) {
            assert!(window[100] - window[0] >= DAY, "101 calls in a day");
        }
        assert!(left.len() > 290, "most of what is allowed is used: {}", left.len());
    }

    #[test]
    fn entra_may_close_the_door_and_a_day_opens_it() {
        let mut noted = Noted::default();
        noted.close(NOON, Duration::from_secs(90));
        assert_eq!(noted.take(10, NOON + 1), Err(Wait::Closed(Duration::from_millis(89_999))));
        assert_eq!(noted.take(10, NOON + 90 * SECOND), Ok(()));
        noted.close(NOON, Duration::MAX);
        assert!(matches!(noted.take(10, NOON), Err(Wait::Closed(wait)) if wait <= Duration::from_secs(86_400 + 300)));
    }

    #[test]
    fn a_clock_that_is_set_back_frees_nothing_and_blocks_nothing_for_ever() {
        let mut noted = Noted::guessed(10, NOON + 400 * DAY);
        noted.close(NOON + 400 * DAY, Duration::from_secs(3_600));
        assert!(matches!(noted.take(10, NOON), Err(Wait::Closed(_))));
        assert_eq!(noted.used(NOON), 10);
        assert_eq!(noted.take(10, NOON + DAY + 2 * BUCKET), Ok(()));
    }

    #[test]
    fn a_lost_answer_casts_doubt_for_an_hour() {
        let mut noted = Noted::default();
        assert_eq!(noted.take(10, NOON), Ok(()));
        assert_eq!(noted.take(10, NOON + 1), Ok(()));
        noted.settle(NOON + 1);
        assert!(noted.in_doubt(NOON + 1, &[]) && !noted.in_doubt(NOON, &[]));
        assert!(!noted.in_doubt(NOON + 1, &[NOON]), "it is still under way");
        assert_eq!(noted.take(10, NOON + DOUBTFUL), Ok(()));
        assert!(!noted.in_doubt(NOON + DOUBTFUL, &[]));
    }

    #[test]
    fn effort_is_told_in_calls_and_days() {
        let cases = [
            (100_000, 2_000, 250, "2,000 calls, 1 day: 1,750 are left today"),
            (100_000, 2_000, 0, "2,000 calls, less than a day: 2,000 are left today"),
            (300_001, 2_000, 2_000, "6,001 calls, 4 days: 0 are left today"),
            (1, 6_000, 9_999, "1 call, 1 day: 0 are left today"),
            (0, 6_000, 0, "0 calls, less than a day: 6,000 are left today"),
        ];
        for (people, quota, used, text) in cases {
            assert_eq!(effort(people, 50, quota, used), text);
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
