use super::*;
use crate::command::admission::LedgerRecord;
use crate::command::payload::{HoldMode, RollbackTarget};
use crate::command::{Refusal, RefusalCode};
use crate::rollout::{Applied, OrderKind, Outcome};
use crate::wire::ResultState;

pub(super) const WORSE: &str = "3333333333333333333333333333333333333333";

/// A node under test, with the last record that it wanted written.
pub(super) struct Node {
    pub(super) state: State,
    ledger: LedgerRecord,
    seconds: f64,
}

impl Node {
    pub(super) fn new() -> Self {
        Self::with(LedgerRecord::default())
    }

    fn with(ledger: LedgerRecord) -> Self {
        let built = "2026-01-01T00:00:00Z".parse().unwrap();
        let restored = Ledger::restore(ledger.clone(), built);
        let mut node = Self {
            state: State::new(settings(), Some(restored), Remembered::default(), at(0.0)),
            ledger,
            seconds: 0.0,
        };
        let effects = node.state.start(at(0.0));
        node.keep(&effects);
        node
    }

    pub(super) fn restarted(&self) -> Self {
        let bytes = self.ledger.to_bytes();
        Self::with(LedgerRecord::from_bytes(&bytes).unwrap())
    }

    fn keep(&mut self, effects: &[Effect]) {
        if let Some(record) = ledger_of(effects) {
            self.ledger = record;
        }
    }

    /// An event, a second later, and what follows when the ledger is written.
    pub(super) fn apply(&mut self, event: Event) -> Vec<Effect> {
        self.seconds += 1.0;
        let mut effects = self.state.apply(at(self.seconds), event);
        let more = written(&mut self.state, at(self.seconds), &effects);
        effects.extend(more);
        self.keep(&effects);
        effects
    }

    /// The application is like this, and stays so for a while.
    pub(super) fn lasting(&mut self, name: &str, revision: &str, health: &str) -> Vec<Effect> {
        let mut effects = self.apply(application(name, revision, health, |_| {}));
        effects.extend(self.apply(Event::Tick));
        effects.extend(self.apply(Event::Tick));
        effects
    }
}

pub(super) fn targets(effects: &[Effect]) -> Vec<String> {
    orders(effects)
        .iter()
        .map(|order| match &order.kind {
            OrderKind::Rollback {
                to: RollbackTarget::Revision(to),
                ..
            } => to.clone(),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn it_goes_back_where_it_may_and_says_why_and_that_nobody_commanded_it() {
    for (name, wanted) in [("auto-shop", vec![GOOD]), ("shop", vec![])] {
        let mut node = Node::new();
        node.lasting(name, GOOD, "Healthy");
        let effects = node.lasting(name, BAD, "Degraded");
        assert_eq!(targets(&effects), wanted, "{name}");
    }
    let mut node = Node::new();
    node.lasting("auto-shop", GOOD, "Healthy");
    let effects = node.lasting("auto-shop", BAD, "Degraded");
    let (written, ordered) = (
        effects
            .iter()
            .position(|it| matches!(it, Effect::Admit { .. })),
        effects
            .iter()
            .position(|it| matches!(it, Effect::Execute(_))),
    );
    assert!(written.unwrap() < ordered.unwrap());
    let order = orders(&effects)[0].clone();
    let cause = order.cause.clone().unwrap();
    assert!(cause.contains("auto-shop is Degraded"), "{cause}");
    let accepted = answers(&effects)[0];
    assert!(accepted.message.contains("by itself") && accepted.digest.is_none());

    let applied = Outcome::Applied(Applied {
        revision: Some(GOOD.into()),
        from: Some(BAD.into()),
        hold: Some(HoldMode::Pin),
    });
    node.apply(Event::Executed {
        command: order.command.clone(),
        outcome: applied,
    });
    let pinned = application("auto-shop", GOOD, "Healthy", |object| {
        object["spec"]["source"]["targetRevision"] = GOOD.into();
        let hold =
            json!({"mode": "pin", "from": BAD, "to": GOOD, "command": null, "reason": cause});
        object["metadata"]["annotations"] = json!({
            "edge-agent.io/hold": hold.to_string(),
            "edge-agent.io/command": order.command,
        });
    });
    let effects = node.apply(pinned);
    let app = retained(&effects, &Topic::Application("auto-shop".into())).unwrap();
    let app: wire::App = serde_json::from_slice(app).unwrap();
    let hold = app.hold.unwrap();
    assert_eq!((hold.command, hold.reason), (None, Some(cause.clone())));
    let mut effects = Vec::new();
    for _ in 0..12 {
        effects.extend(node.apply(Event::Tick));
    }
    let fact = effects.iter().find_map(|effect| match effect {
        Effect::Record(fact) if fact.kind == "edge.command.result" => Some(fact),
        _ => None,
    });
    let data = &fact.unwrap().data;
    assert_eq!(data["command"], Value::Null);
    assert_eq!(data["cause"], cause.as_str());
    assert_eq!(data["state"], "succeeded");
}

#[test]
fn never_twice_for_one_revision_not_even_after_a_restart() {
    let mut node = Node::new();
    node.lasting("auto-shop", GOOD, "Healthy");
    let effects = node.lasting("auto-shop", BAD, "Degraded");
    let id = orders(&effects)[0].command.clone();
    let refusal = Refusal::new(RefusalCode::Conflict, "somebody else");
    let effects = node.apply(Event::Executed {
        command: id,
        outcome: Outcome::Refused(refusal),
    });
    assert_eq!(answers(&effects)[0].state, ResultState::Rejected);
    node.lasting("auto-shop", BAD, "Progressing");
    assert_eq!(
        targets(&node.lasting("auto-shop", BAD, "Degraded")),
        [""; 0]
    );

    let mut node = node.restarted();
    assert_eq!(
        targets(&node.lasting("auto-shop", BAD, "Degraded")),
        [""; 0]
    );
    // Another bad one is another matter, and where it went well is still known.
    assert_eq!(
        targets(&node.lasting("auto-shop", WORSE, "Degraded")),
        [GOOD]
    );
}

#[test]
fn never_onto_one_that_was_seen_to_fail() {
    let mut node = Node::new();
    node.lasting("auto-shop", GOOD, "Healthy");
    node.lasting("auto-shop", GOOD, "Degraded");
    let mut node = node.restarted();
    assert_eq!(
        targets(&node.lasting("auto-shop", BAD, "Degraded")),
        [""; 0]
    );
}

#[test]
fn not_while_a_command_is_under_way_but_when_that_has_failed() {
    let mut node = Node::new();
    node.lasting("auto-shop", GOOD, "Healthy");
    let rollout = json!({
        "cmd": "rollout",
        "args": {"application": "auto-shop", "revision": BAD, "timeout_s": 60},
    });
    node.apply(received(1, rollout));
    let applied = Outcome::Applied(Applied {
        revision: Some(BAD.into()),
        from: None,
        hold: None,
    });
    node.apply(Event::Executed {
        command: "c1".into(),
        outcome: applied,
    });
    let mut effects = Vec::new();
    let mut before = Vec::new();
    for _ in 0..40 {
        let more = node.lasting("auto-shop", BAD, "Degraded");
        let failed = answers(&more)
            .iter()
            .any(|it| it.command == "c1" && it.state.is_final());
        effects.extend(more);
        if failed {
            break;
        }
        before = targets(&effects);
    }
    assert_eq!(before, [""; 0]);
    assert_eq!(targets(&effects), [GOOD]);
}

#[test]
fn a_sync_that_failed_for_good_is_left_and_one_that_is_tried_again_is_not() {
    let failing = |phase: &str, hook: bool| {
        application("auto-shop", GOOD, "Healthy", |object| {
            object["status"]["sync"]["status"] = "OutOfSync".into();
            let mut state = json!({
                "phase": phase, "message": "one or more tasks failed",
                "startedAt": "2026-11-24T11:59:00Z", "finishedAt": "2026-11-24T11:59:30Z",
                "retryCount": 1,
                "operation": {"sync": {"revision": BAD}},
                "syncResult": {"revision": BAD, "resources": []},
            });
            if hook {
                state["syncResult"]["resources"] = json!([{
                    "group": "batch", "kind": "Job", "name": "image-scan", "namespace": "shop",
                    "hookType": "PreSync", "syncPhase": "PreSync", "hookPhase": "Failed",
                    "message": "found something",
                }]);
            }
            object["status"]["operationState"] = state;
        })
    };
    for (phase, hook, wanted) in [
        ("Failed", false, vec![GOOD]),
        ("Failed", true, vec![GOOD]),
        ("Running", false, vec![]),
        ("Running", true, vec![]),
    ] {
        let mut node = Node::new();
        node.lasting("auto-shop", GOOD, "Healthy");
        let mut effects = node.apply(failing(phase, hook));
        effects.extend(node.apply(Event::Tick));
        effects.extend(node.apply(Event::Tick));
        assert_eq!(targets(&effects), wanted, "{phase} {hook}");
    }
}

#[test]
fn what_cannot_be_written_down_is_not_done() {
    let mut node = Node::new();
    node.lasting("auto-shop", GOOD, "Healthy");
    node.state
        .apply(at(10.0), application("auto-shop", BAD, "Degraded", |_| {}));
    let effects = node.state.apply(at(12.0), Event::Tick);
    let id = effects.iter().find_map(|effect| match effect {
        Effect::Admit { command, .. } => Some(command.clone()),
        _ => None,
    });
    let effects = node.state.apply(
        at(12.1),
        Event::Admitted {
            command: id.unwrap(),
            result: Err("no space left on device".into()),
        },
    );
    assert_eq!(targets(&effects), [""; 0]);
    assert_eq!(answers(&effects)[0].state, ResultState::Failed);
    let mut state = State::new(settings(), None, Remembered::default(), at(0.0));
    state.apply(at(1.0), application("auto-shop", GOOD, "Healthy", |_| {}));
    state.apply(at(3.0), Event::Tick);
    state.apply(at(4.0), application("auto-shop", BAD, "Degraded", |_| {}));
    assert_eq!(targets(&state.apply(at(6.0), Event::Tick)), [""; 0]);
}
