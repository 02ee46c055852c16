//! Opening the store of the outbox: under a lock of our own, with an account of attempts that did
//! not come back, and with what cannot be read moved aside.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{OutboxError, rewrite};

/// Attempts that may end without a result before the store counts as damaged. Power that goes, or a
/// kill, in the middle of opening says little of the store, and may well happen twice in a row.
const UNFINISHED_ATTEMPTS: usize = 5;

/// What an attempt counts for more when it was the deadline that ended it: that does say something,
/// so that two of them are enough.
const HUNG: usize = 2;

/// How often it is tried where it is unclear whether the content or the medium is at fault.
const ATTEMPTS: usize = 3;

/// The time between two of these.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

/// Beside the store, under this suffix, is made what is to take its place.
pub(super) const FRESH: &str = "fresh";

/// Bytes that sled may keep of its pages in memory; its own default is a gibibyte. What is stored is read
/// once, soon after: draining with 8 MiB was not faster.
const CACHE: u64 = 1024 * 1024;

/// How often sled's own lock is tried, and the wait in between. Other processes are kept out by ours,
/// so whoever has it is a thread of a store that this process has just closed.
const LOCK_TRIES: (usize, Duration) = (200, Duration::from_millis(10));

/// A store that is open.
pub(super) struct Opening<T> {
    /// What [`open`] was asked to read out of it.
    pub(super) content: T,
    pub(super) db: sled::Db,
    /// The file that must reach the medium before a record counts as stored.
    pub(super) data: File,
    /// Why what was there before has been moved aside, and where to.
    pub(super) damaged: Option<String>,
}

/// Takes the lock that keeps a second process out.
///
/// # Errors
/// [`OutboxError::Locked`] when another process has it, [`OutboxError::Unavailable`] when the
/// directory cannot be written.
pub(super) fn lock(dir: &Path) -> Result<File, OutboxError> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).map_err(|error| unavailable(parent, &error))?;
    }
    let path = beside(dir, "lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| unavailable(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutboxError::Locked(path)),
        Err(TryLockError::Error(error)) => Err(unavailable(&path, &error)),
    }
}

/// Takes note that opening the store has been given up because it took too long.
pub(super) fn note_hung(dir: &Path) {
    let marker = beside(dir, "opening");
    let more = fs::File::options().append(true).open(marker);
    // Where it cannot be written, nothing was being opened either.
    let _ = more.and_then(|mut marker| marker.write_all(&[b'.'; HUNG]));
}

/// Opens the store and reads it with `read`. Where there is none, one is made by `mark`, which gets
/// the sequence to start above. What is damaged is moved aside, and a fresh store takes its place.
/// Blocks, and may do so for long on a damaged store. While the caller is `patient`, a medium that
/// gives errors is one that may come back; after that its content counts as lost.
///
/// # Errors
/// [`OutboxError::Unavailable`] when the disk is full, read-only or not ours: nothing is moved then.
pub(super) fn open<T>(
    dir: &Path,
    patient: bool,
    mark: impl Fn(&sled::Db, u64) -> Result<(), sled::Error>,
    read: impl Fn(&sled::Db) -> Result<T, sled::Error>,
) -> Result<Opening<T>, OutboxError> {
    // What was not finished; if it does not go, it is in nobody's way.
    let _ = rewrite::discard(&beside(dir, FRESH));
    let marker = beside(dir, "opening");
    let unfinished = fs::read(&marker).map_or(0, |bytes| bytes.len());
    let mut damaged = None;
    if unfinished >= UNFINISHED_ATTEMPTS && dir.exists() {
        let reason = format!("opening it did not come to an end {unfinished} times");
        damaged = Some(move_aside(dir, &reason)?);
        fs::write(&marker, b".").map_err(|error| unavailable(&marker, &error))?;
    } else {
        // One byte an attempt: short enough to be there or not, whatever the power does.
        fs::write(&marker, vec![b'.'; unfinished.min(UNFINISHED_ATTEMPTS) + 1])
            .map_err(|error| unavailable(&marker, &error))?;
    }
    // Milliseconds of the clock lie above every sequence that the damaged store gave out.
    let floor = if damaged.is_some() { clock(&marker) } else { 0 };
    let mut result = open_once(dir, floor, &mark, &read);
    for _ in 1..ATTEMPTS {
        if !matches!(result, Err(Failure::Unclear(_) | Failure::Medium(_))) {
            break;
        }
        std::thread::sleep(BETWEEN_ATTEMPTS);
        result = open_once(dir, floor, &mark, &read);
    }
    let result = match result {
        Err(Failure::Medium(reason)) if patient => Err(Failure::Unavailable(reason)),
        Err(Failure::Medium(reason)) => Err(Failure::Damaged(reason)),
        other => other,
    };
    let result = match result {
        Err(Failure::Damaged(reason) | Failure::Unclear(reason)) if damaged.is_none() => {
            damaged = Some(move_aside(dir, &reason)?);
            open_once(dir, clock(&marker), &mark, &read)
        }
        other => other,
    };
    // However it ended, it did end. Where files cannot be removed an empty one says the same; where
    // they cannot be written either, the attempt was not counted in the first place.
    if fs::remove_file(&marker).is_err() {
        let _ = fs::write(&marker, b"");
    }
    match result {
        Ok((db, data, content)) => Ok(Opening {
            content,
            db,
            data,
            damaged,
        }),
        Err(
            Failure::Damaged(why)
            | Failure::Unclear(why)
            | Failure::Medium(why)
            | Failure::Unavailable(why),
        ) => Err(OutboxError::Unavailable(why)),
    }
}

/// How sled is to open a store.
pub(super) fn settings(dir: &Path) -> sled::Config {
    sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE)
        .flush_every_ms(None)
}

enum Failure {
    /// What is in the files makes no sense.
    Damaged(String),
    /// Either of the two: a medium that fails for a moment looks like one that has lost its content.
    Unclear(String),
    /// The medium gives errors.
    Medium(String),
    /// The files cannot be used at the moment, whatever is in them.
    Unavailable(String),
}

fn open_once<T>(
    dir: &Path,
    floor: u64,
    mark: impl Fn(&sled::Db, u64) -> Result<(), sled::Error>,
    read: impl Fn(&sled::Db) -> Result<T, sled::Error>,
) -> Result<(sled::Db, File, T), Failure> {
    let outside = |error: &io::Error| Failure::Unavailable(format!("{}: {error}", dir.display()));
    if !dir.exists() {
        // It takes its place when it is complete, so that a store without its mark is a damaged one
        // and not one whose making the power has cut short.
        let fresh = beside(dir, FRESH);
        rewrite::discard(&fresh).map_err(|error| outside(&error))?;
        attempt(dir, || mark(&open_unlocked(&fresh)?, floor))?;
        put_in_place(&fresh, dir).map_err(|error| outside(&error))?;
    }
    if !dir.is_dir() {
        return Err(Failure::Damaged("it is not a directory".to_owned()));
    }
    remove_unfinished_snapshots(dir).map_err(|error| outside(&error))?;
    let (db, content) = attempt(dir, || {
        let db = open_unlocked(dir)?;
        let content = read(&db)?;
        Ok((db, content))
    })?;
    let data = File::open(dir.join("db")).map_err(|error| outside(&error))?;
    Ok((db, data, content))
}

/// Opens a store as soon as sled's own lock on it is free.
fn open_unlocked(dir: &Path) -> Result<sled::Db, sled::Error> {
    let config = settings(dir);
    let (tries, wait) = LOCK_TRIES;
    for _ in 1..tries {
        match config.open() {
            Err(error) if is_lock(&error) => std::thread::sleep(wait),
            other => return other,
        }
    }
    config.open()
}

/// Whether an error is about sled's own lock, for which it has no kind.
fn is_lock(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("acquire lock"))
}

/// sled takes a snapshot that it has not finished for its newest one, and then the store for damaged.
/// The one before is still there, and the log has what came after it.
fn remove_unfinished_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Calls what may fail, or panic, inside of sled.
fn attempt<T>(dir: &Path, call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(sled::Error::Io(error))) if is(&error, rustix::io::Errno::IO) => {
            Err(Failure::Medium(error.to_string()))
        }
        Ok(Err(error)) if is_damage(&error) => Err(Failure::Damaged(sentence(&error))),
        Ok(Err(error)) => {
            let reason = format!("{}: {error}", dir.display());
            Err(Failure::Unavailable(reason))
        }
        Err(_) => Err(Failure::Unclear("sled panicked".to_owned())),
    }
}

fn put_in_place(fresh: &Path, dir: &Path) -> io::Result<()> {
    sync_all_of(fresh)?;
    fs::rename(fresh, dir)?;
    sync_parent(dir)
}

/// Brings everything of a closed store to the medium: its files, and that they are there.
pub(super) fn sync_all_of(store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(store)?.sync_all()
}

/// Brings to the medium what was renamed beside the store.
pub(super) fn sync_parent(store: &Path) -> io::Result<()> {
    match store.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// Whether an error tells of the content, and not of the disk around it.
fn is_damage(error: &sled::Error) -> bool {
    match error {
        sled::Error::Io(error) if is(error, rustix::io::Errno::ISDIR) => true,
        // Made by sled itself: it read less or other than it expected, unless it is about the lock,
        // which a thread of a store that was just closed may still hold.
        sled::Error::Io(io) => io.raw_os_error().is_none() && !is_lock(error),
        _ => true,
    }
}

fn is(error: &io::Error, errno: rustix::io::Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// What is wrong, without sled's request to report it.
fn sentence(error: &sled::Error) -> String {
    match error {
        sled::Error::ReportableBug(what) => what.clone(),
        sled::Error::Corruption { .. } => "its checksums do not hold".to_owned(),
        other => other.to_string(),
    }
}

/// Renames the store to `<dir>.damaged-1`, the one that was there to `<dir>.damaged-2`, and forgets
/// what was there. Returns the sentence for people.
fn move_aside(dir: &Path, reason: &str) -> Result<String, OutboxError> {
    let (first, second) = (beside(dir, "damaged-1"), beside(dir, "damaged-2"));
    if first.exists() {
        if second.exists() {
            remove(&second).map_err(|error| unavailable(&second, &error))?;
        }
        fs::rename(&first, &second).map_err(|error| unavailable(&first, &error))?;
    }
    fs::rename(dir, &first).map_err(|error| unavailable(dir, &error))?;
    Ok(format!(
        "the outbox could not be read ({reason}): it is kept in {}, and an empty one is in use",
        first.display()
    ))
}

/// Removes a directory, or the file that stood where one belongs.
fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// The time of the file system, as the marker that was just written has it.
fn clock(marker: &Path) -> u64 {
    fs::metadata(marker)
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// `<dir>.<suffix>`.
pub(super) fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = dir.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn unavailable(path: &Path, error: &io::Error) -> OutboxError {
    OutboxError::Unavailable(format!("{}: {error}", path.display()))
}
