//! edge-agent.

pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod health;
pub mod http;
pub mod led;
pub mod logging;
pub mod mqtt;
pub mod store;
pub mod supervisor;
