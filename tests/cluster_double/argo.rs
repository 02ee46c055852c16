//! The controller: comparing, syncing, hooks and retries.

use serde_json::{Value, json};

use super::{health, healthy_web, is_at_rest, is_on, message, phase, seen, start, sync, until};
use crate::support::cluster::client::TestClient;
use crate::support::cluster::{ApplicationSpec, Behaviour, ClusterDouble, Commit, Pace, sha};

const REFRESH: &str = "argocd.argoproj.io/refresh";

async fn refresh(client: &TestClient) {
    let patch = json!({"metadata": {"annotations": {REFRESH: "normal"}}});
    let (status, answer) = client.merge("web", &patch).await.expect("an answer");
    assert_eq!(status, 200, "{answer}");
}

fn push(double: &ClusterDouble, digit: u8, behaviour: Behaviour) {
    double.push_commit("argocd", "web", Commit::new(sha(digit), behaviour));
}

fn hook_phase(web: &Value) -> Option<&str> {
    let results = &web["status"]["operationState"]["syncResult"]["resources"];
    let hook = results
        .as_array()?
        .iter()
        .find(|one| one["hookType"] == "PreSync")?;
    hook["hookPhase"].as_str()
}

#[tokio::test]
async fn an_automated_sync_is_seen_step_by_step() {
    let (double, _client) = healthy_web(Pace::fast()).await;
    let versions = double.versions("argocd", "web");
    let at =
        |holds: &dyn Fn(&Value) -> bool| versions.iter().position(holds).expect("such a version");
    let missing = at(&|web| health(web) == "Missing" && sync(web) == "OutOfSync");
    let running = at(&|web| phase(web) == "Running");
    let recorded = at(&|web| !web["status"]["history"].is_null());
    let synced = at(&|web| sync(web) == "Synced");
    let succeeded = at(&|web| phase(web) == "Succeeded");
    let healthy = at(&|web| health(web) == "Healthy");
    let order = [missing, running, recorded, synced, succeeded, healthy];
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(
        phase(&versions[synced]),
        "Running",
        "Synced comes before Succeeded"
    );
    let last = versions.last().unwrap();
    // Times in one format can be compared as they are.
    let compared = last["status"]["reconciledAt"].as_str().unwrap();
    assert!(Some(compared) >= last["status"]["operationState"]["finishedAt"].as_str());
    let entry = &last["status"]["history"][0];
    assert_eq!(entry["id"], 0);
    assert_eq!(entry["revision"], sha(1));
    assert_eq!(entry["initiatedBy"], json!({"automated": true}));
    assert_eq!(
        last["status"]["summary"]["images"],
        json!(["registry.local/shop:1111111"])
    );
}

#[tokio::test]
async fn a_degraded_commit_is_synced_and_recorded_all_the_same() {
    let (double, _client) = healthy_web(Pace::fast()).await;
    push(&double, 2, Behaviour::Degraded);
    until(&double, |web| is_on(web, 2) && health(web) == "Progressing").await;
    let web = until(&double, |web| is_on(web, 2) && health(web) == "Degraded").await;
    assert_eq!((sync(&web), phase(&web)), ("Synced", "Succeeded"));
    assert_eq!(web["status"]["history"][1]["revision"], sha(2));
    // The pods of the good commit are still there.
    let images = web["status"]["summary"]["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
}

#[tokio::test]
async fn progressing_can_go_on_and_a_next_commit_ends_it() {
    let (double, _client) = healthy_web(Pace::fast()).await;
    push(&double, 2, Behaviour::ProgressingForever);
    until(&double, |web| {
        is_on(web, 2) && phase(web) == "Succeeded" && health(web) == "Progressing"
    })
    .await;
    push(&double, 3, Behaviour::Healthy);
    until(&double, |web| is_at_rest(web, 3)).await;
}

#[tokio::test]
async fn a_refresh_is_acknowledged_and_brings_the_new_commit() {
    let (double, client) = healthy_web(Pace::fast().without_polling()).await;
    push(&double, 2, Behaviour::Healthy);
    refresh(&client).await;
    let web = until(&double, |web| is_at_rest(web, 2)).await;
    assert!(web["metadata"].get("annotations").is_none());
    let versions = double.versions("argocd", "web");
    let asked = versions
        .iter()
        .position(|web| web["metadata"]["annotations"][REFRESH] == "normal")
        .unwrap();
    assert!(versions[..asked].iter().all(|web| !is_on(web, 2)));
}

#[tokio::test]
async fn without_auto_sync_an_operation_does_it() {
    let (double, client) = start(Pace::fast()).await;
    let first = Commit::new(sha(1), Behaviour::PreSyncPasses);
    double.create_application("argocd", "web", ApplicationSpec::manual(first));
    let web = until(&double, |web| health(web) == "Missing").await;
    assert_eq!(sync(&web), "OutOfSync");
    let operation = json!({"operation": {
        "info": [{"name": "command", "value": "01J"}],
        "initiatedBy": {"username": "edge-agent"},
        "sync": {"revision": sha(1)},
    }});
    client.merge("web", &operation).await.unwrap();
    let waiting = seen(&double, |web| hook_phase(web) == Some("Running")).await;
    assert_eq!(
        message(&waiting),
        "waiting for completion of hook batch/Job/security-gate"
    );
    let web = until(&double, |web| is_at_rest(web, 1)).await;
    assert_eq!(hook_phase(&web), Some("Succeeded"));
    let state = &web["status"]["operationState"];
    assert_eq!(state["operation"]["info"][0]["value"], "01J");
    let by = &web["status"]["history"][0]["initiatedBy"];
    assert_eq!(*by, json!({"username": "edge-agent"}));
}

#[tokio::test]
async fn a_failed_hook_is_retried_and_given_up() {
    let (double, client) = healthy_web(Pace::fast()).await;
    push(&double, 2, Behaviour::PreSyncFails { retries: 2 });
    let retrying = seen(&double, |web| {
        phase(web) == "Running" && web["status"]["operationState"]["retryCount"] == 1
    })
    .await;
    assert!(!retrying["status"]["operationState"]["finishedAt"].is_null());
    assert_eq!(hook_phase(&retrying), Some("Failed"));
    let again = seen(&double, |web| {
        message(web) == "Retrying operation. Attempt #1"
    })
    .await;
    assert!(
        again["status"]["operationState"]
            .get("finishedAt")
            .is_none()
    );
    assert!(
        again["status"]["operationState"]
            .get("syncResult")
            .is_none()
    );
    let web = until(&double, |web| !web["status"]["conditions"].is_null()).await;
    assert_eq!(phase(&web), "Failed");
    assert_eq!(
        message(&web),
        "one or more synchronization tasks completed unsuccessfully (retried 2 times)."
    );
    assert_eq!(web["status"]["conditions"][0]["type"], "SyncError");
    assert_eq!(
        web["status"]["conditions"][0]["message"],
        format!(
            "Failed last sync attempt to [{}]: {}",
            sha(2),
            message(&web)
        )
    );
    // The good commit still runs, and only it is in the history.
    assert_eq!((sync(&web), health(&web)), ("OutOfSync", "Healthy"));
    assert_eq!(web["status"]["history"].as_array().unwrap().len(), 1);
    // What was given up is not tried again, however often one asks.
    refresh(&client).await;
    let acknowledged = |web: &Value| web["metadata"].get("annotations").is_none();
    let after = until(&double, acknowledged).await;
    assert_eq!(
        after["status"]["operationState"],
        web["status"]["operationState"]
    );
    assert_eq!(after["status"]["conditions"], web["status"]["conditions"]);
    push(&double, 3, Behaviour::Healthy);
    let web = until(&double, |web| is_at_rest(web, 3)).await;
    assert!(web["status"].get("conditions").is_none());
}

#[tokio::test]
async fn a_failed_sync_that_was_asked_for_is_no_condition() {
    let (double, client) = start(Pace::fast()).await;
    let first = Commit::new(sha(1), Behaviour::SyncFails);
    double.create_application("argocd", "web", ApplicationSpec::manual(first));
    let operation = json!({"operation": {"sync": {"revision": sha(1)}}});
    client.merge("web", &operation).await.unwrap();
    let web = until(&double, |web| phase(web) == "Failed").await;
    assert!(message(&web).starts_with("one or more objects failed to apply, reason: "));
    let result = &web["status"]["operationState"]["syncResult"]["resources"][0];
    assert_eq!(result["status"], "SyncFailed");
    refresh(&client).await;
    let web = until(&double, |web| web["metadata"].get("annotations").is_none()).await;
    assert!(web["status"].get("conditions").is_none());
}

#[tokio::test]
async fn a_second_operation_is_merged_into_the_first_and_lost() {
    let (double, client) = healthy_web(Pace::fast()).await;
    push(&double, 2, Behaviour::PreSyncHangs);
    until(&double, |web| hook_phase(web) == Some("Running")).await;
    let second = json!({"operation": {
        "initiatedBy": {"username": "second"},
        "sync": {"revision": sha(1)},
    }});
    assert_eq!(client.merge("web", &second).await.unwrap().0, 200);
    let terminate = json!({"status": {"operationState": {"phase": "Terminating"}}});
    client.merge("web", &terminate).await.unwrap();
    let web = until(&double, |web| phase(web) == "Failed").await;
    assert_eq!(message(&web), "Operation terminated");
    assert_eq!(hook_phase(&web), Some("Failed"));
    assert!(web.get("operation").is_none());
    let started = double.versions("argocd", "web").iter().any(|web| {
        web["status"]["operationState"]["operation"]["initiatedBy"]["username"] == "second"
    });
    assert!(!started);
}

#[tokio::test]
async fn drift_is_healed_without_a_history_entry() {
    let (double, _client) = healthy_web(Pace::fast()).await;
    double.drift("argocd", "web");
    until(&double, |web| sync(web) == "OutOfSync" && is_on(web, 1)).await;
    let web = until(&double, |web| {
        is_at_rest(web, 1)
            && web["status"]["operationState"]["operation"]["sync"]["autoHealAttemptsCount"] == 1
    })
    .await;
    assert_eq!(web["status"]["history"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_unknown_revision_is_a_comparison_error() {
    let (double, client) = healthy_web(Pace::fast()).await;
    let lost = json!({"spec": {"source": {"targetRevision": "no-such-branch"}}});
    client.merge("web", &lost).await.unwrap();
    let web = until(&double, |web| sync(web) == "Unknown").await;
    assert_eq!(health(&web), "Healthy");
    assert_eq!(web["status"]["sync"]["revision"], "no-such-branch");
    assert_eq!(web["status"]["conditions"][0]["type"], "ComparisonError");
}

#[tokio::test]
async fn skip_reconcile_means_that_nothing_happens() {
    let (double, client) = healthy_web(Pace::fast()).await;
    let skip = json!({"metadata": {"annotations": {
        "argocd.argoproj.io/skip-reconcile": "true",
        REFRESH: "normal",
    }}});
    client.merge("web", &skip).await.unwrap();
    let before = double.get("argocd", "web");
    push(&double, 2, Behaviour::Healthy);
    // Another application goes all its way meanwhile.
    let first = Commit::new(sha(1), Behaviour::Healthy);
    double.create_application("argocd", "other", ApplicationSpec::automated(first));
    double
        .wait_until(
            "argocd",
            "other",
            |other| is_at_rest(other, 1),
            super::LIMIT,
        )
        .await;
    assert_eq!(double.get("argocd", "web"), before);
}

#[tokio::test]
async fn the_history_keeps_ten() {
    let (double, _client) = healthy_web(Pace::fast()).await;
    for digit in 2..=12 {
        push(&double, digit, Behaviour::Healthy);
        until(&double, |web| {
            is_on(web, digit) && phase(web) == "Succeeded"
        })
        .await;
    }
    let web = double.get("argocd", "web");
    let history = web["status"]["history"].as_array().unwrap();
    let ids: Vec<u64> = history
        .iter()
        .filter_map(|one| one["id"].as_u64())
        .collect();
    assert_eq!(ids, (2..=11).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_revert_needs_no_sync_when_its_content_runs_already() {
    let (double, _client) = healthy_web(Pace::fast()).await;
    double.push_revert("argocd", "web", &sha(2), &sha(1));
    let web = until(&double, |web| is_at_rest(web, 2)).await;
    assert_eq!(web["status"]["history"].as_array().unwrap().len(), 1);
}
