//! Judges the network interfaces.

use std::collections::BTreeMap;
use std::time::Duration;

use super::limits::{reason, relative_margin, shortened, step};
use super::{Interface, Limits};
use crate::wire::{Reason, Status};

/// How long a link may be gone: a switch that restarts takes half of it.
const LINK_GRACE: Duration = Duration::from_secs(60);

/// How long a link that was there is missed. After that somebody has moved the board.
const MISSED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long packets are counted before the damaged ones among them are judged.
const WINDOW: Duration = Duration::from_secs(60);

/// Fewer packets say nothing.
const ENOUGH: u64 = 100;

/// Share of packets that are damaged from which a cable or an antenna is bad. There is no critical one:
/// what still gets through is told by the links of the agent.
const ERRORS: Limits = Limits::new(0.01, f64::INFINITY);

/// What is remembered of the interfaces, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct NetworkMemory(BTreeMap<String, Remembered>);

#[derive(Debug, Clone, Default)]
struct Remembered {
    last_up: Option<Duration>,
    window: Option<Window>,
    errors: Status,
    share: f64,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    begun: Duration,
    packets: u64,
    errors: u64,
}

impl NetworkMemory {
    pub(super) fn judge(&mut self, interfaces: &[Interface], now: Duration) -> Vec<Reason> {
        self.0
            .retain(|name, _| interfaces.iter().any(|it| it.name == *name));
        let judge = |interface: &Interface| {
            let memory = self.0.entry(interface.name.clone()).or_default();
            memory.judge(interface, now)
        };
        interfaces.iter().filter_map(judge).collect()
    }
}

impl Remembered {
    fn judge(&mut self, interface: &Interface, now: Duration) -> Option<Reason> {
        let name = &interface.name;
        self.count(interface, now);
        if interface.up != Some(false) {
            self.last_up = interface.up.map(|_| now);
            let share = shortened(self.share * 100.0);
            return reason(&format!("network:{name}"), self.errors, |_| {
                format!(
                    "{share} % of the packets on {name} are damaged: is its cable or its antenna all right?"
                )
            });
        }
        let gone = now.saturating_sub(self.last_up?);
        let missed = gone >= LINK_GRACE && gone < MISSED_FOR;
        let status = if missed { Status::Warning } else { Status::Ok };
        reason(&format!("network:{name}"), status, |_| {
            format!("{name} has had no link for more than a minute, and had one before")
        })
    }

    fn count(&mut self, interface: &Interface, now: Duration) {
        let (Some(packets), Some(errors)) = (interface.packets, interface.errors) else {
            self.window = None;
            self.errors = Status::Ok;
            return;
        };
        let fresh = Window {
            begun: now,
            packets,
            errors,
        };
        let window = *self.window.get_or_insert(fresh);
        if now.saturating_sub(window.begun) < WINDOW {
            return;
        }
        self.window = Some(fresh);
        let damaged = errors.saturating_sub(window.errors);
        let total = packets
            .saturating_sub(window.packets)
            .saturating_add(damaged);
        self.share = if total < ENOUGH {
            0.0
        } else {
            damaged as f64 / total as f64
        };
        self.errors = step(self.errors, self.share, ERRORS, relative_margin);
    }
}
