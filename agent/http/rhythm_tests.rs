//! The lamp of the page against the LEDs of the board.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_agent_core::indication::{self, Indication, Rgb};

const SCRIPT: &str = include_str!("page.js");

/// Colours of the flashes, and milliseconds on and off in turn.
type Rhythm = (Vec<String>, Vec<u64>);

fn rhythms() -> BTreeMap<String, Rhythm> {
    let (_, rest) = SCRIPT.split_once("const RHYTHMS = ").unwrap();
    let (json, _) = rest.split_once(";\n").unwrap();
    serde_json::from_str(json).unwrap()
}

/// What the page draws `at` milliseconds after it began; `None` when it is dark.
fn drawn((colours, segments): &Rhythm, at: u64) -> Option<&str> {
    if segments.is_empty() {
        return Some(&colours[0]);
    }
    let period: u64 = segments.iter().sum();
    let flashes = segments.len() / 2;
    let first = usize::try_from(at / period).unwrap() * flashes;
    let mut rest = at % period;
    for (flash, pair) in (first..).zip(segments.chunks(2)) {
        if rest < pair[0] {
            return Some(&colours[flash % colours.len()]);
        }
        if rest < pair[0] + pair[1] {
            return None;
        }
        rest -= pair[0] + pair[1];
    }
    unreachable!()
}

fn colour(name: &str) -> Rgb {
    match name {
        "red" => Rgb::new(1.0, 0.0, 0.0),
        "green" => Rgb::new(0.0, 1.0, 0.0),
        "blue" => Rgb::new(0.0, 0.0, 1.0),
        "magenta" => Rgb::new(1.0, 0.0, 1.0),
        "white" => Rgb::new(1.0, 1.0, 1.0),
        "amber" => Rgb::new(1.0, 0.4, 0.0),
        other => panic!("{other}"),
    }
}

#[test]
fn the_lamp_of_the_page_has_the_rhythm_and_colours_of_the_leds() {
    let rhythms = rhythms();
    assert_eq!(rhythms.len(), Indication::ALL.len());
    for indication in Indication::ALL {
        let rhythm = &rhythms[indication.as_str()];
        for at in (0..12_000).step_by(10) {
            let elapsed = Duration::from_millis(at);
            let lit = indication::level(indication, elapsed, false) > 0.5;
            let page = drawn(rhythm, at);
            assert_eq!(page.is_some(), lit, "{indication:?} at {at} ms");
            if let Some(page) = page {
                let led = indication::hue(indication, elapsed);
                assert_eq!(colour(page), led, "{indication:?} at {at} ms");
            }
        }
    }
}

#[test]
fn the_lamp_breathes_with_the_leds() {
    let (_, rest) = SCRIPT
        .split_once("const BREATHS = { rolling_out: ")
        .unwrap();
    let breath: u64 = rest.split_once(' ').unwrap().0.parse().unwrap();
    let level = |at| indication::level(Indication::RollingOut, Duration::from_millis(at), true);
    for at in (0..breath).step_by(50) {
        assert!((level(at) - level(at + breath)).abs() < 0.001, "{at} ms");
    }
    assert!(level(breath / 2) > 0.99);
    for indication in Indication::ALL {
        let breathes = (0..3000).any(|at| {
            let level = indication::level(indication, Duration::from_millis(at), true);
            level > 0.1 && level < 0.9
        });
        assert_eq!(breathes, indication == Indication::RollingOut);
    }
}
