//! The integration tests: one binary, so that the agent is linked once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod agent;
mod cli;
mod cluster_double;
#[allow(dead_code, reason = "the tests of the gate use more of it")]
#[path = "../agent/gate/tests/double.rs"]
mod double;
mod drone;
mod fleet;
mod gate;
mod hardware;
mod mqtt;
mod notify;
mod on_double;
#[allow(dead_code, reason = "the suites with the lab use more of it")]
mod scenarios;
mod support;
mod tidy;
mod token;
mod trust;
