//! Writes the store anew, with nothing in it but what is alive, and puts it in the place of the old
//! one in a single step: whatever happens, one of the two is there, and complete.

use std::fs;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::opening::{self, FRESH, beside};
use super::store::Inner;

/// Items that are copied in one batch.
const BATCH: usize = 512;

/// Why it was not done. The old store is in its place.
pub(super) enum Failure {
    /// The file system cannot exchange two directories.
    Unsupported,
    Other(String),
}

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.to_string())
    }
}

/// Rewrites the store in `dir`. It is closed afterwards if the new one took its place.
pub(super) fn rewrite(dir: &Path, inner: &mut Inner) -> Result<(), Failure> {
    let fresh = beside(dir, FRESH);
    discard(&fresh)?;
    let copied = copy(inner, &fresh);
    if let Err(failure) = copied {
        // What was copied is of no use, and its room is needed.
        let _ = discard(&fresh);
        return Err(failure);
    }
    let before = inner.size_on_medium();
    // sled writes to the paths that it was opened with, so both are closed before they move.
    inner.close();
    match renameat_with(CWD, dir, CWD, &fresh, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            let _ = discard(&fresh);
            return Err(Failure::Unsupported);
        }
        Err(error) => return Err(error.into()),
    }
    opening::sync_parent(dir)?;
    tracing::debug!(before, "the outbox has been written anew");
    // If it stays, the next opening takes it away.
    let _ = discard(&fresh);
    Ok(())
}

/// Takes away what a rewrite has left.
pub(super) fn discard(fresh: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy(inner: &Inner, to: &Path) -> Result<(), Failure> {
    let old = inner.db()?;
    let new = opening::settings(to).open()?;
    let mut batch = sled::Batch::default();
    let mut waiting = 0;
    for item in old.iter() {
        let (key, value) = item?;
        batch.insert(key, value);
        waiting += 1;
        if waiting == BATCH {
            new.apply_batch(std::mem::take(&mut batch))?;
            waiting = 0;
        }
    }
    new.apply_batch(batch)?;
    new.flush()?;
    if new.len() != old.len() {
        return Err(Failure::Other("the copy is not complete".to_owned()));
    }
    drop(new);
    // Closing may write once more; all of it must be there before the old store goes.
    opening::sync_all_of(to)?;
    Ok(())
}
