//! The integration tests: one binary, so that the agent is linked once.

mod cluster_double;
mod support;
