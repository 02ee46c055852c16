//! Audience, time and sequence: whether a verified command is taken on, and what must be remembered.

/// The whole of what the ledger remembers, as it goes to the medium.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LedgerRecord {}
