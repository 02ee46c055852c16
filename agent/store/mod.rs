//! store

pub mod identity;
pub mod ledger;
