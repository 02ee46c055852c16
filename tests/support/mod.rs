//! Doubles of what the agent talks to, for the integration tests and for the example `demo`.

#![allow(
    dead_code,
    unused_imports,
    reason = "the tests and the demo each use their own part of the doubles"
)]

pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod drone;
pub(crate) mod guide;
pub(crate) mod port;
