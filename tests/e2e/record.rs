//! What a record must look like: the promise, as a consumer sees it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::recorder::Message;

/// The events of a record, duplicates dropped by id.
#[derive(Debug)]
pub(crate) struct Events {
    /// By sequence.
    pub(crate) by_sequence: BTreeMap<u64, Value>,
    /// How many deliveries were of an event that had come before.
    pub(crate) repeated: usize,
    /// Events in the order in which they came first.
    pub(crate) in_order: Vec<Value>,
}

impl Events {
    /// Reads a record.
    ///
    /// # Panics
    /// When two events have one sequence, or one event has two contents.
    pub(crate) fn of(messages: &[Message]) -> Self {
        Self::read(messages, |event| event.clone())
    }

    /// The same for a disk that failed in between: a write that failed may have come to the medium all the
    /// same, and then its records have their ids twice, under two sequences.
    ///
    /// # Panics
    /// As [`Events::of`], but for an event with another sequence.
    pub(crate) fn of_broken_disk(messages: &[Message]) -> Self {
        Self::read(messages, |event| {
            let mut event = event.clone();
            event["sequence"] = Value::Null;
            event
        })
    }

    fn read(messages: &[Message], content: impl Fn(&Value) -> Value) -> Self {
        let mut ids: BTreeMap<String, Value> = BTreeMap::new();
        let mut events = Self {
            by_sequence: BTreeMap::new(),
            repeated: 0,
            in_order: Vec::new(),
        };
        for message in messages {
            if !message.topic.ends_with("/event") {
                continue;
            }
            let event = message.json();
            let id = event["id"].as_str().expect("an event has an id").to_owned();
            if let Some(known) = ids.get(&id) {
                assert_eq!(content(known), content(&event), "one id, two events");
                events.repeated += 1;
                continue;
            }
            ids.insert(id, event.clone());
            let sequence = sequence(&event);
            if let Some(other) = events.by_sequence.insert(sequence, event.clone()) {
                panic!("sequence {sequence} was given twice: {other} and {event}");
            }
            events.in_order.push(event);
        }
        events
    }

    /// Every sequence from the first to the last is there: what has a sequence was stored, and what
    /// was stored has arrived.
    ///
    /// # Panics
    /// When there is a gap, or nothing at all.
    pub(crate) fn assert_complete(&self) {
        self.range();
        let sequences: Vec<u64> = self.by_sequence.keys().copied().collect();
        let gaps: Vec<_> = sequences
            .windows(2)
            .filter(|pair| pair[1] != pair[0] + 1)
            .collect();
        assert!(gaps.is_empty(), "there is nothing between {gaps:?}");
    }

    /// Events of one application came first in the order in which they happened.
    ///
    /// # Panics
    /// When they did not.
    pub(crate) fn assert_ordered(&self) {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for event in &self.in_order {
            let subject = event["subject"].as_str().unwrap_or_default().to_owned();
            let sequence = sequence(event);
            if let Some(before) = last.insert(subject.clone(), sequence) {
                assert!(
                    before < sequence,
                    "{subject}: {sequence} came after {before}"
                );
            }
        }
    }

    /// The first and the last sequence.
    pub(crate) fn range(&self) -> (u64, u64) {
        let first = self.by_sequence.keys().next();
        let last = self.by_sequence.keys().next_back();
        (*first.expect("an event"), *last.expect("an event"))
    }

    /// The revisions that were told of an application, in the order in which they came first.
    pub(crate) fn revisions(&self, application: &str) -> Vec<String> {
        self.in_order
            .iter()
            .filter(|event| event["type"] == "edge.app.state" && event["subject"] == application)
            .filter_map(|event| event["data"]["revision"].as_str().map(str::to_owned))
            .collect()
    }

    /// The types that there are.
    pub(crate) fn types(&self) -> BTreeSet<&str> {
        self.in_order
            .iter()
            .filter_map(|event| event["type"].as_str())
            .collect()
    }
}

fn sequence(event: &Value) -> u64 {
    let sequence = event["sequence"].as_str().expect("an event has a sequence");
    assert_eq!(sequence.len(), 20, "{sequence}");
    sequence.parse().unwrap()
}
