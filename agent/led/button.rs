//! The button on the board: from the wire to what a person does with it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use edge_agent_core::button::{Button, Gesture};
use edge_agent_core::event::Event;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// The part that is named when the button cannot be watched.
const PART: &str = "button";
/// How long a button that failed is left alone.
const RETRY: Duration = Duration::from_secs(60);

/// What a wire calls with every change: whether the button is pressed now.
pub type Tell = Box<dyn FnMut(bool) + Send>;

/// The wire of a button.
pub trait Wire: Send {
    /// Calls `tell` at every change from now on, from any thread and without ever waiting for it. Drops
    /// it when the changes cannot be had any more.
    ///
    /// # Errors
    /// When the wire cannot be watched now; it may be tried again later.
    fn watch(&mut self, tell: Tell) -> io::Result<()>;

    /// Whether the button is pressed now.
    fn is_pressed(&self) -> bool;

    /// Ends what [`Wire::watch`] began; threads have ended when it returns.
    ///
    /// # Errors
    /// Why the changes could not be had any more before that.
    fn unwatch(&mut self) -> io::Result<()>;
}

/// Watches the button until `stop`, and tells of every [`Gesture`]. Sleeps as long as nobody presses.
///
/// A wire that cannot be watched is reported as [`Event::Impaired`] of the part `button`, and tried
/// again once a minute.
///
/// # Errors
/// None at present.
pub async fn run(
    mut wire: Box<dyn Wire>,
    clock: Arc<dyn Clock>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> Result<()> {
    let mut impaired = false;
    while !stop.is_cancelled() {
        // Not bounded, because a thread that waits for room could not be joined, and an end of the
        // press that finds no room would be lost. The kernel lets at most 100 changes a second through.
        let (sender, mut changes) = mpsc::unbounded_channel();
        let stamp = Arc::clone(&clock);
        let watched = wire.watch(Box::new(move |pressed| {
            let _ = sender.send((stamp.now().monotonic, pressed));
        }));
        if watched.is_ok() && impaired {
            impaired = false;
            let _ = events.send(told(None)).await;
        }
        let followed = match watched {
            Ok(()) => follow(&mut *wire, &*clock, &mut changes, &events, &stop).await,
            Err(error) => Err(error),
        };
        // Why the changes came to an end is known to the wire alone.
        let ended = wire.unwatch();
        if let Err(error) = ended.and(followed) {
            impaired = true;
            let _ = events.send(told(Some(error.to_string()))).await;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(RETRY) => {}
        }
    }
    Ok(())
}

fn told(fault: Option<String>) -> Event {
    Event::Impaired { part: PART, fault }
}

/// Until `stop`, or until the changes come to an end.
async fn follow(
    wire: &mut dyn Wire,
    clock: &dyn Clock,
    changes: &mut mpsc::UnboundedReceiver<(Duration, bool)>,
    events: &mpsc::Sender<Event>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut button = Button::new(clock.now().monotonic, wire.is_pressed());
    let mut down = false;
    let outcome = loop {
        let due = button.deadline();
        let wait = due.map(|due| due.saturating_sub(clock.now().monotonic));
        let gestures = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            change = changes.recv() => match change {
                Some((at, pressed)) => button.moved(at, pressed),
                None => break Err(io::Error::other("its changes are not told any more")),
            },
            () = sleep(wait.unwrap_or_default()), if wait.is_some() => {
                // The wire itself has the last word, should a change have been lost.
                button.looked(clock.now().monotonic, wire.is_pressed())
            }
        };
        for gesture in gestures {
            down = gesture == Gesture::Pressed;
            if events.send(Event::Button(gesture)).await.is_err() {
                return Ok(());
            }
        }
    };
    if down {
        let _ = events.send(Event::Button(Gesture::Cancelled)).await;
    }
    outcome
}

#[cfg(test)]
#[path = "button_tests.rs"]
mod tests;
