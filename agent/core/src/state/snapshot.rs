//! Everything that the agent knows, at once, for the page and for `edge-agent status`.

use std::sync::Arc;

use super::State;
use crate::clock::Now;
use crate::event::LinkStatus;
use crate::wire;

impl State {
    /// The snapshot at `now`. Reports of applications and of the health are shared, not copied.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> wire::Snapshot {
        wire::Snapshot {
            v: wire::VERSION,
            at: now.wall,
            started: self.started,
            identity: self.settings.identity.clone(),
            indication: self.indication_report(),
            links: self
                .links
                .iter()
                .map(|(link, entry)| {
                    let (state, reason) = link_report(&entry.status);
                    let report = wire::LinkReport {
                        state,
                        reason,
                        since: entry.since,
                    };
                    (link.as_str().to_owned(), report)
                })
                .collect(),
            faults: self
                .faults
                .iter()
                .map(|(part, fault)| ((*part).to_owned(), fault.clone()))
                .collect(),
            health: self.health.clone(),
            applications: self
                .applications
                .iter()
                .map(|(key, entry)| (self.topic_name(key), Arc::clone(&entry.report)))
                .collect(),
            outbox: wire::Outbox {
                records: self.outbox.records,
                bytes: self.outbox.bytes,
                dropped: self.outbox.dropped,
            },
            commands: self.commands.recent().cloned().collect(),
            refused: self.refusals.totals(),
        }
    }
}

fn link_report(status: &LinkStatus) -> (wire::LinkState, Option<String>) {
    match status {
        LinkStatus::Disabled => (wire::LinkState::Disabled, None),
        LinkStatus::Connecting => (wire::LinkState::Connecting, None),
        LinkStatus::Up => (wire::LinkState::Up, None),
        LinkStatus::Down(reason) => (wire::LinkState::Down, Some(reason.clone())),
    }
}

/// A word for a link's condition.
pub(super) fn describe(status: &LinkStatus) -> &'static str {
    match status {
        LinkStatus::Disabled => "disabled",
        LinkStatus::Connecting => "connecting",
        LinkStatus::Up => "up",
        LinkStatus::Down(_) => "down",
    }
}
