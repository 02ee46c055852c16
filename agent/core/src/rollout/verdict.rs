//! What one look at an application says of an order on it.

use std::time::Duration;

use super::tracker::Progress;

/// What one look at the application says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait,
    /// As it should be; it has to stay so.
    Good,
    /// Not as it should be, and a failure if it stays so for the duration.
    Bad(String, Duration),
    Ended(Progress),
}

impl Verdict {
    /// Says the same as before, be it in other words.
    pub(super) fn continues(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Bad(_, grace), Self::Bad(_, as_before)) => grace == as_before,
            _ => self == before,
        }
    }
}

/// Something else has taken the place of the order.
pub(super) fn superseded(by: String) -> Verdict {
    Verdict::Ended(Progress::Superseded(by))
}
