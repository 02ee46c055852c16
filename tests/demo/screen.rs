//! The terminal: what happens, line by line, and below it the LED as the board would show it.
#![allow(clippy::print_stdout, clippy::print_stderr)] // The terminal is what this is for.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use edge_agent_core::indication::{Indication, Rgb, hue};
use tokio::sync::watch;
use tokio::time::Instant;

/// Writes the story. On a terminal the LED stays below the last line, in its true colour and rhythm;
/// elsewhere there are lines only.
pub(crate) struct Screen {
    started: Instant,
    live: bool,
    led: Option<LedLine>,
}

/// What the LED line shows.
struct LedLine {
    colour: watch::Receiver<Rgb>,
    indication: watch::Receiver<Option<Indication>>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let live = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            started: Instant::now(),
            live,
            led: None,
        }
    }

    /// From now on the LED is drawn.
    pub(crate) fn watch(
        &mut self,
        colour: watch::Receiver<Rgb>,
        indication: watch::Receiver<Option<Indication>>,
    ) {
        self.led = Some(LedLine { colour, indication });
    }

    /// A heading: the next part of the story.
    pub(crate) fn act(&mut self, text: &str) {
        self.clear();
        if self.live {
            println!("\n\x1b[1m{text}\x1b[0m")
        } else {
            println!("\n{text}")
        }
        self.draw();
    }

    /// Something that happened.
    pub(crate) fn line(&mut self, who: &str, text: &str) {
        self.clear();
        let at = self.started.elapsed().as_secs_f32();
        let who = if self.live {
            format!("\x1b[36m{who:>10}\x1b[0m")
        } else {
            format!("{who:>10}")
        };
        println!("{at:7.1} s {who}  {text}");
        self.draw();
    }

    /// The LEDs say something else now.
    pub(crate) fn indication(&mut self, indication: Indication) {
        let lamp = self.lamp(hue(indication, Duration::ZERO));
        self.line("led", &format!("{lamp} {}", indication.as_str()));
    }

    fn lamp(&self, colour: Rgb) -> String {
        if !self.live {
            return "●".to_owned();
        }
        let [red, green, blue] = [colour.red, colour.green, colour.blue].map(channel);
        format!("\x1b[38;2;{red};{green};{blue}m●\x1b[0m")
    }

    /// Draws the LED for as long as `work` takes.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.led_changed() => self.draw(),
            }
        }
    }

    pub(crate) async fn pause(&mut self, time: Duration) {
        self.during(tokio::time::sleep(time)).await;
    }

    async fn led_changed(&mut self) {
        let Some(led) = self.led.as_mut().filter(|_| self.live) else {
            return std::future::pending().await;
        };
        let changed = tokio::select! {
            changed = led.colour.changed() => changed,
            changed = led.indication.changed() => changed,
        };
        if changed.is_err() {
            self.led = None;
        }
    }

    fn clear(&self) {
        if self.live {
            print!("\r\x1b[2K");
        }
    }

    fn draw(&self) {
        let Some(led) = self.led.as_ref().filter(|_| self.live) else {
            return;
        };
        let colour = *led.colour.borrow();
        let lit = colour.red.max(colour.green).max(colour.blue) > 0.02;
        let name = led
            .indication
            .borrow()
            .map_or("starting", |shown| shown.as_str());
        let lamp = if lit {
            self.lamp(colour)
        } else {
            "\x1b[2m○\x1b[0m".to_owned()
        };
        print!("\r\x1b[2K          LED  {lamp}  {name}");
        // A terminal that has gone away ends the demo by its signal.
        let _ = std::io::stdout().flush();
    }
}

/// Brightness from 0 to 1 as a colour value of the terminal.
fn channel(brightness: f32) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is held between 0 and 255"
    )]
    let value = (brightness.clamp(0.0, 1.0) * 255.0) as u8;
    value
}

pub(crate) fn complain(text: &str) {
    eprintln!("{text}");
}
