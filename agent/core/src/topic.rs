//! The names on the broker: `edge/v1/<node>/…`, made and read in this one place.

use std::fmt;

/// The first two levels of every topic.
const ROOT: &str = "edge/v1/";

/// The longest node name and command id, in bytes.
const MAX_NAME: usize = 64;

/// The longest topic name of an application, in bytes: two Kubernetes names and the `_` between.
const MAX_APPLICATION: usize = 253 + 1 + 253;

/// A node's name: `[A-Za-z0-9._-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// A text that cannot be the name of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name a node: 1 to 64 letters, digits, dots, underscores and hyphens can")]
pub struct InvalidNodeName(pub String);

impl NodeName {
    /// # Errors
    /// When the text is not `[A-Za-z0-9._-]{1,64}`. That keeps `+`, `#` and `/` out of topics, and
    /// out of the patterns in a broker's access list.
    pub fn new(name: &str) -> Result<Self, InvalidNodeName> {
        if is_name(name) {
            Ok(Self(name.to_owned()))
        } else {
            // What is refused is quoted back; it is cut so that it cannot flood a log.
            Err(InvalidNodeName(name.chars().take(80).collect()))
        }
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `edge/v1/<node>`: the `source` of this node's events.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{ROOT}{}", self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for NodeName {
    type Err = InvalidNodeName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// A topic below a node's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    Presence,
    Identity,
    Health,
    /// The topic name of an application, as [`crate::wire::App`] is published under: `name`, or
    /// `namespace_name`.
    Application(String),
    Indication,
    Event,
    Command,
    /// The id of a command.
    Result(String),
}

impl Topic {
    /// The full name for a node. A level that could not be published (an application or an id with
    /// `/`, `+`, `#`, control characters, or nothing at all) has each such character replaced by
    /// `_`, so that what is made here is always a valid topic of this node.
    #[must_use]
    pub fn format(&self, node: &NodeName) -> String {
        match self {
            Self::Presence => format!("{ROOT}{node}/presence"),
            Self::Identity => format!("{ROOT}{node}/identity"),
            Self::Health => format!("{ROOT}{node}/health"),
            Self::Application(name) => format!("{ROOT}{node}/app/{}", level(name)),
            Self::Indication => format!("{ROOT}{node}/indication"),
            Self::Event => format!("{ROOT}{node}/event"),
            Self::Command => format!("{ROOT}{node}/command"),
            Self::Result(id) => format!("{ROOT}{node}/result/{}", level(id)),
        }
    }

    /// Reads a topic of any node; `None` for everything that [`Topic::format`] does not make.
    #[must_use]
    pub fn parse(topic: &str) -> Option<(NodeName, Self)> {
        let mut levels = topic.strip_prefix(ROOT)?.split('/');
        let node = NodeName::new(levels.next()?).ok()?;
        let first = levels.next()?;
        let second = levels.next();
        if levels.next().is_some() {
            return None;
        }
        let topic = match (first, second) {
            ("presence", None) => Self::Presence,
            ("identity", None) => Self::Identity,
            ("health", None) => Self::Health,
            ("indication", None) => Self::Indication,
            ("event", None) => Self::Event,
            ("command", None) => Self::Command,
            ("app", Some(name)) if is_application(name) => Self::Application(name.to_owned()),
            ("result", Some(id)) if is_name(id) => Self::Result(id.to_owned()),
            _ => return None,
        };
        Some((node, topic))
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_name_char)
}

fn is_application(text: &str) -> bool {
    (1..=MAX_APPLICATION).contains(&text.len()) && text.chars().all(is_name_char)
}

fn level(text: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    text.chars()
        .map(|c| if is_name_char(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node() -> NodeName {
        NodeName::new("pi-01").unwrap()
    }

    #[test]
    fn topics_have_the_names_of_the_contract() {
        let names = [
            (Topic::Presence, "edge/v1/pi-01/presence"),
            (Topic::Identity, "edge/v1/pi-01/identity"),
            (Topic::Health, "edge/v1/pi-01/health"),
            (Topic::Application("shop".into()), "edge/v1/pi-01/app/shop"),
            (Topic::Indication, "edge/v1/pi-01/indication"),
            (Topic::Event, "edge/v1/pi-01/event"),
            (Topic::Command, "edge/v1/pi-01/command"),
            (Topic::Result("01J0".into()), "edge/v1/pi-01/result/01J0"),
        ];
        for (topic, name) in names {
            assert_eq!(topic.format(&node()), name);
            assert_eq!(Topic::parse(name), Some((node(), topic)));
        }
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        for topic in [
            "",
            "edge/v1",
            "edge/v1/",
            "edge/v1/pi-01",
            "edge/v1//presence",
            "edge/v1/pi-01/",
            "edge/v1/pi-01/presence/",
            "edge/v1/pi-01/app",
            "edge/v1/pi-01/app/",
            "edge/v1/pi-01/app/a/b",
            "edge/v1/pi-01/result/+",
            "edge/v1/+/presence",
            "edge/v1/pi-01/#",
            "edge/v2/pi-01/presence",
            "homeassistant/pi-01/presence",
        ] {
            assert_eq!(Topic::parse(topic), None, "{topic}");
        }
    }

    #[test]
    fn a_node_name_keeps_wildcards_and_levels_out() {
        for name in ["", "a/b", "a+", "#", "a b", "ä", &"x".repeat(65)] {
            assert!(NodeName::new(name).is_err(), "{name}");
        }
        for name in ["a", "pi-01", "Pi_01.lan", &"x".repeat(64)] {
            assert!(NodeName::new(name).is_ok(), "{name}");
        }
    }

    fn topics() -> impl Strategy<Value = Topic> {
        prop_oneof![
            Just(Topic::Presence),
            Just(Topic::Identity),
            Just(Topic::Health),
            Just(Topic::Indication),
            Just(Topic::Event),
            Just(Topic::Command),
            "[A-Za-z0-9._-]{1,120}".prop_map(Topic::Application),
            "[A-Za-z0-9._-]{1,64}".prop_map(Topic::Result),
        ]
    }

    proptest! {
        #[test]
        fn a_topic_comes_back_from_its_name(name in "[A-Za-z0-9._-]{1,64}", topic in topics()) {
            let node = NodeName::new(&name).unwrap();
            prop_assert_eq!(Topic::parse(&topic.format(&node)), Some((node, topic)));
        }

        #[test]
        fn no_level_smuggles_anything_in(text in ".{0,40}") {
            for topic in [Topic::Application(text.clone()), Topic::Result(text)] {
                let name = topic.format(&node());
                prop_assert_eq!(name.split('/').count(), 5);
                prop_assert!(!name.contains(['+', '#', '\0', ' ']));
                prop_assert!(name.split('/').all(|level| !level.is_empty()));
            }
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "edge/v1/[a-z/+#]{1,30}") {
            if let Some((node, topic)) = Topic::parse(&text) {
                prop_assert_eq!(topic.format(&node), text);
            }
        }
    }
}
