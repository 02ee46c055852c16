//! What systemd is told: ready, a status line, that the loop still turns, stopping.

use std::time::Duration;

use edge_agent_core::wire::{LinkState, Snapshot};
use sd_notify::NotifyState;
use tracing::debug;

/// Speaks to the service manager, if there is one. Without `NOTIFY_SOCKET` every call does nothing.
#[derive(Debug)]
pub(super) struct ServiceNotifier {
    status: String,
}

impl ServiceNotifier {
    pub(super) fn new() -> Self {
        Self {
            status: String::new(),
        }
    }

    /// How often the watchdog wants to hear from the loop: half of what systemd allows.
    pub(super) fn watchdog_interval() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }

    pub(super) fn ready(&self) {
        send(&[NotifyState::Ready]);
    }

    /// Tells that the loop turns. Called from the loop itself, so a loop that hangs is restarted.
    pub(super) fn alive(&self) {
        send(&[NotifyState::Watchdog]);
    }

    /// Sends the status line when it reads differently from the last.
    pub(super) fn status(&mut self, snapshot: &Snapshot) {
        let status = status_line(snapshot);
        if status != self.status {
            send(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }
}

/// Tells the service manager that the process is about to end.
pub fn announce_stop() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Tells the service manager that the process puts everything down and takes it up again.
pub fn announce_reload() {
    let mut states = vec![NotifyState::Reloading, NotifyState::Status("reloading")];
    // Without it systemd takes the message for one that came late, and ignores it.
    states.extend(NotifyState::monotonic_usec_now().ok());
    send(&states);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager could not be told");
    }
}

/// One line for `systemctl status`.
fn status_line(snapshot: &Snapshot) -> String {
    let mut parts = vec![format!("{}", snapshot.indication.indication.as_str())];
    for (name, link) in &snapshot.links {
        let word = match link.state {
            LinkState::Disabled => continue,
            LinkState::Connecting => "connecting",
            LinkState::Up => "up",
            LinkState::Down => "down",
        };
        parts.push(format!("{name} {word}"));
    }
    parts.push(format!("{} applications", snapshot.applications.len()));
    if snapshot.outbox.records > 0 {
        parts.push(format!("{} events waiting", snapshot.outbox.records));
    }
    parts.join(", ")
}
