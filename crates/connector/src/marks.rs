//! How far something that grows was read, when a source may show values later than it numbered them.
//!
//! A row gets its time or number before its transaction ends, so a reader can see 7 before 5. A value is safe to start from
//! once somebody has looked again, from before it, at a time when nothing older could still be under way; until then
//! reading begins earlier, and what was read before is read again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Expired};
use crate::page::Watermark;

/// Looks remembered within one overlap.
const LOOKS: u32 = 20;

/// When which value was the greatest, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Milliseconds since 1970 by this machine's clock, and the value as text.
    seen: Vec<(i64, String)>,
    /// When the last look began.
    #[serde(default)]
    looked: Option<i64>,
}

impl Marks {
    /// The marks of a watermark.
    ///
    /// # Errors
    /// [`Error::Expired`] where it holds something else.
    pub fn read(watermark: &Watermark) -> Result<Self, Error> {
        serde_json::from_slice(&watermark.0).map_err(|_| Error::Expired { expired: Expired::Watermark })
    }

    /// The watermark that holds them.
    #[must_use]
    pub fn watermark(&self) -> Watermark {
        Watermark(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The greatest value seen, if any.
    #[must_use]
    pub fn last(&self) -> Option<&str> {
        self.seen.last().map(|(_, value)| value.as_str())
    }

    /// The oldest value that is remembered, if any.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.seen.first().map(|(_, value)| value.as_str())
    }

    /// The value up to which nothing more can turn up: what was the greatest `overlap` before the last look. Time alone
    /// settles nothing, since whatever turned up after a look was not seen by it.
    #[must_use]
    pub fn settled(&self, overlap: Duration) -> Option<&str> {
        let looked = self.looked?;
        let settled = self.seen.iter().rev().find(|(at, _)| looked - at >= millis(overlap));
        settled.map(|(_, value)| value.as_str())
    }

    /// Notes a look that began at `begun` and had seen this greatest value at `now`, both in milliseconds since 1970.
    pub fn observe(&mut self, value: Option<&str>, begun: i64, now: i64, overlap: Duration) {
        let overlap = millis(overlap);
        // A clock that went back says nothing about the age of what it saw.
        self.seen.iter_mut().for_each(|(at, _)| *at = (*at).min(now));
        self.looked = Some(begun.min(now));
        // To remember fewer looks than there were only means to begin a little earlier.
        let is_soon =
            self.seen.len() > 1 && self.seen.last().is_some_and(|(at, _)| now - at < overlap / i64::from(LOOKS));
        if let Some(value) = value.filter(|value| self.last() != Some(*value) && !is_soon) {
            self.seen.push((now, value.to_owned()));
        }
        let is_old = |(at, _): &&(i64, String)| begun.min(now) - at >= overlap;
        let passed = self.seen.iter().take_while(is_old).count();
        self.seen.drain(..passed.saturating_sub(1));
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(600);
    const MINUTE: i64 = 60_000;

    #[test]
    fn a_value_is_settled_when_nothing_of_its_time_can_be_under_way() {
        let mut marks = Marks::default();
        let look = |marks: &mut Marks, value: &str, at: i64| marks.observe(Some(value), at, at, TEN);
        assert_eq!((marks.settled(TEN), marks.first()), (None, None));
        look(&mut marks, "5000", 0);
        look(&mut marks, "5010", MINUTE);
        look(&mut marks, "5020", 5 * MINUTE);
        assert_eq!((marks.settled(TEN), marks.first()), (None, Some("5000")));
        // The look at ten minutes saw whatever turned up below the first value; the one at five minutes did not.
        look(&mut marks, "5030", 10 * MINUTE);
        assert_eq!(marks.settled(TEN), Some("5000"));
        look(&mut marks, "5030", 14 * MINUTE);
        assert_eq!(marks.settled(TEN), Some("5010"));
        // Nothing new for a while: only what is new is read.
        look(&mut marks, "5030", 20 * MINUTE);
        assert_eq!((marks.settled(TEN), marks.last()), (Some("5030"), Some("5030")));
        // Whoever looks seldom reads what came since the look before once more.
        look(&mut marks, "5040", 60 * MINUTE);
        look(&mut marks, "5050", 120 * MINUTE);
        assert_eq!(marks.settled(TEN), Some("5040"));
        // A look that took long saw what was there when it began, and its value when it ended.
        marks.observe(Some("5060"), 121 * MINUTE, 135 * MINUTE, TEN);
        assert_eq!(marks.settled(TEN), Some("5040"));
        // A clock that went back makes nothing older than it is.
        look(&mut marks, "5070", 2 * MINUTE);
        assert_eq!(marks.settled(TEN), None);
        assert_eq!(Marks::read(&marks.watermark()).unwrap(), marks);
        assert!(matches!(Marks::read(&Watermark(b"x".to_vec())), Err(Error::Expired { .. })));
    }

    #[test]
    fn few_looks_are_remembered_and_none_that_is_needed_is_forgotten() {
        let mut marks = Marks::default();
        for second in 0..7_200 {
            let now = second * 1_000;
            marks.observe(Some(&(5_000 + second).to_string()), now, now, TEN);
            assert!(marks.seen.len() <= LOOKS as usize + 2);
            if second > 700 {
                let settled: i64 = marks.settled(TEN).unwrap().parse().unwrap();
                // What was the greatest ten minutes ago, or at most a look earlier.
                assert!((second - 600 - 31..=second - 600).contains(&(settled - 5_000)), "{second}: {settled}");
            }
        }
    }
}
