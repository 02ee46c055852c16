//! Envelopes that are believed: signatures over exactly the bytes that were received, by keys that
//! may order what is ordered.
//!
//! The envelope is read once. The payload that was verified is the payload that is used; the key id
//! beside a signature only says which key to try first; there is no field that names an algorithm,
//! because there is one: Ed25519.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use ring::digest::{SHA256, digest};

use super::dsse::malformed;
use super::keyring::{Key, Keyring};
use super::payload::{Command, PayloadError, digest_text};
use super::{Refusal, RefusalCode};

pub use super::dsse::{
    COMMAND_TYPE, KEYRING_TYPE, MAX_ENVELOPE_BYTES, MAX_PAYLOAD_BYTES, MAX_SIGNATURES, RESULT_TYPE,
    Unverified, countersign, pae, seal,
};
pub use super::key::{KeyError, SigningKey};
pub use super::result::{open_result, seal_result};

/// A command whose signatures hold and whose keys may order it. There is no other way to make one
/// than [`verify`].
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedCommand {
    command: Command,
    digest: [u8; 32],
    key_ids: Vec<String>,
    counters: Vec<String>,
    sequence_horizon: i64,
}

impl VerifiedCommand {
    /// What is ordered.
    #[must_use]
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// SHA-256 of the payload bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The digest as results carry it: `sha256:` and hexadecimal digits.
    #[must_use]
    pub fn digest_text(&self) -> String {
        digest_text(&self.digest)
    }

    /// The ids (of the keyring, not of the envelope) of the keys that signed and may order this,
    /// sorted.
    #[must_use]
    pub fn key_ids(&self) -> &[String] {
        &self.key_ids
    }

    /// What the sequence is counted by, one for each of [`VerifiedCommand::key_ids`]: the id with a
    /// fingerprint of the key, so that a key which takes over the id of another starts anew.
    #[must_use]
    pub fn counters(&self) -> &[String] {
        &self.counters
    }

    /// Until when, in seconds since 1970, a command that was issued before this one may still be
    /// unexpired, given the longest validity: so long its sequence must be remembered.
    #[must_use]
    pub fn sequence_horizon(&self) -> i64 {
        self.sequence_horizon
    }
}

/// A command whose signatures hold but which is refused all the same: by its arguments, or because
/// its keys may not order it. It is answered, because its issuer is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCommand {
    /// The id, where the payload had a valid one.
    pub id: String,
    /// SHA-256 of the payload bytes.
    pub digest: [u8; 32],
    /// The ids of the keys that signed, sorted.
    pub key_ids: Vec<String>,
    /// The command's name, if the payload had one.
    pub cmd: Option<String>,
    /// The application as the payload names it, if it does.
    pub application: Option<String>,
    pub refusal: Refusal,
}

/// Why an envelope gave no [`VerifiedCommand`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotVerified {
    /// No key of the keyring stands behind it, or it has no id: counted, never answered.
    Unauthenticated(Refusal),
    /// Its issuer is known and is told.
    Refused(Box<RefusedCommand>),
}

impl NotVerified {
    /// What is wrong.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        match self {
            Self::Unauthenticated(refusal) => refusal,
            Self::Refused(refused) => &refused.refusal,
        }
    }
}

impl From<Refusal> for NotVerified {
    fn from(refusal: Refusal) -> Self {
        Self::Unauthenticated(refusal)
    }
}

/// Takes a command off the wire: signatures over the bytes received, then the payload, then whether
/// its keys may order it. `max_ttl` is the longest time between issue and expiry; `today` decides
/// whether keys are still valid: with a clock that is not synchronized, hand in the trusted floor
/// if that is later.
///
/// A key whose `not_after` has passed counts as one that is not in the keyring. A command that says
/// of itself that it was issued after the end of its key is `not_permitted`, so that an old key
/// cannot be used while the clock is behind.
///
/// # Errors
/// See [`NotVerified`].
pub fn verify(
    bytes: &[u8],
    keyring: &Keyring,
    max_ttl: Duration,
    today: Timestamp,
) -> Result<VerifiedCommand, NotVerified> {
    let envelope = Unverified::read(bytes)?;
    envelope.require_type(COMMAND_TYPE)?;
    let signers = signers(&envelope, keyring, today)?;
    let digest = sha256(&envelope.payload);
    let command = Command::parse(&envelope.payload)
        .map_err(|error| refused_payload(error, digest, &signers))?;
    match authorize(&command, keyring, max_ttl, &signers) {
        Ok(key_ids) => Ok(VerifiedCommand {
            sequence_horizon: command.issued_at.saturating_add(seconds(max_ttl)),
            counters: key_ids
                .iter()
                .filter_map(|id| signers.get(id.as_str()))
                .map(|key| key.counter())
                .collect(),
            command,
            digest,
            key_ids,
        }),
        Err(refusal) => Err(NotVerified::Refused(Box::new(RefusedCommand {
            digest,
            key_ids: ids(&signers),
            cmd: Some(command.name().to_owned()),
            application: command.action.application().map(str::to_owned),
            id: command.id,
            refusal,
        }))),
    }
}

fn refused_payload(
    error: PayloadError,
    digest: [u8; 32],
    signers: &BTreeMap<&str, &Key>,
) -> NotVerified {
    match error.id {
        Some(id) => NotVerified::Refused(Box::new(RefusedCommand {
            id,
            digest,
            key_ids: ids(signers),
            cmd: error.cmd,
            application: error.application,
            refusal: error.refusal,
        })),
        None => NotVerified::Unauthenticated(malformed(error.refusal.message)),
    }
}

/// The different keys of the keyring whose signatures hold, by id. At least one.
fn signers<'k>(
    envelope: &Unverified,
    keyring: &'k Keyring,
    today: Timestamp,
) -> Result<BTreeMap<&'k str, &'k Key>, Refusal> {
    let (message, signatures) = envelope.signed();
    let mut valid = BTreeMap::new();
    let mut expired = None;
    for (hint, signature) in signatures {
        let signer = keyring
            .candidates(hint)
            .find(|key| key.verifies(&message, signature));
        match signer {
            Some(key) if key.is_valid_at(today) => {
                valid.insert(key.id(), key);
            }
            Some(key) => expired = Some(key),
            None => {}
        }
    }
    if !valid.is_empty() {
        return Ok(valid);
    }
    if let Some(key) = expired {
        return Err(Refusal::new(
            RefusalCode::UnknownKey,
            format!("the key `{}` is no longer valid (`not_after`)", key.id()),
        ));
    }
    let named = keyring
        .keys()
        .find(|key| envelope.key_hints().any(|hint| hint == key.id()));
    Err(match named {
        Some(key) => Refusal::new(
            RefusalCode::BadSignature,
            format!(
                "the signature that names the key `{}` does not hold",
                key.id()
            ),
        ),
        None => Refusal::new(
            RefusalCode::UnknownKey,
            "no signature is by a key of the keyring",
        ),
    })
}

/// Gives the ids of the keys that may order the command, when they are enough.
fn authorize(
    command: &Command,
    keyring: &Keyring,
    max_ttl: Duration,
    signers: &BTreeMap<&str, &Key>,
) -> Result<Vec<String>, Refusal> {
    let ttl = command.expires_at.saturating_sub(command.issued_at);
    if ttl > seconds(max_ttl) {
        return Err(Refusal::new(
            RefusalCode::InvalidArguments,
            format!(
                "`exp` is {ttl} s after `iat`; this node takes at most {} s",
                max_ttl.as_secs()
            ),
        ));
    }
    let issued_at = Timestamp::from_second(command.issued_at).unwrap_or(Timestamp::MAX);
    let able: Vec<String> = signers
        .values()
        .filter(|key| keyring.permits(key, &command.action) && key.is_valid_at(issued_at))
        .map(|key| key.id().to_owned())
        .collect();
    let order = command.action.application().map_or_else(
        || format!("`{}`", command.name()),
        |application| format!("`{}` for `{application}`", command.name()),
    );
    if able.is_empty() {
        let signed_by = ids(signers).join("`, `");
        return Err(Refusal::new(
            RefusalCode::NotPermitted,
            format!("signed by `{signed_by}`, which may not order {order} at the time of issue"),
        ));
    }
    let needed = keyring.signatures_needed(&command.action);
    if able.len() < needed {
        return Err(Refusal::new(
            RefusalCode::ThresholdNotMet,
            format!(
                "{order} needs signatures by {needed} different keys that may order it; it has {} \
                 (`{}`)",
                able.len(),
                able.join("`, `")
            ),
        ));
    }
    Ok(able)
}

fn ids(signers: &BTreeMap<&str, &Key>) -> Vec<String> {
    signers.keys().map(|id| (*id).to_owned()).collect()
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    hash
}

#[cfg(test)]
mod tests;
