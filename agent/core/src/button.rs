//! The button on the board: from the level of a wire to what a person means by it.
//!
//! Held for [`HOLD`] it is an order, let go before that it is none, and tapped it says "I have seen
//! it". Everything here is a function of levels and times; nobody waits.

use std::time::Duration;

/// A change of level that lasts for less than this is noise of the contact or of the wire.
pub const DEBOUNCE: Duration = Duration::from_millis(30);
/// How long the button is held without a break before that is an order.
pub const HOLD: Duration = Duration::from_secs(5);
/// Who lets go before this has tapped it; who lets go later has changed their mind.
pub const TAP: Duration = Duration::from_secs(1);
/// A button that is down for so long is stuck, or wired the other way round.
pub const STUCK: Duration = Duration::from_secs(60);

/// What a person does with the button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gesture {
    /// It goes down; until one of the next three it counts down.
    Pressed,
    /// It was let go at once.
    Tapped,
    /// It was let go before the time was over.
    Cancelled,
    /// It was held for all of [`HOLD`]. Once for each time that it goes down.
    Held,
    /// It has been down for [`STUCK`].
    Stuck,
    /// What was stuck is let go.
    Freed,
}

/// Follows one button.
#[derive(Debug)]
pub struct Button {
    /// The wire as it was last heard of: whether that is pressed, and since when.
    wire: (bool, Duration),
    position: Position,
    stuck: bool,
}

/// Where the button is, noise left out.
#[derive(Debug, Clone, Copy)]
enum Position {
    /// It was down when it was first looked at, so nobody knows since when: what a wire shows that
    /// is cut or wrong must not be an order. It counts once it has been up.
    Unproven {
        since: Duration,
    },
    Up,
    Down {
        since: Duration,
        fired: bool,
    },
}

impl Button {
    /// A button that reads like this at first, at `now`.
    #[must_use]
    pub fn new(now: Duration, pressed: bool) -> Self {
        Self {
            wire: (pressed, now),
            position: match pressed {
                true => Position::Unproven { since: now },
                false => Position::Up,
            },
            stuck: false,
        }
    }

    /// The wire has this level from `at` on; what had come true by then, in order. Levels are told
    /// in the order of their times; the same once more changes nothing.
    pub fn moved(&mut self, at: Duration, pressed: bool) -> Vec<Gesture> {
        let mut gestures = self.tick(at);
        let (before, since) = self.wire;
        if before != pressed {
            self.wire = (pressed, at.max(since));
            gestures.extend(self.tick(at));
        }
        gestures
    }

    /// The wire has this level at `now`. A change that was not told counts from now, and before what
    /// else would have come true by now: nobody knows when it was.
    pub fn looked(&mut self, now: Duration, pressed: bool) -> Vec<Gesture> {
        let (before, since) = self.wire;
        if before != pressed {
            self.wire = (pressed, now.max(since));
        }
        self.tick(now)
    }

    /// What has come true by `now`, in order.
    pub fn tick(&mut self, now: Duration) -> Vec<Gesture> {
        let mut gestures = Vec::new();
        while self.deadline().is_some_and(|due| due <= now) {
            self.step(&mut gestures);
        }
        gestures
    }

    /// When [`Button::tick`] is due; `None` while only the wire can bring something new.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let (pressed, since) = self.wire;
        match (self.position, pressed) {
            (Position::Up, false) => None,
            (Position::Up, true) | (Position::Unproven { .. } | Position::Down { .. }, false) => {
                Some(since + DEBOUNCE)
            }
            (
                Position::Down {
                    since,
                    fired: false,
                },
                true,
            ) => Some(since + HOLD),
            (Position::Down { since, .. } | Position::Unproven { since }, true) => {
                (!self.stuck).then(|| since + STUCK)
            }
        }
    }

    /// Does what the deadline is for.
    fn step(&mut self, gestures: &mut Vec<Gesture>) {
        let (pressed, changed) = self.wire;
        match (self.position, pressed) {
            (Position::Up, true) => {
                let (since, fired) = (changed, false);
                self.position = Position::Down { since, fired };
                gestures.push(Gesture::Pressed);
            }
            (
                Position::Down {
                    since,
                    fired: false,
                },
                true,
            ) => {
                self.position = Position::Down { since, fired: true };
                gestures.push(Gesture::Held);
            }
            (_, true) => {
                self.stuck = true;
                gestures.push(Gesture::Stuck);
            }
            (position, false) => {
                self.position = Position::Up;
                if let Position::Down {
                    since,
                    fired: false,
                } = position
                {
                    let held = changed.saturating_sub(since);
                    gestures.push(if held < TAP {
                        Gesture::Tapped
                    } else {
                        Gesture::Cancelled
                    });
                }
                if std::mem::take(&mut self.stuck) {
                    gestures.push(Gesture::Freed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Plays levels that change at these times, first pressed and then released in turn, and looks
    /// at what has come true up to the end.
    fn played(changes: &[u64], end: u64) -> Vec<Gesture> {
        let mut button = Button::new(ms(0), false);
        let mut gestures = Vec::new();
        for (number, at) in changes.iter().enumerate() {
            gestures.extend(button.moved(ms(*at), number % 2 == 0));
        }
        gestures.extend(button.tick(ms(end)));
        gestures
    }

    #[test]
    fn held_it_is_an_order_let_go_it_is_none() {
        use Gesture::{Cancelled, Held, Pressed, Tapped};
        assert_eq!(played(&[100], 5099), [Pressed]);
        assert_eq!(played(&[100], 5100), [Pressed, Held]);
        assert_eq!(played(&[100, 5000], 9000), [Pressed, Cancelled]);
        assert_eq!(played(&[100, 400], 9000), [Pressed, Tapped]);
        assert_eq!(played(&[100, 9000], 20_000), [Pressed, Held]);
        assert_eq!(
            played(&[100, 3000, 4000, 9100], 20_000),
            [Pressed, Cancelled, Pressed, Held],
            "the time starts anew each time"
        );
    }

    #[test]
    fn noise_is_not_a_press_and_does_not_end_one() {
        use Gesture::{Cancelled, Held, Pressed};
        assert_eq!(played(&[100, 120, 125, 150], 9000), []);
        assert_eq!(played(&[100, 3000, 3020], 5200), [Pressed, Held]);
        // At the very end it has to show whether it was noise.
        assert_eq!(played(&[100, 5090], 5110), [Pressed]);
        assert_eq!(played(&[100, 5090], 5120), [Pressed, Cancelled]);
        assert_eq!(played(&[100, 5090, 5110], 5110), [Pressed, Held]);
    }

    #[test]
    fn one_that_is_down_from_the_start_orders_nothing_and_is_told() {
        let mut button = Button::new(ms(0), true);
        assert_eq!(button.tick(ms(59_999)), []);
        assert_eq!(button.tick(ms(60_000)), [Gesture::Stuck]);
        assert_eq!(button.deadline(), None);
        assert_eq!(button.moved(ms(70_000), false), []);
        assert_eq!(button.tick(ms(70_030)), [Gesture::Freed]);
        button.moved(ms(71_000), true);
        assert_eq!(button.tick(ms(76_000)), [Gesture::Pressed, Gesture::Held]);
        assert_eq!(button.tick(ms(131_000)), [Gesture::Stuck]);
    }

    #[test]
    fn a_change_that_was_lost_is_seen_in_time() {
        let mut button = Button::new(ms(0), false);
        button.moved(ms(100), true);
        assert_eq!(button.looked(ms(130), true), [Gesture::Pressed]);
        assert_eq!(button.looked(ms(5100), false), []);
        assert_eq!(button.looked(ms(5130), false), [Gesture::Cancelled]);
    }

    /// Longest time down without a break of `DEBOUNCE`, and how many of at least `HOLD` there were;
    /// found from the levels alone.
    fn holds(changes: &[u64], end: u64) -> Vec<u64> {
        let mut holds = Vec::new();
        let mut since = None;
        for (number, at) in changes.iter().enumerate() {
            let next = changes.get(number + 1).copied().unwrap_or(end);
            match (number % 2 == 0, since) {
                // A press counts from where it lasts.
                (true, None) if next - at >= 30 => since = Some(*at),
                (false, Some(from)) if next - at >= 30 => {
                    holds.push(at - from);
                    since = None;
                }
                _ => {}
            }
        }
        holds.extend(since.map(|from| end - from));
        holds
    }

    fn changes() -> impl Strategy<Value = Vec<u64>> {
        let gap = prop_oneof![1_u64..60, 1_u64..2_000, 4_900_u64..5_100, 1_u64..70_000];
        prop::collection::vec(gap, 0..12).prop_map(|gaps| {
            let mut at = 0;
            gaps.into_iter()
                .map(|gap| {
                    at += gap;
                    at
                })
                .collect()
        })
    }

    proptest! {
        /// Never before the time is over, once for each hold, whatever the noise, and whenever
        /// somebody looks.
        #[test]
        fn it_fires_once_for_each_hold_that_is_long_enough(
            changes in changes(),
            looks in prop::collection::vec(0_u64..400_000, 0..20),
        ) {
            let end = changes.last().copied().unwrap_or(0) + 70_000;
            let mut button = Button::new(ms(0), false);
            let mut gestures = Vec::new();
            let mut moments: Vec<(u64, Option<bool>)> = changes
                .iter()
                .enumerate()
                .map(|(number, at)| (*at, Some(number % 2 == 0)))
                .chain(looks.into_iter().filter(|at| *at < end).map(|at| (at, None)))
                .collect();
            moments.sort_by_key(|(at, _)| *at);
            for (at, level) in moments {
                gestures.extend(match level {
                    Some(pressed) => button.moved(ms(at), pressed),
                    None => button.tick(ms(at)),
                });
            }
            gestures.extend(button.tick(ms(end)));
            let holds = holds(&changes, end);
            let count = |wanted| gestures.iter().filter(|it| **it == wanted).count();
            prop_assert_eq!(count(Gesture::Pressed), holds.len());
            prop_assert_eq!(count(Gesture::Held), holds.iter().filter(|it| **it >= 5000).count());
            prop_assert!(count(Gesture::Tapped) + count(Gesture::Cancelled) + count(Gesture::Held) <= holds.len());
        }

        /// Who looks only when told to gets everything at its time, and there is always an end.
        #[test]
        fn the_deadline_is_ahead_once_it_was_met(changes in changes()) {
            let mut button = Button::new(ms(0), false);
            for (number, at) in changes.iter().enumerate() {
                while let Some(due) = button.deadline().filter(|due| *due <= ms(*at)) {
                    button.tick(due);
                    prop_assert!(button.deadline().is_none_or(|next| next > due));
                }
                button.moved(ms(*at), number % 2 == 0);
            }
        }
    }
}
