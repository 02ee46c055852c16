//! What an application has deployed: a Deployment of its own name, in the namespace of its own name, and
//! there perhaps the Job of its last hook, and ConfigMaps.

use serde_json::{Value, json};

use super::controller::Live;
use super::refusal::Refusal;
use super::timestamp;
use super::world::Shared;

/// Answers a GET, or a PATCH that sets the replicas of a Deployment.
pub(super) fn answer(
    shared: &Shared,
    (namespace, resource, name): (&str, &str, &str),
    patch: Option<&str>,
) -> Result<Value, Refusal> {
    let denied = shared.read().deployments_denied;
    if resource == "deployments" && denied {
        return Err(Refusal::may_not_read(name, namespace));
    }
    shared.change(|world| {
        let application = (world.applications.iter_mut())
            .find(|((_, application), _)| application == namespace)
            .map(|(_, application)| application)
            .filter(|application| application.live.content.is_some())
            .ok_or_else(|| Refusal::nothing_deployed(resource, name))?;
        if let Some(patch) = patch
            && let Ok(patch) = serde_json::from_str::<Value>(patch)
            && let Some(replicas) = patch["spec"]["replicas"].as_u64()
        {
            application.live.replicas = replicas;
            application.drift();
        }
        let live = &application.live;
        let meta = json!({"name": name, "namespace": namespace});
        match resource {
            "deployments" if name == namespace => Ok(deployment(live, namespace)),
            "jobs" if live.hook.as_deref() == Some(name) => Ok(json!({"metadata": meta})),
            "configmaps" if live.config_maps.contains(name) => Ok(json!({"metadata": meta})),
            _ => Err(Refusal::nothing_deployed(resource, name)),
        }
    })
}

/// A Deployment, with the conditions that its controller gives it.
fn deployment(live: &Live, name: &str) -> Value {
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
    let image = live.new_images.first();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": name, "generation": 1},
        "spec": {
            "replicas": live.replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": name, "image": image}]},
            },
        },
        "status": {"conditions": conditions, "observedGeneration": 1, "replicas": live.replicas},
    })
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
