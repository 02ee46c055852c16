//! An LED that lights nothing and a button that nobody sees, for the demo and the tests.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edge_agent_core::indication::Rgb;
use tokio::sync::watch;

use super::Led;
use super::button::{Tell, Wire};

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

/// A button that is pressed by calling [`Switch::set`].
#[derive(Clone, Default)]
pub struct Switch(Arc<Mutex<Contact>>);

#[derive(Default)]
struct Contact {
    pressed: bool,
    broken: bool,
    tell: Option<Tell>,
}

impl Switch {
    /// A button that is up.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Presses it, or lets it go.
    pub fn set(&self, pressed: bool) {
        let mut contact = self.contact();
        contact.pressed = pressed;
        if let Some(tell) = &mut contact.tell {
            tell(pressed);
        }
    }

    /// Presses it, or lets it go, and nobody is told.
    pub fn lose(&self, pressed: bool) {
        self.contact().pressed = pressed;
    }

    /// Cuts its wire, or mends it.
    pub fn cut(&self, cut: bool) {
        let mut contact = self.contact();
        contact.broken = cut;
        if cut {
            contact.tell = None;
        }
    }

    /// Whether somebody watches it.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.contact().tell.is_some()
    }

    fn contact(&self) -> MutexGuard<'_, Contact> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire for Switch {
    fn watch(&mut self, tell: Tell) -> io::Result<()> {
        let mut contact = self.contact();
        if contact.broken {
            return Err(io::Error::other("the wire is cut"));
        }
        contact.tell = Some(tell);
        Ok(())
    }

    fn is_pressed(&self) -> bool {
        self.contact().pressed
    }

    fn unwatch(&mut self) -> io::Result<()> {
        let mut contact = self.contact();
        contact.tell = None;
        match contact.broken {
            true => Err(io::Error::other("the wire is cut")),
            false => Ok(()),
        }
    }
}
