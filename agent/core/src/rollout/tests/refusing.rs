use proptest::prelude::*;

use super::*;
use crate::command::RefusalCode;

fn refused(object: &Value, kind: OrderKind) -> RefusalCode {
    let refusal = plan_for(object, kind).unwrap_err();
    assert!(refusal.message.contains("argocd/web"), "{refusal}");
    refusal.code
}

fn with(pointer: &str, value: Value) -> Value {
    let mut object = degraded();
    set(&mut object, pointer, value);
    object
}

#[test]
fn what_is_not_to_be_touched() {
    let deleting = with("/metadata/deletionTimestamp", json!("2026-11-24T19:30:00Z"));
    let skipped = with(
        "/metadata/annotations",
        json!({"argocd.argoproj.io/skip-reconcile": "true"}),
    );
    let revision = || "f".repeat(40);
    for kind in [
        rollback(None),
        OrderKind::Resume,
        OrderKind::Refresh { hard: false },
        OrderKind::Rollout {
            revision: revision(),
        },
    ] {
        assert_eq!(
            refused(&deleting, kind.clone()),
            RefusalCode::ApplicationDeleting
        );
        assert_eq!(refused(&skipped, kind), RefusalCode::SkipReconcile);
    }
    assert!(plan_for(&deleting, OrderKind::Lookup).is_ok());
    let hydrated = with("/spec/sourceHydrator", json!({"drySource": {}}));
    assert_eq!(
        refused(&hydrated, rollback(None)),
        RefusalCode::HydratedSource
    );
}

#[test]
fn what_is_not_in_the_history() {
    let unknown = RollbackTarget::Revision("0".repeat(40));
    assert_eq!(
        refused(&degraded(), to(unknown, None)),
        RefusalCode::NotInHistory
    );
    let unknown = RollbackTarget::History(99);
    assert_eq!(
        refused(&degraded(), to(unknown, None)),
        RefusalCode::NotInHistory
    );
    let mut empty = degraded();
    empty["status"]["history"][0]["source"] = json!({"repoURL": ""});
    let entry = RollbackTarget::Revision(GOOD.to_owned());
    assert_eq!(refused(&empty, to(entry, None)), RefusalCode::NotInHistory);
    let mut uneven = degraded();
    uneven["status"]["history"][0] = json!({"id": 0, "revisions": ["a"], "sources": [{}, {}]});
    let entry = RollbackTarget::History(0);
    assert_eq!(refused(&uneven, to(entry, None)), RefusalCode::NotInHistory);
}

#[test]
fn a_hold_on_what_others_write_has_to_be_allowed() {
    let owned = |kind: &str| {
        with(
            "/metadata/ownerReferences",
            json!([{"kind": kind, "name": "all"}]),
        )
    };
    let tracked = with(
        "/metadata/annotations",
        json!({"argocd.argoproj.io/tracking-id": "apps:argoproj.io/Application:argocd/web"}),
    );
    let label = |name: &str| {
        with(
            "/metadata/labels",
            json!({"app.kubernetes.io/instance": name}),
        )
    };
    for object in [owned("ApplicationSet"), tracked, label("apps")] {
        assert_eq!(
            refused(&object, rollback(None)),
            RefusalCode::ManagedByParent
        );
        let mut allowed = rollback(None);
        if let OrderKind::Rollback { allow_managed, .. } = &mut allowed {
            *allow_managed = true;
        }
        assert!(plan_for(&object, allowed).is_ok());
        // Without auto-sync nothing is written that a parent would undo.
        let mut manual = object;
        set(&mut manual, "/spec/syncPolicy", json!({}));
        assert!(plan_for(&manual, rollback(None)).is_ok());
    }
    assert!(plan_for(&owned("ConfigMap"), rollback(None)).is_ok());
    assert!(plan_for(&label("web"), rollback(None)).is_ok());
}

#[test]
fn a_rollout_that_would_be_lost() {
    let mut object = retrying();
    set(&mut object, "/spec/syncPolicy", json!({}));
    let rollout = || OrderKind::Rollout {
        revision: "f".repeat(40),
    };
    assert_eq!(
        refused(&object, rollout()),
        RefusalCode::OperationInProgress
    );
    set(
        &mut object,
        "/status/operationState/phase",
        json!("Succeeded"),
    );
    assert_eq!(
        refused(&object, rollout()),
        RefusalCode::OperationInProgress
    );
    object.as_object_mut().unwrap().remove("operation");
    assert!(plan_for(&object, rollout()).is_ok());
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{}, 1, "x"])),
        Just(json!({"source": 1, "sources": {}, "revision": [], "automated": true})),
    ]
}

proptest! {
    /// Whatever stands in an object, a plan is a refusal or a patch that fits the object.
    #[test]
    fn a_plan_always_fits(
        pointer in prop::sample::select(vec![
            "/spec/source", "/spec/sources", "/spec/syncPolicy", "/spec/syncPolicy/automated",
            "/operation", "/status/operationState", "/status/operationState/phase",
            "/status/history", "/status/sync", "/metadata/annotations", "/metadata/labels",
            "/metadata/ownerReferences", "/spec/sourceHydrator",
        ]),
        value in any_value(),
        hold in prop::option::of(prop::sample::select(vec![HoldMode::Pin, HoldMode::Pause])),
        busy in any::<bool>(),
    ) {
        let mut object = if busy { retrying() } else { degraded() };
        set(&mut object, pointer, value);
        let rollout = OrderKind::Rollout { revision: BAD.to_owned() };
        for kind in [rollback(hold), rollout, OrderKind::Resume, OrderKind::Lookup] {
            if let Ok(Plan { patch: Some(patch), .. }) = plan_for(&object, kind) {
                apply(&object, &patch);
            }
        }
    }
}
