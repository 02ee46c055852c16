//! What the LEDs say, and how bright each is at a moment.

use serde::{Deserialize, Serialize};

/// What the LEDs say, in order of priority: the first that applies is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Indication {
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
