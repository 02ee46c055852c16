//! What can happen, and what can be wanted: the two closed enums between the tasks and the core.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::application::workload::Suspect;
use crate::application::{Application, ApplicationKey};
use crate::button::Gesture;
use crate::command::envelope::{RefusedCommand, VerifiedCommand};
use crate::command::unsigned::UnsignedCommand;
use crate::command::update::KeyringUpdate;
use crate::command::{Refusal, admission::LedgerRecord};
use crate::health::{KubernetesView, Sample};
use crate::notice::Notice;
use crate::retention::Class;
use crate::rollout::{Order, Outcome};
use crate::topic::Topic;
use crate::wire;

/// Names one delivery of a command by the broker, so that it can be acknowledged. Zero for a
/// command that the agent gave itself.
pub type Delivery = u64;

/// Something that happened. Every task speaks to the supervisor in these, and only in these.
#[derive(Debug, Clone)]
pub enum Event {
    /// The sampler has read the node.
    Sampled(Box<Sample>),
    /// The API server was asked about this node.
    NodeViewed(KubernetesView),
    /// An Application is new or has changed.
    ApplicationChanged(Box<Application>),
    /// An Application is gone.
    ApplicationDeleted(ApplicationKey),
    /// A namespace was listed afresh and these are all its Applications: what is not among them is
    /// gone.
    ApplicationsListed {
        /// The namespace that was listed.
        namespace: String,
        /// Every Application in it.
        present: BTreeSet<ApplicationKey>,
    },
    /// A link came up, went down, or is down for another reason.
    LinkChanged {
        /// Which link.
        link: Link,
        /// Its new condition.
        status: LinkStatus,
    },
    /// An envelope by known keys arrived, with signatures that hold.
    CommandReceived {
        /// What to acknowledge.
        delivery: Delivery,
        /// The command.
        command: Box<VerifiedCommand>,
    },
    /// An envelope by known keys arrived whose signatures hold, but which is not to be obeyed
    /// whatever the time and the sequence: answered with a signed rejection.
    CommandRefused {
        /// What to acknowledge.
        delivery: Delivery,
        /// What it is and why it is refused.
        refused: Box<RefusedCommand>,
    },
    /// A command arrived without a signature, and the settings allow that of it.
    UnsignedReceived {
        /// What to acknowledge.
        delivery: Delivery,
        /// The command.
        command: Box<UnsignedCommand>,
    },
    /// A new keyring arrived, and enough root keys stand behind it.
    KeyringReceived {
        /// What to acknowledge.
        delivery: Delivery,
        /// The new keyring.
        update: Box<KeyringUpdate>,
    },
    /// A [`Effect::InstallKeyring`] was carried out, or could not be.
    KeyringInstalled {
        /// What to acknowledge.
        delivery: Delivery,
        /// The new keyring.
        update: Box<KeyringUpdate>,
        /// Why it is not in force.
        result: Result<(), KeyringFault>,
    },
    /// Something arrived on the command topic that no known key has signed: counted, never answered.
    CommandUnauthenticated {
        /// What to acknowledge.
        delivery: Delivery,
        /// Why it is not obeyed.
        refusal: Refusal,
    },
    /// A [`Effect::Admit`] was carried out: the record is on the medium, or could not be written.
    Admitted {
        /// The id of the command.
        command: String,
        /// What went wrong with the write, if anything.
        result: Result<(), String>,
    },
    /// The executor has done with an order.
    Executed {
        /// The id of the command.
        command: String,
        /// What came of it.
        outcome: Outcome,
    },
    /// An [`Effect::Examine`] has come to its end.
    Examined {
        /// The number of the examination.
        number: u64,
        /// The application.
        application: ApplicationKey,
        /// The Deployment that is at fault; `None` when none is, or none could be read.
        culprit: Option<wire::Culprit>,
    },
    /// Answers are with the outbox, on the medium: the command of each, in the order of
    /// [`Effect::Answer`]. Two answers to one command are named twice.
    AnswersStored(Vec<String>),
    /// The outbox tells how full it is.
    OutboxChanged(OutboxStatus),
    /// What was in the outbox cannot be read: it has been moved aside, and an empty one is in use.
    /// In a sentence for a person.
    OutboxDamaged(String),
    /// A task has a fault, or has none any more; the LEDs show it and the page says it.
    Impaired {
        /// Which part of the agent.
        part: &'static str,
        /// What is wrong; `None` when it is well again.
        fault: Option<String>,
    },
    /// A person does something with the button of the board.
    Button(Gesture),
    /// A deadline that [`crate::state::State::next_deadline`] named has passed.
    Tick,
    /// The process was asked to stop.
    Stopping,
}

/// Why a new keyring is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyringFault {
    /// Another one came first, and against that it does not hold.
    Refused(Refusal),
    /// It could not be written down, and why.
    NotWritten(String),
}

/// Something that is reachable or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// The MQTT broker.
    Broker,
    /// The Kubernetes API server, with Argo CD's Applications.
    Cluster,
}

impl Link {
    /// The name in events, metrics and on the page.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Cluster => "cluster",
        }
    }
}

/// The condition of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkStatus {
    /// Turned off by configuration: neither up nor a fault.
    Disabled,
    /// Not tried to the end yet.
    Connecting,
    /// Working.
    Up,
    /// Not working, and why, in a sentence for a person.
    Down(String),
}

/// How full the outbox is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Events stored and not yet acknowledged by the broker.
    pub records: u64,
    /// Bytes of these events.
    pub bytes: u64,
    /// Events dropped since the agent started, because the outbox was full.
    pub dropped: u64,
}

/// Something that the core wants done. The supervisor hands each to the task whose job it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Store a fact that must not be lost, for the topic `event`.
    Record(Fact),
    /// Sign the answer to a command with the node's key and store it, for the topic
    /// `result/<command id>`, once every write of the ledger that was asked for before it has been
    /// done; then report back with [`Event::AnswersStored`].
    Answer(Box<wire::CommandResult>),
    /// Make this the latest value of a topic; never stored, coalesced.
    Retain {
        /// The topic.
        topic: Topic,
        /// The JSON; empty to clear the topic.
        payload: Vec<u8>,
    },
    /// The same for a topic outside of the node's root.
    RetainAt {
        /// The full topic.
        topic: String,
        /// The JSON; empty to clear the topic.
        payload: Vec<u8>,
    },
    /// Write the ledger, synced, and report back with [`Event::Admitted`].
    Admit {
        /// The id of the command that this write is for.
        command: String,
        /// The whole ledger as it is to be on the medium.
        record: Box<LedgerRecord>,
    },
    /// Write the ledger, synced; nothing waits for it.
    SaveLedger(Box<LedgerRecord>),
    /// Write a new keyring down, synced, put it in force, and report back with
    /// [`Event::KeyringInstalled`].
    InstallKeyring {
        /// What is to be acknowledged afterwards.
        delivery: Delivery,
        /// The new keyring.
        update: Box<KeyringUpdate>,
    },
    /// Tell the broker that a delivery has been dealt with.
    Acknowledge(Delivery),
    /// Carry out an order in the cluster, and report back with [`Event::Executed`].
    Execute(Box<Order>),
    /// Find out which Deployment is at fault, and report back with [`Event::Examined`].
    Examine(Box<Examination>),
    /// Tell people, where somebody is named to be told. It is tried for a while and may be lost; the
    /// event beside it is not.
    Notify(Box<Notice>),
}

/// An application has turned Degraded, and these are its workloads.
#[derive(Debug, Clone, PartialEq)]
pub struct Examination {
    /// Tells one examination from another.
    pub number: u64,
    pub application: ApplicationKey,
    /// The likeliest first.
    pub suspects: Vec<Suspect>,
}

/// A fact for the outbox, before it has its id and sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What is dropped first when there is no room.
    pub class: Class,
    /// CloudEvents type, such as `edge.app.state`.
    pub kind: Cow<'static, str>,
    /// CloudEvents subject: what the fact is about.
    pub subject: String,
    /// When it happened.
    pub at: Timestamp,
    /// CloudEvents data.
    pub data: serde_json::Value,
}

/// How long the agent gives an application to stay healthy before a command counts as succeeded.
pub const SETTLE: Duration = Duration::from_secs(10);
