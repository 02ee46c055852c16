use super::*;
use crate::rollout::{Applied, Outcome};
use crate::wire::ResultState;

const THIRD: &str = "3333333333333333333333333333333333333333";

/// A state that was started again, at 5 s, after it had taken a rollout to [`BAD`] on at 2 s.
fn restarted() -> State {
    restarted_with(
        json!({"application": "shop", "revision": BAD, "timeout_s": 600}),
        5.0,
    )
}

/// The same with these arguments, and at that second.
fn restarted_with(args: serde_json::Value, again: f64) -> State {
    let mut before = started();
    before.apply(at(0.5), shop(GOOD, "Healthy", "00"));
    before.apply(at(1.5), Event::Tick);
    let order = received(1, json!({"cmd": "rollout", "args": args}));
    let record = ledger_of(&before.apply(at(2.0), order)).unwrap();
    // As it comes back from the medium.
    let record = crate::command::admission::LedgerRecord::from_bytes(&record.to_bytes()).unwrap();
    let ledger = Ledger::restore(record, "2026-01-01T00:00:00Z".parse().unwrap());
    let mut state = State::new(settings(), Some(ledger), Remembered::default(), at(again));
    state.start(at(again));
    state
}

/// All that the lookup of a rollout under auto-sync can tell: that it was carried out.
fn found(state: &mut State) -> Vec<Effect> {
    let outcome = Outcome::Applied(Applied {
        revision: None,
        from: None,
        hold: None,
    });
    let command = "c1".into();
    state.apply(at(6.0), Event::Executed { command, outcome })
}

/// The application as Argo CD shows it, deployed at that second of the minute.
fn shop(revision: &str, health: &str, deployed: &str) -> Event {
    application("shop", revision, health, |object| {
        object["metadata"]["annotations"] = json!({"edge-agent.io/command": "c1"});
        object["status"]["history"] = json!([
            {"id": 1, "revision": revision, "deployedAt": format!("2026-11-24T12:00:{deployed}Z")},
        ]);
    })
}

fn ends(effects: &[Effect]) -> Vec<(ResultState, Option<&str>)> {
    answers(effects)
        .iter()
        .filter(|answer| answer.state.is_final())
        .map(|answer| (answer.state, answer.revision.as_deref()))
        .collect()
}

#[test]
fn a_rollout_is_followed_to_its_own_revision() {
    let mut state = restarted();
    state.apply(at(5.5), shop(GOOD, "Healthy", "00"));
    let effects = found(&mut state);
    assert_eq!(answers(&effects)[0].revision.as_deref(), Some(BAD));
    // What runs is well, but is not what was ordered.
    assert_eq!(ends(&state.apply(at(60.0), Event::Tick)), []);
    state.apply(at(61.0), shop(BAD, "Healthy", "59"));
    let effects = state.apply(at(72.0), Event::Tick);
    assert_eq!(ends(&effects), [(ResultState::Succeeded, Some(BAD))]);
}

#[test]
fn one_that_was_overtaken_meanwhile_is_superseded() {
    let mut state = restarted();
    found(&mut state);
    let effects = state.apply(at(7.0), shop(THIRD, "Healthy", "04"));
    assert_eq!(ends(&effects), [(ResultState::Superseded, Some(BAD))]);
}

#[test]
fn the_images_that_must_run_are_not_forgotten() {
    let wanted = format!("sha256:{}", "7".repeat(64));
    let mut state = restarted_with(
        json!({"application": "shop", "revision": BAD, "timeout_s": 600,
               "images": [format!("registry.example/shop@{wanted}")]}),
        5.0,
    );
    let effects = found(&mut state);
    assert_eq!(answers(&effects)[0].application.as_deref(), Some("shop"));
    state.apply(at(7.0), shop(BAD, "Healthy", "06"));
    assert_eq!(ends(&state.apply(at(60.0), Event::Tick)), []);
    let images = application("shop", BAD, "Healthy", |object| {
        object["metadata"]["annotations"] = json!({"edge-agent.io/command": "c1"});
        object["status"]["summary"]["images"] = json!([format!("registry.example/shop@{wanted}")]);
    });
    state.apply(at(61.0), images);
    let effects = state.apply(at(72.0), Event::Tick);
    assert_eq!(ends(&effects), [(ResultState::Succeeded, Some(BAD))]);
}

#[test]
fn its_time_goes_on_and_its_failure_is_still_followed_by_a_rollback() {
    let mut state = restarted_with(
        json!({"application": "shop", "revision": BAD, "timeout_s": 400, "on_failure": "rollback"}),
        100.0,
    );
    found(&mut state);
    state.apply(at(101.0), shop(BAD, "Progressing", "06"));
    assert_eq!(ends(&state.apply(at(401.9), Event::Tick)), []);
    let effects = state.apply(at(402.0), Event::Tick);
    assert_eq!(ends(&effects), [(ResultState::TimedOut, Some(BAD))]);
    let own = effects
        .iter()
        .any(|effect| matches!(effect, Effect::Admit { .. }));
    assert!(own, "{effects:?}");
}

#[test]
fn the_cluster_gets_time_to_answer_after_a_long_power_cut() {
    let args = json!({"application": "shop", "revision": BAD, "timeout_s": 60});
    let mut state = restarted_with(args, 4000.0);
    assert_eq!(ends(&state.apply(at(4299.0), Event::Tick)), []);
    let effects = state.apply(at(4300.0), Event::Tick);
    assert_eq!(ends(&effects), [(ResultState::TimedOut, None)]);
}
