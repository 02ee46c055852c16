//! The outbox: what the broker has not acknowledged yet, on the medium, in order.
//!
//! [`Outbox::append`] returns when its records would survive the power going. sled's own flush does
//! not promise that on Linux (it starts the writing and does not wait for the medium), so every
//! append ends with an `fdatasync` of sled's data file. [`Outbox::remove`] does not wait: after a
//! crash a record is sent again, and consumers drop it by its id.
//!
//! Everything here blocks for as long as the medium takes; [`writer`] and the publisher call it
//! through `spawn_blocking`.

mod contents;
mod opening;
mod outcome;
pub mod record;
#[cfg(test)]
mod tests;
pub mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use edge_agent_core::event::OutboxStatus;
use edge_agent_core::retention::Class;
use edge_agent_core::topic::NodeName;
use tokio::sync::{oneshot, watch};

use crate::config;
use contents::{Contents, END, HIGHEST, sequence_of};
use outcome::count_drop;
pub use outcome::{Appended, Dropped, OutboxError};
use record::{NewRecord, Record};

/// Removals after which they are handed to the kernel, so that a crash does not repeat more.
const REMOVALS_PER_FLUSH: usize = 256;

/// An outbox, and what there is to be told of its opening.
#[derive(Debug)]
pub struct Opened {
    pub outbox: Outbox,
    /// What was there before was unreadable and has been moved aside: why, and where to.
    pub damaged: Option<String>,
    /// The disk did not let us: why. The outbox is there all the same and tries again with every
    /// call, so that the agent runs on a full or read-only disk.
    pub unavailable: Option<String>,
}

/// The outbox. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    node: NodeName,
    limits: config::Outbox,
    records: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    changes: watch::Sender<u64>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lock: Option<File>,
    /// `None` after an error: sled refuses everything once a write has failed, so the store is
    /// opened anew.
    store: Option<(sled::Db, File)>,
    contents: Contents,
    removals: usize,
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
        let outbox = Self {
            shared: Arc::new(Shared {
                dir: dir.to_owned(),
                node: node.clone(),
                limits: limits.clone(),
                records: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
                changes: watch::Sender::new(0),
                inner: Mutex::default(),
            }),
        };
        let opened = outbox.shared.ensure_open(&mut outbox.shared.lock());
        let (damaged, unavailable) = match opened {
            Ok(damaged) => (damaged, None),
            Err(locked @ OutboxError::Locked(_)) => return Err(locked),
            Err(error) => (None, Some(error.to_string())),
        };
        Ok(Opened {
            outbox,
            damaged,
            unavailable,
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
            Err(_) => Err(OutboxError::Hung {
                path: dir.to_owned(),
                seconds: limit.as_secs(),
            }),
        }
    }

    /// Stores a batch: one write and one sync, all or nothing. When this returns the records are on
    /// the medium. The oldest of the least class make room where a limit is passed; see
    /// [`Class`] for the order. A result that is larger than [`record::MAX_RESULT`] is left out.
    ///
    /// # Errors
    /// [`OutboxError::NoSpace`] and [`OutboxError::Unavailable`]. Whether the records are stored is
    /// not known then; to append the same ones again is safe, as they keep their ids.
    pub fn append(&self, batch: &[NewRecord]) -> Result<Appended, OutboxError> {
        let shared = &self.shared;
        let mut inner = shared.lock();
        shared.ensure_open(&mut inner)?;
        let appended = shared.guard(&mut inner, |inner| shared.append(inner, batch))?;
        let dropped: u64 = appended.dropped.iter().map(|drop| drop.count).sum();
        shared.dropped.fetch_add(dropped, Ordering::Relaxed);
        shared.publish(&inner);
        Ok(appended)
    }

    /// The first `count` records after a sequence, in order.
    ///
    /// # Errors
    /// [`OutboxError::Unavailable`].
    pub fn peek(&self, after: u64, count: usize) -> Result<Vec<Record>, OutboxError> {
        let mut inner = self.shared.lock();
        self.shared.ensure_open(&mut inner)?;
        self.shared.guard(&mut inner, |inner| {
            let first = after.saturating_add(1).min(END).to_be_bytes();
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
        let mut inner = self.shared.lock();
        self.shared.ensure_open(&mut inner)?;
        self.shared.guard(&mut inner, |inner| {
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
            }
            Ok(())
        })?;
        self.shared.publish(&inner);
        Ok(())
    }

    /// How full it is. Never waits.
    #[must_use]
    pub fn status(&self) -> OutboxStatus {
        OutboxStatus {
            records: self.shared.records.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
        }
    }

    /// Changes its value whenever records were stored or taken out.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Closes the store as an error does.
    #[cfg(test)]
    pub(crate) fn fail_for_test(&self) {
        self.shared.lock().store = None;
    }

    /// Counts records that were dropped before they came here.
    pub(crate) fn count_dropped(&self, count: u64) {
        self.shared.dropped.fetch_add(count, Ordering::Relaxed);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of sled is caught before it can poison; if it did, the store is opened anew.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the store if it is not open; returns why something was moved aside, if it was.
    fn ensure_open(&self, inner: &mut Inner) -> Result<Option<String>, OutboxError> {
        if inner.store.is_some() {
            return Ok(None);
        }
        if inner.lock.is_none() {
            inner.lock = Some(opening::lock(&self.dir)?);
        }
        let opening = opening::open(&self.dir, Contents::read)?;
        if let Some(reason) = &opening.damaged {
            tracing::error!("{reason}");
        }
        let known = inner.contents.highest;
        inner.contents = opening.content;
        inner.contents.highest = inner.contents.highest.max(known);
        inner.store = Some((opening.db, opening.data));
        self.publish(inner);
        Ok(opening.damaged)
    }

    /// Runs one operation; after an error of the store, or a panic inside of sled, the store is
    /// closed, so that the next operation opens it anew.
    fn guard<T>(
        &self,
        inner: &mut Inner,
        operation: impl FnOnce(&mut Inner) -> Result<T, OutboxError>,
    ) -> Result<T, OutboxError> {
        let result = catch_unwind(AssertUnwindSafe(|| operation(inner)))
            .unwrap_or_else(|_| Err(OutboxError::Unavailable("sled panicked".to_owned())));
        if matches!(result, Err(OutboxError::Unavailable(_))) {
            inner.store = None;
        }
        result
    }

    fn append(&self, inner: &mut Inner, batch: &[NewRecord]) -> Result<Appended, OutboxError> {
        let mut fresh = BTreeMap::new();
        let mut sequence = inner.contents.highest;
        for record in batch {
            let Some(value) = record::encode(record, sequence + 1, &self.node) else {
                let limit = record::MAX_RESULT;
                tracing::error!("a result above {limit} bytes cannot be stored and is left out");
                continue;
            };
            sequence += 1;
            fresh.insert(sequence, value);
        }
        self.check_space(fresh.values().map(Vec::len).sum())?;

        let (batch, dropped) = self.make_room(inner, &mut fresh)?;
        inner.contents.highest = sequence;
        inner.write(batch, &fresh)?;
        Ok(Appended {
            stored: fresh.len(),
            dropped,
        })
    }

    fn check_space(&self, needed: usize) -> Result<(), OutboxError> {
        let reserve = self.limits.reserve_bytes;
        // A file system that does not tell is not held against the records.
        let Ok(disk) = rustix::fs::statvfs(&self.dir) else {
            return Ok(());
        };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed = u64::try_from(needed).unwrap_or(u64::MAX);
        if free < reserve.saturating_add(needed) {
            return Err(OutboxError::NoSpace { free, reserve });
        }
        Ok(())
    }

    /// Takes `fresh` on the shelf and drops until the limits hold. What is dropped of `fresh` is
    /// never written; for the rest the removals are in the batch that is returned.
    fn make_room(
        &self,
        inner: &mut Inner,
        fresh: &mut BTreeMap<u64, Vec<u8>>,
    ) -> Result<(sled::Batch, Vec<Dropped>), OutboxError> {
        for (&sequence, value) in &*fresh {
            inner.contents.learn(sequence, value);
        }
        let mut batch = sled::Batch::default();
        let mut dropped: BTreeMap<Class, Dropped> = BTreeMap::new();
        while self.is_over(&inner.contents) {
            let Some(sequence) = inner.contents.shelf.first_to_drop() else {
                break;
            };
            let header = match fresh.remove(&sequence) {
                Some(value) => inner.contents.forget(sequence, &value),
                None => {
                    let value = inner.db()?.get(sequence.to_be_bytes());
                    let value = value.map_err(|error| broken(&error))?;
                    batch.remove(&sequence.to_be_bytes());
                    value.and_then(|value| inner.contents.forget(sequence, &value))
                }
            };
            let Some(header) = header else {
                let what = format!("record {sequence} has gone from the store");
                return Err(OutboxError::Unavailable(what));
            };
            count_drop(&mut dropped, &header);
        }
        Ok((batch, dropped.into_values().collect()))
    }

    fn is_over(&self, contents: &Contents) -> bool {
        contents.bytes > self.limits.max_bytes
            || contents.shelf.len() as u64 > self.limits.max_records
    }

    fn publish(&self, inner: &Inner) {
        let records = inner.contents.shelf.len() as u64;
        self.records.store(records, Ordering::Relaxed);
        self.bytes.store(inner.contents.bytes, Ordering::Relaxed);
        self.changes.send_modify(|version| *version += 1);
    }
}

impl Inner {
    fn db(&self) -> Result<&sled::Db, OutboxError> {
        let store = self.store.as_ref();
        store
            .map(|(db, _)| db)
            .ok_or_else(|| OutboxError::Unavailable("it is closed".to_owned()))
    }

    fn write(
        &mut self,
        mut batch: sled::Batch,
        fresh: &BTreeMap<u64, Vec<u8>>,
    ) -> Result<(), OutboxError> {
        for (sequence, value) in fresh {
            batch.insert(&sequence.to_be_bytes(), value.as_slice());
        }
        batch.insert(HIGHEST, &self.contents.highest.to_be_bytes());
        let Some((db, data)) = &self.store else {
            return Err(OutboxError::Unavailable("it is closed".to_owned()));
        };
        db.apply_batch(batch).map_err(|error| broken(&error))?;
        db.flush().map_err(|error| broken(&error))?;
        data.sync_data()
            .map_err(|error| OutboxError::Unavailable(format!("sync: {error}")))?;
        self.removals = 0;
        Ok(())
    }
}

fn broken(error: &sled::Error) -> OutboxError {
    OutboxError::Unavailable(error.to_string())
}
