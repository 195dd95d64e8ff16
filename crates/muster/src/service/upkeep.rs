//! What is done once at the start and once a day.

/// Between two times, in milliseconds.
const PERIOD: i64 = 86_400_000;

/// When it was done last.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    last: Option<i64>,
}

impl Upkeep {
    /// Whether it is time; then it counts as done.
    pub(crate) fn is_due(&mut self, now: i64) -> bool {
        let is_due = self.last.is_none_or(|last| now.saturating_sub(last) >= PERIOD);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_at_the_start_and_once_a_day() {
        let mut upkeep = Upkeep::default();
        let hours = [0, 1, 23, 24, 25, 47, 48];
        let due: Vec<bool> = hours.iter().map(|hour| upkeep.is_due(1_000 + hour * 3_600_000)).collect();
        assert_eq!(due, [true, false, false, true, false, false, true]);
    }
}
