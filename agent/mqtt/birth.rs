//! Home Assistant has started: what it is told of this node is published again, because a broker may have
//! lost it, and it may have missed a change.

use std::time::Duration;

use tokio::time::Instant;

use super::client::Received;
use super::retained::Retained;

/// The longest wait before that: a fleet should not tell everything in the same moment.
const SPREAD: Duration = Duration::from_secs(3);

/// Waits for the message with which Home Assistant says that it has started.
pub(super) struct Birth {
    /// What the topics of discovery begin with.
    prefix: String,
    retained: Retained,
    due: Option<Instant>,
}

impl Birth {
    pub(super) fn new(discovery_prefix: &str, retained: Retained) -> Self {
        Self {
            prefix: format!("{discovery_prefix}/"),
            retained,
            due: None,
        }
    }

    /// Where Home Assistant says so.
    pub(super) fn topic(&self) -> String {
        format!("{}status", self.prefix)
    }

    /// Whether a message was for this, and not a command.
    pub(super) fn takes(&mut self, message: &Received) -> bool {
        let is_ours = message.topic == self.topic().as_bytes();
        if is_ours && message.payload == b"online" {
            let wait = SPREAD.mul_f64(super::random());
            self.due.get_or_insert_with(|| Instant::now() + wait);
        }
        is_ours
    }

    /// When it is time; `None` while nothing is to be done.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn publish_again(&mut self) {
        self.due = None;
        self.retained.publish_again(&self.prefix);
    }
}
