//! cli

pub mod keygen;
pub mod order;
pub mod sign;
pub mod verify;
