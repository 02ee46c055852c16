//! The settings of a node: the agent's defaults, on some board.

use std::time::Duration;

use edge_agent_core::application::Rules;
use edge_agent_core::command::key::SigningKey;
use edge_agent_core::event::SETTLE;
use edge_agent_core::health::Thresholds;
use edge_agent_core::state::Settings;
use edge_agent_core::topic::NodeName;
use edge_agent_core::wire;

use super::super::dice::Dice;
use super::VERSION;

/// How old a comparison may be, and how often the health is told at the latest.
const STALE_AFTER: Duration = Duration::from_secs(600);
const REPORTS: Duration = Duration::from_secs(300);

pub(super) fn settings(name: &NodeName, key: &SigningKey, boot: &str, dice: &mut Dice) -> Settings {
    let models = [
        "Raspberry Pi 4 Model B Rev 1.5",
        "Raspberry Pi 5 Model B Rev 1.0",
        "Raspberry Pi Compute Module 4 Rev 1.1",
    ];
    let hooks = ["*scan*", "*security*", "*gate*"].map(str::to_owned);
    Settings {
        node: name.clone(),
        identity: wire::Identity {
            v: wire::VERSION,
            node: name.as_str().to_owned(),
            key: Some(key.public_base64()),
            model: Some((*dice.one_of(&models)).to_owned()),
            os: Some("Debian GNU/Linux 13 (trixie)".to_owned()),
            arch: "aarch64".to_owned(),
            agent: VERSION.to_owned(),
        },
        boot: Some(boot.to_owned()),
        namespaces: vec!["argocd".to_owned()],
        rules: Rules::new(STALE_AFTER, &hooks),
        thresholds: Thresholds::DEFAULT,
        report_every: REPORTS,
        auto_rollback: Vec::new(),
        leds: vec!["ACT".to_owned()],
        settle: SETTLE,
        discovery: None,
    }
}
