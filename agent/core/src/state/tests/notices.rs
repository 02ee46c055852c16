use super::*;
use crate::notice::{Notice, NoticeKind};

/// A node under test, a second later with each event.
struct Node {
    state: State,
    seconds: f64,
}

impl Node {
    fn new() -> Self {
        Self {
            state: started(),
            seconds: 0.0,
        }
    }

    /// What people are told when the application is like this and stays so for a while.
    fn lasting(&mut self, event: Event) -> Vec<Notice> {
        let mut told = Vec::new();
        for event in [event, Event::Tick, Event::Tick] {
            self.seconds += 1.0;
            let effects = self.state.apply(at(self.seconds), event);
            told.extend(effects.into_iter().filter_map(|effect| match effect {
                Effect::Notify(notice) => Some(*notice),
                _ => None,
            }));
        }
        told
    }

    fn health(&mut self, revision: &str, health: &str) -> Vec<Notice> {
        self.lasting(application("shop", revision, health, |_| {}))
    }
}

#[test]
fn a_deploy_that_degrades_is_told_once_and_not_again_while_it_wavers() {
    let mut node = Node::new();
    assert_eq!(node.health(GOOD, "Healthy"), []);
    let told = node.health(BAD, "Degraded");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (told[0].kind, told[0].good),
        (NoticeKind::DeployFailed, false)
    );
    assert_eq!(told[0].title, "shop: it is Degraded");
    assert_eq!(told[0].revision.as_deref(), Some(BAD));
    for health in ["Progressing", "Degraded", "Progressing", "Degraded"] {
        assert_eq!(node.health(BAD, health), [], "{health}");
    }
    // Another revision is another matter, and so is a second time after it was well.
    let worse = "3333333333333333333333333333333333333333";
    assert_eq!(node.health(worse, "Degraded").len(), 1);
    assert_eq!(node.health(worse, "Healthy"), []);
    assert_eq!(node.health(worse, "Degraded").len(), 1);
}

#[test]
fn a_gate_that_stops_a_deploy_is_told_with_what_it_says() {
    let mut node = Node::new();
    node.health(GOOD, "Healthy");
    let reason = "gate not passed: revision of r.example/shop: it was built from another commit";
    let stopped = application("shop", GOOD, "Healthy", |object| {
        object["status"]["sync"]["status"] = "OutOfSync".into();
        object["status"]["operationState"] = json!({
            "phase": "Failed",
            "startedAt": "2026-11-24T12:00:00Z", "finishedAt": "2026-11-24T12:00:05Z",
            "message": "one or more synchronization tasks completed unsuccessfully",
            "operation": {"sync": {"revision": BAD}},
            "syncResult": {"revision": BAD, "resources": [{
                "group": "", "version": "v1", "kind": "Pod", "namespace": "shop",
                "name": "image-scan", "hookType": "PreSync", "syncPhase": "PreSync",
                "hookPhase": "Failed", "message": reason,
            }]},
        });
    });
    let told = node.lasting(stopped.clone());
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].kind, NoticeKind::GateFailed);
    assert_eq!(
        told[0].revision.as_deref(),
        Some(BAD),
        "what was stopped, not what runs"
    );
    assert!(told[0].message.contains(reason), "{told:?}");
    assert_eq!(node.lasting(stopped), []);
}

#[test]
fn a_rollback_of_its_own_is_told_and_so_is_one_that_fails() {
    use crate::command::{Refusal, RefusalCode};
    use crate::rollout::Outcome;
    let mut node = Node::new();
    let auto = |revision: &str, health: &str| application("auto-shop", revision, health, |_| {});
    node.lasting(auto(GOOD, "Healthy"));
    // The id is that of the write that is asked for.
    let mut id = None;
    for event in [auto(BAD, "Degraded"), Event::Tick, Event::Tick] {
        node.seconds += 1.0;
        let effects = node.state.apply(at(node.seconds), event);
        let write = effects.into_iter().find_map(|effect| match effect {
            Effect::Admit { command, .. } => Some(command),
            _ => None,
        });
        id = id.or(write);
    }
    let id = id.unwrap();
    assert_eq!(node.lasting(admitted(&id)), [], "nothing has ended yet");
    let refusal = Refusal::new(RefusalCode::Conflict, "somebody else");
    let told = node.lasting(Event::Executed {
        command: id,
        outcome: Outcome::Refused(refusal),
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (told[0].kind, told[0].good),
        (NoticeKind::RolledBack, false)
    );
    assert!(
        told[0].title.contains("could not roll back by itself"),
        "{told:?}"
    );
    assert!(
        told[0].message.contains("auto-shop is Degraded"),
        "{told:?}"
    );
    assert!(told[0].message.contains("somebody else"), "{told:?}");
}

#[test]
fn the_end_of_a_command_is_told_but_not_that_of_a_ping() {
    let mut node = Node::new();
    let ping = json!({"id": "p", "cmd": "ping", "args": {}});
    assert_eq!(node.lasting(received(1, ping)), []);
    assert_eq!(node.lasting(admitted("p")), []);

    node.lasting(application("shop", GOOD, "Healthy", |_| {}));
    let id = "c1";
    assert_eq!(node.lasting(received(2, json!({"id": id, "seq": 2}))), []);
    node.lasting(admitted(id));
    let lost = Event::ApplicationDeleted(key("shop"));
    let told = node.lasting(lost);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].kind, told[0].good), (NoticeKind::Command, false));
    assert_eq!(told[0].title, "shop: rollback failed");
    assert_eq!(told[0].who, ["ci"]);
}
