//! Keys: the secret half that signs, and what a public half must not be.

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::encoding::{from_base64, to_base64};

/// Bytes of a seed and of a public key.
pub const KEY_BYTES: usize = 32;

/// What the one line of a private key starts with. It is telling on purpose: people and secret
/// scanners shall know it when they see it.
pub const PRIVATE_KEY_PREFIX: &str = "edge-agent-private-key-1:";

/// Why a text or seed is no signing key. Never quotes the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text lacks [`PRIVATE_KEY_PREFIX`].
    #[error(
        "this is not a private key of edge-agent: it should be one line that starts with \
         `edge-agent-private-key-1:`, as `edge-agent keygen` writes it"
    )]
    NotAKey,
    /// What follows the prefix is not base64 of seed and public key.
    #[error(
        "the private key is cut off or has characters that do not belong there; copy the whole line"
    )]
    Damaged,
    /// Seed and public key do not belong together.
    #[error("the private key has a wrong character: its two halves do not belong together")]
    Mismatch,
    /// A seed that is not 32 bytes long.
    #[error("a seed has 32 bytes")]
    SeedLength,
}

/// An Ed25519 key that signs. Its `Debug` shows the public half only.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Makes the key of a seed: 32 bytes that must come from a good source of randomness.
    ///
    /// # Errors
    /// [`KeyError::SeedLength`] for any other length.
    pub fn from_seed(seed: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::SeedLength)?;
        Ok(Self { pair })
    }

    /// Reads the one-line form of [`SigningKey::seed_to_text`], as it stands in a file or in an
    /// environment variable. White space around it is ignored.
    ///
    /// # Errors
    /// When the text is something else, or was damaged on the way.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let encoded = text
            .trim()
            .strip_prefix(PRIVATE_KEY_PREFIX)
            .ok_or(KeyError::NotAKey)?;
        let bytes = from_base64(encoded)
            .filter(|bytes| bytes.len() == 2 * KEY_BYTES)
            .ok_or(KeyError::Damaged)?;
        let (seed, public) = bytes.split_at(KEY_BYTES);
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public)
            .map_err(|_| KeyError::Mismatch)?;
        Ok(Self { pair })
    }

    /// The one-line form of the key of a seed: the prefix, then base64 of the seed and its public
    /// key. The public half is there so that a wrong character is noticed, instead of making
    /// another key.
    ///
    /// # Errors
    /// [`KeyError::SeedLength`] when the seed is not 32 bytes long.
    pub fn seed_to_text(seed: &[u8]) -> Result<String, KeyError> {
        let public = Self::from_seed(seed)?.public();
        let both: Vec<u8> = seed.iter().chain(&public).copied().collect();
        Ok(format!("{PRIVATE_KEY_PREFIX}{}", to_base64(&both)))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> [u8; KEY_BYTES] {
        let mut public = [0; KEY_BYTES];
        for (to, from) in public.iter_mut().zip(self.pair.public_key().as_ref()) {
            *to = *from;
        }
        public
    }

    /// The public half in base64, as keyrings and the topic `identity` have it.
    #[must_use]
    pub fn public_base64(&self) -> String {
        to_base64(&self.public())
    }

    /// 64 bytes.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("public", &self.public_base64())
            .finish_non_exhaustive()
    }
}

/// Reads a public key in base64, either alphabet.
///
/// # Errors
/// A sentence for a person: not base64, not 32 bytes, a private key, or a key that anybody can
/// sign for (see [`is_small_order`]).
pub fn public_from_base64(text: &str) -> Result<[u8; KEY_BYTES], String> {
    if text.trim_start().starts_with(PRIVATE_KEY_PREFIX) {
        return Err(
            "this is a private key; put its public half here, and make a new key, because this \
             one has been seen"
                .to_owned(),
        );
    }
    let bytes = from_base64(text).ok_or("a public key is base64 of 32 bytes; this is no base64")?;
    let public: [u8; KEY_BYTES] = bytes
        .try_into()
        .map_err(|bytes: Vec<u8>| format!("a public key has 32 bytes; this has {}", bytes.len()))?;
    if is_small_order(&public) {
        return Err(
            "signatures for this key can be forged by anybody (a point of small order, \
                    such as a key of zeros); make a key with `edge-agent keygen`"
                .to_owned(),
        );
    }
    Ok(public)
}

/// Whether a signature over a message is by a key. Never true for a key of small order: ring would
/// accept forged signatures for these.
pub(super) fn verifies(public: &[u8; KEY_BYTES], message: &[u8], signature: &[u8]) -> bool {
    !is_small_order(public)
        && UnparsedPublicKey::new(&ED25519, public)
            .verify(message, signature)
            .is_ok()
}

/// The y coordinates, little-endian and without the sign bit, of every encoding of a point of
/// small order: 0, 1, the two of order eight, p − 1, and p and p + 1, which are 0 and 1 again.
/// With either sign that makes the 14 encodings.
const SMALL_ORDER_Y: [[u8; KEY_BYTES]; 7] = [
    [0; KEY_BYTES],
    edge(0x01, 0x00, 0x00),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    edge(0xec, 0xff, 0x7f),
    edge(0xed, 0xff, 0x7f),
    edge(0xee, 0xff, 0x7f),
];

const fn edge(first: u8, middle: u8, last: u8) -> [u8; KEY_BYTES] {
    let mut bytes = [middle; KEY_BYTES];
    bytes[0] = first;
    bytes[KEY_BYTES - 1] = last;
    bytes
}

/// Whether a public key is one of the 14 encodings of a point of small order, for which signatures
/// can be made without any private key.
#[must_use]
pub fn is_small_order(public: &[u8; KEY_BYTES]) -> bool {
    let mut y = *public;
    y[KEY_BYTES - 1] &= 0x7f;
    SMALL_ORDER_Y.contains(&y)
}

/// The public keys of RFC 8032, section 7, whose private halves are printed there.
const PUBLISHED: [&str; 7] = [
    "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=",
    "/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=",
    "J4EX/BRMcjQPZ9DyMW6Dhs7/vyskKMnFH+98WX8dQm4=",
    "7Bcrk61eVjv0kyxw4SRQNMNUZ+8u/U1k6/gZaDRn4r8=",
    "38lCXk+Wj38MKfAlnPX5rtaFHCu0rYv7hgz+4KskgpI=",
    "Dx0SdJQ7kUFYiRUuiT2A6TJ1ofwLZf1xtLDdoQrX13I=",
];

/// Whether a public key is one of RFC 8032's examples, whose private halves everybody knows.
#[must_use]
pub fn is_published_test_key(public: &[u8; KEY_BYTES]) -> bool {
    PUBLISHED.contains(&to_base64(public).as_str())
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn from_hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    /// RFC 8032, section 7.1, TEST 1 and TEST 2.
    pub(crate) const SEED_A: &str =
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    pub(crate) const SEED_B: &str =
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";

    pub(crate) fn key_a() -> SigningKey {
        SigningKey::from_seed(&from_hex(SEED_A)).unwrap()
    }

    pub(crate) fn key_b() -> SigningKey {
        SigningKey::from_seed(&from_hex(SEED_B)).unwrap()
    }

    pub(crate) const SMALL_ORDER: [&str; 14] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];

    #[test]
    fn the_vectors_of_rfc_8032() {
        let a = key_a();
        assert_eq!(
            a.public().to_vec(),
            from_hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        );
        let signature = a.sign(b"");
        assert_eq!(
            signature,
            from_hex(
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                 5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            )
        );
        assert!(verifies(&a.public(), b"", &signature));
        let b = key_b();
        let signature = b.sign(&[0x72]);
        assert_eq!(
            signature,
            from_hex(
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            )
        );
        assert!(!verifies(&a.public(), &[0x72], &signature));
    }

    #[test]
    fn all_fourteen_small_order_keys_are_refused() {
        // The identity, with a signature that ring takes for any message: R = identity, s = 0.
        let mut forged = [0_u8; 64];
        forged[0] = 1;
        let identity: [u8; 32] = from_hex(SMALL_ORDER[2]).try_into().unwrap();
        let by_ring = UnparsedPublicKey::new(&ED25519, identity).verify(b"anything", &forged);
        assert!(by_ring.is_ok(), "the reason for the list is gone");
        for hex in SMALL_ORDER {
            let public: [u8; 32] = from_hex(hex).try_into().unwrap();
            assert!(is_small_order(&public), "{hex}");
            assert!(!verifies(&public, b"anything", &forged), "{hex}");
            let fault = public_from_base64(&to_base64(&public)).unwrap_err();
            assert!(fault.contains("small order"), "{fault}");
        }
        assert!(!is_small_order(&key_a().public()));
    }

    #[test]
    fn published_keys_are_known() {
        let seeds = [
            SEED_A,
            SEED_B,
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6",
            "ab9c2853ce297ddab85c993b3ae14bcad39b2c682beabc27d6d4eb20711d6560",
        ];
        for seed in seeds {
            let key = SigningKey::from_seed(&from_hex(seed)).unwrap();
            assert!(is_published_test_key(&key.public()), "{seed}");
        }
        let own = SigningKey::from_seed(&[7; 32]).unwrap();
        assert!(!is_published_test_key(&own.public()));
    }

    #[test]
    fn the_text_form_goes_there_and_back_and_notices_damage() {
        let seed = [9; 32];
        let text = SigningKey::seed_to_text(&seed).unwrap();
        let key = SigningKey::from_text(&format!("  {text}\n")).unwrap();
        assert_eq!(key.public(), SigningKey::from_seed(&seed).unwrap().public());
        assert_eq!(
            SigningKey::from_text("hello").unwrap_err(),
            KeyError::NotAKey
        );
        assert_eq!(
            SigningKey::from_text(&text[..text.len() - 8]).unwrap_err(),
            KeyError::Damaged
        );
        let at = PRIVATE_KEY_PREFIX.len() + 3;
        let mut changed = text.clone();
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        changed.replace_range(at..=at, other);
        assert_eq!(
            SigningKey::from_text(&changed).unwrap_err(),
            KeyError::Mismatch
        );
        assert_eq!(
            SigningKey::from_seed(&[1; 31]).unwrap_err(),
            KeyError::SeedLength
        );
    }

    #[test]
    fn secrets_do_not_show() {
        let seed = [9; 32];
        let text = SigningKey::seed_to_text(&seed).unwrap();
        let shown = format!("{:?}", SigningKey::from_seed(&seed).unwrap());
        assert!(shown.contains("public"));
        assert!(!shown.contains(&text[PRIVATE_KEY_PREFIX.len()..][..40]));
        let fault = public_from_base64(&text).unwrap_err();
        assert!(fault.contains("private key"));
        assert!(!fault.contains(&text[PRIVATE_KEY_PREFIX.len()..]));
    }
}
