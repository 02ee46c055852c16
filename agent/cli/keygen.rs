//! `keygen`: makes a key that may command nodes.

use std::path::PathBuf;

use anyhow::Context as _;
use edge_agent_core::command::key::{KEY_BYTES, SigningKey};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use super::{Exit, output};
use crate::store::identity::{random_bytes, write_private_key};

/// Make a key that may command nodes.
///
/// The private half goes to a file that only you may read; nothing else ever sees it. The public
/// half is printed, as a block for the keyring of the nodes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  edge-agent keygen --out drone.key --id drone-2026")]
pub(super) struct Args {
    /// File for the private half; it must not exist yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,

    /// A root key, which signs keyrings and nothing else; keep its private half offline.
    #[arg(long)]
    pub root: bool,

    /// Name of the key in keyrings, results and logs; by default the name of the file.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
}

/// Writes the private half and prints the public one.
///
/// # Errors
/// When the file exists or cannot be written, or the id is none.
pub(super) fn run(args: &Args, now: Timestamp) -> anyhow::Result<Exit> {
    let id = match &args.id {
        Some(id) => id.clone(),
        None => args
            .out
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .to_owned(),
    };
    let fits = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    anyhow::ensure!(
        fits,
        "`{id}` is no id for a key: 1 to 64 characters out of A-Z a-z 0-9 . _ - (use --id)"
    );
    let seed = random_bytes::<KEY_BYTES>()?;
    let key = SigningKey::from_seed(&seed)?;
    write_private_key(&args.out, &seed)?;
    let text = if args.root {
        root_report(&args.out, &id, &key.public_base64())
    } else {
        report(&args.out, &id, &key.public_base64(), now)?
    };
    output::print(&text)?;
    Ok(Exit::Done)
}

fn root_report(out: &std::path::Path, id: &str, public: &str) -> String {
    format!(
        "# Private half: {} (keep it offline). Public half, for the keyring.toml of the nodes, which\n\
         # also needs a `version`:\n\n[[root]]\nid = \"{id}\"\npublic = \"{public}\"\n",
        out.display()
    )
}

fn report(out: &std::path::Path, id: &str, public: &str, now: Timestamp) -> anyhow::Result<String> {
    let not_after = now
        .to_zoned(TimeZone::UTC)
        .checked_add(1.year())
        .context("the clock is beyond the end of the calendar")?
        .date();
    Ok(format!(
        r#"# Private half: {} (keep it secret; as a CI secret, paste its one line into
# EDGE_AGENT_SIGNING_KEY). Public half, for the keyring.toml of the nodes; narrow down what it may do:

[[key]]
id = "{id}"
public = "{public}"
allow = ["rollout", "rollback", "resume", "refresh", "identify", "ping"]
applications = ["*"]
not_after = {not_after}
"#,
        out.display()
    ))
}

#[cfg(test)]
mod tests {
    use edge_agent_core::command::keyring::Keyring;

    use super::*;
    use crate::store::identity::read_private_key;

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn it_writes_a_key_and_what_it_prints_is_a_keyring() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("drone.key");
        let args = |id: Option<&str>| Args {
            out: out.clone(),
            root: false,
            id: id.map(str::to_owned),
        };
        run(&args(None), now()).unwrap();
        let key = read_private_key(&out).unwrap();
        let text = report(&out, "drone", &key.public_base64(), now()).unwrap();
        let keyring = Keyring::parse(&text).unwrap();
        let entry = keyring.keys().next().unwrap();
        assert_eq!(entry.public(), &key.public());
        assert_eq!(
            entry.valid_until(),
            Some("2027-11-25T00:00:00Z".parse().unwrap())
        );
        let again = run(&args(None), now()).unwrap_err();
        assert!(again.to_string().contains("never overwritten"), "{again}");
        assert!(run(&args(Some("a b")), now()).is_err());
        let root = root_report(&out, "root-1", &key.public_base64());
        let keyring = Keyring::parse(&format!("version = 1\n{root}")).unwrap();
        assert_eq!(keyring.roots().count(), 1);
    }
}
