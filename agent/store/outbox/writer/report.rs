//! What the writer tells the supervisor.

use std::time::Duration;

use edge_agent_core::event::{Event, OutboxStatus};
use tokio::time::Instant;

use super::super::record::NewRecord;
use super::Work;

/// The shortest time between two [`Event::OutboxChanged`].
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// The name of this part in [`Event::Impaired`].
const PART: &str = "outbox";

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

impl Work {
    /// The next thing that the supervisor does not know yet.
    pub(super) fn next_report(&self) -> Option<Report> {
        if self.silent {
            return None;
        }
        if let Some(damaged) = &self.damaged {
            return Some(Report::Damaged(damaged.clone()));
        }
        if self.fault.is_some() != self.reported_fault.is_some() {
            return Some(Report::Fault(self.fault.clone()));
        }
        if !self.answered.is_empty() {
            return Some(Report::Answers(self.answered.clone()));
        }
        let due = self.status != self.reported_status && Instant::now() >= self.report_at;
        due.then_some(Report::Status(self.status))
    }

    /// Notes that it knows.
    pub(super) fn reported(&mut self, report: Report) -> Event {
        match report {
            Report::Damaged(what) => {
                self.damaged = None;
                Event::OutboxDamaged(what)
            }
            Report::Answers(commands) => {
                self.answered.clear();
                Event::AnswersStored(commands)
            }
            Report::Fault(fault) => {
                self.reported_fault.clone_from(&fault);
                Event::Impaired { part: PART, fault }
            }
            Report::Status(status) => {
                self.reported_status = status;
                self.report_at = Instant::now() + REPORT_EVERY;
                Event::OutboxChanged(status)
            }
        }
    }
}
