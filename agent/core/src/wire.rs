//! The payloads on the broker and on the local page: versioned, and the only types of the core
//! that are serialized. Readers ignore unknown fields; a value that could not be read is `null`.

mod health;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::application::DeployState;
use crate::clock::millis;
use crate::command::RefusalCode;
use crate::command::payload::HoldMode;
use crate::indication::Indication;

pub use health::{Agent, Clock, Cpu, Disk, Health, Interface, K3s, Memory, Outbox, Power, Storage};

/// The version that every payload carries in `v`.
pub const VERSION: u8 = 1;

/// `presence`: retained, and the will.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    pub v: u8,
    pub online: bool,
    #[serde(with = "millis")]
    pub since: Timestamp,
    pub reason: PresenceReason,
    /// The kernel's boot id, so that a reader can tell a reboot from a reconnect.
    pub boot: Option<String>,
    /// Version of the agent.
    pub agent: String,
}

/// Why the presence is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceReason {
    Started,
    Stopped,
    Lost,
}

/// `identity`: retained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub v: u8,
    pub node: String,
    /// The node's Ed25519 public key, base64 of 32 bytes.
    pub key: Option<String>,
    /// What the board calls itself.
    pub model: Option<String>,
    pub os: Option<String>,
    pub arch: String,
    /// Version of the agent.
    pub agent: String,
}

/// A judged status, from best to worst.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[default]
    Ok,
    Warning,
    Critical,
}

impl Status {
    /// The name in payloads and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One check that is not `ok`, and what it found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// A stable name, such as `temperature_celsius` or `disk:/`.
    pub check: String,
    pub status: Status,
    /// A sentence for a person, with the value and the limit.
    pub message: String,
}

/// `app/<application>`: retained; empty when the application is deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct App {
    pub v: u8,
    #[serde(with = "millis")]
    pub at: Timestamp,
    pub application: String,
    pub namespace: String,
    pub project: String,
    pub state: DeployState,
    pub sync: String,
    pub health: String,
    pub revision: Option<String>,
    pub images: Vec<String>,
    pub operation: Option<AppOperation>,
    pub culprit: Option<Culprit>,
    pub hold: Option<AppHold>,
    #[serde(with = "millis::option")]
    pub reconciled_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppOperation {
    pub phase: String,
    pub message: Option<String>,
    #[serde(with = "millis::option")]
    pub started_at: Option<Timestamp>,
    #[serde(with = "millis::option")]
    pub finished_at: Option<Timestamp>,
    pub retry: u32,
}

/// The resource that keeps an application from being well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Culprit {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppHold {
    pub mode: HoldMode,
    pub from: Option<String>,
    pub to: String,
    /// `None`: the node holds it by itself.
    pub command: Option<String>,
    /// Why, when it does so by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(with = "millis::option")]
    pub since: Option<Timestamp>,
}

/// `indication`: retained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndicationReport {
    pub v: u8,
    pub indication: Indication,
    #[serde(with = "millis")]
    pub since: Timestamp,
    /// Names of the LEDs that show it.
    pub leds: Vec<String>,
}

/// How far a command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultState {
    Accepted,
    Executing,
    Succeeded,
    Failed,
    Rejected,
    TimedOut,
    Superseded,
    Interrupted,
}

impl ResultState {
    /// Nothing follows this state.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Accepted | Self::Executing)
    }

    /// The name in payloads and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Executing => "executing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::TimedOut => "timed_out",
            Self::Superseded => "superseded",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The payload of `result/<command id>`, signed by the node in a DSSE envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandResult {
    pub v: u8,
    pub node: String,
    /// The id of the command.
    pub command: String,
    /// `sha256:` and the hexadecimal digest of the command's payload bytes; `None` for what the
    /// node ordered by itself.
    pub digest: Option<String>,
    /// Counts up with every result of one command, from 1.
    pub n: u32,
    pub state: ResultState,
    /// The stable code, when refused.
    pub reason: Option<RefusalCode>,
    pub message: String,
    pub application: Option<String>,
    pub revision: Option<String>,
    pub deploy_state: Option<DeployState>,
    #[serde(with = "millis")]
    pub at: Timestamp,
}

/// A CloudEvent 1.0 in structured mode: the payload of `event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    pub specversion: String,
    /// A ULID; consumers drop duplicates by it.
    pub id: String,
    /// `edge/v1/<node>`.
    pub source: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub subject: String,
    #[serde(with = "millis")]
    pub time: Timestamp,
    pub datacontenttype: String,
    /// The number in the outbox, zero-padded to 20 digits.
    pub sequence: String,
    pub data: serde_json::Value,
}

/// `/status.json` and `/run/edge-agent/status.json`: everything that the agent knows, at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub v: u8,
    #[serde(with = "millis")]
    pub at: Timestamp,
    /// When the agent started.
    #[serde(with = "millis")]
    pub started: Timestamp,
    pub identity: Identity,
    pub indication: IndicationReport,
    /// By link name: `broker`, `cluster`.
    pub links: BTreeMap<String, LinkReport>,
    /// Parts of the agent that are impaired, and why.
    pub faults: BTreeMap<String, String>,
    /// `None` until the first sample.
    pub health: Option<Arc<Health>>,
    /// By topic name.
    pub applications: BTreeMap<String, Arc<App>>,
    pub outbox: Outbox,
    /// The newest commands, newest first, at most 20.
    pub commands: Vec<CommandReport>,
    /// Refusals since the agent started, by code.
    pub refused: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkReport {
    pub state: LinkState,
    /// Why it is down.
    pub reason: Option<String>,
    #[serde(with = "millis")]
    pub since: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    Disabled,
    Connecting,
    Up,
    Down,
}

/// What became of a command, for the page and for `edge-agent status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandReport {
    pub id: String,
    /// `rollout`, `rollback`, …; `None` when it was never understood.
    pub cmd: Option<String>,
    pub application: Option<String>,
    /// Ids of the keys that signed it; empty for what the node ordered by itself.
    pub keys: Vec<String>,
    pub state: ResultState,
    pub reason: Option<RefusalCode>,
    pub message: String,
    #[serde(with = "millis")]
    pub at: Timestamp,
}
