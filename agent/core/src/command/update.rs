//! A new keyring that comes over the air: signed by the root keys of the old and of the new one,
//! with a version that only grows.
//!
//! An update has no expiry: its version is its freshness, so it does its work also on a node whose
//! clock is wrong or that was away for long. Withholding one gains nothing that withholding a
//! command would not.

use serde::{Deserialize, Serialize};

use super::dsse::{KEYRING_TYPE, MAX_PAYLOAD_BYTES, Unverified, malformed, seal};
use super::encoding::{is_identifier, shorten};
use super::envelope::{NotVerified, RefusedCommand, SigningKey, sha256};
use super::key::verifies;
use super::keyring::{Keyring, Root};
use super::object::Object;
use super::{Refusal, RefusalCode};
use crate::topic::NodeName;

/// What an update calls itself where commands have their name.
pub const UPDATE_NAME: &str = "keyring";

/// The audience of an update that is for every node with the same root keys.
pub const EVERY_NODE: &str = "*";

const VERSION: u64 = 1;
const MAX_AUDIENCE: usize = 64;

/// A keyring that enough root keys stand behind. There is no other way to make one than
/// [`verify_update`].
#[derive(Debug, Clone, PartialEq)]
pub struct KeyringUpdate {
    id: String,
    audience: Vec<String>,
    text: String,
    keyring: Keyring,
    digest: [u8; 32],
    root_ids: Vec<String>,
    envelope: Vec<u8>,
}

impl KeyringUpdate {
    /// The id under which it is answered.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The new keyring as its author wrote it, for the medium.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The new keyring.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// SHA-256 of the payload bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Ids of the root keys of the old keyring that signed, sorted.
    #[must_use]
    pub fn root_ids(&self) -> &[String] {
        &self.root_ids
    }

    /// Holds it against the keyring in force once more: another update may have come first.
    ///
    /// # Errors
    /// See [`verify_update`].
    pub fn verify_again(&self, current: &Keyring) -> Result<Self, Refusal> {
        verify_update(&self.envelope, current).map_err(|error| error.refusal().clone())
    }

    /// Whether it is for this node.
    #[must_use]
    pub fn is_for(&self, node: &NodeName) -> bool {
        is_for(&self.audience, node.as_str())
    }
}

fn is_for(audience: &[String], node: &str) -> bool {
    audience
        .iter()
        .any(|name| name == EVERY_NODE || name == node)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    v: u64,
    id: String,
    aud: Vec<String>,
    keyring: String,
}

/// The envelope of an update, signed by the given root keys, each with its id as a hint. More are
/// added with [`super::envelope::countersign`].
///
/// # Errors
/// When no node would take it: the id, an audience, the keyring, or too large for an envelope.
pub fn seal_update(
    id: &str,
    audience: &[String],
    keyring_text: &str,
    signers: &[(&str, &SigningKey)],
) -> Result<Vec<u8>, Refusal> {
    let payload = Payload {
        v: VERSION,
        id: id.to_owned(),
        aud: audience.to_vec(),
        keyring: keyring_text.to_owned(),
    };
    check(&payload)?;
    read_keyring(&payload.keyring)?;
    let bytes = serde_json::to_vec(&payload).map_err(|error| malformed(error.to_string()))?;
    if bytes.len() > MAX_PAYLOAD_BYTES {
        return Err(Refusal::new(
            RefusalCode::TooLarge,
            format!(
                "the update has {} bytes and may have {MAX_PAYLOAD_BYTES}; take the comments out of \
                 the keyring, or bring it to the nodes as a file",
                bytes.len()
            ),
        ));
    }
    Ok(seal(KEYRING_TYPE, &bytes, signers))
}

/// Whom an update is for, as it says itself: its id, and its audience ([`EVERY_NODE`] among them).
/// For those who send it; nothing is verified.
///
/// # Errors
/// When the payload is none of an update.
pub fn addressees(payload: &[u8]) -> Result<(String, Vec<String>), Refusal> {
    let Object::<Payload>(payload) = serde_json::from_slice(payload).map_err(|error| {
        malformed(format!(
            "the payload is no keyring update: {}",
            shorten(&error.to_string(), 160)
        ))
    })?;
    check(&payload)?;
    Ok((payload.id, payload.aud))
}

/// Takes an update off the wire. `current` is the keyring in force: enough of its root keys must
/// have signed, and enough of the new one's as well, so that nobody is handed a keyring that they
/// cannot change again.
///
/// # Errors
/// See [`NotVerified`]. An update with the very bytes of the keyring in force is no error here: see
/// [`KeyringUpdate::keyring`] and its version.
pub fn verify_update(bytes: &[u8], current: &Keyring) -> Result<KeyringUpdate, NotVerified> {
    let envelope = Unverified::read(bytes)?;
    envelope.require_type(KEYRING_TYPE)?;
    let signed_by = |roots: &[Root]| -> Vec<String> {
        let (message, signatures) = envelope.signed();
        let mut ids: Vec<String> = roots
            .iter()
            .filter(|root| {
                signatures
                    .iter()
                    .any(|(_, signature)| verifies(&root.public, &message, signature))
            })
            .map(|root| root.id.clone())
            .collect();
        ids.sort();
        ids
    };
    let root_ids = signed_by(&current.roots);
    if root_ids.is_empty() {
        let why = if current.roots.is_empty() {
            "the keyring in force has no root key, so it is not changed over the air"
        } else {
            "no signature is by a root key of the keyring in force"
        };
        return Err(Refusal::new(RefusalCode::UnknownKey, why).into());
    }
    let digest = sha256(&envelope.payload);
    let Object::<Payload>(payload) =
        serde_json::from_slice(&envelope.payload).map_err(|error| {
            let error = shorten(&error.to_string(), 160);
            malformed(format!("the payload is not a keyring update: {error}"))
        })?;
    if !is_identifier(&payload.id) {
        return Err(malformed("the `id` of the update is none").into());
    }
    let judged = judge(&payload, current, &root_ids, signed_by);
    match judged {
        Ok(keyring) => Ok(KeyringUpdate {
            id: payload.id,
            audience: payload.aud,
            text: payload.keyring,
            keyring,
            digest,
            root_ids,
            envelope: bytes.to_vec(),
        }),
        Err(refusal) => Err(NotVerified::Refused(Box::new(RefusedCommand {
            id: payload.id,
            digest,
            key_ids: root_ids,
            cmd: Some(UPDATE_NAME.to_owned()),
            application: None,
            refusal,
        }))),
    }
}

/// Everything that can be held against an update whose author is known.
fn judge(
    payload: &Payload,
    current: &Keyring,
    old_signers: &[String],
    signed_by: impl Fn(&[Root]) -> Vec<String>,
) -> Result<Keyring, Refusal> {
    check(payload)?;
    let keyring =
        read_keyring(&payload.keyring)?.with_default_namespace(&current.default_namespace);
    if keyring.version < current.version
        || (keyring.version == current.version && keyring != *current)
    {
        return Err(Refusal::new(
            RefusalCode::Replayed,
            format!(
                "version {} is not above {}, that of the keyring in force",
                keyring.version, current.version
            ),
        ));
    }
    let new_signers = signed_by(&keyring.roots);
    for (which, needed, signers) in [
        ("old", current.root_threshold, old_signers),
        ("new", keyring.root_threshold, &new_signers[..]),
    ] {
        if signers.len() < needed {
            return Err(Refusal::new(
                RefusalCode::ThresholdNotMet,
                format!(
                    "{needed} root keys of the {which} keyring must sign; {} did (`{}`)",
                    signers.len(),
                    signers.join("`, `")
                ),
            ));
        }
    }
    Ok(keyring)
}

fn check(payload: &Payload) -> Result<(), Refusal> {
    let fault = if payload.v != VERSION {
        format!("`v` is {VERSION}")
    } else if !is_identifier(&payload.id) {
        "`id` has 1 to 64 characters out of A-Z a-z 0-9 . _ -".to_owned()
    } else if !(1..=MAX_AUDIENCE).contains(&payload.aud.len()) {
        format!("`aud` names 1 to {MAX_AUDIENCE} nodes, or `{EVERY_NODE}`")
    } else if let Some(name) = payload
        .aud
        .iter()
        .find(|name| *name != EVERY_NODE && !is_identifier(name))
    {
        format!("`aud` has `{}`, which no node can have", shorten(name, 64))
    } else {
        return Ok(());
    };
    Err(Refusal::new(RefusalCode::InvalidArguments, fault))
}

fn read_keyring(text: &str) -> Result<Keyring, Refusal> {
    let invalid = |fault: String| Refusal::new(RefusalCode::InvalidArguments, fault);
    let keyring = Keyring::parse(text)
        .map_err(|faults| invalid(format!("the new keyring: {}", faults.join("; "))))?;
    if keyring.roots.is_empty() {
        return Err(invalid(
            "the new keyring has no `[[root]]`, so it could never be changed again over the air"
                .to_owned(),
        ));
    }
    Ok(keyring)
}

#[cfg(test)]
mod tests;
