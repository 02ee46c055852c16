mod planning;
mod refusing;
mod rolling_out;
mod tracking;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::application::tests::{application, fixture};

pub(super) const GOOD: &str = "634681676a472a6d48c997a5ba2f5b2b1d2b0bb2";
pub(super) const BAD: &str = "099634bacac803ed7c648e257da9d153fce5afd2";

pub(super) fn order(kind: OrderKind) -> Order {
    Order {
        command: "cmd-1".to_owned(),
        application: ApplicationKey::parse("web", "argocd").unwrap(),
        kind,
        at: "2026-11-24T19:30:50Z".parse().unwrap(),
        cause: None,
    }
}

pub(super) fn rollback(hold: Option<HoldMode>) -> OrderKind {
    to(RollbackTarget::Previous, hold)
}

pub(super) fn to(to: RollbackTarget, hold: Option<HoldMode>) -> OrderKind {
    OrderKind::Rollback {
        to,
        hold,
        prune: false,
        allow_managed: false,
        seen_healthy: Vec::new(),
    }
}

pub(super) fn plan_for(object: &Value, kind: OrderKind) -> Result<Plan, Refusal> {
    plan(object, &order(kind), "pi-01")
}

/// The object of the real run before it was pinned: the second commit is deployed and Degraded.
pub(super) fn degraded() -> Value {
    let mut object = fixture("pinned-healthy");
    set(&mut object, "/spec/source/targetRevision", json!("main"));
    set(&mut object, "/status/sync/revision", json!(BAD));
    set(&mut object, "/status/health/status", json!("Degraded"));
    set(
        &mut object,
        "/status/operationState/operation/sync/revision",
        json!(BAD),
    );
    set(
        &mut object,
        "/status/operationState/syncResult/revision",
        json!(BAD),
    );
    let history = object.pointer_mut("/status/history").unwrap();
    history.as_array_mut().unwrap().truncate(2);
    object
}

/// The emergency: the second commit fails its check, and Argo CD retries.
pub(super) fn retrying() -> Value {
    let mut object = degraded();
    let failing = fixture("presync-failed-retrying-1");
    let mut state = failing["status"]["operationState"].clone();
    set(&mut state, "/operation/sync/revision", json!(BAD));
    set(&mut state, "/syncResult/revision", json!(BAD));
    set(&mut object, "/status/operationState", state);
    set(&mut object, "/operation", failing["operation"].clone());
    set(&mut object, "/status/sync/status", json!("OutOfSync"));
    set(&mut object, "/status/health/status", json!("Healthy"));
    let history = object.pointer_mut("/status/history").unwrap();
    history.as_array_mut().unwrap().truncate(1);
    object
}

pub(super) fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    match parent {
        Value::Object(map) => {
            map.insert(key.replace("~1", "/"), value);
        }
        other => panic!("{pointer} is in {other}"),
    }
}

/// Carries out a JSON Patch, as far as plans use it.
pub(super) fn apply(object: &Value, patch: &Value) -> Value {
    let mut object = object.clone();
    for step in patch.as_array().unwrap() {
        let path = step["path"].as_str().unwrap();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/").replace("~0", "~");
        let parent = object
            .pointer_mut(parent)
            .unwrap_or_else(|| panic!("{path} has no parent"))
            .as_object_mut()
            .unwrap();
        match step["op"].as_str().unwrap() {
            "test" => assert_eq!(parent.get(&key), Some(&step["value"]), "{path}"),
            "add" => {
                parent.insert(key, step["value"].clone());
            }
            "remove" => {
                parent.remove(&key).unwrap_or_else(|| panic!("no {path}"));
            }
            other => panic!("{other}"),
        }
    }
    object
}

/// Plans, checks that the plan is one patch, and carries it out.
pub(super) fn carried_out(object: &Value, kind: OrderKind) -> (Value, Applied) {
    let plan = plan_for(object, kind).unwrap();
    assert!(!plan.preparatory && plan.refresh.is_none());
    let patch = plan.patch.unwrap();
    assert_eq!(patch[0]["op"], "test");
    assert_eq!(patch[0]["path"], "/metadata/resourceVersion");
    let after = apply(object, &patch);
    let note = |object: &Value| object["metadata"]["annotations"][COMMAND_ANNOTATION].clone();
    assert_eq!(note(&after), "cmd-1");
    (after, plan.applied)
}

pub(super) fn now(milliseconds: u64) -> crate::clock::Now {
    crate::clock::Now {
        wall: "2026-11-24T19:31:00Z".parse().unwrap(),
        monotonic: Duration::from_millis(milliseconds),
        synchronized: true,
    }
}

pub(super) fn app(object: &Value) -> crate::application::Application {
    application(object)
}
