use super::*;
use crate::application::DeployState;
use crate::indication::Indication;

fn shop(health: &str) -> Event {
    application("shop", GOOD, health, |_| {})
}

fn state_of(state: &State) -> DeployState {
    state.snapshot(at(0.0)).applications["shop"].state
}

/// Lets the next deadline pass and returns what follows.
fn wait(state: &mut State) -> Vec<Effect> {
    let due = state.next_deadline().expect("something is waited for");
    state.apply(at(due.as_secs_f64()), Event::Tick)
}

#[test]
fn a_state_is_published_at_once_and_told_when_it_lasts() {
    let mut state = started();
    let effects = state.apply(at(1.0), shop("Progressing"));
    assert!(retained(&effects, &Topic::Application("shop".into())).is_some());
    assert_eq!(facts(&effects), []);
    let effects = state.apply(at(1.4), shop("Healthy"));
    assert!(retained(&effects, &Topic::Application("shop".into())).is_some());
    assert_eq!(facts(&effects), [], "Progressing did not last");
    let effects = wait(&mut state);
    assert_eq!(facts(&effects), [("edge.app.state", "shop")]);
    assert_eq!(state.next_deadline(), None, "nothing is left to wait for");
}

#[test]
fn nothing_is_published_when_nothing_has_changed() {
    let mut state = started();
    state.apply(at(1.0), shop("Healthy"));
    wait(&mut state);
    let effects = state.apply(
        at(5.0),
        application("shop", GOOD, "Healthy", |object| {
            object["status"]["reconciledAt"] = "2026-11-24T12:03:00Z".into();
        }),
    );
    assert_eq!(effects, []);
}

#[test]
fn a_failed_security_check_is_told_at_once() {
    let mut state = started();
    let failed = application("shop", BAD, "Healthy", |object| {
        object["status"]["sync"]["status"] = "OutOfSync".into();
        object["status"]["operationState"] = json!({
            "phase": "Failed",
            "message": "one or more synchronization tasks completed unsuccessfully",
            "startedAt": "2026-11-24T11:59:00Z",
            "finishedAt": "2026-11-24T12:00:00Z",
            "operation": {"sync": {"revision": BAD}},
            "syncResult": {"revision": BAD, "resources": [{
                "group": "batch", "kind": "Job", "name": "image-scan", "namespace": "shop",
                "version": "v1", "hookType": "PreSync", "syncPhase": "PreSync",
                "hookPhase": "Failed", "message": "Job has reached the specified backoff limit",
            }]},
        });
    });
    let effects = state.apply(at(1.0), failed);
    assert_eq!(facts(&effects), [("edge.app.state", "shop")]);
    assert_eq!(state_of(&state), DeployState::SecurityCheckFailed);
    assert_eq!(state.indication(), Indication::GateFailed);
}

#[test]
fn a_deleted_application_leaves_nothing_behind() {
    let mut state = started();
    state.apply(at(1.0), shop("Healthy"));
    let effects = state.apply(at(2.0), Event::ApplicationDeleted(key("shop")));
    let topic = Topic::Application("shop".into());
    assert_eq!(
        retained(&effects, &topic),
        Some(&[][..]),
        "an empty payload clears it"
    );
    assert_eq!(facts(&effects), [("edge.app.deleted", "shop")]);
    assert!(state.snapshot(at(2.0)).applications.is_empty());
    assert_eq!(
        state.apply(at(3.0), Event::ApplicationDeleted(key("shop"))),
        []
    );
}

#[test]
fn a_fresh_list_deletes_what_it_does_not_hold() {
    let mut state = started();
    state.apply(at(1.0), shop("Healthy"));
    state.apply(at(1.0), application("cart", GOOD, "Healthy", |_| {}));
    let present = [key("cart")].into();
    let effects = state.apply(
        at(2.0),
        Event::ApplicationsListed {
            namespace: "argocd".into(),
            present,
        },
    );
    assert_eq!(facts(&effects), [("edge.app.deleted", "shop")]);
}

#[test]
fn what_was_told_before_a_restart_is_not_told_again_but_its_disappearance_is() {
    let told = |state| (state, Some(GOOD.to_owned()));
    let remembered = Remembered {
        health: None,
        applications: [
            ("shop".to_owned(), told(DeployState::Healthy)),
            ("gone".to_owned(), told(DeployState::Degraded)),
        ]
        .into(),
    };
    let mut state = State::new(settings(), None, remembered, at(0.0));
    let effects = state.apply(at(1.0), shop("Healthy"));
    assert!(retained(&effects, &Topic::Application("shop".into())).is_some());
    assert_eq!(state.next_deadline(), None, "there is no event to come");
    let present = [key("shop")].into();
    let effects = state.apply(
        at(2.0),
        Event::ApplicationsListed {
            namespace: "argocd".into(),
            present,
        },
    );
    assert_eq!(facts(&effects), [("edge.app.deleted", "gone")]);
}

#[test]
fn a_watch_that_stays_down_makes_every_application_offline() {
    let mut state = started();
    state.apply(at(0.0), link(Link::Cluster, LinkStatus::Up));
    state.apply(at(1.0), shop("Healthy"));
    wait(&mut state);
    state.apply(at(10.0), link(Link::Cluster, down()));
    assert_eq!(state_of(&state), DeployState::Healthy, "for now");
    assert_eq!(state.next_deadline(), Some(Duration::from_secs(100)));
    wait(&mut state);
    assert_eq!(state_of(&state), DeployState::Offline);
    state.apply(at(200.0), link(Link::Cluster, LinkStatus::Up));
    assert_eq!(state_of(&state), DeployState::Healthy);
}

#[test]
fn a_controller_that_stopped_reconciling_is_noticed() {
    let mut state = started();
    state.apply(at(1.0), shop("Healthy"));
    state.apply(at(590.0), Event::Sampled(Box::new(sample())));
    assert_eq!(state_of(&state), DeployState::Healthy);
    state.apply(at(610.0), Event::Sampled(Box::new(sample())));
    assert_eq!(state_of(&state), DeployState::Offline);
}

#[test]
fn other_namespaces_are_not_relayed() {
    let mut state = started();
    let effects = state.apply(
        at(1.0),
        application("shop", GOOD, "Healthy", |object| {
            object["metadata"]["namespace"] = "elsewhere".into();
        }),
    );
    assert_eq!(effects, []);
}

#[test]
fn what_shows_for_a_moment_after_a_sync_is_not_learned() {
    let mut state = started();
    let name = "auto-shop";
    state.apply(at(1.0), application(name, GOOD, "Healthy", |_| {}));
    state.apply(at(2.0), Event::Tick);
    // The health of the revision before, on the new one and back again.
    state.apply(at(3.0), application(name, BAD, "Healthy", |_| {}));
    state.apply(at(3.1), application(name, BAD, "Progressing", |_| {}));
    state.apply(at(4.2), Event::Tick);
    state.apply(at(5.0), application(name, GOOD, "Degraded", |_| {}));
    state.apply(at(5.5), application(name, GOOD, "Healthy", |_| {}));
    state.apply(at(7.0), Event::Tick);
    state.apply(at(8.0), application(name, BAD, "Degraded", |_| {}));
    let effects = state.apply(at(9.0), Event::Tick);
    let effects = written(&mut state, at(9.1), &effects);
    let kind = effects.iter().find_map(|effect| match effect {
        Effect::Execute(order) => Some(order.kind.clone()),
        _ => None,
    });
    let Some(crate::rollout::OrderKind::Rollback { seen_healthy, .. }) = kind else {
        panic!("the good one has not failed: {effects:?}")
    };
    assert_eq!(seen_healthy, [GOOD], "the bad one was not Healthy");
}
