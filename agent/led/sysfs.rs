//! LEDs of the kernel, such as the activity LED of the board: `/sys/class/leds/<name>`.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use edge_agent_core::indication::Rgb;

use super::{Led, NamedLed};

/// Names of the activity LED: of today's kernels, and of those before 2022.
const OWN_LEDS: [&str; 2] = ["ACT", "led0"];

/// The board's own LED, if there is one that this process may write.
pub(super) fn own_led(kernel_leds: &Path, memory: Option<&Path>) -> Option<NamedLed> {
    OWN_LEDS
        .iter()
        .find_map(|name| match KernelLed::open(kernel_leds, name, memory) {
            Ok(led) => Some(NamedLed::new(name, Box::new(led))),
            Err(reason) => {
                tracing::debug!(led = name, reason, "the board's own LED is not used");
                None
            }
        })
}

/// Takes the LED from its trigger, and gives it back when it is released.
pub(super) struct KernelLed {
    directory: PathBuf,
    max: u32,
    can_dim: bool,
    before: Before,
    /// Where what was before stands for as long as the LED is taken.
    memory: Option<PathBuf>,
    shown: Option<u32>,
    released: bool,
}

/// What an LED was before it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Before {
    /// What drove it; `None` when it has no triggers.
    trigger: Option<String>,
    brightness: Option<String>,
}

impl Before {
    fn read(directory: &Path) -> Self {
        let read = |file: &str| fs::read_to_string(directory.join(file)).ok();
        Self {
            trigger: read("trigger").and_then(|list| active_trigger(&list)),
            brightness: read("brightness").map(|text| text.trim().to_owned()),
        }
    }

    /// What an agent has left that was killed and could give nothing back.
    fn recall(memory: &Path) -> Option<Self> {
        let text = fs::read_to_string(memory).ok()?;
        let mut lines = text
            .lines()
            .map(|line| (!line.is_empty()).then(|| line.to_owned()));
        Some(Self {
            trigger: lines.next()?,
            brightness: lines.next()?,
        })
    }

    fn keep(&self, memory: &Path) -> io::Result<()> {
        let line = |value: &Option<String>| value.clone().unwrap_or_default();
        let (trigger, brightness) = (line(&self.trigger), line(&self.brightness));
        fs::write(memory, format!("{trigger}\n{brightness}\n"))
    }
}

impl KernelLed {
    /// `memory` is a directory that lasts as long as the system runs: there stands what was before, so
    /// that it is given back also after the agent was killed.
    ///
    /// # Errors
    /// The reason, for a person, when the LED is not there or not ours to write.
    pub(super) fn open(
        kernel_leds: &Path,
        name: &str,
        memory: Option<&Path>,
    ) -> Result<Self, String> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(format!("{name:?} is not the name of a kernel LED"));
        }
        let directory = kernel_leds.join(name);
        if !directory.is_dir() {
            return Err(format!(
                "there is no kernel LED {name}: {} is not there",
                directory.display()
            ));
        }
        let read = |file: &str| fs::read_to_string(directory.join(file)).ok();
        let number = |file: &str| read(file)?.trim().parse::<u32>().ok();
        let max = number("max_brightness").filter(|max| *max > 0).unwrap_or(1);
        let memory = memory.map(|directory| directory.join(format!("led-{name}")));
        let recalled = memory.as_deref().and_then(Before::recall);
        let before = recalled.unwrap_or_else(|| Before::read(&directory));
        if let Some(Err(error)) = memory.as_deref().map(|memory| before.keep(memory)) {
            tracing::debug!(led = name, %error, "what the LED was before is not written down");
        }
        let mut led = Self {
            before,
            memory,
            can_dim: max > 1 && !is_plain_gpio(&directory),
            max,
            shown: None,
            released: false,
            directory,
        };
        // Taking it shows whether it is ours; what was taken is given back by the drop.
        led.take().map_err(|error| led.explained(&error))?;
        Ok(led)
    }

    fn take(&mut self) -> io::Result<()> {
        if self.before.trigger.is_some() {
            self.write("trigger", "none")?;
        }
        self.show(0)
    }

    fn show(&mut self, brightness: u32) -> io::Result<()> {
        if self.shown != Some(brightness) {
            // Unknown until it is written, so that a failed write is tried again.
            self.shown = None;
            self.write("brightness", &brightness.to_string())?;
            self.shown = Some(brightness);
        }
        Ok(())
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.directory.join(file))?
            .write_all(text.as_bytes())
    }

    fn explained(&self, error: &io::Error) -> String {
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => {
                ": a udev rule must let the group of the service write its brightness and trigger"
            }
            ErrorKind::ReadOnlyFilesystem => {
                ": ProtectKernelTunables in the unit of the service forbids it"
            }
            _ => "",
        };
        format!(
            "{} cannot be written: {error}{advice}",
            self.directory.display()
        )
    }
}

/// The trigger in brackets: `none [mmc0] timer`.
fn active_trigger(list: &str) -> Option<String> {
    let (_, rest) = list.split_once('[')?;
    let (trigger, _) = rest.split_once(']')?;
    Some(trigger.to_owned())
}

/// A GPIO LED takes any brightness and shows full: the maximum of 255 that older kernels state
/// does not mean that it dims.
fn is_plain_gpio(directory: &Path) -> bool {
    fs::canonicalize(directory.join("device/driver"))
        .is_ok_and(|driver| driver.file_name().is_some_and(|name| name == "leds-gpio"))
}

impl Led for KernelLed {
    fn can_dim(&self) -> bool {
        self.can_dim
    }

    fn draw(&mut self, _colour: Rgb, level: f32) -> io::Result<()> {
        let brightness = (f64::from(level.clamp(0.0, 1.0)) * f64::from(self.max)).round();
        // Between 0 and `max` by the clamp above.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let brightness = brightness as u32;
        self.show(brightness)
            .map_err(|error| io::Error::new(error.kind(), self.explained(&error)))
    }

    fn release(&mut self) {
        if std::mem::replace(&mut self.released, true) {
            return;
        }
        // The trigger last: while it drives the LED the brightness is its own. Nobody is left to
        // hear of an error.
        let before = &self.before;
        let driven = before
            .trigger
            .as_deref()
            .filter(|trigger| *trigger != "none");
        let brightness = match (driven, before.brightness.as_deref()) {
            (None, Some(brightness)) => brightness,
            _ => "0",
        };
        let _ = self.write("brightness", brightness);
        if let Some(trigger) = &before.trigger {
            let _ = self.write("trigger", trigger);
        }
        if let Some(memory) = &self.memory {
            let _ = fs::remove_file(memory);
        }
    }
}

impl Drop for KernelLed {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn board(files: &[(&str, &str)]) -> TempDir {
        let board = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = board.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        board
    }

    fn act() -> TempDir {
        board(&[
            ("ACT/trigger", "none timer [mmc0] heartbeat\n"),
            ("ACT/brightness", "0\n"),
            ("ACT/max_brightness", "255\n"),
        ])
    }

    fn read(board: &TempDir, path: &str) -> String {
        fs::read_to_string(board.path().join(path)).unwrap()
    }

    #[test]
    fn it_takes_the_led_from_its_trigger_and_gives_it_back() {
        let board = act();
        let mut led = KernelLed::open(board.path(), "ACT", None).unwrap();
        assert_eq!(read(&board, "ACT/trigger"), "none");
        assert!(led.can_dim());
        led.draw(Rgb::BLACK, 1.0).unwrap();
        assert_eq!(read(&board, "ACT/brightness"), "255");
        led.draw(Rgb::BLACK, 0.5).unwrap();
        assert_eq!(read(&board, "ACT/brightness"), "128");
        led.release();
        assert_eq!(read(&board, "ACT/brightness"), "0");
        assert_eq!(read(&board, "ACT/trigger"), "mmc0");
        // Released once: what others do with it afterwards is left alone.
        fs::write(board.path().join("ACT/trigger"), "heartbeat").unwrap();
        drop(led);
        assert_eq!(read(&board, "ACT/trigger"), "heartbeat");
    }

    #[test]
    fn dropping_it_gives_the_trigger_back_too() {
        let board = act();
        drop(KernelLed::open(board.path(), "ACT", None).unwrap());
        assert_eq!(read(&board, "ACT/trigger"), "mmc0");
    }

    #[test]
    fn after_a_kill_it_is_given_back_to_what_had_it_before() {
        let board = act();
        let memory = tempfile::tempdir().unwrap();
        let open = || KernelLed::open(board.path(), "ACT", Some(memory.path())).unwrap();
        let mut killed = open();
        killed.draw(Rgb::BLACK, 1.0).unwrap();
        // Killed: nothing is given back, and the kernel shows what was drawn last.
        std::mem::forget(killed);
        fs::write(board.path().join("ACT/trigger"), "[none] timer mmc0\n").unwrap();
        drop(open());
        assert_eq!(read(&board, "ACT/trigger"), "mmc0");
        assert_eq!(read(&board, "ACT/brightness"), "0");
        // That was given back: what has it now counts from here on.
        fs::write(board.path().join("ACT/trigger"), "none [timer] mmc0\n").unwrap();
        drop(open());
        assert_eq!(read(&board, "ACT/trigger"), "timer");
        assert!(fs::read_dir(memory.path()).unwrap().next().is_none());
    }

    #[test]
    fn an_led_without_a_trigger_gets_its_brightness_back() {
        let board = board(&[
            ("PWR/trigger", "[none] timer\n"),
            ("PWR/brightness", "1\n"),
            ("PWR/max_brightness", "1\n"),
        ]);
        let mut led = KernelLed::open(board.path(), "PWR", None).unwrap();
        assert!(!led.can_dim());
        led.draw(Rgb::BLACK, 0.0).unwrap();
        assert_eq!(read(&board, "PWR/brightness"), "0");
        drop(led);
        assert_eq!(read(&board, "PWR/brightness"), "1");
    }

    #[test]
    fn a_gpio_led_does_not_dim_whatever_its_maximum() {
        let board = act();
        let driver = board.path().join("drivers/leds-gpio");
        fs::create_dir_all(&driver).unwrap();
        fs::create_dir_all(board.path().join("ACT/device")).unwrap();
        symlink(&driver, board.path().join("ACT/device/driver")).unwrap();
        assert!(
            !KernelLed::open(board.path(), "ACT", None)
                .unwrap()
                .can_dim()
        );
    }

    #[test]
    fn the_own_led_is_found_by_its_old_name_as_well() {
        let board = board(&[
            ("led0/trigger", "none [mmc0]\n"),
            ("led0/brightness", "0\n"),
            ("led0/max_brightness", "1\n"),
        ]);
        assert_eq!(own_led(board.path(), None).unwrap().name(), "led0");
    }

    #[test]
    fn an_led_that_cannot_be_written_is_not_taken_and_keeps_its_trigger() {
        let board = board(&[
            ("ACT/trigger", "none [mmc0]\n"),
            ("ACT/max_brightness", "1\n"),
        ]);
        // Writing to a directory fails for every user.
        fs::create_dir(board.path().join("ACT/brightness")).unwrap();
        let fault = KernelLed::open(board.path(), "ACT", None).err().unwrap();
        assert!(fault.contains("ACT cannot be written"), "{fault}");
        assert_eq!(read(&board, "ACT/trigger"), "mmc0");
        assert!(own_led(board.path(), None).is_none());
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        let board = act();
        for name in ["", "..", "../ACT", "a/b", ".hidden"] {
            assert!(KernelLed::open(board.path(), name, None).is_err(), "{name}");
        }
    }

    #[test]
    fn advice_fits_the_error() {
        let board = act();
        let led = KernelLed::open(board.path(), "ACT", None).unwrap();
        let explained = |kind| led.explained(&io::Error::from(kind));
        assert!(explained(ErrorKind::PermissionDenied).contains("udev rule"));
        assert!(explained(ErrorKind::ReadOnlyFilesystem).contains("ProtectKernelTunables"));
    }
}
