//! The names on the broker: `edge/v1/<node>/…`, made and read in this one place.

/// A node's name: `[A-Za-z0-9._-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

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
