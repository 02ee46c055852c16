//! The latest value of each topic: coalesced, never stored, published again on every connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The values. Clones are handles of the same ones.
#[derive(Debug, Clone)]
pub(super) struct Retained {
    topics: Arc<Mutex<BTreeMap<String, Value>>>,
    changes: Arc<watch::Sender<u64>>,
}

#[derive(Debug)]
struct Value {
    payload: Vec<u8>,
    /// Counts the values of this topic, from 1.
    version: u64,
    /// The version that the broker of this connection has acknowledged; 0 for none.
    acknowledged: u64,
}

/// One version of the value of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Latest {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) version: u64,
}

impl Default for Retained {
    fn default() -> Self {
        Self {
            topics: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Retained {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        // No code that can panic runs under the lock.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this the value of a topic. The same value again changes nothing.
    pub(super) fn set(&self, topic: String, payload: Vec<u8>) {
        let mut topics = self.lock();
        match topics.get_mut(&topic) {
            Some(value) if value.payload == payload => return,
            Some(value) => {
                value.payload = payload;
                value.version += 1;
            }
            None => {
                let value = Value {
                    payload,
                    version: 1,
                    acknowledged: 0,
                };
                topics.insert(topic, value);
            }
        }
        drop(topics);
        self.changes.send_modify(|version| *version += 1);
    }

    /// The broker has acknowledged a version. A topic that it has cleared is forgotten.
    pub(super) fn acknowledge(&self, topic: &str, version: u64) {
        let mut topics = self.lock();
        if let Some(value) = topics.get_mut(topic) {
            value.acknowledged = value.acknowledged.max(version);
            if value.payload.is_empty() && value.acknowledged == value.version {
                topics.remove(topic);
            }
        }
    }

    /// A new connection: nothing is known of what the broker has.
    pub(super) fn forget_acknowledgements(&self) {
        for value in self.lock().values_mut() {
            value.acknowledged = 0;
        }
    }

    /// Topics that begin with this are to be published once more.
    pub(super) fn publish_again(&self, prefix: &str) {
        for (topic, value) in self.lock().iter_mut() {
            if topic.starts_with(prefix) {
                value.acknowledged = 0;
            }
        }
        self.changes.send_modify(|version| *version += 1);
    }

    /// The first topic for which the broker lacks the latest value and `may` says yes; `first` comes
    /// before all others, and what is cleared before what is told: it may be in the way of that.
    pub(super) fn next(&self, first: &str, may: impl Fn(&str) -> bool) -> Option<Latest> {
        let topics = self.lock();
        let first = topics.get_key_value(first);
        let cleared = topics.iter().filter(|(_, value)| value.payload.is_empty());
        first
            .into_iter()
            .chain(cleared)
            .chain(topics.iter())
            .find(|(topic, value)| value.acknowledged < value.version && may(topic))
            .map(|(topic, value)| Latest {
                topic: topic.clone(),
                payload: value.payload.clone(),
                version: value.version,
            })
    }

    /// Changes its value with every new value of a topic.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(retained: &Retained) -> Option<(String, Vec<u8>, u64)> {
        retained
            .next("presence", |_| true)
            .map(|latest| (latest.topic, latest.payload, latest.version))
    }

    #[test]
    fn only_the_latest_value_is_to_be_sent_and_presence_first() {
        let retained = Retained::default();
        retained.set("health".into(), b"1".to_vec());
        retained.set("health".into(), b"2".to_vec());
        retained.set("presence".into(), b"on".to_vec());
        assert_eq!(
            next(&retained),
            Some(("presence".into(), b"on".to_vec(), 1))
        );
        retained.acknowledge("presence", 1);
        assert_eq!(next(&retained), Some(("health".into(), b"2".to_vec(), 2)));
        retained.acknowledge("health", 2);
        assert_eq!(next(&retained), None);
        retained.set("health".into(), b"2".to_vec());
        assert_eq!(next(&retained), None, "nothing has changed");
    }

    #[test]
    fn an_acknowledgement_of_an_older_value_leaves_the_newer_one_to_be_sent() {
        let retained = Retained::default();
        retained.set("health".into(), b"1".to_vec());
        retained.set("health".into(), b"2".to_vec());
        retained.acknowledge("health", 1);
        assert_eq!(next(&retained), Some(("health".into(), b"2".to_vec(), 2)));
    }

    #[test]
    fn what_is_cleared_goes_first_and_a_part_can_be_told_again() {
        let retained = Retained::default();
        retained.set("ha/device".into(), b"1".to_vec());
        retained.set("ha/sensor".into(), Vec::new());
        assert_eq!(next(&retained), Some(("ha/sensor".into(), Vec::new(), 1)));
        retained.acknowledge("ha/sensor", 1);
        assert_eq!(
            next(&retained),
            Some(("ha/device".into(), b"1".to_vec(), 1))
        );
        retained.acknowledge("ha/device", 1);
        let mut changes = retained.changes();
        retained.publish_again("other/");
        assert_eq!(next(&retained), None);
        retained.publish_again("ha/");
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert_eq!(
            next(&retained),
            Some(("ha/device".into(), b"1".to_vec(), 1))
        );
    }

    #[test]
    fn a_new_connection_gets_everything_but_what_was_cleared() {
        let retained = Retained::default();
        retained.set("app/a".into(), b"1".to_vec());
        retained.set("app/b".into(), b"1".to_vec());
        retained.set("app/b".into(), Vec::new());
        assert_eq!(next(&retained), Some(("app/b".into(), Vec::new(), 2)));
        retained.acknowledge("app/b", 2);
        assert_eq!(next(&retained), Some(("app/a".into(), b"1".to_vec(), 1)));
        retained.acknowledge("app/a", 1);
        retained.forget_acknowledgements();
        assert_eq!(next(&retained), Some(("app/a".into(), b"1".to_vec(), 1)));
        retained.acknowledge("app/a", 1);
        assert_eq!(next(&retained), None);
    }
}
