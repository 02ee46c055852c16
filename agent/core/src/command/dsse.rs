//! The form of a DSSE 1.0.2 envelope: reading, writing and signing one. Whether to believe it is
//! decided in [`super::envelope`].

use serde::{Deserialize, Serialize};

use super::encoding::{from_base64, shorten, to_base64};
use super::key::SigningKey;
use super::object::Object;
use super::{Refusal, RefusalCode};

/// Bytes of an envelope.
pub const MAX_ENVELOPE_BYTES: usize = 8192;
/// Signatures of an envelope.
pub const MAX_SIGNATURES: usize = 4;
/// Bytes of a payload, decoded.
pub const MAX_PAYLOAD_BYTES: usize = 4096;
/// The payload type of a command.
pub const COMMAND_TYPE: &str = "application/vnd.edge-agent.command.v1+json";
/// The payload type of a new keyring.
pub const KEYRING_TYPE: &str = "application/vnd.edge-agent.keyring.v1+json";
/// The payload type of a result.
pub const RESULT_TYPE: &str = "application/vnd.edge-agent.result.v1+json";

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
        self.require_one_of(&[wanted])
    }

    /// # Errors
    /// `unsupported_type` unless the payload claims to be of one of these types.
    pub fn require_one_of(&self, wanted: &[&str]) -> Result<(), Refusal> {
        if wanted.contains(&self.payload_type.as_str()) {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::UnsupportedType,
            format!(
                "the payload is of type `{}`; here only `{}` is taken",
                shorten(&self.payload_type, 80),
                wanted.join("` or `")
            ),
        ))
    }

    /// What was signed, and each signature over it.
    pub(super) fn signed(&self) -> (Vec<u8>, &[(String, Vec<u8>)]) {
        (pae(&self.payload_type, &self.payload), &self.signatures)
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

pub(super) fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message)
}

fn too_large(what: &str, has: usize, limit: usize, unit: &str) -> Refusal {
    Refusal::new(
        RefusalCode::TooLarge,
        format!("{what} has {has} {unit}; it may have {limit}"),
    )
}
