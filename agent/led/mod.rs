//! led
