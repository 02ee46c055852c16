//! The outbox: what the broker has not acknowledged yet, on the medium, in order.
//!
//! [`Outbox::append`] returns when its records would survive the power going. sled's own flush does
//! not promise that on Linux (it starts the writing and does not wait for the medium), so every
//! append ends with an `fdatasync` of sled's data file. [`Outbox::remove`] does not wait: after a
//! crash a record is sent again, and consumers drop it by its id.
//!
//! Everything here blocks for as long as the medium takes; [`writer`] and the publisher call it
//! through `spawn_blocking`.

//!
//! | module | its job |
//! | --- | --- |
//! | [`record`] | what is stored, and its bytes |
//! | [`writer`] | the task that writes: groups, memory while the disk is away, what is told of it |
//! | `store` | sled behind one lock: append, limits, opening again after an error |
//! | `contents` | what is known of the store without reading it, and what is remembered |
//! | `dropped` | what had to go, and the event that tells of it |
//! | `opening` | opens the store, whatever is in the directory |
//! | `rewrite` | gives room on the medium back |

mod contents;
mod dropped;
mod opening;
pub mod record;
mod rescue;
mod rewrite;
mod store;
#[cfg(test)]
mod tests;
pub mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use edge_agent_core::event::OutboxStatus;
use edge_agent_core::state::Remembered;
use edge_agent_core::topic::NodeName;
use tokio::sync::{oneshot, watch};

use crate::config;
use contents::{END, sequence_of};
pub use dropped::Dropped;
use record::{NewRecord, Record};
use store::{Store, broken};

/// Removals after which they are handed to the kernel, so that a crash does not repeat more.
const REMOVALS_PER_FLUSH: usize = 256;

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
    /// It takes too much of the medium, and could not be written anew.
    #[error(
        "the outbox takes {size} bytes of the disk, more than {limit}, and could not be made smaller: {reason}"
    )]
    TooLarge {
        /// Bytes that it takes.
        size: u64,
        /// Bytes that it may take.
        limit: u64,
        /// Why it is not smaller.
        reason: String,
    },
    /// The files cannot be read or written at the moment.
    #[error("the outbox cannot be used: {0}")]
    Unavailable(String),
}

/// Records that were set aside and go down in one write.
const RESCUED_GROUP: usize = 256;

/// What [`Outbox::append`] did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Appended {
    /// How many records were stored.
    pub stored: usize,
    /// The highest sequence that has been given out.
    pub last: u64,
    /// How many records had to go for lack of room; may be of those that were to be stored.
    pub dropped: u64,
}

/// An outbox, and what there is to be told of its opening.
#[derive(Debug)]
pub struct Opened {
    pub outbox: Outbox,
    /// What was there before was unreadable and has been moved aside: why, and where to.
    pub damaged: Option<String>,
    /// The disk did not let us: why. The outbox is there all the same and tries again with every
    /// call, so that the agent runs on a full or read-only disk.
    pub unavailable: Option<String>,
    /// What was told last, as far as it was stored here.
    pub remembered: Remembered,
}

/// The outbox. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Outbox {
    store: Arc<Store>,
}

impl Outbox {
    /// Opens or creates the outbox in `dir`; beside it lie `<dir>.lock`, `<dir>.opening` and what
    /// was damaged, `<dir>.damaged-1` and `-2`. Blocks; see [`Outbox::open_within`].
    ///
    /// # Errors
    /// Only [`OutboxError::Locked`]: a disk that cannot be used is told in [`Opened::unavailable`].
    pub fn open(
        dir: &Path,
        node: &NodeName,
        limits: &config::Outbox,
    ) -> Result<Opened, OutboxError> {
        let store = Store::new(dir.to_owned(), node.clone(), limits.clone());
        let mut inner = store.lock();
        let unavailable = match store.ensure_open(&mut inner) {
            Ok(()) => None,
            Err(locked @ OutboxError::Locked(_)) => return Err(locked),
            Err(error) => Some(error.to_string()),
        };
        let remembered = inner.contents.remembered.clone();
        drop(inner);
        let outbox = Self {
            store: Arc::new(store),
        };
        Ok(Opened {
            damaged: outbox.damage(),
            outbox,
            unavailable,
            remembered,
        })
    }

    /// The same on a thread of its own, given up after `limit`. A damaged store can keep sled busy
    /// for ever; such a thread must not keep the process from ending, so it is not one of tokio's.
    ///
    /// # Errors
    /// [`OutboxError::Locked`], and [`OutboxError::Hung`] after `limit`.
    pub async fn open_within(
        dir: &Path,
        node: &NodeName,
        limits: &config::Outbox,
        limit: Duration,
    ) -> Result<Opened, OutboxError> {
        let (sender, receiver) = oneshot::channel();
        let arguments = (dir.to_owned(), node.clone(), limits.clone());
        std::thread::Builder::new()
            .name("outbox-open".to_owned())
            .spawn(move || {
                let (dir, node, limits) = arguments;
                // Nobody listens any more when the deadline has passed.
                let _ = sender.send(Self::open(&dir, &node, &limits));
            })
            .map_err(|error| OutboxError::Unavailable(format!("no thread for it: {error}")))?;
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OutboxError::Unavailable("opening it panicked".to_owned())),
            Err(_) => {
                opening::note_hung(dir);
                Err(OutboxError::Hung {
                    path: dir.to_owned(),
                    seconds: limit.as_secs(),
                })
            }
        }
    }

    /// Stores a batch: one write and one sync, all or nothing. When this returns the records are on
    /// the medium, and with them what is to be remembered of them. The oldest of the least class
    /// make room where a limit is passed; see [`edge_agent_core::retention::Class`] for the order. A
    /// result that is larger than [`record::MAX_RESULT`] is left out.
    ///
    /// # Errors
    /// [`OutboxError::NoSpace`], [`OutboxError::TooLarge`] and [`OutboxError::Unavailable`]. Whether
    /// the records are stored is not known then; to append the same ones again is safe, as they keep
    /// their ids.
    pub fn append(&self, batch: &[NewRecord]) -> Result<Appended, OutboxError> {
        self.store
            .with(|store, inner| store.append(inner, batch, false))
    }

    /// The same, and with it an event for every class of which something was dropped: what they tell
    /// counts as told then, also over a restart.
    ///
    /// # Errors
    /// As [`Outbox::append`].
    pub fn append_and_tell(&self, batch: &[NewRecord]) -> Result<Appended, OutboxError> {
        self.store
            .with(|store, inner| store.append(inner, batch, true))
    }

    /// Whether an earlier life of the agent has set something aside.
    pub(in crate::store) fn has_set_aside(&self) -> bool {
        rescue::path(&self.store.dir).exists()
    }

    /// Takes into the store what an earlier life of the agent has set aside.
    ///
    /// # Errors
    /// As [`Outbox::append`]; what was set aside stays then.
    pub(in crate::store) fn take_in(&self) -> Result<(), OutboxError> {
        let dir = &self.store.dir;
        let records = rescue::load(dir).unwrap_or_else(|error| {
            tracing::error!(%error, "what was set aside cannot be read");
            Vec::new()
        });
        for group in records.chunks(RESCUED_GROUP) {
            self.append(group)?;
        }
        if !records.is_empty() {
            tracing::info!(
                "{} events that were set aside are in the outbox",
                records.len()
            );
            if let Err(error) = rescue::forget(dir) {
                tracing::error!(%error, "what was set aside comes once more with the next start");
            }
        }
        Ok(())
    }

    /// Sets aside what cannot be written because the store does not work any more.
    ///
    /// # Errors
    /// When that cannot be written, either.
    pub(in crate::store) fn set_aside(&self, records: &[NewRecord]) -> std::io::Result<()> {
        rescue::save(&self.store.dir, records.iter())
    }

    /// Whether something was dropped that [`Outbox::append_and_tell`] has not told yet. Never waits.
    #[must_use]
    pub fn has_untold(&self) -> bool {
        self.store.untold.load(Ordering::Relaxed)
    }

    /// Why a store has been moved aside, if one has since this was asked last.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        let damage = self.store.damage.lock();
        damage.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The first `count` records after a sequence, in order.
    ///
    /// # Errors
    /// [`OutboxError::Unavailable`].
    pub fn peek(&self, after: u64, count: usize) -> Result<Vec<Record>, OutboxError> {
        let first = after.saturating_add(1).min(END).to_be_bytes();
        self.store.with_quietly(|inner| {
            let mut records = Vec::new();
            for item in inner.db()?.range(first..END.to_be_bytes()).take(count) {
                let (key, value) = item.map_err(|error| broken(&error))?;
                records.extend(sequence_of(&key).and_then(|it| record::decode(it, &value)));
            }
            Ok(records)
        })
    }

    /// Takes records out. Does not wait for the medium; what is not there any more is no error.
    ///
    /// # Errors
    /// [`OutboxError::Unavailable`]. The records may be there still.
    pub fn remove(&self, sequences: &[u64]) -> Result<(), OutboxError> {
        self.store.with(|store, inner| {
            for &sequence in sequences {
                let removed = inner.db()?.remove(sequence.to_be_bytes());
                let Some(value) = removed.map_err(|error| broken(&error))? else {
                    continue;
                };
                inner.contents.forget(sequence, &value);
                inner.removals += 1;
            }
            if inner.removals >= REMOVALS_PER_FLUSH || inner.contents.shelf.is_empty() {
                inner.removals = 0;
                inner.db()?.flush().map_err(|error| broken(&error))?;
                // What has been taken out is out, whether its room comes back or not.
                if let Err(error) = store.keep_small(inner) {
                    tracing::warn!("{error}");
                }
            }
            Ok(())
        })
    }

    /// How full it is. Never waits.
    #[must_use]
    pub fn status(&self) -> OutboxStatus {
        OutboxStatus {
            records: self.store.records.load(Ordering::Relaxed),
            bytes: self.store.bytes.load(Ordering::Relaxed),
            dropped: self.store.dropped.load(Ordering::Relaxed),
        }
    }

    /// Changes its value whenever records were stored or taken out.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.store.changes.subscribe()
    }

    /// Closes the store as an error does.
    #[cfg(test)]
    pub(crate) fn fail_for_test(&self) {
        self.store.lock().close();
    }

    /// Keeps everybody out until the sender that is returned is dropped, as a disk does that hangs.
    #[cfg(test)]
    pub(crate) fn hang_for_test(&self) -> std::sync::mpsc::Sender<()> {
        let (end, ended) = std::sync::mpsc::channel();
        let (begin, begun) = std::sync::mpsc::channel();
        let store = Arc::clone(&self.store);
        std::thread::spawn(move || {
            let held = store.lock();
            let _ = begin.send(());
            let _: Result<(), _> = ended.recv();
            drop(held);
        });
        begun.recv().expect("it is held");
        end
    }

    /// Counts records that were dropped before they came here.
    pub(crate) fn count_dropped(&self, count: u64) {
        self.store.dropped.fetch_add(count, Ordering::Relaxed);
    }
}
