//! How the revisions of an application fared on this node, kept over a restart: so that the node
//! knows where it may go back to by itself, and from where it already went.

use serde::{Deserialize, Serialize};

/// Applications that are remembered; the one that changed longest ago goes first.
pub const MAX_MEMORIES: usize = 32;
/// Revisions of each kind that are remembered of an application.
pub const MAX_REVISIONS: usize = 8;
/// Bytes of a revision; several sources are joined. A longer one is not remembered.
const MAX_REVISION_BYTES: usize = 256;

/// What is remembered of one application. Each list has the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// `namespace/name`.
    #[serde(rename = "a")]
    pub application: String,
    /// Revisions that were Healthy here.
    #[serde(rename = "h", skip_serializing_if = "Vec::is_empty")]
    pub healthy: Vec<String>,
    /// Revisions that failed here; the node never goes back onto one by itself.
    #[serde(rename = "f", skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// Revisions from which the node went back by itself; it does so once for each.
    #[serde(rename = "l", skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

impl Memory {
    /// Nothing is known of it.
    #[must_use]
    pub fn new(application: &str) -> Self {
        Self {
            application: application.to_owned(),
            ..Self::default()
        }
    }

    /// The newest revision that was Healthy, never failed, and is not `bad`.
    #[must_use]
    pub fn way_back(&self, bad: &str) -> Option<&str> {
        let good = |revision: &&String| *revision != bad && !self.failed.contains(revision);
        self.healthy.iter().find(good).map(String::as_str)
    }

    /// Notes that a revision was Healthy. False when that was known.
    pub fn note_healthy(&mut self, revision: &str) -> bool {
        note(&mut self.healthy, revision)
    }

    /// Notes that a revision has failed. False when that was known.
    pub fn note_failed(&mut self, revision: &str) -> bool {
        !self.failed.iter().any(|known| known == revision) && note(&mut self.failed, revision)
    }

    /// Notes that the node goes back from a revision by itself.
    pub fn note_left(&mut self, revision: &str) -> bool {
        note(&mut self.left, revision)
    }

    pub(super) fn fits(&self) -> bool {
        let lists = [&self.healthy, &self.failed, &self.left];
        self.application.len() <= 2 * 253 + 1
            && lists.iter().all(|list| {
                list.len() <= MAX_REVISIONS
                    && list
                        .iter()
                        .all(|revision| revision.len() <= MAX_REVISION_BYTES)
            })
    }
}

/// Puts a revision in front. False when it is there already.
fn note(list: &mut Vec<String>, revision: &str) -> bool {
    if list.first().is_some_and(|first| first == revision) || revision.len() > MAX_REVISION_BYTES {
        return false;
    }
    list.retain(|known| known != revision);
    list.insert(0, revision.to_owned());
    list.truncate(MAX_REVISIONS);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_the_newest_good_one() {
        let mut memory = Memory::new("argocd/shop");
        assert_eq!(memory.way_back("c"), None);
        for revision in ["a", "b", "c"] {
            assert!(memory.note_healthy(revision));
            assert!(!memory.note_healthy(revision));
        }
        assert_eq!(memory.way_back("c"), Some("b"));
        assert!(memory.note_failed("b") && !memory.note_failed("b"));
        assert_eq!(memory.way_back("c"), Some("a"));
        assert_eq!(memory.way_back("a"), Some("c"));
    }

    #[test]
    fn it_stays_small() {
        let mut memory = Memory::new("argocd/shop");
        for number in 0..100 {
            memory.note_healthy(&number.to_string());
            memory.note_failed(&number.to_string());
            memory.note_left(&number.to_string());
        }
        assert!(!memory.note_healthy(&"x".repeat(257)));
        assert!(memory.fits());
        assert_eq!(memory.healthy.len(), MAX_REVISIONS);
    }
}
