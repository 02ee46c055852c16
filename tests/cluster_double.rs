//! The cluster double, held against what was measured on the real API server and Argo CD 3.5.7.

mod api;
mod argo;
mod faults;
mod rollback;
mod shape;

use std::time::Duration;

use serde_json::Value;

use crate::support::cluster::client::TestClient;
use crate::support::cluster::{ApplicationSpec, Behaviour, ClusterDouble, Commit, Pace, sha};

/// Far more than anything here takes; a test that gets there has failed.
const LIMIT: Duration = Duration::from_secs(10);

/// A double and a client that found it by its kubeconfig.
async fn start(pace: Pace) -> (ClusterDouble, TestClient) {
    let double = ClusterDouble::start(pace).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let kubeconfig = double.write_kubeconfig(directory.path());
    let client = TestClient::from_kubeconfig(&kubeconfig)
        .await
        .expect("the kubeconfig is good");
    (double, client)
}

/// As [`start`], with the application `web` under auto-sync, Synced and Healthy on `sha(1)`.
async fn healthy_web(pace: Pace) -> (ClusterDouble, TestClient) {
    let (double, client) = start(pace).await;
    let first = Commit::new(sha(1), Behaviour::Healthy);
    double.create_application("argocd", "web", ApplicationSpec::automated(first));
    until(&double, |web| is_at_rest(web, 1)).await;
    (double, client)
}

/// Waits for a version of `web`.
async fn until(double: &ClusterDouble, holds: impl Fn(&Value) -> bool) -> Value {
    double.wait_until("argocd", "web", holds, LIMIT).await
}

/// Waits for a version of `web` that may be over already.
async fn seen(double: &ClusterDouble, holds: impl Fn(&Value) -> bool) -> Value {
    double.wait_seen("argocd", "web", holds, LIMIT).await
}

fn sync(web: &Value) -> &str {
    web["status"]["sync"]["status"].as_str().unwrap_or_default()
}

fn health(web: &Value) -> &str {
    web["status"]["health"]["status"]
        .as_str()
        .unwrap_or_default()
}

fn phase(web: &Value) -> &str {
    let phase = &web["status"]["operationState"]["phase"];
    phase.as_str().unwrap_or_default()
}

fn message(web: &Value) -> &str {
    let message = &web["status"]["operationState"]["message"];
    message.as_str().unwrap_or_default()
}

fn is_on(web: &Value, digit: u8) -> bool {
    web["status"]["sync"]["revision"] == sha(digit).as_str()
}

/// Synced and Healthy on a revision, and nothing under way.
fn is_at_rest(web: &Value, digit: u8) -> bool {
    is_on(web, digit)
        && sync(web) == "Synced"
        && health(web) == "Healthy"
        && web.get("operation").is_none()
        && phase(web) != "Running"
}
