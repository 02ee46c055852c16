//! LEDs on the pins of a Raspberry Pi, through rppal.
//!
//! These do not dim. rppal's software PWM would take a thread a pin, each of which waits busily for
//! up to 0.4 ms of every period: about 4 % of a core at 100 Hz. Worse, a service may not have
//! real-time priority for it, so it would flicker exactly when a rollout keeps the board busy,
//! which is when it would be needed. A rollout therefore blinks at 1 Hz on these.

use std::io;

use ::rppal::gpio::{Error, Gpio, OutputPin};
use edge_agent_core::indication::Rgb;

use super::Led;

/// Part of a colour from which its pin is on. Amber, which has a little green, becomes yellow.
const LIT: f32 = 0.25;

/// The pins of the board, opened when the first is needed.
#[derive(Default)]
pub(super) struct Pins {
    gpio: Option<Gpio>,
}

impl Pins {
    /// An LED on one pin, or on three: red, green, blue. BCM numbers.
    pub(super) fn led(&mut self, pins: &[u8], active_low: bool) -> Result<Box<dyn Led>, String> {
        let lines = pins
            .iter()
            .map(|pin| {
                self.output(*pin, active_low)
                    .map_err(|error| explained(*pin, &error))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Box::new(PinLed { lines, active_low }))
    }

    /// A pin that is an output and dark from the first moment.
    fn output(&mut self, pin: u8, active_low: bool) -> Result<OutputPin, Error> {
        let gpio = match &self.gpio {
            Some(gpio) => gpio,
            None => self.gpio.insert(Gpio::new()?),
        };
        let pin = gpio.get(pin)?;
        Ok(if active_low {
            pin.into_output_high()
        } else {
            pin.into_output_low()
        })
    }
}

fn explained(pin: u8, error: &Error) -> String {
    let advice = match error {
        Error::UnknownModel => "this is not a Raspberry Pi that rppal knows; use kind = \"kernel\"",
        Error::PinUsed(_) => "another LED has it",
        Error::PinNotAvailable(_) => "the board has no such pin; BCM numbers are meant",
        Error::PermissionDenied(_) => {
            "the service must be in the group gpio and its unit allow /dev/gpiomem and /dev/gpiochip0"
        }
        _ => "is there a /dev/gpiomem and a /dev/gpiochip0?",
    };
    format!("GPIO {pin} cannot be used: {error}: {advice}")
}

/// One wire that is high or low.
trait Line: Send {
    fn set(&mut self, high: bool);
}

impl Line for OutputPin {
    fn set(&mut self, high: bool) {
        if high {
            self.set_high();
        } else {
            self.set_low();
        }
    }
}

/// One line, or three of an RGB LED.
struct PinLed<L: Line> {
    lines: Vec<L>,
    active_low: bool,
}

impl<L: Line> Led for PinLed<L> {
    fn can_dim(&self) -> bool {
        false
    }

    fn draw(&mut self, colour: Rgb, level: f32) -> io::Result<()> {
        let parts = match self.lines.len() {
            1 => [level; 3],
            _ => [colour.red, colour.green, colour.blue],
        };
        for (line, part) in self.lines.iter_mut().zip(parts) {
            line.set((part >= LIT) != self.active_low);
        }
        Ok(())
    }

    fn release(&mut self) {
        for line in &mut self.lines {
            line.set(self.active_low);
        }
        // A dropped pin goes back to what it was before, as a rule an input.
        self.lines.clear();
    }
}

impl<L: Line> Drop for PinLed<L> {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_agent_core::indication::{Indication, hue};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// Writes down, under its number, what it is set to.
    struct Wire(usize, Arc<Mutex<[bool; 3]>>);

    impl Line for Wire {
        fn set(&mut self, high: bool) {
            self.1.lock().unwrap()[self.0] = high;
        }
    }

    fn led(count: usize, active_low: bool) -> (PinLed<Wire>, Arc<Mutex<[bool; 3]>>) {
        let wires = Arc::new(Mutex::new([active_low; 3]));
        let lines = (0..count).map(|n| Wire(n, Arc::clone(&wires))).collect();
        (PinLed { lines, active_low }, wires)
    }

    #[test]
    fn an_rgb_led_lights_the_pins_of_its_colour() {
        let (mut led, wires) = led(3, false);
        let mut shown = |indication| {
            led.draw(hue(indication, Duration::ZERO), 1.0).unwrap();
            *wires.lock().unwrap()
        };
        assert_eq!(shown(Indication::Identify), [true, true, true]);
        assert_eq!(shown(Indication::Fault), [true, false, true]);
        assert_eq!(shown(Indication::DeployFailed), [true, false, false]);
        assert_eq!(shown(Indication::Held), [true, true, false]);
        assert_eq!(shown(Indication::Healthy), [false, true, false]);
        assert_eq!(shown(Indication::RollingOut), [false, false, true]);
    }

    #[test]
    fn active_low_turns_everything_round_and_release_leaves_it_dark() {
        let (mut led, wires) = led(3, true);
        led.draw(Rgb::new(1.0, 0.0, 0.0), 1.0).unwrap();
        assert_eq!(*wires.lock().unwrap(), [false, true, true]);
        drop(led);
        assert_eq!(*wires.lock().unwrap(), [true, true, true]);
    }

    #[test]
    fn a_single_led_follows_the_level_and_not_the_colour() {
        let (mut led, wires) = led(1, false);
        led.draw(Rgb::new(0.0, 0.0, 1.0), 1.0).unwrap();
        assert!(wires.lock().unwrap()[0]);
        led.draw(Rgb::BLACK, 0.0).unwrap();
        assert!(!wires.lock().unwrap()[0]);
        led.draw(Rgb::BLACK, 1.0).unwrap();
        led.release();
        assert!(!wires.lock().unwrap()[0]);
    }

    #[test]
    fn what_is_wrong_with_a_pin_says_what_to_do() {
        let denied = Error::PermissionDenied("/dev/gpiomem0".to_owned());
        assert_eq!(
            explained(17, &denied),
            "GPIO 17 cannot be used: Permission denied: /dev/gpiomem0: the service must be in the \
             group gpio and its unit allow /dev/gpiomem and /dev/gpiochip0"
        );
    }
}
