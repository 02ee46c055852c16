//! Digests of contents in a registry.

use std::fmt;
use std::str::FromStr;

use crate::command::envelope::sha256;

/// `sha256:` and 64 hexadecimal digits. Registries know others, but none is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }

    /// The hexadecimal digits alone.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WANTED: &str = "a digest is sha256: and 64 hexadecimal digits in small letters";
        let hex = text.strip_prefix("sha256:").ok_or(WANTED)?;
        let digits: Vec<u32> = hex
            .chars()
            .filter(|digit| !digit.is_ascii_uppercase())
            .map_while(|digit| digit.to_digit(16))
            .collect();
        if hex.len() != 64 || digits.len() != 64 {
            return Err(WANTED.to_owned());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let value = pair.iter().fold(0, |value, digit| value * 16 + digit);
            *byte = u8::try_from(value).map_err(|_| WANTED)?;
        }
        Ok(Self(bytes))
    }
}
