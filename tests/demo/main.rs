//! `cargo demo`: the whole loop on one machine.
//!
//! The real supervisor runs between an MQTT broker in this process and a cluster double that behaves
//! like Argo CD; its LED is drawn in the terminal and its page is served. The story that it plays is
//! in [`story`]. With `--once` it is played once, and the exit code says whether all of it happened.

#[path = "../support/mod.rs"]
mod support;

mod screen;
mod stage;
mod story;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

/// Play the agent's story on this machine, with nothing but this program.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo demo")]
struct Args {
    /// Play the story once, quickly, and exit non-zero if anything in it did not happen
    #[arg(long)]
    once: bool,
    /// Port of the agent's page; another one is taken if it is busy
    #[arg(long, default_value_t = 9750, value_name = "PORT")]
    port: u16,
    /// Break something on purpose, to see the demo notice: the bad commit is good, the command is
    /// signed by a stranger, or the outage loses an event
    #[arg(long, value_enum, value_name = "WHAT")]
    sabotage: Option<Sabotage>,
}

/// What can be broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Sabotage {
    Commit,
    Signature,
    Outage,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match play(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::complain(&format!("\nThe story did not come true: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn play(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be made")?;
    runtime.block_on(async {
        tokio::select! {
            played = story::play(args) => played,
            stopped = tokio::signal::ctrl_c() => stopped.context("Ctrl-C cannot be handled"),
        }
    })
}
