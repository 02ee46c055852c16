//! Least privilege: what the agent's account must not be able to do is tried with its own token, and
//! refused. That it can do what it has to is what all the other suites show, under the same rights.

use serde_json::{Value, json};

use super::super::Args;
use super::stage::Stage;
use crate::scenarios::api::{APPLICATIONS, Api, application_path};
use crate::scenarios::scene::LIMIT;
use crate::scenarios::shop::{Shop, Sync};
use crate::scenarios::version::Version;
use crate::{figure, wait};

pub(super) fn suite(args: &Args) {
    let stage = Stage::set(args);
    let (shop, first) = Shop::open(&stage, "guarded", Sync::Auto);
    let second = shop.push(&Version::good("guarded-2"));
    shop.wait_state("Healthy", &second);
    let agent = Api::of(&stage.lab.folder.join("agent-kubeconfig"));
    let path = application_path("guarded");
    // The policy takes a moment to come into force.
    wait(LIMIT, "the policy to be in force", || {
        let project = json!({"spec": {"project": "other"}});
        (merge(&agent, &path, &project).0 == 403).then_some(())
    });
    reads(&agent);
    writes(&agent, &shop, &first);
    let other = stage.lab.api.get(&path);
    assert_eq!(other["spec"]["project"], "default");
    // And what is left does what it is for.
    let (status, _) = merge(&agent, &path, &crate::scenarios::api::refresh("normal"));
    assert_eq!(status, 200);
}

fn merge(api: &Api, path: &str, patch: &Value) -> (u16, String) {
    let answer = api.try_send("PATCH", path, "application/merge-patch+json", patch);
    let (status, value) = answer.unwrap();
    (
        status,
        value["message"].as_str().unwrap_or_default().to_owned(),
    )
}

/// What it must not see or touch at all.
fn reads(agent: &Api) {
    let application = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": "own", "namespace": "argocd"}, "spec": {"project": "default"},
    });
    let path = application_path("guarded");
    let tried: [(&str, &str, &Value); 9] = [
        ("GET", "/api/v1/namespaces/argocd/secrets", &Value::Null),
        (
            "GET",
            "/api/v1/namespaces/argocd/secrets/argocd-secret",
            &Value::Null,
        ),
        ("GET", "/api/v1/namespaces/argocd/configmaps", &Value::Null),
        ("GET", "/api/v1/pods", &Value::Null),
        (
            "GET",
            "/apis/argoproj.io/v1alpha1/applications",
            &Value::Null,
        ),
        (
            "GET",
            "/apis/argoproj.io/v1alpha1/namespaces/argocd/appprojects",
            &Value::Null,
        ),
        (
            "GET",
            "/apis/argoproj.io/v1alpha1/namespaces/default/applications",
            &Value::Null,
        ),
        ("POST", APPLICATIONS, &application),
        ("DELETE", &path, &Value::Null),
    ];
    for (method, path, body) in tried {
        let (status, _) = agent
            .try_send(method, path, "application/json", body)
            .unwrap();
        assert_eq!(status, 403, "{method} {path}");
    }
}

/// What it must not change of an Application, although it may patch it.
fn writes(agent: &Api, shop: &Shop<'_>, first: &str) {
    let path = application_path(&shop.name);
    let source = &shop.object()["spec"]["source"];
    let sync = |sync: Value| json!({"operation": {"initiatedBy": {"username": "edge-agent:x"}, "sync": sync}});
    let mut elsewhere = source.clone();
    elsewhere["repoURL"] = json!("https://example.test/evil.git");
    let denied = [
        json!({"spec": {"project": "other"}}),
        json!({"spec": {"destination": {"namespace": "kube-system"}}}),
        json!({"spec": {"destination": {"server": "https://elsewhere.example.test"}}}),
        json!({"spec": {"source": {"repoURL": "https://example.test/evil.git"}}}),
        json!({"spec": {"source": {"path": "other"}}}),
        json!({"spec": {"source": {"kustomize": {"images": ["web=evil:1"]}}}}),
        json!({"spec": {"source": {"helm": {"values": "a: 1"}}}}),
        json!({"spec": {"source": null, "sources": [elsewhere]}}),
        json!({"spec": {"syncPolicy": {"syncOptions": ["Validate=false"]}}}),
        json!({"spec": {"syncPolicy": {"retry": {"limit": 99}}}}),
        json!({"spec": {"syncPolicy": {"automated": {"prune": false}}}}),
        json!({"spec": {"ignoreDifferences": [{"kind": "Secret", "jsonPointers": ["/data"]}]}}),
        json!({"spec": {"info": [{"name": "a", "value": "b"}]}}),
        json!({"metadata": {"annotations": {"notifications.argoproj.io/subscribe": "x"}}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}}),
        json!({"status": {"health": {"status": "Degraded"}}}),
        json!({"status": {"sync": {"revision": first}}}),
        json!({"status": {"history": []}}),
        json!({"status": {"operationState": {"phase": "Failed"}}}),
        sync(json!({"revision": first, "source": elsewhere})),
        sync(json!({"revision": first, "manifests": ["{}"]})),
        sync(json!({"resources": [{"kind": "Deployment", "name": "web"}]})),
        json!({"operation": {"initiatedBy": {"username": "admin"}, "sync": {"revision": first}}}),
    ];
    for patch in &denied {
        let (status, message) = merge(agent, &path, patch);
        assert_eq!(status, 403, "{patch}: {message}");
        assert!(message.contains("edge-agent"), "{message}");
    }
    figure("changes that the policy denied", denied.len());
}
