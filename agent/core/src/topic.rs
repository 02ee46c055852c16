//! The names on the broker: `edge/v1/<node>/…`, made and read in this one place.

/// A node's name: `[A-Za-z0-9._-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// Takes a name that is fit for a topic.
    ///
    /// # Errors
    /// A sentence for a person, when the text is not `[A-Za-z0-9._-]{1,64}`.
    pub fn new(text: &str) -> Result<Self, String> {
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err("a node's name has 1 to 64 characters out of A-Z a-z 0-9 . _ -".to_owned())
        }
    }

    /// The name as text.
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
