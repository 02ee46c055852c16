//! The link to the broker: MQTT 5, one client, one session.
//!
//! The supervisor makes the parts, spawns one future and hands things in; nothing here calls the
//! supervisor or waits for it:
//!
//! ```text
//! let (handle, session) = mqtt::session(settings, outbox, events);
//! spawn(session.run(Stop { intake, all }));
//! handle.retain(&Topic::Health, payload);   // Effect::Retain: never waits, the latest counts
//! handle.acknowledge(delivery);             // Effect::Acknowledge: never waits
//! ```
//!
//! What is stored in the [`Outbox`] is published without being told: the session watches it.
//!
//! | module | its job |
//! | --- | --- |
//! | [`session`] | connects, waits between tries, tells how the link is, orders the goodbye |
//! | [`publisher`] | retained values and the outbox, in order, removed only on PUBACK |
//! | [`intake`] | the command topic: limits, verification, acknowledgement when told |
//! | [`candidates`] | who is verified when more comes than can be |
//! | [`retained`] | the latest value of each topic |
//! | [`refusals`] | topics that the broker refuses, left alone for a while |
//! | [`birth`] | Home Assistant has started, and is told of the node again |
//! | [`fault`] | what a broken connection means, in a sentence |
//! | [`client`] | rumqttc: options, driving its event loop, queueing |
//! | [`empty_session`] | why rumqttc is told that our side of the session is known, and empty |
//! | [`tls`] | certificates and keys |
//! | [`aside`] | one connection beside the agent's own, for work that has an end |
//! | [`converse`] | how the command line speaks with nodes |
//! | [`call`] | the same for one question |
//! | [`bulk`] | how the load generator speaks for many nodes |
//!
//! Every connection is a client of its own: credentials and certificates are read again, and what
//! was in flight goes back to where it came from (the outbox, the retained values, the broker's
//! queue for commands). Consumers drop a repeated event by its id, and the ledger a repeated
//! command.

mod aside;
mod birth;
pub mod bulk;
pub mod call;
mod candidates;
mod client;
pub mod converse;
mod empty_session;
mod fault;
mod intake;
mod publisher;
mod refusals;
mod retained;
mod session;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use edge_agent_core::command::Refusal;
use edge_agent_core::command::envelope::{RefusedCommand, VerifiedCommand};
use edge_agent_core::command::unsigned::UnsignedCommand;
use edge_agent_core::command::update::KeyringUpdate;
use edge_agent_core::event::{Delivery, Event};
use edge_agent_core::topic::{NodeName, Topic};
use edge_agent_core::wire::PresenceReason;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::store::outbox::Outbox;
use retained::Retained;

pub use aside::TalkError;
pub use publisher::{Message, RESULT_EXPIRY};
pub use session::Session;

/// What became of the bytes of an envelope.
#[derive(Debug, Clone)]
pub enum Verified {
    /// By known keys, and they may order it.
    Command(Box<VerifiedCommand>),
    /// Without a signature, and allowed to be.
    Unsigned(Box<UnsignedCommand>),
    /// A new keyring that enough root keys stand behind.
    Keyring(Box<KeyringUpdate>),
    /// By known keys, and not to be obeyed.
    Refused(Box<RefusedCommand>),
    /// Not by known keys.
    Unauthenticated(Refusal),
}

/// Verifies the bytes of an envelope. Called on the task of the session, so it must not block.
pub type Verify = Arc<dyn Fn(&[u8]) -> Verified + Send + Sync>;

/// Makes the payload of `presence` for a reason.
pub type Presence = Arc<dyn Fn(PresenceReason) -> Vec<u8> + Send + Sync>;

/// What a session needs to know.
#[derive(Clone)]
pub struct Settings {
    pub mqtt: config::Mqtt,
    pub node: NodeName,
    /// Makes the payload of `presence`; also of the will, which is handed to the broker beforehand.
    pub presence: Presence,
    /// `None`: no commands are accepted, and the topic is not subscribed to.
    pub verify: Option<Verify>,
    /// Whether a command may come without a signature, and so without an envelope.
    pub allow_unsigned: bool,
    /// Topics that begin with this are published again when Home Assistant has started.
    pub discovery_prefix: Option<String>,
    pub timing: Timing,
}

/// The waiting times of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The shortest wait between two tries to connect.
    pub backoff_min: Duration,
    /// The longest wait between two tries to connect.
    pub backoff_max: Duration,
    /// A connection that held this long counts as good: the waits start over.
    pub stable: Duration,
    /// The shortest wait after another client took the session, or seems to: two that take it from
    /// each other would do so for ever, so this one gives way.
    pub contested: Duration,
    /// How long what is in the outbox may still be sent at the end.
    pub drain: Duration,
    /// How long the broker waits before it publishes the will, so that a quick reconnect does not
    /// show. Whole seconds.
    pub will_delay: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(120),
            stable: Duration::from_secs(60),
            contested: Duration::from_secs(30),
            drain: Duration::from_secs(3),
            will_delay: Duration::from_secs(5),
        }
    }
}

/// When to stop, in two steps.
#[derive(Debug, Clone)]
pub struct Stop {
    /// No more commands are taken; the broker keeps them for the next start.
    pub intake: CancellationToken,
    /// Everything: the outbox gets its last chance, presence becomes `stopped`, then DISCONNECT.
    pub all: CancellationToken,
}

/// Where the supervisor hands things to the session. Nothing of it waits.
#[derive(Debug, Clone)]
pub struct Handle {
    node: NodeName,
    retained: Retained,
    acknowledgements: mpsc::Sender<Delivery>,
    ignored: Arc<AtomicU64>,
}

impl Handle {
    /// Makes this the latest value of a topic of this node; an empty payload clears it. Published
    /// again on every connection, because the broker may have forgotten.
    pub fn retain(&self, topic: &Topic, payload: Vec<u8>) {
        self.retained.set(topic.format(&self.node), payload);
    }

    /// The same for a topic outside of the node's root, such as discovery for Home Assistant.
    pub fn retain_at(&self, topic: String, payload: Vec<u8>) {
        self.retained.set(topic, payload);
    }

    /// Tells the broker that a delivery has been dealt with. One of an earlier connection is
    /// forgotten: the broker has delivered it again since, or will.
    pub fn acknowledge(&self, delivery: Delivery) {
        if self.acknowledgements.try_send(delivery).is_err() {
            // The broker delivers it again on the next connection, and the ledger knows it.
            tracing::debug!(delivery, "an acknowledgement was not taken");
        }
    }

    /// How many messages on the command topic were ignored without an event: a flood.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }
}

/// Joins a handle and the session; [`Session::run`] is to be spawned.
#[must_use]
pub fn session(
    settings: Settings,
    outbox: Outbox,
    events: mpsc::Sender<Event>,
) -> (Handle, Session) {
    let retained = Retained::default();
    let ignored = Arc::new(AtomicU64::new(0));
    let (acknowledgements, acks) = mpsc::channel(intake::ACKNOWLEDGEMENTS);
    let handle = Handle {
        node: settings.node.clone(),
        retained: retained.clone(),
        acknowledgements,
        ignored: Arc::clone(&ignored),
    };
    let prefix = settings.discovery_prefix.as_deref();
    let taken = intake::Taken {
        verify: settings.verify.clone(),
        allow_unsigned: settings.allow_unsigned,
        birth: prefix.map(|prefix| birth::Birth::new(prefix, retained.clone())),
    };
    let intake = intake::Intake::new(taken, events.clone(), acks, ignored);
    let session = Session::new(settings, outbox, events, retained, intake);
    (handle, session)
}

/// A random number from 0 to 1, good enough to spread tries over time.
pub(crate) fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    // Every state of the standard library's hash maps has keys of its own.
    let bits = RandomState::new().hash_one(0u8) >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
    let random = bits as f64 / (1u64 << 53) as f64;
    random
}
