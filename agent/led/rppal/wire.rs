//! The button on a pin. The kernel tells of its changes, so nobody looks in between.

use std::io;
use std::time::Duration;

use ::rppal::gpio::{InputPin, Pin, Trigger};

use super::super::button::{Tell, Wire};
use crate::config::{Button, Pull};

/// Changes that last for less do not even leave the kernel: a wire that picks up noise costs nothing.
const KERNEL_DEBOUNCE: Duration = Duration::from_millis(10);

/// A pin with a button.
pub(super) struct PinWire {
    pin: InputPin,
    active_low: bool,
}

impl PinWire {
    pub(super) fn new(pin: Pin, button: &Button) -> Self {
        Self {
            pin: match button.pull {
                Pull::Up => pin.into_input_pullup(),
                Pull::Down => pin.into_input_pulldown(),
                Pull::None => pin.into_input(),
            },
            active_low: button.active_low,
        }
    }
}

impl Wire for PinWire {
    fn watch(&mut self, mut tell: Tell) -> io::Result<()> {
        let active_low = self.active_low;
        // The kernel is asked on the thread that waits for it. If it refuses, because another program
        // has the pin, the thread ends, `tell` is dropped, and `unwatch` says why.
        self.pin
            .set_async_interrupt(Trigger::Both, Some(KERNEL_DEBOUNCE), move |change| {
                tell((change.trigger == Trigger::RisingEdge) != active_low);
            })
            .map_err(|error| self.explained(&error))
    }

    fn is_pressed(&self) -> bool {
        self.pin.is_high() != self.active_low
    }

    fn unwatch(&mut self) -> io::Result<()> {
        self.pin
            .clear_async_interrupt()
            .map_err(|error| self.explained(&error))
    }
}

impl PinWire {
    fn explained(&self, error: &::rppal::gpio::Error) -> io::Error {
        let pin = self.pin.pin();
        io::Error::other(format!(
            "GPIO {pin} cannot be watched: {error}: does another program or an overlay use it?"
        ))
    }
}
