//! Draws the LEDs in time, and does nothing in between.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use edge_agent_core::event::Event;
use edge_agent_core::indication::{Indication, hue, level, next_change};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::NamedLed;

/// The part that is named when an LED fails while it is drawn.
const PART: &str = "led";
/// How long an LED that failed is left alone.
const RETRY: Duration = Duration::from_secs(60);
/// How long to wait before a fault is told again that found no room among the events.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// Shows the indication on every LED until `stop`, then releases them. Sleeps from one change to
/// the next, and for as long as the indication is steady.
///
/// An LED that fails is reported as [`Event::Impaired`] of the part `led` and tried again once a
/// minute; the part is well again when all LEDs are. The faults that [`super::open`] returned
/// belong under another part, so that this one does not clear them.
///
/// # Errors
/// None at present.
pub async fn run(
    leds: Vec<NamedLed>,
    mut indication: watch::Receiver<Indication>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> Result<()> {
    let mut renderer = Renderer {
        leds: leds
            .into_iter()
            .map(|led| Shown { led, retry: None })
            .collect(),
        told: BTreeMap::new(),
        events,
    };
    let mut current = *indication.borrow_and_update();
    let mut since = Instant::now();
    loop {
        let wake = renderer.draw(current, since);
        tokio::select! {
            () = stop.cancelled() => break,
            changed = indication.changed() => {
                if changed.is_err() {
                    // Nobody decides any more what to show.
                    break;
                }
                let next = *indication.borrow_and_update();
                // The same again must not disturb the rhythm.
                if next != current {
                    current = next;
                    since = Instant::now();
                }
            }
            () = sleep_until(wake.unwrap_or(since)), if wake.is_some() => {}
        }
    }
    for shown in &mut renderer.leds {
        shown.led.led.release();
    }
    Ok(())
}

struct Renderer {
    leds: Vec<Shown>,
    /// The LEDs that were last reported as failing, and why.
    told: BTreeMap<String, String>,
    events: mpsc::Sender<Event>,
}

struct Shown {
    led: NamedLed,
    /// When an LED that failed is tried again, and how it failed.
    retry: Option<(Instant, String)>,
}

impl Renderer {
    /// Draws every LED, and says when the next one has to be.
    fn draw(&mut self, indication: Indication, since: Instant) -> Option<Instant> {
        let now = Instant::now();
        let mut wake = None;
        for shown in &mut self.leds {
            let next = shown.draw(indication, since, now);
            wake = earlier(wake, next);
        }
        if self.tell() {
            wake
        } else {
            earlier(wake, Some(now + TELL_AGAIN))
        }
    }

    /// Reports LEDs that have failed or recovered since the last time; `false` when there was no
    /// room for it. Waiting for room would stop the LEDs.
    fn tell(&mut self) -> bool {
        let failing: BTreeMap<String, String> = self
            .leds
            .iter()
            .filter_map(|shown| {
                let (_, reason) = shown.retry.as_ref()?;
                Some((shown.led.name().to_owned(), reason.clone()))
            })
            .collect();
        if failing.keys().eq(self.told.keys()) {
            return true;
        }
        let fault = failing
            .iter()
            .map(|(name, reason)| format!("LED {name}: {reason}"))
            .collect::<Vec<_>>()
            .join("; ");
        let event = Event::Impaired {
            part: PART,
            fault: (!failing.is_empty()).then_some(fault),
        };
        match self.events.try_send(event) {
            Err(mpsc::error::TrySendError::Full(_)) => false,
            // Sent, or nobody listens any more.
            _ => {
                self.told = failing;
                true
            }
        }
    }
}

impl Shown {
    fn draw(&mut self, indication: Indication, since: Instant, now: Instant) -> Option<Instant> {
        if let Some((retry, _)) = &self.retry
            && *retry > now
        {
            return Some(*retry);
        }
        let elapsed = now.saturating_duration_since(since);
        let can_dim = self.led.led.can_dim();
        let level = level(indication, elapsed, can_dim);
        let colour = hue(indication, elapsed).scaled(level);
        match self.led.led.draw(colour, level) {
            Ok(()) => {
                self.retry = None;
                next_change(indication, elapsed, can_dim).map(|wait| now + wait)
            }
            Err(error) => {
                let retry = now + RETRY;
                self.retry = Some((retry, error.to_string()));
                Some(retry)
            }
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
#[path = "renderer_tests.rs"]
mod tests;
