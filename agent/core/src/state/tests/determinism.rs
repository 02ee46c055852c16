use proptest::prelude::*;

use super::*;
use crate::button::Gesture;
use crate::command::{Refusal, RefusalCode};
use crate::rollout::{Applied, Outcome};

/// Any event, over a few names, so that they meet.
fn events() -> impl Strategy<Value = Event> {
    let name = prop_oneof![Just("shop"), Just("auto-cart")];
    let revision = prop_oneof![Just(GOOD), Just(BAD)];
    let health = prop_oneof![
        Just("Healthy"),
        Just("Degraded"),
        Just("Progressing"),
        Just("Odd")
    ];
    let command = prop_oneof![
        Just(json!({})),
        Just(json!({"id": "c2", "seq": 2, "cmd": "ping", "args": {}})),
        Just(json!({"id": "c3", "seq": 3, "cmd": "resume", "args": {"application": "shop"}})),
        Just(json!({"id": "c4", "seq": 1, "aud": ["other"]})),
    ];
    let id = prop_oneof![Just("c1"), Just("c2"), Just("c3"), Just("none")];
    let outcome = prop_oneof![
        Just(Outcome::NoTrace),
        Just(Outcome::Refused(Refusal::new(RefusalCode::Conflict, "x"))),
        Just(Outcome::Applied(Applied {
            revision: Some(GOOD.into()),
            from: None,
            hold: None
        })),
    ];
    prop_oneof![
        (name.clone(), revision, health).prop_map(|(name, revision, health)| application(
            name,
            revision,
            health,
            |_| {}
        )),
        name.prop_map(|name| Event::ApplicationDeleted(key(name))),
        any::<f64>().prop_map(|value| Event::Sampled(Box::new(Sample {
            temperature_celsius: Some(value),
            ..Sample::default()
        }))),
        (any::<bool>(), any::<bool>()).prop_map(|(broker, up)| link(
            if broker { Link::Broker } else { Link::Cluster },
            if up { LinkStatus::Up } else { down() }
        )),
        (1..9_u64, command).prop_map(|(delivery, command)| received(delivery, command)),
        id.clone().prop_map(admitted),
        (id, outcome).prop_map(|(id, outcome)| Event::Executed {
            command: id.into(),
            outcome
        }),
        prop_oneof![
            Just(Gesture::Pressed),
            Just(Gesture::Tapped),
            Just(Gesture::Held),
            Just(Gesture::Stuck),
        ]
        .prop_map(Event::Button),
        Just(Event::Tick),
        Just(Event::Stopping),
    ]
}

/// Plays a log of events with their distances in time, and returns every effect.
fn play(log: &[(f64, Event)]) -> Vec<Vec<Effect>> {
    let mut state = started();
    let mut seconds = 1.0;
    log.iter()
        .map(|(distance, event)| {
            seconds += distance;
            state.apply(at(seconds), event.clone())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_events_give_the_same_effects(
        log in prop::collection::vec((0.0..400.0_f64, events()), 0..40)
    ) {
        prop_assert_eq!(play(&log), play(&log));
    }

    #[test]
    fn no_command_is_executed_twice(
        log in prop::collection::vec((0.0..20.0_f64, events()), 0..60)
    ) {
        let mut executed = std::collections::BTreeSet::new();
        for effect in play(&log).into_iter().flatten() {
            if let Effect::Execute(order) = effect {
                prop_assert!(executed.insert(order.command.clone()), "{} twice", order.command);
            }
        }
    }

    #[test]
    fn a_deadline_that_has_passed_does_not_stay(
        log in prop::collection::vec((0.0..400.0_f64, events()), 0..40)
    ) {
        let mut state = started();
        let mut seconds = 1.0;
        for (distance, event) in log {
            seconds += distance;
            state.apply(at(seconds), event);
        }
        state.apply(at(seconds), Event::Tick);
        let deadline = state.next_deadline();
        prop_assert!(
            deadline.is_none_or(|deadline| deadline > at(seconds).monotonic),
            "the loop would spin: {deadline:?} at {seconds}"
        );
    }
}
