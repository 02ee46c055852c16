//! The names on the broker: `edge/v1/<node>/…`, made and read in this one place.

/// A node's name: `[A-Za-z0-9._-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// The name is not one that a topic level, a file name and a client id can all carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a node name is 1 to 64 letters, digits, dots, underscores or hyphens")]
pub struct InvalidNodeName;

impl NodeName {
    /// # Errors
    /// When the name does not match `[A-Za-z0-9._-]{1,64}`.
    pub fn new(name: &str) -> Result<Self, InvalidNodeName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidNodeName)
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A topic below a node's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    Presence,
    Identity,
    Health,
    /// The topic name of an application, as [`application_topic_name`] makes it.
    Application(String),
    Indication,
    Event,
    Command,
    /// The id of a command.
    Result(String),
}
