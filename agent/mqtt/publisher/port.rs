//! Where messages go: a connection, or what a test puts in its place.

use futures::future::BoxFuture;

/// A message on its way out; always QoS 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub retain: bool,
    pub expiry_seconds: Option<u32>,
    pub content_type: Option<&'static str>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mqtt) enum Answer {
    /// The broker has it; `anyone` unless it says that nobody subscribes to the topic.
    Accepted { anyone: bool },
    /// The broker will not have it, and why.
    Refused(String),
    /// Nobody knows: the connection ended first.
    Lost,
}

/// Where messages go.
pub(in crate::mqtt) trait Publish {
    /// Queues a message behind all that were queued before, at once; resolves with what became of
    /// it.
    fn publish(&self, message: Message) -> BoxFuture<'static, Answer>;
}
