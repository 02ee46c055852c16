//! The wiring, drawn from settings as the agent reads them.

use std::fmt::Write as _;
use std::path::Path;

use edge_agent::config::{Button, Config, Environment, Led};

use super::header::{HEADER, Pin, nearest, place};

/// What can be wired: the name of its picture, its title, and its settings.
pub(crate) const SETUPS: [(&str, &str, &str); 4] = [
    (
        "single.svg",
        "One LED",
        "[led.deploy]\nkind = \"gpio\"\npin = 17\nactive_low = false\n",
    ),
    ("three.svg", "Three LEDs", RGB),
    ("rgb.svg", "RGB LED, common cathode", RGB),
    (
        "button.svg",
        "Button",
        "[button]\ngpio = 5\naction = \"rollback\"\n",
    ),
];

const RGB: &str =
    "[led.deploy]\nkind = \"rgb\"\nred = 17\ngreen = 27\nblue = 22\nactive_low = false\n";

/// One wire from a pin to the other end of the part that hangs on it.
struct Wire {
    gpio: u8,
    label: String,
    part: Part,
}

enum Part {
    Led { colour: &'static str, ohms: u16 },
    Button,
}

/// Distance of two pins, and where things are, in tenths of a millimetre.
const ROW: usize = 60;
const TOP: usize = 150;
const MIDDLE: usize = 700;
const RESISTOR: usize = 260;
const LED: usize = 420;
const BUS: usize = 520;

/// Every picture with its name.
pub(crate) fn pictures() -> Vec<(&'static str, String)> {
    let draw = |(name, title, text): (&'static str, &str, &str)| (name, picture(title, text));
    SETUPS.into_iter().map(draw).collect()
}

fn picture(title: &str, text: &str) -> String {
    let environment = Environment {
        host_name: Some("pi-01".to_owned()),
        state_directory: Some("/var/lib/edge-agent".into()),
        ..Environment::default()
    };
    let config = match Config::parse(text, Path::new("agent.toml"), &environment) {
        Ok(config) => config,
        Err(faults) => panic!("{title}: {faults}"),
    };
    let mut wires: Vec<Wire> = config.led.values().flat_map(of_led).collect();
    wires.extend(config.button.map(of_button));
    let to = match config.button {
        Some(Button {
            active_low: false, ..
        }) => Pin::V3,
        _ => Pin::Ground,
    };
    let height = TOP + 20 * ROW + 20;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100mm\" height=\"{}mm\" \
         viewBox=\"0 0 1000 {height}\" font-family=\"sans-serif\">\n\
         <rect width=\"1000\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"40\" y=\"70\" font-size=\"44\" font-weight=\"bold\">{title}</text>\n\
         <text x=\"40\" y=\"115\" font-size=\"28\" fill=\"#555555\">the corner with pin 1 on top; GPIO numbers \
         are BCM</text>\n",
        height / 10
    );
    let used: Vec<usize> = wires.iter().map(|wire| place(wire.gpio)).collect();
    let back = used.first().map(|first| nearest(to, *first));
    draw_header(&mut svg, &used, back);
    if let Some(back) = back {
        draw_wires(&mut svg, &wires, back);
    }
    svg.push_str("</svg>\n");
    svg
}

fn of_led(led: &Led) -> Vec<Wire> {
    let led_on = |gpio, label: &str, colour, ohms| Wire {
        gpio,
        label: label.to_owned(),
        part: Part::Led { colour, ohms },
    };
    match *led {
        Led::Gpio { pin, .. } => vec![led_on(pin, "LED", "#d01c1c", 330)],
        Led::Rgb {
            red, green, blue, ..
        } => vec![
            led_on(red, "red", "#d01c1c", 330),
            led_on(green, "green", "#1a9a3a", 100),
            led_on(blue, "blue", "#1c4fd0", 100),
        ],
        Led::Kernel { .. } | Led::Simulated => Vec::new(),
    }
}

fn of_button(button: Button) -> Wire {
    Wire {
        gpio: button.gpio,
        label: "button".to_owned(),
        part: Part::Button,
    }
}

fn y(pin: usize) -> usize {
    TOP + pin / 2 * ROW + ROW / 2
}

/// The pins, those in use filled.
fn draw_header(svg: &mut String, used: &[usize], back: Option<usize>) {
    let _ = writeln!(
        svg,
        "<rect x=\"{}\" y=\"{TOP}\" width=\"140\" height=\"{}\" rx=\"10\" fill=\"#303030\"/>",
        MIDDLE - 70,
        20 * ROW
    );
    for (at, pin) in HEADER.iter().enumerate() {
        let left = at % 2 == 0;
        let (x, text, anchor) = match left {
            true => (MIDDLE - 32, MIDDLE - 85, "end"),
            false => (MIDDLE + 32, MIDDLE + 85, "start"),
        };
        let fill = match pin {
            _ if used.contains(&at) => "#ffb000",
            Pin::Ground if back == Some(at) => "#ffffff",
            Pin::V3 if back == Some(at) => "#ff6060",
            _ => "#707070",
        };
        let y = y(at);
        let _ = writeln!(
            svg,
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"22\" fill=\"{fill}\"/>\
             <text x=\"{x}\" y=\"{}\" font-size=\"20\" text-anchor=\"middle\">{}</text>",
            y + 7,
            at + 1
        );
        let in_use = used.contains(&at) || back == Some(at);
        let (weight, colour) = if in_use {
            ("bold", "#000000")
        } else {
            ("normal", "#888888")
        };
        // Above its wire.
        let lift = if in_use { 8 } else { 0 };
        let _ = writeln!(
            svg,
            "<text x=\"{text}\" y=\"{}\" font-size=\"24\" text-anchor=\"{anchor}\" font-weight=\"{weight}\" \
             fill=\"{colour}\">{}</text>",
            y + 8 - lift * 2,
            pin.name()
        );
    }
}

/// From each pin through its part to what they share, and back to a pin.
fn draw_wires(svg: &mut String, wires: &[Wire], back: usize) {
    let left = back.is_multiple_of(2);
    let x = |distance: usize| {
        if left {
            MIDDLE - distance
        } else {
            MIDDLE + distance
        }
    };
    let edge = x(60);
    let line = |svg: &mut String, [x1, y1, x2, y2]: [usize; 4]| {
        let _ = writeln!(
            svg,
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"#202020\" stroke-width=\"5\"/>"
        );
    };
    let rows = wires
        .iter()
        .map(|wire| y(place(wire.gpio)))
        .chain([y(back)]);
    let (first, last) = rows.fold((usize::MAX, 0), |(low, high), y| (low.min(y), high.max(y)));
    line(svg, [x(BUS), first, x(BUS), last]);
    line(svg, [x(BUS), y(back), edge, y(back)]);
    for wire in wires {
        let y = y(place(wire.gpio));
        line(svg, [edge, y, x(BUS), y]);
        match wire.part {
            Part::Led { colour, ohms } => draw_led(svg, (x(RESISTOR), x(LED), y), colour, ohms),
            Part::Button => {
                let _ = writeln!(
                    svg,
                    "<rect x=\"{}\" y=\"{}\" width=\"90\" height=\"50\" rx=\"8\" fill=\"#e0e0e0\" \
                     stroke=\"#202020\" stroke-width=\"4\"/><circle cx=\"{}\" cy=\"{y}\" r=\"15\" \
                     fill=\"#202020\"/>",
                    x(LED) - 45,
                    y - 25,
                    x(LED)
                );
            }
        }
        let (at, anchor) = if left {
            (x(BUS) - 20, "end")
        } else {
            (x(BUS) + 20, "start")
        };
        let _ = writeln!(
            svg,
            "<text x=\"{at}\" y=\"{}\" font-size=\"28\" text-anchor=\"{anchor}\">{}</text>",
            y + 9,
            wire.label
        );
    }
}

fn draw_led(svg: &mut String, (resistor, led, y): (usize, usize, usize), colour: &str, ohms: u16) {
    let _ = writeln!(
        svg,
        "<rect x=\"{}\" y=\"{}\" width=\"110\" height=\"36\" fill=\"#f2e2bd\" stroke=\"#202020\" \
         stroke-width=\"3\"/><text x=\"{resistor}\" y=\"{}\" font-size=\"24\" \
         text-anchor=\"middle\">{ohms} Ω</text>",
        resistor - 55,
        y - 18,
        y + 8
    );
    let _ = writeln!(
        svg,
        "<circle cx=\"{led}\" cy=\"{y}\" r=\"25\" fill=\"{colour}\" stroke=\"#202020\" stroke-width=\"3\"/>"
    );
}
