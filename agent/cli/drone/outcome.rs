//! What became of a step, as a file: `edge-agent notify` reads it, and whoever else wants to.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::fleet::{Member, Outcome, Standing};
use super::report::exit;
use super::settings::Settings;
use crate::cli::Exit;

/// The version of the file.
const VERSION: u32 = 1;

/// Everything that a message about a step needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct StepResult {
    pub(in crate::cli) v: u32,
    /// `succeeded`, `failed`, `refused` or `timed_out`: the worst that happened.
    pub(in crate::cli) outcome: String,
    /// `rollout`, `rollback` or `resume`.
    pub(in crate::cli) action: String,
    pub(in crate::cli) application: String,
    /// The commit that was asked for, if one was.
    pub(in crate::cli) revision: Option<String>,
    /// One for each order, in the order of the nodes; those that were not begun are among them.
    pub(in crate::cli) nodes: Vec<NodeResult>,
    /// How many answers were not signed by the node that they claimed to be of.
    #[serde(default)]
    pub(in crate::cli) forged: BTreeMap<String, u32>,
}

/// What became of the order for one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct NodeResult {
    pub(in crate::cli) node: String,
    /// The word of the table, such as `succeeded`, `failed`, `no answer`, `not begun`.
    pub(in crate::cli) outcome: String,
    pub(in crate::cli) message: String,
    pub(in crate::cli) revision: Option<String>,
    pub(in crate::cli) seconds: Option<f64>,
    /// It takes back what an earlier order of the step did.
    pub(in crate::cli) undoes: bool,
}

impl StepResult {
    pub(super) fn of(
        settings: &Settings,
        members: &[Member],
        forged: &BTreeMap<impl ToString, u32>,
    ) -> Self {
        let outcome = match exit(members) {
            Exit::Done => "succeeded",
            Exit::Timeout => "timed_out",
            Exit::Refused => "refused",
            _ => "failed",
        };
        let begun = |it: &&Member| !it.undoes || it.standing != Standing::Pending;
        let (action, revision) = settings.work.target.words();
        Self {
            v: VERSION,
            outcome: outcome.to_owned(),
            action: action.to_owned(),
            application: settings.work.application.clone(),
            revision,
            nodes: members.iter().filter(begun).map(node).collect(),
            forged: forged
                .iter()
                .map(|(node, count)| (node.to_string(), *count))
                .collect(),
        }
    }

    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text)
    }

    /// # Errors
    /// When the text is none of these, or of a later version.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        let result: Self = serde_json::from_str(text)
            .map_err(|error| format!("is no result of `edge-agent drone`: {error}"))?;
        if result.v != VERSION {
            return Err(format!("is of version {}, not {VERSION}", result.v));
        }
        Ok(result)
    }
}

fn node(member: &Member) -> NodeResult {
    let seconds = member.began.zip(member.ended);
    let seconds = seconds.map(|(began, ended)| ended.duration_since(began).as_secs_f64());
    NodeResult {
        node: member.node.as_str().to_owned(),
        outcome: match member.outcome() {
            Some(Outcome::Reached) if member.undoes => "undone".to_owned(),
            _ => member.word.clone(),
        },
        message: member.message.clone(),
        revision: member.revision.clone(),
        seconds: seconds.map(|it| (it * 10.0).round() / 10.0),
        undoes: member.undoes,
    }
}
