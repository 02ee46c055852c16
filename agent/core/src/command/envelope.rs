//! DSSE envelopes: signatures over exactly the bytes that were received.

use crate::command::payload::Command;

/// A command whose signatures hold and whose keys may order it. There is no other way to make one
/// than the verification in this module.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedCommand {
    command: Command,
    digest: [u8; 32],
    key_ids: Vec<String>,
}

impl VerifiedCommand {
    #[must_use]
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// SHA-256 of the payload bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The ids (of the keyring, not of the envelope) of the keys that signed, sorted.
    #[must_use]
    pub fn key_ids(&self) -> &[String] {
        &self.key_ids
    }
}
