//! Relay, rollout and rollback with the real Argo CD of the lab (`tests/e2e/lab`): a real API
//! server, the real controller, and the built agent with exactly the rights of `config/k3s/`.
//!
//! ```text
//! tests/e2e/run argocd                                  all of it; builds the lab the first time
//! tests/e2e/run argocd_commands --scenario pin          one scenario
//! tests/e2e/run argocd --lab /tmp/edge-agent-lab-0      in a lab that is up already, and stays
//! ```

mod answers;
mod faults;
mod gateway;
pub(crate) mod lab;
mod many;
mod node;
mod observed;
mod older;
mod proxy;
pub(crate) mod real_node;
mod relay;
mod repository;
mod restarts;
mod rights;
mod stage;

use super::{Args, Suite};
use crate::scenarios::{SCENARIOS, Scenario};
use stage::Stage;

pub(crate) const SUITES: &[Suite] = &[
    ("argocd_commands", commands),
    ("argocd_rights", rights::suite),
    ("argocd_node", node::suite),
    ("argocd_relay", relay::suite),
    ("argocd_faults", faults::suite),
    ("argocd_answers", answers::suite),
    ("argocd_rights_taken", faults::rights_taken),
    ("argocd_absent", faults::absent),
    ("argocd_many", many::suite),
    ("argocd_latency", many::latency),
    ("argocd_agent_killed", restarts::agent_killed),
    ("argocd_server_killed", restarts::server_killed),
    ("argocd_older", older::suite),
    ("real_node", real_node::suite),
];

/// Ends what the suites share.
pub(crate) fn end() {
    lab::Lab::end();
}

fn commands(args: &Args) {
    let stage = Stage::set(args);
    stage.play(args, &staged(SCENARIOS));
}

/// The scenarios that are played on the double as well.
fn staged(scenarios: &[Scenario]) -> Vec<(&'static str, impl Fn(&Stage) + Sync)> {
    let staged = scenarios
        .iter()
        .map(|(name, scenario)| (*name, move |stage: &Stage| scenario(stage)));
    staged.collect()
}
