//! The LEDs of the settings, `[led.NAME]`, one table each; and the button.

use std::collections::BTreeMap;

use super::section::Section;
use super::{Button, Led, Pull, Pwm, default};

/// The pins of the 40-pin header, BCM numbers.
const PINS: std::ops::RangeInclusive<u8> = 0..=27;

/// Those of them that the processor itself can dim.
const HARDWARE_PWM_PINS: [u8; 4] = [12, 13, 18, 19];

/// What already has a pin or a kernel LED.
#[derive(Default)]
pub(super) struct Taken {
    pins: BTreeMap<u8, String>,
    kernel: BTreeMap<String, String>,
}

/// Reads all LEDs; those with a fault are left out.
pub(super) fn leds(section: &Section<'_>, taken: &mut Taken) -> BTreeMap<String, Led> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut leds = BTreeMap::new();
    for name in section.names() {
        if !(1..=32).contains(&name.len()) || !name.bytes().all(allowed) {
            let message =
                "is not the name of an LED: 1 to 32 letters, digits, hyphens or underscores";
            section.fault(section.line_of(name), name, message);
        }
        if let Some(led) = led(section.named_section(name), name, taken) {
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
    let place = format!("led.{name}");
    let pin = pin(section, &place, "pin", taken);
    let pwm = pwm(section, active_low, &[("pin", pin)]);
    Some(Led::Gpio {
        pin: pin?,
        active_low,
        pwm,
    })
}

fn rgb(section: &mut Section<'_>, name: &str, taken: &mut Taken) -> Option<Led> {
    let active_low = section.boolean("active_low", false);
    // All three are read before the first failure ends it, so that each fault is told.
    let place = format!("led.{name}");
    let pins = ["red", "green", "blue"].map(|key| (key, pin(section, &place, key, taken)));
    let pwm = pwm(section, active_low, &pins);
    let [(_, red), (_, green), (_, blue)] = pins;
    Some(Led::Rgb {
        red: red?,
        green: green?,
        blue: blue?,
        active_low,
        pwm,
    })
}

/// Reads how the pins of an LED dim, and whether they can.
fn pwm(section: &mut Section<'_>, active_low: bool, pins: &[(&'static str, Option<u8>)]) -> Pwm {
    let pwm = word(section, "pwm", &Pwm::ALL, Pwm::as_str).unwrap_or(default::PWM);
    if pwm != Pwm::Hardware {
        return pwm;
    }
    for (key, pin) in pins {
        if let Some(pin) = pin.filter(|pin| !HARDWARE_PWM_PINS.contains(pin)) {
            let message = format!(
                "GPIO {pin} has no PWM of its own; with pwm = \"hardware\" it is one of 12, 13, 18, 19"
            );
            section.fault(section.line_of(key), key, message);
        }
    }
    if active_low {
        let message = "\"hardware\" leaves the pin low when the agent ends, and an active_low LED \
                       would then be lit for ever; use \"software\"";
        section.fault(section.line_of("pwm"), "pwm", message);
    }
    pwm
}

/// Reads one of a few words.
fn word<T: Copy>(
    section: &mut Section<'_>,
    key: &'static str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Option<T> {
    let text = section.text(key)?;
    let found = all.iter().copied().find(|it| name(*it) == text.value);
    if found.is_none() {
        let known: Vec<_> = all.iter().map(|it| name(*it)).collect();
        let message = format!("{:?} is not one of {}", text.value, known.join(", "));
        section.fault(Some(text.line), key, message);
    }
    found
}

/// Reads the button, if the file has one.
pub(super) fn button(root: &mut Section<'_>, taken: &mut Taken) -> Option<Button> {
    let there = root.line_of("button").is_some();
    let mut section = root.section("button");
    let active_low = section.boolean("active_low", true);
    let resting = if active_low { Pull::Up } else { Pull::Down };
    let pull = word(&mut section, "pull", &Pull::ALL, Pull::as_str).unwrap_or(resting);
    word(&mut section, "action", &["rollback"], |it| it);
    // Asked for in any case, so that the key is known.
    let gpio = match there {
        true => pin(&mut section, "button", "gpio", taken),
        false => section.required_integer("gpio", PINS),
    };
    section.finish();
    Some(Button {
        gpio: gpio?,
        active_low,
        pull,
    })
}

fn pin(section: &mut Section<'_>, place: &str, key: &'static str, taken: &mut Taken) -> Option<u8> {
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
    taken.pins.insert(pin, format!("{place}.{key}"));
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, Environment};
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let environment = Environment {
            host_name: Some("pi-01".to_owned()),
            state_directory: Some("/var/lib/edge-agent".into()),
            ..Environment::default()
        };
        Config::parse(text, Path::new("agent.toml"), &environment).map_err(|it| it.to_string())
    }

    #[test]
    fn a_button_to_ground_needs_only_its_pin() {
        let button = |text: &str| parse(text).unwrap().button;
        assert_eq!(button(""), None);
        let to_ground = Button {
            gpio: 5,
            active_low: true,
            pull: Pull::Up,
        };
        assert_eq!(button("[button]\ngpio = 5"), Some(to_ground));
        let to_supply = Button {
            active_low: false,
            pull: Pull::Down,
            ..to_ground
        };
        assert_eq!(
            button("[button]\ngpio = 5\nactive_low = false"),
            Some(to_supply)
        );
        let pull = button("[button]\ngpio = 5\npull = \"none\"").unwrap().pull;
        assert_eq!(pull, Pull::None);
    }

    #[test]
    fn what_cannot_work_is_told() {
        for (text, wanted) in [
            (
                "[led.a]\nkind=\"gpio\"\npin=17\npwm=\"hardware\"",
                "agent.toml:3: led.a.pin: GPIO 17 has no PWM of its own",
            ),
            (
                "[led.a]\nkind=\"gpio\"\npin=18\nactive_low=true\npwm=\"hardware\"",
                "agent.toml:5: led.a.pwm: \"hardware\" leaves the pin low",
            ),
            (
                "[led.a]\nkind=\"gpio\"\npin=18\npwm=\"smooth\"",
                "agent.toml:4: led.a.pwm: \"smooth\" is not one of off, software, hardware",
            ),
            (
                "[button]\naction=\"rollback\"",
                "agent.toml:1: button.gpio: is missing",
            ),
            (
                "[button]\ngpio=5\npin=6",
                "agent.toml:3: button.pin: unknown key",
            ),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.contains(wanted), "{text}: {told}");
        }
        let fine = "[led.a]\nkind=\"gpio\"\npin=18\npwm=\"hardware\"";
        assert!(parse(fine).is_ok());
    }
}
