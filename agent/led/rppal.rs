//! LEDs and the button on the pins of a Raspberry Pi, through rppal.
//!
//! LEDs do not dim unless they are told to. rppal's software PWM takes a thread a pin, each of which
//! waits busily for up to 0.4 ms of every period: about 4 % of a core at 100 Hz. A service may not
//! have real-time priority for it, so it flickers when a rollout keeps the board busy. Without it
//! a rollout blinks at 1 Hz, and amber is yellow.

mod chip;
mod line;
mod wire;

use std::io;

use ::rppal::gpio::{Error, Gpio, Mode, Pin};
use edge_agent_core::indication::Rgb;

use super::{Led, Wire};
use crate::config::{Button, Pwm};
use line::{Hard, Line, Soft};

/// Part of a colour from which its pin is on, if it cannot dim. Amber, which has a little green,
/// becomes yellow.
const LIT: f32 = 0.25;

/// The pins of the board, opened when the first is needed.
#[derive(Default)]
pub(super) struct Pins {
    gpio: Option<Gpio>,
}

impl Pins {
    /// An LED on one pin, or on three: red, green, blue. BCM numbers.
    pub(super) fn led(
        &mut self,
        pins: &[u8],
        active_low: bool,
        pwm: Pwm,
    ) -> Result<Box<dyn Led>, String> {
        let lines = pins.iter().map(|pin| self.line(*pin, active_low, pwm));
        Ok(Box::new(PinLed {
            lines: lines.collect::<Result<_, _>>()?,
            dims: pwm != Pwm::Off,
        }))
    }

    /// The button. It is watched once that is asked for.
    pub(super) fn button(&mut self, button: &Button) -> Result<Box<dyn Wire>, String> {
        let pin = self.pin(button.gpio)?;
        Ok(Box::new(wire::PinWire::new(pin, button)))
    }

    /// A line that is dark from the first moment.
    fn line(&mut self, pin: u8, active_low: bool, pwm: Pwm) -> Result<Box<dyn Line>, String> {
        if pwm == Pwm::Hardware {
            return Ok(Box::new(Hard::open(pin)?));
        }
        self.reclaim(pin)?;
        let pin = self.pin(pin)?;
        Ok(Box::new(Soft::new(pin, active_low)))
    }

    /// Makes a pin an input again that an agent was driving when it was killed. rppal gives a pin back as
    /// it was found, and so nobody would ever stop driving it.
    fn reclaim(&mut self, pin: u8) -> Result<(), String> {
        let pin = self.pin(pin)?;
        if pin.mode() == Mode::Output {
            pin.into_input().set_reset_on_drop(false);
        }
        Ok(())
    }

    fn pin(&mut self, pin: u8) -> Result<Pin, String> {
        self.open(pin).map_err(|error| explained(pin, &error))
    }

    fn open(&mut self, pin: u8) -> Result<Pin, Error> {
        let gpio = match &self.gpio {
            Some(gpio) => gpio,
            None => self.gpio.insert(Gpio::new()?),
        };
        gpio.get(pin)
    }
}

fn explained(pin: u8, error: &Error) -> String {
    let advice = match error {
        Error::UnknownModel => "this is not a Raspberry Pi that rppal knows; use kind = \"kernel\"",
        Error::PinUsed(_) => "another LED or the button has it",
        Error::PinNotAvailable(_) => "the board has no such pin; BCM numbers are meant",
        Error::PermissionDenied(_) => {
            "the service must be in the group gpio and its unit allow /dev/gpiomem and /dev/gpiochip0"
        }
        _ => "is there a /dev/gpiomem and a /dev/gpiochip0?",
    };
    format!("GPIO {pin} cannot be used: {error}: {advice}")
}

/// One line, or three of an RGB LED.
struct PinLed {
    lines: Vec<Box<dyn Line>>,
    dims: bool,
}

impl Led for PinLed {
    fn can_dim(&self) -> bool {
        self.dims
    }

    fn draw(&mut self, colour: Rgb, level: f32) -> io::Result<()> {
        let parts = match self.lines.len() {
            1 => [level; 3],
            _ => [colour.red, colour.green, colour.blue],
        };
        for (line, part) in self.lines.iter_mut().zip(parts) {
            let part = match self.dims {
                true => part.clamp(0.0, 1.0),
                false if part >= LIT => 1.0,
                false => 0.0,
            };
            line.set(part)?;
        }
        Ok(())
    }

    fn release(&mut self) {
        for line in &mut self.lines {
            // A line that cannot be set is not lit by us either.
            let _ = line.set(0.0);
        }
        // A dropped pin goes back to what it was before, as a rule an input.
        self.lines.clear();
    }
}

impl Drop for PinLed {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_agent_core::indication::{Indication, colour, hue};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// Writes down, under its number, what it is set to.
    struct Drawn(usize, Arc<Mutex<[f32; 3]>>);

    impl Line for Drawn {
        fn set(&mut self, part: f32) -> io::Result<()> {
            self.1.lock().unwrap()[self.0] = part;
            Ok(())
        }
    }

    fn led(count: usize, dims: bool) -> (PinLed, Arc<Mutex<[f32; 3]>>) {
        let drawn = Arc::new(Mutex::new([0.5; 3]));
        let line = |number| Box::new(Drawn(number, Arc::clone(&drawn))) as Box<dyn Line>;
        let lines = (0..count).map(line).collect();
        (PinLed { lines, dims }, drawn)
    }

    #[test]
    fn an_rgb_led_lights_the_pins_of_its_colour() {
        let (mut led, drawn) = led(3, false);
        let mut shown = |indication| {
            led.draw(hue(indication, Duration::ZERO), 1.0).unwrap();
            *drawn.lock().unwrap()
        };
        assert_eq!(shown(Indication::Identify), [1.0, 1.0, 1.0]);
        assert_eq!(shown(Indication::Fault), [1.0, 0.0, 1.0]);
        assert_eq!(shown(Indication::DeployFailed), [1.0, 0.0, 0.0]);
        assert_eq!(shown(Indication::Held), [1.0, 1.0, 0.0], "yellow");
        assert_eq!(shown(Indication::Healthy), [0.0, 1.0, 0.0]);
        assert_eq!(shown(Indication::RollingOut), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn one_that_dims_is_truly_amber_and_breathes() {
        let (mut led, drawn) = led(3, true);
        assert!(led.can_dim());
        led.draw(hue(Indication::Held, Duration::ZERO), 1.0)
            .unwrap();
        assert_eq!(*drawn.lock().unwrap(), [1.0, 0.4, 0.0]);
        let breath = colour(Indication::RollingOut, Duration::from_millis(750));
        led.draw(breath, 1.0).unwrap();
        let [red, green, blue] = *drawn.lock().unwrap();
        assert!((red, green) == (0.0, 0.0) && blue > 0.1 && blue < 0.9);
        drop(led);
        assert_eq!(*drawn.lock().unwrap(), [0.0; 3]);
    }

    #[test]
    fn a_single_led_follows_the_level_and_not_the_colour() {
        let (mut led, drawn) = led(1, false);
        let first = || drawn.lock().unwrap()[0];
        led.draw(Rgb::new(0.0, 0.0, 1.0), 1.0).unwrap();
        assert!(first() > 0.5);
        led.draw(Rgb::BLACK, 0.0).unwrap();
        assert!(first() < 0.5);
        led.draw(Rgb::BLACK, 1.0).unwrap();
        led.release();
        assert!(first() < 0.5);
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
