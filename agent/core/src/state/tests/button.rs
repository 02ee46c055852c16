use super::autonomy::{Node, WORSE, targets};
use super::*;
use crate::button::Gesture;
use crate::command::{Refusal, RefusalCode};
use crate::indication::Indication;
use crate::rollout::Outcome;
use crate::wire::ResultState;

/// An application that was brought to its revision at that minute of the day before.
fn deployed(name: &str, revision: &str, minute: u32, edit: impl FnOnce(&mut Value)) -> Event {
    application(name, revision, "Healthy", |object| {
        object["status"]["history"] = json!([{
            "id": 0, "revision": revision, "deployedAt": format!("2026-11-23T12:{minute:02}:00Z"),
        }]);
        edit(object);
    })
}

/// A node on which `shop` and `cart` both went from GOOD to BAD, which looks well, `cart` last.
fn node() -> Node {
    let mut node = Node::new();
    for (minute, revision) in [(0, GOOD), (20, BAD)] {
        for (more, name) in [(0, "shop"), (10, "cart")] {
            node.apply(deployed(name, revision, minute + more, |_| {}));
            node.apply(Event::Tick);
            node.apply(Event::Tick);
        }
    }
    node
}

fn hold(node: &mut Node) -> Vec<Effect> {
    node.apply(Event::Button(Gesture::Pressed));
    assert_eq!(node.state.indication(), Indication::Countdown);
    node.apply(Event::Button(Gesture::Held))
}

fn refused(effects: &[Effect]) -> (RefusalCode, Value) {
    let code = answers(effects)[0].reason.unwrap();
    let fact = effects.iter().find_map(|effect| match effect {
        Effect::Record(fact) if fact.kind == "edge.command.result" => Some(fact.data.clone()),
        _ => None,
    });
    (code, fact.unwrap())
}

#[test]
fn held_it_pins_the_application_that_changed_last_and_says_that_it_was_the_button() {
    let mut node = node();
    let effects = hold(&mut node);
    let order = orders(&effects)[0].clone();
    assert_eq!(order.application, key("cart"));
    assert_eq!(targets(&effects), [GOOD]);
    let cause = order.cause.unwrap();
    assert_eq!(
        cause,
        format!("the button was held; cart was Healthy on {BAD}")
    );
    let accepted = answers(&effects)[0];
    assert!(accepted.digest.is_none() && !accepted.message.contains("by itself"));
    assert_eq!(node.state.indication(), Indication::RollingOut);

    // It is written down before it is done, and looked up after a restart.
    let mut again = node.restarted();
    let effects = again.state.start(at(0.0));
    assert_eq!(orders(&effects)[0].command, order.command);
}

#[test]
fn tried_or_under_way_counts_as_a_change_and_a_sync_to_the_same_does_not() {
    let mut node = node();
    node.apply(deployed("shop", BAD, 20, |object| {
        let entry = |id: u32, minute: u32| {
            json!({"id": id, "revision": BAD, "deployedAt": format!("2026-11-23T12:{minute}:00Z")})
        };
        object["status"]["history"] = json!([entry(0, 20), entry(1, 55)]);
    }));
    let effects = hold(&mut node);
    assert_eq!(orders(&effects)[0].application, key("cart"));

    let mut node = self::node();
    node.apply(deployed("shop", BAD, 20, |object| {
        object["status"]["sync"]["status"] = "OutOfSync".into();
        object["status"]["operationState"] = json!({
            "phase": "Failed", "message": "no", "startedAt": "2026-11-23T13:00:00Z",
            "operation": {"sync": {"revision": WORSE}},
            "syncResult": {"revision": WORSE, "resources": []},
        });
    }));
    let effects = hold(&mut node);
    assert_eq!(orders(&effects)[0].application, key("shop"));
    // What runs is what it was before the sync failed.
    assert_eq!(targets(&effects), [BAD]);
}

#[test]
fn let_go_it_does_nothing_and_a_tap_ends_identify() {
    let mut node = node();
    let identify = json!({"cmd": "identify", "args": {"seconds": 60}});
    node.apply(received(1, identify));
    assert_eq!(node.state.indication(), Indication::Identify);
    node.apply(Event::Button(Gesture::Pressed));
    assert_eq!(node.state.indication(), Indication::Countdown);
    let effects = node.apply(Event::Button(Gesture::Cancelled));
    assert!(orders(&effects).is_empty() && answers(&effects).is_empty());
    assert_eq!(node.state.indication(), Indication::Identify);
    node.apply(Event::Button(Gesture::Pressed));
    node.apply(Event::Button(Gesture::Tapped));
    assert_eq!(node.state.indication(), Indication::Healthy);
}

#[test]
fn what_cannot_be_done_is_said_and_the_leds_say_it_for_a_while() {
    // No application at all.
    let mut node = Node::new();
    let (code, data) = refused(&hold(&mut node));
    assert_eq!(code, RefusalCode::ApplicationNotFound);
    assert_eq!(data["command"], Value::Null);
    assert_eq!(data["cause"], "the button was held");
    assert_eq!(node.state.indication(), Indication::Refused);
    for _ in 0..6 {
        node.apply(Event::Tick);
    }
    assert_eq!(node.state.indication(), Indication::Healthy);

    // None that was well on another revision; and what is not the last is let alone.
    node.apply(deployed("cart", GOOD, 0, |_| {}));
    node.apply(deployed("shop", GOOD, 1, |_| {}));
    let effects = hold(&mut node);
    let (code, data) = refused(&effects);
    assert_eq!(code, RefusalCode::NothingToRollBackTo);
    assert_eq!(data["application"], "argocd/shop");
    assert!(orders(&effects).is_empty());
}

#[test]
fn it_does_not_add_to_what_is_under_way_and_does_not_move_what_is_held() {
    let mut node = node();
    hold(&mut node);
    let effects = hold(&mut node);
    assert_eq!(refused(&effects).0, RefusalCode::Busy);
    assert_eq!(node.state.indication(), Indication::Refused);

    let mut node = self::node();
    node.apply(deployed("cart", GOOD, 40, |object| {
        object["spec"]["source"]["targetRevision"] = GOOD.into();
        let hold = json!({"mode": "pin", "from": BAD, "to": GOOD, "command": null, "reason": "x"});
        object["metadata"]["annotations"] = json!({"edge-agent.io/hold": hold.to_string()});
    }));
    let effects = hold(&mut node);
    assert_eq!(refused(&effects).0, RefusalCode::NothingToRollBackTo);
    assert!(orders(&effects).is_empty(), "and shop is let alone");
}

#[test]
fn the_same_revision_can_be_left_again_and_a_refusal_of_the_cluster_is_shown() {
    let mut node = node();
    for _ in 0..2 {
        let effects = hold(&mut node);
        assert_eq!(targets(&effects), [GOOD]);
        let refusal = Refusal::new(RefusalCode::ManagedByParent, "an ApplicationSet has it");
        let command = orders(&effects)[0].command.clone();
        let outcome = Outcome::Refused(refusal);
        let effects = node.apply(Event::Executed { command, outcome });
        assert_eq!(answers(&effects)[0].state, ResultState::Rejected);
        assert_eq!(node.state.indication(), Indication::Refused);
    }
}

#[test]
fn a_stuck_button_is_a_fault_until_it_is_free() {
    let mut node = Node::new();
    node.apply(Event::Button(Gesture::Stuck));
    assert_eq!(node.state.indication(), Indication::Fault);
    node.apply(Event::Button(Gesture::Freed));
    assert_eq!(node.state.indication(), Indication::Healthy);
}

#[test]
fn without_a_ledger_nothing_is_done() {
    let mut state = State::new(settings(), None, Remembered::default(), at(0.0));
    for (second, revision) in [(1.0, GOOD), (4.0, BAD)] {
        state.apply(at(second), deployed("cart", revision, 0, |_| {}));
        state.apply(at(second + 2.0), Event::Tick);
    }
    let effects = state.apply(at(9.0), Event::Button(Gesture::Held));
    assert_eq!(refused(&effects).0, RefusalCode::LedgerUnavailable);
}
