//! One wire to an LED, as bright as it is told to be.

use std::io;
use std::path::Path;
use std::time::Duration;

use ::rppal::gpio::{OutputPin, Pin};
use ::rppal::pwm::{self, Pwm};

use super::chip;

/// One period of the PWM: 100 Hz, where no eye sees it flicker.
const PERIOD: Duration = Duration::from_millis(10);

/// One wire.
pub(super) trait Line: Send {
    /// Lights it so much, from 0 to 1.
    fn set(&mut self, part: f32) -> io::Result<()>;
}

/// A pin that is switched: fully on or off, and by a thread of rppal while it is neither.
pub(super) struct Soft {
    pin: OutputPin,
    active_low: bool,
    dimmed: bool,
}

impl Soft {
    pub(super) fn new(pin: Pin, active_low: bool) -> Self {
        Self {
            pin: match active_low {
                true => pin.into_output_high(),
                false => pin.into_output_low(),
            },
            active_low,
            dimmed: false,
        }
    }
}

impl Line for Soft {
    fn set(&mut self, part: f32) -> io::Result<()> {
        let lit = part >= 1.0;
        if lit || part <= 0.0 {
            if std::mem::take(&mut self.dimmed) {
                // The thread ends with its period.
                self.pin.clear_pwm().map_err(io::Error::other)?;
            }
            if lit == self.active_low {
                self.pin.set_low();
            } else {
                self.pin.set_high();
            }
            return Ok(());
        }
        self.dimmed = true;
        let high = if self.active_low { 1.0 - part } else { part };
        self.pin
            .set_pwm(PERIOD, PERIOD.mul_f32(high))
            .map_err(io::Error::other)
    }
}

/// A channel of the processor's own PWM. It costs nothing.
pub(super) struct Hard(Pwm);

impl Hard {
    pub(super) fn open(pin: u8) -> Result<Self, String> {
        let channel = chip::channel(Path::new("/sys/class/pwm"), pin)?;
        started(channel)
            .map(Self)
            .map_err(|error| explained(pin, channel, &error))
    }
}

fn started((chip, index): (u8, u8)) -> pwm::Result<Pwm> {
    let pwm = Pwm::with_pwmchip(chip, index)?;
    // What it was left at may be longer than the new period.
    let _ = pwm.set_pulse_width(Duration::ZERO);
    pwm.set_period(PERIOD)?;
    pwm.set_pulse_width(Duration::ZERO)?;
    pwm.enable()?;
    Ok(pwm)
}

fn explained(pin: u8, (chip, index): (u8, u8), error: &pwm::Error) -> String {
    let denied = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        )
    };
    let advice = match error {
        pwm::Error::Io(error) if denied(error) => {
            ": the service needs ReadWritePaths= for it in a drop-in, and its group the right to write"
        }
        pwm::Error::Io(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            ": another LED or another program has it; GPIO 12 and 18 share one, and 13 and 19, before \
             the Pi 5"
        }
        _ => "",
    };
    format!("GPIO {pin} cannot be dimmed by channel {index} of pwmchip{chip}: {error}{advice}")
}

impl Line for Hard {
    fn set(&mut self, part: f32) -> io::Result<()> {
        let pulse = PERIOD.mul_f32(part.clamp(0.0, 1.0));
        self.0.set_pulse_width(pulse).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_channel_says_what_to_do() {
        let denied = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        let said = explained(18, (0, 0), &pwm::Error::Io(denied));
        assert!(
            said.contains("GPIO 18") && said.contains("ReadWritePaths="),
            "{said}"
        );
        let busy = io::Error::from(io::ErrorKind::ResourceBusy);
        let said = explained(18, (0, 0), &pwm::Error::Io(busy));
        assert!(said.contains("share one"), "{said}");
    }
}
