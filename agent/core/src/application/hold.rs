//! The hold that a rollback leaves on an Application: an annotation that says how it is held and
//! what was there before, so that any agent, or a person with kubectl, can give it back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Hold;
use crate::clock::millis;
use crate::command::payload::HoldMode;

/// Our annotation with the hold, as JSON.
pub const HOLD_ANNOTATION: &str = "edge-agent.io/hold";

/// Our annotation with the id of the last command; also the name of the entry in `operation.info`.
pub const COMMAND_ANNOTATION: &str = "edge-agent.io/command";

/// What the hold annotation holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HoldNote {
    pub(crate) mode: HoldMode,
    #[serde(default)]
    pub(crate) from: Option<String>,
    pub(crate) to: String,
    #[serde(default)]
    pub(crate) command: Option<String>,
    /// Why the node did it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default, with = "millis::option")]
    pub(crate) since: Option<Timestamp>,
    #[serde(default)]
    pub(crate) original: Original,
}

/// What the hold has replaced, and `resume` puts back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Original {
    /// `spec.source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Value>,
    /// `spec.sources`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sources: Option<Value>,
    /// `spec.syncPolicy.automated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) automated: Option<Value>,
}

impl HoldNote {
    /// Reads the annotation, and drops it when it is not in force: somebody has pointed the source
    /// elsewhere, or has turned auto-sync on again, and so has ended the hold without us.
    pub(crate) fn in_force(text: &str, tracked: &str, auto_sync: bool) -> Option<Self> {
        let note: Self = serde_json::from_str(text).ok()?;
        let holds = match note.mode {
            HoldMode::Pin => note.to == tracked,
            HoldMode::Pause => !auto_sync,
        };
        holds.then_some(note)
    }

    pub(crate) fn hold(&self) -> Hold {
        Hold {
            mode: self.mode,
            from: self.from.clone(),
            to: self.to.clone(),
            command: self.command.clone(),
            reason: self.reason.clone(),
            since: self.since,
        }
    }
}
