//! Growing pauses between attempts.

/// The first pause, in milliseconds.
const FIRST: i64 = 5_000;

/// The longest pause, in milliseconds, unless a sync runs more often anyway.
pub(crate) const LONGEST: i64 = 300_000;

/// The pause before the next attempt, in milliseconds: 5 s, 10 s, 20 s … at most `most`, and a random part of up to a
/// quarter less, so that those that failed together do not return together. `chance` is between 0 and 1.
pub(crate) fn pause(failures: u32, most: i64, chance: f64) -> i64 {
    let doubled = FIRST.saturating_mul(1_i64.checked_shl(failures.saturating_sub(1).min(30)).unwrap_or(i64::MAX));
    let pause = doubled.min(most.clamp(FIRST, LONGEST));
    // A pause is a few minutes at most, which a float holds exactly.
    pause - (pause as f64 * 0.25 * chance.clamp(0.0, 1.0)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let pauses: Vec<i64> = (1..9).map(|failures| pause(failures, LONGEST, 0.0)).collect();
        assert_eq!(pauses, [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
        assert_eq!(pause(u32::MAX, i64::MAX, 0.0), LONGEST);
        // A sync that runs every minute is tried every minute at least, and one that runs every second not that often.
        assert_eq!(pause(9, 60_000, 0.0), 60_000);
        assert_eq!(pause(9, 1_000, 0.0), 5_000);
        assert_eq!((pause(1, LONGEST, 1.0), pause(3, LONGEST, 0.5)), (3_750, 17_500));
    }
}
