//! Applications that somebody else writes: the source hydrator, an ApplicationSet, another Application.

use edge_agent_core::command::RefusalCode;
use edge_agent_core::wire::ResultState::Rejected;
use serde_json::{Value, json};

use super::super::repository::Repository;
use super::super::stage::Stage;
use crate::scenarios::scene::{LIMIT, Scene as _};
use crate::scenarios::shop::{Shop, Sync};
use crate::scenarios::version::{Version, image};

/// One whose manifests the source hydrator writes to a branch. The lab runs no commit server, so what
/// would be hydrated is committed by hand.
pub(super) fn hydrated(stage: &Stage) {
    let shop = Shop::prepare(stage, "from-dry", &Sync::Auto);
    let first = shop.commit(&Version::good("from-dry-1"));
    shop.with_spec(|spec| {
        let source = spec.as_object_mut().unwrap().remove("source").unwrap();
        spec["sourceHydrator"] = json!({
            "drySource": {"repoURL": source["repoURL"], "path": "app", "targetRevision": "main"},
            "syncSource": {"targetBranch": "main", "path": "app"},
        });
    });
    shop.create();
    let app = shop.wait_state("Healthy", &first);
    assert_eq!(app["images"], json!([image("from-dry-1")]));
    let bad = shop.push(&Version::bad("from-dry-2"));
    shop.wait_state("Degraded", &bad);
    refused(stage, &shop, RefusalCode::HydratedSource);
}

/// One that an ApplicationSet owns. The lab runs no controller for those, so the owner is written by
/// hand.
pub(super) fn of_a_set(stage: &Stage) {
    let shop = Shop::prepare(stage, "of-a-set", &Sync::Auto);
    let first = shop.commit(&Version::good("of-a-set-1"));
    shop.create_with(json!({"ownerReferences": [{
        "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "all",
        "uid": "00000000-0000-4000-8000-000000000001", "controller": true,
        "blockOwnerDeletion": true,
    }]}));
    shop.wait_state("Healthy", &first);
    shop.wait_told(&first);
    let bad = shop.push(&Version::bad("of-a-set-2"));
    shop.wait_state("Degraded", &bad);
    refused(stage, &shop, RefusalCode::ManagedByParent);
    let fixed = shop.push(&Version::good("of-a-set-3"));
    shop.wait_state("Healthy", &fixed);
}

/// One that another Application deploys, as Argo CD's own documentation has it.
pub(super) fn app_of_apps(stage: &Stage) {
    let child = Shop::prepare(stage, "child", &Sync::Auto);
    let first = child.commit(&Version::good("child-1"));
    let mut spec = Value::Null;
    child.with_spec(|of_child| spec = of_child.clone());
    let manifest = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": "child", "namespace": "argocd"}, "spec": spec,
    });
    let apps = Repository::new(stage.directory.path().join("git/apps"));
    let revision = apps.commit_plain("child.yaml", &manifest.to_string());
    let parent = Shop::prepare(stage, "parent", &Sync::Auto);
    parent.with_spec(|spec| {
        spec["source"] = json!({"repoURL": apps.url(), "path": ".", "targetRevision": "main"});
        spec["destination"]["namespace"] = json!("argocd");
    });
    parent.create();
    parent.wait_state("Healthy", &revision);
    child.wait_state("Healthy", &first);
    child.wait_told(&first);
    let bad = child.push(&Version::bad("child-2"));
    child.wait_state("Degraded", &bad);
    refused(stage, &child, RefusalCode::ManagedByParent);
    let fixed = child.push(&Version::good("child-3"));
    child.wait_state("Healthy", &fixed);
    // Deleted together with its parent's manifest.
    apps.commit_plain("child.yaml", "");
    parent.merge(&json!({"spec": {"syncPolicy": {"automated": {"allowEmpty": true}}}}));
    parent.refresh();
    stage.wait_app("child", "to be gone", LIMIT, &Value::is_null);
}

/// A rollback is refused for that reason.
fn refused(stage: &Stage, shop: &Shop<'_>, code: RefusalCode) {
    let id = stage.order(shop.previous());
    let result = stage.expect(&id, Rejected, LIMIT);
    assert_eq!(result.reason, Some(code), "{result:?}");
}
