//! What comes in on the command topic: limited in size and rate, verified, handed to the supervisor,
//! and acknowledged to the broker when the supervisor says so.
//!
//! Whoever may write to the topic may flood it. What costs nothing to refuse is refused first, as it
//! arrives: its size, its form, its type. What has to be verified waits for its turn, because trying
//! signatures may take a quarter of the time and no more; when more comes than that, some is left
//! out, see [`super::candidates`], and the topic is read on at full speed. To wait for everything
//! instead would keep a command behind a flood of minutes in the broker's queue, and that queue ends
//! as well. What was left out is counted, told as `busy`, and not answered: its issuer says it again.
//!
//! Acknowledgements go out in the order in which the messages came, as MQTT demands: one that is
//! ready early waits for those before it. A broker may close the connection otherwise.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use edge_agent_core::command::envelope::{COMMAND_TYPE, KEYRING_TYPE, Unverified};
use edge_agent_core::command::unsigned::UnsignedCommand;
use edge_agent_core::command::{Refusal, RefusalCode};
use edge_agent_core::event::{Delivery, Event};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::birth::Birth;
use super::candidates::{Candidates, Place};
use super::client::{Ack, Received};
use super::{Verified, Verify};

/// Acknowledgements that may wait for the session.
pub(super) const ACKNOWLEDGEMENTS: usize = 256;

/// Messages that may wait for their verification. Above the receive maximum, which not every broker
/// honours.
pub(super) const WAITING: usize = 256;

/// The largest envelope, in bytes.
const MAX_ENVELOPE: usize = 8 * 1024;

/// One part of the time, of so many, may go into verifications.
const SHARE: u32 = 4;

/// What a verification counts for at least: at most 4,000 a second, however fast the board is.
const LEAST: Duration = Duration::from_micros(250);

/// How much of that may be taken up in advance.
const VERIFICATIONS: Duration = Duration::from_millis(500);

/// The time that an event about what no known key has signed counts for; the rest is only counted.
const REPORT: Duration = Duration::from_millis(100);

/// How much of that may be taken up in advance.
const REPORTS: Duration = Duration::from_secs(2);

/// Spreads something over time.
#[derive(Debug)]
struct Limiter {
    /// How much time may be taken up in advance.
    burst: Duration,
    /// Up to here the time is taken up.
    taken: Instant,
}

impl Limiter {
    fn new(burst: Duration) -> Self {
        Self {
            burst,
            taken: Instant::now(),
        }
    }

    /// When the next one may happen; in the past if it may now.
    fn free_at(&self) -> Instant {
        self.taken.checked_sub(self.burst).unwrap_or(self.taken)
    }

    fn take(&mut self, time: Duration) {
        self.taken = self.taken.max(Instant::now()) + time;
    }

    fn try_take(&mut self, time: Duration) -> bool {
        let free = self.free_at() <= Instant::now();
        if free {
            self.take(time);
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

/// What the intake takes.
#[derive(Default)]
pub(super) struct Taken {
    /// `None`: no commands.
    pub(super) verify: Option<Verify>,
    /// Whether a command may come without an envelope.
    pub(super) allow_unsigned: bool,
    /// `None`: Home Assistant is not told of the node.
    pub(super) birth: Option<Birth>,
}

/// The intake; it outlives a connection, so that deliveries are never numbered twice.
pub(super) struct Intake {
    taken: Taken,
    events: mpsc::Sender<Event>,
    acknowledgements: mpsc::Receiver<Delivery>,
    ignored: Arc<AtomicU64>,
    last: Delivery,
    /// What is not acknowledged yet, in the order of its arrival.
    outstanding: VecDeque<Outstanding>,
    candidates: Candidates,
    verifications: Limiter,
    reports: Limiter,
}

impl Intake {
    pub(super) fn new(
        taken: Taken,
        events: mpsc::Sender<Event>,
        acknowledgements: mpsc::Receiver<Delivery>,
        ignored: Arc<AtomicU64>,
    ) -> Self {
        Self {
            taken,
            events,
            acknowledgements,
            ignored,
            last: 0,
            outstanding: VecDeque::new(),
            candidates: Candidates::default(),
            verifications: Limiter::new(VERIFICATIONS),
            reports: Limiter::new(REPORTS),
        }
    }

    /// Whether commands are accepted at all.
    pub(super) fn is_open(&self) -> bool {
        self.taken.verify.is_some()
    }

    /// Where Home Assistant says that it has started, if it is told of the node.
    pub(super) fn birth_topic(&self) -> Option<String> {
        self.taken.birth.as_ref().map(Birth::topic)
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
        self.candidates.clear();
        let events = self.events.clone();
        let mut waiting: Option<Event> = None;
        let mut handed_in = true;
        loop {
            let free = tokio::time::sleep_until(self.verifications.free_at());
            let birth = self.taken.birth.as_ref().and_then(Birth::due);
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
                () = free, if takes && !self.candidates.is_empty() => {
                    waiting = self.verify_next();
                    self.release(&acknowledge);
                }
                Some(message) = received.recv(), if takes => {
                    self.take(message);
                    self.release(&acknowledge);
                }
                () = sleep_until(birth), if birth.is_some() => self.publish_again(),
                () = stop.cancelled(), if takes => {}
                else => std::future::pending().await,
            }
        }
    }

    fn publish_again(&mut self) {
        if let Some(birth) = &mut self.taken.birth {
            birth.publish_again();
        }
    }

    /// Takes one message: what can be refused at once is, and the rest waits for its verification.
    fn take(&mut self, message: Received) {
        let birth = self.taken.birth.as_mut();
        if birth.is_some_and(|birth| birth.takes(&message)) {
            return;
        }
        self.last += 1;
        let delivery = self.last;
        let refusal = cheap_refusal(&message, self.taken.allow_unsigned);
        if !message.ack.is_none() {
            self.outstanding.push_back(Outstanding {
                delivery,
                ack: message.ack,
                done: false,
            });
        }
        if let Some(refusal) = refusal {
            self.refuse(delivery, refusal);
            return self.make_way();
        }
        if self.taken.verify.is_none() {
            // Subscribed to in an earlier life, when there was a keyring.
            return self.ignore(delivery);
        }
        if self.candidates.push(delivery, message.payload) == Place::Tried {
            self.ignore(delivery);
        }
        self.make_way();
    }

    /// Leaves out those that hold up too much.
    fn make_way(&mut self) {
        let outstanding = &self.outstanding;
        let span =
            |delivery| outstanding.len() - outstanding.partition_point(|it| it.delivery < delivery);
        if let Some(delivery) = self.candidates.leave_out(span) {
            let what = "more envelopes came than can be verified, and some were not looked at: say \
                        the command again";
            self.refuse(delivery, Refusal::new(RefusalCode::Busy, what));
        }
    }

    /// Verifies the next candidate. What is by known keys comes back as an event that must reach the
    /// supervisor; all else is told if there is room, and is dealt with at once if not.
    fn verify_next(&mut self) -> Option<Event> {
        let (candidate, verify) = (self.candidates.pop()?, self.taken.verify.clone()?);
        let begun = Instant::now();
        let verified = verify(&candidate.payload);
        self.verifications.take(LEAST.max(begun.elapsed() * SHARE));
        let delivery = candidate.delivery;
        match verified {
            Verified::Command(command) => Some(Event::CommandReceived { delivery, command }),
            Verified::Unsigned(command) => Some(Event::UnsignedReceived { delivery, command }),
            Verified::Keyring(update) => Some(Event::KeyringReceived { delivery, update }),
            Verified::Refused(refused) => Some(Event::CommandRefused { delivery, refused }),
            Verified::Unauthenticated(refusal) => {
                self.candidates.note_tried(&candidate);
                self.refuse(delivery, refusal);
                None
            }
        }
    }

    /// Deals with what nobody known has signed: told, if there is room for that.
    fn refuse(&mut self, delivery: Delivery, refusal: Refusal) {
        let event = Event::CommandUnauthenticated { delivery, refusal };
        if !self.reports.try_take(REPORT) || self.events.try_send(event).is_err() {
            self.ignore(delivery);
        }
    }

    fn ignore(&mut self, delivery: Delivery) {
        self.ignored.fetch_add(1, Ordering::Relaxed);
        self.done(delivery);
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

/// What can be refused without looking into it.
fn cheap_refusal(message: &Received, allow_unsigned: bool) -> Option<Refusal> {
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
    if allow_unsigned && UnsignedCommand::is_meant(&message.payload) {
        return None;
    }
    let form = Unverified::read(&message.payload);
    form.and_then(|envelope| envelope.require_one_of(&[COMMAND_TYPE, KEYRING_TYPE]))
        .err()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
