//! Commands without a signature, for who has no key and never will have one, such as a button in Home
//! Assistant: only what does no harm, and only where the settings allow it.
//!
//! Such a command is the payload of a signed one as it is, without an envelope around it. It may be sent
//! by anybody who may write to the command topic.

use super::envelope::{MAX_PAYLOAD_BYTES, sha256};
use super::payload::{Action, Command};
use super::{Refusal, RefusalCode};

/// The commands that may be allowed without a signature.
pub const ALLOWABLE: [&str; 1] = ["identify"];

/// What the id of such a command begins with, so that its result never takes the place of that of a
/// signed one.
pub const ID_PREFIX: &str = "unsigned-";

/// A command that the settings allow without a signature. There is no other way to make one than
/// [`UnsignedCommand::read`], so there is none that would change anything.
#[derive(Debug, Clone, PartialEq)]
pub struct UnsignedCommand {
    command: Command,
    digest: [u8; 32],
    seconds: u32,
}

impl UnsignedCommand {
    /// Whether a message is meant to be one: a JSON object that says what is ordered.
    #[must_use]
    pub fn is_meant(message: &[u8]) -> bool {
        #[derive(serde::Deserialize)]
        struct Meant {
            #[serde(rename = "cmd")]
            _cmd: String,
        }
        message.len() <= MAX_PAYLOAD_BYTES && serde_json::from_slice::<Meant>(message).is_ok()
    }

    /// Takes one off the wire. `allowed` names the commands that need no signature here; of those, only
    /// [`ALLOWABLE`] count.
    ///
    /// # Errors
    /// `too_large`, or what is wrong with the payload; `not_permitted` when it needs a signature.
    pub fn read(message: &[u8], allowed: &[String]) -> Result<Self, Refusal> {
        if message.len() > MAX_PAYLOAD_BYTES {
            let what = format!("the command has more than {MAX_PAYLOAD_BYTES} bytes");
            return Err(Refusal::new(RefusalCode::TooLarge, what));
        }
        let command = Command::parse(message).map_err(|fault| fault.refusal)?;
        let seconds = match command.action {
            Action::Identify { seconds } if allowed.iter().any(|it| it == "identify") => seconds,
            _ => {
                let what = format!("`{}` needs a signature here", command.name());
                return Err(Refusal::new(RefusalCode::NotPermitted, what));
            }
        };
        if !command.id.starts_with(ID_PREFIX) {
            let what = format!("without a signature the `id` begins with `{ID_PREFIX}`");
            return Err(Refusal::new(RefusalCode::InvalidArguments, what));
        }
        Ok(Self {
            command,
            digest: sha256(message),
            seconds,
        })
    }

    /// What is ordered.
    #[must_use]
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// SHA-256 of the bytes that were received.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// For how long the board is to blink, 1 to 600 s.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload(id: &str, cmd: &str, args: &str) -> Vec<u8> {
        format!(
            r#"{{"v":1,"id":"{id}","aud":["pi-01"],"seq":1,"iat":1,"exp":2,"cmd":"{cmd}","args":{args}}}"#
        )
        .into_bytes()
    }

    fn code(message: &[u8], allowed: &[&str]) -> Result<u32, RefusalCode> {
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        UnsignedCommand::read(message, &allowed)
            .map(|command| command.seconds())
            .map_err(|refusal| refusal.code)
    }

    #[test]
    fn identify_needs_no_signature_where_it_is_allowed() {
        let identify = payload("unsigned-1", "identify", r#"{"seconds":30}"#);
        assert_eq!(code(&identify, &["identify"]), Ok(30));
        assert_eq!(code(&identify, &[]), Err(RefusalCode::NotPermitted));
        assert!(UnsignedCommand::is_meant(&identify));
        assert!(!UnsignedCommand::is_meant(
            br#"{"payload":"","payloadType":"","signatures":[]}"#
        ));
    }

    #[test]
    fn nothing_else_can_be_allowed_and_no_id_of_a_signed_command_be_taken() {
        let all: Vec<&str> = super::super::payload::COMMAND_NAMES.to_vec();
        let resume = payload("unsigned-1", "resume", r#"{"application":"shop"}"#);
        assert_eq!(code(&resume, &all), Err(RefusalCode::NotPermitted));
        let ping = payload("unsigned-1", "ping", "{}");
        assert_eq!(code(&ping, &all), Err(RefusalCode::NotPermitted));
        let foreign = payload("01J0", "identify", r#"{"seconds":30}"#);
        assert_eq!(code(&foreign, &all), Err(RefusalCode::InvalidArguments));
        let long = payload("unsigned-1", "identify", r#"{"seconds":601}"#);
        assert_eq!(code(&long, &all), Err(RefusalCode::InvalidArguments));
        let large = [identify_with_spaces(), vec![b' '; MAX_PAYLOAD_BYTES]].concat();
        assert_eq!(code(&large, &all), Err(RefusalCode::TooLarge));
    }

    fn identify_with_spaces() -> Vec<u8> {
        payload("unsigned-1", "identify", r#"{ "seconds": 30 }"#)
    }

    proptest! {
        #[test]
        fn whatever_comes_is_an_identify_or_nothing(message in ".{0,200}") {
            let allowed = ["identify".to_owned(), "rollback".to_owned()];
            if let Ok(command) = UnsignedCommand::read(message.as_bytes(), &allowed) {
                prop_assert_eq!(command.command().name(), "identify");
            }
        }
    }
}
