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
    pub refusal: crate::command::Refusal,
}
