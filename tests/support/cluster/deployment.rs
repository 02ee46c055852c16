//! The Deployments: each application has one, of its own name, in the namespace of its own name.

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::timestamp;
use super::world::World;

/// A Deployment, with the conditions that its controller gives it.
pub(super) fn get(world: &World, namespace: &str, name: &str) -> Result<Value, Refusal> {
    if world.deployments_denied {
        return Err(Refusal::may_not_read(name, namespace));
    }
    let live = (world.applications.iter())
        .find(|((_, application), _)| application == name && application == namespace)
        .map(|(_, application)| &application.live)
        .filter(|live| live.content.is_some())
        .ok_or_else(|| Refusal::no_deployment(name))?;
    let conditions = match live.health {
        Some("Healthy") => json!([
            available(true),
            progressing(
                "True",
                "NewReplicaSetAvailable",
                "has successfully progressed.",
                name
            ),
        ]),
        Some("Degraded") => json!([
            available(false),
            progressing(
                "False",
                "ProgressDeadlineExceeded",
                "has timed out progressing.",
                name
            ),
        ]),
        _ => json!([
            available(false),
            progressing("True", "ReplicaSetUpdated", "is progressing.", name),
        ]),
    };
    let image = live.images.last();
    Ok(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "generation": 1},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": name, "image": image}]},
            },
        },
        "status": {"conditions": conditions, "observedGeneration": 1, "replicas": 1},
    }))
}

fn available(is: bool) -> Value {
    let (status, reason, message) = match is {
        true => (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        ),
        false => (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        ),
    };
    condition("Available", status, reason, message)
}

fn progressing(status: &str, reason: &str, what: &str, name: &str) -> Value {
    let message = format!("ReplicaSet \"{name}-5d4f8c7b6\" {what}");
    condition("Progressing", status, reason, &message)
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    let now = timestamp::now();
    json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": now,
        "lastUpdateTime": now,
    })
}
