//! What the node keeps over a restart.

pub mod outbox;
