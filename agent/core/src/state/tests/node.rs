use super::*;
use crate::health::KubernetesView;
use crate::indication::Indication;

#[test]
fn the_start_says_who_this_is() {
    let mut state = State::new(settings(), None, Remembered::default(), at(0.0));
    let effects = state.start(at(0.0));
    assert_eq!(facts(&effects), [("edge.agent.started", "agent")]);
    assert!(retained(&effects, &Topic::Identity).is_some());
    assert!(retained(&effects, &Topic::Indication).is_some());
}

#[test]
fn health_is_published_at_first_then_only_when_it_says_something_new() {
    let mut state = started();
    let first = state.apply(at(1.0), Event::Sampled(Box::new(sample())));
    assert!(retained(&first, &Topic::Health).is_some());
    let same = state.apply(at(11.0), Event::Sampled(Box::new(sample())));
    assert_eq!(retained(&same, &Topic::Health), None);
    let hotter = Sample {
        temperature_celsius: Some(60.0),
        ..sample()
    };
    let changed = state.apply(at(21.0), Event::Sampled(Box::new(hotter.clone())));
    assert!(retained(&changed, &Topic::Health).is_some());
    let late = state.apply(at(322.0), Event::Sampled(Box::new(hotter)));
    assert!(
        retained(&late, &Topic::Health).is_some(),
        "at the latest after report_every"
    );
}

#[test]
fn a_change_of_status_is_an_event_and_shows_on_the_leds() {
    let mut state = started();
    state.apply(at(1.0), Event::Sampled(Box::new(sample())));
    let hot = Sample {
        temperature_celsius: Some(90.0),
        ..sample()
    };
    let effects = state.apply(at(11.0), Event::Sampled(Box::new(hot)));
    assert_eq!(facts(&effects), [("edge.health.status", "health")]);
    assert_eq!(state.indication(), Indication::NodeCritical);
}

#[test]
fn a_remembered_status_is_not_told_again() {
    let remembered = Remembered {
        health: Some(wire::Status::Critical),
        ..Remembered::default()
    };
    let mut state = State::new(settings(), None, remembered, at(0.0));
    let hot = Sample {
        temperature_celsius: Some(90.0),
        ..sample()
    };
    let effects = state.apply(at(1.0), Event::Sampled(Box::new(hot)));
    assert_eq!(facts(&effects), []);
}

#[test]
fn offline_samples_are_kept_one_in_five_minutes() {
    let mut state = started();
    state.apply(at(0.0), link(Link::Broker, down()));
    let mut kept = 0;
    for tick in 1..=90 {
        let effects = state.apply(
            at(f64::from(tick) * 10.0),
            Event::Sampled(Box::new(sample())),
        );
        kept += facts(&effects)
            .iter()
            .filter(|fact| fact.0 == "edge.health.sample")
            .count();
    }
    assert_eq!(kept, 3, "fifteen minutes offline");
    state.apply(at(901.0), link(Link::Broker, LinkStatus::Up));
    let effects = state.apply(at(1300.0), Event::Sampled(Box::new(sample())));
    assert_eq!(facts(&effects), [], "online, the retained health is enough");
}

#[test]
fn a_link_is_told_when_it_comes_and_goes_not_when_its_reason_changes() {
    let mut state = started();
    let effects = state.apply(at(1.0), link(Link::Broker, down()));
    assert_eq!(facts(&effects), [("edge.link.changed", "broker")]);
    assert_eq!(state.indication(), Indication::Offline);
    let other = LinkStatus::Down("no route".into());
    assert_eq!(facts(&state.apply(at(2.0), link(Link::Broker, other))), []);
    let effects = state.apply(at(3.0), link(Link::Broker, LinkStatus::Up));
    assert_eq!(facts(&effects), [("edge.link.changed", "broker")]);
    assert_eq!(state.indication(), Indication::Healthy);
}

#[test]
fn a_fault_shows_until_it_is_mended() {
    let mut state = started();
    let fault = |fault: Option<&str>| Event::Impaired {
        part: "outbox",
        fault: fault.map(str::to_owned),
    };
    state.apply(at(1.0), fault(Some("disk full")));
    assert_eq!(state.indication(), Indication::Fault);
    assert_eq!(state.snapshot(at(1.0)).faults["outbox"], "disk full");
    state.apply(at(2.0), fault(None));
    assert_eq!(state.indication(), Indication::Healthy);
}

#[test]
fn a_damaged_outbox_is_an_event_and_a_fault_for_a_minute() {
    let mut state = started();
    let what = "the outbox could not be read".to_owned();
    let effects = state.apply(at(1.0), Event::OutboxDamaged(what.clone()));
    assert_eq!(facts(&effects), [("edge.outbox.dropped", "outbox")]);
    assert_eq!(state.indication(), Indication::Fault);
    assert_eq!(state.snapshot(at(1.0)).faults["outbox_damaged"], what);
    assert_eq!(state.next_deadline(), Some(at(61.0).monotonic));
    state.apply(at(60.0), Event::Tick);
    assert_eq!(state.indication(), Indication::Fault);
    state.apply(at(61.0), Event::Tick);
    assert_eq!(state.indication(), Indication::Healthy);
    assert!(state.snapshot(at(61.0)).faults.is_empty());
}

#[test]
fn what_is_told_of_the_node_is_remembered() {
    let mut state = started();
    let hot = Sample {
        temperature_celsius: Some(90.0),
        ..sample()
    };
    let mut remembered = Remembered::default();
    for second in 0..12 {
        let event = Event::Sampled(Box::new(hot.clone()));
        for effect in state.apply(at(f64::from(second)), event) {
            if let Effect::Record(fact) = effect
                && let Some(memory) = Memory::of(&fact)
            {
                remembered.learn(memory);
            }
        }
    }
    assert_eq!(remembered.health, Some(wire::Status::Critical));
}

#[test]
fn what_kubernetes_says_of_the_node_is_judged_with_the_sample_for_as_long_as_it_is_fresh() {
    let mut state = started();
    let view = KubernetesView {
        api: Some(true),
        node_ready: Some(false),
        ..KubernetesView::default()
    };
    state.apply(at(1.0), Event::NodeViewed(view));
    let read = |effects: &[Effect]| -> wire::Health {
        serde_json::from_slice(retained(effects, &Topic::Health).unwrap()).unwrap()
    };
    let seen = read(&state.apply(at(90.0), Event::Sampled(Box::new(sample()))));
    assert_eq!(
        (seen.k3s.api, seen.k3s.node_ready),
        (Some(true), Some(false))
    );
    assert!(seen.reasons.iter().any(|reason| reason.check == "k3s"));
    // Nobody has asked since: what was true then is not told any more.
    let stale = read(&state.apply(at(100.0), Event::Sampled(Box::new(sample()))));
    assert_eq!((stale.k3s.api, stale.k3s.node_ready), (None, None));
    assert!(stale.reasons.is_empty(), "{:?}", stale.reasons);
}
