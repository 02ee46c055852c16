//! The exposition as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use edge_agent_core::wire::ResultState;
use expect_test::expect_file;

use super::fixture;
use super::metrics::{Format, Metrics};

/// The metrics of a node at work, without the one that changes by itself.
fn exposition(format: Format) -> String {
    let metrics = Metrics::new();
    metrics.observe_sync(0.004, 3);
    metrics.observe_sync(0.2, 40);
    metrics.count_command(ResultState::Succeeded);
    let text = metrics.render(&fixture::snapshot(), format).unwrap();
    text.lines()
        .filter(|line| !line.starts_with("edge_agent_uptime_seconds "))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_metrics_are_these() {
    let text = exposition(Format::Prometheus);
    check_exposition(&text);
    expect_file!["metrics.expected.txt"].assert_eq(&text);
}

#[test]
fn openmetrics_ends_with_its_mark_and_has_the_same_series() {
    let open = exposition(Format::OpenMetrics);
    assert!(open.ends_with("# EOF\n"));
    let names = |text: &str| -> BTreeSet<String> {
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series
            .map(|line| line.rsplit_once(' ').unwrap().0.replace(".0\"}", "\"}"))
            .collect()
    };
    assert_eq!(names(&open), names(&exposition(Format::Prometheus)));
}

#[test]
fn what_could_not_be_read_has_no_series() {
    let mut snapshot = fixture::snapshot();
    snapshot.health = None;
    let text = Metrics::new()
        .render(&snapshot, Format::Prometheus)
        .unwrap();
    check_exposition(&text);
    assert!(!text.contains("edge_agent_temperature_celsius"));
    assert!(
        text.contains("edge_agent_application_state{application=\"shop\",state=\"Degraded\"} 1\n")
    );
}

#[test]
fn a_mount_that_is_there_twice_is_one_series() {
    let mut snapshot = fixture::snapshot();
    let mut health = (**snapshot.health.as_ref().unwrap()).clone();
    health.disks.push(health.disks[0].clone());
    snapshot.health = Some(Arc::new(health));
    check_exposition(
        &Metrics::new()
            .render(&snapshot, Format::Prometheus)
            .unwrap(),
    );
}

/// Prometheus' text format, line by line: help and type before the series of a name, every value
/// a number, no series twice.
pub(super) fn check_exposition(text: &str) {
    let mut described: BTreeMap<&str, &str> = BTreeMap::new();
    let mut series = BTreeSet::new();
    let mut helped = None;
    assert!(text.ends_with('\n'));
    for line in text.split_terminator('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(help.ends_with('.') && !help.ends_with(".."), "{line}");
            helped = Some(name);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(helped, Some(name), "help comes right before the type");
            assert!(described.insert(name, kind).is_none(), "{name} twice");
        } else {
            let (labelled, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(labelled), "{line} twice");
            let name = labelled.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .filter(|base| described.get(base) == Some(&"histogram"))
                .unwrap_or(name);
            let kind = described
                .get(base)
                .unwrap_or_else(|| panic!("{line} has no type"));
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{line}");
            assert!(
                name.starts_with("edge_agent_") || name.starts_with("process_"),
                "{line}"
            );
        }
    }
}
