//! The file of the ledger: two slots, written alternately and synced, so that a power cut at any
//! moment leaves the older one whole.
//!
//! ```text
//! file   = slot slot                      each 64 KiB
//! slot   = magic version generation length checksum record
//!          4     4       8          4      4        length bytes, the rest is not read
//! ```
//!
//! Numbers are little-endian; the checksum is CRC-32 over everything before it and the record. A
//! slot of length 0 is one of a ledger that has never been written. A slot has room for any record
//! that the core makes (60 KiB at most), which is why it is larger than a disk block.
//!
//! The file comes into being whole, by a rename, with such an empty slot: so there is no half-made
//! ledger, and a file without any good slot was damaged. Commands are then refused until somebody
//! has looked after it, because a replay could not be told apart.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use edge_agent_core::command::admission::{LedgerRecord, MAX_RECORD_BYTES};

/// The name of the file in the state directory.
pub const FILE_NAME: &str = "ledger";

const SLOT_BYTES: usize = 64 * 1024;
const SLOTS: usize = 2;
const MAGIC: [u8; 4] = *b"EALG";
const VERSION: u32 = 1;
const CHECKED_HEAD_BYTES: usize = 20;
const HEAD_BYTES: usize = CHECKED_HEAD_BYTES + 4;
const _: () = assert!(HEAD_BYTES + MAX_RECORD_BYTES <= SLOT_BYTES);

/// Why the ledger cannot be used. Commands are refused with `ledger_unavailable`; everything else
/// goes on.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No slot of the file is whole.
    #[error(
        "{} is damaged: commands are refused, because a repeated one could not be told apart. \
         Check the storage; then, once every command that was ever sent has expired (a day, unless \
         `max_ttl_seconds` says otherwise), delete the file and restart", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The newest slot is whole, and this program cannot read what is in it.
    #[error(
        "{} was written by another version of edge-agent ({reason}): run that version, or delete \
         the file once every command that was ever sent has expired", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What cannot be read.
        reason: String,
    },
    /// Another process has the file.
    #[error("{} is in use: another edge-agent runs with the same state directory", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The core promises that this does not happen.
    #[error("a ledger of {bytes} bytes does not fit its slot")]
    TooLarge {
        /// Size of the record.
        bytes: usize,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The open file of a ledger, locked for this process.
#[derive(Debug)]
pub struct LedgerFile {
    file: File,
    path: PathBuf,
    /// The highest generation that may be on the medium.
    generation: u64,
    /// The slot that holds the newest record known to be whole; the other one is written next.
    newest: usize,
}

impl LedgerFile {
    /// Opens the ledger of a state directory, or makes it. `None`: it has never been written, so
    /// this node has never accepted a command. Blocks for the time of a few disk writes.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn open(state_directory: &Path) -> Result<(Self, Option<LedgerRecord>), LedgerError> {
        let path = state_directory.join(FILE_NAME);
        let file = match open_existing(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(state_directory, &path)?;
                open_existing(&path)
            }
            other => other,
        }
        .map_err(|source| fault("open", &path, source))?;
        lock(&file, &path)?;

        let slots = read_slots(&file).map_err(|source| fault("read", &path, source))?;
        let newest = slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
            .max_by_key(|(_, slot)| slot.generation);
        let Some((newest, slot)) = newest else {
            return Err(LedgerError::Damaged { path });
        };
        let record = match slot.record.as_slice() {
            [] => None,
            bytes => {
                Some(
                    LedgerRecord::from_bytes(bytes).map_err(|error| LedgerError::Foreign {
                        path: path.clone(),
                        reason: error.to_string(),
                    })?,
                )
            }
        };
        let ledger = Self {
            file,
            generation: slot.generation,
            newest,
            path,
        };
        Ok((ledger, record))
    }

    /// Writes a record over the older slot and waits until it is on the medium. Blocks: call it
    /// where that is allowed.
    ///
    /// After an error the record that was written before still stands, and the next write tries
    /// the same slot again.
    ///
    /// # Errors
    /// [`LedgerError::Io`] when the file system refuses.
    pub fn write(&mut self, record: &LedgerRecord) -> Result<(), LedgerError> {
        let bytes = record.to_bytes();
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(LedgerError::TooLarge { bytes: bytes.len() });
        }
        // A failed write may have reached the medium all the same, so its number is not used again.
        self.generation += 1;
        let slot = (self.newest + 1) % SLOTS;
        self.file
            .write_all_at(&encode(self.generation, &bytes), offset(slot))
            .and_then(|()| self.file.sync_data())
            .map_err(|source| fault("write", &self.path, source))?;
        self.newest = slot;
        Ok(())
    }
}

struct Slot {
    generation: u64,
    record: Vec<u8>,
}

fn offset(slot: usize) -> u64 {
    (slot * SLOT_BYTES) as u64
}

fn fault(action: &'static str, path: &Path, source: io::Error) -> LedgerError {
    LedgerError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn open_existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Two processes that write alternately would each overwrite what the other relies on.
fn lock(file: &File, path: &Path) -> Result<(), LedgerError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(fault("lock", path, source)),
    }
}

/// Makes the file whole under another name first. All its blocks are written, so that there is
/// room for commands even when the disk is full later.
fn create(state_directory: &Path, path: &Path) -> Result<(), LedgerError> {
    let temporary = state_directory.join("ledger.new");
    let mut bytes = encode(0, &[]);
    bytes.resize(SLOTS * SLOT_BYTES, 0);
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|file| {
            file.write_all_at(&bytes, 0)?;
            file.sync_all()
        });
    made.map_err(|source| fault("create", &temporary, source))?;
    std::fs::rename(&temporary, path).map_err(|source| fault("create", path, source))?;
    sync_directory(state_directory).map_err(|source| fault("sync", state_directory, source))
}

/// Makes sure that a file that was made or renamed in a directory is still there after a power cut.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn encode(generation: u64, record: &[u8]) -> Vec<u8> {
    // The length is at most 60 KiB.
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    let mut slot = Vec::with_capacity(HEAD_BYTES + record.len());
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&VERSION.to_le_bytes());
    slot.extend_from_slice(&generation.to_le_bytes());
    slot.extend_from_slice(&length.to_le_bytes());
    let checksum = checksum(&slot, record);
    slot.extend_from_slice(&checksum.to_le_bytes());
    slot.extend_from_slice(record);
    slot
}

fn checksum(head: &[u8], record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(record);
    hasher.finalize()
}

/// `None` for everything that is not a whole slot.
/// Reads one slot of a file: its generation and its record, if it is whole. For those who look into
/// a ledger, or for what a damaged medium may give back.
#[must_use]
pub fn read_slot(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    decode(bytes).map(|slot| (slot.generation, slot.record))
}

fn decode(bytes: &[u8]) -> Option<Slot> {
    let (head, rest) = bytes.split_at_checked(CHECKED_HEAD_BYTES)?;
    let (magic, numbers) = head.split_first_chunk::<4>()?;
    let (version, numbers) = numbers.split_first_chunk::<4>()?;
    let (generation, numbers) = numbers.split_first_chunk::<8>()?;
    let length = u32::from_le_bytes(numbers.try_into().ok()?);
    let (expected, rest) = rest.split_first_chunk::<4>()?;
    let record = rest.get(..usize::try_from(length).ok()?)?;
    let whole = *magic == MAGIC
        && u32::from_le_bytes(*version) == VERSION
        && u32::from_le_bytes(*expected) == checksum(head, record);
    whole.then(|| Slot {
        generation: u64::from_le_bytes(*generation),
        record: record.to_vec(),
    })
}

/// What is missing at the end of a file that was cut off reads as nothing.
fn read_slots(file: &File) -> io::Result<[Option<Slot>; SLOTS]> {
    let mut slots = [None, None];
    for (index, slot) in slots.iter_mut().enumerate() {
        let mut bytes = vec![0; SLOT_BYTES];
        let mut filled = 0;
        while filled < SLOT_BYTES {
            match file.read_at(&mut bytes[filled..], offset(index) + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        *slot = decode(&bytes[..filled]);
    }
    Ok(slots)
}

#[cfg(test)]
mod tests;
