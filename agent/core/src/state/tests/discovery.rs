use super::*;
use crate::application::DeployState;
use crate::discovery::Discovery;

fn announcing(enabled: bool, remembered: Remembered) -> (State, Vec<Effect>) {
    let settings = Settings {
        discovery: Some(Discovery {
            enabled,
            prefix: "ha".into(),
            single_component: false,
            page: None,
            identify: false,
        }),
        ..settings()
    };
    let ledger = Ledger::new("2026-01-01T00:00:00Z".parse().unwrap());
    let mut state = State::new(settings, Some(ledger), remembered, at(0.0));
    let effects = state.start(at(0.0));
    (state, effects)
}

/// What the device topics of Home Assistant are to hold: whether something or nothing.
fn devices(effects: &[Effect]) -> Vec<(&str, bool)> {
    let mut devices = Vec::new();
    for effect in effects {
        if let Effect::RetainAt { topic, payload } = effect
            && topic.starts_with("ha/device/")
        {
            devices.push((topic.as_str(), !payload.is_empty()));
        }
    }
    devices
}

#[test]
fn an_application_is_announced_once_and_withdrawn_when_it_goes() {
    let (mut state, effects) = announcing(true, Remembered::default());
    assert_eq!(devices(&effects), [("ha/device/pi-01/node/config", true)]);
    let shop = || application("shop", GOOD, "Healthy", |_| {});
    let effects = state.apply(at(1.0), shop());
    let topic = "ha/device/pi-01/app-shop/config";
    assert_eq!(devices(&effects), [(topic, true)]);
    let effects = state.apply(at(2.0), application("shop", BAD, "Degraded", |_| {}));
    assert_eq!(devices(&effects), []);
    let effects = state.apply(at(3.0), Event::ApplicationDeleted(key("shop")));
    assert_eq!(devices(&effects), [(topic, false)]);
    let effects = state.apply(at(4.0), shop());
    assert_eq!(devices(&effects), [(topic, true)]);
}

#[test]
fn an_application_that_went_while_the_agent_was_away_is_withdrawn() {
    let told = ("gone".to_owned(), (DeployState::Healthy, None));
    let remembered = Remembered {
        applications: [told].into(),
        ..Remembered::default()
    };
    let (mut state, _) = announcing(true, remembered);
    let effects = state.apply(
        at(1.0),
        Event::ApplicationsListed {
            namespace: "argocd".into(),
            present: [].into(),
        },
    );
    let topic = "ha/device/pi-01/app-gone/config";
    assert_eq!(devices(&effects), [(topic, false)]);
}

#[test]
fn a_node_that_is_not_to_be_announced_takes_back_what_it_knows_of() {
    let (mut state, effects) = announcing(false, Remembered::default());
    assert_eq!(devices(&effects), [("ha/device/pi-01/node/config", false)]);
    let effects = state.apply(at(1.0), application("shop", GOOD, "Healthy", |_| {}));
    let topic = "ha/device/pi-01/app-shop/config";
    assert_eq!(devices(&effects), [(topic, false)]);
}

#[test]
fn without_the_setting_nothing_is_said() {
    let mut state = started();
    let effects = state.apply(at(1.0), application("shop", GOOD, "Healthy", |_| {}));
    let elsewhere = |effect: &Effect| matches!(effect, Effect::RetainAt { .. });
    assert!(!effects.iter().any(elsewhere));
}
