//! An LED that lights nothing, for the demo and the tests.

use std::io;

use edge_agent_core::indication::Rgb;
use tokio::sync::watch;

use super::Led;

/// Keeps what it was last told to show where others can watch it.
pub struct Simulated {
    colours: watch::Sender<Rgb>,
}

impl Simulated {
    /// A dark LED, and how to watch it.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<Rgb>) {
        let (colours, watching) = watch::channel(Rgb::BLACK);
        (Self { colours }, watching)
    }
}

impl Led for Simulated {
    fn can_dim(&self) -> bool {
        true
    }

    fn draw(&mut self, colour: Rgb, _level: f32) -> io::Result<()> {
        self.colours.send_if_modified(|shown| {
            let changed = *shown != colour;
            *shown = colour;
            changed
        });
        Ok(())
    }

    fn release(&mut self) {
        self.colours.send_replace(Rgb::BLACK);
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.release();
    }
}
