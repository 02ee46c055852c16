//! What the story of the board does not come by: each brought about for real, and read from the pins.

use edge_agent_core::indication::Indication;
use serde_json::json;

use super::super::support::cluster::Behaviour;
use super::light::{RGB, wait_shown};
use super::stage::Stage;

/// Begins and ends with a healthy application.
pub(super) fn the_others(stage: &mut Stage) {
    out_of_sync(stage);
    stopped_by_the_gate(stage);
    impaired_and_critical(stage);
}

/// The branch moves on, and nobody syncs.
fn out_of_sync(stage: &mut Stage) {
    stage.merge(&json!({"spec": {"syncPolicy": {"automated": null}}}));
    stage.push(5, Behaviour::Healthy);
    wait_shown(&mut stage.machine, Indication::OutOfSync, &RGB);
    let automated = json!({"prune": true, "selfHeal": true});
    stage.merge(&json!({"spec": {"syncPolicy": {"automated": automated}}}));
    wait_shown(&mut stage.machine, Indication::Healthy, &RGB);
}

fn stopped_by_the_gate(stage: &mut Stage) {
    stage.push(6, Behaviour::ProgressingForever);
    wait_shown(&mut stage.machine, Indication::RollingOut, &RGB);
    stage.push(7, Behaviour::PreSyncFails { retries: 0 });
    wait_shown(&mut stage.machine, Indication::GateFailed, &RGB);
    stage.push(8, Behaviour::Healthy);
    wait_shown(&mut stage.machine, Indication::Healthy, &RGB);
}

/// The agent lacks an LED that the settings name; and the processor is said to be too warm at any temperature.
fn impaired_and_critical(stage: &mut Stage) {
    stage.reload_with("[led.gone]\nkind = \"kernel\"\nname = \"GONE\"\n");
    wait_shown(&mut stage.machine, Indication::Fault, &RGB);
    let thresholds = "[health.thresholds.temperature_celsius]\nwarning = -50\ncritical = -49\n";
    stage.reload_with(thresholds);
    wait_shown(&mut stage.machine, Indication::NodeCritical, &RGB);
    stage.reload_with("");
    wait_shown(&mut stage.machine, Indication::Healthy, &RGB);
}
