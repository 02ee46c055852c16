//! `sign`: makes an envelope, or adds a signature to one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use edge_agent_core::command::envelope::{
    COMMAND_TYPE, KEYRING_TYPE, SigningKey, Unverified, countersign, seal,
};
use jiff::Timestamp;

use super::order::OrderArgs;
use super::verify::read_envelope;
use super::{Exit, output};
use crate::store::identity::read_private_key;

/// The environment variable that holds a private key, one line as in its file.
const KEY_VARIABLE: &str = "EDGE_AGENT_SIGNING_KEY";

/// Sign an order for a node, and print the envelope.
///
/// The private key comes from --key, or from the environment variable EDGE_AGENT_SIGNING_KEY (the
/// one line that its file has).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  edge-agent sign --key drone.key --key-id drone-2026 --node pi-01 --cmd rollback --application shop")]
pub(super) struct Args {
    #[command(flatten)]
    pub key: KeyArgs,

    /// Sign what is in this envelope too, instead of a new order (`-` for standard input).
    #[arg(long, value_name = "ENVELOPE", conflicts_with_all = ["cmd", "node", "application"])]
    pub add_signature: Option<PathBuf>,

    #[command(flatten)]
    pub order: OrderArgs,
}

/// Where the private key is.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct KeyArgs {
    /// File with the private key; by default EDGE_AGENT_SIGNING_KEY holds it.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Name of the key in the keyring of the node. Only a hint, but it saves the node work.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub key_id: String,
}

impl KeyArgs {
    /// Reads the private key.
    ///
    /// # Errors
    /// When there is none, or it is damaged, or its file is open to others.
    pub(super) fn read(&self) -> anyhow::Result<SigningKey> {
        self.read_with(std::env::var(KEY_VARIABLE).ok())
    }

    fn read_with(&self, variable: Option<String>) -> anyhow::Result<SigningKey> {
        match (&self.key, variable) {
            (Some(path), _) => Ok(read_private_key(path)?),
            (None, Some(text)) => SigningKey::from_text(&text).context(KEY_VARIABLE),
            (None, None) => bail!("there is no key: give --key FILE, or set {KEY_VARIABLE}"),
        }
    }
}

/// Prints the envelope on one line.
///
/// # Errors
/// When the key or the order is faulty, or the envelope cannot be read.
pub(super) fn run(args: &Args, now: Timestamp) -> anyhow::Result<Exit> {
    let key = args.key.read()?;
    let bytes = match &args.add_signature {
        Some(path) => add_signature(path, &args.key.key_id, &key)?,
        None => {
            let command = args.order.to_command(now)?;
            seal(
                COMMAND_TYPE,
                &command.to_json(),
                &[(&args.key.key_id, &key)],
            )
        }
    };
    output::print(&format!("{}\n", String::from_utf8(bytes)?))?;
    Ok(Exit::Done)
}

/// Says what is signed, on standard error: who adds a signature vouches for it.
fn add_signature(path: &Path, key_id: &str, key: &SigningKey) -> anyhow::Result<Vec<u8>> {
    let bytes = read_envelope(Some(path))?;
    let envelope = Unverified::read(&bytes).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    ensure!(
        [COMMAND_TYPE, KEYRING_TYPE].contains(&envelope.payload_type.as_str()),
        "the envelope holds a `{}`; only commands and keyrings are signed here",
        envelope.payload_type
    );
    output::complain(&format!(
        "signing: {}",
        String::from_utf8_lossy(&envelope.payload).escape_debug()
    ));
    countersign(&bytes, key_id, key).map_err(|refusal| anyhow::anyhow!(refusal.message))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::store::identity::write_private_key;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        sign: Args,
    }

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        let both = ["sign", "--add-signature", "-", "--cmd", "ping"];
        assert!(Cli::try_parse_from(both).is_err());
    }

    #[test]
    fn the_key_is_in_a_file_or_in_the_environment() {
        let text = SigningKey::seed_to_text(&[3; 32]).unwrap();
        let from_variable = KeyArgs::default().read_with(Some(text)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        write_private_key(&path, &[4; 32]).unwrap();
        let in_file = KeyArgs {
            key: Some(path),
            ..KeyArgs::default()
        };
        let from_file = in_file.read_with(Some("ignored".to_owned())).unwrap();
        assert_ne!(from_variable.public(), from_file.public());
        let none = KeyArgs::default().read_with(None).unwrap_err();
        assert!(none.to_string().contains("--key FILE"), "{none}");
        let wrong = KeyArgs::default()
            .read_with(Some("x".to_owned()))
            .unwrap_err();
        assert!(wrong.to_string().contains(KEY_VARIABLE), "{wrong}");
    }

    #[test]
    fn a_second_signature_is_added_to_a_command_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("envelope.json");
        let key = |seed: u8| SigningKey::from_seed(&[seed; 32]).unwrap();
        std::fs::write(&path, seal(COMMAND_TYPE, b"{}", &[("a", &key(1))])).unwrap();
        let both = add_signature(&path, "b", &key(2)).unwrap();
        let hints = Unverified::read(&both).unwrap();
        assert_eq!(hints.key_hints().collect::<Vec<_>>(), ["a", "b"]);
        std::fs::write(&path, seal("other", b"{}", &[("a", &key(1))])).unwrap();
        assert!(add_signature(&path, "b", &key(2)).is_err());
    }
}
