//! DSSE 1.0.2 envelopes: signatures over exactly the bytes that were received.
//!
//! The envelope is read once. The payload that was verified is the payload that is used; the key id
//! beside a signature only says which key to try first; there is no field that names an algorithm,
//! because there is one: Ed25519.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::encoding::{from_base64, shorten, to_base64};
use super::keyring::{Key, Keyring};
use super::object::Object;
use super::payload::{Command, PayloadError, digest_text};
use super::{Refusal, RefusalCode};

pub use super::key::{KeyError, SigningKey};
pub use super::result::{open_result, seal_result};

/// Bytes of an envelope.
pub const MAX_ENVELOPE_BYTES: usize = 8192;
/// Signatures of an envelope.
pub const MAX_SIGNATURES: usize = 4;
/// Bytes of a payload, decoded.
pub const MAX_PAYLOAD_BYTES: usize = 4096;
/// The payload type of a command.
pub const COMMAND_TYPE: &str = "application/vnd.edge-agent.command.v1+json";
/// The payload type of a result.
pub const RESULT_TYPE: &str = "application/vnd.edge-agent.result.v1+json";

/// A command whose signatures hold and whose keys may order it. There is no other way to make one
/// than [`verify`].
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedCommand {
    command: Command,
    digest: [u8; 32],
    key_ids: Vec<String>,
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

/// An envelope that was read and not verified. Everything in it may be forged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified {
    /// What the payload claims to be.
    pub payload_type: String,
    /// The payload, decoded.
    pub payload: Vec<u8>,
    /// Hint and signature bytes.
    signatures: Vec<(String, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<S> {
    payload: String,
    payload_type: String,
    signatures: Vec<S>,
}

#[derive(Serialize, Deserialize)]
struct Signature {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    sig: String,
}

impl Unverified {
    /// Reads an envelope within the limits. Unknown fields are ignored, as DSSE wants it; a field
    /// that comes twice is a fault.
    ///
    /// # Errors
    /// `too_large` or `malformed`.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(too_large(
                "the envelope",
                bytes.len(),
                MAX_ENVELOPE_BYTES,
                "bytes",
            ));
        }
        let Object::<Envelope<Object<Signature>>>(envelope) = serde_json::from_slice(bytes)
            .map_err(|error| {
                let error = shorten(&error.to_string(), 160);
                malformed(format!("not a DSSE envelope: {error}"))
            })?;
        let count = envelope.signatures.len();
        if count > MAX_SIGNATURES {
            return Err(too_large(
                "the envelope",
                count,
                MAX_SIGNATURES,
                "signatures",
            ));
        }
        if count == 0 {
            return Err(malformed("the envelope has no signature"));
        }
        let payload = from_base64(&envelope.payload)
            .ok_or_else(|| malformed("the payload of the envelope is not base64"))?;
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(too_large(
                "the payload",
                payload.len(),
                MAX_PAYLOAD_BYTES,
                "bytes",
            ));
        }
        let signatures = envelope
            .signatures
            .into_iter()
            .map(|Object(signature)| {
                let bytes = from_base64(&signature.sig)
                    .ok_or_else(|| malformed("a signature of the envelope is not base64"))?;
                Ok((signature.keyid.unwrap_or_default(), bytes))
            })
            .collect::<Result<_, Refusal>>()?;
        Ok(Self {
            payload_type: envelope.payload_type,
            payload,
            signatures,
        })
    }

    /// The key ids beside the signatures; empty where there is none. Hints only.
    pub fn key_hints(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|(hint, _)| hint.as_str())
    }

    /// # Errors
    /// `unsupported_type` unless the payload claims to be of this type.
    pub(super) fn require_type(&self, wanted: &str) -> Result<(), Refusal> {
        if self.payload_type == wanted {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::UnsupportedType,
            format!(
                "the payload is of type `{}`; here only `{wanted}` is taken",
                shorten(&self.payload_type, 80)
            ),
        ))
    }

    /// What was signed, and each signature over it.
    pub(super) fn signed(&self) -> (Vec<u8>, &[(String, Vec<u8>)]) {
        (pae(&self.payload_type, &self.payload), &self.signatures)
    }

    /// The different keys of the keyring whose signatures hold, by id. At least one.
    fn signers<'k>(
        &self,
        keyring: &'k Keyring,
        today: Timestamp,
    ) -> Result<BTreeMap<&'k str, &'k Key>, Refusal> {
        let (message, signatures) = self.signed();
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
            .find(|key| self.key_hints().any(|hint| hint == key.id()));
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
}

/// The pre-authentication encoding: what is signed. Type and payload cannot be shifted into each
/// other, because both lengths stand before them.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

/// Signs a payload and gives the envelope. An empty key id is left out.
#[must_use]
pub fn seal(payload_type: &str, payload: &[u8], signers: &[(&str, &SigningKey)]) -> Vec<u8> {
    let message = pae(payload_type, payload);
    let signatures = signers
        .iter()
        .map(|(key_id, key)| (*key_id, key.sign(&message)))
        .collect::<Vec<_>>();
    write(payload_type, payload, &signatures)
}

/// Adds a signature to an envelope, over the payload that is in it. The signatures that are there
/// are kept unread: whoever receives it verifies them. A signature with the same key id is
/// replaced.
///
/// # Errors
/// `malformed` or `too_large` when it is no envelope, or has [`MAX_SIGNATURES`] already.
pub fn countersign(bytes: &[u8], key_id: &str, key: &SigningKey) -> Result<Vec<u8>, Refusal> {
    let envelope = Unverified::read(bytes)?;
    let (message, signatures) = envelope.signed();
    let mut all: Vec<(&str, Vec<u8>)> = signatures
        .iter()
        .filter(|(hint, _)| key_id.is_empty() || hint != key_id)
        .map(|(hint, signature)| (hint.as_str(), signature.clone()))
        .collect();
    all.push((key_id, key.sign(&message)));
    if all.len() > MAX_SIGNATURES {
        return Err(too_large(
            "the envelope",
            all.len(),
            MAX_SIGNATURES,
            "signatures",
        ));
    }
    Ok(write(&envelope.payload_type, &envelope.payload, &all))
}

fn write(payload_type: &str, payload: &[u8], signatures: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let envelope = Envelope {
        payload: to_base64(payload),
        payload_type: payload_type.to_owned(),
        signatures: signatures
            .iter()
            .map(|(key_id, signature)| Signature {
                keyid: Some((*key_id).to_owned()).filter(|key_id| !key_id.is_empty()),
                sig: to_base64(signature),
            })
            .collect(),
    };
    // Strings always have a JSON form.
    serde_json::to_vec(&envelope).unwrap_or_default()
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
    let signers = envelope.signers(keyring, today)?;
    let digest = sha256(&envelope.payload);
    let command = Command::parse(&envelope.payload)
        .map_err(|error| refused_payload(error, digest, &signers))?;
    match authorize(&command, keyring, max_ttl, &signers) {
        Ok(key_ids) => Ok(VerifiedCommand {
            sequence_horizon: command.issued_at.saturating_add(seconds(max_ttl)),
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

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    hash
}

pub(super) fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message)
}

fn too_large(what: &str, has: usize, limit: usize, unit: &str) -> Refusal {
    Refusal::new(
        RefusalCode::TooLarge,
        format!("{what} has {has} {unit}; it may have {limit}"),
    )
}

#[cfg(test)]
mod tests;
