//! What the LEDs say, and how bright each is at a moment.
//!
//! One rhythm belongs to one indication, on every kind of LED: who sees no colours, or has a single
//! LED, reads the same as who has an RGB LED.

mod pattern;

pub use pattern::{Rgb, colour, hue, level, next_change};

use crate::wire::Status;
use serde::{Deserialize, Serialize};

/// What the LEDs say, in order of priority: the first that applies is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Indication {
    /// The button is held: a flash fewer each second, until it is an order.
    Countdown,
    /// What the button was held for cannot be done.
    Refused,
    /// A person asked the board to show itself.
    Identify,
    /// The agent itself is impaired.
    Fault,
    /// A security check stopped a deploy.
    GateFailed,
    /// A deploy failed, or what runs is degraded or missing.
    DeployFailed,
    /// A deploy or a command is under way.
    RollingOut,
    /// The node's health is critical.
    NodeCritical,
    /// A rollback is being held.
    Held,
    /// The broker or the API server is unreachable.
    Offline,
    /// The node's health is a warning.
    NodeWarning,
    /// The cluster differs from git, or its state is unknown.
    OutOfSync,
    /// All is well.
    Healthy,
}

impl Indication {
    /// Every indication, in order of priority.
    pub const ALL: [Self; 13] = [
        Self::Countdown,
        Self::Refused,
        Self::Identify,
        Self::Fault,
        Self::GateFailed,
        Self::DeployFailed,
        Self::RollingOut,
        Self::NodeCritical,
        Self::Held,
        Self::Offline,
        Self::NodeWarning,
        Self::OutOfSync,
        Self::Healthy,
    ];

    /// The first indication that applies.
    #[must_use]
    pub fn of(conditions: &Conditions) -> Self {
        let rules = [
            (conditions.countdown, Self::Countdown),
            (conditions.refused, Self::Refused),
            (conditions.identify, Self::Identify),
            (conditions.fault, Self::Fault),
            (conditions.gate_failed, Self::GateFailed),
            (conditions.deploy_failed, Self::DeployFailed),
            (conditions.rolling_out, Self::RollingOut),
            (conditions.node == Status::Critical, Self::NodeCritical),
            (conditions.held, Self::Held),
            (conditions.offline, Self::Offline),
            (conditions.node == Status::Warning, Self::NodeWarning),
            (conditions.out_of_sync, Self::OutOfSync),
        ];
        rules
            .into_iter()
            .find_map(|(applies, indication)| applies.then_some(indication))
            .unwrap_or(Self::Healthy)
    }

    /// What it is called, and what it means, for a person.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Countdown => (
                "Countdown",
                "The button is held; after 5 s the last change is rolled back.",
            ),
            Self::Refused => ("Refused", "What the button was held for cannot be done."),
            Self::Identify => ("Identify", "A person asked this board to show itself."),
            Self::Fault => ("Agent impaired", "The agent itself is impaired."),
            Self::GateFailed => (
                "Security check failed",
                "A security check stopped a deploy.",
            ),
            Self::DeployFailed => (
                "Deploy failed",
                "A deploy failed, or what runs is degraded or missing.",
            ),
            Self::RollingOut => ("Rolling out", "A deploy or a command is under way."),
            Self::NodeCritical => ("Node critical", "The health of this node is critical."),
            Self::Held => ("Rollback held", "A rollback is being held."),
            Self::Offline => ("Offline", "The broker or the API server cannot be reached."),
            Self::NodeWarning => ("Node warning", "The health of this node is a warning."),
            Self::OutOfSync => (
                "Out of sync",
                "The cluster differs from git, or its state is unknown.",
            ),
            Self::Healthy => ("Healthy", "All is well."),
        }
    }

    /// The name in payloads and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Countdown => "countdown",
            Self::Refused => "refused",
            Self::Identify => "identify",
            Self::Fault => "fault",
            Self::GateFailed => "gate_failed",
            Self::DeployFailed => "deploy_failed",
            Self::RollingOut => "rolling_out",
            Self::NodeCritical => "node_critical",
            Self::Held => "held",
            Self::Offline => "offline",
            Self::NodeWarning => "node_warning",
            Self::OutOfSync => "out_of_sync",
            Self::Healthy => "healthy",
        }
    }
}

/// What there is to show. Several may hold at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The button of the board is held.
    pub countdown: bool,
    /// What the button was held for could not be done.
    pub refused: bool,
    /// A person asked the board to show itself.
    pub identify: bool,
    /// A part of the agent is impaired.
    pub fault: bool,
    /// An application is `SecurityCheckFailed`.
    pub gate_failed: bool,
    /// An application is `SyncFailed`, `Degraded` or `Missing`.
    pub deploy_failed: bool,
    /// An application is `Syncing`, `Retrying`, `Progressing` or `Terminating`, or a command executes.
    pub rolling_out: bool,
    /// The health of the node.
    pub node: Status,
    /// An application is `RolledBack`.
    pub held: bool,
    /// The broker or the API server is unreachable.
    pub offline: bool,
    /// An application is `OutOfSync`, `Suspended` or `Unknown`.
    pub out_of_sync: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_condition_that_applies_is_shown() {
        let mut conditions = Conditions {
            countdown: true,
            refused: true,
            identify: true,
            fault: true,
            gate_failed: true,
            deploy_failed: true,
            rolling_out: true,
            node: Status::Critical,
            held: true,
            offline: true,
            out_of_sync: true,
        };
        let calm: [fn(&mut Conditions); 13] = [
            |c| c.countdown = false,
            |c| c.refused = false,
            |c| c.identify = false,
            |c| c.fault = false,
            |c| c.gate_failed = false,
            |c| c.deploy_failed = false,
            |c| c.rolling_out = false,
            |c| c.node = Status::Warning,
            |c| c.held = false,
            |c| c.offline = false,
            |c| c.node = Status::Ok,
            |c| c.out_of_sync = false,
            |_| (),
        ];
        for (expected, calm) in Indication::ALL.into_iter().zip(calm) {
            assert_eq!(Indication::of(&conditions), expected);
            calm(&mut conditions);
        }
        assert_eq!(conditions, Conditions::default());
    }

    #[test]
    fn names_are_those_of_the_payloads() {
        for indication in Indication::ALL {
            let json = serde_json::to_string(&indication).unwrap();
            assert_eq!(json, format!("\"{}\"", indication.as_str()));
        }
    }
}
