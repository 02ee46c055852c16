//! One order for one node, from nothing to its end.

use std::time::Duration;

use edge_agent_core::topic::NodeName;
use edge_agent_core::wire::{CommandResult, ResultState};
use tokio::time::Instant;

use super::settings::Wait;

/// How long after its end an order that nobody took may still be on its way back to us.
const LATE: Duration = Duration::from_secs(5);
/// A node ends what takes too long by itself, and says so; this is its time to say it.
const GRACE: Duration = Duration::from_secs(30);
/// After so long without an answer a person is told.
const SILENCE: Duration = Duration::from_secs(30);

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Reached,
    Failed,
    Refused,
    TimedOut,
}

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not given.
    Pending,
    /// Given; the node has not answered.
    Given,
    /// The node has it.
    Taken,
    Ended(Outcome),
}

/// An order for a node.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) node: NodeName,
    pub(super) id: String,
    /// It takes back what an earlier order of this step did.
    pub(super) undoes: bool,
    pub(super) wave: Option<usize>,
    pub(super) standing: Standing,
    /// What was last said of it, for the table.
    pub(super) word: String,
    pub(super) message: String,
    pub(super) revision: Option<String>,
    pub(super) began: Option<Instant>,
    pub(super) ended: Option<Instant>,
    /// A result that came before the node's key.
    pub(super) held: Option<Vec<u8>>,
    n: u32,
    executing: bool,
    since: Option<Instant>,
    reminded: bool,
}

impl Member {
    pub(super) fn new(node: NodeName, id: String, undoes: bool) -> Self {
        Self {
            node,
            id,
            undoes,
            wave: None,
            standing: Standing::Pending,
            word: "not begun".to_owned(),
            message: String::new(),
            revision: None,
            began: None,
            ended: None,
            held: None,
            n: 0,
            executing: false,
            since: None,
            reminded: false,
        }
    }

    /// Whether it is under way.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Given | Standing::Taken)
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self.standing {
            Standing::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// It is handed to the broker now.
    pub(super) fn give(&mut self, now: Instant) {
        self.standing = Standing::Given;
        self.began = Some(now);
        self.since = Some(now);
        "given".clone_into(&mut self.word);
    }

    /// The broker has it.
    pub(super) fn delivered(&mut self, wait: Wait, now: Instant) {
        if wait == Wait::None && self.standing == Standing::Given {
            self.end(Outcome::Reached, "sent", "the broker has it", now);
        }
    }

    /// Takes a result that is verified to be the node's. False: an old one, or one too many.
    pub(super) fn take(&mut self, result: &CommandResult, wait: Wait, now: Instant) -> bool {
        if result.n <= self.n || self.outcome().is_some() {
            return false;
        }
        self.n = result.n;
        self.began.get_or_insert(now);
        if self.standing != Standing::Taken {
            self.since = Some(now);
        }
        self.standing = Standing::Taken;
        self.revision.clone_from(&result.revision);
        let word = result.state.as_str();
        word.clone_into(&mut self.word);
        self.message = printable(&result.message);
        self.executing |= result.state == ResultState::Executing;
        let outcome = match result.state {
            ResultState::Accepted | ResultState::Executing => {
                (wait == Wait::Accepted).then_some(Outcome::Reached)
            }
            ResultState::Succeeded => Some(Outcome::Reached),
            ResultState::Rejected => Some(Outcome::Refused),
            ResultState::TimedOut => Some(Outcome::TimedOut),
            ResultState::Failed | ResultState::Superseded | ResultState::Interrupted => {
                Some(Outcome::Failed)
            }
        };
        if let Some(outcome) = outcome {
            self.standing = Standing::Ended(outcome);
            self.ended = Some(now);
        }
        true
    }

    /// The application of the node is on a revision. True when that ends the waiting.
    pub(super) fn synced(&mut self, on: &str, wait: Wait, now: Instant) -> bool {
        let there = self.executing && self.standing == Standing::Taken && wait == Wait::Synced;
        let reached = there && self.revision.as_deref() == Some(on);
        if reached {
            self.end(Outcome::Reached, "synced", "the application is on it", now);
        }
        reached
    }

    /// When something is to be said or ended for want of an answer.
    pub(super) fn deadline(&self, ttl: Duration, timeout: Duration) -> Option<Instant> {
        let since = self.since?;
        match self.standing {
            Standing::Given if !self.reminded => Some(since + SILENCE.min(ttl + LATE)),
            Standing::Given => Some(since + ttl + LATE),
            Standing::Taken => Some(since + timeout + GRACE),
            Standing::Pending | Standing::Ended(_) => None,
        }
    }

    /// Looks at the time. Gives what is to be told.
    pub(super) fn tick(
        &mut self,
        ttl: Duration,
        timeout: Duration,
        online: Option<bool>,
        now: Instant,
    ) -> Option<String> {
        if self
            .deadline(ttl, timeout)
            .is_none_or(|deadline| deadline > now)
        {
            return None;
        }
        let since = self.since?;
        if self.standing == Standing::Taken {
            let message = "the node took it on and has not told how it ended";
            self.end(Outcome::TimedOut, "timed_out", message, now);
            return Some(self.message.clone());
        }
        let seen = match online {
            Some(true) => "it says that it is online: does its keyring have this key?",
            Some(false) => "it is offline",
            None => "the broker knows nothing of it: is the name right?",
        };
        if now < since + ttl + LATE {
            self.reminded = true;
            let left = ttl.saturating_sub(now.duration_since(since));
            return Some(format!(
                "no answer yet; {seen}. The order waits for it another {} s",
                left.as_secs()
            ));
        }
        let stop = if seen.ends_with('?') { "" } else { "." };
        let message = format!(
            "{seen}{stop} The order has expired, so the node will not carry it out any more"
        );
        self.end(Outcome::TimedOut, "no answer", &message, now);
        Some(self.message.clone())
    }

    fn end(&mut self, outcome: Outcome, word: &str, message: &str, now: Instant) {
        self.standing = Standing::Ended(outcome);
        self.ended = Some(now);
        word.clone_into(&mut self.word);
        message.clone_into(&mut self.message);
    }
}

/// What comes over the network is not to move the cursor of a terminal, or begin a line of its own.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(1024)
        .collect()
}

#[cfg(test)]
mod tests;
