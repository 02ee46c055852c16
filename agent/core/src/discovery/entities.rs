//! The entities of a node: what people look at and automate on.
//!
//! Templates read `null` as `None`, which Home Assistant takes for "unknown".

use serde_json::{Map, Value, json};

use super::{Device, Entity};
use crate::application::DeployState;
use crate::indication::Indication;
use crate::topic::Topic;

/// Readings count as unknown when no health has come for so many of its longest intervals.
const EXPIRE_AFTER_REPORTS: u64 = 3;

/// What the button sends: blink for 30 s, and never mind if this comes more than two minutes late, by
/// clocks that may differ.
const IDENTIFY: &str = r#"{% set t = now().timestamp() %}{"v":1,"id":"unsigned-{{ (t * 1000) | int }}","aud":["NODE"],"seq":{{ (t * 1000) | int }},"iat":{{ t | int }},"exp":{{ t | int + 120 }},"cmd":"identify","args":{"seconds":30}}"#;

impl Device<'_> {
    pub(super) fn node_entities(&self) -> Vec<Entity> {
        let mut entities = Vec::from(self.shown());
        entities.extend(self.shares());
        entities.extend(self.readings());
        entities.extend(self.conditions());
        entities.push(self.identify());
        entities
    }

    /// What is looked at first.
    fn shown(&self) -> [Entity; 2] {
        [
            self.reading(
                ("sensor", "health", "Health"),
                "{{ value_json.status }}",
                &json!({
                    "device_class": "enum",
                    "options": ["ok", "warning", "critical"],
                    "icon": "mdi:heart-pulse",
                    "json_attributes_topic": self.state_topic(&Topic::Health),
                    "json_attributes_template": "{{ {'reasons': value_json.reasons} | to_json }}",
                }),
            ),
            self.entity(
                ("sensor", "indication", "LEDs"),
                &json!({
                    "state_topic": self.state_topic(&Topic::Indication),
                    "value_template": "{{ value_json.indication }}",
                    "device_class": "enum",
                    "options": Indication::ALL.map(Indication::as_str),
                    "icon": "mdi:led-on",
                    "json_attributes_topic": self.state_topic(&Topic::Indication),
                    "json_attributes_template":
                        "{{ {'since': value_json.since, 'leds': value_json.leds} | to_json }}",
                }),
            ),
        ]
    }

    fn shares(&self) -> Vec<Entity> {
        let share = json!({
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "suggested_display_precision": 0,
            "entity_category": "diagnostic",
        });
        let with = |more: &Value| merged(&share, more);
        vec![
            self.reading(
                ("sensor", "cpu", "CPU"),
                "{% set u = value_json.cpu.usage %}\
                 {{ None if u is none else (u * 100) | round(1) }}",
                &with(&json!({"icon": "mdi:cpu-64-bit"})),
            ),
            self.reading(
                ("sensor", "memory", "Memory"),
                "{% set m = value_json.memory %}\
                 {{ None if m.available_bytes is none or not m.total_bytes \
                 else (100 - 100 * m.available_bytes / m.total_bytes) | round(1) }}",
                &with(&json!({"icon": "mdi:memory"})),
            ),
            self.reading(
                // The fullest of them.
                ("sensor", "disk", "Disk"),
                "{% set ns = namespace(used=none) %}\
                 {% for d in value_json.disks if d.total_bytes %}\
                 {% set u = 100 - 100 * d.available_bytes / d.total_bytes %}\
                 {% if ns.used is none or u > ns.used %}{% set ns.used = u %}{% endif %}\
                 {% endfor %}{{ None if ns.used is none else ns.used | round(1) }}",
                &with(&json!({
                    "icon": "mdi:harddisk",
                    "json_attributes_topic": self.state_topic(&Topic::Health),
                    "json_attributes_template": "{{ {'disks': value_json.disks} | to_json }}",
                })),
            ),
        ]
    }

    fn readings(&self) -> Vec<Entity> {
        vec![
            self.reading(
                ("sensor", "temperature", "Temperature"),
                "{{ value_json.temperature_celsius }}",
                &json!({
                    "device_class": "temperature",
                    "unit_of_measurement": "°C",
                    "state_class": "measurement",
                    "suggested_display_precision": 1,
                    "entity_category": "diagnostic",
                }),
            ),
            self.reading(
                ("sensor", "boot", "Last boot"),
                // What is computed anew differs by a second each time; only a reboot is to be seen.
                "{% if value_json.uptime_seconds is none %}None{% else %}\
                 {% set t = as_datetime(value_json.at) - timedelta(seconds=value_json.uptime_seconds) %}\
                 {% set old = as_datetime(this.state, none) %}\
                 {{ this.state if old and (t - old).total_seconds() | abs < 60 \
                 else t.replace(microsecond=0).isoformat() }}{% endif %}",
                &json!({"device_class": "timestamp", "entity_category": "diagnostic"}),
            ),
            self.reading(
                ("sensor", "outbox", "Outbox"),
                "{{ value_json.agent.outbox.records }}",
                &json!({
                    "unit_of_measurement": "events",
                    "state_class": "measurement",
                    "icon": "mdi:tray-full",
                    "entity_category": "diagnostic",
                }),
            ),
        ]
    }

    fn conditions(&self) -> Vec<Entity> {
        let health = |name, of: &str, class: &str| {
            self.reading(
                name,
                &format!("{{{{ value_json.{of} }}}}"),
                &truth(class, &json!({})),
            )
        };
        let presence = truth(
            "connectivity",
            &json!({
                "state_topic": self.state_topic(&Topic::Presence),
                "value_template": "{{ value_json.online }}",
                "json_attributes_topic": self.state_topic(&Topic::Presence),
                "json_attributes_template":
                    "{{ {'since': value_json.since, 'reason': value_json.reason} | to_json }}",
            }),
        );
        let mut broker = self.entity(("binary_sensor", "broker", "Broker"), &presence);
        if let Some(config) = &mut broker.config {
            // It says that the node is away, so it must not be away itself.
            config.remove("availability");
        }
        vec![
            broker,
            health(
                ("binary_sensor", "api", "Kubernetes API"),
                "k3s.api",
                "connectivity",
            ),
            health(("binary_sensor", "k3s", "K3s"), "k3s.service", "running"),
            health(
                ("binary_sensor", "undervoltage", "Undervoltage"),
                "power.undervoltage",
                "problem",
            ),
            health(
                ("binary_sensor", "throttled", "Throttled"),
                "power.throttled",
                "problem",
            ),
        ]
    }

    /// The button says what a signed command would say, and that it is not signed.
    fn identify(&self) -> Entity {
        let name = ("button", "identify", "Identify");
        let command = IDENTIFY.replace("NODE", self.node.as_str());
        let mut entity = self.entity(
            name,
            &json!({
                "device_class": "identify",
                "entity_category": "config",
                "command_topic": self.state_topic(&Topic::Command),
                "command_template": command,
                "qos": 1,
                "retain": false,
            }),
        );
        if !self.discovery.identify {
            entity.config = None;
        }
        entity
    }

    pub(super) fn application_entity(&self, name: &str) -> Entity {
        let topic = self.state_topic(&Topic::Application(name.to_owned()));
        let mut entity = self.entity(
            ("sensor", &format!("app-{name}"), name),
            &json!({
                "state_topic": topic,
                // The topic is emptied when the application goes, which is seen for a moment.
                "value_template": "{{ value_json.state if value_json is defined else None }}",
                "device_class": "enum",
                "options": DeployState::ALL,
                "icon": "mdi:rocket-launch",
                "json_attributes_topic": topic,
                "json_attributes_template":
                    "{% if value_json is defined %}\
                     {% set operation = value_json.operation or {} %}\
                     {% set culprit = value_json.culprit or {} %}\
                     {{ {'revision': value_json.revision, \
                     'message': culprit.message | default(none) or operation.message | default(none), \
                     'hold': value_json.hold, 'images': value_json.images, \
                     'namespace': value_json.namespace, 'project': value_json.project} | to_json }}\
                     {% else %}{}{% endif %}",
            }),
        );
        if let Some(config) = &mut entity.config {
            let id = format!("{}/app/{name}", self.node.source());
            config.insert("unique_id".to_owned(), id.into());
        }
        entity
    }

    /// An entity that reads the health, and does not trust it for ever.
    fn reading(&self, name: (&'static str, &str, &str), template: &str, more: &Value) -> Entity {
        let mut entity = self.entity(name, more);
        if let Some(config) = &mut entity.config {
            let topic = self.state_topic(&Topic::Health);
            config.insert("state_topic".to_owned(), topic.into());
            config.insert("value_template".to_owned(), template.into());
            let expire = self.report_every.as_secs() * EXPIRE_AFTER_REPORTS;
            config.insert("expire_after".to_owned(), expire.into());
        }
        entity
    }

    fn entity(&self, (platform, key, name): (&'static str, &str, &str), more: &Value) -> Entity {
        let mut config = into_map(&json!({
            "unique_id": format!("{}/{key}", self.node.source()),
            "name": name,
            "availability": [{
                "topic": self.state_topic(&Topic::Presence),
                "value_template": "{{ value_json.online }}",
                "payload_available": "True",
                "payload_not_available": "False",
            }],
        }));
        config.extend(into_map(more));
        Entity {
            key: key.to_owned(),
            platform,
            config: Some(config),
        }
    }
}

/// The options of an entity that is on or off, with these besides. Templates write `true` as Python
/// does.
fn truth(class: &str, more: &Value) -> Value {
    let options = json!({
        "device_class": class,
        "payload_on": "True",
        "payload_off": "False",
        "entity_category": "diagnostic",
    });
    merged(&options, more)
}

fn merged(options: &Value, more: &Value) -> Value {
    let mut all = into_map(options);
    all.extend(into_map(more));
    all.into()
}

fn into_map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
