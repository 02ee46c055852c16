//! `verify`: says what an envelope is, who signed it, and whether it is still valid.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use edge_agent_core::clock::format_timestamp;
use edge_agent_core::command::envelope::{
    COMMAND_TYPE, KEYRING_TYPE, MAX_ENVELOPE_BYTES, NotVerified, RESULT_TYPE, Unverified,
    VerifiedCommand, open_result, verify,
};
use edge_agent_core::command::key::public_from_base64;
use edge_agent_core::command::keyring::{DEFAULT_NAMESPACE, Key};
use edge_agent_core::command::update::{KeyringUpdate, verify_update};
use edge_agent_core::wire::CommandResult;
use jiff::Timestamp;

use super::{Exit, output};
use crate::store::keyring::read as read_keyring;

/// Say what an envelope is and whether it holds.
///
/// A command is held against a keyring, as the node does it; a result against the node's public
/// key, as it stands in the node's topic `identity`. Ends with 1 when it does not hold.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  edge-agent verify --keyring keyring.toml envelope.json")]
pub(super) struct Args {
    /// File with the envelope; standard input by default.
    #[arg(value_name = "ENVELOPE")]
    pub envelope: Option<PathBuf>,

    /// Keyring of the node, for a command or a new keyring.
    #[arg(long, value_name = "FILE")]
    pub keyring: Option<PathBuf>,

    /// Public key of the node, for a result; more than once for several.
    #[arg(long, value_name = "BASE64")]
    pub node_key: Vec<String>,

    /// Namespace of applications that a command names without one.
    #[arg(long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,

    /// `max_ttl_seconds` of the node.
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub max_ttl_seconds: u64,
}

/// Prints what the envelope is.
///
/// # Errors
/// When the envelope, the keyring or a key cannot be read, or the one that is needed is missing.
pub(super) fn run(args: &Args, now: Timestamp) -> anyhow::Result<Exit> {
    let bytes = read_envelope(args.envelope.as_deref())?;
    let (holds, text) = judge(args, &bytes, now)?;
    output::print(&text)?;
    Ok(if holds { Exit::Done } else { Exit::Failed })
}

/// Reads an envelope from a file, or from standard input for `None` and `-`, and not more of it
/// than an envelope can have.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read_envelope(path: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let path = path.filter(|path| *path != Path::new("-"));
    let mut bytes = Vec::new();
    // One byte more, so that what is too large is seen to be; and room for the end of the line.
    let limit = MAX_ENVELOPE_BYTES as u64 + 16;
    match path {
        Some(path) => std::fs::File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {}", path.display()))?,
        None => std::io::stdin()
            .take(limit)
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?,
    };
    Ok(bytes.trim_ascii().to_vec())
}

fn judge(args: &Args, bytes: &[u8], now: Timestamp) -> anyhow::Result<(bool, String)> {
    let kind = match Unverified::read(bytes) {
        Ok(envelope) => envelope.payload_type,
        Err(refusal) => return Ok((false, format!("does not hold: {refusal}\n"))),
    };
    match kind.as_str() {
        COMMAND_TYPE => {
            let path = args
                .keyring
                .as_deref()
                .context("this is a command: give the keyring of the node with --keyring")?;
            let keyring = read_keyring(path)?.with_default_namespace(&args.namespace);
            let max_ttl = Duration::from_secs(args.max_ttl_seconds);
            Ok(match verify(bytes, &keyring, max_ttl, now) {
                Ok(command) => (true, describe_command(&command, now)),
                Err(error) => (false, describe_refusal(&error)),
            })
        }
        KEYRING_TYPE => judge_update(args, bytes),
        RESULT_TYPE => {
            anyhow::ensure!(
                !args.node_key.is_empty(),
                "this is a result: give the public key of the node with --node-key"
            );
            let keys = args
                .node_key
                .iter()
                .map(|text| public_from_base64(text).map_err(|fault| anyhow::anyhow!(fault)))
                .collect::<Result<Vec<_>, _>>()
                .context("--node-key")?;
            Ok(match open_result(bytes, &keys) {
                Ok(result) => (true, describe_result(&result)),
                Err(refusal) => (false, format!("does not hold: {refusal}\n")),
            })
        }
        other => Ok((
            false,
            format!(
                "does not hold: neither a command nor a result nor a keyring, but `{}`\n",
                other.escape_debug()
            ),
        )),
    }
}

fn judge_update(args: &Args, bytes: &[u8]) -> anyhow::Result<(bool, String)> {
    let path = args
        .keyring
        .as_deref()
        .context("this is a new keyring: give the one that the node has now with --keyring")?;
    Ok(match verify_update(bytes, &read_keyring(path)?) {
        Ok(update) => (true, describe_update(&update)),
        Err(error) => (false, describe_refusal(&error)),
    })
}

fn describe_update(update: &KeyringUpdate) -> String {
    let keys: Vec<&str> = update.keyring().keys().map(Key::id).collect();
    lines(&[
        (
            "holds",
            format!("keyring version {}", update.keyring().version()),
        ),
        ("id", update.id().to_owned()),
        ("keys", keys.join(", ")),
        ("signed by", update.root_ids().join(", ")),
    ])
}

fn describe_command(verified: &VerifiedCommand, now: Timestamp) -> String {
    let command = verified.command();
    let left = command.expires_at.saturating_sub(now.as_second());
    let validity = if left > 0 {
        format!("{left} s left")
    } else {
        format!("EXPIRED {} s ago", left.saturating_neg())
    };
    let payload = String::from_utf8_lossy(&command.to_json()).into_owned();
    lines(&[
        ("holds", format!("command {}", command.name())),
        ("id", command.id.clone()),
        ("nodes", command.audience.join(", ")),
        (
            "application",
            command.action.application().unwrap_or("-").to_owned(),
        ),
        ("sequence", command.sequence.to_string()),
        ("issued", shown(command.issued_at)),
        (
            "expires",
            format!("{} ({validity})", shown(command.expires_at)),
        ),
        ("signed by", verified.key_ids().join(", ")),
        ("digest", verified.digest_text()),
        ("payload", payload),
    ])
}

fn describe_refusal(error: &NotVerified) -> String {
    let refusal = error.refusal();
    match error {
        NotVerified::Unauthenticated(_) => format!("does not hold: {refusal}\n"),
        NotVerified::Refused(refused) => lines(&[
            ("refused", refusal.to_string()),
            ("id", refused.id.clone()),
            ("command", refused.cmd.clone().unwrap_or_default()),
            ("signed by", refused.key_ids.join(", ")),
        ]),
    }
}

fn describe_result(result: &CommandResult) -> String {
    let reason = result
        .reason
        .map_or(String::new(), |reason| format!(" ({reason})"));
    lines(&[
        (
            "holds",
            format!("result {} of {}", result.n, result.command),
        ),
        ("node", result.node.clone()),
        ("state", format!("{}{reason}", result.state.as_str())),
        ("message", result.message.escape_debug().to_string()),
        (
            "application",
            result.application.clone().unwrap_or_default(),
        ),
        ("revision", result.revision.clone().unwrap_or_default()),
        ("at", format_timestamp(result.at)),
    ])
}

fn lines(rows: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    }
    text
}

fn shown(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), format_timestamp)
}

#[cfg(test)]
mod tests {
    use edge_agent_core::command::envelope::{SigningKey, seal, seal_result};
    use edge_agent_core::command::payload::{Action, Command};
    use edge_agent_core::wire::ResultState;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32]).unwrap()
    }

    fn args(directory: &Path) -> Args {
        let keyring = directory.join("keyring.toml");
        let text = format!(
            "[[key]]\nid = \"ci\"\npublic = \"{}\"\nallow = [\"ping\"]\n",
            key(1).public_base64()
        );
        std::fs::write(&keyring, text).unwrap();
        Args {
            envelope: None,
            keyring: Some(keyring),
            node_key: vec![key(1).public_base64()],
            namespace: DEFAULT_NAMESPACE.to_owned(),
            max_ttl_seconds: 86_400,
        }
    }

    fn command(action: Action) -> Vec<u8> {
        let issued_at = now().as_second();
        let command = Command {
            id: "one".to_owned(),
            audience: vec!["pi-01".to_owned()],
            sequence: 1,
            issued_at,
            expires_at: issued_at + 600,
            action,
        };
        seal(COMMAND_TYPE, &command.to_json(), &[("ci", &key(1))])
    }

    #[test]
    fn commands_against_a_keyring() {
        let directory = tempfile::tempdir().unwrap();
        let args = args(directory.path());
        let (holds, text) = judge(&args, &command(Action::Ping), now()).unwrap();
        assert!(holds);
        assert!(
            text.contains("signed by    ci\n") && text.contains("600 s left"),
            "{text}"
        );
        let later = Timestamp::from_second(now().as_second() + 660).unwrap();
        let (holds, text) = judge(&args, &command(Action::Ping), later).unwrap();
        assert!(holds && text.contains("EXPIRED 60 s ago"), "{text}");
        let refused = command(Action::Identify { seconds: 1 });
        let (holds, text) = judge(&args, &refused, now()).unwrap();
        assert!(!holds && text.contains("not_permitted"), "{text}");
        let stranger = seal(COMMAND_TYPE, b"{}", &[("x", &key(2))]);
        let (holds, text) = judge(&args, &stranger, now()).unwrap();
        assert!(!holds && text.contains("unknown_key"), "{text}");
    }

    #[test]
    fn results_against_the_key_of_the_node() {
        let directory = tempfile::tempdir().unwrap();
        let args = args(directory.path());
        let result = CommandResult {
            v: 1,
            node: "pi-01".to_owned(),
            command: "one".to_owned(),
            digest: None,
            n: 2,
            state: ResultState::Succeeded,
            reason: None,
            message: "pong".to_owned(),
            application: None,
            revision: None,
            deploy_state: None,
            at: now(),
        };
        let bytes = seal_result(&result, "pi-01", &key(1));
        let (holds, text) = judge(&args, &bytes, now()).unwrap();
        assert!(holds && text.contains("state        succeeded"), "{text}");
        let bytes = seal_result(&result, "pi-01", &key(2));
        assert!(!judge(&args, &bytes, now()).unwrap().0);
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let mut args = args(directory.path());
        args.keyring = None;
        let error = judge(&args, &command(Action::Ping), now()).unwrap_err();
        assert!(error.to_string().contains("--keyring"), "{error}");
        assert!(!judge(&args, b"hello", now()).unwrap().0);
        args.keyring = Some(directory.path().join("none.toml"));
        let error = judge(&args, &command(Action::Ping), now()).unwrap_err();
        assert!(error.to_string().contains("none.toml"), "{error}");
    }

    #[test]
    fn an_envelope_is_read_from_a_file_up_to_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("envelope.json");
        std::fs::write(&path, "  {}\n").unwrap();
        assert_eq!(read_envelope(Some(&path)).unwrap(), b"{}");
        std::fs::write(&path, vec![b'x'; 100_000]).unwrap();
        let read = read_envelope(Some(&path)).unwrap();
        assert!(read.len() > MAX_ENVELOPE_BYTES && read.len() < 10_000);
    }
}
