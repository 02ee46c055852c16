//! `edge-agent man`: the manual pages, from the definition of the command line.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory;
use clap_mangen::Man;

use super::{Cli, Exit, NAME, output};

/// Print the manual page, or write it and those of the subcommands to a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  edge-agent man > /usr/share/man/man1/edge-agent.1
  edge-agent man /usr/share/man/man1")]
pub(super) struct Args {
    /// Where the pages are to go, one for each subcommand
    directory: Option<PathBuf>,
}

/// # Errors
/// When a page cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut command = Cli::command();
    let Some(directory) = &args.directory else {
        output::print(&String::from_utf8(page(command, NAME)?)?)?;
        return Ok(Exit::Done);
    };
    command.build();
    let subcommands: Vec<_> = command.get_subcommands().cloned().collect();
    let mut pages = vec![(NAME.to_owned(), command)];
    let named = |it: clap::Command| (format!("{NAME}-{}", it.get_name()), it);
    pages.extend(
        subcommands
            .into_iter()
            .filter(|it| it.get_name() != "help")
            .map(named),
    );
    for (name, command) in pages {
        let file = directory.join(format!("{name}.1"));
        fs::write(&file, page(command, &name)?)
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(Exit::Done)
}

fn page(command: clap::Command, name: &str) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    // No date: the same program makes the same page.
    Man::new(command)
        .title(name.to_uppercase())
        .render(&mut text)?;
    Ok(text)
}
