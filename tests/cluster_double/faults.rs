//! The faults: each is felt by a client, and each is over when it should be.

use std::io::ErrorKind;

use futures::FutureExt;
use serde_json::json;
use tokio::net::TcpStream;

use super::{LIMIT, healthy_web, is_at_rest, is_on, start, until};
use crate::support::cluster::client::{TestClient, TestWatch};
use crate::support::cluster::{Behaviour, ClusterDouble, Commit, Pace, sha};

/// A watch from the present version.
async fn watch(double: &ClusterDouble, client: &TestClient) -> TestWatch {
    let web = double.get("argocd", "web");
    let version = web["metadata"]["resourceVersion"].as_str();
    let query = format!("resourceVersion={}", version.expect("a version"));
    client.watch(&query).await.expect("a watch")
}

fn touch(double: &ClusterDouble, word: &str) {
    let patch = json!({"metadata": {"annotations": {"example.com/touch": word}}});
    double.merge("argocd", "web", &patch);
}

#[tokio::test]
async fn a_stopped_server_refuses_connections_and_comes_back_on_its_port() {
    let (double, client) = healthy_web(Pace::fast()).await;
    let open = watch(&double, &client).await;
    let address = double.url().replace("http://", "");
    double.stop().await;
    assert!(open.rest().await.is_err(), "the watch is cut, not ended");
    let refused = TcpStream::connect(&address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(client.list("").await.is_err());
    // Only the API server is down: Argo CD goes on.
    double.push_commit("argocd", "web", Commit::new(sha(2), Behaviour::Healthy));
    until(&double, |web| is_at_rest(web, 2)).await;
    double.resume().await;
    assert_eq!(client.list("").await.unwrap().0, 200);
    assert_eq!(double.url(), format!("http://{address}"));
    double.stop().await;
    double.stop().await;
    double.resume().await;
    double.resume().await;
    assert_eq!(client.list("").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_dropped_double_is_gone() {
    let (double, client) = healthy_web(Pace::fast()).await;
    let open = watch(&double, &client).await;
    drop(double);
    assert!(open.rest().await.is_err());
}

#[tokio::test]
async fn requests_fail_as_often_as_ordered() {
    let (double, client) = start(Pace::fast()).await;
    double.fail_next(2, 503);
    for _ in 0..2 {
        let (status, refusal) = client.list("").await.unwrap();
        assert_eq!(status, 503);
        assert_eq!(refusal["reason"], "ServiceUnavailable");
    }
    assert_eq!(client.list("").await.unwrap().0, 200);
}

#[tokio::test]
async fn an_expired_watch_ends_and_its_version_is_gone() {
    let (double, client) = healthy_web(Pace::fast()).await;
    let version = double.get("argocd", "web")["metadata"]["resourceVersion"].clone();
    let version = version.as_str().unwrap();
    let open = watch(&double, &client).await;
    double.expire_watches();
    assert!(open.rest().await.unwrap().is_empty());
    let query = format!("resourceVersion={version}");
    let events = client.watch(&query).await.unwrap().rest().await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["type"], "ERROR");
    assert_eq!(events[0]["object"]["code"], 410);
    assert_eq!(events[0]["object"]["reason"], "Expired");
    let (_, list) = client.list("").await.unwrap();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let query = format!("resourceVersion={version}");
    let mut fresh = client.watch(&query).await.unwrap();
    touch(&double, "fresh");
    assert_eq!(fresh.next().await.unwrap().unwrap()["type"], "MODIFIED");
}

#[tokio::test]
async fn a_truncated_watch_ends_in_the_middle_of_an_event() {
    let (double, client) = healthy_web(Pace::fast()).await;
    let open = watch(&double, &client).await;
    double.truncate_watches();
    let error = open.rest().await.unwrap_err();
    assert!(error.is::<serde_json::Error>(), "{error:?}");
}

#[tokio::test]
async fn a_stalled_watch_is_silent_until_it_is_not() {
    let (double, client) = healthy_web(Pace::fast()).await;
    double.freeze_controller(true);
    let mut open = watch(&double, &client).await;
    double.stall_watches();
    touch(&double, "unseen");
    // By the time that another request is answered the event would have been here.
    client.list("").await.unwrap();
    assert!(open.next().now_or_never().is_none());
    double.unstall_watches();
    let event = open.next().await.unwrap().unwrap();
    assert_eq!(
        event["object"]["metadata"]["annotations"]["example.com/touch"],
        "unseen"
    );
}

#[tokio::test]
async fn somebody_else_writes_just_before_a_patch() {
    let (double, client) = healthy_web(Pace::fast()).await;
    double.freeze_controller(true);
    double.conflict_next(1);
    let mut codes = Vec::new();
    for _ in 0..2 {
        let web = double.get("argocd", "web");
        let patch = json!([
            {"op": "test", "path": "/metadata/resourceVersion",
             "value": web["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/spec/project", "value": "shop"},
        ]);
        codes.push(client.patch("web", &patch).await.unwrap().0);
    }
    assert_eq!(codes, [422, 200]);
}

#[tokio::test]
async fn a_frozen_controller_does_nothing_until_it_is_thawed() {
    let (double, client) = healthy_web(Pace::fast()).await;
    double.freeze_controller(true);
    double.push_commit("argocd", "web", Commit::new(sha(2), Behaviour::Healthy));
    let refresh = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}});
    client.merge("web", &refresh).await.unwrap();
    client.list("").await.unwrap();
    assert!(is_on(&double.get("argocd", "web"), 1));
    double.freeze_controller(false);
    until(&double, |web| is_at_rest(web, 2)).await;
}

#[tokio::test]
async fn requests_are_recorded() {
    let (double, client) = healthy_web(Pace::fast()).await;
    double.forget_requests();
    let body = json!({"metadata": {"labels": {"a": "b"}}});
    client.merge("web", &body).await.unwrap();
    let _open = watch(&double, &client).await;
    let opened = double.wait_for_request(|request| request.is_watch(), LIMIT);
    assert!(opened.await.query.contains("resourceVersion="));
    let requests = double.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].method, "PATCH");
    assert_eq!(
        requests[0].path,
        "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/web"
    );
    assert_eq!(
        requests[0].content_type.as_deref(),
        Some("application/merge-patch+json")
    );
    assert_eq!(requests[0].body, body.to_string());
}
