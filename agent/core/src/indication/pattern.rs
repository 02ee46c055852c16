//! The rhythm and the colours of each indication, as functions of the time that it has been shown.

use std::f32::consts::TAU;
use std::time::Duration;

use super::Indication;

/// A colour; each part is a brightness from 0 (off) to 1 (full).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rgb {
    pub red: f32,
    pub green: f32,
    pub blue: f32,
}

impl Rgb {
    /// Off.
    pub const BLACK: Self = Self::new(0.0, 0.0, 0.0);
    const WHITE: Self = Self::new(1.0, 1.0, 1.0);
    const RED: Self = Self::new(1.0, 0.0, 0.0);
    const GREEN: Self = Self::new(0.0, 1.0, 0.0);
    const BLUE: Self = Self::new(0.0, 0.0, 1.0);
    const MAGENTA: Self = Self::new(1.0, 0.0, 1.0);
    /// Green looks much brighter than red at the same current.
    const AMBER: Self = Self::new(1.0, 0.4, 0.0);

    /// A colour of its parts, each from 0 to 1.
    #[must_use]
    pub const fn new(red: f32, green: f32, blue: f32) -> Self {
        Self { red, green, blue }
    }

    /// The same colour, `level` times as bright.
    #[must_use]
    pub fn scaled(self, level: f32) -> Self {
        Self::new(self.red * level, self.green * level, self.blue * level)
    }
}

/// How the brightness goes over time.
enum Rhythm {
    Steady,
    /// Milliseconds on and off in turn, from the start; an even number of them, none zero.
    Blink(&'static [u32]),
    /// From dark to full and back, smoothly.
    Breathe,
}

/// Time between two steps while an LED breathes. Finer than this is not seen.
const STEP: Duration = Duration::from_millis(40);
/// One breath, in and out.
const BREATH: Duration = Duration::from_secs(3);
/// A breath never goes out entirely, so that a dark LED always means that nobody drives it, or
/// that a blink is between two flashes.
const BREATH_FLOOR: f32 = 0.02;

/// Five flashes in the first second, one in the last: as long as the button has to be held.
#[rustfmt::skip]
const COUNTDOWN: &[u32] = &[
    80, 80, 80, 80, 80, 80, 80, 80, 80, 280,
    80, 80, 80, 80, 80, 80, 80, 440,
    80, 80, 80, 80, 80, 600,
    80, 80, 80, 760,
    80, 920,
];

/// The rhythms are chosen so that a person tells them apart without a second one to compare with:
/// by counting flashes, or by what is longer, light or dark.
fn rhythm(indication: Indication, can_dim: bool) -> Rhythm {
    match indication {
        Indication::Countdown => Rhythm::Blink(COUNTDOWN),
        Indication::Refused => Rhythm::Blink(&[600, 300, 600, 300, 600, 1600]),
        Indication::Identify => Rhythm::Blink(&[100, 100]),
        Indication::Fault => Rhythm::Blink(&[150, 250, 150, 1250]),
        Indication::GateFailed => Rhythm::Blink(&[150, 250, 150, 250, 150, 1250]),
        Indication::DeployFailed => Rhythm::Blink(&[250, 250]),
        Indication::RollingOut if can_dim => Rhythm::Breathe,
        Indication::RollingOut => Rhythm::Blink(&[500, 500]),
        Indication::NodeCritical => Rhythm::Blink(&[1800, 200]),
        Indication::Held => Rhythm::Blink(&[150, 3850]),
        Indication::Offline => Rhythm::Blink(&[1000, 1000]),
        Indication::NodeWarning => Rhythm::Blink(&[150, 250, 150, 250, 150, 250, 150, 1250]),
        // Also 1 Hz, like a rollout that cannot breathe, and so a wink instead of an even blink.
        Indication::OutOfSync => Rhythm::Blink(&[100, 900]),
        Indication::Healthy => Rhythm::Steady,
    }
}

/// The colours of the flashes, in turn.
fn hues(indication: Indication) -> &'static [Rgb] {
    match indication {
        Indication::Countdown => &[Rgb::WHITE],
        Indication::Refused => &[Rgb::RED],
        Indication::Identify => &[Rgb::WHITE],
        Indication::Fault => &[Rgb::MAGENTA],
        Indication::GateFailed => &[Rgb::RED, Rgb::BLUE],
        Indication::DeployFailed | Indication::NodeCritical => &[Rgb::RED],
        Indication::RollingOut => &[Rgb::BLUE],
        Indication::Held | Indication::Offline => &[Rgb::AMBER],
        Indication::NodeWarning => &[Rgb::AMBER, Rgb::GREEN],
        Indication::OutOfSync | Indication::Healthy => &[Rgb::GREEN],
    }
}

/// Where a blink is at a moment.
struct Position {
    on: bool,
    /// The number of the flash that this segment is, or that it follows, counted from the start.
    flash: u128,
    /// Until the next segment; never zero.
    remaining: Duration,
}

fn position(segments: &[u32], elapsed: Duration) -> Position {
    let lengths = || segments.iter().map(|ms| u128::from(*ms) * 1_000_000);
    let period = lengths().sum::<u128>().max(1);
    let mut rest = elapsed.as_nanos() % period;
    let mut flash = elapsed.as_nanos() / period * (segments.len() as u128 / 2);
    let mut on = true;
    for length in lengths() {
        if rest < length {
            return Position {
                on,
                flash,
                remaining: nanoseconds(length - rest),
            };
        }
        rest -= length;
        flash += u128::from(!on);
        on = !on;
    }
    // Only an empty pattern comes here, and there is none.
    Position {
        on: true,
        flash: 0,
        remaining: STEP,
    }
}

fn nanoseconds(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}

/// How bright a single LED is, from 0 to 1, when the indication has been shown for `elapsed`. An
/// LED that cannot dim is given nothing but 0 and 1.
#[must_use]
pub fn level(indication: Indication, elapsed: Duration, can_dim: bool) -> f32 {
    match rhythm(indication, can_dim) {
        Rhythm::Steady => 1.0,
        Rhythm::Blink(segments) => f32::from(u8::from(position(segments, elapsed).on)),
        Rhythm::Breathe => breath(elapsed),
    }
}

/// A raised cosine, squared, because the eye sees brightness by its root rather than in proportion.
fn breath(elapsed: Duration) -> f32 {
    let phase =
        nanoseconds(elapsed.as_nanos() % BREATH.as_nanos()).as_secs_f32() / BREATH.as_secs_f32();
    let wave = (1.0 - (phase * TAU).cos()) / 2.0;
    (BREATH_FLOOR + (1.0 - BREATH_FLOOR) * wave * wave).clamp(0.0, 1.0)
}

/// The colour that the current flash has when it is at its brightest.
#[must_use]
pub fn hue(indication: Indication, elapsed: Duration) -> Rgb {
    let hues = hues(indication);
    let flash = match rhythm(indication, false) {
        Rhythm::Blink(segments) => position(segments, elapsed).flash,
        Rhythm::Steady | Rhythm::Breathe => 0,
    };
    let index = usize::try_from(flash % hues.len() as u128).unwrap_or(0);
    hues.get(index).copied().unwrap_or(Rgb::WHITE)
}

/// What an RGB LED that can dim shows when the indication has been shown for `elapsed`. For one
/// that cannot: [`hue`], [`Rgb::scaled`] by its [`level`].
#[must_use]
pub fn colour(indication: Indication, elapsed: Duration) -> Rgb {
    hue(indication, elapsed).scaled(level(indication, elapsed, true))
}

/// How long after `elapsed` the LED must be drawn again, always more than zero; `None` when the
/// indication is steady.
#[must_use]
pub fn next_change(indication: Indication, elapsed: Duration, can_dim: bool) -> Option<Duration> {
    match rhythm(indication, can_dim) {
        Rhythm::Steady => None,
        Rhythm::Blink(segments) => Some(position(segments, elapsed).remaining),
        Rhythm::Breathe => Some(STEP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// The changes of a single LED over a time, as `+ms on, -ms off`, found by following
    /// `next_change`.
    fn blinks(indication: Indication, length: u64) -> String {
        let mut text = String::new();
        let mut elapsed = Duration::ZERO;
        while elapsed < ms(length) {
            let sign = if level(indication, elapsed, false) > 0.5 {
                '+'
            } else {
                '-'
            };
            let Some(wait) = next_change(indication, elapsed, false) else {
                return "steady".to_owned();
            };
            text.push_str(&format!("{sign}{} ", wait.as_millis()));
            elapsed += wait;
        }
        text.trim_end().to_owned()
    }

    #[test]
    fn a_single_led_blinks_as_the_table_says() {
        let table = [
            (
                Indication::Countdown,
                5000,
                "+80 -80 +80 -80 +80 -80 +80 -80 +80 -280 \
                 +80 -80 +80 -80 +80 -80 +80 -440 \
                 +80 -80 +80 -80 +80 -600 \
                 +80 -80 +80 -760 \
                 +80 -920",
            ),
            (Indication::Refused, 4000, "+600 -300 +600 -300 +600 -1600"),
            (Indication::Identify, 400, "+100 -100 +100 -100"),
            (Indication::Fault, 1800, "+150 -250 +150 -1250"),
            (
                Indication::GateFailed,
                2200,
                "+150 -250 +150 -250 +150 -1250",
            ),
            (Indication::DeployFailed, 1000, "+250 -250 +250 -250"),
            (Indication::RollingOut, 2000, "+500 -500 +500 -500"),
            (Indication::NodeCritical, 4000, "+1800 -200 +1800 -200"),
            (Indication::Held, 8000, "+150 -3850 +150 -3850"),
            (Indication::Offline, 2000, "+1000 -1000"),
            (
                Indication::NodeWarning,
                2600,
                "+150 -250 +150 -250 +150 -250 +150 -1250",
            ),
            (Indication::OutOfSync, 2000, "+100 -900 +100 -900"),
            (Indication::Healthy, 1, "steady"),
        ];
        assert_eq!(table.len(), Indication::ALL.len());
        for (indication, length, expected) in table {
            assert_eq!(blinks(indication, length), expected, "{indication:?}");
        }
    }

    /// On and off in black and white, every 10 ms for 12 s, which is three periods of the longest
    /// pattern. It begins where the light first comes on after it was out, because a person looks
    /// up at any moment.
    fn seen(indication: Indication, can_dim: bool) -> Vec<bool> {
        let light: Vec<bool> = (0..2400)
            .map(|step| level(indication, ms(step * 10), can_dim) > 0.5)
            .collect();
        let rise = light.windows(2).position(|pair| pair == [false, true]);
        let start = rise.map_or(0, |before| before + 1);
        light[start..start + 1200].to_vec()
    }

    #[test]
    fn every_two_indications_differ_without_colour() {
        for can_dim in [false, true] {
            let mut known: HashMap<Vec<bool>, Indication> = HashMap::new();
            for indication in Indication::ALL {
                let same = known.insert(seen(indication, can_dim), indication);
                assert_eq!(same, None, "looks like {indication:?}");
            }
        }
    }

    #[test]
    fn an_rgb_led_is_lit_exactly_when_a_single_one_is() {
        for indication in Indication::ALL {
            for step in 0..1600 {
                let elapsed = ms(step * 10);
                let Rgb { red, green, blue } = colour(indication, elapsed);
                let single = level(indication, elapsed, true);
                assert!(
                    (red.max(green).max(blue) - single).abs() < 1e-6,
                    "{indication:?}"
                );
            }
        }
    }

    #[test]
    fn colours_alternate_with_the_flashes() {
        let flashes = |indication, starts: &[u64]| -> Vec<Rgb> {
            starts
                .iter()
                .map(|start| colour(indication, ms(*start)))
                .collect()
        };
        assert_eq!(
            flashes(Indication::GateFailed, &[0, 400, 800, 2200, 2600]),
            [Rgb::RED, Rgb::BLUE, Rgb::RED, Rgb::BLUE, Rgb::RED]
        );
        assert_eq!(
            flashes(Indication::NodeWarning, &[0, 400, 800, 1200, 2600]),
            [Rgb::AMBER, Rgb::GREEN, Rgb::AMBER, Rgb::GREEN, Rgb::AMBER]
        );
        // Between two flashes it is dark.
        assert_eq!(
            flashes(Indication::GateFailed, &[150, 399]),
            [Rgb::BLACK; 2]
        );
    }

    #[test]
    fn a_breath_goes_from_nearly_dark_to_full_and_back() {
        let breath = |at| level(Indication::RollingOut, ms(at), true);
        assert!(breath(0) < 0.05 && breath(0) > 0.0);
        assert!(breath(1500) > 0.99);
        assert!(breath(750) < breath(1000) && breath(2000) > breath(2250));
        assert_eq!(
            next_change(Indication::RollingOut, ms(10), true),
            Some(STEP)
        );
    }

    proptest! {
        #[test]
        fn levels_are_in_range_and_the_next_change_is_ahead(
            index in 0..Indication::ALL.len(),
            seconds: u64,
            nanos in 0_u32..1_000_000_000,
            can_dim: bool,
        ) {
            let indication = Indication::ALL[index];
            let elapsed = Duration::new(seconds, nanos);
            let level = level(indication, elapsed, can_dim);
            prop_assert!((0.0..=1.0).contains(&level));
            prop_assert!(can_dim || level == 0.0 || level == 1.0);
            let Rgb { red, green, blue } = colour(indication, elapsed);
            for part in [red, green, blue] {
                prop_assert!((0.0..=1.0).contains(&part));
            }
            if let Some(wait) = next_change(indication, elapsed, can_dim) {
                prop_assert!(wait > Duration::ZERO);
            }
        }

        /// Whoever draws only when told to misses nothing.
        #[test]
        fn nothing_changes_before_the_next_change(
            index in 0..Indication::ALL.len(),
            start in 0_u64..20_000,
            part in 0.0_f64..1.0,
        ) {
            let indication = Indication::ALL[index];
            let start = ms(start);
            let wait = next_change(indication, start, false).unwrap_or(ms(60_000));
            let between = start + wait.mul_f64(part);
            prop_assert_eq!(level(indication, start, false), level(indication, between, false));
        }
    }
}
