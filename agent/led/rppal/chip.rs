//! Which channel of which PWM belongs to a pin.
//!
//! rppal takes `pwmchip0`, or `pwmchip2` on a Pi 5. Kernels number the chips otherwise since, and a
//! Pi 5 has a second one, for its fan. The address in the name of the device does not change.

use std::fs;
use std::path::Path;

/// A PWM of a Raspberry Pi: how its device is named, and its channels by pin.
struct Known {
    device: &'static str,
    channels: [(u8, u8); 4],
}

const KNOWN: [Known; 2] = [
    // BCM2835 to BCM2711 (`3f20c000.pwm`, `fe20c000.pwm`): two channels, each on two pins.
    Known {
        device: "20c000.pwm",
        channels: [(12, 0), (13, 1), (18, 0), (19, 1)],
    },
    // The first of RP1 on a Pi 5 (`1f00098000.pwm`).
    Known {
        device: "98000.pwm",
        channels: [(12, 0), (13, 1), (18, 2), (19, 3)],
    },
];

/// The number of the chip below `class` and of its channel for a pin, a BCM number.
pub(super) fn channel(class: &Path, pin: u8) -> Result<(u8, u8), String> {
    let chips = fs::read_dir(class).into_iter().flatten().flatten();
    for chip in chips {
        let name = chip.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("pwmchip")?.parse().ok());
        let device = fs::canonicalize(chip.path().join("device")).unwrap_or_default();
        let device = device.file_name().and_then(|name| name.to_str());
        let known = KNOWN
            .iter()
            .find(|known| device.is_some_and(|device| device.ends_with(known.device)));
        if let (Some(number), Some(known)) = (number, known) {
            let found = known.channels.iter().find(|(of, _)| *of == pin);
            let (_, channel) = found.ok_or_else(|| format!("GPIO {pin} has no PWM of its own"))?;
            return Ok((number, *channel));
        }
    }
    Err(format!(
        "the PWM of GPIO {pin} is not there: config.txt needs dtoverlay=pwm (or pwm-2chan) with this \
         pin, and the board a restart"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A `/sys/class/pwm` whose chips belong to these devices.
    fn class(chips: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (chip, device) in chips {
            let home = root.path().join("devices").join(device);
            let folder = home.join("pwm").join(chip);
            fs::create_dir_all(&folder).unwrap();
            symlink(&home, folder.join("device")).unwrap();
            fs::create_dir_all(root.path().join("class")).unwrap();
            symlink(&folder, root.path().join("class").join(chip)).unwrap();
        }
        root
    }

    #[test]
    fn the_chip_is_known_by_its_device_and_not_by_its_number() {
        let at = |chips: &[(&str, &str)], pin| {
            let root = class(chips);
            channel(&root.path().join("class"), pin)
        };
        assert_eq!(at(&[("pwmchip0", "3f20c000.pwm")], 18), Ok((0, 0)));
        assert_eq!(at(&[("pwmchip0", "fe20c000.pwm")], 19), Ok((0, 1)));
        // A Pi 5 under kernels 6.6 and 6.12; the other one is that of the fan.
        for number in [0, 2] {
            let own = format!("pwmchip{number}");
            let chips = [("pwmchip1", "1f0009c000.pwm"), (&own, "1f00098000.pwm")];
            assert_eq!(at(&chips, 12), Ok((number, 0)));
            assert_eq!(at(&chips, 19), Ok((number, 3)));
        }
        let fan = [("pwmchip0", "1f0009c000.pwm")];
        for chips in [&fan[..], &[]] {
            let fault = at(chips, 18).unwrap_err();
            assert!(fault.contains("dtoverlay=pwm"), "{fault}");
        }
        assert!(at(&[("pwmchip0", "3f20c000.pwm")], 17).is_err());
    }
}
