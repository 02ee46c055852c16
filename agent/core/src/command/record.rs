//! The ledger as it goes to the medium: bounded, versioned, and without any decision in it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RefusalCode;
use super::encoding::{from_base64, shorten, to_base64};
use super::memory::{MAX_MEMORIES, Memory};
use super::payload::{Action, OnFailure, image_digest};
use crate::wire::ResultState;

/// Bytes of a record. A slot of the file is somewhat larger.
pub const MAX_RECORD_BYTES: usize = 60 * 1024;
/// Commands that a ledger remembers.
pub const MAX_ENTRIES: usize = 64;
/// Pairs of key and scope that a ledger remembers the sequence of.
pub const MAX_HIGHWATER: usize = 256;

/// Bytes of the message that is kept with a final result.
pub const MAX_MESSAGE_BYTES: usize = 160;

const VERSION: u8 = 1;

/// The whole of what the ledger remembers, as it goes to the medium.
///
/// The trusted floor is the latest of its first three fields, in seconds since 1970; none of them
/// ever decreases.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LedgerRecord {
    /// When the newest program that kept this ledger was built.
    pub built_at: i64,
    /// The last synchronized time.
    pub synchronized_at: i64,
    /// The last accepted `iat`, as far as it was believed.
    pub issued_at: i64,
    /// At most [`MAX_HIGHWATER`].
    pub highwater: Vec<Highwater>,
    /// Oldest first, at most [`MAX_ENTRIES`].
    pub entries: Vec<LedgerEntry>,
    /// At most [`MAX_MEMORIES`], the one that changed last at the end.
    pub memories: Vec<Memory>,
}

/// The highest sequence that was accepted from a key for a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Highwater {
    /// The key, as [`super::keyring::Key::counter`] names it.
    #[serde(rename = "k")]
    pub key_id: String,
    /// `namespace/name` of an application, or `-`.
    #[serde(rename = "s")]
    pub scope: String,
    /// The highest accepted sequence.
    #[serde(rename = "q")]
    pub sequence: u64,
    /// Seconds since 1970 after which nothing that this holds off can be unexpired.
    #[serde(rename = "u")]
    pub until: i64,
}

/// A command that was admitted.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEntry {
    /// The id of the command.
    pub id: String,
    /// SHA-256 of its payload bytes.
    pub digest: [u8; 32],
    /// Its `exp`, seconds since 1970.
    pub expires_at: i64,
    /// Its name, such as `rollback`.
    pub cmd: String,
    /// As the command names it, `name` or `namespace/name`; `None` for commands that concern the node.
    pub application: Option<String>,
    /// What a rollout is to bring about, until it has ended.
    pub rollout: Option<RolloutTerms>,
    /// How far it has come.
    pub state: LedgerState,
    /// The number of the last result that was given; 0 before the first.
    pub n: u32,
    /// Ids of the keys that ordered it, sorted.
    pub key_ids: Vec<String>,
    /// When it was admitted.
    pub at: Timestamp,
    /// What was said with its final result; before that, why the node ordered it by itself, if it
    /// did. At most [`MAX_MESSAGE_BYTES`].
    pub message: String,
    /// The stable code of the final result, when it was rejected.
    pub reason: Option<RefusalCode>,
    /// Whether the final result is known to be with the outbox. Until then it is given again after
    /// a restart.
    pub told: bool,
}

/// What a rollout is to bring about. The cluster keeps no trace of it, so it must survive a restart
/// of the agent here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutTerms {
    /// Full commit SHA.
    #[serde(rename = "r")]
    pub revision: String,
    /// `sha256:` digests that must run in the end.
    #[serde(rename = "i", default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// How long it may take, in seconds.
    #[serde(rename = "t")]
    pub timeout_s: u64,
    /// What the node does by itself when it fails.
    #[serde(rename = "f", default)]
    pub on_failure: OnFailure,
}

impl RolloutTerms {
    /// Those of an action, if it is a rollout.
    #[must_use]
    pub fn of(action: &Action) -> Option<Self> {
        let Action::Rollout {
            revision,
            images,
            timeout,
            on_failure,
            ..
        } = action
        else {
            return None;
        };
        Some(Self {
            revision: revision.clone(),
            images: images
                .iter()
                .map(|image| image_digest(image).to_owned())
                .collect(),
            timeout_s: timeout.as_secs(),
            on_failure: *on_failure,
        })
    }
}

impl LedgerEntry {
    /// Ordered by the node itself.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.key_ids.is_empty()
    }
}

/// Cuts what is to be kept with an entry.
pub(super) fn kept_message(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    shorten(&text, MAX_MESSAGE_BYTES)
}

/// How far an admitted command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerState {
    /// Admitted, and no final result yet.
    Admitted,
    /// Its final result.
    Done(ResultState),
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More than [`MAX_RECORD_BYTES`], or more entries than there may be.
    #[error("the record is larger than a ledger can be")]
    TooLarge,
    /// Not the JSON that a record is, or a field out of range.
    #[error("the record cannot be read: {0}")]
    Malformed(String),
    /// Written by a program that this one does not know.
    #[error("the record has version {0}; this program knows {VERSION}")]
    Version(u8),
}

/// Names are short because the record is written with every command.
#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    built: i64,
    sync: i64,
    iat: i64,
    high: Vec<Highwater>,
    entries: Vec<StoredEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    apps: Vec<Memory>,
}

#[derive(Serialize, Deserialize)]
struct StoredEntry {
    id: String,
    digest: String,
    exp: i64,
    cmd: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollout: Option<RolloutTerms>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<ResultState>,
    n: u32,
    keys: Vec<String>,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    msg: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<RefusalCode>,
    #[serde(default)]
    told: bool,
}

impl LedgerRecord {
    /// The record for the medium. The ledger keeps it within [`MAX_RECORD_BYTES`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored {
            v: VERSION,
            built: self.built_at,
            sync: self.synchronized_at,
            iat: self.issued_at,
            high: self.highwater.clone(),
            entries: self.entries.iter().map(store).collect(),
            apps: self.memories.clone(),
        };
        // Numbers and strings always have a JSON form.
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// Reads what [`LedgerRecord::to_bytes`] gave.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Version {
            v: u8,
        }
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge);
        }
        let malformed = |error: serde_json::Error| RecordError::Malformed(error.to_string());
        let Version { v } = serde_json::from_slice(bytes).map_err(malformed)?;
        if v != VERSION {
            return Err(RecordError::Version(v));
        }
        let stored: Stored = serde_json::from_slice(bytes).map_err(malformed)?;
        let fits = stored.entries.len() <= MAX_ENTRIES
            && stored.high.len() <= MAX_HIGHWATER
            && stored.apps.len() <= MAX_MEMORIES
            && stored.apps.iter().all(Memory::fits);
        if !fits {
            return Err(RecordError::TooLarge);
        }
        Ok(Self {
            built_at: stored.built,
            synchronized_at: stored.sync,
            issued_at: stored.iat,
            highwater: stored.high,
            entries: stored
                .entries
                .into_iter()
                .map(unstore)
                .collect::<Result<_, _>>()?,
            memories: stored.apps,
        })
    }
}

fn store(entry: &LedgerEntry) -> StoredEntry {
    StoredEntry {
        id: entry.id.clone(),
        digest: to_base64(&entry.digest),
        exp: entry.expires_at,
        cmd: entry.cmd.clone(),
        app: entry.application.clone(),
        rollout: entry.rollout.clone(),
        done: match entry.state {
            LedgerState::Admitted => None,
            LedgerState::Done(state) => Some(state),
        },
        n: entry.n,
        keys: entry.key_ids.clone(),
        at: entry.at,
        msg: entry.message.clone(),
        why: entry.reason,
        told: entry.told,
    }
}

fn unstore(entry: StoredEntry) -> Result<LedgerEntry, RecordError> {
    let digest = from_base64(&entry.digest)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| RecordError::Malformed("a digest is not base64 of 32 bytes".to_owned()))?;
    Ok(LedgerEntry {
        id: entry.id,
        digest,
        expires_at: entry.exp,
        cmd: entry.cmd,
        application: entry.app,
        rollout: entry.rollout,
        state: entry.done.map_or(LedgerState::Admitted, LedgerState::Done),
        n: entry.n,
        key_ids: entry.keys,
        at: entry.at,
        message: entry.msg,
        reason: entry.why,
        told: entry.told,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> LedgerRecord {
        let entry = LedgerEntry {
            id: "one".to_owned(),
            digest: [3; 32],
            expires_at: 1_700_000_600,
            cmd: "rollback".to_owned(),
            application: Some("argocd/shop".to_owned()),
            rollout: Some(RolloutTerms {
                revision: "f".repeat(40),
                images: vec![format!("sha256:{}", "a".repeat(64))],
                timeout_s: 60,
                on_failure: OnFailure::Rollback,
            }),
            state: LedgerState::Admitted,
            n: 1,
            key_ids: vec!["a".to_owned(), "b".to_owned()],
            at: "2026-11-24T20:31:28.5Z".parse().unwrap(),
            message: "the node waits".to_owned(),
            reason: None,
            told: false,
        };
        LedgerRecord {
            built_at: 1,
            synchronized_at: 2,
            issued_at: 3,
            highwater: vec![Highwater {
                key_id: "a".to_owned(),
                scope: "argocd/shop".to_owned(),
                sequence: (1 << 53) - 1,
                until: 1_700_000_600,
            }],
            entries: vec![
                entry.clone(),
                LedgerEntry {
                    id: "two".to_owned(),
                    application: None,
                    rollout: None,
                    state: LedgerState::Done(ResultState::TimedOut),
                    reason: Some(RefusalCode::Conflict),
                    told: true,
                    ..entry
                },
            ],
            memories: vec![Memory {
                healthy: vec!["a".to_owned()],
                ..Memory::new("argocd/shop")
            }],
        }
    }

    #[test]
    fn a_record_goes_there_and_back() {
        for record in [record(), LedgerRecord::default()] {
            assert_eq!(LedgerRecord::from_bytes(&record.to_bytes()), Ok(record));
        }
    }

    #[test]
    fn what_is_no_record_is_told() {
        let text = String::from_utf8(record().to_bytes()).unwrap();
        let newer = text.replacen("\"v\":1", "\"v\":2", 1);
        assert_eq!(
            LedgerRecord::from_bytes(newer.as_bytes()),
            Err(RecordError::Version(2))
        );
        assert_eq!(
            LedgerRecord::from_bytes(&vec![b' '; MAX_RECORD_BYTES + 1]),
            Err(RecordError::TooLarge)
        );
        let mut many = record();
        many.entries = vec![many.entries[0].clone(); MAX_ENTRIES + 1];
        assert_eq!(
            LedgerRecord::from_bytes(&many.to_bytes()),
            Err(RecordError::TooLarge)
        );
        assert!(LedgerRecord::from_bytes(b"").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = LedgerRecord::from_bytes(&bytes);
        }

        #[test]
        fn no_change_of_a_record_panics(at in 0_usize..600, byte in any::<u8>()) {
            let mut bytes = record().to_bytes();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let _ = LedgerRecord::from_bytes(&bytes);
        }
    }
}
