//! What is heard of the nodes, and whom it is believed of.

use std::collections::BTreeMap;

use edge_agent_core::command::envelope::open_result;
use edge_agent_core::topic::{NodeName, Topic};
use edge_agent_core::wire::{App, CommandResult, Identity, Presence};
use jiff::Timestamp;
use tokio::time::Instant;

use super::fleet::{Member, Standing, printable};
use super::keys::{NodeKey, Pins, Trust};
use super::report::line;
use super::settings::{Settings, Wait};
use crate::mqtt::converse::Told;

/// Lines about results that do not hold, for each node; more are only counted.
const FORGED_LINES: u32 = 3;

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) at: Instant,
}

/// Where lines for a person go.
pub(super) type Tell<'t> = &'t mut dyn FnMut(&str);

/// The orders of a step, and what is known of their nodes.
pub(super) struct Fleet<'s> {
    settings: &'s Settings,
    pub(super) members: Vec<Member>,
    pins: Option<Pins>,
    /// Keys as the topic `identity` tells them.
    told_keys: BTreeMap<NodeName, String>,
    online: BTreeMap<NodeName, bool>,
    /// The revision on which the application was last seen Synced.
    synced_on: BTreeMap<NodeName, String>,
    /// Results that did not hold.
    pub(super) forged: BTreeMap<NodeName, u32>,
    /// The retained values have been heard.
    pub(super) listening: bool,
}

impl<'s> Fleet<'s> {
    /// # Errors
    /// When the file of pins is none.
    pub(super) fn new(settings: &'s Settings, members: Vec<Member>) -> Result<Self, String> {
        let pins = match &settings.trust {
            Trust::Pins(path) => Some(Pins::open(path)?),
            Trust::Keys(_) => None,
        };
        Ok(Self {
            settings,
            members,
            pins,
            told_keys: BTreeMap::new(),
            online: BTreeMap::new(),
            synced_on: BTreeMap::new(),
            forged: BTreeMap::new(),
            listening: false,
        })
    }

    /// What must be heard. Identities come first, so that a result finds the key of its node.
    pub(super) fn topics(&self) -> Vec<String> {
        let mut topics = Vec::new();
        let nodes = &self.settings.nodes;
        if self.settings.wait == Wait::None {
            return topics;
        }
        if self.pins.is_some() {
            topics.extend(nodes.iter().map(|node| Topic::Identity.format(node)));
        }
        let results = self.members.iter();
        topics.extend(results.map(|it| Topic::Result(it.id.clone()).format(&it.node)));
        for node in nodes {
            if self.settings.wait == Wait::Synced {
                topics.extend(application_topics(node, &self.settings.work.application));
            }
            topics.push(Topic::Presence.format(node));
        }
        topics
    }

    pub(super) fn hear(&mut self, told: Told, now: Moment, tell: Tell<'_>) {
        match told {
            Told::Listening => self.listening = true,
            Told::Interrupted(reason) => {
                let reason = printable(&reason);
                tell(&line(now.wall, "-", "interrupted", &reason));
            }
            Told::Delivered { topic, anyone } => self.delivered(&topic, anyone, now, tell),
            Told::Message { topic, payload } => {
                let Some((node, topic)) = Topic::parse(&topic) else {
                    return;
                };
                match topic {
                    Topic::Identity => self.identity(&node, &payload, now, tell),
                    Topic::Presence => self.presence(&node, &payload, now, tell),
                    Topic::Application(_) => self.application(&node, &payload, now, tell),
                    Topic::Result(id) => self.result(&node, &id, payload, now, tell),
                    _ => {}
                }
            }
        }
    }

    /// Looks at the time.
    pub(super) fn tick(&mut self, now: Moment, tell: Tell<'_>) {
        let (ttl, timeout) = (self.settings.ttl, self.settings.timeout);
        for member in &mut self.members {
            let online = self.online.get(&member.node).copied();
            if let Some(message) = member.tick(ttl, timeout, online, now.at) {
                let word = if member.is_open() {
                    "waiting"
                } else {
                    &member.word
                };
                tell(&line(now.wall, member.node.as_str(), word, &message));
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let (ttl, timeout) = (self.settings.ttl, self.settings.timeout);
        let deadlines = self.members.iter();
        deadlines.filter_map(|it| it.deadline(ttl, timeout)).min()
    }

    fn delivered(&mut self, topic: &str, anyone: bool, now: Moment, tell: Tell<'_>) {
        let Some((node, Topic::Command)) = Topic::parse(topic) else {
            return;
        };
        let message = if anyone {
            "the broker has the order"
        } else {
            "the broker has the order, and says that nobody subscribes: is the name right, and was \
             the node ever connected?"
        };
        tell(&line(now.wall, node.as_str(), "sent", message));
        let wait = self.settings.wait;
        let of_node = self.members.iter_mut().filter(|it| it.node == node);
        for member in of_node {
            member.delivered(wait, now.at);
        }
    }

    fn presence(&mut self, node: &NodeName, payload: &[u8], now: Moment, tell: Tell<'_>) {
        let Ok(presence) = serde_json::from_slice::<Presence>(payload) else {
            return;
        };
        let before = self.online.insert(node.clone(), presence.online);
        let changed = before.is_some_and(|before| before != presence.online);
        if changed
            && self
                .members
                .iter()
                .any(|it| it.node == *node && it.is_open())
        {
            let word = if presence.online { "online" } else { "offline" };
            tell(&line(now.wall, node.as_str(), word, ""));
        }
    }

    fn identity(&mut self, node: &NodeName, payload: &[u8], now: Moment, tell: Tell<'_>) {
        let identity = serde_json::from_slice::<Identity>(payload).ok();
        let Some(key) = identity.and_then(|identity| identity.key) else {
            return;
        };
        self.told_keys.insert(node.clone(), key);
        let held: Vec<(String, Vec<u8>)> = self
            .members
            .iter_mut()
            .filter(|it| it.node == *node)
            .filter_map(|it| Some((it.id.clone(), it.held.take()?)))
            .collect();
        for (id, payload) in held {
            self.result(node, &id, payload, now, tell);
        }
    }

    /// The keys that a node may have; `None` when it is to be pinned and has not told one.
    fn keys(&self, node: &NodeName) -> Option<Vec<NodeKey>> {
        let pins = match (&self.settings.trust, &self.pins) {
            (Trust::Keys(keys), _) => return Some(keys.of(node)),
            (Trust::Pins(_), pins) => pins.as_ref(),
        };
        let pinned = pins.map(|pins| pins.of(node)).unwrap_or_default();
        if !pinned.is_empty() {
            return Some(pinned);
        }
        let told = self.told_keys.get(node)?;
        let key = edge_agent_core::command::key::public_from_base64(told).ok();
        Some(key.into_iter().collect())
    }

    fn result(&mut self, node: &NodeName, id: &str, payload: Vec<u8>, now: Moment, tell: Tell<'_>) {
        let found = self
            .members
            .iter()
            .position(|it| it.node == *node && it.id == id);
        // An empty one is the topic being cleared.
        let Some(index) = found.filter(|_| !payload.is_empty()) else {
            return;
        };
        let Some(keys) = self.keys(node) else {
            if let Some(member) = self.members.get_mut(index) {
                member.held = Some(payload);
            }
            return;
        };
        let result = match open_result(&payload, &keys) {
            Ok(result) if result.node == node.as_str() && result.command == id => result,
            Ok(other) => {
                let what = format!("a result of {} for {}", other.node, other.command);
                return self.ignore(node, &printable(&what), now, tell);
            }
            Err(refusal) => return self.ignore(node, &printable(&refusal.message), now, tell),
        };
        self.pin(node, now, tell);
        self.believe(index, &result, now, tell);
    }

    fn ignore(&mut self, node: &NodeName, why: &str, now: Moment, tell: Tell<'_>) {
        let count = self.forged.entry(node.clone()).or_default();
        *count = count.saturating_add(1);
        if *count <= FORGED_LINES {
            let message = format!("a result that is not the node's: {why}");
            tell(&line(now.wall, node.as_str(), "IGNORED", &message));
        }
    }

    /// Keeps the key with which a node has answered for the first time.
    fn pin(&mut self, node: &NodeName, now: Moment, tell: Tell<'_>) {
        let (Some(pins), Some(key)) = (&mut self.pins, self.told_keys.get(node)) else {
            return;
        };
        if !pins.of(node).is_empty() {
            return;
        }
        let message = match pins.pin(node, key) {
            Ok(()) => format!("key {key}, taken on the broker's word and kept from now on"),
            Err(fault) => format!("key {key}, taken on the broker's word and NOT kept: {fault}"),
        };
        tell(&line(now.wall, node.as_str(), "pinned", &message));
    }

    fn believe(&mut self, index: usize, result: &CommandResult, now: Moment, tell: Tell<'_>) {
        let wait = self.settings.wait;
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        let earlier = member.standing == Standing::Pending;
        if !member.take(result, wait, now.at) {
            return;
        }
        let reason = result
            .reason
            .map_or(String::new(), |reason| format!("{reason}: "));
        let before = if earlier {
            " (this step ran before; nothing is ordered again)"
        } else {
            ""
        };
        let message = format!("{reason}{}{before}", member.message);
        member.message.clone_from(&message);
        tell(&line(
            now.wall,
            member.node.as_str(),
            &member.word,
            &message,
        ));
        let node = member.node.clone();
        self.compare(&node, now, tell);
    }

    /// The application's own topic, which nobody signs: it counts only for a node that has said, and
    /// signed, that it carries the order out.
    fn application(&mut self, node: &NodeName, payload: &[u8], now: Moment, tell: Tell<'_>) {
        let Ok(app) = serde_json::from_slice::<App>(payload) else {
            return;
        };
        let (namespace, name) = split(&self.settings.work.application);
        let ours = app.application == name && namespace.is_none_or(|it| it == app.namespace);
        if !ours {
            return;
        }
        match app.revision.filter(|_| app.sync == "Synced") {
            Some(on) => self.synced_on.insert(node.clone(), on),
            None => self.synced_on.remove(node),
        };
        self.compare(node, now, tell);
    }

    /// Whether the application is where the node says that it brings it.
    fn compare(&mut self, node: &NodeName, now: Moment, tell: Tell<'_>) {
        let Some(on) = self.synced_on.get(node) else {
            return;
        };
        let wait = self.settings.wait;
        for member in self.members.iter_mut().filter(|it| it.node == *node) {
            if member.synced(on, wait, now.at) {
                tell(&line(now.wall, node.as_str(), "synced", &printable(on)));
            }
        }
    }
}

fn split(application: &str) -> (Option<&str>, &str) {
    application
        .split_once('/')
        .map_or((None, application), |(namespace, name)| {
            (Some(namespace), name)
        })
}

/// Where a node may tell of an application: the first of its namespaces has topics of their own
/// form, and only the node knows which that is.
fn application_topics(node: &NodeName, application: &str) -> Vec<String> {
    let (namespace, name) = split(application);
    let topic = |name: String| Topic::Application(name).format(node);
    let mut topics = vec![topic(name.to_owned())];
    topics.extend(namespace.map(|namespace| topic(format!("{namespace}_{name}"))));
    topics
}
