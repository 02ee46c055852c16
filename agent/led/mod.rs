//! Shows the indication on the board's LEDs, and watches its button.
//!
//! An [`Led`] is one LED that can be drawn; [`open`] makes them from the configuration, and
//! [`run`] draws them all in the rhythm of the indication. An LED that is missing or fails is told,
//! and never stops anything else.
//!
//! | kind | what it is | dims |
//! | --- | --- | --- |
//! | `gpio`, `rgb` | pins of the board, through rppal | if they are told to: see the module `rppal` |
//! | `kernel` | `/sys/class/leds/<name>` | if its driver can |
//! | `simulated` | a value that the demo and the tests watch | yes |

pub mod button;
mod renderer;
mod rppal;
mod simulated;
mod sysfs;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use edge_agent_core::indication::Rgb;
use tokio::sync::watch;

use crate::config::{self, Config};

pub use button::Wire;
pub use renderer::run;
pub use simulated::{Simulated, Switch};

/// Where the kernel shows its LEDs.
const KERNEL_LEDS: &str = "/sys/class/leds";

/// One LED.
pub trait Led: Send {
    /// Whether it shows brightnesses between off and full. One that does not is given only 0 and
    /// full of every colour.
    fn can_dim(&self) -> bool;

    /// Shows `colour`, which is as bright as it is meant to be; an LED of a single colour shows
    /// `level` (0 to 1) instead, which is its brightness.
    ///
    /// # Errors
    /// When the LED cannot be driven now; it may be tried again later.
    fn draw(&mut self, colour: Rgb, level: f32) -> io::Result<()>;

    /// Goes out and gives back what it holds: a pin, a trigger of the kernel. Does nothing when
    /// it was called before. Dropping an LED releases it as well.
    fn release(&mut self);
}

/// An LED under the name that the configuration gives it.
pub struct NamedLed {
    name: String,
    led: Box<dyn Led>,
    colours: Option<watch::Receiver<Rgb>>,
}

impl NamedLed {
    /// An LED of any kind.
    #[must_use]
    pub fn new(name: &str, led: Box<dyn Led>) -> Self {
        Self {
            name: name.to_owned(),
            led,
            colours: None,
        }
    }

    /// An LED that only shows itself to who watches its [`colours`](Self::colours).
    #[must_use]
    pub fn simulated(name: &str) -> Self {
        let (led, colours) = Simulated::new();
        Self {
            colours: Some(colours),
            ..Self::new(name, Box::new(led))
        }
    }

    /// The name in the configuration, or of the LED of the board.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a simulated LED shows; `None` for a real one.
    #[must_use]
    pub fn colours(&self) -> Option<watch::Receiver<Rgb>> {
        self.colours.clone()
    }
}

/// Makes the LEDs of the configuration. Those that cannot be had are in the second list, by name
/// and with the reason: faults to report, never a reason to stop.
///
/// Without any configuration it is the board's own activity LED, if this process may write it; if
/// not there is no LED, and that is no fault.
#[must_use]
pub fn open(config: &Config) -> (Vec<NamedLed>, Vec<(String, String)>) {
    let memory = config.runtime_directory.as_deref();
    open_at(Path::new(KERNEL_LEDS), memory, &config.led)
}

/// Gives the LEDs back that an agent still had when it was killed: those of the kernel to their triggers,
/// the pins to nobody. Not while an agent runs.
/// `memory` is the runtime directory of the service.
pub fn release(leds: &BTreeMap<String, config::Led>, memory: Option<&Path>) {
    // What is opened is given back when it is dropped. What cannot be opened is nobody's.
    drop(open_at(Path::new(KERNEL_LEDS), memory, leds));
}

/// The button of the configuration, if it has one.
///
/// # Errors
/// Why it cannot be had: a fault to report, never a reason to stop.
pub fn open_button(config: &Config) -> Result<Option<Box<dyn Wire>>, String> {
    let button = config.button.as_ref();
    button
        .map(|button| rppal::Pins::default().button(button))
        .transpose()
}

fn open_at(
    kernel_leds: &Path,
    memory: Option<&Path>,
    config: &BTreeMap<String, config::Led>,
) -> (Vec<NamedLed>, Vec<(String, String)>) {
    if config.is_empty() {
        return (
            sysfs::own_led(kernel_leds, memory).into_iter().collect(),
            Vec::new(),
        );
    }
    let mut pins = rppal::Pins::default();
    let mut leds = Vec::new();
    let mut faults = Vec::new();
    for (name, settings) in config {
        let led: Result<Box<dyn Led>, String> = match settings {
            config::Led::Simulated => {
                leds.push(NamedLed::simulated(name));
                continue;
            }
            config::Led::Kernel { name } => sysfs::KernelLed::open(kernel_leds, name, memory)
                .map(|led| Box::new(led) as Box<dyn Led>),
            config::Led::Gpio {
                pin,
                active_low,
                pwm,
            } => pins.led(&[*pin], *active_low, *pwm),
            config::Led::Rgb {
                red,
                green,
                blue,
                active_low,
                pwm,
            } => pins.led(&[*red, *green, *blue], *active_low, *pwm),
        };
        match led {
            Ok(led) => leds.push(NamedLed::new(name, led)),
            Err(fault) => faults.push((name.clone(), fault)),
        }
    }
    (leds, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(leds: Vec<(&str, config::Led)>) -> BTreeMap<String, config::Led> {
        leds.into_iter()
            .map(|(name, led)| (name.to_owned(), led))
            .collect()
    }

    #[test]
    fn an_led_that_is_not_there_is_a_fault_and_the_others_are_lit() {
        let empty = tempfile::tempdir().unwrap();
        let config = config(vec![
            // No board has a pin of this number, and a PC has none at all.
            (
                "broken",
                config::Led::Gpio {
                    pin: 200,
                    active_low: false,
                    pwm: config::Pwm::Off,
                },
            ),
            ("deploy", config::Led::Simulated),
            (
                "power",
                config::Led::Kernel {
                    name: "PWR".to_owned(),
                },
            ),
        ]);
        let (leds, faults) = open_at(empty.path(), None, &config);
        assert_eq!(
            leds.iter().map(NamedLed::name).collect::<Vec<_>>(),
            ["deploy"]
        );
        assert!(leds[0].colours().is_some());
        let names: Vec<_> = faults.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["broken", "power"]);
        assert!(faults[0].1.contains("GPIO"), "{}", faults[0].1);
        assert!(faults[1].1.contains("PWR"), "{}", faults[1].1);
    }

    #[test]
    fn without_configuration_and_without_an_led_there_is_nothing_and_no_fault() {
        let empty = tempfile::tempdir().unwrap();
        let (leds, faults) = open_at(empty.path(), None, &BTreeMap::new());
        assert!(leds.is_empty() && faults.is_empty());
    }
}
