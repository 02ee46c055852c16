//! What comes in on the command topic: limited in size and rate, verified, handed to the supervisor,
//! and acknowledged to the broker when the supervisor says so.
//!
//! Whoever may write to the topic may flood it. What costs nothing to refuse is refused first; what
//! has to be verified waits for its turn in the broker's queue, by the receive maximum, so that a
//! valid command among the junk arrives late and not never.
//!
//! Acknowledgements go out in the order in which the messages came, as MQTT demands: one that is
//! ready early waits for those before it. A broker may close the connection otherwise.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use edge_agent_core::command::{Refusal, RefusalCode};
use edge_agent_core::event::{Delivery, Event};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::{Ack, Received};
use super::{Verified, Verify};

/// Acknowledgements that may wait for the session.
pub(super) const ACKNOWLEDGEMENTS: usize = 256;

/// Messages that may wait for their verification. Above the receive maximum, which not every broker
/// honours.
pub(super) const WAITING: usize = 256;

/// The largest envelope, in bytes.
const MAX_ENVELOPE: usize = 8 * 1024;

/// Verifications a second, after a burst: a few percent of one core of the slowest board.
const VERIFICATIONS: Rate = Rate {
    every: Duration::from_millis(10),
    burst: Duration::from_millis(500),
};

/// Events a second about what no known key has signed; the rest is only counted.
const REPORTS: Rate = Rate {
    every: Duration::from_millis(100),
    burst: Duration::from_secs(2),
};

/// How often something may happen.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// The time that each one takes up.
    every: Duration,
    /// How much of it may be taken up in advance.
    burst: Duration,
}

/// Keeps to a [`Rate`].
#[derive(Debug)]
struct Limiter {
    rate: Rate,
    /// Up to here the time is taken up.
    taken: Instant,
}

impl Limiter {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            taken: Instant::now(),
        }
    }

    /// When the next one may happen; in the past if it may now.
    fn free_at(&self) -> Instant {
        self.taken
            .checked_sub(self.rate.burst)
            .unwrap_or(self.taken)
    }

    fn take(&mut self) {
        self.taken = self.taken.max(Instant::now()) + self.rate.every;
    }

    fn try_take(&mut self) -> bool {
        let free = self.free_at() <= Instant::now();
        if free {
            self.take();
        }
        free
    }
}

/// A message that the broker waits for.
struct Outstanding {
    delivery: Delivery,
    ack: Ack,
    /// It has been dealt with, and waits for those before it.
    done: bool,
}

/// The intake; it outlives a connection, so that deliveries are never numbered twice.
pub(super) struct Intake {
    verify: Option<Verify>,
    events: mpsc::Sender<Event>,
    acknowledgements: mpsc::Receiver<Delivery>,
    ignored: Arc<AtomicU64>,
    last: Delivery,
    /// What is not acknowledged yet, in the order of its arrival.
    outstanding: VecDeque<Outstanding>,
    verifications: Limiter,
    reports: Limiter,
}

impl Intake {
    pub(super) fn new(
        verify: Option<Verify>,
        events: mpsc::Sender<Event>,
        acknowledgements: mpsc::Receiver<Delivery>,
        ignored: Arc<AtomicU64>,
    ) -> Self {
        Self {
            verify,
            events,
            acknowledgements,
            ignored,
            last: 0,
            outstanding: VecDeque::new(),
            verifications: Limiter::new(VERIFICATIONS),
            reports: Limiter::new(REPORTS),
        }
    }

    /// Whether commands are accepted at all.
    pub(super) fn is_open(&self) -> bool {
        self.verify.is_some()
    }

    /// The counter of what was ignored without an event.
    pub(super) fn ignored(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.ignored)
    }

    /// Takes what arrives on one connection, until `stop`; acknowledgements also after it. Never
    /// returns.
    pub(super) async fn run(
        &mut self,
        mut received: mpsc::Receiver<Received>,
        acknowledge: impl Fn(Ack),
        stop: &CancellationToken,
    ) {
        // What an earlier connection delivered, this broker does not wait for.
        self.outstanding.clear();
        let events = self.events.clone();
        let mut waiting: Option<Event> = None;
        let mut handed_in = true;
        loop {
            let free = tokio::time::sleep_until(self.verifications.free_at());
            let takes = waiting.is_none() && !stop.is_cancelled();
            tokio::select! {
                biased;
                Some(delivery) = self.acknowledgements.recv(), if handed_in => {
                    self.done(delivery);
                    self.release(&acknowledge);
                }
                permit = events.reserve(), if waiting.is_some() => match (permit, waiting.take()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    // The supervisor has gone; the broker keeps the command.
                    _ => handed_in = false,
                },
                Some(message) = async { free.await; received.recv().await }, if takes => {
                    waiting = self.judge(message);
                    self.release(&acknowledge);
                }
                () = stop.cancelled(), if takes => {}
                else => std::future::pending().await,
            }
        }
    }

    /// Judges one message. What is by known keys comes back as an event that must reach the
    /// supervisor; all else is told if there is room, and is dealt with at once if not.
    fn judge(&mut self, message: Received) -> Option<Event> {
        let refusal = cheap_refusal(&message);
        let verified = match (refusal, &self.verify) {
            (Some(refusal), _) => Some(Verified::Unauthenticated(refusal)),
            (None, Some(verify)) => {
                let verified = verify(&message.payload);
                if was_costly(&verified) {
                    self.verifications.take();
                }
                Some(verified)
            }
            // Subscribed to in an earlier life, when there was a keyring.
            (None, None) => None,
        };
        self.last += 1;
        let delivery = self.last;
        if !message.ack.is_none() {
            self.outstanding.push_back(Outstanding {
                delivery,
                ack: message.ack,
                done: false,
            });
        }
        match verified {
            Some(Verified::Command(command)) => {
                return Some(Event::CommandReceived { delivery, command });
            }
            Some(Verified::Keyring(update)) => {
                return Some(Event::KeyringReceived { delivery, update });
            }
            Some(Verified::Refused(refused)) => {
                return Some(Event::CommandRefused { delivery, refused });
            }
            Some(Verified::Unauthenticated(refusal)) => {
                let event = Event::CommandUnauthenticated { delivery, refusal };
                if self.reports.try_take() && self.events.try_send(event).is_ok() {
                    return None;
                }
            }
            None => {}
        }
        self.ignored.fetch_add(1, Ordering::Relaxed);
        self.done(delivery);
        None
    }

    /// A delivery has been dealt with; one that is not waited for is of an earlier connection.
    fn done(&mut self, delivery: Delivery) {
        // Deliveries are numbered in the order of their arrival.
        let place = self
            .outstanding
            .binary_search_by_key(&delivery, |it| it.delivery);
        if let Some(outstanding) = place.ok().and_then(|at| self.outstanding.get_mut(at)) {
            outstanding.done = true;
        }
    }

    /// Acknowledges what has been dealt with, up to the first that has not.
    fn release(&mut self, acknowledge: &impl Fn(Ack)) {
        while let Some(first) = self.outstanding.pop_front_if(|first| first.done) {
            acknowledge(first.ack);
        }
    }
}

/// Whether signatures were tried. What is not even of the form costs as little as reading it, and a
/// flood of it would otherwise take the time of what may be valid.
fn was_costly(verified: &Verified) -> bool {
    let Verified::Unauthenticated(refusal) = verified else {
        return true;
    };
    !matches!(
        refusal.code,
        RefusalCode::Malformed | RefusalCode::TooLarge | RefusalCode::UnsupportedType
    )
}

/// What can be refused without looking into it.
fn cheap_refusal(message: &Received) -> Option<Refusal> {
    if message.payload.len() > MAX_ENVELOPE {
        let size = message.payload.len();
        let what = format!("{size} bytes are above the limit of {MAX_ENVELOPE} for an envelope");
        return Some(Refusal::new(RefusalCode::TooLarge, what));
    }
    if message.retained {
        let what = "a command must not be published as a retained message: it would come again with every connection";
        return Some(Refusal::new(RefusalCode::Retained, what));
    }
    if message.ack.is_none() {
        // Such messages are not held back by the receive maximum, so they are not worth a
        // verification.
        let what = "a command must be published with QoS 1";
        return Some(Refusal::new(RefusalCode::Malformed, what));
    }
    None
}

#[cfg(test)]
mod tests;
