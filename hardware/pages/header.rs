//! The 40-pin header, the same on every board that has it.

/// What a pin of the header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pin {
    V3,
    V5,
    Ground,
    /// BCM number.
    Gpio(u8),
}

use Pin::{Gpio, Ground, V3, V5};

/// Pin 1 first.
#[rustfmt::skip]
pub(crate) const HEADER: [Pin; 40] = [
    V3,       V5,
    Gpio(2),  V5,
    Gpio(3),  Ground,
    Gpio(4),  Gpio(14),
    Ground,   Gpio(15),
    Gpio(17), Gpio(18),
    Gpio(27), Ground,
    Gpio(22), Gpio(23),
    V3,       Gpio(24),
    Gpio(10), Ground,
    Gpio(9),  Gpio(25),
    Gpio(11), Gpio(8),
    Ground,   Gpio(7),
    Gpio(0),  Gpio(1),
    Gpio(5),  Ground,
    Gpio(6),  Gpio(12),
    Gpio(13), Ground,
    Gpio(19), Gpio(16),
    Gpio(26), Gpio(20),
    Ground,   Gpio(21),
];

impl Pin {
    pub(crate) fn name(self) -> String {
        match self {
            V3 => "3V3".to_owned(),
            V5 => "5V".to_owned(),
            Ground => "GND".to_owned(),
            Gpio(number) => format!("GPIO {number}"),
        }
    }
}

/// Where a GPIO is on the header, counted from 0.
pub(crate) fn place(gpio: u8) -> usize {
    HEADER
        .iter()
        .position(|pin| *pin == Gpio(gpio))
        .unwrap_or(0)
}

/// The nearest pin of that kind in the same column.
pub(crate) fn nearest(wanted: Pin, to: usize) -> usize {
    let column = HEADER.iter().enumerate().filter(|(at, _)| at % 2 == to % 2);
    let near = column.filter(|(_, pin)| **pin == wanted);
    near.map(|(at, _)| at)
        .min_by_key(|at| at.abs_diff(to))
        .unwrap_or(0)
}
