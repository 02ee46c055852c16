//! What is known of the store without reading it, and the few keys in it that are not records.

use edge_agent_core::application::DeployState;
use edge_agent_core::retention::Shelf;
use edge_agent_core::state::{Memory, Remembered};
use edge_agent_core::wire;

use super::Dropped;
use super::dropped;
use super::record::Header;

/// Under this key stands the highest sequence that was given out. It lies above every record.
pub(super) const HIGHEST: &[u8] = b"~highest";

/// Under this key stands what was dropped and has not been told yet.
pub(super) const DROPPED: &[u8] = b"~dropped";

/// Under this key stands the node's status that was told last.
const HEALTH: &[u8] = b"~health";

/// Keys with the last told state of an application begin with this.
const APPLICATION: &[u8] = b"~app/";

/// The end of the keys of records: sequences stay below.
pub(super) const END: u64 = 1 << 62;

/// What is known of the store without reading it.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) shelf: Shelf,
    /// Bytes of the records.
    pub(super) bytes: u64,
    pub(super) highest: u64,
    pub(super) remembered: Remembered,
    /// What was dropped and has not been told yet.
    pub(super) untold: Vec<Dropped>,
}

impl Contents {
    /// Marks a fresh store: sled opens some damaged files as if they were empty, and a store without
    /// its mark is one of these. Sequences start above `floor`.
    pub(super) fn mark(db: &sled::Db, floor: u64) -> Result<(), sled::Error> {
        db.insert(HIGHEST, &floor.to_be_bytes())?;
        db.flush()?;
        Ok(())
    }

    /// Reads the whole store once. What another version wrote is left where it is and never sent.
    pub(super) fn read(db: &sled::Db) -> Result<Self, sled::Error> {
        let mut contents = Self::default();
        let mut marked = false;
        for item in db.iter() {
            let (key, value) = item?;
            if let Some(sequence) = sequence_of(&key) {
                contents.learn(sequence, &value);
            } else if key == HIGHEST
                && let Ok(bytes) = value.as_ref().try_into()
            {
                contents.highest = contents.highest.max(u64::from_be_bytes(bytes));
                marked = true;
            } else if key == DROPPED {
                contents.untold = dropped::decode(&value);
            } else if let Some(memory) = read_memory(&key, &value) {
                contents.remembered.learn(memory);
            }
        }
        if !marked {
            let reason = "what was in it is gone".to_owned();
            return Err(sled::Error::ReportableBug(reason));
        }
        Ok(contents)
    }

    pub(super) fn learn(&mut self, sequence: u64, value: &[u8]) {
        if let Some(header) = Header::read(value) {
            self.shelf.insert(header.entry(sequence));
            self.bytes += value.len() as u64;
        }
        self.highest = self.highest.max(sequence);
    }

    pub(super) fn forget(&mut self, sequence: u64, value: &[u8]) -> Option<Header> {
        let header = Header::read(value)?;
        self.shelf.remove(header.entry(sequence));
        self.bytes = self.bytes.saturating_sub(value.len() as u64);
        Some(header)
    }
}

pub(super) fn sequence_of(key: &[u8]) -> Option<u64> {
    let sequence = u64::from_be_bytes(key.try_into().ok()?);
    (sequence < END).then_some(sequence)
}

/// Puts a memory into a batch.
pub(super) fn write_memory(batch: &mut sled::Batch, memory: &Memory) {
    match memory {
        Memory::Health(status) => {
            if let Ok(value) = serde_json::to_vec(status) {
                batch.insert(HEALTH, value);
            }
        }
        Memory::Application(name, told) => {
            let key = [APPLICATION, name.as_bytes()].concat();
            match told {
                None => batch.remove(key),
                Some(told) => {
                    if let Ok(value) = serde_json::to_vec(told) {
                        batch.insert(key, value);
                    }
                }
            }
        }
    }
}

/// A memory that cannot be read costs an event that is told once more.
fn read_memory(key: &[u8], value: &[u8]) -> Option<Memory> {
    if key == HEALTH {
        let status: wire::Status = serde_json::from_slice(value).ok()?;
        return Some(Memory::Health(status));
    }
    let name = std::str::from_utf8(key.strip_prefix(APPLICATION)?).ok()?;
    let told: (DeployState, Option<String>) = serde_json::from_slice(value).ok()?;
    Some(Memory::Application(name.to_owned(), Some(told)))
}
