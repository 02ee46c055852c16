//! What is known of the store without reading it, and the mark that tells an empty store from one
//! that has lost what was in it.

use edge_agent_core::retention::Shelf;

use super::record::Header;

/// Under this key stands the highest sequence that was given out. It lies above every record.
pub(super) const HIGHEST: &[u8] = b"~highest";

/// The end of the keys of records: sequences stay below.
pub(super) const END: u64 = 1 << 62;

/// What is known of the store without reading it.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) shelf: Shelf,
    pub(super) bytes: u64,
    pub(super) highest: u64,
}

impl Contents {
    /// Reads the whole store once, or marks a fresh one: sled opens some damaged files as if they
    /// were empty, and a store without its mark is one of these. What another version wrote is left
    /// where it is and never sent.
    pub(super) fn read(db: &sled::Db, fresh: Option<u64>) -> Result<Self, sled::Error> {
        if let Some(floor) = fresh {
            db.insert(HIGHEST, &floor.to_be_bytes())?;
            db.flush()?;
        }
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

/// The sequence of a key; `None` for a key that is none of a record.
pub(super) fn sequence_of(key: &[u8]) -> Option<u64> {
    let sequence = u64::from_be_bytes(key.try_into().ok()?);
    (sequence < END).then_some(sequence)
}
