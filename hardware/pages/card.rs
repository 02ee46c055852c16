//! The card of blink codes, to print and to stick onto the case: every rhythm as the agent draws it.

use std::fmt::Write as _;
use std::time::Duration;

use edge_agent_core::indication::{Indication, Rgb, hue, level, next_change};

/// How much of a rhythm is drawn, in milliseconds; a tenth of a millimetre shows ten of them.
const LENGTH: u64 = 6000;
const SCALE: u64 = 10;
/// Where the rhythm begins, and the height of a row, in tenths of a millimetre.
const LEFT: u64 = 400;
const ROW: u64 = 70;
const TOP: u64 = 130;

/// The card with its name.
pub(crate) fn picture() -> (&'static str, String) {
    let rows = Indication::ALL.len() as u64;
    let (width, height) = (LEFT + LENGTH / SCALE + 40, TOP + rows * ROW + 60);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}mm\" height=\"{}mm\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\" stroke=\"#000000\" stroke-width=\"2\"/>\n\
         <text x=\"30\" y=\"60\" font-size=\"36\" font-weight=\"bold\">edge-agent: what the LED says</text>\n\
         <text x=\"30\" y=\"98\" font-size=\"20\" fill=\"#444444\">The first that applies. Dark for long: the agent \
         does not run.</text>\n",
        width / 10,
        height / 10
    );
    for (number, indication) in (0..).zip(Indication::ALL) {
        draw(&mut svg, indication, TOP + number * ROW);
    }
    let below = TOP + rows * ROW;
    for second in 0..=LENGTH / 1000 {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" font-size=\"18\" text-anchor=\"middle\" fill=\"#444444\">{second} s</text>",
            LEFT + second * 1000 / SCALE,
            below + 24
        );
    }
    svg.push_str("</svg>\n");
    ("card.svg", svg)
}

fn draw(svg: &mut String, indication: Indication, top: u64) {
    let (name, meaning) = indication.words();
    let (words, rest) = split(meaning);
    let _ = writeln!(
        svg,
        "<text x=\"30\" y=\"{}\" font-size=\"24\" font-weight=\"bold\">{name}</text>\
         <text x=\"30\" y=\"{}\" font-size=\"15\" fill=\"#444444\">{words}</text>\
         <text x=\"30\" y=\"{}\" font-size=\"15\" fill=\"#444444\">{rest}</text>",
        top + 20,
        top + 38,
        top + 54
    );
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{}\" height=\"44\" fill=\"#202020\"/>",
        LENGTH / SCALE
    );
    let mut at = 0;
    while at < LENGTH {
        let elapsed = Duration::from_millis(at);
        // As on an LED that can dim, where one could see the difference: a rollout breathes.
        let breathes = indication == Indication::RollingOut;
        let wait = next_change(indication, elapsed, breathes);
        let wait = wait.map_or(LENGTH, |wait| {
            u64::try_from(wait.as_millis()).unwrap_or(LENGTH)
        });
        let end = (at + wait.max(1)).min(LENGTH);
        let level = level(indication, elapsed, breathes);
        if level > 0.0 {
            let _ = writeln!(
                svg,
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"32\" fill=\"{}\"/>",
                LEFT + at / SCALE,
                top + 6,
                (end - at) / SCALE,
                shade(hue(indication, elapsed).scaled(level))
            );
        }
        at = end;
    }
}

/// Two lines of about the same length.
fn split(text: &str) -> (&str, &str) {
    if text.len() <= 44 {
        return (text, "");
    }
    let middle = text[..44.min(text.len())].rfind(' ').unwrap_or(0);
    (&text[..middle], text[middle..].trim_start())
}

/// As it looks, on paper.
fn shade(colour: Rgb) -> String {
    let part = |part: f32| {
        let wanted = part.clamp(0.0, 1.0).sqrt() * 255.0;
        let value = (0..u8::MAX).find(|value| f32::from(*value) + 0.5 > wanted);
        format!("{:02x}", value.unwrap_or(u8::MAX))
    };
    format!(
        "#{}{}{}",
        part(colour.red),
        part(colour.green),
        part(colour.blue)
    )
}
