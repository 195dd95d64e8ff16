//! The only place of the engine that asks what time it is, and that doubts the answer.
//!
//! A machine's clock can be wrong by years after a restart. People must not be deleted for it: what only time calls
//! for (due dates, final removals, the guard's 24 hours) follows [`Clock::lifecycle`], which never runs backwards
//! and does not follow a great leap that nothing confirms.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What time it is, in milliseconds since 1970 in UTC.
pub trait Clock: Send + Sync {
    /// Now, for records.
    fn now(&self) -> i64;

    /// The time up to which what time alone calls for may be done.
    fn lifecycle(&self) -> i64 {
        self.now()
    }

    /// A source or target told its own time.
    fn heard(&self, _time: i64) {}

    /// The confirmed time, when it is so far ahead of the one stored last that it is worth storing.
    fn take_mark(&self) -> Option<i64> {
        None
    }

    /// The clock is far ahead of the confirmed time, so that nothing happens that time alone calls for.
    fn is_doubtful(&self) -> bool {
        false
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A step forward beyond this needs to be confirmed.
const STEP: i64 = 24 * 3_600_000;

/// A source's clock within this confirms ours.
const NEAR: i64 = 5 * 60_000;

/// So far the stored mark may lag behind, which saves a write for every cycle.
const LAG: i64 = 60_000;

/// A machine's clock, held against the latest time that was ever confirmed.
pub struct LifecycleClock {
    wall: Arc<dyn Clock>,
    /// Milliseconds that have certainly passed in this process.
    elapsed: Box<dyn Fn() -> i64 + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The latest confirmed time, and what had elapsed then.
    mark: i64,
    at: i64,
    /// The last answer; the next one is not before it.
    last: i64,
    stored: i64,
}

impl State {
    /// What the time is at least: the mark and what has passed since.
    fn expected(&self, elapsed: i64) -> i64 {
        self.mark.saturating_add((elapsed - self.at).max(0))
    }

    fn confirm(&mut self, time: i64, elapsed: i64) {
        if time > self.expected(elapsed) {
            self.mark = time;
            self.at = elapsed;
        }
    }
}

impl LifecycleClock {
    /// A clock over the machine's own, from the mark that the state holds.
    #[must_use]
    pub fn new(wall: Arc<dyn Clock>, mark: i64) -> Self {
        let started = Instant::now();
        let elapsed = move || i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Self::with_elapsed(wall, mark, Box::new(elapsed))
    }

    /// A clock with its own measure of what has passed, in milliseconds.
    #[must_use]
    pub fn with_elapsed(wall: Arc<dyn Clock>, mark: i64, elapsed: Box<dyn Fn() -> i64 + Send + Sync>) -> Self {
        let at = elapsed();
        Self { wall, elapsed, state: Mutex::new(State { mark, at, last: mark, stored: mark }) }
    }

    /// A person, or another process, has confirmed this time.
    pub fn accept(&self, mark: i64) {
        let elapsed = (self.elapsed)();
        self.state().confirm(mark, elapsed);
    }

    /// Dates up to this time were acted upon before this process began, so that time does not return to before it. It
    /// confirms nothing.
    pub fn reached(&self, time: i64) {
        let mut state = self.state();
        state.last = state.last.max(time);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LifecycleClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LifecycleClock").field("state", &*self.state()).finish_non_exhaustive()
    }
}

impl Clock for LifecycleClock {
    fn now(&self) -> i64 {
        self.wall.now().max(self.lifecycle())
    }

    fn lifecycle(&self) -> i64 {
        let (wall, elapsed) = (self.wall.now(), (self.elapsed)());
        let mut state = self.state();
        let expected = state.expected(elapsed);
        let time = if wall > expected.saturating_add(STEP) || wall < state.mark { expected } else { wall };
        state.last = state.last.max(time);
        state.last
    }

    fn heard(&self, time: i64) {
        let (wall, elapsed) = (self.wall.now(), (self.elapsed)());
        if wall.abs_diff(time) <= NEAR.unsigned_abs() {
            self.state().confirm(wall, elapsed);
        }
    }

    fn take_mark(&self) -> Option<i64> {
        let elapsed = (self.elapsed)();
        let mut state = self.state();
        let mark = state.expected(elapsed);
        (mark >= state.stored.saturating_add(LAG)).then(|| {
            state.stored = mark;
            mark
        })
    }

    fn is_doubtful(&self) -> bool {
        let (wall, elapsed) = (self.wall.now(), (self.elapsed)());
        wall > self.state().expected(elapsed).saturating_add(STEP)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;

    struct Hand(Arc<AtomicI64>);

    impl Clock for Hand {
        fn now(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// A clock with the mark `NOW`, the machine's clock and what has elapsed, both to be set.
    fn clock(wall: i64) -> (LifecycleClock, Arc<AtomicI64>, Arc<AtomicI64>) {
        let (wall, passed) = (Arc::new(AtomicI64::new(wall)), Arc::new(AtomicI64::new(0)));
        let elapsed = Arc::clone(&passed);
        let hand = Arc::new(Hand(Arc::clone(&wall)));
        let clock = LifecycleClock::with_elapsed(hand, NOW, Box::new(move || elapsed.load(Ordering::Relaxed)));
        (clock, wall, passed)
    }

    #[test]
    fn a_clock_behind_the_mark_uses_the_mark() {
        let (clock, wall, passed) = clock(NOW - 300 * HOUR);
        assert_eq!((clock.lifecycle(), clock.now()), (NOW, NOW));
        passed.store(HOUR, Ordering::Relaxed);
        assert_eq!(clock.lifecycle(), NOW + HOUR);
        // Set right, it is followed; set back again, time stands but does not return.
        wall.store(NOW + 3 * HOUR, Ordering::Relaxed);
        assert_eq!(clock.lifecycle(), NOW + 3 * HOUR);
        wall.store(NOW, Ordering::Relaxed);
        assert_eq!(clock.lifecycle(), NOW + 3 * HOUR);
        assert!(!clock.is_doubtful());
    }

    #[test]
    fn a_great_leap_is_followed_only_when_a_source_confirms_it() {
        let (clock, wall, passed) = clock(NOW + 25 * HOUR);
        assert!(clock.is_doubtful());
        passed.store(10, Ordering::Relaxed);
        assert_eq!(clock.lifecycle(), NOW + 10);
        // Records carry the machine's time all the same.
        assert_eq!(clock.now(), NOW + 25 * HOUR);
        // A source that says something else confirms nothing.
        clock.heard(NOW + 24 * HOUR);
        assert_eq!(clock.lifecycle(), NOW + 10);
        clock.heard(NOW + 25 * HOUR - 4 * 60_000);
        assert_eq!(clock.lifecycle(), NOW + 25 * HOUR);
        assert!(!clock.is_doubtful());
        // A leap while the process runs is no better.
        wall.store(NOW + 900 * HOUR, Ordering::Relaxed);
        assert!(clock.is_doubtful());
        assert_eq!(clock.lifecycle(), NOW + 25 * HOUR);
        // A person says that it is right.
        clock.accept(NOW + 900 * HOUR);
        assert_eq!(clock.lifecycle(), NOW + 900 * HOUR);
    }

    #[test]
    fn the_mark_rises_by_what_has_passed_or_was_confirmed() {
        let (clock, _wall, passed) = clock(NOW + 20 * HOUR);
        // A leap within a day is followed, and the mark does not rise for it.
        assert_eq!(clock.lifecycle(), NOW + 20 * HOUR);
        assert_eq!(clock.take_mark(), None);
        passed.store(2 * 60_000, Ordering::Relaxed);
        assert_eq!(clock.take_mark(), Some(NOW + 2 * 60_000));
        assert_eq!(clock.take_mark(), None);
        clock.heard(NOW + 20 * HOUR);
        assert_eq!(clock.take_mark(), Some(NOW + 20 * HOUR));
    }
}
