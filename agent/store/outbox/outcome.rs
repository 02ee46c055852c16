//! What comes of asking the outbox for something.

use std::collections::BTreeMap;
use std::path::PathBuf;

use edge_agent_core::retention::Class;
use jiff::Timestamp;

use super::record::Header;

/// Why the outbox could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// A second process has it open.
    #[error(
        "the outbox is in use by another process (lock {0}): is edge-agent already running with this state directory?"
    )]
    Locked(PathBuf),
    /// Opening did not return in time. The thread that tries cannot be stopped: end the process;
    /// the next start but one moves the store aside.
    #[error("opening the outbox {path} did not return within {seconds} s")]
    Hung {
        /// The directory of the outbox.
        path: PathBuf,
        /// How long it was given.
        seconds: u64,
    },
    /// The disk is too full to take more without touching the reserve.
    #[error(
        "only {free} bytes are free on the disk of the outbox, and {reserve} are left to others (outbox.reserve_bytes)"
    )]
    NoSpace {
        /// Free bytes.
        free: u64,
        /// Bytes that are to stay free.
        reserve: u64,
    },
    /// The files cannot be read or written at the moment.
    #[error("the outbox cannot be used: {0}")]
    Unavailable(String),
}

/// What [`Outbox::append`] did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Appended {
    /// How many records were stored.
    pub stored: usize,
    /// What had to go for lack of room; may be of the records that were to be stored.
    pub dropped: Vec<Dropped>,
}

/// Records of one class that were dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropped {
    pub class: Class,
    pub count: u64,
    /// When the oldest of them happened.
    pub oldest: Timestamp,
    /// When the newest of them happened.
    pub newest: Timestamp,
}

/// Counts a record that was dropped, by its class.
pub(super) fn count_drop(dropped: &mut BTreeMap<Class, Dropped>, header: &Header) {
    let drop = dropped.entry(header.class).or_insert(Dropped {
        class: header.class,
        count: 0,
        oldest: header.at,
        newest: header.at,
    });
    drop.count += 1;
    drop.oldest = drop.oldest.min(header.at);
    drop.newest = drop.newest.max(header.at);
}
