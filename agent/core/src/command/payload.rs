//! The payload of a command: a closed set of orders, every field checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A command as its issuer wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// `[A-Za-z0-9._-]{1,64}`.
    pub id: String,
    /// Names of the nodes that are meant.
    pub audience: Vec<String>,
    /// Grows strictly for each key and scope; at most 2^53 − 1.
    pub sequence: u64,
    /// Issued at, seconds since 1970.
    pub issued_at: i64,
    /// Not to be accepted from this second on.
    pub expires_at: i64,
    pub action: Action,
}

/// What is ordered.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Rollout {
        /// `name` or `namespace/name`.
        application: String,
        /// Full commit SHA, 40 or 64 hexadecimal digits.
        revision: String,
        /// Digests (`sha256:…`) or references with digest that must run in the end.
        images: Vec<String>,
        /// How long the rollout may take; 1 s to 24 h, 15 min by default.
        timeout: Duration,
        on_failure: OnFailure,
    },
    Rollback {
        application: String,
        to: RollbackTarget,
        /// `None`: pin under auto-sync, plain operation without.
        hold: Option<HoldMode>,
        prune: bool,
        allow_managed: bool,
    },
    Resume {
        application: String,
    },
    Refresh {
        application: String,
        hard: bool,
    },
    /// Seconds, 1 to 600.
    Identify {
        seconds: u32,
    },
    Ping,
}

/// What the agent does by itself when a rollout fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    #[default]
    None,
    Rollback,
}

/// Where a rollback goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollbackTarget {
    /// The newest entry of the history with another revision and source, one that this node saw
    /// Healthy before others.
    Previous,
    /// A commit SHA of the history.
    Revision(String),
    /// The id of a history entry.
    History(u64),
}

/// How a rollback is kept from being undone by auto-sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldMode {
    /// The good revision is written into `spec.source`; auto-sync and self-heal go on.
    Pin,
    /// Auto-sync is turned off.
    Pause,
}
