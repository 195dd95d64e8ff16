//! When a sync runs next: a pure decision from how it stands and what time it is.

use chrono::{DateTime, TimeZone};
use muster_settings::{Schedule, SyncSettings};

/// When a sync is to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plan {
    /// So many milliseconds after its last start.
    Every(i64),
    /// At the times of a calendar.
    Calendar(Box<Schedule>),
    /// When a person asks for it.
    OnRequest,
}

impl Plan {
    pub(crate) fn of(sync: &SyncSettings) -> Self {
        match (&sync.every, &sync.schedule) {
            (Some(every), _) => Self::Every(every.milliseconds()),
            (None, Some(schedule)) => Self::Calendar(Box::new(schedule.clone())),
            (None, None) => Self::OnRequest,
        }
    }
}

/// How much of a cycle runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All of it.
    Whole,
    /// The source is read, and no target is touched.
    Import,
}

/// How a sync stands. Times are milliseconds of a clock that never runs backwards, unless they are a `wall` time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Standing {
    /// It runs now, or something that it needs is in use.
    pub(crate) is_busy: bool,
    /// When it began last.
    pub(crate) started: Option<i64>,
    /// The same, or else when the service began, by the wall clock.
    pub(crate) started_wall: i64,
    pub(crate) is_requested: bool,
    pub(crate) is_paused: bool,
    /// When a link becomes dirty by itself.
    pub(crate) due: Option<i64>,
    /// It failed, and is tried again then; none when it did not fail, or nothing but its schedule is to try again.
    pub(crate) retry_at: Option<i64>,
    pub(crate) has_failed: bool,
    /// The source is not to be asked before.
    pub(crate) source_down_until: Option<i64>,
    /// The target is not to be asked before.
    pub(crate) target_down_until: Option<i64>,
}

/// What to do with a sync now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Run(Mode),
    /// Nothing before this moment.
    WaitUntil(i64),
    /// Nothing until something happens.
    Wait,
}

/// Decides. `now` is of the clock that never runs backwards, `wall` the time on the wall.
pub(crate) fn decide<Zone: TimeZone>(plan: &Plan, standing: &Standing, now: i64, wall: &DateTime<Zone>) -> Decision {
    if standing.is_busy {
        return Decision::Wait;
    }
    let after = |time: Option<i64>| time.filter(|until| *until > now);
    if standing.is_requested {
        // A person need not wait for a pause between attempts to end.
        return Decision::Run(if standing.is_paused { Mode::Import } else { Mode::Whole });
    }
    let scheduled = match plan {
        Plan::Every(period) => Some(standing.started.map_or(now, |started| started.saturating_add(*period))),
        Plan::Calendar(schedule) => {
            // A wall clock that was set back must not make the calendar wait for it to catch up.
            let from = standing.started_wall.min(wall.timestamp_millis());
            let from = DateTime::from_timestamp_millis(from).map(|from| from.with_timezone(&wall.timezone()));
            let next = from.and_then(|from| schedule.next_after(&from));
            next.map(|next| now.saturating_add(next.timestamp_millis() - wall.timestamp_millis()))
        }
        Plan::OnRequest => None,
    };
    let reading = scheduled.map(|at| at.max(after(standing.source_down_until).unwrap_or(at)));
    if standing.is_paused {
        return at(reading, Mode::Import, now);
    }
    let due = standing.due.filter(|_| !standing.has_failed && *plan != Plan::OnRequest);
    let whole = [reading, standing.retry_at, due].into_iter().flatten().min();
    let held_back = after(standing.target_down_until).max(after(standing.source_down_until));
    match held_back {
        None => at(whole, Mode::Whole, now),
        // Until the target is asked again, the source is read on time.
        Some(until)
            if after(standing.source_down_until).is_none() && reading.is_some_and(|reading| reading < until) =>
        {
            at(reading, Mode::Import, now)
        }
        Some(until) => at(whole.map(|whole| whole.max(until)), Mode::Whole, now),
    }
}

fn at(time: Option<i64>, mode: Mode, now: i64) -> Decision {
    match time {
        Some(time) if time <= now => Decision::Run(mode),
        Some(time) => Decision::WaitUntil(time),
        None => Decision::Wait,
    }
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    const NOW: i64 = 1_000_000;
    const MINUTE: i64 = 60_000;

    fn wall(text: &str) -> DateTime<FixedOffset> {
        text.parse().unwrap()
    }

    fn decided(plan: &Plan, standing: &Standing) -> Decision {
        decide(plan, standing, NOW, &wall("2026-11-23T06:07:00+01:00"))
    }

    fn ran(ago: i64) -> Standing {
        Standing { started: Some(NOW - ago), ..Standing::default() }
    }

    #[test]
    fn a_period_counts_from_the_last_start() {
        let plan = Plan::Every(5 * MINUTE);
        assert_eq!(decided(&plan, &Standing::default()), Decision::Run(Mode::Whole));
        assert_eq!(decided(&plan, &ran(MINUTE)), Decision::WaitUntil(NOW + 4 * MINUTE));
        // A cycle that took longer than its period is followed by one, not by all that were missed.
        assert_eq!(decided(&plan, &ran(50 * MINUTE)), Decision::Run(Mode::Whole));
        assert_eq!(decided(&plan, &Standing { is_busy: true, ..ran(50 * MINUTE) }), Decision::Wait);
    }

    #[test]
    fn a_calendar_is_kept_and_what_was_missed_made_up_for_once() {
        let plan = Plan::Calendar(Box::new(Schedule::parse("*/15 6-20 * * 1-5").unwrap()));
        let began = |text: &str| Standing { started_wall: wall(text).timestamp_millis(), ..Standing::default() };
        let standing = began("2026-11-23T06:01:00+01:00");
        assert_eq!(decided(&plan, &standing), Decision::WaitUntil(NOW + 8 * MINUTE));
        assert_eq!(decided(&plan, &began("2026-11-23T05:00:00+01:00")), Decision::Run(Mode::Whole));
        assert_eq!(decided(&plan, &began("2026-11-23T06:00:00+01:00")), Decision::WaitUntil(NOW + 8 * MINUTE));
        // Set back by a year, the clock is followed.
        assert_eq!(decided(&plan, &began("2027-11-23T06:00:00+01:00")), Decision::WaitUntil(NOW + 8 * MINUTE));
    }

    #[test]
    fn due_dates_and_requests_wake_a_sync() {
        let plan = Plan::Every(60 * MINUTE);
        let due = |at| Standing { due: Some(at), ..ran(MINUTE) };
        assert_eq!(decided(&plan, &due(NOW + 5)), Decision::WaitUntil(NOW + 5));
        assert_eq!(decided(&plan, &due(NOW)), Decision::Run(Mode::Whole));
        // Without a schedule only a person wakes it.
        assert_eq!(decided(&Plan::OnRequest, &due(NOW)), Decision::Wait);
        let requested = Standing { is_requested: true, ..ran(MINUTE) };
        assert_eq!(decided(&Plan::OnRequest, &requested), Decision::Run(Mode::Whole));
        assert_eq!(decided(&plan, &requested), Decision::Run(Mode::Whole));
        // Also out of a pause between attempts.
        let failed = Standing { retry_at: Some(NOW + MINUTE), has_failed: true, ..requested };
        let failed = Standing { target_down_until: Some(NOW + MINUTE), ..failed };
        assert_eq!(decided(&plan, &failed), Decision::Run(Mode::Whole));
    }

    #[test]
    fn a_paused_sync_is_read_on_time_and_nothing_else() {
        let plan = Plan::Every(5 * MINUTE);
        let paused = |standing| Standing { is_paused: true, due: Some(NOW), ..standing };
        assert_eq!(decided(&plan, &paused(ran(MINUTE))), Decision::WaitUntil(NOW + 4 * MINUTE));
        assert_eq!(decided(&plan, &paused(ran(6 * MINUTE))), Decision::Run(Mode::Import));
        assert_eq!(decided(&plan, &Standing { is_requested: true, ..paused(ran(0)) }), Decision::Run(Mode::Import));
    }

    #[test]
    fn while_the_target_is_down_the_source_is_read_on_time() {
        let plan = Plan::Every(MINUTE);
        let down = |ago, until| Standing {
            has_failed: true,
            retry_at: Some(NOW + until),
            target_down_until: Some(NOW + until),
            ..ran(ago)
        };
        assert_eq!(decided(&plan, &down(MINUTE, 5_000)), Decision::Run(Mode::Import));
        assert_eq!(decided(&plan, &down(30_000, 90_000)), Decision::WaitUntil(NOW + 30_000));
        assert_eq!(decided(&plan, &down(30_000, 5_000)), Decision::WaitUntil(NOW + 5_000));
        assert_eq!(decided(&plan, &down(30_000, 0)), Decision::Run(Mode::Whole));
        // Due dates do not hurry a failing sync.
        assert_eq!(
            decided(&plan, &Standing { due: Some(NOW), ..down(30_000, 5_000) }),
            Decision::WaitUntil(NOW + 5_000)
        );
        // Another sync with the same target has not failed itself, and keeps away from it too.
        let neighbour = Standing { target_down_until: Some(NOW + 5_000), ..ran(30_000) };
        assert_eq!(decided(&plan, &neighbour), Decision::WaitUntil(NOW + 30_000));
        assert_eq!(decided(&plan, &Standing { started: Some(NOW - MINUTE), ..neighbour }), Decision::Run(Mode::Import));
    }

    #[test]
    fn a_source_that_is_down_is_left_alone_until_its_pause_is_over() {
        let plan = Plan::Every(MINUTE);
        let down = |until| Standing {
            has_failed: true,
            retry_at: Some(NOW + until),
            source_down_until: Some(NOW + until),
            ..ran(2 * MINUTE)
        };
        assert_eq!(decided(&plan, &down(30_000)), Decision::WaitUntil(NOW + 30_000));
        assert_eq!(decided(&plan, &down(0)), Decision::Run(Mode::Whole));
        // What a setting or a right is to blame for is tried on time only.
        let refused = Standing { has_failed: true, ..ran(30_000) };
        assert_eq!(decided(&plan, &refused), Decision::WaitUntil(NOW + 30_000));
    }
}
