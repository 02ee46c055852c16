//! What the writer tells the supervisor.

use edge_agent_core::event::OutboxStatus;

use super::super::record::NewRecord;

/// What there is to be told to the supervisor.
pub(super) enum Report {
    Damaged(String),
    /// Answers that were stored, by their commands.
    Answers(Vec<String>),
    Fault(Option<String>),
    Status(OutboxStatus),
}

/// The command that a record answers.
pub(super) fn answered(record: NewRecord) -> Option<String> {
    match record {
        NewRecord::Result { command, .. } => Some(command),
        NewRecord::Event { .. } => None,
    }
}
