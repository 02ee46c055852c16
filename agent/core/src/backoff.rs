//! How long to wait before the next try.

use std::time::Duration;

/// Waiting times that double from `min` to `max`, each drawn evenly from the lower bound up to the
/// step that was reached, so that many nodes do not come back at the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    step: Duration,
}

impl Backoff {
    /// Waits of at least `min` and at most `max`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            step: min,
        }
    }

    /// The next wait; `random` is from 0 to 1.
    pub fn next(&mut self, random: f64) -> Duration {
        self.step = self.step.saturating_mul(2).min(self.max).max(self.min);
        let random = if random.is_finite() {
            random.clamp(0.0, 1.0)
        } else {
            1.0
        };
        self.min + (self.step - self.min).mul_f64(random)
    }

    /// Starts over with short waits.
    pub fn reset(&mut self) {
        self.step = self.min;
    }
}
