//! What the pins show, held against the table of the code: `agent/core/src/indication`.

use std::time::{Duration, Instant};

use edge_agent_core::indication::{Indication, hue, level, next_change};

use super::machine::Machine;

/// The pins of the LED, by the bits that they have in what is shown.
pub(super) const RGB: [u8; 3] = [17, 27, 22];
pub(super) const ACT: u8 = 16;

/// How far an edge may be off: an emulated board shares its processors with all else.
const TOLERANCE: Duration = Duration::from_millis(90);

/// A colour, a bit for each pin that is on, and how long it was shown.
type Segment = (u8, Duration);

/// What an LED on these pins is to show: one period, or one segment without end.
fn expected(indication: Indication, pins: &[u8]) -> Vec<Segment> {
    let mut elapsed = Duration::ZERO;
    let mut segments = Vec::new();
    // As many as there can be of two hues, so that colours that alternate are in it.
    while segments.len() < 24 {
        let lit = level(indication, elapsed, false) > 0.5;
        let colour = hue(indication, elapsed);
        let parts = match pins.len() {
            1 => vec![1.0],
            _ => vec![colour.red, colour.green, colour.blue],
        };
        let mask = parts.iter().enumerate().fold(0, |mask, (bit, part)| {
            mask | u8::from(lit && *part > 0.25) << bit
        });
        let Some(wait) = next_change(indication, elapsed, false) else {
            return vec![(mask, Duration::MAX)];
        };
        segments.push((mask, wait));
        elapsed += wait;
    }
    segments
}

/// Looks at the pins for a while: what they showed, without the first and the last segment, of which
/// an end was not seen.
fn seen(machine: &mut Machine, pins: &[u8], length: Duration) -> (Vec<Segment>, u8) {
    let begun = Instant::now();
    let mut segments: Vec<(u8, Instant)> = Vec::new();
    let mut shown = 0;
    while begun.elapsed() < length {
        let before = Instant::now();
        let levels = machine.levels();
        shown = pins.iter().enumerate().fold(0, |mask, (bit, pin)| {
            mask | u8::from(levels >> pin & 1 == 1) << bit
        });
        if segments.last().is_none_or(|(last, _)| *last != shown) {
            segments.push((shown, before));
        }
        std::thread::sleep(Duration::from_millis(4));
    }
    // Three pins are set one after the other; what is seen in between is no colour of its own.
    let lengths: Vec<Segment> = segments
        .windows(2)
        .map(|pair| (pair[0].0, pair[1].1 - pair[0].1))
        .skip(1)
        .filter(|(_, length)| *length > Duration::from_millis(15))
        .collect();
    (lengths, shown)
}

fn matches(seen: &[Segment], last: u8, expected: &[Segment]) -> bool {
    if let [(mask, Duration::MAX)] = expected {
        return seen.is_empty() && last == *mask;
    }
    let fits = |start: usize| {
        seen.iter().zip(expected.iter().cycle().skip(start)).all(
            |((mask, length), (wanted, right))| {
                mask == wanted && length.abs_diff(*right) < TOLERANCE
            },
        )
    };
    seen.len() >= 2 && (0..expected.len()).any(fits)
}

/// Waits until the pins show an indication, colour by colour and each as long as the table says.
pub(super) fn wait_shown(machine: &mut Machine, indication: Indication, pins: &[u8]) {
    let expected = expected(indication, pins);
    let period: Duration = match expected.as_slice() {
        [_] => Duration::from_secs(3),
        some => some.iter().map(|(_, length)| *length).sum(),
    };
    // Two flashes and the pauses beside them, of the slowest.
    let length = period.clamp(Duration::from_millis(2500), Duration::from_secs(9));
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (shown, last) = seen(machine, pins, length);
        if matches(&shown, last, &expected) {
            let told: Vec<String> = shown
                .iter()
                .take(8)
                .map(|(mask, length)| format!("{mask:03b}:{}", length.as_millis()))
                .collect();
            super::figure(indication.as_str(), told.join(" "));
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{}: shown {shown:?}, now {last:03b}; expected {expected:?}",
            indication.as_str()
        );
    }
}

/// Waits until the pins are low and stay so, and nobody drives them any more.
pub(super) fn wait_dark(machine: &mut Machine, pins: &[u8], limit: Duration) {
    let deadline = Instant::now() + limit;
    loop {
        let released = pins.iter().all(|pin| machine.is_input(*pin));
        let levels = machine.levels();
        if released && pins.iter().all(|pin| levels >> pin & 1 == 0) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the LED is still driven: {levels:#x}"
        );
        std::thread::sleep(Duration::from_millis(4));
    }
}
