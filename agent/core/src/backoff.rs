//! How long to wait before the next try.

use std::time::Duration;

/// Exponential backoff with full jitter between a floor and a ceiling.
///
/// The floor keeps a node that fails at once from spinning; the jitter keeps a fleet that lost the
/// same broker from coming back in the same second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    /// The ceiling of the next wait.
    ceiling: Duration,
}

impl Backoff {
    /// Waits lie within `min` and `max`; a `max` below `min` counts as `min`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        let max = max.max(min);
        Self {
            min,
            max,
            ceiling: Self::first_ceiling(min, max),
        }
    }

    fn first_ceiling(min: Duration, max: Duration) -> Duration {
        // Twice the floor, so that already the first wait has jitter.
        min.saturating_mul(2).min(max)
    }

    /// The next wait, for a `random` number from 0 to 1: at least the floor, at most a ceiling that
    /// doubles with every call up to the largest wait. A number outside of 0 to 1 is clamped.
    pub fn next(&mut self, random: f64) -> Duration {
        let random = if random.is_nan() {
            0.5
        } else {
            random.clamp(0.0, 1.0)
        };
        let spread = self.ceiling.saturating_sub(self.min);
        // A spread that does not fit the arithmetic of floats cannot overflow the ceiling: it is
        // cut to it.
        let jitter = Duration::try_from_secs_f64(spread.as_secs_f64() * random).unwrap_or(spread);
        let wait = self.min.saturating_add(jitter).min(self.ceiling);
        self.ceiling = self.ceiling.saturating_mul(2).min(self.max);
        wait
    }

    /// Starts over with short waits: what was tried has worked for long enough.
    pub fn reset(&mut self) {
        self.ceiling = Self::first_ceiling(self.min, self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(120);

    #[test]
    fn the_ceiling_doubles_up_to_the_largest_wait() {
        let mut backoff = Backoff::new(MIN, MAX);
        let waits: Vec<u64> = (0..9).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 120, 120, 120]);
    }

    #[test]
    fn the_floor_holds_without_luck() {
        let mut backoff = Backoff::new(MIN, MAX);
        for _ in 0..20 {
            assert_eq!(backoff.next(0.0), MIN);
        }
    }

    #[test]
    fn a_reset_starts_over() {
        let mut backoff = Backoff::new(MIN, MAX);
        for _ in 0..10 {
            backoff.next(1.0);
        }
        backoff.reset();
        assert_eq!(backoff.next(1.0), Duration::from_secs(2));
    }

    proptest! {
        #[test]
        fn every_wait_is_within_its_bounds(
            min in 0u64..10_000,
            max in 0u64..10_000_000,
            randoms in proptest::collection::vec(proptest::num::f64::ANY, 1..80),
        ) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
            let mut backoff = Backoff::new(min, max);
            for random in randoms {
                let wait = backoff.next(random);
                prop_assert!(wait >= min);
                prop_assert!(wait <= max.max(min));
            }
        }

        #[test]
        fn the_largest_durations_do_not_overflow(random in 0.0f64..=1.0) {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::MAX);
            for _ in 0..80 {
                prop_assert!(backoff.next(random) >= Duration::from_secs(1));
            }
        }
    }
}
