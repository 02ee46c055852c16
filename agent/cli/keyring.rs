//! `keyring`: who may command, shown and changed; and the envelope that brings a change to nodes.

mod edit;
mod show;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use edge_agent_core::command::keyring::Keyring;
use edge_agent_core::command::payload::COMMAND_NAMES;
use edge_agent_core::command::update::{EVERY_NODE, seal_update};
use jiff::Timestamp;
use jiff::civil::Date;

use super::order::new_id;
use super::sign::KeyArgs;
use super::{ConfigFile, Exit, output};
use crate::store::keyring::{configured, newest, read_text};

/// Show and change who may command, and bring the change to nodes over the air.
///
/// A keyring is a file that belongs to people: `add` and `revoke` change only the block that they
/// are about, and raise `version` where there is one. `sign` makes the envelope that nodes take over
/// the air when enough root keys have signed it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Publish what `sign` prints on edge/v1/<node>/command of each node, with QoS 1 and not retained. The
answer is on edge/v1/<node>/result/<id>.

Example:
  edge-agent keyring show keyring.toml
  edge-agent keyring revoke keyring.toml drone-2026
  edge-agent keyring sign keyring.toml --key root-1.key --key-id root-1 > update.json")]
pub(super) struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show a keyring; without a file, the one that the node of this configuration obeys
    Show(ShowArgs),
    /// Add a key
    Add(AddArgs),
    /// Take a key out
    Revoke(RevokeArgs),
    /// Print the envelope that replaces the keyring of nodes, signed by a root key
    Sign(SignArgs),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The keyring file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The keyring file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name of the key in results and logs
    #[arg(long, value_name = "ID")]
    id: String,
    /// The public half, as `keygen` prints it
    #[arg(long, value_name = "BASE64")]
    public: String,
    /// A root key: it may sign keyrings, and nothing else
    #[arg(long, conflicts_with_all = ["allow", "application", "not_after"])]
    root: bool,
    /// Command that it may order; more than once, or with commas [default: all]
    #[arg(long, value_name = "COMMAND", value_delimiter = ',')]
    allow: Vec<String>,
    /// Glob of the applications for which it may order them; more than once for several
    #[arg(long, value_name = "GLOB", required_unless_present = "root")]
    application: Vec<String>,
    /// The last day on which it is valid, UTC
    #[arg(long, value_name = "DATE")]
    not_after: Option<Date>,
}

#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// The keyring file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Id of the key
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, clap::Args)]
struct SignArgs {
    /// The new keyring
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Node that it is for; more than once for several [default: every node with these root keys]
    #[arg(long, value_name = "NODE")]
    node: Vec<String>,
    #[command(flatten)]
    key: KeyArgs,
    /// Id under which the nodes answer; by default a new ULID
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

/// # Errors
/// When a file cannot be read or written, or what would come out is no keyring.
pub(super) fn run(args: &Args, now: Timestamp) -> anyhow::Result<Exit> {
    match &args.task {
        Task::Show(args) => show(args, now),
        Task::Add(args) => add(args),
        Task::Revoke(args) => revoke(args),
        Task::Sign(args) => sign(args, now),
    }
}

fn show(args: &ShowArgs, now: Timestamp) -> anyhow::Result<Exit> {
    let in_force = match &args.file {
        Some(file) => configured(file)?,
        None => {
            let config = args.config.load()?;
            let file = config.commands.keyring.as_deref().context(
                "the settings name no keyring (commands.keyring), so nobody may command this node",
            )?;
            newest(configured(file)?, &config.state_directory)?
        }
    };
    output::print(&format!(
        "{}\n{}",
        in_force.path.display(),
        show::table(&in_force.keyring, now)
    ))?;
    Ok(Exit::Done)
}

fn add(args: &AddArgs) -> anyhow::Result<Exit> {
    let block = if args.root {
        format!(
            "[[root]]\nid = {}\npublic = {}\n",
            quoted(&args.id),
            quoted(&args.public)
        )
    } else {
        key_block(args)
    };
    change(&args.file, |text| Ok(edit::append(text, &block)))
}

fn key_block(args: &AddArgs) -> String {
    let allow: Vec<&str> = if args.allow.is_empty() {
        COMMAND_NAMES.to_vec()
    } else {
        args.allow.iter().map(String::as_str).collect()
    };
    let list = |texts: &[&str]| {
        let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        quoted.join(", ")
    };
    let applications: Vec<&str> = args.application.iter().map(String::as_str).collect();
    let mut block = format!(
        "[[key]]\nid = {}\npublic = {}\nallow = [{}]\napplications = [{}]\n",
        quoted(&args.id),
        quoted(&args.public),
        list(&allow),
        list(&applications)
    );
    if let Some(day) = args.not_after {
        block.push_str(&format!("not_after = {day}\n"));
    }
    block
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn revoke(args: &RevokeArgs) -> anyhow::Result<Exit> {
    change(&args.file, |text| {
        edit::remove(text, &args.id)
            .with_context(|| format!("{} has no key `{}`", args.file.display(), args.id))
    })
}

/// Changes a keyring file, if what comes out is a keyring, and says which version it has now.
fn change(path: &Path, edit: impl FnOnce(&str) -> anyhow::Result<String>) -> anyhow::Result<Exit> {
    let old = read_text(path)?;
    Keyring::parse(&old).map_err(|faults| {
        anyhow::anyhow!(
            "{} has faults already: {}",
            path.display(),
            faults.join("; ")
        )
    })?;
    let new = edit::raise_version(&edit(&old)?);
    let keyring = Keyring::parse(&new)
        .map_err(|faults| anyhow::anyhow!("nothing was changed: {}", faults.join("; ")))?;
    edit::replace(path, &new).with_context(|| format!("cannot write {}", path.display()))?;
    let how = if keyring.version() == 0 {
        "reload the agents that read it (systemctl reload edge-agent)".to_owned()
    } else {
        format!(
            "it is version {} now; bring it to the nodes as a file, or with `edge-agent keyring sign`",
            keyring.version()
        )
    };
    output::print(&format!(
        "{}: {} keys; {how}\n",
        path.display(),
        keyring.len()
    ))?;
    Ok(Exit::Done)
}

fn sign(args: &SignArgs, now: Timestamp) -> anyhow::Result<Exit> {
    let text = read_text(&args.file)?;
    let key = args.key.read()?;
    let id = match &args.id {
        Some(id) => id.clone(),
        None => new_id(u64::try_from(now.as_millisecond()).unwrap_or_default())?,
    };
    let audience = if args.node.is_empty() {
        vec![EVERY_NODE.to_owned()]
    } else {
        args.node.clone()
    };
    let text = edit::without_comments(&text);
    let envelope = seal_update(&id, &audience, &text, &[(&args.key.key_id, &key)])
        .map_err(|refusal| anyhow::anyhow!("no node would take this: {}", refusal.message))?;
    if let Ok(keyring) = Keyring::parse(&text) {
        let known = keyring.roots().any(|root| *root.public() == key.public());
        if !known {
            output::complain(
                "note: the key is no root key of the new keyring; it must be one of the old",
            );
        }
        if keyring.root_threshold() > 1 {
            output::complain(&format!(
                "note: {} root keys must sign; the next with `edge-agent sign --add-signature`",
                keyring.root_threshold()
            ));
        }
    }
    output::print(&format!("{}\n", String::from_utf8(envelope)?))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests;
