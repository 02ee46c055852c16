//! What goes out: retained values and the outbox, while a connection lasts.
//!
//! A record leaves the outbox when the broker has acknowledged it with success, and for no other
//! reason. What the broker refuses stays, its topic is left alone for a while, and all other topics
//! go on.

mod port;

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use edge_agent_core::event::Event;
use edge_agent_core::topic::NodeName;
use futures::FutureExt;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use port::Message;
pub(super) use port::{Answer, Publish};

use super::refusals::Refusals;
use super::retained::Retained;
use crate::store::outbox::record::{Record, Target};
use crate::store::outbox::{Outbox, OutboxError};

/// Records that are in flight at a time.
const WINDOW: usize = 16;

/// Retained values that are in flight at a time.
const RETAINED_WINDOW: usize = 8;

/// Records that are read from the outbox at a time.
const READ: usize = 32;

/// Reads in a row before what has arrived meanwhile is looked at.
const READS: usize = 8;

/// How long a result is kept by the broker, in seconds.
pub const RESULT_EXPIRY: u32 = 24 * 60 * 60;

/// The name of this part in [`Event::Impaired`].
const PART: &str = "broker";

/// What is needed to publish, whatever the connection.
pub(super) struct Sources {
    pub(super) node: NodeName,
    pub(super) outbox: Outbox,
    pub(super) retained: Retained,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) refusals: Refusals,
}

/// What a message in flight was.
enum Sent {
    Record { sequence: u64, group: String },
    Retained { topic: String, version: u64 },
}

/// Publishes over one connection.
pub(super) struct Publisher<'a, P> {
    port: &'a P,
    sources: &'a mut Sources,
    /// The topic that comes before all others.
    presence: String,
    in_flight: FuturesUnordered<BoxFuture<'static, (Sent, Answer)>>,
    /// Records that are in flight.
    window: BTreeSet<u64>,
    /// Topics of retained values that are in flight.
    topics: BTreeSet<String>,
    /// Records that the broker has and that could not be taken out of the outbox yet.
    delivered: BTreeSet<u64>,
    /// Everything up to here has been read.
    cursor: u64,
    read: VecDeque<Record>,
    /// There may be more to read.
    more: bool,
    /// Records were passed over because their topic is held.
    passed_over: bool,
    /// When the first of the topics that were passed over is free again. Noted when it is passed
    /// over, so that a hold that ends in between is not missed.
    release: Cell<Option<Instant>>,
    /// The outbox could not be read or written; not before this.
    pause_until: Option<Instant>,
}

impl<'a, P: Publish> Publisher<'a, P> {
    pub(super) fn new(port: &'a P, sources: &'a mut Sources, presence: String) -> Self {
        sources.retained.forget_acknowledgements();
        Self {
            port,
            sources,
            presence,
            in_flight: FuturesUnordered::new(),
            window: BTreeSet::new(),
            topics: BTreeSet::new(),
            delivered: BTreeSet::new(),
            cursor: 0,
            read: VecDeque::new(),
            more: true,
            passed_over: false,
            release: Cell::new(None),
            pause_until: None,
        }
    }

    /// Publishes until `stop`; then until nothing is left, or for `drain`.
    pub(super) async fn run(&mut self, stop: &CancellationToken, drain: Duration) {
        let mut outbox_changes = self.sources.outbox.changes();
        let mut retained_changes = self.sources.retained.changes();
        let mut deadline = None;
        loop {
            self.fill_retained();
            self.fill_window().await;
            self.report().await;
            if deadline.is_some() && self.in_flight.is_empty() && !self.has_more_now() {
                return;
            }
            let wake = self.next_wake();
            tokio::select! {
                biased;
                Some(first) = self.in_flight.next() => self.settle(first).await,
                () = stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(Instant::now() + drain);
                    // What was stored last may not have been looked at yet.
                    self.more = true;
                }
                () = sleep_until(deadline) => return,
                _ = outbox_changes.changed() => self.more = true,
                _ = retained_changes.changed() => {}
                () = sleep_until(wake) => self.look_again(),
                () = tokio::task::yield_now(), if self.has_more_now() => {}
            }
        }
    }

    /// Publishes a last value of presence and waits for its acknowledgement, at most `limit`.
    pub(super) async fn say_goodbye(&mut self, payload: Vec<u8>, limit: Duration) {
        let message = Message {
            topic: self.presence.clone(),
            payload,
            retain: true,
            expiry_seconds: None,
            content_type: Some("application/json"),
        };
        let answer = tokio::time::timeout(limit, self.port.publish(message)).await;
        if answer != Ok(Answer::Accepted { anyone: true })
            && answer != Ok(Answer::Accepted { anyone: false })
        {
            tracing::warn!(?answer, "the goodbye did not reach the broker");
        }
    }

    fn fill_retained(&mut self) {
        while self.topics.len() < RETAINED_WINDOW {
            let may = |topic: &str| !self.topics.contains(topic) && self.may(topic);
            let Some(latest) = self.sources.retained.next(&self.presence, may) else {
                return;
            };
            self.topics.insert(latest.topic.clone());
            let sent = Sent::Retained {
                topic: latest.topic.clone(),
                version: latest.version,
            };
            self.send(
                sent,
                Message {
                    topic: latest.topic,
                    payload: latest.payload,
                    retain: true,
                    expiry_seconds: None,
                    content_type: Some("application/json"),
                },
            );
        }
    }

    /// Whether a topic may be published on now; if not, it is looked at again when it may.
    fn may(&self, topic: &str) -> bool {
        let Some(until) = self.sources.refusals.held_until(topic) else {
            return true;
        };
        let first = self.release.get().map_or(until, |first| first.min(until));
        self.release.set(Some(first));
        false
    }

    async fn fill_window(&mut self) {
        if self.pause_until.is_some_and(|until| until > Instant::now()) {
            return;
        }
        for _ in 0..READS {
            while self.window.len() < WINDOW
                && let Some(record) = self.read.pop_front()
            {
                self.offer(record);
            }
            if self.window.len() >= WINDOW || !self.more {
                return;
            }
            let (outbox, after) = (self.sources.outbox.clone(), self.cursor);
            match aside(move || outbox.peek(after, READ)).await {
                Ok(records) => {
                    self.more = records.len() == READ;
                    self.cursor = records.last().map_or(self.cursor, |last| last.sequence);
                    self.read.extend(records);
                }
                Err(error) => {
                    self.pause(&error);
                    return;
                }
            }
        }
    }

    /// Sends a record, unless it is on its way already or its topic is held.
    fn offer(&mut self, record: Record) {
        let sequence = record.sequence;
        if self.window.contains(&sequence) || self.delivered.contains(&sequence) {
            return;
        }
        let group = group(&record.target, &self.sources.node);
        if !self.may(&group) {
            self.passed_over = true;
            return;
        }
        self.window.insert(sequence);
        let topic = record.target.topic().format(&self.sources.node);
        let is_result = matches!(record.target, Target::Result(_));
        let message = Message {
            topic,
            payload: record.payload,
            retain: is_result,
            expiry_seconds: is_result.then_some(RESULT_EXPIRY),
            content_type: Some(if is_result {
                "application/vnd.dsse.envelope.v1+json"
            } else {
                "application/cloudevents+json"
            }),
        };
        self.send(Sent::Record { sequence, group }, message);
    }

    fn send(&self, sent: Sent, message: Message) {
        let answer = self.port.publish(message);
        self.in_flight
            .push(answer.map(move |answer| (sent, answer)).boxed());
    }

    /// Deals with an answer, and with all others that are there as well, so that what the broker has
    /// acknowledged together leaves the outbox together.
    async fn settle(&mut self, first: (Sent, Answer)) {
        let mut next = Some(first);
        while let Some((sent, answer)) = next {
            match sent {
                Sent::Record { sequence, group } => self.settle_record(sequence, &group, answer),
                Sent::Retained { topic, version } => {
                    self.topics.remove(&topic);
                    if self.judge(&topic, answer) {
                        self.sources.retained.acknowledge(&topic, version);
                    }
                }
            }
            next = self.in_flight.next().now_or_never().flatten();
        }
        self.take_out().await;
    }

    fn settle_record(&mut self, sequence: u64, group: &str, answer: Answer) {
        if self.judge(group, answer) {
            self.delivered.insert(sequence);
        } else {
            self.passed_over = true;
            if self.may(group) {
                // The hold that it falls under has ended in this very moment, and nothing else wakes us.
                self.release.set(Some(Instant::now()));
            }
        }
        self.window.remove(&sequence);
    }

    /// Whether the broker has the message; if not, its topic is held.
    fn judge(&mut self, topic: &str, answer: Answer) -> bool {
        match answer {
            Answer::Accepted { .. } => {
                self.sources.refusals.forgive(topic);
                true
            }
            Answer::Refused(reason) => {
                self.sources.refusals.hold(topic, Some(reason));
                false
            }
            // The connection is about to end. If it does not, nothing may be sent in a spin.
            Answer::Lost => {
                self.sources.refusals.hold(topic, None);
                false
            }
        }
    }

    async fn take_out(&mut self) {
        if self.delivered.is_empty() {
            return;
        }
        let sequences: Vec<u64> = self.delivered.iter().copied().collect();
        let outbox = self.sources.outbox.clone();
        match aside(move || outbox.remove(&sequences)).await {
            Ok(()) => self.delivered.clear(),
            Err(error) => self.pause(&error),
        }
    }

    fn pause(&mut self, error: &OutboxError) {
        tracing::warn!(%error, "the outbox cannot be read; trying again");
        self.pause_until = Some(Instant::now() + Duration::from_secs(1));
    }

    /// A held topic is free again, or a pause is over: what was passed over is read once more.
    fn look_again(&mut self) {
        self.pause_until = None;
        self.release.set(None);
        if self.passed_over {
            self.passed_over = false;
            self.cursor = 0;
            self.read.clear();
        }
        self.more = true;
    }

    fn has_more_now(&self) -> bool {
        let room = self.window.len() < WINDOW && self.pause_until.is_none();
        room && (self.more || !self.read.is_empty())
    }

    fn next_wake(&self) -> Option<Instant> {
        [self.release.get(), self.pause_until]
            .into_iter()
            .flatten()
            .min()
    }

    async fn report(&mut self) {
        if let Some(fault) = self.sources.refusals.report() {
            if let Some(fault) = &fault {
                tracing::warn!("{fault}");
            }
            let event = Event::Impaired { part: PART, fault };
            // A supervisor that has gone needs no telling.
            let _ = self.sources.events.send(event).await;
        }
    }
}

/// What is held together when the broker refuses one of it: a broker's access list does not tell one
/// result from another.
fn group(target: &Target, node: &NodeName) -> String {
    match target {
        Target::Event => target.topic().format(node),
        Target::Result(_) => format!("{}/result/+", node.source()),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Calls what waits for the medium where that holds nothing up.
async fn aside<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, OutboxError> + Send + 'static,
) -> Result<T, OutboxError> {
    let joined = tokio::task::spawn_blocking(call).await;
    joined.unwrap_or_else(|error| Err(OutboxError::Unavailable(error.to_string())))
}

#[cfg(test)]
mod tests;
