//! What the API server says of itself, its node and its pods.

use serde_json::{Value, json};

use super::server::Query;
use super::timestamp;

/// `/version`.
pub(super) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "37",
        "gitVersion": "v1.37.2+k3s1",
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2026-11-01T00:00:00Z",
        "goVersion": "go1.26.8",
        "compiler": "gc",
        "platform": "linux/arm64",
    })
}

/// A node.
pub(super) fn node(name: &str, ready: bool) -> Value {
    let now = timestamp::now();
    let (status, reason) = if ready {
        ("True", "KubeletReady")
    } else {
        ("False", "KubeletNotReady")
    };
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": "0c5a9d52-0000-4000-8000-000000000001"},
        "spec": {},
        "status": {
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", &now),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", &now),
                condition("Ready", status, reason, &now),
            ],
            "nodeInfo": {"architecture": "arm64", "kubeletVersion": "v1.37.2+k3s1"},
        },
    })
}

fn condition(kind: &str, status: &str, reason: &str, now: &str) -> Value {
    json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": reason,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    })
}

/// The pods of a node, by pages. As on the real server, a list with a selector does not tell how
/// many are left. A table comes whole: it is short.
pub(super) fn pods(query: &Query, count: usize, accept: &str) -> Value {
    if accept.contains("as=Table") {
        return table(count);
    }
    let partial = accept.contains("PartialObjectMetadata");
    let start: usize = read(query, "continue").unwrap_or(0).min(count);
    let end = match read(query, "limit") {
        None | Some(0) => count,
        Some(limit) => (start + limit).min(count),
    };
    let selector = query.get("fieldSelector").map_or("", String::as_str);
    let node = selector.strip_prefix("spec.nodeName=");
    let items: Vec<Value> = (start..end)
        .map(|number| {
            let metadata = json!({"name": format!("pod-{number}"), "namespace": "default"});
            if partial {
                json!({"metadata": metadata})
            } else {
                json!({
                    "metadata": metadata,
                    "spec": {"nodeName": node.unwrap_or("pi-01"), "containers": []},
                    "status": {"phase": "Running"},
                })
            }
        })
        .collect();
    let mut metadata = json!({"resourceVersion": "290"});
    if end < count {
        metadata["continue"] = json!(end.to_string());
        if selector.is_empty() {
            metadata["remainingItemCount"] = json!(count - end);
        }
    }
    let (version, kind) = if partial {
        ("meta.k8s.io/v1", "PartialObjectMetadataList")
    } else {
        ("v1", "PodList")
    };
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "items": items})
}

/// The same as `kubectl get` has it, with `includeObject=None`.
fn table(count: usize) -> Value {
    let row =
        |number: usize| json!({"cells": [format!("pod-{number}"), "1/1", "Running", "0", "5d"]});
    let column = |name: &str| json!({"name": name, "type": "string"});
    let columns: Vec<Value> = ["Name", "Ready", "Status", "Restarts", "Age"]
        .into_iter()
        .map(column)
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "290"},
        "columnDefinitions": columns,
        "rows": (0..count).map(row).collect::<Vec<Value>>(),
    })
}

fn read(query: &Query, name: &str) -> Option<usize> {
    query.get(name)?.parse().ok()
}
