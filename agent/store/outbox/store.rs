//! The store behind [`super::Outbox`]: one lock, sled, and what is known of its contents.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use edge_agent_core::state::Memory;
use edge_agent_core::topic::NodeName;
use tokio::sync::watch;

use super::contents::{Contents, DROPPED, HIGHEST, write_memory};
use super::dropped::{self, Dropped};
use super::record::{self, NewRecord};
use super::{Appended, OutboxError, opening, rewrite};
use crate::config;

/// What the store may take on the medium beyond twice the limit in bytes. sled writes its pages
/// again and again, and needs that for its own.
pub(super) const SLACK: u64 = 8 * 1024 * 1024;

/// So many times in a row a medium may give errors before what is on it counts as lost: with the
/// waits of the writer between them, some minutes.
const PATIENCE: u32 = 12;

#[derive(Debug)]
pub(super) struct Store {
    pub(super) dir: PathBuf,
    node: NodeName,
    limits: config::Outbox,
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// Something was dropped that has not been told yet.
    pub(super) untold: AtomicBool,
    pub(super) changes: watch::Sender<u64>,
    /// Why a store was moved aside, until somebody has asked.
    pub(super) damage: Mutex<Option<String>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    lock: Option<File>,
    /// `None` after an error: sled refuses everything once a write has failed, so the store is
    /// opened anew.
    pub(super) open: Option<(sled::Db, File)>,
    pub(super) contents: Contents,
    pub(super) removals: usize,
    /// How often in a row it could not be opened.
    failed_opens: u32,
    /// What is remembered is in memory alone, because the store that had it was damaged.
    memory_is_due: bool,
    /// The size on the medium after it was written anew last.
    rewritten: u64,
    /// The file system cannot exchange two directories.
    cannot_rewrite: bool,
}

impl Store {
    pub(super) fn new(dir: PathBuf, node: NodeName, limits: config::Outbox) -> Self {
        Self {
            dir,
            node,
            limits,
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            untold: AtomicBool::new(false),
            changes: watch::Sender::new(0),
            damage: Mutex::default(),
            inner: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of sled is caught before it can poison; if it did, the store is opened anew.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the store if it is not open.
    pub(super) fn ensure_open(&self, inner: &mut Inner) -> Result<(), OutboxError> {
        if inner.open.is_some() {
            return Ok(());
        }
        if inner.lock.is_none() {
            inner.lock = Some(opening::lock(&self.dir)?);
        }
        let patient = inner.failed_opens < PATIENCE;
        inner.failed_opens = inner.failed_opens.saturating_add(1);
        let opening = opening::open(&self.dir, patient, Contents::mark, Contents::read)?;
        inner.failed_opens = 0;
        let known = std::mem::replace(&mut inner.contents, opening.content);
        inner.contents.highest = inner.contents.highest.max(known.highest);
        if let Some(reason) = opening.damaged {
            tracing::error!("{reason}");
            *self.damage.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
            inner.contents.remembered = known.remembered;
            inner.memory_is_due = true;
        }
        inner.open = Some((opening.db, opening.data));
        self.publish(inner);
        Ok(())
    }

    /// Runs one operation that changes something; see [`Store::with_quietly`].
    pub(super) fn with<T>(
        &self,
        operation: impl FnOnce(&Self, &mut Inner) -> Result<T, OutboxError>,
    ) -> Result<T, OutboxError> {
        self.with_quietly(|inner| {
            let done = operation(self, inner)?;
            self.publish(inner);
            Ok(done)
        })
    }

    /// Runs one operation on the open store; after an error of it, or a panic inside of sled, it is
    /// closed, so that the next operation opens it anew.
    pub(super) fn with_quietly<T>(
        &self,
        operation: impl FnOnce(&mut Inner) -> Result<T, OutboxError>,
    ) -> Result<T, OutboxError> {
        let mut inner = self.lock();
        self.ensure_open(&mut inner)?;
        let result = catch_unwind(AssertUnwindSafe(|| operation(&mut inner)))
            .unwrap_or_else(|_| Err(OutboxError::Unavailable("sled panicked".to_owned())));
        if matches!(result, Err(OutboxError::Unavailable(_))) {
            inner.close();
        }
        result
    }

    /// See [`super::Outbox::append`].
    pub(super) fn append(
        &self,
        inner: &mut Inner,
        batch: &[NewRecord],
        tell: bool,
    ) -> Result<Appended, OutboxError> {
        let mut told: Vec<NewRecord> = Vec::new();
        if tell {
            let untold = inner.contents.untold.iter();
            told.extend(untold.map(|drop| NewRecord::event(drop.fact())));
        }
        let mut fresh = BTreeMap::new();
        let mut memories = Vec::new();
        let mut sequence = inner.contents.highest;
        for record in batch.iter().chain(&told) {
            if let NewRecord::Event { fact, .. } = record {
                memories.extend(Memory::of(fact));
            }
            let Some(value) = record::encode(record, sequence + 1, &self.node) else {
                let limit = record::MAX_RESULT;
                tracing::error!("a result above {limit} bytes cannot be stored and is left out");
                continue;
            };
            sequence += 1;
            fresh.insert(sequence, value);
        }
        self.check_space(fresh.values().map(Vec::len).sum())?;
        self.keep_small(inner)?;

        if tell {
            inner.contents.untold.clear();
        }
        let (mut batch, dropped) = self.make_room(inner, &mut fresh)?;
        dropped::merge(&mut inner.contents.untold, &dropped);
        if tell || !dropped.is_empty() {
            batch.insert(DROPPED, dropped::encode(&inner.contents.untold));
        }
        inner.contents.highest = sequence;
        inner.write(batch, &fresh, memories)?;
        let dropped = dropped::count(&dropped);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        Ok(Appended {
            stored: fresh.len(),
            last: sequence,
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

    /// Writes the store anew where it takes much more on the medium than its records need: sled's
    /// file never becomes smaller by itself.
    pub(super) fn keep_small(&self, inner: &mut Inner) -> Result<(), OutboxError> {
        let live = inner.contents.bytes;
        // Results may stand beyond the limit in bytes, and then the medium has to bear them.
        let limit = live.max(self.limits.max_bytes).saturating_mul(2) + SLACK;
        let size = inner.size_on_medium();
        let wasted = size > live.saturating_mul(4).saturating_add(2 * SLACK);
        // What was written anew and is large all the same does not become smaller by doing it again.
        let grown = size > inner.rewritten.saturating_add(inner.rewritten / 2);
        if (size <= limit && !wasted) || !grown || inner.cannot_rewrite {
            return Ok(());
        }
        match rewrite::rewrite(&self.dir, inner) {
            Ok(()) => {
                self.ensure_open(inner)?;
                inner.rewritten = inner.size_on_medium();
                Ok(())
            }
            Err(rewrite::Failure::Unsupported) => {
                inner.cannot_rewrite = true;
                self.ensure_open(inner)
            }
            Err(rewrite::Failure::Other(reason)) if size <= limit => {
                tracing::warn!("the outbox cannot be made smaller for the moment: {reason}");
                self.ensure_open(inner)
            }
            Err(rewrite::Failure::Other(reason)) => Err(OutboxError::TooLarge {
                size,
                limit,
                reason,
            }),
        }
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
        let mut dropped = Vec::new();
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
            dropped::merge(&mut dropped, &[Dropped::one(header.class, header.at)]);
        }
        Ok((batch, dropped))
    }

    fn is_over(&self, contents: &Contents) -> bool {
        contents.bytes > self.limits.max_bytes
            || contents.shelf.len() as u64 > self.limits.max_records
    }

    pub(super) fn publish(&self, inner: &Inner) {
        let records = inner.contents.shelf.len() as u64;
        self.records.store(records, Ordering::Relaxed);
        self.bytes.store(inner.contents.bytes, Ordering::Relaxed);
        let untold = !inner.contents.untold.is_empty();
        self.untold.store(untold, Ordering::Relaxed);
        self.changes.send_modify(|version| *version += 1);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    /// Closes the store. sled syncs then, and panics when it cannot; what had to be on the medium
    /// has been brought there before.
    pub(super) fn close(&mut self) {
        let open = self.open.take();
        if catch_unwind(AssertUnwindSafe(|| drop(open))).is_err() {
            tracing::warn!("sled panicked while it was closed");
        }
    }

    pub(super) fn db(&self) -> Result<&sled::Db, OutboxError> {
        let open = self.open.as_ref();
        open.map(|(db, _)| db)
            .ok_or_else(|| OutboxError::Unavailable("it is closed".to_owned()))
    }

    /// Bytes that sled's data file takes on the medium; 0 when nobody can tell.
    pub(super) fn size_on_medium(&self) -> u64 {
        let metadata = self
            .open
            .as_ref()
            .and_then(|(_, data)| data.metadata().ok());
        metadata.map_or(0, |metadata| metadata.blocks().saturating_mul(512))
    }

    fn write(
        &mut self,
        mut batch: sled::Batch,
        fresh: &BTreeMap<u64, Vec<u8>>,
        memories: Vec<Memory>,
    ) -> Result<(), OutboxError> {
        for (sequence, value) in fresh {
            batch.insert(&sequence.to_be_bytes(), value.as_slice());
        }
        batch.insert(HIGHEST, &self.contents.highest.to_be_bytes());
        for memory in memories {
            write_memory(&mut batch, &memory);
            self.contents.remembered.learn(memory);
        }
        if self.memory_is_due {
            for memory in self.contents.remembered.memories() {
                write_memory(&mut batch, &memory);
            }
        }
        let Some((db, data)) = &self.open else {
            return Err(OutboxError::Unavailable("it is closed".to_owned()));
        };
        db.apply_batch(batch).map_err(|error| broken(&error))?;
        db.flush().map_err(|error| broken(&error))?;
        data.sync_data()
            .map_err(|error| OutboxError::Unavailable(format!("sync: {error}")))?;
        self.removals = 0;
        self.memory_is_due = false;
        Ok(())
    }
}

pub(super) fn broken(error: &sled::Error) -> OutboxError {
    OutboxError::Unavailable(error.to_string())
}
