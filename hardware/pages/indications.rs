//! What the fleet page knows of the LEDs, in JSON: every indication in order of priority, what it means, and
//! one round of its rhythm as the agent draws it.

use std::fmt::Write as _;
use std::time::Duration;

use edge_agent_core::indication::{Indication, Rgb, hue, level, next_change};

/// From the root of the project.
pub(crate) const PATH: &str = "config/dashboards/fleet/src/indications.json";

/// How much of a rhythm is looked at to find the round that comes again and again, in milliseconds.
const LENGTH: u64 = 24_000;

/// The whole file.
pub(crate) fn table() -> String {
    let rows: Vec<String> = Indication::ALL.into_iter().map(row).collect();
    format!("{{\n{}\n}}\n", rows.join(",\n"))
}

fn row(indication: Indication) -> String {
    let (name, meaning) = indication.words();
    let mut steps = String::new();
    for (colour, length) in round(indication) {
        let comma = if steps.is_empty() { "" } else { ", " };
        let colour = colour.map_or("null".to_owned(), |colour| format!("\"{colour}\""));
        // Writing to a string cannot fail.
        let _ = write!(steps, "{comma}[{colour}, {length}]");
    }
    let breath = breath(indication).map_or("null".to_owned(), |period| period.to_string());
    format!(
        "  \"{}\": {{\n    \"name\": \"{name}\",\n    \"meaning\": \"{meaning}\",\n    \"breath\": {breath},\n    \
         \"steps\": [{steps}]\n  }}",
        indication.as_str()
    )
}

/// Colour, or nothing for dark, and milliseconds; once round. A steady light has a single step.
fn round(indication: Indication) -> Vec<(Option<&'static str>, u64)> {
    let mut steps = Vec::new();
    let mut at = 0;
    while at < LENGTH {
        let elapsed = Duration::from_millis(at);
        let lit = level(indication, elapsed, false) > 0.5;
        let colour = lit.then(|| named(hue(indication, elapsed)));
        let Some(wait) = next_change(indication, elapsed, false) else {
            return vec![(colour, 1000)];
        };
        let wait = u64::try_from(wait.as_millis()).unwrap_or(LENGTH).max(1);
        steps.push((colour, wait));
        at += wait;
    }
    let comes_again = |length: &usize| steps.iter().zip(&steps[*length..]).all(|(a, b)| a == b);
    let length = (1..steps.len()).find(comes_again).unwrap_or(steps.len());
    steps.truncate(length);
    steps
}

/// Milliseconds of a breath on an LED that dims: from one rise through the middle to the next.
fn breath(indication: Indication) -> Option<u64> {
    let bright = |at| level(indication, Duration::from_millis(at), true) > 0.5;
    let half = |at| (0.1..0.9).contains(&level(indication, Duration::from_millis(at), true));
    let moments = || (0..LENGTH).step_by(10);
    let mut rises = moments().filter(|at| !bright(*at) && bright(at + 10));
    let (first, second) = (rises.next()?, rises.next()?);
    moments().any(half).then_some(second - first)
}

fn named(colour: Rgb) -> &'static str {
    let names = [
        ("white", Rgb::new(1.0, 1.0, 1.0)),
        ("red", Rgb::new(1.0, 0.0, 0.0)),
        ("green", Rgb::new(0.0, 1.0, 0.0)),
        ("blue", Rgb::new(0.0, 0.0, 1.0)),
        ("magenta", Rgb::new(1.0, 0.0, 1.0)),
        ("amber", Rgb::new(1.0, 0.4, 0.0)),
    ];
    let name = names.into_iter().find(|(_, known)| *known == colour);
    // A colour that is new has no name yet; a test holds that against this table.
    name.map_or("unnamed", |(name, _)| name)
}
