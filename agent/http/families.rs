//! What of a snapshot becomes a metric, and under which name.
//!
//! A value that could not be read gives no series, never a zero. The number of series follows the
//! number of applications, disks and interfaces: an application has one series of
//! `edge_agent_application_state`, with its state as a label and the value 1, rather than one of
//! each of the fifteen states with 0 or 1. The series of the state that was left is not written
//! any more, which ends it in Prometheus at the next scrape, so `{state!="Healthy"}` selects what
//! is not well now.

mod node;

use std::collections::BTreeMap;

use edge_agent_core::command::RefusalCode;
use edge_agent_core::wire::{LinkState, Snapshot, Status};

/// Label names with their values.
pub(super) type Labels = Vec<(&'static str, String)>;

/// One metric with all its series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    /// Without the suffix that the kind brings: `_total`, `_info`.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    /// By labels, so that no series is written twice.
    pub(super) series: BTreeMap<Labels, Value>,
}

/// What may happen to the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Info,
}

/// A value in the form in which it was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<Status> for Value {
    fn from(status: Status) -> Self {
        // The order of the contract: from best to worst.
        Self::Whole(status as u64)
    }
}

/// A count as a real number; exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
pub(super) fn real(count: u64) -> f64 {
    count as f64
}

/// The name that a value of a closed set has in the payloads.
fn name_of(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "unknown".to_owned(),
    }
}

/// Collects families; those without a series are left out.
#[derive(Default)]
struct Collection(Vec<Family>);

impl Collection {
    fn add<V: Into<Value>>(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        series: impl IntoIterator<Item = (Labels, V)>,
    ) {
        let series: BTreeMap<Labels, Value> = series
            .into_iter()
            .map(|(labels, value)| (labels, value.into()))
            .collect();
        if !series.is_empty() {
            self.0.push(Family {
                name,
                help,
                kind,
                series,
            });
        }
    }

    fn gauges<V: Into<Value>>(
        &mut self,
        name: &'static str,
        help: &'static str,
        series: impl IntoIterator<Item = (Labels, V)>,
    ) {
        self.add(Kind::Gauge, name, help, series);
    }

    fn gauge<V: Into<Value>>(&mut self, name: &'static str, help: &'static str, value: Option<V>) {
        self.gauges(name, help, value.map(|value| (Vec::new(), value)));
    }

    fn counters<V: Into<Value>>(
        &mut self,
        name: &'static str,
        help: &'static str,
        series: impl IntoIterator<Item = (Labels, V)>,
    ) {
        self.add(Kind::Counter, name, help, series);
    }
}

fn label(name: &'static str, value: impl Into<String>) -> Labels {
    vec![(name, value.into())]
}

/// Every metric that the snapshot tells.
pub(super) fn of(snapshot: &Snapshot) -> Vec<Family> {
    let mut all = Collection::default();
    agent(&mut all, snapshot);
    outbox_and_commands(&mut all, snapshot);
    if let Some(health) = &snapshot.health {
        node::of(&mut all, health);
    }
    deploys(&mut all, snapshot);
    all.0
}

fn agent(all: &mut Collection, snapshot: &Snapshot) {
    let identity = &snapshot.identity;
    let mut build = vec![
        ("version", identity.agent.clone()),
        ("node", identity.node.clone()),
        ("arch", identity.arch.clone()),
    ];
    build.extend(identity.model.clone().map(|model| ("model", model)));
    all.add(
        Kind::Info,
        "edge_agent_build",
        "The agent and the board it runs on",
        [(build, true)],
    );
    all.gauge(
        "edge_agent_snapshot_timestamp_seconds",
        "When the values from the snapshot were gathered, seconds since 1970",
        Some(snapshot.at.as_duration().as_secs_f64()),
    );
    all.gauges(
        "edge_agent_indication",
        "What the LEDs show: 1 for the indication in the label",
        [(
            label("indication", name_of(&snapshot.indication.indication)),
            true,
        )],
    );
    all.gauges(
        "edge_agent_fault",
        "1 for a part of the agent that is impaired",
        snapshot
            .faults
            .keys()
            .map(|part| (label("part", part), true)),
    );
    all.gauges(
        "edge_agent_link_up",
        "Whether a link works; nothing for one that is turned off",
        snapshot
            .links
            .iter()
            .filter(|(_, link)| link.state != LinkState::Disabled)
            .map(|(name, link)| (label("link", name), link.state == LinkState::Up)),
    );
}

fn outbox_and_commands(all: &mut Collection, snapshot: &Snapshot) {
    all.gauge(
        "edge_agent_outbox_records",
        "Events that wait for the broker to acknowledge them",
        Some(snapshot.outbox.records),
    );
    all.gauge(
        "edge_agent_outbox_bytes",
        "Size of the events that wait",
        Some(snapshot.outbox.bytes),
    );
    all.counters(
        "edge_agent_outbox_dropped",
        "Events dropped since the agent started, because the outbox was full",
        [(Vec::new(), snapshot.outbox.dropped)],
    );
    all.counters(
        "edge_agent_refused",
        "Commands refused since the agent started, by code",
        // Each is there from the start, so that the first one shows as an increase.
        RefusalCode::ALL.map(|code| {
            let count = snapshot.refused.get(code.as_str());
            (label("code", code.as_str()), count.copied().unwrap_or(0))
        }),
    );
}

fn deploys(all: &mut Collection, snapshot: &Snapshot) {
    let applications = || {
        snapshot
            .applications
            .iter()
            .map(|(name, app)| (label("application", name), app))
    };
    all.gauges(
        "edge_agent_application_state",
        "Deploy state of an application: 1 for the state in the label",
        applications().map(|(mut labels, app)| {
            labels.push(("state", name_of(&app.state)));
            (labels, true)
        }),
    );
    all.gauges(
        "edge_agent_application_held",
        "1 while a rollback of the application is held",
        applications().map(|(labels, app)| (labels, app.hold.is_some())),
    );
}
