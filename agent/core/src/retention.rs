//! What is dropped first when the outbox is full.

use std::collections::{BTreeSet, HashMap};

/// The class of a record in the outbox, in the order in which records are dropped: the smallest
/// first, the last one never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Health samples that an offline node keeps.
    HealthSample = 0,
    /// A link came up or went down.
    LinkChange = 1,
    /// An application changed its deploy state; the newest of each application is kept longest.
    DeployState = 2,
    /// The node's health changed.
    HealthChange = 3,
    /// Starts and stops of the agent, refused commands, dropped records.
    Agent = 4,
    /// The result of a command: never dropped.
    CommandResult = 5,
}

impl Class {
    /// Every class, in the order in which records are dropped.
    pub const ALL: [Self; 6] = [
        Self::HealthSample,
        Self::LinkChange,
        Self::DeployState,
        Self::HealthChange,
        Self::Agent,
        Self::CommandResult,
    ];

    /// The class of a stored byte; `None` for a byte that no version has written.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// The name in events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HealthSample => "health_sample",
            Self::LinkChange => "link_change",
            Self::DeployState => "deploy_state",
            Self::HealthChange => "health_change",
            Self::Agent => "agent",
            Self::CommandResult => "command_result",
        }
    }
}

/// What the choice needs to know of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub sequence: u64,
    pub class: Class,
    /// A hash of what the record is about; records of one application share it.
    pub subject: u64,
}

/// The records of an outbox as far as dropping goes: a few bytes for each, so that a hundred
/// thousand of them fit beside the rest of the agent.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    by_class: [BTreeSet<u64>; Class::ALL.len()],
    /// The deploy states of each subject.
    states: HashMap<u64, BTreeSet<u64>>,
    /// The newest deploy state of each subject. These are not in `by_class`.
    newest: BTreeSet<u64>,
}

impl Shelf {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.newest.len() + self.by_class.iter().map(BTreeSet::len).sum::<usize>()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a record in.
    pub fn insert(&mut self, entry: Entry) {
        let class = &mut self.by_class[entry.class as usize];
        if entry.class != Class::DeployState {
            class.insert(entry.sequence);
            return;
        }
        let states = self.states.entry(entry.subject).or_default();
        let before = states.last().copied();
        states.insert(entry.sequence);
        match before {
            Some(newest) if newest >= entry.sequence => {
                if newest > entry.sequence {
                    class.insert(entry.sequence);
                }
            }
            _ => {
                self.newest.insert(entry.sequence);
                if let Some(older) = before {
                    self.newest.remove(&older);
                    class.insert(older);
                }
            }
        }
    }

    /// Takes a record out; nothing happens if it is not in.
    pub fn remove(&mut self, entry: Entry) {
        let class = &mut self.by_class[entry.class as usize];
        class.remove(&entry.sequence);
        if entry.class != Class::DeployState {
            return;
        }
        let Some(states) = self.states.get_mut(&entry.subject) else {
            return;
        };
        states.remove(&entry.sequence);
        match states.last() {
            None => {
                self.newest.remove(&entry.sequence);
                self.states.remove(&entry.subject);
            }
            Some(&next) => {
                if self.newest.remove(&entry.sequence) {
                    class.remove(&next);
                    self.newest.insert(next);
                }
            }
        }
    }

    /// The record to drop first: the oldest of the least class; of the deploy states those first
    /// that a newer one of the same subject has replaced, and the newest of each subject only when
    /// nothing else is left. `None` when only command results are left.
    #[must_use]
    pub fn first_to_drop(&self) -> Option<u64> {
        self.by_class[..Class::CommandResult as usize]
            .iter()
            .chain([&self.newest])
            .find_map(|sequences| sequences.first().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(sequence: u64, class: Class, subject: u64) -> Entry {
        Entry {
            sequence,
            class,
            subject,
        }
    }

    fn drop_all(mut shelf: Shelf, entries: &[Entry]) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some(sequence) = shelf.first_to_drop() {
            let entry = entries.iter().find(|e| e.sequence == sequence).unwrap();
            shelf.remove(*entry);
            order.push(sequence);
        }
        order
    }

    #[test]
    fn the_least_class_goes_first_and_results_never() {
        let entries = [
            entry(1, Class::CommandResult, 0),
            entry(2, Class::Agent, 0),
            entry(3, Class::HealthChange, 0),
            entry(4, Class::LinkChange, 0),
            entry(5, Class::HealthSample, 0),
            entry(6, Class::HealthSample, 0),
        ];
        let mut shelf = Shelf::default();
        entries.iter().for_each(|e| shelf.insert(*e));
        assert_eq!(drop_all(shelf, &entries), [5, 6, 4, 3, 2]);
    }

    #[test]
    fn the_newest_state_of_each_application_is_kept_longest() {
        let entries = [
            entry(1, Class::DeployState, 7),
            entry(2, Class::DeployState, 8),
            entry(3, Class::DeployState, 7),
            entry(4, Class::Agent, 0),
            entry(5, Class::DeployState, 7),
        ];
        let mut shelf = Shelf::default();
        entries.iter().for_each(|e| shelf.insert(*e));
        assert_eq!(drop_all(shelf, &entries), [1, 3, 4, 2, 5]);
    }

    #[test]
    fn a_stored_byte_names_its_class() {
        for class in Class::ALL {
            assert_eq!(Class::from_byte(class as u8), Some(class));
        }
        assert_eq!(Class::from_byte(6), None);
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        proptest::collection::vec((0u8..6, 0u64..4), 0..60).prop_map(|pairs| {
            (1u64..)
                .zip(pairs)
                .map(|(sequence, (class, subject))| {
                    entry(sequence, Class::from_byte(class).unwrap(), subject)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn dropping_ends_with_exactly_the_results(entries in entries()) {
            let mut shelf = Shelf::default();
            entries.iter().for_each(|e| shelf.insert(*e));
            prop_assert_eq!(shelf.len(), entries.len());
            let results = entries.iter().filter(|e| e.class == Class::CommandResult).count();
            prop_assert_eq!(drop_all(shelf, &entries).len(), entries.len() - results);
        }

        #[test]
        fn no_newest_state_goes_before_anything_else_that_may_go(entries in entries()) {
            let mut shelf = Shelf::default();
            entries.iter().for_each(|e| shelf.insert(*e));
            let is_newest = |sequence: u64| {
                let it = entries.iter().find(|e| e.sequence == sequence).unwrap();
                it.class == Class::DeployState && !entries.iter().any(|e| {
                    e.class == it.class && e.subject == it.subject && e.sequence > sequence
                })
            };
            let order = drop_all(shelf, &entries);
            let flags: Vec<bool> = order.iter().map(|sequence| is_newest(*sequence)).collect();
            prop_assert!(flags.is_sorted());
        }

        #[test]
        fn the_order_of_insertion_does_not_matter(
            (entries, shuffled) in entries().prop_flat_map(|e| (Just(e.clone()), Just(e).prop_shuffle())),
        ) {
            let mut one = Shelf::default();
            let mut other = Shelf::default();
            entries.iter().for_each(|e| one.insert(*e));
            shuffled.iter().for_each(|e| other.insert(*e));
            prop_assert_eq!(drop_all(one, &entries), drop_all(other, &entries));
        }

        #[test]
        fn removing_everything_leaves_nothing(entries in entries()) {
            let mut shelf = Shelf::default();
            entries.iter().for_each(|e| shelf.insert(*e));
            entries.iter().for_each(|e| shelf.remove(*e));
            prop_assert!(shelf.is_empty());
            prop_assert_eq!(shelf.first_to_drop(), None);
            prop_assert!(shelf.newest.is_empty() && shelf.states.is_empty());
        }
    }
}
