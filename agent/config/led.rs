//! The LEDs of the settings: `[led.NAME]`, one table each.

use std::collections::BTreeMap;

use super::Led;
use super::section::Section;

/// The pins of the 40-pin header, BCM numbers.
const PINS: std::ops::RangeInclusive<u8> = 0..=27;

/// What already drives a pin or a kernel LED.
#[derive(Default)]
struct Taken {
    pins: BTreeMap<u8, String>,
    kernel: BTreeMap<String, String>,
}

/// Reads all LEDs; those with a fault are left out.
pub(super) fn leds(section: &Section<'_>) -> BTreeMap<String, Led> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut taken = Taken::default();
    let mut leds = BTreeMap::new();
    for name in section.names() {
        if !(1..=32).contains(&name.len()) || !name.bytes().all(allowed) {
            let message =
                "is not the name of an LED: 1 to 32 letters, digits, hyphens or underscores";
            section.fault(section.line_of(name), name, message);
        }
        if let Some(led) = led(section.named_section(name), name, &mut taken) {
            leds.insert(name.to_owned(), led);
        }
    }
    leds
}

fn led(mut section: Section<'_>, name: &str, taken: &mut Taken) -> Option<Led> {
    let Some(kind) = section.text("kind") else {
        if section.line_of("kind").is_none() {
            section.fault(None, "kind", format!("is missing; it is one of {KINDS}"));
        }
        return None;
    };
    let led = match kind.value {
        "gpio" => gpio(&mut section, name, taken),
        "rgb" => rgb(&mut section, name, taken),
        "kernel" => kernel(&mut section, name, taken),
        "simulated" => Some(Led::Simulated),
        other => {
            let message = format!("{other:?} is not one of {KINDS}");
            section.fault(Some(kind.line), "kind", message);
            // Without a kind nobody knows which keys belong here.
            return None;
        }
    };
    section.finish();
    led
}

const KINDS: &str = "gpio, rgb, kernel, simulated";

fn gpio(section: &mut Section<'_>, name: &str, taken: &mut Taken) -> Option<Led> {
    let active_low = section.boolean("active_low", false);
    let pin = pin(section, name, "pin", taken)?;
    Some(Led::Gpio { pin, active_low })
}

fn rgb(section: &mut Section<'_>, name: &str, taken: &mut Taken) -> Option<Led> {
    let active_low = section.boolean("active_low", false);
    // All three are read before the first failure ends it, so that each fault is told.
    let [red, green, blue] = ["red", "green", "blue"].map(|key| pin(section, name, key, taken));
    Some(Led::Rgb {
        red: red?,
        green: green?,
        blue: blue?,
        active_low,
    })
}

fn pin(section: &mut Section<'_>, name: &str, key: &'static str, taken: &mut Taken) -> Option<u8> {
    let pin = section.required_integer(key, PINS);
    let line = section.line_of(key);
    if line.is_none() {
        section.fault(None, key, "is missing; it is the BCM number of a pin");
    }
    let pin = pin?;
    if let Some(other) = taken.pins.get(&pin) {
        section.fault(line, key, format!("GPIO {pin} is taken by {other}"));
        return None;
    }
    taken.pins.insert(pin, format!("led.{name}.{key}"));
    Some(pin)
}

fn kernel(section: &mut Section<'_>, name: &str, taken: &mut Taken) -> Option<Led> {
    let Some(text) = section.text("name") else {
        if section.line_of("name").is_none() {
            let message = "is missing; it is the name of a directory in /sys/class/leds";
            section.fault(None, "name", message);
        }
        return None;
    };
    let line = Some(text.line);
    if text.value.starts_with('.') || text.value.contains(['/', '\0']) {
        section.fault(
            line,
            "name",
            "must be the plain name of a directory in /sys/class/leds",
        );
        return None;
    }
    if let Some(other) = taken.kernel.get(text.value) {
        section.fault(
            line,
            "name",
            format!("{:?} is taken by {other}", text.value),
        );
        return None;
    }
    taken
        .kernel
        .insert(text.value.to_owned(), format!("led.{name}"));
    Some(Led::Kernel {
        name: text.value.to_owned(),
    })
}
