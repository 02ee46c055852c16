//! Applications as an API server may send them, in any state that Argo CD or a person can leave them
//! in: each has a deploy state and a report.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use edge_agent_core::application::{Application, Rules, deploy_state, report};
use edge_agent_core::rollout::trace;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

static RULES: LazyLock<Rules> =
    LazyLock::new(|| Rules::new(Duration::from_secs(600), &["*scan*".to_owned()]));

fuzz_target!(|bytes: &[u8]| {
    let Ok(application) = Application::from_json(bytes) else {
        return;
    };
    for now in [Timestamp::UNIX_EPOCH, Timestamp::MIN, Timestamp::MAX] {
        let state = deploy_state(&application, &RULES, now);
        let _ = report(&application, state, now);
    }
    let _ = trace(&serde(bytes), "c1");
});

fn serde(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}
