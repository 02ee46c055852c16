//! Both tasks against a cluster that misbehaves as written down.

mod examining;
mod executing;
mod watching;

use edge_agent_core::application::Application;
use serde_json::Value;

use crate::config;

fn fixture(name: &str) -> Value {
    let path = format!(
        "{}/tests/fixtures/argocd-3.5.7/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn application(fixture_name: &str) -> Application {
    Application::from_value(&fixture(fixture_name)).unwrap()
}

fn settings(namespaces: &[&str]) -> config::Cluster {
    config::Cluster {
        node_name: None,
        enabled: true,
        kubeconfig: None,
        namespaces: namespaces.iter().map(|n| (*n).to_owned()).collect(),
        stale_after_seconds: 600,
        security_hooks: Vec::new(),
    }
}
