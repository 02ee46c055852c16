use super::*;
use crate::application::HOLD_ANNOTATION;
use crate::command::RefusalCode;

fn hold(object: &Value) -> Value {
    let text = &object["metadata"]["annotations"][HOLD_ANNOTATION];
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

#[test]
fn a_rollback_pins_under_auto_sync() {
    let before = degraded();
    let (after, applied) = carried_out(&before, rollback(None));
    assert_eq!(applied.revision.as_deref(), Some(GOOD));
    assert_eq!(applied.from.as_deref(), Some(BAD));
    assert_eq!(applied.hold, Some(HoldMode::Pin));
    let pinned = json!({"path": "web", "repoURL": "file:///srv/git/environment.git", "targetRevision": GOOD});
    assert_eq!(after["spec"]["source"], pinned);
    assert_eq!(after["spec"]["syncPolicy"], before["spec"]["syncPolicy"]);
    assert_eq!(after["status"].get("operationState"), None);
    let operation = json!({
        "initiatedBy": {"username": "edge-agent:pi-01"},
        "info": [{"name": "edge-agent.io/command", "value": "cmd-1"}],
        "retry": {"limit": 5},
            "sync": {
            "revision": GOOD, "source": pinned, "prune": true,
            "syncOptions": ["CreateNamespace=true"], "syncStrategy": {"apply": {}},
        },
    });
    assert_eq!(after["operation"], operation);
    let note = json!({
        "mode": "pin", "from": BAD, "to": GOOD, "command": "cmd-1",
        "since": "2026-11-24T19:30:50.000Z",
        "original": {"source": before["spec"]["source"]},
    });
    assert_eq!(hold(&after), note);
    let held = app(&after).hold.unwrap();
    assert_eq!((held.to.as_str(), held.mode), (GOOD, HoldMode::Pin));
}

#[test]
fn a_rollback_ends_a_retrying_operation_in_the_same_patch() {
    let (after, applied) = carried_out(&retrying(), rollback(None));
    assert_eq!(applied.revision.as_deref(), Some(GOOD));
    assert_eq!(applied.from.as_deref(), Some(BAD));
    assert_eq!(after["spec"]["source"]["targetRevision"], GOOD);
    assert_eq!(after["status"]["operationState"]["phase"], "Terminating");
    // The operation that ends is left alone: what would be written over it would be lost.
    assert_eq!(after["operation"], retrying()["operation"]);
}

#[test]
fn an_operation_that_somebody_has_asked_for_is_not_written_over() {
    let mut asked = degraded();
    set(&mut asked, "/operation", json!({"sync": {"revision": BAD}}));
    asked["status"]
        .as_object_mut()
        .unwrap()
        .remove("operationState");
    for hold in [None, Some(HoldMode::Pin), Some(HoldMode::Pause)] {
        let plan = plan_for(&asked, rollback(hold)).unwrap();
        assert!(
            plan.preparatory && plan.patch.is_none(),
            "{hold:?}: {plan:?}"
        );
    }
}

#[test]
fn without_a_pin_the_running_operation_has_to_end_first() {
    let plan = plan_for(&retrying(), rollback(Some(HoldMode::Pause))).unwrap();
    assert!(plan.preparatory);
    let ending = apply(&retrying(), &plan.patch.unwrap());
    assert_eq!(ending["status"]["operationState"]["phase"], "Terminating");
    assert_eq!(trace(&ending, "cmd-1"), None);
    assert_eq!(ending["spec"], retrying()["spec"]);
    let plan = plan_for(&ending, rollback(Some(HoldMode::Pause))).unwrap();
    assert!(plan.preparatory && plan.patch.is_none());

    let mut ended = ending;
    set(&mut ended, "/status/operationState/phase", json!("Failed"));
    ended.as_object_mut().unwrap().remove("operation");
    let (after, applied) = carried_out(&ended, rollback(Some(HoldMode::Pause)));
    assert_eq!(applied.hold, Some(HoldMode::Pause));
    assert_eq!(after["operation"]["sync"]["revision"], GOOD);
}

#[test]
fn a_pause_turns_auto_sync_off() {
    let before = degraded();
    let (after, applied) = carried_out(&before, rollback(Some(HoldMode::Pause)));
    assert_eq!(applied.hold, Some(HoldMode::Pause));
    assert_eq!(after["spec"]["source"], before["spec"]["source"]);
    let automated = json!({"prune": true, "selfHeal": true, "enabled": false});
    assert_eq!(after["spec"]["syncPolicy"]["automated"], automated);
    assert_eq!(after["operation"]["sync"]["revision"], GOOD);
    assert_eq!(after["operation"]["sync"].get("prune"), None);
    assert_eq!(
        hold(&after)["original"],
        json!({"automated": {"prune": true, "selfHeal": true}})
    );
    assert!(app(&after).hold.is_some());

    let (resumed, _) = carried_out(&after, OrderKind::Resume);
    assert_eq!(resumed["spec"], before["spec"]);
}

fn manual() -> Value {
    let mut object = degraded();
    set(
        &mut object,
        "/spec/syncPolicy",
        json!({"retry": {"limit": 2}}),
    );
    object
}

#[test]
fn without_auto_sync_nothing_is_held() {
    for mode in [None, Some(HoldMode::Pause)] {
        let (after, applied) = carried_out(&manual(), rollback(mode));
        assert_eq!(applied.hold, None);
        assert_eq!(after["spec"], manual()["spec"]);
        assert_eq!(after["metadata"]["annotations"].get(HOLD_ANNOTATION), None);
        assert_eq!(
            after["operation"]["sync"]["source"]["targetRevision"],
            "main"
        );
        assert_eq!(after["operation"]["sync"]["revision"], GOOD);
    }
    let (after, applied) = carried_out(&manual(), rollback(Some(HoldMode::Pin)));
    assert_eq!(applied.hold, Some(HoldMode::Pin));
    assert_eq!(after["spec"]["source"]["targetRevision"], GOOD);
}

#[test]
fn a_second_rollback_keeps_what_was_there_at_first() {
    let ended = |(mut object, _): (Value, Applied)| {
        object.as_object_mut().unwrap().remove("operation");
        object
    };
    let held = ended(carried_out(&degraded(), rollback(None)));
    let again = ended(carried_out(&held, to(RollbackTarget::History(1), None)));
    assert_eq!(again["spec"]["source"]["targetRevision"], BAD);
    assert_eq!(hold(&again)["to"], BAD);
    assert_eq!(hold(&again)["original"]["source"]["targetRevision"], "main");
    // From a pin to a pause: the source is given back, auto-sync is not.
    let (paused, _) = carried_out(
        &again,
        to(RollbackTarget::History(0), Some(HoldMode::Pause)),
    );
    assert_eq!(paused["spec"]["source"]["targetRevision"], "main");
    assert_eq!(paused["spec"]["syncPolicy"]["automated"]["enabled"], false);
    let (resumed, _) = carried_out(&paused, OrderKind::Resume);
    assert_eq!(resumed["spec"], degraded()["spec"]);
    assert_eq!(
        resumed["metadata"]["annotations"].get(HOLD_ANNOTATION),
        None
    );
    assert_eq!(
        resumed["metadata"]["annotations"][REFRESH_ANNOTATION],
        "normal"
    );
}

#[test]
fn a_hold_that_somebody_has_ended_is_not_given_back() {
    let (mut held, _) = carried_out(&degraded(), rollback(None));
    set(&mut held, "/spec/source/targetRevision", json!("release"));
    let (resumed, _) = carried_out(&held, OrderKind::Resume);
    assert_eq!(resumed["spec"]["source"]["targetRevision"], "release");
    assert_eq!(
        resumed["metadata"]["annotations"].get(HOLD_ANNOTATION),
        None
    );
}

fn previous_of(object: &Value, seen_healthy: &[&str]) -> Result<String, RefusalCode> {
    let kind = OrderKind::Rollback {
        to: RollbackTarget::Previous,
        hold: None,
        prune: false,
        allow_managed: false,
        seen_healthy: seen_healthy.iter().map(|s| (*s).to_owned()).collect(),
    };
    match plan_for(object, kind) {
        Ok(plan) => Ok(plan.applied.revision.unwrap()),
        Err(refusal) => Err(refusal.code),
    }
}

#[test]
fn previous_is_the_deploy_before_the_one_that_is_tried() {
    let source = degraded()["spec"]["source"].clone();
    let entry = |id: u64, revision: &str| json!({"id": id, "revision": revision, "source": source});
    let mut object = degraded();
    let history = json!([entry(0, "a"), entry(1, "b"), entry(2, GOOD), entry(3, BAD)]);
    set(&mut object, "/status/history", history);
    assert_eq!(previous_of(&object, &[]).unwrap(), GOOD);
    assert_eq!(previous_of(&object, &["a", "b"]).unwrap(), "b");
    assert_eq!(previous_of(&object, &[BAD, "elsewhere"]).unwrap(), GOOD);
    // A commit that changes nothing here moves the compared revision, not the deploy.
    set(&mut object, "/status/sync/revision", json!("unrelated"));
    assert_eq!(previous_of(&object, &[]).unwrap(), GOOD);
    // What is tried and fails was never deployed: the newest entry is the one to go back to.
    let mut object = retrying();
    assert_eq!(previous_of(&object, &[]).unwrap(), GOOD);
    set(&mut object, "/status/history", json!([]));
    assert_eq!(
        previous_of(&object, &[]),
        Err(RefusalCode::NothingToRollBackTo)
    );
}

#[test]
fn the_same_revision_with_other_parameters_is_another_deploy() {
    let mut object = degraded();
    let mut old = object["spec"]["source"].clone();
    set(&mut old, "/kustomize", json!({"images": ["web=web:1"]}));
    let history = json!([
        {"id": 0, "revision": BAD, "source": old},
        {"id": 1, "revision": BAD, "source": object["spec"]["source"]},
    ]);
    set(&mut object, "/status/history", history);
    let (after, _) = carried_out(&object, rollback(None));
    assert_eq!(
        after["spec"]["source"]["kustomize"]["images"][0],
        "web=web:1"
    );
}

#[test]
fn what_a_hold_has_fled_is_no_previous() {
    let (mut held, _) = carried_out(&degraded(), rollback(None));
    let history = fixture("pinned-healthy")["status"]["history"].clone();
    set(&mut held, "/status/history", history);
    held.as_object_mut().unwrap().remove("operation");
    assert_eq!(
        previous_of(&held, &[]),
        Err(RefusalCode::NothingToRollBackTo)
    );
    assert_eq!(previous_of(&held, &[BAD]).unwrap(), BAD);
}

#[test]
fn several_sources_are_pinned_each_on_its_own() {
    let mut object = degraded();
    let sources = json!([
        {"repoURL": "https://a", "path": "x", "targetRevision": "main"},
        {"repoURL": "https://b", "ref": "values", "targetRevision": "main"},
    ]);
    object["spec"].as_object_mut().unwrap().remove("source");
    set(&mut object, "/spec/sources", sources.clone());
    let history = json!([
        {"id": 0, "revisions": ["a1", "b1"], "sources": sources},
        {"id": 1, "revisions": ["a1", "b2"], "sources": sources},
    ]);
    set(&mut object, "/status/history", history);
    let (after, applied) = carried_out(&object, rollback(None));
    assert_eq!(applied.revision.as_deref(), Some("a1,b1"));
    assert_eq!(after["spec"]["sources"][0]["targetRevision"], "a1");
    assert_eq!(after["spec"]["sources"][1]["targetRevision"], "b1");
    let sync = &after["operation"]["sync"];
    assert_eq!(sync["revisions"], json!(["a1", "b1"]));
    assert_eq!(sync["sources"], after["spec"]["sources"]);
    assert!(sync.get("revision").is_none() && sync.get("source").is_none());
    assert_eq!(app(&after).hold.unwrap().to, "a1,b1");
    let (resumed, _) = carried_out(&after, OrderKind::Resume);
    assert_eq!(resumed["spec"]["sources"], sources);
}

#[test]
fn a_rollout_under_auto_sync_asks_for_a_comparison() {
    let revision = "f".repeat(40);
    let rollout = OrderKind::Rollout {
        revision: revision.clone(),
    };
    // Also while another sync runs: Argo CD goes on to the next revision by itself.
    for object in [degraded(), retrying()] {
        let plan = plan_for(&object, rollout.clone()).unwrap();
        assert_eq!((plan.patch, plan.refresh), (None, Some(false)));
        assert_eq!(plan.applied.revision.as_ref(), Some(&revision));
    }
    let (held, _) = carried_out(&degraded(), rollback(None));
    let (after, _) = carried_out(&held, rollout);
    assert_eq!(after["spec"], degraded()["spec"]);
    assert_eq!(
        after["metadata"]["annotations"][REFRESH_ANNOTATION],
        "normal"
    );
    assert_eq!(app(&after).hold, None);
}

#[test]
fn a_revision_that_has_failed_is_tried_again_when_ordered() {
    let mut object = degraded();
    set(&mut object, "/status/operationState/phase", json!("Failed"));
    let revision = BAD.to_owned();
    let (after, _) = carried_out(&object, OrderKind::Rollout { revision });
    assert_eq!(after["operation"]["sync"]["revision"], BAD);
    assert_eq!(after["status"].get("operationState"), None);
}

#[test]
fn a_rollout_without_auto_sync_is_an_operation() {
    let revision = "f".repeat(40);
    let (after, _) = carried_out(
        &manual(),
        OrderKind::Rollout {
            revision: revision.clone(),
        },
    );
    let operation = &after["operation"];
    assert_eq!(operation["sync"]["revision"], revision.as_str());
    assert_eq!(operation["sync"]["source"], manual()["spec"]["source"]);
    assert_eq!(operation["retry"], json!({"limit": 2}));
    // Hooks run: the checks are what a rollout has to pass.
    assert_eq!(operation["sync"].get("syncStrategy"), None);
}

#[test]
fn a_refresh_writes_annotations_only() {
    let plan = plan_for(&degraded(), OrderKind::Refresh { hard: true }).unwrap();
    assert_eq!((plan.patch, plan.refresh), (None, Some(true)));
    let annotations = &annotations("cmd-1", true)["metadata"]["annotations"];
    assert_eq!(annotations[REFRESH_ANNOTATION], "hard");
    assert_eq!(annotations[COMMAND_ANNOTATION], "cmd-1");
}

#[test]
fn a_command_leaves_a_trace() {
    let (pinned, applied) = carried_out(&degraded(), rollback(None));
    assert_eq!(trace(&degraded(), "cmd-1"), None);
    assert_eq!(trace(&pinned, "cmd-1"), Some(applied));
    assert_eq!(trace(&pinned, "cmd-2"), None);
    let (resumed, _) = carried_out(&pinned, OrderKind::Resume);
    assert_eq!(trace(&resumed, "cmd-1").unwrap().hold, None);
    // Even where the annotation is gone, the operation tells.
    let (mut operated, _) = carried_out(&manual(), rollback(None));
    operated["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    assert_eq!(
        trace(&operated, "cmd-1").unwrap().revision.as_deref(),
        Some(GOOD)
    );
    let operation = operated
        .as_object_mut()
        .unwrap()
        .remove("operation")
        .unwrap();
    let state = json!({"phase": "Running", "operation": operation});
    set(&mut operated, "/status/operationState", state);
    assert_eq!(
        trace(&operated, "cmd-1").unwrap().revision.as_deref(),
        Some(GOOD)
    );
    let plan = plan_for(&pinned, OrderKind::Lookup).unwrap();
    assert_eq!((plan.patch, plan.refresh), (None, None));
}

#[test]
fn a_running_operation_to_the_target_itself_is_ended_before_ours() {
    let mut object = retrying();
    set(
        &mut object,
        "/status/operationState/operation/sync/revision",
        json!(GOOD),
    );
    if let Some(result) = object["status"]["operationState"]["syncResult"].as_object_mut() {
        result.insert("revision".to_owned(), json!(GOOD));
    }
    let kind = to(RollbackTarget::Revision(GOOD.to_owned()), None);
    let plan = plan_for(&object, kind).unwrap();
    assert!(
        plan.preparatory,
        "auto-sync would not try it again by itself"
    );
}
