//! Every row of the table of deploy states, and that it comes before the next.

use super::*;

type Edit = (&'static str, Value);

fn state_of(edits: &[Edit]) -> DeployState {
    state(&changed(edits), &rules("*gate*"))
}

fn hold() -> Edit {
    let note = r#"{"mode":"pin","to":"main","from":"bad","command":"c","since":null}"#;
    (
        "/metadata/annotations",
        json!({ "edge-agent.io/hold": note }),
    )
}

fn phase(word: &str) -> Edit {
    ("/status/operationState/phase", json!(word))
}

fn requested() -> Edit {
    ("/operation", json!({}))
}

fn health(word: &str) -> Edit {
    ("/status/health/status", json!(word))
}

fn sync(word: &str) -> Edit {
    ("/status/sync/status", json!(word))
}

fn condition(kind: &str) -> Edit {
    (
        "/status/conditions",
        json!([{"type": kind, "message": "m"}]),
    )
}

/// A security check that has failed.
fn gate() -> Edit {
    let hook = json!({
        "kind": "Job", "name": "my-gate-1", "namespace": "web", "hookType": "PreSync",
        "hookPhase": "Failed", "message": "no", "status": "Synced",
    });
    ("/status/operationState/syncResult/resources", json!([hook]))
}

/// On another revision than the one that the operation was for.
fn elsewhere() -> Edit {
    ("/status/sync/revision", json!("0123456"))
}

fn deleting() -> Edit {
    ("/metadata/deletionTimestamp", json!("2026-11-24T19:00:00Z"))
}

#[test]
fn what_the_comparison_and_the_health_say() {
    assert_eq!(state_of(&[]), DeployState::Healthy);
    assert_eq!(state_of(&[sync("OutOfSync")]), DeployState::OutOfSync);
    assert_eq!(
        state_of(&[hold(), sync("OutOfSync")]),
        DeployState::RolledBack
    );
    for word in ["Suspended", "Progressing", "Missing", "Degraded"] {
        let state = state_of(&[hold(), health(word)]);
        assert_eq!(format!("{state:?}"), word);
    }
    for edits in [
        [health("New"), sync("Synced")],
        [health("Degraded"), sync("Unknown")],
        [health("Degraded"), condition("ComparisonError")],
        [health("Healthy"), condition("InvalidSpecError")],
    ] {
        assert_eq!(state_of(&edits), DeployState::Unknown, "{edits:?}");
    }
    let warning = condition("SharedResourceWarning");
    assert_eq!(state_of(&[warning]), DeployState::Healthy);
}

#[test]
fn what_the_operation_says() {
    use DeployState::*;
    let unfinished = ("/status/operationState/finishedAt", Value::Null);
    let table: &[(&[Edit], DeployState)] = &[
        (&[sync("Unknown"), phase("Failed")], SyncFailed),
        (&[sync("Unknown"), phase("Error")], SyncFailed),
        (&[sync("Unknown"), condition("SyncError")], SyncFailed),
        (&[phase("Running")], Retrying),
        // Argo CD leaves `operation` set while it waits.
        (&[phase("Running"), requested()], Retrying),
        (&[phase("Running"), gate()], SecurityCheckFailed),
        (
            &[phase("Running"), gate(), requested()],
            SecurityCheckFailed,
        ),
        (&[phase("Failed"), gate()], SecurityCheckFailed),
        (&[phase("Succeeded"), gate()], Healthy),
        (&[phase("Running"), unfinished.clone(), gate()], Syncing),
        (&[phase("Failed"), gate(), requested()], Syncing),
        (&[phase("Terminating"), requested()], Terminating),
        (&[phase("Terminating"), deleting()], Deleting),
        // What has failed was another revision than the one that it is on now.
        (&[phase("Failed"), gate(), elsewhere()], Healthy),
        (&[phase("Failed"), elsewhere(), hold()], RolledBack),
        (
            &[phase("Failed"), elsewhere(), sync("OutOfSync")],
            SyncFailed,
        ),
    ];
    for (edits, want) in table {
        assert_eq!(state_of(edits), *want, "{edits:?}");
    }
}

#[test]
fn what_was_not_compared_for_long_is_offline() {
    let app = changed(&[deleting()]);
    let at = |seconds| {
        let now = app.reconciled_at.unwrap() + Duration::from_secs(seconds);
        deploy_state(&app, &rules("*gate*"), now)
    };
    assert_eq!(at(600), DeployState::Deleting);
    assert_eq!(at(601), DeployState::Offline);
    // A clock that is behind makes nothing stale.
    let before = deploy_state(&app, &rules("*gate*"), Timestamp::UNIX_EPOCH);
    assert_eq!(before, DeployState::Deleting);
    let never = changed(&[("/status/reconciledAt", Value::Null)]);
    let state = deploy_state(&never, &rules("*gate*"), Timestamp::MAX);
    assert_eq!(state, DeployState::Healthy);
}
