//! Every refusal of the executor, provoked.

use edge_agent_core::command::RefusalCode;
use edge_agent_core::command::payload::{Action, HoldMode, RollbackTarget};
use edge_agent_core::wire::ResultState::{Executing, Rejected, Succeeded};
use serde_json::{Value, json};

use super::api::application_path;
use super::scene::{LIMIT, Scene};
use super::shop::{Shop, Sync};
use super::version::{FOR_EVER, Version};

/// Orders what has to be refused for that reason, and shows that the application was not written.
fn refused(stage: &dyn Scene, name: &str, action: Action, code: RefusalCode) {
    let path = application_path(name);
    let ours = |object: Option<Value>| {
        let object = object.unwrap_or_default();
        (
            object["spec"].clone(),
            object["metadata"]["annotations"]["edge-agent.io/command"].clone(),
        )
    };
    let before = ours(stage.api().find(&path));
    let id = stage.order(action);
    let result = stage.expect(&id, Rejected, LIMIT);
    assert_eq!(result.reason, Some(code), "{result:?}");
    assert!(result.message.len() > 20, "{result:?}");
    assert_eq!(ours(stage.api().find(&path)), before, "{name} was written");
}

pub(super) fn unknown_ones(stage: &dyn Scene) {
    let none = |application: &str| Action::Resume {
        application: application.to_owned(),
    };
    refused(
        stage,
        "nobody",
        none("nobody"),
        RefusalCode::ApplicationNotFound,
    );
    let other = none("kube-system/nobody");
    refused(stage, "nobody", other, RefusalCode::ApplicationNotFound);
}

pub(super) fn history(stage: &dyn Scene) {
    let (shop, first) = Shop::open(stage, "no-history", Sync::Auto);
    let nothing = RefusalCode::NothingToRollBackTo;
    refused(stage, &shop.name, shop.previous(), nothing);
    let absent = RollbackTarget::Revision("f".repeat(40));
    refused(
        stage,
        &shop.name,
        shop.rollback(absent, None),
        RefusalCode::NotInHistory,
    );
    let absent = RollbackTarget::History(99);
    refused(
        stage,
        &shop.name,
        shop.rollback(absent, None),
        RefusalCode::NotInHistory,
    );
    // What is deployed already can be held there.
    let here = RollbackTarget::Revision(first.clone());
    let id = stage.order(shop.rollback(here, Some(HoldMode::Pin)));
    stage.expect(&id, Succeeded, LIMIT);
    shop.wait_state("RolledBack", &first);
}

pub(super) fn in_progress(stage: &dyn Scene) {
    let (shop, first) = Shop::open(stage, "in-progress", Sync::Manual);
    let second = shop.commit(&Version::good("in-progress-2").with_check("database", FOR_EVER));
    shop.sync_by_hand(&second);
    stage.wait_app(&shop.name, "to run its check", LIMIT, &|app| {
        app["state"] == "Syncing" && app["operation"]["phase"] == "Running"
    });
    refused(
        stage,
        &shop.name,
        shop.rollout(&first),
        RefusalCode::OperationInProgress,
    );
    // The operation of the person goes on.
    let operation = shop.object()["status"]["operationState"]["operation"].clone();
    assert_eq!(operation["initiatedBy"]["username"], "person");
    assert_eq!(operation["sync"]["revision"], json!(second));
}

pub(super) fn busy(stage: &dyn Scene) {
    let (shop, _) = Shop::open(stage, "busy", Sync::Auto);
    let second = shop.commit(&Version::good("busy-2"));
    let id = stage.order(shop.rollout(&second));
    stage.wait_answer(&id, Executing);
    refused_busy(stage, shop.resume());
    stage.expect(&id, Succeeded, LIMIT);
}

fn refused_busy(stage: &dyn Scene, action: Action) {
    let id = stage.order(action);
    let result = stage.expect(&id, Rejected, LIMIT);
    assert_eq!(result.reason, Some(RefusalCode::Busy), "{result:?}");
}

pub(super) fn untouchable(stage: &dyn Scene) {
    let (shop, _) = Shop::open(stage, "untouchable", Sync::Auto);
    let second = shop.push(&Version::good("untouchable-2"));
    shop.wait_state("Healthy", &second);
    let annotate = |name: &str, value: Value| {
        shop.merge(&json!({"metadata": {"annotations": {name: value}}}));
    };
    annotate("argocd.argoproj.io/skip-reconcile", json!("true"));
    for action in [shop.previous(), shop.resume(), shop.rollout(&second)] {
        refused(stage, &shop.name, action, RefusalCode::SkipReconcile);
    }
    annotate("argocd.argoproj.io/skip-reconcile", Value::Null);

    // Somebody's who would undo a hold, unless it is said that this is known.
    annotate(
        "argocd.argoproj.io/tracking-id",
        json!("parent:argoproj.io/Application:argocd/untouchable"),
    );
    refused(
        stage,
        &shop.name,
        shop.previous(),
        RefusalCode::ManagedByParent,
    );
    let allowed = Action::Rollback {
        application: shop.name.clone(),
        to: RollbackTarget::Previous,
        hold: None,
        prune: false,
        allow_managed: true,
    };
    let id = stage.order(allowed);
    stage.expect(&id, Succeeded, LIMIT);
    let id = stage.order(shop.resume());
    stage.expect(&id, Succeeded, LIMIT);
    annotate("argocd.argoproj.io/tracking-id", Value::Null);
    let owner = json!([{
        "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "all", "uid": "1",
    }]);
    shop.merge(&json!({"metadata": {"ownerReferences": owner}}));
    refused(
        stage,
        &shop.name,
        shop.previous(),
        RefusalCode::ManagedByParent,
    );
}

pub(super) fn deleting(stage: &dyn Scene) {
    let (shop, _) = Shop::open(stage, "deleting", Sync::Auto);
    // A finalizer that nobody takes away.
    shop.merge(&json!({"metadata": {"finalizers": ["edge-agent.test/stays"]}}));
    stage.api().delete(&application_path(&shop.name));
    shop.wait_any("Deleting");
    refused(
        stage,
        &shop.name,
        shop.resume(),
        RefusalCode::ApplicationDeleting,
    );
    shop.merge(&json!({"metadata": {"finalizers": null}}));
    stage.wait_app(&shop.name, "to be gone", LIMIT, &Value::is_null);
}

pub(super) fn hydrated(stage: &dyn Scene) {
    let shop = Shop::prepare(stage, "hydrated", &Sync::Auto);
    shop.commit(&Version::good("hydrated-1"));
    shop.with_spec(|spec| {
        let source = spec.as_object_mut().unwrap().remove("source").unwrap();
        spec["sourceHydrator"] = json!({
            "drySource": {"repoURL": source["repoURL"], "path": "app", "targetRevision": "main"},
            "syncSource": {"targetBranch": "main", "path": "app"},
        });
    });
    shop.create();
    stage.wait_app(&shop.name, "to be seen", LIMIT, &|app| {
        app["state"].is_string()
    });
    refused(
        stage,
        &shop.name,
        shop.previous(),
        RefusalCode::HydratedSource,
    );
}
