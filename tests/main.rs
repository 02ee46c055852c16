//! The integration tests: one binary, so that the agent is linked once.

mod mqtt;
mod support;
