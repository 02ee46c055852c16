//! The command line: one file a subcommand.
//!
//! A subcommand has `Args` and `fn run(args: &Args) -> anyhow::Result<Exit>`. To add one, name its
//! module and give it a line in [`Command`] and one in [`Command::run`]; a test asks its help for
//! an example that parses.

mod check;
mod completions;
mod drone;
mod exit;
mod gate;
mod keygen;
mod keyring;
mod man;
mod notify;
mod order;
mod output;
mod release_leds;
mod run;
pub mod send;
mod sign;
mod status;
mod verify;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};

pub use exit::Exit;

use crate::config::{Config, Environment, Faults, Led};
use exit::Caller;

/// Watches a Raspberry Pi that runs K3s and the deploys on it, and carries out signed commands.
#[derive(Debug, Parser)]
#[command(name = NAME, version = VERSION.as_str(), arg_required_else_help = true, after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Completions(completions::Args),
    Drone(drone::Args),
    Gate(Box<gate::Args>),
    Keygen(keygen::Args),
    Keyring(keyring::Args),
    Man(man::Args),
    Notify(Box<notify::Args>),
    ReleaseLeds(release_leds::Args),
    Run(run::Args),
    Send(Box<send::Args>),
    Sign(Box<sign::Args>),
    Status(status::Args),
    Verify(verify::Args),
}

impl Command {
    fn run(&self) -> anyhow::Result<Exit> {
        let now = || crate::clock::now().wall;
        match self {
            Self::Check(args) => check::run(args),
            Self::Completions(args) => completions::run(args),
            Self::Drone(args) => drone::run(args, &now),
            Self::Gate(args) => gate::run(args),
            Self::Keygen(args) => keygen::run(args, now()),
            Self::Keyring(args) => keyring::run(args, now()),
            Self::Man(args) => man::run(args),
            Self::Notify(args) => notify::run(args, now()),
            Self::ReleaseLeds(args) => release_leds::run(args),
            Self::Run(args) => run::run(args),
            Self::Send(args) => send::run(args, &now),
            Self::Sign(args) => sign::run(args, now()),
            Self::Status(args) => status::run(args, now()),
            Self::Verify(args) => verify::run(args, now()),
        }
    }
}

const NAME: &str = "edge-agent";

const HELP: &str = "\
Exit codes:
  0   done
  1   the thing asked about failed
  2   the arguments or the settings are wrong
  3   no answer in time
  4   the node refused
  64, 70, 78   `run` only: arguments, a fault while running, settings

Example:
  edge-agent check --config ./agent.toml";

/// The version with the target that it was built for, such as `0.1.0 (aarch64-linux-musl)`.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let abi = match (cfg!(target_env = "musl"), cfg!(target_abi = "eabihf")) {
        (false, false) => "gnu",
        (false, true) => "gnueabihf",
        (true, false) => "musl",
        (true, true) => "musleabihf",
    };
    let (architecture, system) = (std::env::consts::ARCH, std::env::consts::OS);
    format!(
        "{} ({architecture}-{system}-{abi})",
        env!("CARGO_PKG_VERSION")
    )
});

/// The settings file, for every subcommand that reads it.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigFile {
    /// The settings file [default: /etc/edge-agent/agent.toml, if it is there]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    path: Option<PathBuf>,
}

impl ConfigFile {
    /// Whether a file was named.
    pub(crate) fn given(&self) -> bool {
        self.path.is_some()
    }

    /// Reads the settings.
    ///
    /// # Errors
    /// Everything that is wrong with them; returned from a subcommand, it is told line by line and
    /// gives the exit code of its kind.
    pub(crate) fn load(&self) -> Result<Config, Faults> {
        Config::load(self.path.as_deref(), &Environment::from_process())
    }

    /// Reads the LEDs alone; see [`Config::load_leds`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn load_leds(
        &self,
        environment: &Environment,
    ) -> Result<BTreeMap<String, Led>, Faults> {
        Config::load_leds(self.path.as_deref(), environment)
    }
}

/// Parses the arguments, of which the first is the program's name, and does what they ask.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let caller = match arguments.get(1) {
        Some(first) if first == OsStr::new("run") => Caller::Service,
        _ => Caller::Shell,
    };
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return answer(&error, caller),
    };
    cli.command.run().unwrap_or_else(|error| {
        complain(&error);
        Exit::of_error(&error, caller)
    })
}

/// Prints what clap has to say: help and version, which were asked for, or what is wrong.
fn answer(error: &clap::Error, caller: Caller) -> Exit {
    // A reader that has gone away needs no answer.
    let _ = error.print();
    if error.use_stderr() {
        Exit::of_usage(caller)
    } else {
        Exit::Done
    }
}

fn complain(error: &anyhow::Error) {
    let Some(faults) = error.downcast_ref::<Faults>() else {
        output::complain(&format!("{NAME}: {error:#}"));
        return;
    };
    let count = match faults.as_slice().len() {
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    };
    let source = faults.source_file().display();
    output::complain(&format!("{faults}\n{NAME}: {count} in {source}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_has_examples_that_parse() {
        let mut commands: Vec<_> = Cli::command().get_subcommands().cloned().collect();
        commands.push(Cli::command());
        for command in commands {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let (_, examples) = help.split_once("Example:\n").unwrap_or_default();
            assert!(!examples.is_empty(), "{name} has no example");
            for line in examples.lines() {
                let own = line.split(['|', '>', '<']).next().unwrap_or_default();
                let parsed = Cli::try_parse_from(own.split_whitespace());
                assert!(parsed.is_ok(), "{name}: {line}: {parsed:?}");
            }
        }
    }
}
