//! `edge-agent completions`: a script that lets the shell complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Exit, NAME, output};

/// Print a script that lets a shell complete the command line
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  edge-agent completions bash > /usr/share/bash-completion/completions/edge-agent")]
pub(super) struct Args {
    /// The shell that is to read it
    shell: Shell,
}

/// # Errors
/// When standard output cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    output::print(&String::from_utf8(script)?)?;
    Ok(Exit::Done)
}
