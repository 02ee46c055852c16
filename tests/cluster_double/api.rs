//! The API server: objects, versions, patches and their refusals.

use serde_json::{Value, json};

use super::{LIMIT, health, healthy_web, start, until};
use crate::support::cluster::{ApplicationSpec, Behaviour, Commit, Pace, TOKEN, sha};

fn spec() -> ApplicationSpec {
    ApplicationSpec::manual(Commit::new(sha(1), Behaviour::Healthy))
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect()
}

#[tokio::test]
async fn a_list_comes_in_pages_of_one_version() {
    let (double, client) = start(Pace::fast()).await;
    double.freeze_controller(true);
    for name in ["c", "a", "b"] {
        double.create_application("argocd", name, spec());
    }
    double.create_application("elsewhere", "d", spec());
    let (status, first) = client.list("limit=2").await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(first["kind"], "ApplicationList");
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    double.delete_application("argocd", "a");
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) = client
        .list(&format!("limit=2&continue={token}"))
        .await
        .unwrap();
    assert_eq!(names(&second), ["c"]);
    assert!(second["metadata"].get("continue").is_none());
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    double.expire_watches();
    let (status, gone) = client
        .list(&format!("limit=2&continue={token}"))
        .await
        .unwrap();
    assert_eq!((status, &gone["reason"]), (410, &json!("Expired")));
}

#[tokio::test]
async fn a_watch_brings_what_came_after_its_version() {
    let (double, client) = start(Pace::fast()).await;
    double.freeze_controller(true);
    double.create_application("argocd", "web", spec());
    let (_, list) = client.list("").await.unwrap();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    double.merge(
        "argocd",
        "web",
        &json!({"metadata": {"labels": {"a": "b"}}}),
    );
    // Writing what is there already is no event.
    double.merge(
        "argocd",
        "web",
        &json!({"metadata": {"labels": {"a": "b"}}}),
    );
    double.create_application("elsewhere", "web", spec());
    let query = format!("resourceVersion={version}");
    let mut watch = client.watch(&query).await.unwrap();
    let event = watch.next().await.unwrap().unwrap();
    assert_eq!(event["type"], "MODIFIED");
    assert_eq!(event["object"]["metadata"]["labels"]["a"], "b");
    assert_eq!(event["object"]["metadata"]["generation"], 1);
    double.create_application("argocd", "api", spec());
    assert_eq!(watch.next().await.unwrap().unwrap()["type"], "ADDED");
    double.delete_application("argocd", "web");
    let event = watch.next().await.unwrap().unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["metadata"]["name"], "web");
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_all_and_a_mark() {
    let (double, client) = start(Pace::fast()).await;
    double.freeze_controller(true);
    double.create_application("argocd", "web", spec());
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = client.watch(query).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap()["type"], "ADDED");
    let mark = watch.next().await.unwrap().unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    let annotations = &mark["object"]["metadata"]["annotations"];
    assert_eq!(annotations["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout() {
    let (_double, client) = start(Pace::fast()).await;
    let query = "resourceVersion=1000000&allowWatchBookmarks=true&timeoutSeconds=0";
    let watch = client.watch(query).await.unwrap();
    assert!(watch.rest().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_quiet_watch_brings_bookmarks() {
    let (double, client) = start(Pace::fast()).await;
    double.freeze_controller(true);
    double.create_application("elsewhere", "web", spec());
    let query = "resourceVersion=1&allowWatchBookmarks=true";
    let mut watch = client.watch(query).await.unwrap();
    let event = tokio::time::timeout(LIMIT, watch.next()).await.unwrap();
    let event = event.unwrap().unwrap();
    assert_eq!(event["type"], "BOOKMARK");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], "290");
}

#[tokio::test]
async fn a_patch_on_an_old_version_is_refused() {
    let (double, client) = start(Pace::fast()).await;
    double.freeze_controller(true);
    double.create_application("argocd", "web", spec());
    let version = double.get("argocd", "web")["metadata"]["resourceVersion"].clone();
    let stale = json!({
        "metadata": {"resourceVersion": version, "annotations": {"a": "b"}},
    });
    let (status, object) = client.merge("web", &stale).await.unwrap();
    assert_eq!(status, 200);
    assert_ne!(object["metadata"]["resourceVersion"], version);
    let mut stale = stale;
    stale["metadata"]["annotations"]["a"] = json!("c");
    let (status, refusal) = client.merge("web", &stale).await.unwrap();
    assert_eq!(status, 409);
    assert_eq!(refusal["kind"], "Status");
    assert_eq!(refusal["reason"], "Conflict");
    let test = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/metadata/annotations/x", "value": "y"},
    ]);
    let (status, refusal) = client.patch("web", &test).await.unwrap();
    assert_eq!(status, 422);
    assert_eq!(refusal["reason"], "Invalid");
    let annotations = double.get("argocd", "web")["metadata"]["annotations"].clone();
    assert_eq!(annotations, json!({"a": "b"}));
}

#[tokio::test]
async fn the_schema_refuses_nulls_and_drops_what_it_does_not_know() {
    let (double, client) = start(Pace::fast()).await;
    double.freeze_controller(true);
    double.create_application("argocd", "web", spec());
    let null = json!([{"op": "add", "path": "/operation", "value": null}]);
    let (status, refusal) = client.patch("web", &null).await.unwrap();
    assert_eq!(status, 422);
    assert!(refusal["message"].as_str().unwrap().contains("operation"));
    let operation = json!({"operation": {
        "info": [{"name": "command", "value": "1"}],
        "sync": {"revision": sha(1)},
        "whatever": true,
    }});
    let (status, object) = client.merge("web", &operation).await.unwrap();
    assert_eq!(status, 200);
    assert!(object["operation"].get("whatever").is_none());
    assert_eq!(object["operation"]["info"][0]["value"], "1");
    double.use_old_crd();
    let off = json!({"spec": {"syncPolicy": {"automated": {"enabled": false, "prune": true}}}});
    let (_, object) = client.merge("web", &off).await.unwrap();
    assert_eq!(
        object["spec"]["syncPolicy"]["automated"],
        json!({"prune": true})
    );
}

#[tokio::test]
async fn other_requests_are_answered_as_by_the_real_one() {
    let (double, client) = start(Pace::fast()).await;
    double.freeze_controller(true);
    double.create_application("argocd", "web", spec());
    let (status, _) = client
        .on("PATCH", "web", "application/apply-patch+yaml", &json!({}))
        .await
        .unwrap();
    assert_eq!(status, 415);
    let (status, refusal) = client.merge("none", &json!({})).await.unwrap();
    assert_eq!((status, &refusal["reason"]), (404, &json!("NotFound")));
    for path in [
        "/apis/argoproj.io/v1alpha1/applications",
        "/api/v1/namespaces/argocd/secrets",
    ] {
        assert_eq!(client.get(path).await.unwrap().0, 403, "{path}");
    }
    assert_eq!(client.get("/nowhere").await.unwrap().0, 404);
    let applications = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications";
    let mut object = double.get("argocd", "web");
    let again = client
        .send("POST", applications, "application/json", object.to_string())
        .await
        .unwrap();
    assert_eq!(
        (again.0, &again.1["reason"]),
        (409, &json!("AlreadyExists"))
    );
    object["metadata"] = json!({"name": "other"});
    let created = client
        .send("POST", applications, "application/json", object.to_string())
        .await
        .unwrap();
    assert_eq!(created.0, 201);
    let (status, deleted) = client
        .on("DELETE", "other", "application/json", &json!({}))
        .await
        .unwrap();
    assert_eq!((status, &deleted["status"]), (200, &json!("Success")));
    double.wait_deleted("argocd", "other", LIMIT).await;
}

#[tokio::test]
async fn a_finalizer_keeps_a_deleted_application_for_a_while() {
    let (double, _client) = start(Pace::fast()).await;
    let mut spec = spec();
    spec.finalizer = true;
    double.create_application("argocd", "web", spec);
    double.delete_application("argocd", "web");
    let deleting = |web: &Value| !web["metadata"]["deletionTimestamp"].is_null();
    until(&double, deleting).await;
    double.wait_deleted("argocd", "web", LIMIT).await;
}

#[tokio::test]
async fn the_health_of_k3s_can_be_read() {
    let (double, client) = start(Pace::fast()).await;
    assert_eq!(client.get("/readyz").await.unwrap(), (200, json!("ok")));
    let (_, version) = client.get("/version").await.unwrap();
    assert_eq!(version["gitVersion"], "v1.37.2+k3s1");
    double.set_node_ready(false);
    let (_, node) = client.get("/api/v1/nodes/pi-01").await.unwrap();
    let conditions = node["status"]["conditions"].as_array().unwrap();
    let ready = conditions
        .iter()
        .find(|one| one["type"] == "Ready")
        .unwrap();
    assert_eq!(ready["status"], "False");
    double.set_pods(3);
    let path = "/api/v1/pods?fieldSelector=spec.nodeName%3Dpi-01&limit=2";
    let (_, page) = client.get(path).await.unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert_eq!(page["items"][0]["spec"]["nodeName"], "pi-01");
    assert!(page["metadata"].get("remainingItemCount").is_none());
    let token = page["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = client
        .get(&format!("{path}&continue={token}"))
        .await
        .unwrap();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_wrong_token_is_unauthorized() {
    let (double, client) = healthy_web(Pace::fast()).await;
    double.require_token(TOKEN);
    assert_eq!(client.list("").await.unwrap().0, 200);
    double.require_token("another");
    let (status, refusal) = client.list("").await.unwrap();
    assert_eq!((status, &refusal["reason"]), (401, &json!("Unauthorized")));
}

#[tokio::test]
async fn a_deployment_says_why_it_is_degraded() -> anyhow::Result<()> {
    let (double, client) = healthy_web(Pace::fast()).await;
    let path = "/apis/apps/v1/namespaces/web/deployments/web";
    let (status, web) = client.get(path).await?;
    assert_eq!(status, 200);
    assert_eq!(
        condition(&web, "Progressing"),
        "True NewReplicaSetAvailable"
    );
    double.push_commit("argocd", "web", Commit::new(sha(2), Behaviour::Degraded));
    until(&double, |web| health(web) == "Degraded").await;
    let (_, web) = client.get(path).await?;
    assert_eq!(
        condition(&web, "Progressing"),
        "False ProgressDeadlineExceeded"
    );
    assert_eq!(
        condition(&web, "Available"),
        "False MinimumReplicasUnavailable"
    );
    let (status, _) = client
        .get("/apis/apps/v1/namespaces/web/deployments/other")
        .await?;
    assert_eq!(status, 404);
    double.deny_deployments(true);
    let (status, refusal) = client.get(path).await?;
    assert_eq!((status, &refusal["reason"]), (403, &"Forbidden".into()));
    Ok(())
}

/// Status and reason of a condition.
fn condition(deployment: &Value, kind: &str) -> String {
    let conditions = deployment["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|it| it["type"] == kind).unwrap();
    let word = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    format!("{} {}", word("status"), word("reason"))
}
