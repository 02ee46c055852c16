//! What the integration tests put in place of the world.

pub(crate) mod broker;
