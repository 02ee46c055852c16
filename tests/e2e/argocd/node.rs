//! What Kubernetes says of the node: nothing without the right to ask, and the truth with it.

use serde_json::{Value, json};

use super::super::{Args, figure};
use super::lab::Kind;
use super::stage::Stage;
use crate::scenarios::scene::LIMIT;

const RIGHTS: &str = include_str!("../../../config/k3s/edge-agent-node.yaml");

/// Where the rights go, and the pods that are on the node.
const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/edge-agent-node";
const BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/edge-agent-node";
const PODS: &str = "/api/v1/namespaces/default/pods";

pub(super) fn suite(args: &Args) {
    let stage = Stage::with(args, Kind::Usual, "node_name = \"lab\"\n", |_| {});
    let api = &stage.lab.api;
    let k3s = |what: &str, is: &dyn Fn(&Value) -> bool| {
        stage.agent().wait_status(LIMIT, what, |status| {
            let k3s = status["health"]["k3s"].clone();
            is(&k3s).then_some(k3s)
        })
    };
    let without = k3s("the API server to be seen", &|k3s| k3s["api"] == true);
    for unknown in ["node_ready", "memory_pressure", "disk_pressure", "pods"] {
        assert!(without[unknown].is_null(), "{without}");
    }

    let objects: Vec<&str> = RIGHTS.split("\n---\n").collect();
    api.apply_yaml(ROLE, objects[0]);
    api.apply_yaml(BINDING, objects[1]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "seen"},
        "spec": {"nodeName": "lab", "containers": [{"name": "web", "image": "web"}]},
    });
    api.send("POST", PODS, "application/json", &pod);
    // It asks again at once when it is started; else it leaves the server alone for ten minutes.
    stage.agent().kill();
    stage.start_agent();
    let seen = k3s("the node and its pod to be seen", &|k3s| {
        k3s["node_ready"] == true && k3s["pods"].as_u64() >= Some(1)
    });
    figure("the node", &seen);
    assert_eq!(seen["memory_pressure"], false, "{seen}");
    assert_eq!(seen["disk_pressure"], false, "{seen}");
    for path in [&format!("{PODS}/seen"), ROLE, BINDING] {
        api.delete(path);
    }
}
