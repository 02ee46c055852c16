//! How a command becomes a patch, and whether it has come to its end.

mod ending;
mod evidence;
mod object;
mod patch;
mod plan;
mod target;
#[cfg(test)]
mod tests;
mod tracker;
mod verdict;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::application::{ApplicationKey, COMMAND_ANNOTATION, REFRESH_ANNOTATION};
use crate::command::Refusal;
use crate::command::payload::{HoldMode, RollbackTarget};

pub use ending::remainder;
pub use plan::{plan, trace};
pub use tracker::{Progress, Tracker};

/// What the executor is to do in the cluster for one command.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The id of the command, written with the patch.
    pub command: String,
    pub application: ApplicationKey,
    pub kind: OrderKind,
    /// When the order was given; goes into the hold.
    pub at: Timestamp,
    /// Why the node ordered it by itself; `None` when it was commanded. Goes into the hold.
    pub cause: Option<String>,
}

/// The kinds of [`Order`].
#[derive(Debug, Clone, PartialEq)]
pub enum OrderKind {
    /// Make Argo CD compare again; `hard` also drops its manifest cache.
    Refresh { hard: bool },
    /// Bring the application to `revision`: refresh and follow under auto-sync, an operation without.
    Rollout { revision: String },
    /// Bring the application back and hold it there.
    Rollback {
        to: RollbackTarget,
        /// `None`: pin under auto-sync, plain operation without.
        hold: Option<HoldMode>,
        prune: bool,
        allow_managed: bool,
        /// Revisions that this node saw Healthy, newest first; `previous` prefers them.
        seen_healthy: Vec<String>,
    },
    /// Give the application back to git.
    Resume,
    /// Change nothing: find out whether the command was carried out before the agent restarted.
    Lookup,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Argo CD has accepted the patch, or ([`OrderKind::Lookup`]) had done so before.
    Applied(Applied),
    /// Nothing was changed, and why.
    Refused(Refusal),
    /// The answer to a lookup: there is no trace of the command.
    NoTrace,
}

/// An order that is in the cluster, and what to wait for.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The revision that the application is to reach; `None` when the order names none (refresh,
    /// resume, lookup of these).
    pub revision: Option<String>,
    /// The revision that it was on.
    pub from: Option<String>,
    /// How it is held, for a rollback.
    pub hold: Option<HoldMode>,
}

/// What is to be sent to the API server for an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// A JSON Patch, with a test that the object is still the one it was made for.
    pub patch: Option<Value>,
    /// Ask for a comparison with [`annotations`], as a merge patch that cannot conflict; `true`
    /// also drops the manifest cache.
    pub refresh: Option<bool>,
    /// The patch only ends the operation that is under way, and carries no trace of the command:
    /// when the operation is over, plan again.
    pub preparatory: bool,
    /// What to wait for, once the plan is carried out.
    pub applied: Applied,
}

/// The merge patch that asks for a comparison, and leaves the id of the command.
#[must_use]
pub fn annotations(command: &str, hard: bool) -> Value {
    json!({"metadata": {"annotations": {
        REFRESH_ANNOTATION: refresh_word(hard),
        COMMAND_ANNOTATION: command,
    }}})
}

fn refresh_word(hard: bool) -> &'static str {
    if hard { "hard" } else { "normal" }
}
