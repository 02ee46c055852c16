//! The objects of the double have the fields of the real ones, in the same places.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{healthy_web, is_at_rest, phase, seen, start, sync, until};
use crate::support::cluster::{ApplicationSpec, Behaviour, Commit, Pace, sha};

/// Maps whose keys say nothing of the shape.
const FREE: &[&str] = &["/metadata/managedFields", "/metadata/annotations"];

/// Every path in an object with the type at its end; members of arrays as one.
fn paths(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, at: &str, into: &mut BTreeSet<String>) {
        if FREE.contains(&at) {
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    walk(field, &format!("{at}/{name}"), into);
                }
            }
            Value::Array(items) => {
                for item in items {
                    walk(item, &format!("{at}/*"), into);
                }
            }
            Value::String(_) => drop(into.insert(format!("{at} string"))),
            Value::Number(_) => drop(into.insert(format!("{at} number"))),
            Value::Bool(_) => drop(into.insert(format!("{at} boolean"))),
            Value::Null => drop(into.insert(format!("{at} null"))),
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "", &mut found);
    found
}

fn fixture(name: &str) -> Value {
    let path = format!(
        "{}/tests/fixtures/argocd-3.5.7/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).expect(&path);
    serde_json::from_str(&text).expect(&path)
}

fn assert_same_shape(double: &Value, name: &str) {
    let (ours, real) = (paths(double), paths(&fixture(name)));
    let missing: Vec<_> = real.difference(&ours).collect();
    let invented: Vec<_> = ours.difference(&real).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "{name}: missing {missing:#?}, invented {invented:#?}"
    );
}

#[tokio::test]
async fn synced_and_healthy() {
    let (double, _client) = healthy_web(Pace::fast()).await;
    assert_same_shape(&double.get("argocd", "web"), "synced-healthy");
}

#[tokio::test]
async fn degraded() {
    let (double, _client) = start(Pace::fast()).await;
    let bad = Commit::new(sha(1), Behaviour::Degraded);
    double.create_application("argocd", "web", ApplicationSpec::automated(bad));
    let degraded = |web: &Value| web["status"]["health"]["status"] == "Degraded";
    let web = until(&double, degraded).await;
    assert_same_shape(&web, "synced-degraded");
}

#[tokio::test]
async fn a_hook_that_failed_for_good() {
    let (double, _client) = start(Pace::fast()).await;
    let bad = Commit::new(sha(1), Behaviour::PreSyncFails { retries: 1 });
    let mut spec = ApplicationSpec::automated(bad);
    spec.retry_limit = Some(1);
    double.create_application("argocd", "web", spec);
    let web = until(&double, |web| !web["status"]["conditions"].is_null()).await;
    assert_same_shape(&web, "auto-presync-failed-gave-up");
}

#[tokio::test]
async fn a_hook_that_is_retried() {
    let (double, client) = start(Pace::fast()).await;
    let bad = Commit::new(sha(1), Behaviour::PreSyncFails { retries: 0 });
    double.create_application("argocd", "web", ApplicationSpec::manual(bad));
    let mut operation = fixture("presync-failed-retrying-1")["operation"].clone();
    operation["sync"]["revision"] = Value::from(sha(1));
    let patch = serde_json::json!({"operation": operation});
    client.merge("web", &patch).await.unwrap();
    let retrying = |web: &Value| {
        phase(web) == "Running"
            && web["status"]["operationState"]["retryCount"] == 1
            && web["status"]["resources"][1].is_object()
    };
    let web = seen(&double, retrying).await;
    assert_same_shape(&web, "presync-failed-retrying-1");
}

#[tokio::test]
async fn a_revision_that_git_does_not_know() {
    let (double, _client) = start(Pace::fast()).await;
    let first = Commit::new(sha(1), Behaviour::Healthy);
    double.create_application("argocd", "web", ApplicationSpec::manual(first));
    until(&double, |web| sync(web) == "OutOfSync").await;
    let lost = serde_json::json!({"spec": {"source": {"targetRevision": "gone"}}});
    double.merge("argocd", "web", &lost);
    let web = until(&double, |web| sync(web) == "Unknown").await;
    assert_same_shape(&web, "comparison-error");
}

#[tokio::test]
async fn a_pinned_application() {
    let (double, client) = healthy_web(Pace::fast()).await;
    let real = fixture("pinned-healthy");
    let mut source = real["spec"]["source"].clone();
    source["targetRevision"] = Value::from(sha(1));
    let patch = serde_json::json!({
        "spec": {"source": source},
        "operation": {
            "initiatedBy": {"username": "edge-agent"},
            "sync": {"revision": sha(1), "source": source},
        },
        "status": {"operationState": null},
    });
    client.merge("web", &patch).await.unwrap();
    let healed = |web: &Value| {
        is_at_rest(web, 1)
            && web["status"]["operationState"]["operation"]["sync"]["autoHealAttemptsCount"] == 1
    };
    let web = until(&double, healed).await;
    assert_same_shape(&web, "pinned-healthy");
}
