//! Counters of what should not happen.

use std::time::Duration;

/// How long something is told after it happened last.
const TOLD_FOR: Duration = Duration::from_secs(60 * 60);

/// A counter that only grows, and by how much it has grown of late. What it says at first has
/// happened nobody knows when, and does not count.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    value: Option<u64>,
    /// When it grew last, and by how much since it was quiet before.
    grown: Option<(Duration, u64)>,
}

impl Recent {
    /// Takes a reading. Gives how much has come since the counter was last quiet for an hour.
    pub(super) fn step(&mut self, value: Option<u64>, now: Duration) -> Option<u64> {
        if let Some(value) = value {
            // A smaller value is a counter that was made anew with its unit.
            let before = self.value.replace(value).unwrap_or(value);
            let growth = value.saturating_sub(before);
            if growth > 0 {
                let so_far = self.grown.map_or(0, |(_, count)| count);
                self.grown = Some((now, so_far.saturating_add(growth)));
            }
        }
        self.grown = self
            .grown
            .filter(|(at, _)| now.saturating_sub(*at) < TOLD_FOR);
        self.grown.map(|(_, count)| count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_for_an_hour_and_what_was_there_before_is_not() {
        let mut recent = Recent::default();
        let steps = [
            (0, Some(7), None),
            (10, Some(7), None),
            (20, Some(9), Some(2)),
            (30, None, Some(2)),
            (3000, Some(10), Some(3)),
            (6599, Some(10), Some(3)),
            (6600, Some(10), None),
            // The unit was started anew.
            (6700, Some(0), None),
            (6800, Some(1), Some(1)),
        ];
        for (second, value, told) in steps {
            assert_eq!(
                recent.step(value, Duration::from_secs(second)),
                told,
                "at {second} s"
            );
        }
    }
}
