//! The ways of rolling back, as they were measured: what holds and what does not.

use serde_json::{Value, json};

use super::{health, healthy_web, is_at_rest, is_on, message, phase, seen, sync, until};
use crate::support::cluster::client::TestClient;
use crate::support::cluster::{Behaviour, ClusterDouble, Commit, Pace, sha};

fn push(double: &ClusterDouble, digit: u8, behaviour: Behaviour) {
    double.push_commit("argocd", "web", Commit::new(sha(digit), behaviour));
}

/// `web` with the good commit 1 and the degraded commit 2.
async fn degraded_web() -> (ClusterDouble, TestClient) {
    let (double, client) = healthy_web(Pace::fast()).await;
    push(&double, 2, Behaviour::Degraded);
    until(&double, |web| is_on(web, 2) && health(web) == "Degraded").await;
    (double, client)
}

fn source(revision: &str) -> Value {
    json!({
        "path": "web",
        "repoURL": "file:///srv/git/environment.git",
        "targetRevision": revision,
    })
}

fn operation(source: &Value) -> Value {
    json!({
        "info": [{"name": "command", "value": "01J"}],
        "initiatedBy": {"username": "edge-agent"},
        "sync": {"revision": sha(1), "source": source},
    })
}

/// The one JSON Patch that pins.
async fn pin(double: &ClusterDouble, client: &TestClient) {
    let web = double.get("argocd", "web");
    let pinned = source(&sha(1));
    let patch = json!([
        {"op": "test", "path": "/metadata/resourceVersion",
         "value": web["metadata"]["resourceVersion"]},
        {"op": "remove", "path": "/status/operationState"},
        {"op": "replace", "path": "/spec/source", "value": pinned},
        {"op": "add", "path": "/operation", "value": operation(&pinned)},
    ]);
    let (status, answer) = client.patch("web", &patch).await.expect("an answer");
    assert_eq!(status, 200, "{answer}");
}

/// Ours, or the self-heal operation that followed it.
fn self_healed(web: &Value) -> bool {
    web["status"]["operationState"]["operation"]["sync"]["autoHealAttemptsCount"] == 1
}

#[tokio::test]
async fn a_pin_holds_against_new_commits_and_drift() {
    let (double, client) = degraded_web().await;
    pin(&double, &client).await;
    let ours = |web: &Value| {
        web["status"]["operationState"]["operation"]["info"][0]["value"] == "01J"
            && phase(web) == "Succeeded"
    };
    seen(&double, ours).await;
    // A self-heal to the same revision replaces the operation state at once.
    let web = until(&double, |web| is_at_rest(web, 1) && self_healed(web)).await;
    let state = &web["status"]["operationState"];
    assert_eq!(
        state["operation"]["initiatedBy"],
        json!({"automated": true})
    );
    assert!(state["operation"].get("info").is_none());
    assert_eq!(state["syncResult"]["revision"], sha(1));
    let history = web["status"]["history"].as_array().unwrap();
    assert_eq!(history.len(), 3);
    assert_eq!(history[2]["initiatedBy"], json!({"username": "edge-agent"}));
    assert_eq!(history[2]["source"], source(&sha(1)));

    push(&double, 3, Behaviour::Healthy);
    double.drift("argocd", "web");
    let drifted =
        |web: &Value| is_on(web, 1) && sync(web) == "OutOfSync" && health(web) == "Healthy";
    seen(&double, drifted).await;
    let web = until(&double, |web| is_at_rest(web, 1)).await;
    assert_eq!(web["status"]["history"].as_array().unwrap().len(), 3);

    let resume = json!({"spec": {"source": {"targetRevision": "main"}}});
    client.merge("web", &resume).await.unwrap();
    until(&double, |web| is_at_rest(web, 3)).await;
}

#[tokio::test]
async fn an_operation_alone_is_undone_by_auto_sync() {
    let (double, client) = degraded_web().await;
    let unpinned = json!({
        "operation": operation(&source("main")),
        "status": {"operationState": null},
    });
    assert_eq!(client.merge("web", &unpinned).await.unwrap().0, 200);
    let back = |web: &Value| {
        phase(web) == "Succeeded"
            && web["status"]["operationState"]["syncResult"]["revision"] == sha(1)
    };
    seen(&double, back).await;
    let web = until(&double, |web| {
        is_on(web, 2)
            && (sync(web), health(web)) == ("Synced", "Degraded")
            && web["status"]["history"][3].is_object()
    })
    .await;
    assert_eq!(web["status"]["history"][2]["revision"], sha(1));
    assert_eq!(web["status"]["history"][3]["revision"], sha(2));
}

#[tokio::test]
async fn a_pause_ends_out_of_sync_and_healthy_and_stays() {
    let (double, client) = degraded_web().await;
    let pause = json!({
        "spec": {"syncPolicy": {"automated": {"enabled": false}}},
        "operation": operation(&source("main")),
        "status": {"operationState": null},
    });
    client.merge("web", &pause).await.unwrap();
    let held = |web: &Value| {
        sync(web) == "OutOfSync" && health(web) == "Healthy" && phase(web) == "Succeeded"
    };
    let web = until(&double, held).await;
    assert!(
        is_on(&web, 2),
        "the revision is that of git, not the one that runs"
    );
    push(&double, 3, Behaviour::Healthy);
    let web = until(&double, |web| is_on(web, 3)).await;
    assert!(held(&web) && web.get("operation").is_none());
    assert_eq!(
        web["status"]["summary"]["images"],
        json!(["registry.local/shop:1111111"])
    );
}

/// The pin while an operation runs or retries: it ends the operation instead of adding one.
async fn pin_and_terminate(double: &ClusterDouble, client: &TestClient) -> Value {
    double.freeze_controller(true);
    let web = double.get("argocd", "web");
    let patch = json!([
        {"op": "test", "path": "/metadata/resourceVersion",
         "value": web["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/spec/source", "value": source(&sha(1))},
        {"op": "replace", "path": "/status/operationState/phase", "value": "Terminating"},
    ]);
    let (status, answer) = client.patch("web", &patch).await.expect("an answer");
    assert_eq!(status, 200, "{answer}");
    double.freeze_controller(false);
    until(double, |web| is_at_rest(web, 1)).await
}

#[tokio::test]
async fn a_pin_ends_an_operation_that_retries() {
    let (double, client) = healthy_web(Pace::fast()).await;
    push(&double, 2, Behaviour::PreSyncFails { retries: 100 });
    until(&double, |web| {
        web["status"]["operationState"]["retryCount"].is_u64()
    })
    .await;
    let web = pin_and_terminate(&double, &client).await;
    // What is left of the operation still speaks of the bad revision.
    assert_eq!(phase(&web), "Failed");
    assert!(message(&web).starts_with("Operation terminated (retried "));
    assert_eq!(
        web["status"]["operationState"]["syncResult"]["revision"],
        sha(2)
    );
    assert_eq!(web["status"]["history"].as_array().unwrap().len(), 1);
    push(&double, 3, Behaviour::Healthy);
    let refresh = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}});
    client.merge("web", &refresh).await.unwrap();
    let web = until(&double, |web| web["metadata"].get("annotations").is_none()).await;
    assert!(is_at_rest(&web, 1));
}

#[tokio::test]
async fn a_pin_ends_an_operation_that_runs() {
    let (double, client) = healthy_web(Pace::fast()).await;
    push(&double, 2, Behaviour::PreSyncHangs);
    until(&double, |web| {
        message(web).starts_with("waiting for completion")
    })
    .await;
    let web = pin_and_terminate(&double, &client).await;
    assert_eq!(message(&web), "Operation terminated");
}

#[tokio::test]
async fn degraded_shows_once_more_after_a_rollback() {
    let (double, client) = degraded_web().await;
    let before = double.versions("argocd", "web").len();
    pin(&double, &client).await;
    until(&double, |web| is_at_rest(web, 1)).await;
    let versions = double.versions("argocd", "web").split_off(before);
    let mut seen: Vec<&str> = versions.iter().map(health).collect();
    seen.dedup();
    assert_eq!(seen, ["Degraded", "Progressing", "Degraded", "Healthy"]);
}

#[tokio::test]
async fn an_operation_that_is_not_picked_up_yet_is_lost_to_the_next() {
    let (double, client) = healthy_web(Pace::fast()).await;
    push(&double, 2, Behaviour::Healthy);
    double.merge(
        "argocd",
        "web",
        &json!({"spec": {"syncPolicy": {"automated": null}}}),
    );
    let history = |web: &Value| web["status"]["history"].as_array().unwrap().len();
    let before = history(&double.get("argocd", "web"));
    double.freeze_controller(true);
    for digit in [2, 1] {
        let mut wanted = operation(&source("main"));
        wanted["sync"]["revision"] = json!(sha(digit));
        let patch = json!([{"op": "add", "path": "/operation", "value": wanted}]);
        let (status, _) = client.patch("web", &patch).await.unwrap();
        assert_eq!(status, 200, "the API server takes both");
    }
    double.freeze_controller(false);
    let web = until(&double, |web| {
        web.get("operation").is_none() && history(web) > before
    })
    .await;
    assert_eq!(history(&web), before + 1);
    assert_eq!(web["status"]["history"][before]["revision"], sha(1));
}

#[tokio::test]
async fn a_request_to_end_an_operation_may_be_written_over() {
    let (double, client) = healthy_web(Pace::fast()).await;
    push(&double, 2, Behaviour::PreSyncHangs);
    until(&double, |web| {
        message(web).contains("waiting for completion")
    })
    .await;
    double.overwrite_terminations("argocd", "web", 1);
    let end = json!({"status": {"operationState": {"phase": "Terminating"}}});
    for expected in ["Running", "Failed"] {
        let (status, _) = client.merge("web", &end).await.unwrap();
        assert_eq!(status, 200);
        until(&double, |web| phase(web) == expected).await;
    }
}
