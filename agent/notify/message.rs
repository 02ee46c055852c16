//! What is told: what happened, where, on which commit, by whom, how long it took, and how each node
//! fared.

use std::fmt::Write as _;
use std::iter;

use edge_agent_core::clock::format_timestamp;
use edge_agent_core::columns::columns;
use edge_agent_core::gate::quoted;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The most nodes of the table.
const MAX_NODES: usize = 40;
/// The longest text, in characters.
const MAX_TEXT: usize = 1000;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// How one node fared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) node: String,
    /// Such as `succeeded`, `failed`, `no answer`.
    pub(crate) outcome: String,
    pub(crate) seconds: Option<f64>,
    pub(crate) revision: Option<String>,
    pub(crate) message: String,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) outcome: Outcome,
    /// In one line.
    pub(crate) title: String,
    pub(crate) application: Option<String>,
    /// An environment, or a node.
    pub(crate) place: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) revision_link: Option<String>,
    /// The branch or tag of the commit.
    pub(crate) reference: Option<String>,
    /// Where more is to be read, such as the build in Drone.
    pub(crate) link: Option<String>,
    pub(crate) who: Option<String>,
    pub(crate) seconds: Option<u64>,
    /// Why, or what the commit says.
    pub(crate) text: Option<String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) at: Timestamp,
}

impl Message {
    /// What happened, as names with values; for receivers that show them so.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let revision = self.revision.as_deref().map(|it| short(it).to_owned());
        let took = self.seconds.map(duration);
        [
            ("Application", self.application.clone()),
            ("Where", self.place.clone()),
            ("Revision", revision),
            ("Who", self.who.clone()),
            ("Took", took),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, line(&value?))))
        .collect()
    }

    /// The title in one line, with nothing in it that a receiver would take for an instruction.
    pub(crate) fn heading(&self) -> String {
        line(&self.title)
    }

    /// Why, bounded; nothing when there is nothing to say.
    pub(crate) fn text(&self) -> Option<String> {
        let text = self.text.as_deref()?.trim();
        let open = text.chars().filter(|c| !c.is_control() || *c == '\n');
        let cut: String = open.take(MAX_TEXT).collect();
        (!cut.is_empty()).then(|| calm(&cut))
    }

    /// The nodes as a table of plain text; nothing when there are none.
    pub(crate) fn table(&self) -> Option<String> {
        if self.nodes.is_empty() {
            return None;
        }
        let head = ["NODE", "OUTCOME", "AFTER", "REVISION", "MESSAGE"].map(str::to_owned);
        let shown = self.nodes.iter().take(MAX_NODES).map(row);
        let rows: Vec<_> = iter::once(head).chain(shown).collect();
        let mut text = columns(&rows);
        let more = self.nodes.len().saturating_sub(MAX_NODES);
        if more > 0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "and {more} more");
        }
        Some(text)
    }

    /// All of it as plain text.
    pub(crate) fn plain(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.facts() {
            let _ = writeln!(text, "{name}: {value}");
        }
        for link in [&self.revision_link, &self.link].into_iter().flatten() {
            let _ = writeln!(text, "{}", line(link));
        }
        for part in [self.text(), self.table()].into_iter().flatten() {
            let _ = write!(text, "\n{}\n", part.trim_end());
        }
        text
    }

    /// All of it for a program.
    pub(crate) fn json(&self) -> Value {
        let node = |it: &Node| {
            json!({
                "node": it.node,
                "outcome": it.outcome,
                "seconds": it.seconds,
                "revision": it.revision,
                "message": it.message,
            })
        };
        json!({
            "v": 1,
            "at": format_timestamp(self.at),
            "outcome": self.outcome.as_str(),
            "title": self.title,
            "application": self.application,
            "where": self.place,
            "revision": self.revision,
            "revision_link": self.revision_link,
            "ref": self.reference,
            "link": self.link,
            "who": self.who,
            "seconds": self.seconds,
            "text": self.text,
            "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(),
        })
    }
}

fn row(node: &Node) -> [String; 5] {
    let after = node.seconds.map(|it| format!("{it:.1} s"));
    let revision = node.revision.as_deref().map(|it| short(it).to_owned());
    [
        line(&node.node),
        line(&node.outcome),
        after.unwrap_or_else(|| "-".to_owned()),
        revision.map_or_else(|| "-".to_owned(), |it| line(&it)),
        line(&node.message),
    ]
}

/// A text of the outside in one line.
fn line(text: &str) -> String {
    let one: Vec<&str> = text.split_whitespace().collect();
    calm(&quoted(&one.join(" ")))
}

/// Breaks what calls people: a commit message is not to wake up a whole channel. And what would end a
/// block of code early.
fn calm(text: &str) -> String {
    text.replace('@', "@\u{200b}").replace("```", "'''")
}

/// The beginning of a commit; other texts as they are.
pub(crate) fn short(revision: &str) -> &str {
    match edge_agent_core::gate::is_commit(revision) {
        true => revision.get(..12).unwrap_or(revision),
        false => revision,
    }
}

fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
