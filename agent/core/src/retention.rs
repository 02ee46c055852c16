//! What is dropped first when the outbox is full.

/// The class of a record in the outbox, in the order in which records are dropped: the smallest
/// first, the last one never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Health samples that an offline node keeps.
    HealthSample = 0,
    /// A link came up or went down.
    LinkChange = 1,
    /// An application changed its deploy state; the newest of each application is kept longest.
    DeployState = 2,
    /// The node's health changed.
    HealthChange = 3,
    /// Starts and stops of the agent, refused commands, dropped records.
    Agent = 4,
    /// The result of a command: never dropped.
    CommandResult = 5,
}
