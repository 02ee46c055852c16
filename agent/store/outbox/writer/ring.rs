//! Records that wait in memory for the disk, within bounds.

use std::collections::VecDeque;

use edge_agent_core::retention::{Class, Entry, Shelf};

use super::super::dropped::{Dropped, merge};
use super::super::record::NewRecord;

/// The most records that wait.
const MAX_RECORDS: usize = 1024;

/// The most bytes that they may take, about.
const MAX_BYTES: usize = 1024 * 1024;

/// First in, first out; where it is full the oldest of the least class goes, a result the last of
/// all.
#[derive(Debug, Default)]
pub(super) struct Ring {
    records: VecDeque<(usize, NewRecord)>,
    bytes: usize,
}

impl Ring {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Puts a record at the end; returns what had to go for it.
    pub(super) fn push(&mut self, record: NewRecord) -> Vec<Dropped> {
        let size = size(&record);
        self.bytes += size;
        self.records.push_back((size, record));
        self.make_room()
    }

    /// Puts back, in front of all others, what [`Ring::take`] gave out.
    pub(super) fn put_back(&mut self, records: Vec<NewRecord>) -> Vec<Dropped> {
        for record in records.into_iter().rev() {
            let size = size(&record);
            self.bytes += size;
            self.records.push_front((size, record));
        }
        self.make_room()
    }

    /// Takes out the first records, at most `count`.
    pub(super) fn take(&mut self, count: usize) -> Vec<NewRecord> {
        let count = count.min(self.records.len());
        let taken: Vec<_> = self.records.drain(..count).collect();
        self.bytes -= taken.iter().map(|(size, _)| size).sum::<usize>();
        taken.into_iter().map(|(_, record)| record).collect()
    }

    fn make_room(&mut self) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        while self.records.len() > MAX_RECORDS || self.bytes > MAX_BYTES {
            let Some(index) = self.first_to_drop() else {
                break;
            };
            let Some((size, record)) = self.records.remove(index) else {
                break;
            };
            self.bytes -= size;
            merge(&mut dropped, &[Dropped::one(record.class(), record.at())]);
        }
        dropped
    }

    /// The choice of the outbox itself; where only results are left, the oldest of them, because
    /// memory has an end.
    fn first_to_drop(&self) -> Option<usize> {
        let mut shelf = Shelf::default();
        for (sequence, (_, record)) in (0u64..).zip(&self.records) {
            shelf.insert(Entry {
                sequence,
                class: record.class(),
                subject: subject(record),
            });
        }
        match shelf.first_to_drop() {
            Some(sequence) => usize::try_from(sequence).ok(),
            None => (!self.records.is_empty()).then_some(0),
        }
    }
}

/// Deploy states of one application share this.
fn subject(record: &NewRecord) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    if let NewRecord::Event { fact, .. } = record
        && fact.class == Class::DeployState
    {
        fact.subject.hash(&mut hasher);
    }
    hasher.finish()
}

/// What a record takes in memory, about.
fn size(record: &NewRecord) -> usize {
    let content = match record {
        NewRecord::Event { fact, .. } => fact.subject.len() + fact.data.to_string().len(),
        NewRecord::Result { envelope, .. } => envelope.len(),
    };
    content + 128
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_agent_core::event::Fact;
    use jiff::Timestamp;

    fn event(class: Class, subject: &str) -> NewRecord {
        NewRecord::event(Fact {
            class,
            kind: "edge.test".into(),
            subject: subject.to_owned(),
            at: Timestamp::UNIX_EPOCH,
            data: serde_json::Value::Null,
        })
    }

    fn result(bytes: usize) -> NewRecord {
        NewRecord::Result {
            command: "1".to_owned(),
            envelope: vec![0; bytes],
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_full_ring_keeps_what_matters_in_order() {
        let mut ring = Ring::default();
        ring.push(event(Class::HealthSample, "node"));
        ring.push(result(10));
        for _ in 0..MAX_RECORDS - 2 {
            assert_eq!(ring.push(event(Class::LinkChange, "broker")), []);
        }
        let dropped = ring.push(event(Class::DeployState, "shop"));
        assert_eq!(dropped.len(), 1);
        assert_eq!(dropped[0].class, Class::HealthSample);
        let dropped = ring.push(event(Class::DeployState, "shop"));
        assert_eq!(dropped[0].class, Class::LinkChange);
        assert_eq!(ring.len(), MAX_RECORDS);
        assert_eq!(ring.take(1)[0].class(), Class::CommandResult);
    }

    #[test]
    fn memory_is_bounded_in_bytes_also_for_results() {
        let mut ring = Ring::default();
        for _ in 0..100 {
            ring.push(result(32 * 1024));
        }
        assert!(ring.len() < 33, "{}", ring.len());
        assert!(ring.bytes <= MAX_BYTES);
    }

    #[test]
    fn what_is_put_back_comes_first_again() {
        let mut ring = Ring::default();
        let records: Vec<_> = ["a", "b", "c"]
            .map(|subject| event(Class::Agent, subject))
            .into();
        for record in &records {
            ring.push(record.clone());
        }
        let taken = ring.take(2);
        ring.put_back(taken);
        assert_eq!(ring.take(9), records);
        assert_eq!(ring.bytes, 0);
    }
}
