//! `/metrics`: what was counted since the start, and the snapshot as gauges.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use edge_agent_core::wire::{ResultState, Snapshot};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{self, DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::families::{self, Kind, Labels, Value};

/// Seconds; a sync of an SD card takes from a few milliseconds to, on a bad day, seconds.
const SYNC_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
const EVENTS_PER_SYNC: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

const STATES: [ResultState; 8] = [
    ResultState::Accepted,
    ResultState::Executing,
    ResultState::Succeeded,
    ResultState::Failed,
    ResultState::Rejected,
    ResultState::TimedOut,
    ResultState::Superseded,
    ResultState::Interrupted,
];

/// The counters and histograms of one process. Everything that the [`Snapshot`] tells is made from
/// it when it is asked for, so a gauge can neither be forgotten nor go stale.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    sync_seconds: Histogram,
    events_per_sync: Histogram,
    /// By state; each is there from the start, so that the first one shows as an increase.
    commands: BTreeMap<&'static str, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet; the agent's uptime runs from here.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            sync_seconds: Histogram::new(SYNC_SECONDS),
            events_per_sync: Histogram::new(EVENTS_PER_SYNC),
            commands: STATES
                .map(|state| (state.as_str(), Counter::default()))
                .into(),
        }
    }

    /// The outbox has put `events` on the medium with one sync that took `seconds`.
    pub fn observe_sync(&self, seconds: f64, events: u64) {
        self.sync_seconds.observe(seconds);
        self.events_per_sync.observe(families::real(events));
    }

    /// A command has reached `state`; called once for every result that the node gives.
    pub fn count_command(&self, state: ResultState) {
        if let Some(counter) = self.commands.get(state.as_str()) {
            counter.inc();
        }
    }

    /// The whole exposition.
    ///
    /// # Errors
    /// Only what writing into a string reports, which is nothing.
    pub(super) fn render(
        &self,
        snapshot: &Snapshot,
        format: Format,
    ) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::default();
        registry.register(
            "edge_agent_uptime_seconds",
            "Time since the agent started",
            ConstGauge::new(self.started.elapsed().as_secs_f64()),
        );
        registry.register(
            "edge_agent_outbox_sync_seconds",
            "Time to put events of the outbox on the medium",
            self.sync_seconds.clone(),
        );
        registry.register(
            "edge_agent_outbox_events_per_sync",
            "Events that were put on the medium together",
            self.events_per_sync.clone(),
        );
        let commands = self.commands.iter();
        let mut all = vec![families::Family {
            name: "edge_agent_commands",
            help: "Results given to commands, by the state that was reached",
            kind: Kind::Counter,
            series: commands
                .map(|(state, count)| (vec![("state", (*state).to_owned())], count.get().into()))
                .collect(),
        }];
        all.extend(families::of(snapshot));
        registry.register_collector(Box::new(Families(all)));
        let mut text = String::new();
        match format {
            Format::Prometheus => encoding::prometheus_text::encode(&mut text, &registry)?,
            Format::OpenMetrics => encoding::text::encode(&mut text, &registry)?,
        }
        Ok(text)
    }
}

/// How the exposition is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// OpenMetrics for those who say that they read it, as Prometheus does.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let open = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.contains("application/openmetrics-text"));
        if open {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The families of one snapshot, for the registry.
#[derive(Debug)]
struct Families(Vec<families::Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        for family in &self.0 {
            let kind = match family.kind {
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
                Kind::Info => MetricType::Info,
            };
            // The registry ends its own help texts with a dot, and leaves those of others alone.
            let help = format!("{}.", family.help);
            let mut metric = encoder.encode_descriptor(family.name, &help, None, kind)?;
            for (labels, value) in &family.series {
                encode_series(&mut metric, family.kind, labels, *value)?;
            }
        }
        Ok(())
    }
}

fn encode_series(
    metric: &mut encoding::MetricEncoder<'_>,
    kind: Kind,
    labels: &Labels,
    value: Value,
) -> Result<(), std::fmt::Error> {
    if kind == Kind::Info {
        return metric.encode_info(labels);
    }
    let metric = metric.encode_family(labels)?;
    match (kind, value) {
        (Kind::Counter, Value::Whole(value)) => ConstCounter::new(value).encode(metric),
        (Kind::Counter, Value::Real(value)) => ConstCounter::new(value).encode(metric),
        (_, Value::Whole(value)) => ConstGauge::new(value).encode(metric),
        (_, Value::Real(value)) => ConstGauge::new(value).encode(metric),
    }
}
