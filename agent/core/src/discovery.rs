//! What Home Assistant is told of a node, so that it shows the node without being set up for it: the
//! messages of its MQTT discovery, made from the settings and the names of the applications alone.
//!
//! The node is one device. It has one message, and each application one of its own, so that an
//! application comes and goes without a look at the others, and no message grows with their number.

mod entities;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::event::Effect;
use crate::topic::{NodeName, Topic};
use crate::wire;

/// Where messages about the project are told to lead.
const ORIGIN: &str = "edge-agent";

/// What is wanted of discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Whether to announce the node; if not, what was announced is withdrawn.
    pub enabled: bool,
    /// The first part of the topics; Home Assistant's own default is `homeassistant`.
    pub prefix: String,
    /// One message for each entity, as versions before 2024.12 want it.
    pub single_component: bool,
    /// Where the local page is, if others than this machine reach it.
    pub page: Option<String>,
    /// Whether an unsigned `identify` is obeyed, so that a button for it makes sense.
    pub identify: bool,
}

/// An entity of the device.
struct Entity {
    /// Its name in topics, and for ever: who renames it makes people lose its history.
    key: String,
    platform: &'static str,
    /// `None`: there may have been one, and there is none now.
    config: Option<Map<String, Value>>,
}

/// A node as Home Assistant is told of it.
pub(crate) struct Device<'a> {
    pub(crate) discovery: &'a Discovery,
    pub(crate) node: &'a NodeName,
    pub(crate) identity: &'a wire::Identity,
    /// The longest time between two publications of the health.
    pub(crate) report_every: Duration,
}

impl Device<'_> {
    /// The messages about the node itself.
    pub(crate) fn announce(&self) -> Vec<Effect> {
        self.messages("node", self.node_entities())
    }

    /// The messages about an application, by its name on the broker.
    pub(crate) fn announce_application(&self, name: &str) -> Vec<Effect> {
        let entity = self.application_entity(name);
        self.messages(&entity.key.clone(), vec![entity])
    }

    /// Withdraws an application.
    pub(crate) fn withdraw_application(&self, name: &str) -> Vec<Effect> {
        let mut entity = self.application_entity(name);
        entity.config = None;
        self.clear(&entity.key.clone(), &[entity])
    }

    /// The messages in the form that is wanted. Those of the other form are withdrawn first: entities
    /// that were there twice would not be taken on.
    fn messages(&self, object: &str, entities: Vec<Entity>) -> Vec<Effect> {
        let discovery = self.discovery;
        if !discovery.enabled {
            return self.clear(object, &entities);
        }
        if discovery.single_component {
            let withdrawn = retain(self.device_topic(object), None);
            let told = entities.into_iter().map(|entity| {
                let topic = self.entity_topic(&entity);
                let config = entity.config.map(|mut config| {
                    config.insert("device".to_owned(), self.description());
                    config.insert("origin".to_owned(), self.origin());
                    Value::Object(config)
                });
                retain(topic, config)
            });
            return std::iter::once(withdrawn).chain(told).collect();
        }
        let withdrawn = entities
            .iter()
            .map(|entity| retain(self.entity_topic(entity), None));
        let mut effects: Vec<Effect> = withdrawn.collect();
        let components: Map<String, Value> = entities
            .into_iter()
            .map(|entity| {
                // One that has its platform and nothing else is removed.
                let mut config = entity.config.unwrap_or_default();
                config.insert("platform".to_owned(), entity.platform.into());
                (entity.key, config.into())
            })
            .collect();
        let message = json!({
            "device": self.description(),
            "origin": self.origin(),
            "components": components,
        });
        effects.push(retain(self.device_topic(object), Some(message)));
        effects
    }

    fn clear(&self, object: &str, entities: &[Entity]) -> Vec<Effect> {
        let topics = entities.iter().map(|entity| self.entity_topic(entity));
        let topics = std::iter::once(self.device_topic(object)).chain(topics);
        topics.map(|topic| retain(topic, None)).collect()
    }

    fn device_topic(&self, object: &str) -> String {
        self.topic("device", object)
    }

    fn entity_topic(&self, entity: &Entity) -> String {
        self.topic(entity.platform, &entity.key)
    }

    fn topic(&self, component: &str, object: &str) -> String {
        let prefix = &self.discovery.prefix;
        format!(
            "{prefix}/{component}/{}/{}/config",
            level(self.node.as_str()),
            level(object)
        )
    }

    fn description(&self) -> Value {
        let mut device = json!({
            // A name of a node has neither slash nor space, so that this is nobody else's.
            "identifiers": [format!("edge-agent {}", self.node)],
            "name": self.node.as_str(),
            "sw_version": self.identity.agent,
        });
        if let Some(model) = &self.identity.model {
            device["model"] = model.as_str().into();
        }
        if let Some(page) = &self.discovery.page {
            device["configuration_url"] = page.as_str().into();
        }
        device
    }

    fn origin(&self) -> Value {
        json!({ "name": ORIGIN, "sw_version": self.identity.agent })
    }

    fn state_topic(&self, topic: &Topic) -> String {
        topic.format(self.node)
    }
}

/// A level of a topic as Home Assistant takes it, `[A-Za-z0-9_-]+`, and of no other name.
fn level(name: &str) -> String {
    let mut level = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '.' => level.push_str("_d"),
            '_' => level.push_str("__"),
            c if c.is_ascii_alphanumeric() || c == '-' => level.push(c),
            // No name has others.
            _ => level.push_str("_x"),
        }
    }
    level
}

fn retain(topic: String, message: Option<Value>) -> Effect {
    Effect::RetainAt {
        topic,
        payload: message.map_or_else(Vec::new, |message| message.to_string().into_bytes()),
    }
}
