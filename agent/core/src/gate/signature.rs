//! Signatures of images as cosign makes them with a key: "simple signing", at the tag
//! `sha256-<digest>.sig` beside the image.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

use super::digest::Digest;
use super::image::Descriptor;
use super::quoted;

/// The annotation of a layer that holds the signature of its content.
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// What cosign writes for the kind of a payload.
const KIND: &str = "cosign container image signature";
/// How many signatures of an image are looked at.
pub const MAX_SIGNATURES: usize = 32;

/// The beginning of a key in DER, up to the point on the curve P-256 (uncompressed).
pub(super) const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The beginning of an Ed25519 key in DER, up to its 32 bytes.
const ED25519_DER: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Who signs images.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageKey {
    kind: Kind,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    Ed25519,
}

impl std::fmt::Debug for ImageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageKey")
            .field("kind", &self.kind)
            .finish()
    }
}

impl ImageKey {
    /// Reads `cosign.pub`: `-----BEGIN PUBLIC KEY-----`, ECDSA on P-256 or Ed25519.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
        const END: &str = "-----END PUBLIC KEY-----";
        let inner = text
            .split_once(BEGIN)
            .and_then(|(_, rest)| rest.split_once(END));
        let (inner, _) = inner.ok_or_else(|| format!("holds no {BEGIN}"))?;
        let body: String = inner.split_whitespace().collect();
        let der = STANDARD
            .decode(body)
            .map_err(|_| "is no PEM: its base64 is broken")?;
        let (kind, bytes, length) = if let Some(point) = der.strip_prefix(&P256) {
            (Kind::P256, point, 65)
        } else if let Some(point) = der.strip_prefix(&ED25519_DER) {
            (Kind::Ed25519, point, 32)
        } else {
            return Err(
                "is neither an ECDSA key on P-256 (cosign's own) nor an Ed25519 key".into(),
            );
        };
        if bytes.len() != length {
            return Err("holds a key of the wrong length".to_owned());
        }
        let bytes = bytes.to_vec();
        Ok(Self { kind, bytes })
    }

    fn holds(&self, payload: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.kind {
            Kind::P256 => &ECDSA_P256_SHA256_ASN1,
            Kind::Ed25519 => &ED25519,
        };
        let key = UnparsedPublicKey::new(algorithm, &self.bytes);
        key.verify(payload, signature).is_ok()
    }
}

/// The tag at which the signatures of an image stand.
#[must_use]
pub fn tag(image: &Digest) -> String {
    format!("sha256-{}.sig", image.hex())
}

/// Those of the layers at that tag that claim to be a signature, with it.
#[must_use]
pub fn claims(layers: &[Descriptor]) -> Vec<(Digest, Vec<u8>)> {
    let claim = |layer: &Descriptor| {
        let text = layer.annotations.get(ANNOTATION)?;
        Some((layer.digest, STANDARD.decode(text).ok()?))
    };
    layers
        .iter()
        .filter_map(claim)
        .take(MAX_SIGNATURES)
        .collect()
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Whether one of the keys has signed a payload, and the payload is about the image.
///
/// # Errors
/// Why this is no signature of the image.
pub fn judge(
    keys: &[ImageKey],
    image: &Digest,
    payload: &[u8],
    signature: &[u8],
) -> Result<(), String> {
    // Nothing in the payload is looked at before its signature.
    if !keys.iter().any(|key| key.holds(payload, signature)) {
        return Err("it is signed by another key".to_owned());
    }
    let Payload { critical } = serde_json::from_slice(payload)
        .map_err(|error| format!("what was signed is no statement about an image: {error}"))?;
    if critical.kind != KIND {
        let kind = quoted(&critical.kind);
        return Err(format!("what was signed is a {kind:?}, not a {KIND:?}"));
    }
    if critical.image.digest != image.to_string() {
        let other = quoted(&critical.image.digest);
        return Err(format!("the signature is about another image, {other}"));
    }
    Ok(())
}
