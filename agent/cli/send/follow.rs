//! What the results of a command add up to, node by node.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use edge_agent_core::topic::{NodeName, Topic};
use edge_agent_core::wire::{CommandResult, Identity, ResultState};
use jiff::Timestamp;

use super::{OpenResult, Order};
use crate::mqtt::converse::Told;

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Wait {
    /// The broker has the command
    Published,
    /// Every node has taken the command on, or rejected it
    Accepted,
    /// Every node has come to the end of it
    Finished,
}

/// What came of it, over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What was waited for has happened on every node.
    Succeeded,
    /// A node has failed.
    Failed,
    /// A node has rejected the command, and none has failed.
    Rejected,
    /// A node has not answered in time, and none has failed or rejected.
    TimedOut,
}

/// A transition, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `None`: now.
    pub at: Option<Timestamp>,
    /// The node, or `-`.
    pub node: String,
    pub state: String,
    pub message: String,
}

struct Node {
    published: bool,
    /// The number of the newest result.
    n: u32,
    state: Option<ResultState>,
    /// Its key as the broker has it; only used when none were given.
    key: Option<String>,
    /// A result that came before the key.
    held: Option<Vec<u8>>,
}

/// Follows one command.
pub(super) struct Follow<'a> {
    order: Order,
    open: OpenResult<'a>,
    nodes: BTreeMap<NodeName, Node>,
}

impl<'a> Follow<'a> {
    pub(super) fn new(order: Order, open: OpenResult<'a>) -> Self {
        let node = || Node {
            published: false,
            n: 0,
            state: None,
            key: None,
            held: None,
        };
        let nodes = order.nodes.iter().map(|name| (name.clone(), node()));
        Self {
            nodes: nodes.collect(),
            order,
            open,
        }
    }

    pub(super) fn hear(&mut self, told: Told, tell: &mut dyn FnMut(&Line)) -> ControlFlow<Outcome> {
        match told {
            Told::Listening => {}
            Told::Interrupted(reason) => tell(&note("-", "interrupted", &reason)),
            Told::Delivered { topic, anyone } => self.delivered(&topic, anyone, tell),
            Told::Message { topic, payload } => self.message(&topic, &payload, tell),
        }
        match self.outcome() {
            Some(outcome) => ControlFlow::Break(outcome),
            None => ControlFlow::Continue(()),
        }
    }

    /// What is to be said when the time is over.
    pub(super) fn time_is_over(&self, tell: &mut dyn FnMut(&Line)) -> Outcome {
        let limit = self.order.timeout.as_secs();
        for (name, node) in &self.nodes {
            if !self.is_done(node) {
                let last = node.state.map_or("no answer", ResultState::as_str);
                let message = format!("not done within {limit} s; last: {last}");
                tell(&note(name.as_str(), "timeout", &message));
            }
        }
        self.verdict()
    }

    fn delivered(&mut self, topic: &str, anyone: bool, tell: &mut dyn FnMut(&Line)) {
        let Some((name, Topic::Command)) = Topic::parse(topic) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(&name) else {
            return;
        };
        node.published = true;
        let message = if anyone {
            "the broker has it"
        } else {
            "the broker has it, but says that nobody subscribes: is the name right, and was the node ever connected?"
        };
        tell(&note(name.as_str(), "published", message));
    }

    fn message(&mut self, topic: &str, payload: &[u8], tell: &mut dyn FnMut(&Line)) {
        let Some((name, topic)) = Topic::parse(topic) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(&name) else {
            return;
        };
        match topic {
            Topic::Identity if self.order.node_keys.is_empty() => {
                let identity: Option<Identity> = serde_json::from_slice(payload).ok();
                let Some(key) = identity.and_then(|identity| identity.key) else {
                    return;
                };
                if node.key.is_none() {
                    let message = format!("key {key}, by the broker's word; --node-key pins it");
                    tell(&note(name.as_str(), "identity", &message));
                }
                node.key = Some(key);
                if let Some(held) = node.held.take() {
                    self.result(&name, &held, tell);
                }
            }
            Topic::Result(id) if id == self.order.command && !payload.is_empty() => {
                if self.order.node_keys.is_empty() && node.key.is_none() {
                    node.held = Some(payload.to_vec());
                } else {
                    self.result(&name, payload, tell);
                }
            }
            _ => {}
        }
    }

    fn result(&mut self, name: &NodeName, payload: &[u8], tell: &mut dyn FnMut(&Line)) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let key = node.key.clone();
        let keys = match self.order.node_keys.as_slice() {
            [] => key.as_slice(),
            keys => keys,
        };
        let result = match (self.open)(payload, keys) {
            Ok(result) => result,
            Err(reason) => return tell(&note(name.as_str(), "unverified", &reason)),
        };
        // Signed, but about something else: a result that somebody has copied to this topic.
        if result.node != name.as_str() || result.command != self.order.command {
            let message = format!("a result of {} for {}", result.node, result.command);
            return tell(&note(name.as_str(), "unverified", &message));
        }
        // The broker may deliver twice, and a result that it kept may be older than one just seen.
        if result.n <= node.n {
            return;
        }
        node.n = result.n;
        node.state = Some(result.state);
        tell(&line(&result));
    }

    fn is_done(&self, node: &Node) -> bool {
        match self.order.wait {
            Wait::Published => node.published,
            Wait::Accepted => node.state.is_some(),
            Wait::Finished => node.state.is_some_and(ResultState::is_final),
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        let done = self.nodes.values().all(|node| self.is_done(node));
        done.then(|| self.verdict())
    }

    fn verdict(&self) -> Outcome {
        let verdicts = self.nodes.values().map(|node| match node.state {
            Some(ResultState::Rejected) => Outcome::Rejected,
            Some(state) if state.is_final() && state != ResultState::Succeeded => Outcome::Failed,
            _ if self.is_done(node) => Outcome::Succeeded,
            _ => Outcome::TimedOut,
        });
        let verdicts: Vec<_> = verdicts.collect();
        [Outcome::Failed, Outcome::Rejected, Outcome::TimedOut]
            .into_iter()
            .find(|outcome| verdicts.contains(outcome))
            .unwrap_or(Outcome::Succeeded)
    }
}

fn note(node: &str, state: &str, message: &str) -> Line {
    Line {
        at: None,
        node: node.to_owned(),
        state: state.to_owned(),
        message: message.to_owned(),
    }
}

fn line(result: &CommandResult) -> Line {
    let message = match result.reason {
        Some(reason) => format!("{reason}: {}", result.message),
        None => result.message.clone(),
    };
    Line {
        at: Some(result.at),
        node: result.node.clone(),
        state: result.state.as_str().to_owned(),
        // What comes over the network is not to move the cursor of a terminal.
        message: message.chars().filter(|c| !c.is_control()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn open(bytes: &[u8], keys: &[String]) -> Result<Box<CommandResult>, String> {
        if keys != ["key"] {
            return Err("no such key".to_owned());
        }
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    fn follow(nodes: &[&str], wait: Wait) -> Follow<'static> {
        let order = Order {
            nodes: nodes
                .iter()
                .map(|name| NodeName::new(name).unwrap())
                .collect(),
            command: "c1".to_owned(),
            envelope: Vec::new(),
            wait,
            timeout: Duration::from_secs(9),
            node_keys: vec!["key".to_owned()],
        };
        Follow::new(order, &open)
    }

    fn result(node: &str, n: u32, state: &str) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({
            "v": 1, "node": node, "command": "c1", "digest": null, "n": n, "state": state,
            "reason": if state == "rejected" { Some("expired") } else { None },
            "message": "said", "application": null, "revision": null, "deploy_state": null,
            "at": "2026-11-24T20:31:28.000Z",
        }))
        .unwrap()
    }

    fn hear(follow: &mut Follow<'_>, node: &str, payload: &[u8]) -> (Vec<String>, Option<Outcome>) {
        let mut lines = Vec::new();
        let topic = format!("edge/v1/{node}/result/c1");
        let told = Told::Message {
            topic,
            payload: payload.to_vec(),
        };
        let flow = follow.hear(told, &mut |line| {
            lines.push(format!("{} {}", line.state, line.message))
        });
        (lines, flow.break_value())
    }

    #[test]
    fn transitions_are_told_once_and_the_end_decides() {
        let mut it = follow(&["pi"], Wait::Finished);
        assert_eq!(
            hear(&mut it, "pi", &result("pi", 1, "accepted")),
            (vec!["accepted said".into()], None)
        );
        assert_eq!(
            hear(&mut it, "pi", &result("pi", 1, "accepted")),
            (vec![], None)
        );
        let end = hear(&mut it, "pi", &result("pi", 3, "succeeded"));
        assert_eq!(
            end,
            (vec!["succeeded said".into()], Some(Outcome::Succeeded))
        );
    }

    #[test]
    fn the_worst_node_decides() {
        for (first, second, outcome) in [
            ("succeeded", "succeeded", Outcome::Succeeded),
            ("succeeded", "rejected", Outcome::Rejected),
            ("timed_out", "rejected", Outcome::Failed),
            ("superseded", "succeeded", Outcome::Failed),
            ("interrupted", "succeeded", Outcome::Failed),
        ] {
            let mut it = follow(&["a", "b"], Wait::Finished);
            assert_eq!(hear(&mut it, "a", &result("a", 1, first)).1, None);
            assert_eq!(hear(&mut it, "b", &result("b", 1, second)).1, Some(outcome));
        }
    }

    #[test]
    fn who_waits_for_acceptance_does_not_wait_for_the_end() {
        let mut it = follow(&["pi"], Wait::Accepted);
        assert_eq!(
            hear(&mut it, "pi", &result("pi", 1, "accepted")).1,
            Some(Outcome::Succeeded)
        );
        let mut it = follow(&["pi"], Wait::Accepted);
        let (lines, outcome) = hear(&mut it, "pi", &result("pi", 1, "rejected"));
        assert_eq!(lines, ["rejected expired: said"]);
        assert_eq!(outcome, Some(Outcome::Rejected));
    }

    #[test]
    fn what_cannot_be_verified_decides_nothing() {
        let mut it = follow(&["pi"], Wait::Finished);
        let (lines, outcome) = hear(&mut it, "pi", b"junk");
        assert!(lines[0].starts_with("unverified"), "{lines:?}");
        assert_eq!(outcome, None);
        let copied = hear(&mut it, "pi", &result("other", 1, "succeeded"));
        assert_eq!(
            copied,
            (vec!["unverified a result of other for c1".into()], None)
        );
        assert_eq!(hear(&mut it, "pi", b""), (vec![], None));
        assert_eq!(it.time_is_over(&mut |_| {}), Outcome::TimedOut);
    }

    #[test]
    fn without_a_key_the_identity_is_waited_for() {
        let mut it = follow(&["pi"], Wait::Finished);
        it.order.node_keys.clear();
        assert_eq!(
            hear(&mut it, "pi", &result("pi", 1, "succeeded")),
            (vec![], None)
        );
        let identity =
            br#"{"v":1,"node":"pi","key":"key","model":null,"os":null,"arch":"a","agent":"1"}"#;
        let told = Told::Message {
            topic: "edge/v1/pi/identity".to_owned(),
            payload: identity.to_vec(),
        };
        let mut lines = Vec::new();
        let flow = it.hear(told, &mut |line| lines.push(line.state.clone()));
        assert_eq!(lines, ["identity", "succeeded"]);
        assert_eq!(flow.break_value(), Some(Outcome::Succeeded));
    }
}
